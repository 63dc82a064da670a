"""What we may ask of somebody else: the quotas of a vendor, shared by all our workers and nodes.

A vendor's window that starts anew at midnight is kept as a bucket that fills steadily, with as much at once as `burst`
says: within a window of the vendor that lets through at most burst + count, so give a burst where the vendor is strict.
"""

import asyncio
import math
from collections.abc import Sequence

from isthmus.kernel.errors import Limited
from isthmus.stream.limits.bucket import Rate
from isthmus.stream.limits.leases import AWAY_S, Lease, Leases, Refusal

WAIT_S_MAX, HOLD_S_MAX = 300.0, 3600.0
# Several requests that were under way are told the same: that counts once.
TOLD_TWICE_S = 0.5


class VendorQuotaUsedUp(Limited):
    """What the vendor allows us is used up for longer than it makes sense to wait."""

    code, title = "vendor-quota-used-up", "The other system's quota is used up"

    def __init__(self, detail: str, *, fix: str, retry_after_s: float) -> None:
        """`retry_after_s` is after how many seconds there is a permit again."""
        super().__init__(detail, fix=fix)
        self.retry_after_s = retry_after_s


class OutgoingLimit:
    """The allowances of one connection to a vendor, such as 100 calls in 10 s and 100,000 a day."""

    def __init__(self, leases: Leases, *, connection: str, rates: Sequence[Rate], share: float = 1.0) -> None:
        """`connection` names whose quota it is; `share` is the part of it that is ours, when others use it too.

        Raises ValueError for a share that is not over 0 and at most 1.
        """
        if not 0 < share <= 1:
            message = f"a share of {share} is none"
            raise ValueError(message)
        own = [_part(each, share) for each in rates]
        self._leases, self._name = leases, f"out:{connection}"
        self._rates = [
            (f"out:{connection}:{each.count}/{each.seconds}", each, f"{connection} {each.count}/{each.seconds} s")
            for each in own
        ]

    async def enter(self, *, cost: int = 1, wait_s_max: float = WAIT_S_MAX) -> float:
        """Wait until `cost` calls may be made, and return how long that took, in seconds.

        Raises VendorQuotaUsedUp when it would take longer than `wait_s_max`, and at once when it is known to.
        """
        waited = 0.0
        while True:
            held = self._leases.held_s(self._name)
            refusal = None if held else await self._taken(self._own(), cost)
            if refusal is None and not held:
                return waited
            pause = max(0.001, held if refusal is None else refusal.wait_s)
            if waited + pause > wait_s_max:
                what = "whole allowance" if refusal is None else f"allowance {refusal.lease.name}"
                raise VendorQuotaUsedUp(
                    f"The {what} is used up for {math.ceil(pause)} s.",
                    fix="Wait, or ask the vendor for more.",
                    retry_after_s=pause,
                )
            await asyncio.sleep(pause)
            waited += pause

    async def hold(self, seconds: float) -> None:
        """Let nobody in for so many seconds, at most an hour: the vendor itself asked to slow down.

        Who is at this node waits that long, for whatever they ask; other nodes find in the buckets what these hold
        less what they gain in the time.
        """
        seconds = min(seconds, HOLD_S_MAX)
        if self._leases.held_s(self._name) >= seconds - TOLD_TWICE_S:
            return
        self._leases.held_s(self._name, more_s=seconds)
        for lease in self._own():
            gained = min(lease.remaining, math.ceil(seconds * lease.rate.per_second))
            if gained > 0:
                await self._taken((lease,), gained)

    def _own(self) -> tuple[Lease, ...]:
        return tuple(
            self._leases.lease(key, rate, name=name, away="fail_open_local", away_s=AWAY_S)
            for key, rate, name in self._rates
        )

    async def _taken(self, leases: tuple[Lease, ...], cost: int) -> Refusal | None:
        taken = self._leases.take(leases, cost=cost)
        return taken if taken is None or isinstance(taken, Refusal) else await taken


def _part(rate: Rate, share: float) -> Rate:
    burst = None if rate.burst is None else max(1, int(rate.burst * share))
    return Rate(count=max(1, int(rate.count * share)), seconds=rate.seconds, burst=burst)
