"""What is remembered of one caller whose credential was proven, and the detectors that look at it.

A rule looks at windows of ten seconds or at the last failures, so that slow attempts add up as fast ones do:

    enumeration   15 distinct things missing among the caller's last calls within 10 minutes, two fifths of them or more
    probing       6 distinct routes refused within 10 minutes, a fifth of its calls or more
    scraping      over 20 distinct things read in 10 s and four times the usual; over 80 and four times in 10 minutes
    volume        over 40 calls of one route in 10 s and four times the usual
    leakage       a new network with a new program, beside a known one, or after a month's rest
"""

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeVar

from isthmus.auth.principal import Principal
from isthmus.gateway.decide import Asked
from isthmus.gateway.routes import Route
from isthmus.gateway.threats.ladder import Counts, Detector, Finding
from isthmus.gateway.threats.profile import RUN, THINGS, THINGS_LONG, Profile, program_of
from isthmus.gateway.threats.window import Failed, Window

WINDOW, LONG, REMEMBERED = timedelta(seconds=10), timedelta(minutes=10), timedelta(minutes=10)
FAILURES_MAX, REQUESTS_MAX, THINGS_MAX = 256, 5, 10_000
MISSING_MIN, ROUTES_MIN, SHARE_MIN, REFUSED_SHARE, RUN_MIN = 15, 6, 0.4, 0.2, 15
WORTH_KEEPING = 20
THINGS_MIN, THINGS_LONG_MIN, VOLUME_MIN, TIMES = 20, 80, 40, 4.0
UNLEARNED = 500
"""Before a caller is known, this many in 10 s are needed; after that the minimum and its own baseline."""
FLEET = 8
"""Who came from so many networks comes from any."""
NEW_CALLS, BESIDE_CALLS, KNOWN_CALLS, ACCEPTED_CALLS = 3, 10, 50, 200
BESIDE, RESTED, MOVED = timedelta(seconds=60), timedelta(days=30), timedelta(minutes=10)
_MISSING, _REFUSED = 404, 403
K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class _Failure:
    at: datetime
    status: int
    route: int
    thing: str
    request: str
    total: int


class _Failures:
    """The last calls of a caller that failed, with how many of them asked for which missing thing or refused route."""

    def __init__(self) -> None:
        """Nothing failed at first."""
        self._all: deque[_Failure] = deque()
        self._missing: dict[str, int] = {}
        self._refused: dict[int, int] = {}

    def add(self, failure: _Failure) -> None:
        """Remember one; the oldest of too many is forgotten."""
        if len(self._all) >= FAILURES_MAX:
            self._count(self._all.popleft(), -1)
        self._all.append(failure)
        self._count(failure, 1)

    def clear(self) -> None:
        """Forget all."""
        self._all.clear()
        self._missing.clear()
        self._refused.clear()

    def may_enumerate(self) -> bool:
        """Tell whether so many different things were missing, whenever it was, that it is worth looking closer."""
        return len(self._missing) >= MISSING_MIN

    def may_probe(self) -> bool:
        """Tell whether so many different routes were refused, whenever it was, that it is worth looking closer."""
        return len(self._refused) >= ROUTES_MIN

    def recent(self, now: datetime, status: int) -> list[_Failure]:
        """Return those of a status that are still remembered, the oldest first."""
        return [each for each in self._all if each.status == status and now - each.at <= REMEMBERED]

    def _count(self, failure: _Failure, by: int) -> None:
        if failure.status == _MISSING:
            _add(self._missing, failure.thing, by)
        elif failure.status == _REFUSED:
            _add(self._refused, failure.route, by)


@dataclass(slots=True)
class _Newcomer:
    """Calls with the caller's credential from a network it was never seen in."""

    first_at: datetime
    calls: int = 0
    beside: int = 0
    known: int = 0
    requests: list[str] = field(default_factory=list[str])


