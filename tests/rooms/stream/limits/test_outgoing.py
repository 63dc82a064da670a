"""Our own calls to a vendor keep to what it allows, over all workers."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from isthmus.stream.lane import Lane, LaneAddress
from isthmus.stream.limits import Leases, OutgoingLimit, Rate, VendorQuotaUsedUp
from isthmus.stream.limits.valkey import ValkeyAuthority
from tests.rooms.stream.limits.world import most_over
from tests.rooms.stream.stage import OwnValkey


@pytest.fixture
async def nodes(valkey: OwnValkey) -> AsyncIterator[list[Leases]]:
    """Two workers on one Valkey."""
    valkey.start()
    lanes = [Lane(LaneAddress(socket_path=valkey.socket)) for _ in range(2)]
    for each in lanes:
        await each.open()
    yield [Leases(ValkeyAuthority(each), node=str(n), ticks=time.monotonic) for n, each in enumerate(lanes)]
    for each in lanes:
        await each.close()


async def test_two_workers_wait_until_the_vendor_allows_more(nodes: list[Leases]) -> None:
    rate = Rate(count=100, seconds=1, burst=20)
    limits = [OutgoingLimit(each, connection="crm", rates=[rate]) for each in nodes]
    entered: list[tuple[float, int]] = []

    async def calling(limit: OutgoingLimit) -> None:
        for _ in range(30):
            await limit.enter()
            entered.append((time.monotonic(), 1))

    began = time.monotonic()
    await asyncio.gather(*(calling(limits[n % 2]) for n in range(4)))
    assert len(entered) == 120
    assert time.monotonic() - began >= 0.95
    assert most_over(entered, rate) <= 2


async def test_an_allowance_that_is_used_up_for_long_is_told_at_once(nodes: list[Leases]) -> None:
    day = Rate(count=100, seconds=86_400, burst=3)
    limit = OutgoingLimit(nodes[0], connection="crm", rates=[Rate(count=50, seconds=1), day])
    for _ in range(3):
        assert await limit.enter() == 0
    with pytest.raises(VendorQuotaUsedUp) as refused:
        await limit.enter(wait_s_max=60)
    assert 800 < refused.value.retry_after_s <= 864


async def test_of_a_quota_that_others_use_too_only_our_share_is_used(nodes: list[Leases]) -> None:
    limit = OutgoingLimit(nodes[0], connection="erp", rates=[Rate(count=100, seconds=3600, burst=10)], share=0.5)
    for _ in range(5):
        await limit.enter()
    with pytest.raises(VendorQuotaUsedUp):
        await limit.enter(wait_s_max=1)
    with pytest.raises(ValueError, match="share"):
        OutgoingLimit(nodes[0], connection="erp", rates=[], share=1.5)
