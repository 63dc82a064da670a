"""Running connections as this program does it: with its clock, its connectors and chance for the delays."""

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import timedelta

from isthmus.app.discovery import connectors
from isthmus.app.limiting import opened_leases
from isthmus.app.program import Program
from isthmus.kernel.errors import IsthmusError
from isthmus.store.database import DatabaseAway
from isthmus.sync.connections import Connection, Status, connections
from isthmus.sync.running import EVERYTHING, Part, synchronise
from isthmus.sync.runs import Engine, Run, RunOverlaps, runs
from isthmus.vault import entropy

POLL_S = 1.0
WATCH_S = 0.25


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
    async with opened_engine(program) as engine:
        task = asyncio.create_task(
            synchronise(engine, workspace=program.workspace, connection=connection, parts=parts, confirmed=confirmed)
        )
        return await shown(program, task, about=connection, show=show)


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


async def keep_in_step(program: Program, *, again: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
    """Run every connection of every workspace when it is due, until cancelled. Several programs may do so at once."""
    async with opened_engine(program) as engine:
        while True:
            with suppress(DatabaseAway):
                for workspace in await _workspaces(program):
                    for connection in await _due(program, workspace):
                        with suppress(RunOverlaps, IsthmusError):
                            await synchronise(engine, workspace=workspace, connection=connection.id)
            await again(POLL_S)


async def _workspaces(program: Program) -> list[int]:
    async with program.database.plain() as connection:
        cursor = await connection.execute("select id from workspace order by id")
        return [int(row[0]) for row in await cursor.fetchall()]


async def _due(program: Program, workspace: int) -> list[Connection]:
    scope = sync_engine(program).scope(workspace=workspace, actor="system:scheduler", cause="schedule")
    async with program.database.transaction(scope) as tx:
        found = await connections(tx)
        newest = {run.about: run for run in reversed(await runs(tx, limit=200))}
    now = program.clock.now()
    due: list[Connection] = []
    for each in found:
        if each.status == Status.PAUSED:
            continue
        if each.retry_at is not None and each.status == Status.RETRYING:
            if each.retry_at <= now:
                due.append(each)
        elif each.every_s is not None:
            last = newest.get(each.name)
            if last is None or last.started_at + timedelta(seconds=each.every_s) <= now:
                due.append(each)
    return due
