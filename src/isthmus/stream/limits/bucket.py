"""The arithmetic of one bucket: the generic cell rate algorithm with leases that are paid in advance and expire.

A bucket holds at most `burst` permits and gains `count / seconds` of them each second. It is kept as the moment at
which it will be full (the theoretical arrival time of GCRA, ITU-T I.371), in microseconds of the authority's clock.

A permit given to a caller who waits is spent at once. A permit given *ahead* lies in a lease at a node until it is
spent, returned or expired. So that a window of t seconds never admits more than burst + rate × t, whatever lies in
leases counts as if it were still in the bucket: the level plus what may lie outside is never over `burst`. The time is
cut in epochs of the life of a lease, and what was given ahead in this epoch and the one before may still lie outside,
unless the node said that it is gone.
"""

import math
from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from isthmus.kernel.errors import Unavailable

MICROS = 1_000_000
LIFE_S, LIFE_S_MAX = 1.0, 60.0
_LIFE_SHARE = 0.1
"""How much of the time in which an empty bucket fills may pass while a lease lives longer than `LIFE_S`."""
AHEAD_SHARE = 0.75
"""How much of a bucket may lie in leases at once."""
LEASED_BURST_MIN = 100
"""Below this burst nothing is given ahead: the traffic is so little that each call may ask."""
_ROUNDING = 1e-9


class LimitsAway(Unavailable):
    """The store of the limits does not answer."""

    code, title = "limits-away", "The limits cannot be kept at the moment"


class Rate(Struct, frozen=True, kw_only=True):
    """`count` permits each `seconds`; `burst` of them may come at once, None for all that a window allows."""

    count: int
    seconds: int
    burst: int | None = None

    @property
    def room(self) -> int:
        """How many permits a full bucket holds."""
        return self.count if self.burst is None else self.burst

    @property
    def per_second(self) -> float:
        """How many permits it gains each second."""
        return self.count / self.seconds

    @property
    def emission_us(self) -> float:
        """How many microseconds it takes to gain one permit."""
        return self.seconds * MICROS / self.count

    @property
    def life_s(self) -> float:
        """How long permits given ahead live, in seconds."""
        fills_s = self.room / self.per_second
        return max(min(LIFE_S, fills_s), min(LIFE_S_MAX, _LIFE_SHARE * fills_s))

    @property
    def life_us(self) -> int:
        """How long permits given ahead live, in microseconds: the length of an epoch."""
        return max(1, int(self.life_s * MICROS))


class Ask(Struct, frozen=True, kw_only=True):
    """What a node asks of a bucket.

    `need` permits are for callers who wait, each of whom needs `unit`; `ahead` are wished for a lease. Of the permits
    given ahead in epoch `old_epoch` the node has no more `old_gone`, of `new_epoch` no more `new_gone`: spent, expired
    or returned. `back` of them are returned, of `back_epoch`. `seen_us` is the fullness moment that the node saw last:
    a store that knows nothing of the bucket takes it, as does one that was away and may have lost what it knew
    (`lost`). `debt` permits were given out by the node itself while the store was away.
    """

    key: str
    rate: Rate
    need: int = 0
    unit: int = 1
    ahead: int = 0
    old_epoch: int = -1
    old_gone: int = 0
    new_epoch: int = -1
    new_gone: int = 0
    back: int = 0
    back_epoch: int = 0
    seen_us: float = 0.0
    lost: bool = False
    debt: int = 0


class Grant(Struct, frozen=True, kw_only=True):
    """What the authority answers: permits for those who wait, permits ahead, and how the bucket is now.

    `wait_us` is the time until `unit` permits are there, when not all that wait were served; `free` is the level.
    """

    now: int
    ahead: int
    wait_us: float
    full_us: float
    epoch: int
    free: float


class Authority(Protocol):
    """Keeps buckets for all nodes, under one clock: its own."""

    @property
    def generation(self) -> int:
        """A number that rises whenever the store may have lost what it knew."""
        ...

    async def draw(self, ask: Ask) -> Grant:
        """Take from a bucket; raises LimitsAway."""
        ...

    async def nodes(self, node: str) -> int:
        """Say that a node lives, and return how many do; raises LimitsAway."""
        ...


class Bucket:
    """One bucket in this program's memory: the reference for the authorities, and the limit of a node left alone."""

    def __init__(self, rate: Rate, *, full_us: float = 0.0) -> None:
        """It is full at `full_us`."""
        self.rate = rate
        self.full_us = full_us
        self._epoch = 0
        self._before = 0
        self._this = 0

    def draw(self, ask: Ask, *, now_us: int) -> Grant:
        """Take from the bucket."""
        emission, room, life = ask.rate.emission_us, ask.rate.room, ask.rate.life_us
        seen = ask.seen_us if ask.lost else 0.0
        self.full_us = min(max(self.full_us, seen), now_us + room * emission)
        self._advance(now_us, emission=emission, life=life)
        self._forget(ask.old_epoch, ask.old_gone)
        self._forget(ask.new_epoch, ask.new_gone)
        if ask.back_epoch >= self._epoch - 1:
            self.full_us -= ask.back * emission
        self.full_us = min(self.full_us + ask.debt * emission, now_us + room * emission)
        self.full_us = max(self.full_us, now_us + (self._before + self._this) * emission)
        free = math.floor(_level(self.full_us, now_us, ask.rate) + _ROUNDING)
        given = min(ask.need, max(0, free) // ask.unit * ask.unit)
        spare = math.floor(room * AHEAD_SHARE) - self._before - self._this
        ahead = max(0, min(ask.ahead, free - ask.need, spare)) if given == ask.need else 0
        self._this += ahead
        self.full_us += (given + ahead) * emission
        wait = max(0.0, self.full_us + ask.unit * emission - room * emission - now_us)
        return Grant(
            now=given,
            ahead=ahead,
            wait_us=wait if given < ask.need or not given + ahead else 0.0,
            full_us=self.full_us,
            epoch=self._epoch,
            free=max(0.0, _level(self.full_us, now_us, ask.rate)),
        )

    def _advance(self, now_us: int, *, emission: float, life: int) -> None:
        """Go to the epoch of now; the level is held down for as long as leases of an epoch may live."""
        epoch = now_us // life
        if epoch < self._epoch:
            self._before, self._this = self._before + self._this, 0
        elif epoch > self._epoch:
            self.full_us = max(self.full_us, (self._epoch + 1) * life + (self._before + self._this) * emission)
            if epoch > self._epoch + 1:
                self.full_us = max(self.full_us, (self._epoch + 2) * life + self._this * emission)
                self._this = 0
            self._before, self._this = self._this, 0
        self._epoch = epoch

    def _forget(self, epoch: int, gone: int) -> None:
        """What a node has no more lies outside no more."""
        if epoch == self._epoch:
            self._this = max(0, self._this - gone)
        elif epoch == self._epoch - 1:
            self._before = max(0, self._before - gone)


def _level(full_us: float, now_us: int, rate: Rate) -> float:
    return rate.room - (full_us - now_us) / rate.emission_us


def grants(numbers: Sequence[float]) -> Grant:
    """Return a grant from what an authority answers: now, ahead, wait, full, epoch, free."""
    now, ahead, wait, full, epoch, free = numbers
    return Grant(now=int(now), ahead=int(ahead), wait_us=wait, full_us=full, epoch=int(epoch), free=free)
