"""Live feeds resume where a client left, across the tail and the log, and let go of those that do not keep up."""

import asyncio
from collections.abc import AsyncGenerator

import msgspec
import pytest

from isthmus.store.database import Database, Scope
from isthmus.store.schema import Schema
from isthmus.stream.broker import Broker
from isthmus.stream.event import within
from isthmus.stream.live import HEARTBEAT, HELLO, SLOW, Frame, Live
from isthmus.stream.relay import Relay, stamp
from isthmus.stream.tail import Tail
from tests.rooms.stream.stage import OwnValkey, beside, emit


def everything(frame: Frame) -> bool:
    return bool(frame.type)


async def write(database: Database, scope: Scope, records: range) -> None:
    await emit(database, scope, records)
    async with database.plain() as connection, within(connection, scope.workspace):
        await stamp(connection)


async def take(frames: AsyncGenerator[bytes], count: int) -> list[int]:
    """Return the numbers of the next frames that are events."""
    seqs: list[int] = []
    async with asyncio.timeout(20):
        async for frame in frames:
            if frame.startswith(b"id: "):
                seqs.append(int(frame.split(b"\n")[0][4:]))
            if len(seqs) == count:
                return seqs
    return seqs


async def test_a_client_that_comes_back_misses_nothing(database: Database, scope: Scope, schema: Schema) -> None:
    live = Live(Tail(database=database, schema=schema, broker=None))
    await write(database, scope, range(1, 6))
    frames = live.frames(scope.workspace, after=2, wants=everything)
    assert await take(frames, 3) == [3, 4, 5]
    await write(database, scope, range(6, 8))
    assert await take(frames, 2) == [6, 7]
    await frames.aclose()
    assert live.clients == 0


async def test_a_new_client_hears_what_comes_from_now_on(database: Database, scope: Scope, schema: Schema) -> None:
    live = Live(Tail(database=database, schema=schema, broker=None), heartbeat_s=0.05)
    await write(database, scope, range(1, 4))
    frames = live.frames(scope.workspace, after=None, wants=everything)
    assert (await anext(frames), await anext(frames)) == (HELLO, HEARTBEAT)
    await write(database, scope, range(4, 5))
    assert await take(frames, 1) == [4]
    await frames.aclose()


async def test_a_number_from_another_log_does_not_silence_a_client(
    database: Database, scope: Scope, schema: Schema
) -> None:
    live = Live(Tail(database=database, schema=schema, broker=None), heartbeat_s=0.05)
    await write(database, scope, range(1, 4))
    frames = live.frames(scope.workspace, after=900, wants=everything)
    assert (await anext(frames), await anext(frames)) == (HELLO, HEARTBEAT)
    await write(database, scope, range(4, 5))
    assert await take(frames, 1) == [4]
    await frames.aclose()


async def test_a_client_gets_only_what_it_wants(database: Database, scope: Scope, schema: Schema) -> None:
    live = Live(Tail(database=database, schema=schema, broker=None))
    await emit(database, scope, [1], kind="isthmus.sales.deal.created.v1")
    await write(database, scope, range(2, 3))
    frames = live.frames(scope.workspace, after=0, wants=lambda frame: frame.type.endswith(".changed.v1"))
    assert await anext(frames) == HELLO
    first = await anext(frames)
    assert first.startswith(b"id: 2\ndata: {")
    assert msgspec.json.decode(first.split(b"data: ")[1])["type"] == "isthmus.sales.deal.changed.v1"
    await frames.aclose()


async def test_an_event_is_made_into_a_frame_once_for_all_who_hear_it(
    database: Database, scope: Scope, schema: Schema
) -> None:
    live = Live(Tail(database=database, schema=schema, broker=None))
    frames = [live.frames(scope.workspace, after=None, wants=everything, holder="key:1") for _ in range(3)]
    assert [await anext(each) for each in frames] == [HELLO] * 3
    assert live.held("key:1") == 3
    await write(database, scope, range(1, 2))
    first, second, third = [await anext(each) for each in frames]
    assert first is second
    assert second is third
    for each in frames:
        await each.aclose()
    assert live.held("key:1") == 0


async def test_a_feed_ends_before_the_next_event_once_its_caller_is_in_doubt(
    database: Database, scope: Scope, schema: Schema
) -> None:
    live = Live(Tail(database=database, schema=schema, broker=None))
    doubted = False
    frames = live.frames(scope.workspace, after=None, wants=everything, ended=lambda: doubted)
    assert await anext(frames) == HELLO
    await write(database, scope, range(1, 2))
    assert await take(frames, 1) == [1]
    doubted = True
    await write(database, scope, range(2, 3))
    assert await take(frames, 1) == []
    assert live.clients == 0


async def test_one_reader_serves_many_and_a_slow_one_is_let_go(
    database: Database, scope: Scope, schema: Schema
) -> None:
    live = Live(Tail(database=database, schema=schema, broker=None), queue_frames_max=5, heartbeat_s=0.05)
    quick = live.frames(scope.workspace, after=None, wants=everything)
    slow = live.frames(scope.workspace, after=None, wants=everything)
    await asyncio.gather(anext(quick), anext(slow))
    for start in range(1, 21, 4):
        await write(database, scope, range(start, start + 4))
        assert await take(quick, 4) == list(range(start, start + 4))
    told = [frame async for frame in slow]
    heard = [int(frame.split(b"\n")[0][4:]) for frame in told[:-1]]
    assert (heard, told[-1]) == ([1, 2, 3, 4, 5], SLOW)
    again = live.frames(scope.workspace, after=heard[-1], wants=everything)
    assert await take(again, 15) == list(range(6, 21))
    for each in (quick, slow, again):
        await each.aclose()


@pytest.mark.parametrize("lost", ["killed", "flushed"])
async def test_losing_valkey_loses_no_event_of_a_live_client(
    database: Database, scope: Scope, schema: Schema, valkey: OwnValkey, broker: Broker, lost: str
) -> None:
    valkey.start()
    live = Live(Tail(database=database, schema=schema, broker=broker))
    relay = Relay(database=database, schema=schema, broker=broker)
    async with beside(relay.run()):
        frames = live.frames(scope.workspace, after=0, wants=everything)
        await emit(database, scope, range(1, 4))
        assert await take(frames, 3) == [1, 2, 3]
        if lost == "killed":
            valkey.kill()
        else:
            await valkey.flush()
        await emit(database, scope, range(4, 6))
        assert await take(frames, 2) == [4, 5]
        if lost == "killed":
            valkey.start()
        await emit(database, scope, range(6, 8))
        assert await take(frames, 2) == [6, 7]
        await frames.aclose()


async def test_a_gap_amid_what_the_tail_gives_at_once_is_filled_from_the_log(
    database: Database, scope: Scope, schema: Schema, valkey: OwnValkey, broker: Broker
) -> None:
    valkey.start()
    await write(database, scope, range(1, 7))
    tail = Tail(database=database, schema=schema, broker=broker)
    entries = {each.seq: each for each in await tail.kept(scope.workspace, after=0)}
    assert await broker.append(scope.workspace, [entries[1], entries[2]], follows=0) == 2
    assert await broker.append(scope.workspace, [entries[5], entries[6]], follows=2) == 6
    first = await tail.next(scope.workspace, after=0)
    assert [each.seq for each in first] == [1, 2]
    rest = await tail.next(scope.workspace, after=2)
    assert [each.seq for each in rest] == [3, 4, 5, 6]