@dataclass(slots=True)
class Used:
    """A route in this window: of `limit` calls so many are `left` until they are too many.

    `reads` tells a route that reads, and `fields` one of those whose path ends in a field, such as an id.
    """

    name: str
    limit: int
    left: int
    reads: bool
    fields: bool


@dataclass(slots=True)
class Caller:
    """One key, session or token. `total` counts its calls, `used` holds the routes of this window by their identity.

    `things` are what was read in it: a path, or a number made from a path and its query, which costs less than both.
    """

    principal: Principal
    subject: str
    profile: Profile
    ends: datetime
    client: str = ""
    agent: str = ""
    total: int = 0
    saved: int = 0
    last: int = 0
    run: int = 0
    known: int = 0
    seen_at: datetime | None = None
    used: dict[int, Used] = field(default_factory=dict[int, Used])
    things: set[object] = field(default_factory=set[object])
    things_max: int = UNLEARNED
    long: set[object] = field(default_factory=set[object])
    long_hostile: bool = False
    long_ends: datetime | None = None
    hostile: bool = False
    failures: _Failures = field(default_factory=_Failures)
    newcomers: dict[str, _Newcomer] = field(default_factory=dict[str, _Newcomer])
    missed: dict[tuple[str, int], list[str]] = field(default_factory=dict[tuple[str, int], list[str]])
    dirty: bool = False

    def threshold(self, name: str, at: datetime, least: int, *, unlearned: int = UNLEARNED) -> int:
        """Return how many are too many."""
        if not self.profile.learned(at):
            return unlearned
        return max(least, int(TIMES * self.profile.usual(name, at.hour)) + 1)

    def first(self, asked: Asked) -> Used:
        """Take in a route that is called for the first time in this window."""
        route = asked.route
        name, reads = name_of(route), route.method == "GET"
        limit = self.threshold(name, asked.now, VOLUME_MIN)
        used = self.used[id(route)] = Used(name, limit, limit, reads, reads and route.path[-1] == "}")
        return used

    def roll(self, now: datetime) -> Finding | None:
        """Begin the next window: learn from the last one unless it was hostile, and look at the last ten minutes."""
        hour, at = (self.ends - WINDOW).hour, self.ends - WINDOW
        found: Finding | None = None
        if self.long_ends is None or now >= self.long_ends:
            self._end_long(hour)
            self.long, self.long_ends = set(), now + LONG
        if len(self.long) < THINGS_MAX:
            self.long |= self.things
        if len(self.long) >= self.threshold(THINGS_LONG, now, THINGS_LONG_MIN, unlearned=UNLEARNED * 10):
            found = self._scraped_slowly(now, self.long_ends - LONG)
        if not self.hostile:
            self.profile.learn(THINGS, hour, len(self.things), at=at)
            for each in self.used.values():
                self.profile.learn(each.name, hour, each.limit - each.left, at=at)
        self.hostile = bool(found)
        self.used, self.things, self.missed, self.dirty = {}, set(), {}, True
        self.ends = now + WINDOW
        self.things_max = self.threshold(THINGS, now, THINGS_MIN)
        return found

    def window(self, network: str) -> Window | None:
        """Return what happened in the window that ends, or None when that was nothing."""
        at = self.ends - WINDOW
        counts = {each.name: each.limit - each.left for each in self.used.values()}
        if not (self.missed or self.newcomers or sum(counts.values()) >= WORTH_KEEPING):
            return None
        failures = [
            Failed(route=name, status=each, count=len(things), distinct=len(set(things)))
            for (name, each), things in self.missed.items()
        ]
        return Window(
            at=at,
            subject=self.subject,
            network=network,
            program=program_of(self.agent),
            routes=counts,
            things=len(self.things),
            failures=failures,
        )

    def flooded(self, asked: Asked) -> Finding:
        """Return the finding about a route that was called too often."""
        self.hostile = True
        name = name_of(asked.route)
        count, usual = self.threshold(name, asked.now, VOLUME_MIN), int(self.profile.usual(name, asked.now.hour))
        reason = f"{name} was called {count} times within 10 s, and {usual} is usual at this hour."
        counts: Counts = {"calls": count, "usual": usual, "seconds": 10, "route": name}
        return self.finding("volume", reason, asked.now, since=self.ends - WINDOW, counts=counts, asked=asked)

    def scraped(self, asked: Asked) -> Finding:
        """Return the finding about too many different things read."""
        self.hostile = True
        count, usual = len(self.things), int(self.profile.usual(THINGS, asked.now.hour))
        self.things_max = max(2 * self.things_max, THINGS_MAX if count >= THINGS_MAX else 0)
        reason = f"{count} different things were read within 10 s, and {usual} is usual at this hour."
        counts: Counts = {"things": count, "usual": usual, "seconds": 10}
        return self.finding("scraping", reason, asked.now, since=self.ends - WINDOW, counts=counts, asked=asked)

    def counted(self, asked: Asked, number: int) -> Finding | None:
        """Hear of a read whose id is a number; return a finding when they count up."""
        if number != self.last + 1:
            if not self.hostile:
                self.profile.learn(RUN, asked.now.hour, self.run, at=asked.now)
            self.last, self.run = number, 1
            return None
        self.last, self.run = number, self.run + 1
        if self.run < self.threshold(RUN, asked.now, RUN_MIN, unlearned=10 * RUN_MIN):
            return None
        count, self.run, self.hostile = self.run, 0, True
        counts: Counts = {"run": count, "usual": int(self.profile.usual(RUN, asked.now.hour))}
        return self.finding(
            "enumeration", f"{count} ids were tried one after the other.", asked.now, counts=counts, asked=asked
        )

    def failed(self, asked: Asked, status: int) -> Finding | None:
        """Hear of a call that was refused or found nothing."""
        self.missed.setdefault((name_of(asked.route), status), []).append(asked.path)
        self.failures.add(_Failure(asked.now, status, id(asked.route), asked.path, asked.request_id, self.total))
        if status == _MISSING and self.failures.may_enumerate():
            return self._enumerated(asked)
        if status == _REFUSED and self.failures.may_probe():
            return self._probed(asked)
        return None

    def moved(self, asked: Asked, network: str) -> Finding | None:
        """Hear of a call from another address or program than the last; return a finding when both are strange."""
        profile, program = self.profile, program_of(asked.agent)
        if network in profile.networks or not self._established(asked.now):
            self._accept(asked, network, program)
            return None
        fresh, fleet = program not in profile.agents, len(profile.networks) >= FLEET
        if fleet and not fresh:
            self._accept(asked, network, program)
            return None
        new = self.newcomers.get(network)
        if new is None:
            if len(self.newcomers) >= FLEET:
                self.newcomers.clear()
            new = self.newcomers[network] = _Newcomer(asked.now, known=self.known)
        new.calls += 1
        new.requests = [*new.requests[1 - REQUESTS_MAX :], asked.request_id]
        return self._strange(asked, network, new, fresh=fresh)

    def finding(
        self,
        detector: Detector,
        reason: str,
        at: datetime,
        *,
        since: datetime | None = None,
        counts: Counts | None = None,
        asked: Asked | None = None,
        requests: tuple[str, ...] = (),
    ) -> Finding:
        """Return a finding about this caller."""
        return Finding(
            workspace=self.principal.workspace,
            detector=detector,
            subject=self.subject,
            reason=reason,
            at=at,
            since=since or at,
            counts=counts or {},
            requests=requests or ((asked.request_id,) if asked is not None else ()),
        )

    def _end_long(self, hour: int) -> None:
        if not self.long_hostile:
            self.profile.learn(THINGS_LONG, hour, len(self.long | self.things), at=self.ends)
        self.long_hostile = False

    def _scraped_slowly(self, now: datetime, since: datetime) -> Finding:
        count, usual = len(self.long), int(self.profile.usual(THINGS_LONG, now.hour))
        self.long, self.hostile, self.long_hostile = set(), True, True
        reason = f"{count} different things were read within 10 minutes, and {usual} is usual at this hour."
        counts: Counts = {"things": count, "usual": usual, "seconds": 600}
        return self.finding("scraping", reason, now, since=since, counts=counts)

    def _enumerated(self, asked: Asked) -> Finding | None:
        recent = self.failures.recent(asked.now, _MISSING)
        things = {each.thing for each in recent}
        if len(things) < MISSING_MIN or not self._mostly(recent, len(things), SHARE_MIN):
            return None
        counts: Counts = {"missing": len(things), "calls": self.total - recent[0].total + 1}
        reason = f"{len(things)} different things were asked for that are not there, or not this caller's."
        return self._cleared("enumeration", reason, recent, counts)

    def _probed(self, asked: Asked) -> Finding | None:
        recent = self.failures.recent(asked.now, _REFUSED)
        routes = {each.route for each in recent}
        if len(routes) < ROUTES_MIN or not self._mostly(recent, len(recent), REFUSED_SHARE):
            return None
        counts: Counts = {"refused": len(recent), "routes": len(routes), "calls": self.total - recent[0].total + 1}
        return self._cleared("probing", f"{len(routes)} different routes were refused to this caller.", recent, counts)

    def _mostly(self, recent: list[_Failure], count: int, share: float) -> bool:
        return count >= share * (self.total - recent[0].total + 1)

    def _cleared(self, detector: Detector, reason: str, recent: list[_Failure], counts: Counts) -> Finding:
        self.failures.clear()
        self.hostile = True
        requests = tuple(each.request for each in recent[-REQUESTS_MAX:])
        return self.finding(detector, reason, recent[-1].at, since=recent[0].at, counts=counts, requests=requests)

    def _established(self, now: datetime) -> bool:
        return (
            self.profile.calls + self.total - self.saved >= KNOWN_CALLS
            and now - self.profile.first_seen >= timedelta(hours=1)
        )

    def _accept(self, asked: Asked, network: str, program: str) -> None:
        self.client, self.agent = asked.client, asked.agent
        self.newcomers.pop(network, None)
        self.profile.met(network, program)

    def _strange(self, asked: Asked, network: str, new: _Newcomer, *, fresh: bool) -> Finding | None:
        now, last = asked.now, self.seen_at or self.profile.last_seen
        machine = self.principal.kind == "key"
        beside = machine and now - last <= BESIDE and self.known - new.known >= NEW_CALLS
        rested = new.first_at - last >= RESTED
        reason = ""
        if fresh and new.calls >= NEW_CALLS:
            reason = "It is used from a network and by a program that it was never used by."
        elif rested and new.calls >= NEW_CALLS:
            reason = "After a month without use it is used from a new network."
        elif beside and new.calls >= BESIDE_CALLS:
            reason = "It is used from a new network while it is used from a known one."
        if reason:
            counts: Counts = {"calls": new.calls, "network": network, "new_program": int(fresh)}
            requests = tuple(new.requests)
            since, new.calls, new.known = new.first_at, 0, self.known
            return self.finding("leakage", reason, now, since=since, counts=counts, requests=requests)
        if now - last >= MOVED and new.calls >= ACCEPTED_CALLS:
            self._accept(asked, network, program_of(asked.agent))
        return None


def _add(counts: dict[K, int], kind: K, by: int) -> None:
    """Count up or down; what is at nothing is left out."""
    left = counts.get(kind, 0) + by
    if left:
        counts[kind] = left
    else:
        del counts[kind]


def name_of(route: Route) -> str:
    """Return how a route is called."""
    return f"{route.method} {route.path}"
