"""Webhooks as this program serves them: with its clock, its ways out, and chance for the retries."""

import asyncio
import random
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import LiteralString

import psycopg

from isthmus.app.alerting.keeping import outbound_of
from isthmus.app.program import Program
from isthmus.app.syncing import sync_engine
from isthmus.app.topics import topics
from isthmus.kernel.errors import Unavailable
from isthmus.store.database import Database
from isthmus.stream.outbound import Outbound
from isthmus.stream.webhooks.deliveries import forget as forget_deliveries
from isthmus.stream.webhooks.running import Serving, Webhooks
from isthmus.stream.webhooks.sending import Sender
from isthmus.sync.inbound import forget, work_on
from isthmus.sync.runs import Engine
from isthmus.vault import entropy

POLL_S, RETRY_S = 0.1, 0.5
FORGET_EVERY = timedelta(hours=1)
_RECEIVED: LiteralString = "select workspace, connection_id from webhooks_received(%s)"


@asynccontextmanager
async def opened_sender(outbound: Outbound) -> AsyncGenerator[Sender]:
    """Open what calls endpoints, for a moment."""
    sender = Sender(outbound, ticks=time.perf_counter_ns)
    try:
        yield sender
    finally:
        await sender.close()


def webhooks_of(program: Program) -> Webhooks:
    """Return what serves the endpoints of all workspaces."""
    return Webhooks(
        Serving(
            database=program.database,
            vault=program.vault,
            schema=program.store.schema,
            topics=topics(),
            sender=Sender(outbound_of(program.settings), ticks=time.perf_counter_ns),
            clock=program.clock,
            chance=random.Random(int.from_bytes(entropy(8))),
        )
    )


async def keep_telling(program: Program) -> None:
    """Tell endpoints what happens, until cancelled. Several programs may do so at once."""
    await webhooks_of(program).run()


async def keep_landing(program: Program) -> None:
    """Work on what vendors sent, until cancelled. Several programs may do so at once."""
    engine = sync_engine(program)
    forgotten = datetime.min.replace(tzinfo=UTC)
    while True:
        done, now = 0, program.clock.now()
        try:
            done = await landed(program.database, engine, now=now)
            if now - forgotten >= FORGET_EVERY:
                await _forget(program.database, engine)
                forgotten = now
        except (Unavailable, psycopg.OperationalError, psycopg.InterfaceError):
            await asyncio.sleep(RETRY_S)
        if not done:
            await asyncio.sleep(POLL_S)


async def landed(database: Database, engine: Engine, *, now: datetime) -> int:
    """Work on what is due of all connections; returns how many messages were done."""
    async with database.plain() as connection:
        rows = await (await connection.execute(_RECEIVED, (now,))).fetchall()
    return sum([await work_on(engine, int(workspace), own) for workspace, own in rows])


async def _forget(database: Database, engine: Engine) -> None:
    async with database.plain() as connection:
        rows = await (await connection.execute("select id from workspace")).fetchall()
    for (workspace,) in rows:
        scope = engine.scope(workspace=workspace, actor="system:webhooks", cause="forget")
        await forget(engine, scope)
        more = True
        while more:
            async with database.transaction(scope) as tx:
                more = await forget_deliveries(tx) > 0
