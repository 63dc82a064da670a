"""Workers that are killed at random moments, and what their jobs have done in the end."""

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.context import ForkServerProcess

import psycopg

from isthmus.app.bench.jobs.ours import (
    STEPS,
    THREE,
    Standing,
    opened,
    standing,
    wanted,
    work_until_killed,
    workspace_of,
)
from isthmus.app.engines import PostgresAccess
from isthmus.app.engines.access import PostgresLogin
from isthmus.store.database import Database

WORKERS = 3
LEASE_S = 2.0
LOOK_S = 0.05
"""What other programs do is seen in the tables, by looking."""
ENDED_S_MAX = 120.0


@dataclass(frozen=True, kw_only=True)
class Killed:
    """What came of it: effects that happened twice or never, and the longest time until jobs were taken up again."""

    kills: int
    jobs: int
    doubled: int
    missing: int
    unfinished: int
    pickup_leases_max: float


def kill_workers(postgres: PostgresAccess, *, kills: int, watch_every: int, say: Callable[[str], None]) -> Killed:
    """Kill workers with SIGKILL, as many as asked, while there is always work; then let the rest be done.

    After every `watch_every` kills it is watched how long the jobs of the dead wait.
    """
    _make_table(postgres)
    return asyncio.run(_run(postgres, kills, watch_every, say))


def _make_table(postgres: PostgresAccess) -> None:
    owner = postgres.owner
    with psycopg.connect(owner.conninfo, password=owner.password, autocommit=True) as connection:
        connection.execute("create table if not exists bench_effect (job_id uuid not null, step text not null)")
        connection.execute("grant select, insert on bench_effect to isthmus_app")


async def _run(postgres: PostgresAccess, kills: int, watch_every: int, say: Callable[[str], None]) -> Killed:
    login, chance = postgres.app, random.Random(11)
    database = await opened(login)
    workspace = await workspace_of(database, "killing")
    jobs, pickup_s = 0, 0.0
    workers = [_start(login, number) for number in range(WORKERS)]
    try:
        for kill in range(kills):
            seen = await standing(database, workspace)
            if seen.living < 100:  # noqa: PLR2004 - enough that no worker is idle.
                await wanted(database, workspace, THREE, 200)
                jobs += 200
            await asyncio.sleep(chance.uniform(0.02, 0.25))
            place = chance.randrange(WORKERS)
            workers[place].kill()
            workers[place].join()
            workers[place] = _start(login, WORKERS + kill)
            if kill % watch_every == 0:
                pickup_s = max(pickup_s, await _taken_up(database, workspace))
                say(f"{kill + 1} of {kills} workers killed")
        await _all_done(database, workspace)
        ended = await standing(database, workspace)
    finally:
        for each in workers:
            each.kill()
            each.join()
        await database.close()
    return _killed(kills, jobs, ended, pickup_s)


def _killed(kills: int, jobs: int, ended: Standing, pickup_s: float) -> Killed:
    return Killed(
        kills=kills,
        jobs=jobs,
        doubled=ended.rows - ended.different,
        missing=jobs * len(STEPS) - ended.different,
        unfinished=ended.living,
        pickup_leases_max=pickup_s / LEASE_S,
    )


def _start(login: PostgresLogin, number: int) -> ForkServerProcess:
    context = get_context("forkserver")
    context.set_forkserver_preload(["isthmus.app.bench.jobs.ours"])
    worker = context.Process(target=work_until_killed, args=(login, f"w{number}", LEASE_S), daemon=True)
    worker.start()
    return worker


async def _taken_up(database: Database, workspace: int) -> float:
    """Return how long it takes until each job that is held now is done, or held by a later attempt."""
    began = time.perf_counter()
    waiting = dict((await standing(database, workspace)).held)
    while waiting and time.perf_counter() - began < ENDED_S_MAX:
        await asyncio.sleep(LOOK_S)
        now = await standing(database, workspace)
        waiting = {
            own: attempt
            for own, attempt in waiting.items()
            if own not in now.finished and now.held.get(own, 0) <= attempt
        }
    return time.perf_counter() - began


async def _all_done(database: Database, workspace: int) -> None:
    deadline = time.perf_counter() + ENDED_S_MAX
    while (await standing(database, workspace)).living and time.perf_counter() < deadline:  # noqa: ASYNC110 - see LOOK_S.
        await asyncio.sleep(LOOK_S)
