"""Running connections as this program does it: with its clock, its connectors and chance for the delays."""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from isthmus.app.discovery import connectors
from isthmus.app.limiting import opened_leases
from isthmus.app.program import Program
from isthmus.sync.running import EVERYTHING, Part, synchronise
from isthmus.sync.runs import Engine, Run, RunOverlaps, runs
from isthmus.vault import entropy

WATCH_S, OVERLAP_S_MAX = 0.25, 120.0


def sync_engine(program: Program) -> Engine:
    """Return what running connections needs."""
    chance = random.Random(int.from_bytes(entropy(8)))
    return Engine(store=program.store, clock=program.clock, chance=chance, connectors=connectors())


@asynccontextmanager
async def opened_engine(program: Program) -> AsyncGenerator[Engine]:
    """Open what running connections needs, with the vendors' allowances shared by all programs that run them."""
    async with opened_leases(program) as leases:
        yield replace(sync_engine(program), leases=leases)


async def watched(
    program: Program,
    connection: str,
    *,
    parts: Sequence[Part] = EVERYTHING,
    confirmed: bool = False,
    show: Callable[[Run], None],
) -> Run:
    """Run a connection here and show its progress while it goes on."""

    def run(engine: Engine) -> Coroutine[object, object, Run]:
        return synchronise(engine, workspace=program.workspace, connection=connection, parts=parts, confirmed=confirmed)

    return await watched_work(program, connection, run, show=show)


async def watched_work(
    program: Program,
    connection: str,
    run: Callable[[Engine], Coroutine[object, object, Run]],
    *,
    show: Callable[[Run], None],
) -> Run:
    """Do something with a connection here and show its progress while it goes on."""
    async with opened_engine(program) as engine:
        return await shown(program, asyncio.create_task(run(engine)), about=connection, show=show)


async def watched_when_free(
    program: Program,
    connection: str,
    *,
    parts: Sequence[Part] = EVERYTHING,
    show: Callable[[Run], None],
    say: Callable[[str], None],
) -> Run:
    """Run a connection here, once a run that the worker has begun is over; raises RunOverlaps after two minutes."""
    over = time.monotonic() + OVERLAP_S_MAX
    waiting = False
    while True:
        try:
            return await watched(program, connection, parts=parts, show=show)
        except RunOverlaps:
            if time.monotonic() > over:
                raise
            if not waiting:
                say(f"{connection}: waiting for a run that goes on")
            waiting = True
            await asyncio.sleep(WATCH_S)


async def shown(program: Program, task: asyncio.Task[Run], *, about: str, show: Callable[[Run], None]) -> Run:
    """Show a run while its task goes on; when this is cancelled, the run is ended in order first."""
    try:
        while not task.done():
            await asyncio.wait([task], timeout=WATCH_S)
            newest = await latest(program, about)
            if newest is not None and newest.finished_at is None:
                show(newest)
        return await task
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait([task])


async def latest(program: Program, connection: str) -> Run | None:
    """Return the newest run of a connection."""
    async with program.database.transaction(program.scope(actor="system:watch", cause="watch")) as tx:
        found = await runs(tx, limit=20)
    return next((each for each in found if each.about == connection), None)
