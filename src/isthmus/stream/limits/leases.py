"""The node's side: permits in leases, spent without asking anybody; the authority is asked ahead of need.

All methods belong to one event loop. `ticks` are seconds of a clock that never goes back; only differences count.
"""

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Literal, TypeAlias

from msgspec import Struct

from isthmus.stream.limits.bucket import LEASED_BURST_MIN, MICROS, Ask, Authority, Bucket, Grant, LimitsAway, Rate

Away: TypeAlias = Literal["fail_open_local", "fail_closed"]
AWAY_S = 900
_HORIZON_SHARE = 0.6
"""For how much of its life a lease shall last."""
_NEAR_S_MAX = 1.0
"""The life by which a node plans while a bucket is not well filled; leases live longer only out of plenty."""
_PLENTY_SHARE = 0.5
"""How full a bucket is from which a node takes enough for the whole life of a lease."""
_LOST_SHARE = 0.1
"""How much of what a bucket gains in the life of a lease may expire in it, so that rare callers ask rarely."""
_LOW_SHARE = 0.15
"""When so much of the horizon's demand is left, the next lease is asked for."""
_AHEAD_OF_ROOM = 0.25
_HOLD_SHARE = 0.2
"""For how much of the horizon nobody asks again after the bucket was found empty."""
_SCARCE_SHARE, _SCARCE_HORIZON = 0.07, 0.33
"""When so little of the bucket is left, nodes take less ahead, so that others find something too."""
_ATTEMPTS_MAX = 8
_BEAT_S = 1.0
_SWEEP_S = 0.05
_IDLE_S = 30.0
_MARGIN_SHARE = 0.25
"""How much of a lease's life before its end permits are returned."""
_SAFE = 0.8
"""Of its life at the authority, how much the node uses: the rest is for the way."""


class Refusal(Struct, frozen=True):
    """A limit has no permit left; `wait_s` is after how many seconds it is worth asking again."""

    lease: "Lease"
    wait_s: float


Taken: TypeAlias = "Refusal | Awaitable[Refusal | None] | None"


class _Lot(Struct):
    """Permits given at one time; returned ones must name the epoch."""

    permits: int
    until: float
    epoch: int


class Lease:
    """One limit's permits at this node, and what the node knows of its bucket."""

    __slots__ = (
        "asking",
        "away",
        "away_s",
        "away_since",
        "debt",
        "demand",
        "drawn_at",
        "epoch",
        "free",
        "full_us",
        "gain_s",
        "generation",
        "horizon_s",
        "key",
        "life_s",
        "local",
        "long_s",
        "lots",
        "low",
        "name",
        "owed",
        "part",
        "permits",
        "rate",
        "refused_cost",
        "refused_until",
        "room",
        "spare",
        "speed",
        "until",
        "waiting",
    )

    def __init__(
        self, key: str, rate: Rate, *, name: str = "", away: Away = "fail_open_local", away_s: int = AWAY_S
    ) -> None:
        """`key` names the bucket, `name` the limit; `away` is what holds while the store does not answer."""
        self.key, self.name, self.rate, self.away, self.away_s = key, name, rate, away, away_s
        self.permits = 0
        self.until = 0.0
        self.lots: deque[_Lot] = deque()
        self.low = -1.0
        self.demand = 0
        self.debt = 0
        self.speed = 0.0
        self.drawn_at = -math.inf
        self.refused_until = -math.inf
        self.refused_cost = 1
        self.waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self.asking: asyncio.Task[None] | None = None
        self.full_us = 0.0
        self.free = float(rate.room)
        self.room = rate.room
        self.gain_s = 1 / rate.per_second
        self.part = 1 / rate.room
        self.epoch = 0
        self.owed: dict[int, int] = {}
        self.generation = -1
        self.local: Bucket | None = None
        self.away_since: float | None = None
        # A limit that closes while the store is away must notice that soon.
        self.life_s = rate.life_s if away != "fail_closed" else min(rate.life_s, _NEAR_S_MAX)
        self.horizon_s = min(rate.life_s, _NEAR_S_MAX) * _HORIZON_SHARE
        self.long_s = self.life_s * _HORIZON_SHARE
        self.spare = int(min(rate.per_second * self.life_s, rate.room) * _LOST_SHARE) if self.is_long else 0

    @property
    def remaining(self) -> int:
        """How many permits there are, as far as the node knows."""
        return self.permits + int(self.free)

    @property
    def leased(self) -> bool:
        """Tell whether permits are asked for ahead."""
        return self.rate.room >= LEASED_BURST_MIN

    @property
    def is_long(self) -> bool:
        """Tell whether permits live so long that looking once a second is enough."""
        return self.leased and self.life_s > _NEAR_S_MAX


