"""Events that are told together lie together in the log and in its tail, and everybody reads them one by one."""

import asyncio
import json
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg import errors

from isthmus.app.discovery import schema as all_types
from isthmus.store.database import Database, Scope
from isthmus.store.schema import Schema
from isthmus.stream.broker import Broker, Entry, packed, unpacked
from isthmus.stream.envelope import envelope_json, envelopes_json
from isthmus.stream.event import Event, before_moment, events_after, events_at, events_of, last_events, within
from isthmus.stream.parked import park
from isthmus.stream.publish import Publisher
from isthmus.stream.relay import Relay, stamped
from isthmus.stream.tail import Tail
from isthmus.stream.trimming import trim
from tests.conftest import NOW
from tests.rooms.stream.stage import (
    CHANGED,
    OwnValkey,
    beside,
    emit,
    emit_together,
    log,
    log_reaches,
    tail_becomes,
    until,
)

CREATED = "isthmus.sales.deal.created.v1"
DAY = timedelta(days=1)
_SCHEMA = all_types()


async def stamp_some(database: Database, scope: Scope, *, limit: int = 5_000) -> list[Event]:
    async with database.plain() as connection, within(connection, scope.workspace):
        return await stamped(connection, scope.workspace, limit=limit)


async def passed(database: Database, scope: Scope, seq: int, *, limit: int = 100) -> tuple[int, list[int]]:
    """Let the only reader pass `seq`, and trim; returns how many went and what is left."""
    async with database.transaction(scope) as tx:
        await tx.connection.execute(
            "insert into consumer_offset (workspace, consumer, seq) values (current_workspace(), 'reader', %s)"
            " on conflict (workspace, consumer) do update set seq = excluded.seq",
            (seq,),
        )
        gone = await trim(tx, ["reader"], kept=30 * DAY, limit=limit)
    return gone, [each.seq for each in await log(database, scope.workspace)]


@asynccontextmanager
async def short_tails(valkey: OwnValkey) -> AsyncGenerator[Broker]:
    broker = Broker(valkey.client(), events_max=5)
    try:
        yield broker
    finally:
        await broker.close()


async def ends_at(broker: Broker, workspace: int, seq: int) -> None:
    """Wait until the tail of a workspace ends at an event; fail if it does not."""
    for _ in range(200):
        if await broker.last(workspace) == seq:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"the tail does not reach {seq}")


async def test_bundles_are_numbered_one_event_after_the_other(database: Database, scope: Scope) -> None:
    await emit_together(database, scope, range(1, 6))
    await emit(database, scope, [6])
    await emit_together(database, scope, range(7, 135))
    events = await stamp_some(database, scope)
    assert events == await log(database, scope.workspace)
    assert [(each.seq, each.record_id.int) for each in events] == [(each, each) for each in range(1, 135)]
    assert len({each.id for each in events}) == len(events)
    assert [each.id for each in events] == sorted(each.id for each in events)
    assert {(each.hlc, each.account_id) for each in events[:2]} == {(1, UUID(int=7)), (2, UUID(int=7))}


async def test_a_bundle_is_never_divided_however_few_are_asked_for(database: Database, scope: Scope) -> None:
    await emit_together(database, scope, range(1, 6))
    await emit_together(database, scope, range(6, 9))
    assert [each.seq for each in await stamp_some(database, scope, limit=1)] == [1, 2, 3, 4, 5]
    assert [each.seq for each in await stamp_some(database, scope, limit=1)] == [6, 7, 8]
    assert await stamp_some(database, scope, limit=1) == []


async def test_those_that_stamp_at_once_number_bundles_without_gap_or_double(database: Database, scope: Scope) -> None:
    sizes = [1, 128, 3, 17, 64, 2] * 4
    for size in sizes:
        await emit_together(database, scope, range(1, size + 1))

    async def all_of_them() -> int:
        count = 0
        while more := await stamp_some(database, scope, limit=50):
            count += len(more)
        return count

    counts = await asyncio.gather(*(all_of_them() for _ in range(3)))
    assert sum(counts) == sum(sizes)
    assert [each.seq for each in await log(database, scope.workspace)] == list(range(1, sum(sizes) + 1))


