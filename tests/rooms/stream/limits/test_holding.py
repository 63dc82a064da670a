"""A vendor that asks to slow down is obeyed by all who ask for the same connection, at this node and at others."""

import pytest

from isthmus.stream.limits import OutgoingLimit, Rate, VendorQuotaUsedUp
from tests.rooms.stream.limits.world import World

RATES = (Rate(count=60, seconds=60), Rate(count=5_000, seconds=86_400))


async def waits(limit: OutgoingLimit) -> float:
    """Return for how long nobody is let in, in seconds; 0 for somebody who was."""
    try:
        return await limit.enter(wait_s_max=0)
    except VendorQuotaUsedUp as refused:
        return refused.retry_after_s


async def test_whoever_asks_on_the_connection_waits_as_long_as_the_vendor_said_and_no_other_connection_does() -> None:
    world = World()
    node = world.node("one")
    writing, reading, other = (OutgoingLimit(node, connection=name, rates=RATES) for name in ("crm", "crm", "erp"))
    assert await waits(reading) == 0
    await writing.hold(30)
    world.now += 10
    assert await waits(reading) == pytest.approx(20, abs=0.1)
    assert await waits(other) == 0
    world.now += 20
    assert await waits(reading) == 0


async def test_another_node_finds_less_in_the_bucket_and_the_days_allowance_is_not_lost() -> None:
    world = World()
    one, other = (OutgoingLimit(world.node(name), connection="crm", rates=RATES) for name in ("one", "other"))
    await one.hold(45)
    let_in = 0
    while await waits(other) == 0:
        let_in += 1
    assert let_in == 60 - 45
    day = next(bucket for key, bucket in world.buckets.items() if key.endswith("/86400"))
    spent = (day.full_us / 1e6 - world.now) * RATES[1].per_second
    assert spent == pytest.approx(3 + let_in, abs=1)


async def test_several_requests_that_were_told_the_same_count_once_and_no_hold_lasts_over_an_hour() -> None:
    world = World()
    limit = OutgoingLimit(world.node("one"), connection="crm", rates=(Rate(count=100, seconds=100),))
    for _ in range(8):
        await limit.hold(10)
    world.now += 10.1
    assert await waits(limit) == 0
    await limit.hold(86_400)
    with pytest.raises(VendorQuotaUsedUp, match="whole allowance is used up for 3600 s") as refused:
        await limit.enter()
    assert refused.value.retry_after_s == pytest.approx(3600)
