"""Each event's effect happens once; what fails waits with its reason, and what depends on it waits behind it."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import LiteralString
from uuid import UUID

import pytest

from isthmus.kernel.clock import FrozenClock
from isthmus.kernel.errors import Conflicting
from isthmus.store.database import Database, DatabaseAway, Scope, Transaction
from isthmus.stream.consume import Consumer, Handler, consume, retry, run_consumers
from isthmus.stream.event import Event, within
from isthmus.stream.parked import parked
from isthmus.stream.relay import stamp
from tests.conftest import NOW
from tests.rooms.stream.stage import beside, emit

# The effect of an event in these tests is a row with its number in a table that the consumer may write.
EFFECT: LiteralString = """
insert into audit (workspace, at, actor, action, resource, record_id, request_id)
values (current_workspace(), %s, %s, 'effect', %s, %s, %s)
"""


async def add(tx: Transaction, event: Event) -> None:
    await tx.connection.execute(EFFECT, (tx.scope.now, tx.scope.actor, str(event.seq), event.record_id, tx.scope.cause))


async def happened(database: Database, scope: Scope) -> list[int]:
    async with database.transaction(scope) as tx:
        cursor = await tx.connection.execute("select resource from audit where action = 'effect' order by id")
        return [int(row[0]) for row in await cursor.fetchall()]


async def write(database: Database, scope: Scope, records: list[int]) -> None:
    await emit(database, scope, records)
    async with database.plain() as connection, within(connection, scope.workspace):
        await stamp(connection)


def failing_on(*records: int, error: type[Exception] = Conflicting) -> Handler:
    async def handle(tx: Transaction, event: Event) -> None:
        await add(tx, event)
        if event.record_id.int in records:
            raise error("jane@example.org did not fit")

    return handle


async def test_every_event_has_its_effect_once_in_order(database: Database, scope: Scope) -> None:
    await write(database, scope, [1, 2, 1, 3])
    consumer = Consumer("c", add)
    assert await consume(database, consumer, scope, limit=3) == 3
    assert await consume(database, consumer, scope) == 1
    assert await consume(database, consumer, scope) == 0
    assert await happened(database, scope) == [1, 2, 3, 4]


async def test_effects_name_the_event_that_caused_them(database: Database, scope: Scope) -> None:
    await write(database, scope, [1])
    await consume(database, Consumer("c", add), scope)
    async with database.transaction(scope) as tx:
        cursor = await tx.connection.execute("select request_id from audit where action = 'effect'")
        assert await cursor.fetchall() == [("event:1",)]


async def test_instances_that_compete_do_nothing_twice(database: Database, scope: Scope) -> None:
    await write(database, scope, list(range(1, 61)))

    async def slowly(tx: Transaction, event: Event) -> None:
        await asyncio.sleep(0.002)
        await add(tx, event)

    async def instance() -> None:
        for _ in range(40):
            await consume(database, Consumer("c", slowly), scope, limit=7)
            await asyncio.sleep(0.005)

    await asyncio.gather(instance(), instance(), instance())
    assert await happened(database, scope) == list(range(1, 61))


async def test_an_effect_that_is_cut_off_has_not_happened(database: Database, scope: Scope) -> None:
    await write(database, scope, [1, 2])

    async def cut(tx: Transaction, event: Event) -> None:
        await add(tx, event)
        if event.seq == 2:
            await tx.connection.execute("select pg_terminate_backend(pg_backend_pid())")

    with pytest.raises(DatabaseAway):
        await consume(database, Consumer("c", cut), scope)
    assert await happened(database, scope) == []
    assert await consume(database, Consumer("c", add), scope) == 2
    assert await happened(database, scope) == [1, 2]


async def test_a_failure_waits_with_its_reason_and_holds_its_record_only(database: Database, scope: Scope) -> None:
    await write(database, scope, [1, 2, 3, 2, 3])
    assert await consume(database, Consumer("c", failing_on(2)), scope) == 5
    assert await happened(database, scope) == [1, 3, 5]
    async with database.transaction(scope) as tx:
        waiting = await parked(tx, consumer="c")
    assert [(each.seq, each.record_id.int, each.attempts) for each in waiting] == [(2, 2, 1), (4, 2, 1)]
    assert waiting[0].reason.startswith("conflict: In conflict with the present state (test_consume.py:")
    assert waiting[1].reason == "waits behind an earlier event of its record"


@pytest.mark.parametrize("error", [Conflicting, ValueError])
async def test_a_reason_shows_no_values(database: Database, scope: Scope, error: type[Exception]) -> None:
    await write(database, scope, [1])
    await consume(database, Consumer("c", failing_on(1, error=error)), scope)
    async with database.transaction(scope) as tx:
        assert "jane" not in (await parked(tx))[0].reason


async def test_later_events_of_a_parked_record_wait_in_later_batches_too(database: Database, scope: Scope) -> None:
    await write(database, scope, [1])
    await consume(database, Consumer("c", failing_on(1)), scope)
    await write(database, scope, [1, 2])
    await consume(database, Consumer("c", add), scope)
    assert await happened(database, scope) == [3]


async def test_trying_again_takes_the_events_of_a_record_in_order(database: Database, scope: Scope) -> None:
    await write(database, scope, [1, 1, 1])
    await consume(database, Consumer("c", failing_on(1)), scope)
    later = Scope(workspace=scope.workspace, actor="user:tester", cause="test", now=NOW + timedelta(hours=1))
    assert await retry(database, Consumer("c", failing_on(1)), later, UUID(int=1)) == 0
    async with database.transaction(scope) as tx:
        first = (await parked(tx))[0]
    assert (first.attempts, first.parked_at, first.tried_at) == (2, NOW, later.now)
    assert await retry(database, Consumer("c", add), later, UUID(int=1)) == 3
    assert await happened(database, scope) == [1, 2, 3]
    async with database.transaction(scope) as tx:
        assert await parked(tx) == []


async def test_consumers_run_over_all_workspaces_and_one_that_is_stuck_holds_up_no_other(
    database: Database, scope: Scope, second: Scope
) -> None:
    await write(database, scope, [1, 2])
    await write(database, second, [3])

    async def stuck(tx: Transaction, event: Event) -> None:
        del event
        await tx.connection.execute("set local statement_timeout = 1")
        await tx.connection.execute("select pg_sleep(1)")

    consumers = [Consumer("a-stuck", stuck), Consumer("b-fine", add)]
    async with beside(run_consumers(database, consumers, clock=FrozenClock(NOW))):
        for _ in range(200):
            if await happened(database, scope) == [1, 2] and await happened(database, second) == [1]:
                break
            await asyncio.sleep(0.05)
    assert await happened(database, scope) == [1, 2]
    assert await happened(database, second) == [1]


async def test_events_of_some_types_are_taken_together_and_the_others_passed_over(
    database: Database, scope: Scope
) -> None:
    await write(database, scope, [1, 2, 3])
    batches: list[list[int]] = []

    async def together(tx: Transaction, events: Sequence[Event]) -> None:
        batches.append([each.seq for each in events])
        for each in events:
            await add(tx, each)

    async with database.transaction(scope) as tx:
        cursor = await tx.connection.execute("select distinct type from event")
        (kind,) = [str(row[0]) for row in await cursor.fetchall()]
    deaf = Consumer("deaf", add, types=("isthmus.other.thing.created.v1",), together=together)
    assert await consume(database, deaf, scope) == 0
    keen = Consumer("keen", add, types=(kind,), together=together)
    assert [await consume(database, keen, scope, limit=2) for _ in range(3)] == [2, 1, 0]
    assert batches == [[1, 2], [3]]
    assert await happened(database, scope) == [1, 2, 3]


async def test_when_a_batch_fails_each_event_is_done_by_itself(database: Database, scope: Scope) -> None:
    await write(database, scope, [1, 2, 3])

    async def together(tx: Transaction, events: Sequence[Event]) -> None:
        for each in events:
            await failing_on(2)(tx, each)

    assert await consume(database, Consumer("c", failing_on(2), together=together), scope) == 3
    assert await happened(database, scope) == [1, 3]
    async with database.transaction(scope) as tx:
        assert [each.seq for each in await parked(tx, consumer="c")] == [2]