async def test_reading_goes_on_in_the_middle_of_a_bundle(database: Database, scope: Scope) -> None:
    await emit_together(database, scope, range(1, 6))
    await emit_together(database, scope, range(6, 11), kind=CREATED)
    await stamp_some(database, scope)
    async with database.plain() as connection, within(connection, scope.workspace):
        for after in range(11):
            found = await events_after(connection, after=after, limit=4)
            assert [each.seq for each in found] == list(range(after + 1, min(after + 5, 11)))
        picked = await events_at(connection, [3, 6, 10, 11])
        assert [each.record_id.int for each in picked] == [3, 6, 10]
        some = await events_of(connection, [CREATED], after=7, until=9, limit=10)
        assert [each.seq for each in some] == [8, 9]
        last = await last_events(connection, [CHANGED, CREATED], limit=6)
        assert [each.seq for each in last] == [5, 6, 7, 8, 9, 10]
        assert await before_moment(connection, NOW) == 0
        assert await before_moment(connection, NOW + DAY) == 10


async def test_the_end_of_a_long_log_is_read_without_its_beginning(database: Database, scope: Scope) -> None:
    async with database.transaction(scope) as tx:
        await tx.connection.execute(
            "insert into event_bundle (workspace, type, record_type, record_ids, account_ids, hlcs, changed, actor,"
            " cause, at) select current_workspace(), %s, 'sales.deal', array[gen_random_uuid()], array[null::uuid],"
            " array[1], '{}', 'user:tester', 'test', %s from generate_series(1, 2000)",
            (CHANGED, scope.now),
        )
    await stamp_some(database, scope)
    async with database.plain() as connection, within(connection, scope.workspace):
        for asked in ("events_after(1990) order by bundle, seq limit 5", "event_at(1990)"):
            query = f"explain (analyze, format json) select * from {asked}"  # noqa: S608 - constants.
            told = await (await connection.execute(query)).fetchone()
            assert told is not None
            passed_over = re.findall(r'"Rows Removed by Filter": (\d+)', json.dumps(told[0]))
            assert all(int(each) < 200 for each in passed_over), told


async def test_a_workspace_sees_no_bundle_of_another(database: Database, scope: Scope, second: Scope) -> None:
    await emit_together(database, scope, range(1, 6))
    await stamp_some(database, scope)
    assert await log(database, second.workspace) == []
    async with database.plain() as connection, within(connection, second.workspace):
        assert await events_at(connection, [1, 2]) == []
        for table in ("event", "event_bundle"):
            assert await (await connection.execute(f"select count(*) from {table}")).fetchone() == (0,)  # noqa: S608 - a constant.


async def test_a_bundle_without_events_or_with_too_many_is_refused(database: Database, scope: Scope) -> None:
    for records in (range(0), range(129)):
        with pytest.raises(errors.CheckViolation):
            await emit_together(database, scope, records)


async def test_a_bundle_stays_until_all_of_it_was_read(database: Database, scope: Scope) -> None:
    old = replace(scope, now=scope.now - 40 * DAY)
    await emit_together(database, old, range(1, 4))
    await emit_together(database, old, range(4, 7))
    await stamp_some(database, scope)
    assert await passed(database, scope, 2) == (0, [1, 2, 3, 4, 5, 6])
    assert await passed(database, scope, 5) == (3, [4, 5, 6])
    assert await passed(database, scope, 6) == (3, [])


async def test_one_event_that_waits_for_a_person_keeps_its_bundle(database: Database, scope: Scope) -> None:
    old = replace(scope, now=scope.now - 40 * DAY)
    await emit_together(database, old, range(1, 4))
    await emit_together(database, old, range(4, 7))
    await stamp_some(database, scope)
    async with database.transaction(scope) as tx:
        await park(tx, "reader", (await events_at(tx.connection, [2]))[0], reason="It failed.")
    assert await passed(database, scope, 6) == (3, [1, 2, 3])


