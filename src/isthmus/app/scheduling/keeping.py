"""The parts of the worker and the scheduler: jobs are run, schedules and connections come when it is their time."""

import asyncio
import os
import random
import socket
from collections.abc import Callable
from datetime import datetime
from typing import LiteralString

import structlog

from isthmus.app.discovery import connectors
from isthmus.app.program import Program
from isthmus.app.scheduling.changes import Changes
from isthmus.app.scheduling.connections import want_due
from isthmus.app.scheduling.context import JobContext
from isthmus.app.scheduling.kinds import kinds
from isthmus.app.scheduling.standard import EDITION, installed
from isthmus.app.syncing import opened_engine
from isthmus.gateway import Services
from isthmus.kernel.clock import milliseconds
from isthmus.kernel.errors import IsthmusError
from isthmus.kernel.ids import ENTROPY_BYTES, mint
from isthmus.store.database import Database, DatabaseAway, Scope
from isthmus.stream.jobs.job import Backoff
from isthmus.stream.jobs.queue import Holder
from isthmus.stream.jobs.schedules import fire
from isthmus.stream.jobs.worker import Worker
from isthmus.vault import entropy

TICK_S = 1.0
SLOTS = 4
_DUE: LiteralString = "select workspaces_with_due_schedules(%s, %s)"
_CONNECTED: LiteralString = "select id from workspace order by id"
_log = structlog.get_logger("isthmus.scheduling")


async def keep_working(program: Program, *, services: Callable[[], Services]) -> None:
    """Run jobs of all workspaces until cancelled; `services` is what answers their questions."""
    async with opened_engine(program) as engine:
        worker = Worker(
            database=program.database,
            clock=program.clock,
            kinds=tuple(kinds().values()),
            context=JobContext(store=program.store, engine=engine, services=services),
            holder=Holder(
                id=mint(unix_ms=milliseconds(program.clock.now()), entropy=entropy(ENTROPY_BYTES)),
                worker=f"{socket.gethostname()}:{os.getpid()}",
            ),
            backoff=Backoff(chance=random.Random(int.from_bytes(entropy(8)))),
            slots=SLOTS,
        )
        await worker.run()


async def keep_scheduling(program: Program) -> None:
    """Make the jobs of schedules and connections whose time has come, until cancelled."""
    changes = Changes(connectors())
    while True:
        try:
            await tick(program.database, now=program.clock.now(), changes=changes)
        except DatabaseAway:
            pass
        except IsthmusError as error:
            _log.warning("scheduling failed", code=error.code)
        await asyncio.sleep(TICK_S)


async def tick(
    database: Database, *, now: datetime, only: frozenset[int] | None = None, changes: Changes | None = None
) -> int:
    """Make the jobs that are due in all workspaces, or in some; returns how many are new.

    With `changes` connected systems are also told what has changed since they were told last.
    """
    async with database.plain() as connection:
        due = {int(row[0]) for row in await (await connection.execute(_DUE, (now, EDITION))).fetchall()}
        everywhere = [int(row[0]) for row in await (await connection.execute(_CONNECTED)).fetchall()]
    made = 0
    for workspace in everywhere if only is None else sorted(only):
        scope = Scope(workspace=workspace, actor="system:scheduler", cause="schedule", now=now)
        async with database.transaction(scope) as tx:
            if workspace in due:
                await installed(tx)
                made += len(await fire(tx))
            made += len(await want_due(tx))
            made += len(await changes.want(tx)) if changes is not None else 0
    return made
