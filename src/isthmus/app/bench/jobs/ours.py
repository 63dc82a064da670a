"""Our own jobs in the bench: drained beside the peers, and done by workers that are killed."""

import asyncio
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from isthmus.app.bench.jobs.peers import CONNECTIONS, ENQUEUED_AT_ONCE
from isthmus.app.clock import SystemClock
from isthmus.app.engines.access import PostgresLogin
from isthmus.kernel.clock import milliseconds
from isthmus.kernel.ids import ENTROPY_BYTES, mint
from isthmus.kernel.marks import Json
from isthmus.store.database import Database, Scope, Transaction
from isthmus.stream.jobs.job import Backoff, Kind, Wish
from isthmus.stream.jobs.queue import Holder, enqueue
from isthmus.stream.jobs.work import Work
from isthmus.stream.jobs.worker import Worker
from isthmus.vault import entropy

NOTHING, THREE = "bench.nothing", "bench.three"
STEPS = ("one", "two", "three")
POLL_S = 0.005


@dataclass(slots=True)
class Count:
    """How many jobs a handler has done."""

    done: int = 0


async def nothing(_: Work, count: Count) -> Json:
    """Do nothing."""
    count.done += 1
    return None


async def three_steps(work: Work, _: Count) -> Json:
    """Write a row in each of three steps."""
    for name in STEPS:

        async def write(tx: Transaction, name: str = name) -> Json:
            await tx.connection.execute("insert into bench_effect values (%s, %s)", (work.claim.id, name))
            return None

        await work.step(name, write)
        await asyncio.sleep(0.002)
    return None


KINDS = (
    Kind(name=NOTHING, about="Nothing.", run=nothing),
    Kind(name=THREE, about="Three steps.", run=three_steps, tries_max=1_000),
)


def worker_of(database: Database, count: Count, *, name: str, lease_s: float, beat_s: float = 1.0) -> Worker[Count]:
    """Return a worker that has just been started."""
    now = milliseconds(datetime.now(UTC))
    return Worker(
        database=database,
        clock=SystemClock(),
        kinds=KINDS,
        context=count,
        holder=Holder(id=mint(unix_ms=now, entropy=entropy(ENTROPY_BYTES)), worker=name, lease_s=lease_s),
        backoff=Backoff(chance=random.Random(7)),
        beat_s=beat_s,
    )


async def opened(login: PostgresLogin) -> Database:
    """Open the database as the application sees it."""
    database = Database(login.conninfo, password=login.password, connections_max=CONNECTIONS)
    await database.open()
    return database


async def workspace_of(database: Database, slug: str) -> int:
    """Make a workspace."""
    async with database.plain() as connection:
        cursor = await connection.execute(
            "insert into workspace (slug, name, created_at) values (%s, %s, now()) returning id", (slug, slug)
        )
        row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def wanted(database: Database, workspace: int, kind: str, count: int) -> None:
    """Enqueue jobs."""
    for first in range(0, count, ENQUEUED_AT_ONCE):
        scope = Scope(workspace=workspace, actor="bench", cause="bench", now=datetime.now(UTC))
        async with database.transaction(scope) as tx:
            await enqueue(tx, [Wish(kind=kind)] * min(ENQUEUED_AT_ONCE, count - first))


async def drain(login: PostgresLogin, count: int, *, number: int) -> float:
    """Return how long a worker takes to drain, in seconds, until the last job is written down as done."""
    database, counted = await opened(login), Count()
    try:
        await wanted(database, await workspace_of(database, f"drain-{number}"), NOTHING, count)
        worker = worker_of(database, counted, name="bench", lease_s=15.0)
        began = time.perf_counter()
        running = asyncio.create_task(worker.run())
        while worker.done < count:  # noqa: ASYNC110 - the worker tells nobody; this is how the bench watches it.
            await asyncio.sleep(POLL_S)
        took = time.perf_counter() - began
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    finally:
        await database.close()
    if counted.done != count:
        message = f"ours did {counted.done} jobs of {count}"
        raise AssertionError(message)
    return took


def work_until_killed(login: PostgresLogin, name: str, lease_s: float) -> None:
    """Be a worker that somebody will kill: the target of a child process."""

    async def inside() -> None:
        database = await opened(login)
        await worker_of(database, Count(), name=name, lease_s=lease_s, beat_s=lease_s / 5).run()

    asyncio.run(inside())


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What is in the tables: jobs by whether they are done, rows that steps wrote, and how many different ones.

    `held` are the jobs in the hands of workers, each with the number of its attempt.
    """

    living: int
    done: int
    rows: int
    different: int
    held: Mapping[UUID, int]
    finished: frozenset[UUID]


async def standing(database: Database, workspace: int) -> Standing:
    """Return how the jobs of a workspace stand."""
    scope = Scope(workspace=workspace, actor="bench", cause="bench", now=datetime.now(UTC))
    async with database.transaction(scope) as tx:
        query = "select status, id, attempt from job where workspace = current_workspace()"
        rows = await (await tx.connection.execute(query)).fetchall()
        query = "select count(*), count(distinct (job_id, step)) from bench_effect"
        effects = await (await tx.connection.execute(query)).fetchone()
    finished = frozenset(own for status, own, _ in rows if status == "healthy")
    written, different = effects or (0, 0)
    return Standing(
        living=len(rows) - len(finished),
        done=len(finished),
        rows=written,
        different=different,
        held={own: attempt for status, own, attempt in rows if status == "running"},
        finished=finished,
    )
