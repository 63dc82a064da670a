"""The log forgets what is old once everybody who must read it has passed, and whoever asks for it later is told so."""

from dataclasses import replace
from datetime import timedelta

from isthmus.store.database import Database, Scope
from isthmus.store.schema import Schema
from isthmus.stream.event import events_after
from isthmus.stream.live import HELLO, Live
from isthmus.stream.parked import park
from isthmus.stream.relay import stamp
from isthmus.stream.tail import Tail
from isthmus.stream.trimming import trim, trimmed
from tests.rooms.stream.stage import emit_in, log

DAY = timedelta(days=1)
READERS = ("reader", "other")
_PASS = """
insert into consumer_offset (workspace, consumer, seq) values (current_workspace(), %s, %s)
on conflict (workspace, consumer) do update set seq = excluded.seq
"""


async def _written(database: Database, scope: Scope, *ages: int) -> None:
    """Commit one event for each age in days."""
    for age in ages:
        async with database.transaction(scope) as tx:
            await emit_in(tx.connection, replace(scope, now=scope.now - age * DAY), [age])
            await stamp(tx.connection)


async def _passed(database: Database, scope: Scope, **offsets: int) -> None:
    async with database.transaction(scope) as tx:
        for name, seq in offsets.items():
            await tx.connection.execute(_PASS, (name, seq))


async def _trimmed(database: Database, scope: Scope, *, limit: int = 100) -> tuple[int, list[int]]:
    async with database.transaction(scope) as tx:
        gone = await trim(tx, READERS, kept=30 * DAY, limit=limit)
    return gone, [each.seq for each in await log(database, scope.workspace)]


async def test_what_is_old_and_passed_by_all_goes_some_at_a_time(database: Database, scope: Scope) -> None:
    await _written(database, scope, 50, 40, 31, 29, 2)
    await _passed(database, scope, reader=5, other=5)
    assert await _trimmed(database, scope, limit=2) == (2, [3, 4, 5])
    assert await _trimmed(database, scope, limit=2) == (1, [4, 5])
    assert await _trimmed(database, scope, limit=2) == (0, [4, 5])
    async with database.transaction(scope) as tx:
        assert await trimmed(tx.connection) == 3


async def test_what_a_reader_has_not_passed_or_never_read_is_kept(database: Database, scope: Scope) -> None:
    await _written(database, scope, 50, 40, 35)
    await _passed(database, scope, reader=3)
    assert await _trimmed(database, scope) == (0, [1, 2, 3])
    await _passed(database, scope, other=2)
    assert await _trimmed(database, scope) == (2, [3])


async def test_what_waits_for_a_person_is_kept_until_it_was_done(database: Database, scope: Scope) -> None:
    await _written(database, scope, 50, 40, 35)
    await _passed(database, scope, reader=3, other=3)
    async with database.transaction(scope) as tx:
        (second,) = await events_after(tx.connection, after=1, limit=1)
        await park(tx, "reader", second, reason="It failed.")
    assert await _trimmed(database, scope) == (2, [2])
    async with database.transaction(scope) as tx:
        await tx.connection.execute("delete from parked where workspace = current_workspace()")
    await _written(database, scope, 34)
    await _passed(database, scope, reader=4, other=4)
    assert await _trimmed(database, scope) == (2, [])


async def test_numbers_go_on_and_a_client_that_comes_back_is_told_of_the_gap(
    database: Database, scope: Scope, schema: Schema
) -> None:
    await _written(database, scope, 50, 40, 35)
    await _passed(database, scope, reader=3, other=3)
    await _trimmed(database, scope)
    await _written(database, scope, 1)
    frames = Live(Tail(database=database, schema=schema, broker=None)).frames(
        scope.workspace, after=1, wants=lambda _: True
    )
    assert await anext(frames) == HELLO
    assert await anext(frames) == b'event: gap\ndata: {"after": 1, "next": 4}\n\n'
    assert (await anext(frames)).startswith(b"id: 4\n")
    await frames.aclose()
