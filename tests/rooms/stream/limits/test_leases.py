"""Leases at nodes never admit more than the bucket allows, and seldom ask."""

import asyncio
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.stream.limits import Rate, Refusal
from isthmus.stream.limits.bucket import LimitsAway
from tests.rooms.stream.limits.world import World, admits, most_over

RATES = st.builds(
    Rate,
    count=st.integers(1, 2000),
    seconds=st.sampled_from([1, 10, 60, 3600]),
    burst=st.one_of(st.none(), st.integers(1, 1500)),
)
GAPS = st.lists(
    st.tuples(st.sampled_from([0.0, 0.0, 0.0001, 0.002, 0.02, 0.3, 1.1]), st.integers(0, 3), st.integers(1, 60)),
    min_size=1,
    max_size=80,
)


@settings(max_examples=150, deadline=None)
@given(rate=RATES, bursts=GAPS)
async def test_no_window_of_any_length_admits_more_than_burst_and_rate(
    rate: Rate, bursts: list[tuple[float, int, int]]
) -> None:
    world = World()
    nodes = [world.node(f"n{n}", skew_s=skew) for n, skew in enumerate((0.0, 3.0, -1e6, 7e5))]
    leases = [each.lease("k", rate) for each in nodes]
    admitted: list[tuple[float, int]] = []
    for gap, n, calls in bursts:
        world.now += gap
        admitted += [(world.now, 1) for _ in range(calls) if await admits(nodes[n], [leases[n]])]
    assert admitted
    assert most_over(admitted, rate) <= 1e-3


@settings(max_examples=60, deadline=None)
@given(rate=RATES, bursts=GAPS, cost=st.integers(2, 7))
async def test_costly_calls_are_bounded_by_what_lies_in_leases_beside(
    rate: Rate, bursts: list[tuple[float, int, int]], cost: int
) -> None:
    world = World()
    nodes = [world.node(f"n{n}") for n in range(4)]
    leases = [each.lease("k", rate) for each in nodes]
    admitted: list[tuple[float, int]] = []
    outstanding = 0.0
    for gap, n, calls in bursts:
        world.now += gap
        for _ in range(calls):
            if await admits(nodes[n], [leases[n]], cost=cost):
                admitted.append((world.now, cost))
            outstanding = max(outstanding, sum(each.remaining - int(each.free) for each in leases))
    assert most_over(admitted, rate) <= outstanding + cost


async def poisson(world: World, rate: Rate, speeds: list[float], *, seconds: float) -> tuple[int, int, float]:
    """Offer traffic to as many nodes; return how many calls came, how many were let in, and the ideal."""
    chance = random.Random(7)
    nodes = [world.node(f"n{n}") for n in range(len(speeds))]
    leases = [each.lease("k", rate) for each in nodes]
    end, offered, admitted, level, last = world.now + seconds, 0, 0, float(rate.room), world.now
    ideal = 0
    while world.now < end:
        world.now += chance.expovariate(sum(speeds))
        n = chance.choices(range(len(speeds)), speeds)[0]
        level, last = min(rate.room, level + (world.now - last) * rate.per_second), world.now
        if level >= 1:
            level, ideal = level - 1, ideal + 1
        offered += 1
        admitted += await admits(nodes[n], [leases[n]])
        await asyncio.sleep(0)
    return offered, admitted, ideal


@pytest.mark.parametrize("speeds", [[400.0, 400.0], [480.0] + [46.0] * 7, [150.0] * 2])
async def test_what_is_admitted_is_near_the_ideal_with_few_questions(speeds: list[float]) -> None:
    world = World()
    offered, admitted, ideal = await poisson(world, Rate(count=500, seconds=1), speeds, seconds=20)
    assert 0.98 <= admitted / ideal <= 1.0
    assert len(world.asked) / offered <= 0.1


async def test_a_slow_limit_gives_exactly_its_burst_over_all_nodes_and_then_its_rate() -> None:
    world, rate = World(), Rate(count=3600, seconds=3600, burst=10)
    nodes = [world.node(f"n{n}") for n in range(5)]
    leases = [each.lease("k", rate) for each in nodes]
    first = [await admits(nodes[n % 5], [leases[n % 5]]) for n in range(40)]
    assert first.count(True) == 10
    later = 0
    for n in range(101):
        world.now += 0.1
        later += await admits(nodes[n % 5], [leases[n % 5]])
    assert later == 10


