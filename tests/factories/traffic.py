"""Labelled traffic of two days of learning and one day of trial, made from a seed.

Normal: synchronisations in bursts, exports at night, dashboards, people on the move whose networks change, build
machines that come from anywhere, a machine with an expired key, people who mistype their passwords, and partners who
call now and then. Hostile: seven attacks and slow variants of five, each by an attacker of its own.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal
from uuid import UUID

from isthmus.auth.principal import Principal
from isthmus.gateway.decide import Asked
from isthmus.gateway.routes import Call, Method, Route

Attack = Literal["stuffing", "leakage", "enumeration", "scraping", "injection", "volume", "probing"]
ATTACKS: tuple[Attack, ...] = (
    "stuffing",
    "leakage",
    "enumeration",
    "scraping",
    "injection",
    "volume",
    "probing",
)
SLOW: tuple[Attack, ...] = ("stuffing", "enumeration", "scraping", "injection", "probing")
START = datetime(2026, 11, 2, tzinfo=UTC)
WORKSPACE = 7
LEARNING_DAYS, LEARNING_S, TRIAL_S = 2, 60, 600
TRIAL_HOURS = (2, 9, 14, 22)
PROBED = 12
TEXTS = (
    *("O'Brien", "Rock 'n' Roll", "50% off -- today", "Select Union Bank", "drop table of contents", "AND/OR", "C#"),
    *("5 or 6 seats", "a <= b", "I <3 it", "https://example.com/a?b=c", "{{first_name}}", 'He said "yes"', "Q3; Q4"),
)
PAYLOADS = (
    *("' OR '1'='1", "1 OR 1=1", "admin'--", "' UNION SELECT null,null--", "1; DROP TABLE users", "1) AND SLEEP(5)--"),
    *("<script>alert(1)</script>", '"><svg/onload=alert(1)>', "<img src=x onerror=alert(1)>", "javascript:alert(1)"),
    *("../../../etc/passwd", "..%2f..%2fetc%2fpasswd", "{{7*7}}", "${jndi:ldap://x/a}", "<%= 7*7 %>"),
)


async def _nothing(call: Call) -> None:
    del call


def _route(method: Method, path: str, *, permission: str | None = "making:read") -> Route:
    return Route(method=method, path=path, handler=_nothing, summary="", permission=permission)


THING = _route("GET", "/api/v1/things/{thing_id}")
THINGS = _route("GET", "/api/v1/things")
PUT = _route("POST", "/api/v1/things:batch", permission="making:write")
BOARDS = tuple(_route("GET", f"/api/v1/board/{name}") for name in "abcdef")
SECRETS = tuple(_route("GET", f"/api/v1/secret-{number}") for number in range(PROBED))
SIGN_IN = _route("POST", "/sign-in", permission=None)


@dataclass(frozen=True, slots=True)
class Actor:
    """Who calls: one credential, one address, one program."""

    principal: Principal | None
    client: str
    agent: str

    @property
    def subject(self) -> str:
        """How threats name it; nobody known is named by its network."""
        if self.principal is None:
            return f"network:{self.client.rpartition('.')[0]}.0/24"
        return f"{self.principal.kind}:{self.principal.id}"


@dataclass(frozen=True, slots=True)
class Sent:
    """A call with its label: `attack` is the number of the attack it belongs to, 0 for normal ones."""

    at: float
    actor: Actor
    route: Route
    path: str
    status: int = 200
    query: str = ""
    shown: int = 0
    authorization: str | None = None
    attack: int = 0

    def asked(self) -> Asked:
        """Return the call as the gate sees it."""
        return Asked(
            route=self.route,
            now=START + timedelta(seconds=self.at),
            path=self.path,
            query=self.query.encode(),
            request_id=f"req_{self.at:.3f}",
            client=self.actor.client,
            agent=self.actor.agent,
            authorization=self.authorization,
            principal=self.actor.principal,
            shown=self.shown,
        )


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attack: its kind, whose name it is found under, and its calls."""

    number: int
    kind: Attack
    slow: bool
    subject: str
    calls: Sequence[Sent]


@dataclass(frozen=True)
class Traffic:
    """All calls in their order, and the attacks among them."""

    calls: Sequence[Sent]
    attempts: Sequence[Attempt]


