"""The consumer that is made wrongly does things twice when it dies, and the product's, stopped alike, never does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import psycopg
import pytest

from isthmus.app.bench.chaos.judging import Effect
from isthmus.app.bench.chaos.parts import CAREFUL, CARELESS, affect, make_tables, take_carelessly
from isthmus.app.engines import Engines
from isthmus.store.database import Database, Scope, Transaction
from isthmus.stream.consume import Consumer, consume
from isthmus.stream.event import Event, within
from isthmus.stream.relay import stamp
from tests.rooms.stream.stage import emit

EVENTS = 20


@pytest.fixture
async def told(engines: Engines, database: Database, scope: Scope) -> AsyncIterator[Scope]:
    """A workspace with events, and the tables of effects."""
    make_tables(engines.postgres)
    await emit(database, scope, range(1, EVENTS + 1))
    async with database.plain() as connection, within(connection, scope.workspace):
        await stamp(connection)
    yield scope
    owner = engines.postgres.owner
    with psycopg.connect(owner.conninfo, password=owner.password, autocommit=True) as connection:
        connection.execute("drop table chaos_effect, chaos_offset, bench_effect")


async def twice(database: Database, scope: Scope, consumer: str) -> tuple[int, int]:
    """Return how many effects a consumer had, and how many of them more than once."""
    query = "select place, seq, record_id, account_id from chaos_effect where consumer = %s"
    async with database.transaction(scope) as tx:
        rows = await (await tx.connection.execute(query, (consumer,))).fetchall()
    effects = [Effect(*row) for row in rows]
    return len(effects), len(effects) - len({each.seq for each in effects})


async def test_whoever_commits_effect_and_offset_apart_is_caught_when_it_dies_in_between(
    database: Database, told: Scope
) -> None:
    dying = asyncio.create_task(take_carelessly(database, told.workspace, apart_s=60.0))
    while (await twice(database, told, CARELESS))[0] < EVENTS:  # noqa: ASYNC110 - only the table tells.
        await asyncio.sleep(0.01)
    dying.cancel()
    with suppress(asyncio.CancelledError):
        await dying
    assert await take_carelessly(database, told.workspace, apart_s=0.0) == EVENTS
    assert await twice(database, told, CARELESS) == (2 * EVENTS, EVENTS)


async def test_whoever_commits_them_together_has_each_effect_once_wherever_it_dies(
    database: Database, told: Scope
) -> None:
    for place in (1, EVENTS // 2, EVENTS):
        reached = asyncio.Event()

        async def stuck(tx: Transaction, event: Event, place: int = place, reached: asyncio.Event = reached) -> None:
            await affect(tx, event)
            if event.seq == place:
                reached.set()
                await asyncio.sleep(60.0)

        dying = asyncio.create_task(consume(database, Consumer(CAREFUL, stuck), told))
        await reached.wait()
        dying.cancel()
        with suppress(asyncio.CancelledError):
            await dying
    assert await consume(database, Consumer(CAREFUL, affect), told) == EVENTS
    assert await twice(database, told, CAREFUL) == (EVENTS, 0)
