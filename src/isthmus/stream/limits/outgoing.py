"""What we may ask of somebody else: the quotas of a vendor, shared by all our workers and nodes.

A vendor's window that starts anew at midnight is kept as a bucket that fills steadily, with as much at once as `burst`
says: within a window of the vendor that lets through at most burst + count, so give a burst where the vendor is strict.
"""

import asyncio
import math
from collections.abc import Sequence

from isthmus.kernel.errors import Limited
from isthmus.stream.limits.bucket import Rate
from isthmus.stream.limits.leases import AWAY_S, Leases, Refusal

WAIT_S_MAX = 300.0


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
        self._leases = leases
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
            leases = tuple(
                self._leases.lease(key, rate, name=name, away="fail_open_local", away_s=AWAY_S)
                for key, rate, name in self._rates
            )
            taken = self._leases.take(leases, cost=cost)
            refusal = taken if taken is None or isinstance(taken, Refusal) else await taken
            if refusal is None:
                return waited
            pause = max(0.001, refusal.wait_s)
            if waited + pause > wait_s_max:
                raise VendorQuotaUsedUp(
                    f"The allowance {refusal.lease.name} is used up for {math.ceil(pause)} s.",
                    fix="Wait, or ask the vendor for more.",
                    retry_after_s=pause,
                )
            await asyncio.sleep(pause)
            waited += pause


def _part(rate: Rate, share: float) -> Rate:
    burst = None if rate.burst is None else max(1, int(rate.burst * share))
    return Rate(count=max(1, int(rate.count * share)), seconds=rate.seconds, burst=burst)