async def test_the_tail_tells_the_events_of_bundles_one_by_one(
    database: Database, scope: Scope, schema: Schema, valkey: OwnValkey, broker: Broker
) -> None:
    valkey.start()
    relay = Relay(database=database, schema=schema, broker=broker)
    async with beside(relay.run()):
        await emit_together(database, scope, range(1, 129))
        await emit(database, scope, [129])
        await emit_together(database, scope, range(130, 161), kind=CREATED)
        await log_reaches(database, scope.workspace, 160)
        await tail_becomes(broker, scope.workspace, list(range(1, 161)))
    for after in (0, 1, 63, 64, 65, 127, 128, 129, 159):
        found = await broker.read(scope.workspace, after=after, limit=10, wait_s=0.1)
        # Fewer may come than were asked for, but never others.
        assert 1 <= len(found) <= 10
        assert [each.seq for each in found] == list(range(after + 1, after + 1 + len(found)))
    told = await broker.read(scope.workspace, after=0, limit=200, wait_s=0.1)
    kept = await log(database, scope.workspace)
    assert [each.type for each in told] == [each.type for each in kept]
    assert [each.body for each in told] == [
        envelope_json(each, workspace=scope.workspace, schema=schema) for each in kept
    ]
    from_log = await Tail(database=database, schema=schema, broker=None).next(scope.workspace, after=0)
    assert from_log == told


async def test_a_tail_that_forgets_its_start_is_read_on_from_the_log(
    database: Database, scope: Scope, schema: Schema, valkey: OwnValkey
) -> None:
    valkey.start()
    for start in range(0, 8_000, 100):
        await emit_together(database, scope, range(start + 1, start + 101))
    async with short_tails(valkey) as short:
        publisher = Publisher(database=database, schema=schema, broker=short)
        async with beside(publisher.run()):
            await until(lambda: publisher.reached)
            for _ in range(2):
                publisher.moved(scope.workspace, await stamp_some(database, scope))
            await until(lambda: publisher.reached)
            await ends_at(short, scope.workspace, 8_000)
        (first, *_) = await short.read(scope.workspace, after=0, limit=1, wait_s=0.1)
        assert first.seq > 1
        tail, seqs = Tail(database=database, schema=schema, broker=short), list[int]()
        while len(seqs) < 8_000:
            found = await tail.next(scope.workspace, after=seqs[-1] if seqs else 0)
            seqs += [each.seq for each in found]
        assert seqs == list(range(1, 8_001))


_TYPES = st.sampled_from([CHANGED, CREATED])


@given(first=st.integers(1, 2**52), types=st.lists(_TYPES, min_size=1, max_size=64), words=st.text())
def test_what_was_packed_is_unpacked_as_it_was(first: int, types: list[str], words: str) -> None:
    body = msgspec.json.encode({"said": words})
    entries = [Entry(first + place, kind, body) for place, kind in enumerate(types)]
    number, kinds, events = packed(entries)
    assert unpacked(f"{number}-0".encode(), kinds.encode(), events) == entries


_EVENTS = st.builds(
    Event,
    seq=st.integers(1, 2**53),
    id=st.integers(1, 2**53),
    type=_TYPES,
    record_type=st.sampled_from(["sales.deal", "sales.account", "sales.abacus"]),
    record_id=st.uuids(),
    account_id=st.none() | st.uuids(),
    hlc=st.integers(1, 2**53),
    changed=st.lists(st.text(max_size=4), max_size=2).map(tuple),
    actor=st.sampled_from(["cli:ada", "sync:crm"]) | st.text(max_size=4),
    cause=st.text(max_size=4),
    at=st.just(NOW),
)


@given(events=st.lists(_EVENTS, max_size=6))
def test_events_told_together_say_what_each_says_alone(events: list[Event]) -> None:
    alone = [envelope_json(each, workspace=3, schema=_SCHEMA) for each in events]
    assert envelopes_json(events, workspace=3, schema=_SCHEMA) == alone