class Town:
    """Makes the traffic of one seed."""

    def __init__(self, seed: int, *, attempts: int = 3) -> None:
        """`attempts` is how often each attack is made in each trial hour."""
        self._random = random.Random(seed)
        self._attempts_each = attempts
        self.syncs = [self._actor("key", f"acme-sync/{number}.1") for number in range(6)]
        self.exports = [self._actor("key", "night-export/1.0") for _ in range(2)]
        self.boards = [self._actor("session", "Mozilla/5.0 (X11)") for _ in range(10)]
        self.mobiles = [self._actor("token", "isthmus-mobile/3.2") for _ in range(6)]
        self.builds = [self._actor("key", "build-runner/1.4") for _ in range(2)]
        self.partners: list[Actor] = []

    def traffic(self) -> Traffic:
        """Return all of it."""
        attempts = [
            self._attempt(number, kind, slow=slow, begins=_second(LEARNING_DAYS, hour))
            for number, (hour, kind, slow) in enumerate(self._plan(), 1)
        ]
        blocks = [(_second(0, hour), TRIAL_S if hour in TRIAL_HOURS else LEARNING_S) for hour in range(24)]
        blocks += [(_second(1, hour), LEARNING_S) for hour in range(24)]
        blocks += [(_second(LEARNING_DAYS, hour), TRIAL_S) for hour in TRIAL_HOURS]
        calls = [call for begins, length in blocks for call in self._normal(begins, length)]
        calls += [call for attempt in attempts for call in attempt.calls]
        calls.sort(key=lambda each: each.at)
        return Traffic(calls, attempts)

    def _plan(self) -> Iterator[tuple[int, Attack, bool]]:
        for hour in TRIAL_HOURS:
            for _ in range(self._attempts_each):
                for kind in ATTACKS:
                    yield hour, kind, False
            for kind in SLOW:
                yield hour, kind, True

    def _actor(self, kind: Literal["key", "session", "token"], agent: str) -> Actor:
        own = UUID(int=self._random.getrandbits(128))
        principal = Principal(workspace=WORKSPACE, kind=kind, id=own, name="", permissions=frozenset())
        return Actor(principal, self._address(), agent)

    def _address(self) -> str:
        part = self._random.randrange
        return f"{part(11, 200)}.{part(256)}.{part(256)}.{part(1, 255)}"

    def _normal(self, begins: float, length: int) -> Iterator[Sent]:
        for actor in self.syncs:
            yield from self._sync(actor, begins, length)
        if int(begins // 3600) % 24 == TRIAL_HOURS[0]:
            for actor in self.exports:
                yield from self._export(actor, begins, length)
        for actor in self.boards:
            yield from self._board(actor, begins, length)
        for actor in self.mobiles:
            yield from self._mobile(actor, begins, length)
        for actor in self.builds:
            yield from self._build(actor, begins, length)
        for actor in self.partners:
            for _ in range(self._random.randint(3, 6) * length // LEARNING_S):
                yield self._got(actor, begins + self._random.uniform(0, length))
        yield from self._stale(begins, length)
        yield from self._typing(begins, length)

    def _sync(self, actor: Actor, begins: float, length: int) -> Iterator[Sent]:
        at = begins + self._random.uniform(0, 5)
        while at < begins + length:
            for _ in range(self._random.randint(5, 15)):
                at += self._random.uniform(0.02, 0.2)
                missing = self._random.random() < 0.03
                yield self._got(actor, at, missing=missing) if self._random.random() < 0.4 else self._put(actor, at)
            at += self._random.uniform(8, 20)

    def _put(self, actor: Actor, at: float) -> Sent:
        return Sent(at, actor, PUT, PUT.path)

    def _got(self, actor: Actor, at: float, *, missing: bool = False) -> Sent:
        query = f"name={self._random.choice(TEXTS)}".replace("%", "%25") if self._random.random() < 0.1 else ""
        path = f"/api/v1/things/thg_{self._random.getrandbits(40):x}"
        return Sent(at, actor, THING, path, 404 if missing else 200, query)

    def _export(self, actor: Actor, begins: float, length: int) -> Iterator[Sent]:
        at, page = begins, 0
        while at < begins + length:
            at += self._random.uniform(0.1, 0.3)
            page += 1
            yield Sent(at, actor, THINGS, THINGS.path, query=f"cursor=p{begins:.0f}x{page}&limit=200")

    def _board(self, actor: Actor, begins: float, length: int) -> Iterator[Sent]:
        at = begins + self._random.uniform(0, 10)
        while at < begins + length:
            for route in BOARDS:
                refused = route is BOARDS[-1]
                yield Sent(at + self._random.uniform(0, 1), actor, route, route.path, 403 if refused else 200)
            if self._random.random() < 0.2:
                yield self._got(actor, at + 2)
            at += 10

    def _mobile(self, actor: Actor, begins: float, length: int) -> Iterator[Sent]:
        at, moves_at, there = begins, begins, actor
        while at < begins + length:
            if at >= moves_at:
                there = Actor(actor.principal, self._address(), actor.agent)
                moves_at = at + self._random.uniform(30, 180)
            at += self._random.uniform(3, 15)
            yield self._got(there, at)

    def _build(self, actor: Actor, begins: float, length: int) -> Iterator[Sent]:
        at = begins
        while at < begins + length:
            there = Actor(actor.principal, self._address(), f"build-runner/1.{self._random.randrange(9)}")
            for _ in range(self._random.randint(10, 25)):
                at += self._random.uniform(0.1, 0.5)
                yield self._got(there, at, missing=self._random.random() < 0.1)
            at += self._random.uniform(20, 60)

    def _stale(self, begins: float, length: int) -> Iterator[Sent]:
        """A machine that tries its expired key every five seconds."""
        actor = Actor(None, "192.0.2.7", "cron/1")
        for step in range(0, length, 5):
            yield Sent(begins + step, actor, THINGS, THINGS.path, 401, authorization="Bearer ist_live_expired")

    def _typing(self, begins: float, length: int) -> Iterator[Sent]:
        """People of one office who mistype their passwords and then come in."""
        for person in range(self._random.randint(1, 1 + length // 300)):
            at = begins + self._random.uniform(0, length - 40)
            office = Actor(None, f"198.51.100.{person + 1}", "Mozilla/5.0")
            for _ in range(self._random.randint(1, 3)):
                at += self._random.uniform(4, 10)
                yield Sent(at, office, SIGN_IN, SIGN_IN.path, 401, shown=self._random.getrandbits(40))
            yield Sent(at + 5, office, SIGN_IN, SIGN_IN.path, 303, shown=self._random.getrandbits(40))

    def _attempt(self, number: int, kind: Attack, *, slow: bool, begins: float) -> Attempt:
        actor = self._attacker(kind)
        at = begins + (self._random.uniform(0, 20) if slow else self._random.uniform(20, TRIAL_S - 90))
        pause = self._random.uniform(*(_SLOW_PAUSE[kind] if slow else _PAUSE[kind]))
        ends = begins + TRIAL_S - 5 if slow else at + 60
        sequential, made = self._random.random() < 0.3, list[Sent]()
        base = self._random.randrange(10_000, 90_000)
        while at < ends and len(made) < 400:
            made.append(self._hostile(kind, actor, at, number, base + len(made) if sequential and not slow else None))
            at += pause * self._random.uniform(0.7, 1.3)
        return Attempt(number, kind, slow, actor.subject, made)

    def _attacker(self, kind: Attack) -> Actor:
        if kind == "stuffing":
            return Actor(None, self._address(), "Mozilla/5.0")
        partner = self._actor("key", "partner-app/1.0")
        self.partners.append(partner)
        if kind != "leakage":
            return partner
        return Actor(partner.principal, self._address(), "curl/8.5")

    def _hostile(self, kind: Attack, actor: Actor, at: float, number: int, counted: int | None) -> Sent:  # noqa: PLR0911 - one for each kind.
        chance = self._random
        match kind:
            case "stuffing" if chance.random() < 0.3:
                guess = f"Bearer ist_live_{chance.getrandbits(80):x}"
                return Sent(at, actor, THINGS, THINGS.path, 401, authorization=guess, attack=number)
            case "stuffing":
                return Sent(at, actor, SIGN_IN, SIGN_IN.path, 401, shown=chance.getrandbits(60), attack=number)
            case "enumeration" if counted is not None:
                return Sent(at, actor, THING, f"/api/v1/things/{counted}", attack=number)
            case "enumeration":
                status = 404 if chance.random() < 0.9 else 200
                return Sent(at, actor, THING, f"/api/v1/things/thg_{chance.getrandbits(40):x}", status, attack=number)
            case "scraping":
                query = f"cursor=s{number}x{at:.4f}"
                return Sent(at, actor, THINGS, THINGS.path, query=query, attack=number)
            case "injection":
                payload = chance.choice(PAYLOADS).replace("%", "%25").replace("&", "%26").replace("+", "%2B")
                return Sent(at, actor, THINGS, THINGS.path, 422, query=f"q={payload}", attack=number)
            case "probing":
                route = chance.choice(SECRETS)
                return Sent(at, actor, route, route.path, 403, attack=number)
            case "volume":
                return Sent(at, actor, BOARDS[0], BOARDS[0].path, attack=number)
            case "leakage":
                return Sent(at, actor, THINGS, THINGS.path, attack=number)


_PAUSE = {
    "stuffing": (0.05, 0.5),
    "leakage": (0.1, 0.6),
    "enumeration": (0.05, 0.5),
    "scraping": (0.05, 0.2),
    "injection": (0.05, 0.5),
    "volume": (0.005, 0.05),
    "probing": (0.1, 0.5),
}
_SLOW_PAUSE = {
    "stuffing": (10, 20),
    "enumeration": (4, 8),
    "scraping": (1.5, 3),
    "injection": (10, 30),
    "probing": (10, 20),
}


def _second(day: int, hour: int) -> float:
    return day * 86_400.0 + hour * 3_600
