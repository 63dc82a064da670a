"""Reactions to events, by the pattern of their type, all of them or none."""

from collections.abc import Sequence

import pytest

from isthmus.store.database import Database, Scope, Transaction
from isthmus.stream.consume import consume
from isthmus.stream.event import Event, within
from isthmus.stream.parked import parked
from isthmus.stream.reactions import Reaction, reacting
from isthmus.stream.relay import stamp
from tests.rooms.stream.stage import emit


async def note(tx: Transaction, event: Event) -> None:
    await tx.connection.execute(
        "insert into audit (workspace, at, actor, action, resource, request_id)"
        " values (current_workspace(), %s, %s, 'reaction', %s, %s)",
        (tx.scope.now, tx.scope.actor, event.type, tx.scope.cause),
    )


async def fail(tx: Transaction, event: Event) -> None:
    raise ValueError(tx, event)


def same(tx: Transaction) -> Transaction:
    return tx


@pytest.mark.parametrize(
    ("pattern", "meant"),
    [
        ("isthmus.sales.deal.changed.v1", True),
        ("isthmus.*.deal.changed.v1", True),
        ("isthmus.sales.deal.*.v1", True),
        ("isthmus.sales.deal.created.v1", False),
        ("isthmus.*", False),
        ("*.*.*.*.*.*", False),
    ],
)
def test_a_star_stands_for_one_segment(pattern: str, *, meant: bool) -> None:
    assert Reaction(on=pattern, do=note).means("isthmus.sales.deal.changed.v1") is meant


async def reactions_noted(database: Database, scope: Scope) -> list[str]:
    async with database.transaction(scope) as tx:
        cursor = await tx.connection.execute("select resource from audit where action = 'reaction' order by id")
        return [str(row[0]) for row in await cursor.fetchall()]


async def test_only_what_is_meant_is_done(database: Database, scope: Scope) -> None:
    await emit(database, scope, [1], kind="isthmus.sales.deal.created.v1")
    await emit(database, scope, [1], kind="isthmus.sales.deal.changed.v1")
    async with database.plain() as connection, within(connection, scope.workspace):
        await stamp(connection)
    for number, (pattern, read) in enumerate([("isthmus.sales.deal.created.v1", 1), ("isthmus.*.deal.created.v1", 2)]):
        consumer = reacting(f"r{number}", [Reaction(on=pattern, do=note)], context=same)
        assert await consume(database, consumer, scope) == read
        assert await consume(database, consumer, scope) == 0
        assert await reactions_noted(database, scope) == ["isthmus.sales.deal.created.v1"] * (number + 1)


async def test_when_one_fails_none_has_happened(database: Database, scope: Scope) -> None:
    await emit(database, scope, [1])
    async with database.plain() as connection, within(connection, scope.workspace):
        await stamp(connection)
    both = [Reaction(on="isthmus.*.*.*.v1", do=note), Reaction(on="isthmus.*.*.changed.v1", do=fail)]
    await consume(database, reacting("r", both, context=same), scope)
    assert await reactions_noted(database, scope) == []
    async with database.transaction(scope) as tx:
        assert [each.seq for each in await parked(tx)] == [1]


async def test_of_many_events_only_those_are_done_that_there_is_something_to_do_for(
    database: Database, scope: Scope
) -> None:
    await emit(database, scope, [1, 2, 3])
    async with database.plain() as connection, within(connection, scope.workspace):
        await stamp(connection)
    asked: list[list[int]] = []

    async def second(_: Transaction, events: Sequence[Event]) -> set[int]:
        asked.append([each.seq for each in events])
        return {2}

    done: list[tuple[int, str]] = []

    async def do(tx: Transaction, event: Event) -> None:
        done.append((event.seq, tx.scope.cause))

    every = Reaction(on="isthmus.*.*.changed.v1", do=do)
    few = Reaction(on="isthmus.*.*.changed.v1", do=do, among=second)
    assert await consume(database, reacting("r", [every, few], context=same), scope) == 3
    assert asked == [[1, 2, 3]]
    assert done == [(1, "event:1"), (2, "event:2"), (2, "event:2"), (3, "event:3")]