class Leases:
    """The leases of one node. `run` keeps them: it returns what was not spent and says that the node lives."""

    def __init__(self, authority: Authority, *, node: str, ticks: Callable[[], float]) -> None:
        """`node` names this program among all that share the authority."""
        self._authority = authority
        self._node = node
        self._ticks = ticks
        self._leases: dict[str, Lease] = {}
        self._long: dict[str, Lease] = {}
        self.nodes = 1
        self.draws = 0
        self.away_since: float | None = None
        self._held: dict[str, float] = {}

    def lease(
        self, key: str, rate: Rate, *, name: str = "", away: Away = "fail_open_local", away_s: int = AWAY_S
    ) -> Lease:
        """Return the lease of a bucket; with another rate than before, the bucket goes on under the new one."""
        found = self._long.get(key) or self._leases.get(key)
        if found is None or (found.rate, found.away, found.away_s) != (rate, away, away_s):
            found = Lease(key, rate, name=name, away=away, away_s=away_s)
            (self._leases if found.is_long else self._long).pop(key, None)
            self._meet(found)
        return found

    def _meet(self, lease: Lease) -> None:
        (self._long if lease.is_long else self._leases)[lease.key] = lease

    def held_s(self, name: str, *, more_s: float = 0.0) -> float:
        """Return for how many seconds nobody is to be let in under a name, which are at least `more_s`."""
        now = self._ticks()
        self._held[name] = until = max(self._held.get(name, now), now + more_s)
        return until - now

    def take(self, leases: tuple[Lease, ...], *, cost: int) -> Taken:
        """Take `cost` permits of every lease, or of none. What is awaitable asks the authority first.

        Raises LimitsAway where the store is away and a limit says `fail_closed`.
        """
        now = self._ticks()
        short = False
        for lease in leases:
            lease.demand += cost
            if lease.permits < cost or now >= lease.until:
                short = True
        if short:
            return self._slow(leases, cost, now)
        for lease in leases:
            left = lease.permits = lease.permits - cost
            if left <= lease.low and lease.asking is None and not lease.lots and now >= lease.refused_until:
                self._ask(lease)
        return None

    def holds(self, leases: tuple[Lease, ...], now: float, *, cost: int) -> bool:
        """Tell whether `take_ready` may follow at once: every lease holds so many permits at a tick."""
        for lease in leases:  # noqa: SIM110 - this is asked at each call, and a generator costs as much as all the rest.
            if lease.permits < cost or now >= lease.until:
                return False
        return True

    def refuses(self, leases: tuple[Lease, ...], *, cost: int) -> bool:
        """Tell whether `take` would refuse at once."""
        now = self._ticks()
        short = (each for each in leases if (each.permits < cost or now >= each.until) and not each.lots)
        return any(_refuses(each, cost, now) for each in short)

    def take_ready(self, leases: tuple[Lease, ...], *, cost: int) -> tuple[Lease, int]:
        """Take permits that are there; return the lease whose bucket is emptiest for its size, and what is left."""
        nearest, there, least = leases[0], 0.0, 2.0
        for lease in leases:
            lease.demand += cost
            left = lease.permits = lease.permits - cost
            if left <= lease.low and lease.asking is None and not lease.lots and self._ticks() >= lease.refused_until:
                self._ask(lease)
            filled = (left + lease.free) * lease.part
            if filled < least:
                nearest, there, least = lease, left + lease.free, filled
        return nearest, int(there)

    def give_back(self, leases: Iterable[Lease], *, cost: int) -> None:
        """Put back permits that were taken for a call that another limit refused."""
        for lease in leases:
            lease.permits += cost

    async def run(self) -> None:
        """Keep the leases until cancelled."""
        beat_at = -math.inf
        while True:
            now = self._ticks()
            if now - beat_at >= _BEAT_S:
                beat_at = now
                with suppress(LimitsAway):
                    self.nodes = max(1, await self._authority.nodes(self._node))
                self._sweep(self._long, self._ticks())
            self._sweep(self._leases, self._ticks())
            await asyncio.sleep(_SWEEP_S)

    async def close(self) -> None:
        """Wait for what is being asked."""
        asking = [each.asking for each in (*self._leases.values(), *self._long.values()) if each.asking]
        await asyncio.gather(*asking, return_exceptions=True)

    def _sweep(self, leases: dict[str, Lease], now: float) -> None:
        """Return permits that are about to expire, and forget limits that nobody meets."""
        for key, lease in list(leases.items()):
            if lease.asking is not None:
                continue
            if lease.permits > lease.spare and _expires(lease, now):
                self._ask(lease)
            elif now - lease.drawn_at > _IDLE_S + lease.life_s and not lease.waiting:
                del leases[key]

    def _slow(self, leases: tuple[Lease, ...], cost: int, now: float) -> Taken:
        for lease in leases:
            self._meet(lease)
        for lease in leases:
            if not _ready(lease, cost, now) and _refuses(lease, cost, now):
                return Refusal(lease, lease.refused_until - now)
        lacking = [each for each in leases if not _ready(each, cost, now)]
        if lacking:
            return self._wait(leases, lacking, cost)
        _use_up(leases, cost)
        return None

    async def _wait(self, leases: tuple[Lease, ...], lacking: list[Lease], cost: int) -> Refusal | None:
        """Ask for what is lacking until everything is there or something is refused."""
        for _ in range(_ATTEMPTS_MAX):
            waiting = [self._served(each, cost) for each in lacking]
            for each in waiting:
                await each
            now = self._ticks()
            lacking = [each for each in leases if not _ready(each, cost, now)]
            if not lacking:
                _use_up(leases, cost)
                return None
            for lease in lacking:
                if _refuses(lease, cost, now):
                    return Refusal(lease, lease.refused_until - now)
        return Refusal(lacking[0], lacking[0].horizon_s)

    def _served(self, lease: Lease, cost: int) -> "asyncio.Future[None]":
        """Return what is done when the authority was asked for these permits; raises LimitsAway then."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        lease.waiting.append((cost, future))
        if lease.asking is None:
            self._ask(lease)
        return future

    def _ask(self, lease: Lease) -> None:
        lease.asking = asyncio.create_task(self._draw(lease))

    async def _draw(self, lease: Lease) -> None:
        try:
            while True:
                await self._draw_once(lease)
                _serve(lease)
                if not lease.waiting or _refuses(lease, lease.waiting[0][0], self._ticks()):
                    break
        finally:
            lease.asking = None
            _release(lease, len(lease.waiting))

    async def _draw_once(self, lease: Lease) -> None:
        now = self._ticks()
        _measure(lease, now)
        unit, need, count = _needs(lease)
        epoch, back = _expiring(lease, now)
        gone = _gone(lease, now)
        ask = Ask(
            key=lease.key,
            rate=lease.rate,
            need=need,
            unit=unit,
            ahead=_wished(lease, now),
            old_epoch=gone[0][0],
            old_gone=gone[0][1],
            new_epoch=gone[1][0],
            new_gone=gone[1][1],
            back=back,
            back_epoch=epoch,
            seen_us=lease.full_us,
            lost=lease.generation != self._authority.generation,
            debt=lease.debt,
        )
        self.draws += 1
        try:
            grant = await self._authority.draw(ask)
        except LimitsAway as error:
            grant = self._alone(lease, ask, now)
            if grant is None:
                _fail(lease, count, error)
                return
        else:
            lease.generation = self._authority.generation
            lease.debt -= ask.debt
            _owe(lease, gone, grant)
            lease.full_us, lease.away_since, lease.local, self.away_since = grant.full_us, None, None, None
        _fill(lease, ask, grant, asked_at=now)
        _release(lease, count)

    def _alone(self, lease: Lease, ask: Ask, now: float) -> Grant | None:
        """Return this node's own share while the store is away; None when the limit says that there is none."""
        if self.away_since is None:
            self.away_since = now
        if lease.away_since is None:
            lease.away_since = now
        if lease.away == "fail_closed" or now - lease.away_since > lease.away_s:
            return None
        now_us = int(now * MICROS)
        rate = lease.rate
        if lease.local is None:
            # A node left alone has no burst left: it is not known who spent it.
            own = Rate(count=rate.count, seconds=rate.seconds * self.nodes, burst=max(1, rate.room // self.nodes))
            lease.local = Bucket(own, full_us=now_us + own.room * own.emission_us)
        shared = Ask(key=ask.key, rate=lease.local.rate, need=ask.need, unit=ask.unit, ahead=ask.ahead)
        grant = lease.local.draw(shared, now_us=now_us)
        lease.debt += grant.now + grant.ahead
        return grant


def _refuses(lease: Lease, cost: int, now: float) -> bool:
    """Tell whether it is known that the bucket does not hold so many permits yet."""
    return now < lease.refused_until and cost >= lease.refused_cost


def _ready(lease: Lease, cost: int, now: float) -> bool:
    """Tell whether the lease holds so many permits; what expired is dropped, and what came later is moved up."""
    while now >= lease.until or lease.permits < cost:
        if not lease.lots:
            if now >= lease.until:
                lease.permits = 0
            return False
        lot = lease.lots.popleft()
        kept = lease.permits if now < lease.until else 0
        lease.until = min(lease.until, lot.until) if kept else lot.until
        lease.epoch = min(lease.epoch, lot.epoch) if kept else lot.epoch
        lease.permits = lot.permits + kept
    return True


def _use_up(leases: tuple[Lease, ...], cost: int) -> None:
    for lease in leases:
        lease.permits -= cost


def _needs(lease: Lease) -> tuple[int, int, int]:
    """Return what the first in the queue needs, what all before another need do together, and how many they are."""
    unit, count = (lease.waiting[0][0], 0) if lease.waiting else (1, 0)
    for cost, _ in lease.waiting:
        if cost != unit:
            break
        count += 1
    return unit, unit * count, count


def _measure(lease: Lease, now: float) -> None:
    """Follow the demand, in permits a second."""
    passed = now - lease.drawn_at
    if passed > 1.0:
        lease.speed = lease.demand / passed if math.isfinite(passed) else 0.0
    elif passed > 0:
        weight = min(1.0, passed / lease.horizon_s)
        lease.speed += (lease.demand / passed - lease.speed) * weight
    lease.demand, lease.drawn_at = 0, now


def _wished(lease: Lease, now: float) -> int:
    """Return how many permits to ask for ahead."""
    if not lease.leased or now < lease.refused_until:
        return 0
    room = lease.rate.room
    scarce, plenty = lease.free < room * _SCARCE_SHARE, lease.free > room * _PLENTY_SHARE
    horizon_s = lease.long_s if plenty else lease.horizon_s * (_SCARCE_HORIZON if scarce else 1.0)
    most = room * (_SCARCE_SHARE if scarce else _AHEAD_OF_ROOM)
    wanted = min(max(lease.speed * horizon_s, lease.spare if plenty else 0), most)
    held = lease.permits if now < lease.until - lease.horizon_s * _LOW_SHARE else 0
    return max(0, math.ceil(wanted) - held) if wanted >= 1 else 0


def _expires(lease: Lease, now: float) -> bool:
    """Tell whether more permits lie here than will be spent before they expire, and they expire soon."""
    margin = lease.life_s * _MARGIN_SHARE
    return lease.until - margin <= now < lease.until and lease.permits > lease.speed * (lease.until - now) + 1


def _expiring(lease: Lease, now: float) -> tuple[int, int]:
    """Take permits out of the lease that cannot be spent any more in time; return their epoch and number."""
    if not _expires(lease, now):
        return 0, 0
    back, lease.permits = lease.permits, 0
    return lease.epoch, back


def _gone(lease: Lease, now: float) -> list[tuple[int, int]]:
    """Return, for the last two epochs in which permits were given ahead, how many of these are here no more."""
    here: dict[int, int] = {}
    if now < lease.until:
        here[lease.epoch] = lease.permits
    for lot in lease.lots:
        here[lot.epoch] = here.get(lot.epoch, 0) + lot.permits
    owed = sorted(lease.owed.items())[-2:]
    found = [(epoch, max(0, given - here.get(epoch, 0))) for epoch, given in owed]
    return [(-1, 0)] * (2 - len(found)) + found


def _owe(lease: Lease, gone: list[tuple[int, int]], grant: Grant) -> None:
    """Remember what lies here ahead of its use, as the authority counts it now."""
    kept = {epoch: lease.owed[epoch] - count for epoch, count in gone if epoch >= grant.epoch - 1}
    kept[grant.epoch] = kept.get(grant.epoch, 0) + grant.ahead
    lease.owed = kept


def _fill(lease: Lease, ask: Ask, grant: Grant, *, asked_at: float) -> None:
    """Put a grant into the lease; when the bucket is empty, refuse without asking for as long as asking is in vain."""
    given = grant.now + grant.ahead
    lease.free = grant.free
    if given:
        until = asked_at + lease.life_s * _SAFE
        lease.lots.append(_Lot(given, until, grant.epoch))
    lease.low = lease.speed * lease.horizon_s * _LOW_SHARE if grant.ahead else -1.0
    if grant.free < 1.0 or grant.now < ask.need:
        hold = lease.horizon_s * _HOLD_SHARE if lease.leased else 0.0
        lease.refused_until = asked_at + max(grant.wait_us / MICROS, hold)
        lease.refused_cost = ask.unit if grant.free >= 1.0 else 1
    else:
        lease.refused_until = -math.inf


def _serve(lease: Lease) -> None:
    """Wake as many as there are permits for; whoever is woken takes them, or asks again."""
    there, count = lease.permits + sum(each.permits for each in lease.lots), 0
    for cost, _ in lease.waiting:
        there -= cost
        if there < 0:
            break
        count += 1
    _release(lease, count)


def _release(lease: Lease, count: int) -> None:
    """Wake the first in the queue."""
    for _ in range(count):
        _, future = lease.waiting.popleft()
        if not future.done():
            future.set_result(None)


def _fail(lease: Lease, count: int, error: LimitsAway) -> None:
    for _ in range(count):
        _, future = lease.waiting.popleft()
        if not future.done():
            future.set_exception(error)
