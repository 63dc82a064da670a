"""Valkey, PostgreSQL and the reference agree about one bucket."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from isthmus.store.database import Database
from isthmus.stream.lane import Lane, LaneAddress
from isthmus.stream.limits import Ask, Authority, Rate
from isthmus.stream.limits.bucket import LimitsAway
from isthmus.stream.limits.postgres import PostgresAuthority
from isthmus.stream.limits.valkey import ValkeyAuthority
from tests.rooms.stream.stage import OwnValkey

SLOW = Rate(count=100, seconds=3600, burst=10)
FAST = Rate(count=50_000, seconds=100, burst=400)


@pytest.fixture(params=["valkey", "postgres"])
async def authority(request: pytest.FixtureRequest, valkey: OwnValkey, database: Database) -> AsyncIterator[Authority]:
    """Each store of buckets."""
    if request.param == "postgres":
        yield PostgresAuthority(database)
        return
    valkey.start()
    lane = Lane(LaneAddress(socket_path=valkey.socket))
    await lane.open()
    yield ValkeyAuthority(lane)
    await lane.close()


async def test_a_fresh_bucket_gives_its_burst_and_then_says_when_the_next_permit_is_there(
    authority: Authority,
) -> None:
    got = [(await authority.draw(Ask(key="fresh", rate=SLOW, need=1))).now for _ in range(10)]
    assert got == [1] * 10
    over = await authority.draw(Ask(key="fresh", rate=SLOW, need=1))
    assert (over.now, over.ahead) == (0, 0)
    assert 35_000_000 < over.wait_us <= 36_000_000


async def test_who_needs_several_permits_gets_all_or_none(authority: Authority) -> None:
    first = await authority.draw(Ask(key="several", rate=SLOW, need=8, unit=4))
    second = await authority.draw(Ask(key="several", rate=SLOW, need=4, unit=4))
    assert (first.now, second.now) == (8, 0)
    assert second.free == pytest.approx(2, abs=0.01)


async def test_leases_never_hold_more_than_three_quarters_of_a_bucket(authority: Authority) -> None:
    grants = [await authority.draw(Ask(key="leased", rate=FAST, ahead=200)) for _ in range(4)]
    assert sum(each.ahead for each in grants) <= 300


async def test_what_is_returned_in_time_is_there_again_and_what_is_returned_late_is_not(authority: Authority) -> None:
    slow = Rate(count=200, seconds=200, burst=100)
    lease = await authority.draw(Ask(key="back", rate=slow, ahead=50))
    assert lease.ahead == 50
    back = await authority.draw(
        Ask(key="back", rate=slow, back=50, back_epoch=lease.epoch, new_epoch=lease.epoch, new_gone=50)
    )
    assert back.free == pytest.approx(100, abs=1)
    late = await authority.draw(Ask(key="back", rate=slow, need=40))
    assert late.now == 40
    ignored = await authority.draw(Ask(key="back", rate=slow, back=40, back_epoch=lease.epoch - 5))
    assert ignored.free == pytest.approx(60, abs=1)


async def test_asks_of_one_moment_are_answered_each_for_itself(authority: Authority) -> None:
    asks = [Ask(key=f"many-{n % 7}", rate=SLOW, need=1) for n in range(140)]
    answers = await asyncio.gather(*(authority.draw(each) for each in asks))
    assert sum(each.now for each in answers) == 70


async def test_a_store_that_lost_the_bucket_takes_it_from_a_node(authority: Authority) -> None:
    spent = await authority.draw(Ask(key="lost", rate=SLOW, need=10))
    assert spent.now == 10
    told = await authority.draw(Ask(key="lost-other", rate=SLOW, need=1, seen_us=spent.full_us, lost=True))
    assert told.now == 0


async def test_nodes_are_counted(authority: Authority) -> None:
    assert await authority.nodes("a") >= 1
    both = await authority.nodes("b")
    assert await authority.nodes("a") == both


async def test_a_valkey_that_is_gone_is_told_at_once(valkey: OwnValkey) -> None:
    lane = Lane(LaneAddress(socket_path=valkey.socket))
    await lane.open()
    with pytest.raises(LimitsAway):
        await ValkeyAuthority(lane).draw(Ask(key="x", rate=SLOW, need=1))
    await lane.close()
