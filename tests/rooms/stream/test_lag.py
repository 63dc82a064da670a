"""The log tells how far its readers are behind it, and whether its tail in Valkey is there."""

from dataclasses import replace
from datetime import timedelta

from isthmus.store.database import Database, Scope
from isthmus.store.schema import Schema
from isthmus.stream.broker import Broker, Entry
from isthmus.stream.event import within
from isthmus.stream.lag import log_of
from isthmus.stream.relay import stamp
from isthmus.stream.tail import Tail, TailState
from tests.conftest import NOW
from tests.rooms.stream.stage import OwnValkey, emit


async def read(database: Database, scope: Scope, consumer: str, seq: int) -> None:
    """Let a consumer have read up to a number."""
    async with database.transaction(scope) as tx:
        await tx.connection.execute(
            "insert into consumer_offset (workspace, consumer, seq) values (current_workspace(), %s, %s)",
            (consumer, seq),
        )


async def test_readers_are_told_by_how_far_they_are_behind_in_events_and_seconds(
    database: Database, scope: Scope
) -> None:
    await emit(database, replace(scope, now=NOW - timedelta(seconds=90)), [1, 2])
    await emit(database, replace(scope, now=NOW - timedelta(seconds=30)), [3])
    async with database.plain() as connection, within(connection, scope.workspace):
        await stamp(connection)
    for consumer, seq in {"late": 1, "later": 0, "there": 3}.items():
        await read(database, scope, consumer, seq)
    async with database.transaction(scope) as tx:
        log = await log_of(tx)
    assert (log.head, log.first, log.grew_at, log.unstamped) == (3, 1, NOW - timedelta(seconds=30), 0)
    found = [(each.consumer, each.behind, each.lag_s(NOW)) for each in log.readers]
    assert found == [("later", 3, 90.0), ("late", 2, 90.0), ("there", 0, 0.0)]


async def test_what_has_no_number_yet_is_counted(database: Database, scope: Scope) -> None:
    await emit(database, scope, [1, 2])
    async with database.transaction(scope) as tx:
        log = await log_of(tx)
    assert (log.head, log.first, log.unstamped, log.unstamped_since) == (0, None, 2, scope.now)


async def test_the_tail_is_there_or_away_or_none(
    database: Database, schema: Schema, valkey: OwnValkey, broker: Broker
) -> None:
    tail = Tail(database=database, schema=schema, broker=broker)
    assert await tail.state(1) == TailState("away")
    valkey.start()
    await broker.append(1, [Entry(1, "type", b"{}"), Entry(2, "type", b"{}")], follows=0)
    assert await tail.state(1) == TailState("there", 2)
    valkey.kill()
    assert await tail.state(1) == TailState("away")
    assert await Tail(database=database, schema=schema, broker=None).state(1) == TailState("none")