async def test_a_refused_call_asks_nobody_until_there_is_a_permit_again() -> None:
    world, rate = World(), Rate(count=3600, seconds=3600, burst=2)
    node = world.node("n")
    lease = node.lease("k", rate)
    assert [await admits(node, [lease]) for _ in range(3)] == [True, True, False]
    asked = len(world.asked)
    refusal = node.take((lease,), cost=1)
    assert isinstance(refusal, Refusal)
    assert 0.9 < refusal.wait_s <= 1.0
    assert not any([await admits(node, [lease]) for _ in range(50)])
    assert len(world.asked) == asked


async def test_a_call_that_its_parent_refuses_costs_its_child_nothing() -> None:
    world = World()
    node = world.node("n")
    parent = node.lease("parent", Rate(count=3600, seconds=3600, burst=5))
    one = node.lease("one", Rate(count=3600, seconds=3600, burst=4))
    other = node.lease("other", Rate(count=3600, seconds=3600, burst=4))
    assert [await admits(node, [one, parent]) for _ in range(4)] == [True] * 4
    assert not await admits(node, [one, parent])
    assert [await admits(node, [other, parent]) for _ in range(3)] == [True, False, False]
    world.now += 3.0
    assert [await admits(node, [other, parent]) for _ in range(4)] == [True, True, True, False]


async def test_callers_who_come_together_share_one_question() -> None:
    world = World()
    node = world.node("n")
    lease = node.lease("k", Rate(count=1000, seconds=1000, burst=50))
    let_in = await asyncio.gather(*(admits(node, [lease]) for _ in range(80)))
    assert let_in.count(True) == 50
    assert len(world.asked) <= 4


async def test_while_the_store_is_away_a_node_gives_its_share_for_so_long_and_then_nothing() -> None:
    world = World(alive=4)
    node = world.node("n")
    keeping = asyncio.create_task(node.run())
    await asyncio.sleep(0.01)
    world.away = True
    lease = node.lease("k", Rate(count=400, seconds=1, burst=40), away_s=10)
    let_in = 0
    for _ in range(2000):
        world.now += 0.005
        let_in += await admits(node, [lease])
    assert node.away_since is not None
    assert let_in == pytest.approx(10 * 100, rel=0.02)
    world.now += 1
    with pytest.raises(LimitsAway):
        await admits(node, [lease])
    world.away = False
    assert await admits(node, [lease])
    assert node.away_since is None
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)


async def test_a_limit_that_fails_closed_refuses_at_once_when_the_store_is_away() -> None:
    world = World(away=True)
    node = world.node("n")
    with pytest.raises(LimitsAway):
        await admits(node, [node.lease("k", Rate(count=10, seconds=1), away="fail_closed")])


async def test_a_store_that_forgot_everything_learns_from_the_nodes_what_was_spent() -> None:
    world, rate = World(), Rate(count=500, seconds=1)
    node = world.node("n")
    lease = node.lease("k", rate)
    admitted: list[tuple[float, int]] = []
    for n in range(4000):
        world.now += 0.0005
        if n == 1200:
            world.buckets.clear()
            world.generation += 1
        if await admits(node, [lease]):
            admitted.append((world.now, 1))
        await asyncio.sleep(0)
    assert len(admitted) > 1_400
    assert most_over(admitted, rate) <= rate.per_second * rate.life_s * 0.5


async def test_a_clock_of_the_store_that_jumps_back_closes_a_bucket_for_no_longer_than_it_takes_to_fill() -> None:
    world, rate = World(), Rate(count=100, seconds=10, burst=100)
    node = world.node("n", skew_s=0.0)
    lease = node.lease("k", rate)
    assert await admits(node, [lease])
    bucket = world.buckets["k"]
    bucket.full_us += 3_600_000_000
    world.now += 2.0
    for _ in range(3):
        await admits(node, [lease])
    world.now += 10.0
    assert await admits(node, [lease])


async def test_a_caller_who_calls_seldom_asks_seldom_where_there_is_plenty() -> None:
    world, rate = World(), Rate(count=100_000, seconds=3600)
    node = world.node("n")
    lease = node.lease("k", rate)
    for _ in range(60):
        assert await admits(node, [lease])
        world.now += 1.0
    assert len(world.asked) <= 60 * 0.2
