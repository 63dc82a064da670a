"""What enforcing detectors would have done over stored traffic: its windows played through a stage of their own.

A window is ten seconds of a caller in which something happened: at least twenty calls, a failure, or a strange network.
Its calls are laid evenly over the ten seconds; each failed call misses or is refused another thing, as often as other
things were counted. What a stage finds in its first day is found without a baseline, as in a new installation.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import LiteralString
from uuid import UUID

import msgspec
from msgspec import Struct

from isthmus.auth.principal import Principal
from isthmus.gateway.decide import Asked
from isthmus.gateway.routes import Call, Method, Route
from isthmus.gateway.threats.callers import WINDOW
from isthmus.gateway.threats.ladder import DETECTORS, Detector, Mode
from isthmus.gateway.threats.watch import Threats
from isthmus.gateway.threats.window import Window
from isthmus.kernel.errors import IsthmusError
from isthmus.store.database import Transaction

CALLS_MAX = 2_000
"""Of one window so many calls are played; further ones change no verdict."""
WINDOWS_MAX = 50_000
_WRITE: LiteralString = """
insert into threat_traffic (workspace, at, facts)
select current_workspace(), (facts->>'at')::timestamptz, facts
from jsonb_array_elements(%s::text::jsonb) as given (facts)
"""
_FORGET: LiteralString = "delete from threat_traffic where workspace = current_workspace() and at < %s"
_READ: LiteralString = """
select facts from threat_traffic where workspace = current_workspace() and at >= %s order by at, id limit %s
"""


class WouldHold(Struct, frozen=True, kw_only=True):
    """What would have been done to one subject, how many of its calls refused, and when it began."""

    detector: str
    subject: str
    step: str
    reason: str
    first_at: datetime
    held: int


class Replayed(Struct, frozen=True, kw_only=True):
    """How much was played, and what would have been done."""

    windows: int
    calls: int
    held: int
    threats: list[WouldHold]


async def save_windows(tx: Transaction, windows: Sequence[Window], *, keep: timedelta) -> None:
    """Write windows down, and forget those that are too old."""
    await tx.connection.execute(_WRITE, (msgspec.json.encode(windows).decode(),))
    await tx.connection.execute(_FORGET, (tx.scope.now - keep,))


async def read_traffic(tx: Transaction, *, since: datetime) -> list[Window]:
    """Return the windows from a moment on, the oldest first."""
    rows = await (await tx.connection.execute(_READ, (since, WINDOWS_MAX))).fetchall()
    return [msgspec.convert(facts, Window) for (facts,) in rows]


def replay(windows: Sequence[Window], *, workspace: int, detectors: Sequence[Detector] | None = None) -> Replayed:
    """Play windows through a stage that enforces the named detectors, all without names."""
    wanted = detectors or DETECTORS
    modes: Mapping[Detector, Mode] = {each: "enforce" if each in wanted else "off" for each in DETECTORS}
    stage = Threats(modes=modes)
    routes: dict[str, Route] = {}
    principals: dict[str, Principal] = {}
    held: dict[str, int] = {}
    calls = 0
    for window in windows:
        principal = principals.setdefault(window.subject, _principal(window.subject, workspace))
        for asked, status in _calls(window, principal, routes):
            calls += 1
            refused = _refused(stage, asked, status)
            held[window.subject] = held.get(window.subject, 0) + refused
    found = [
        WouldHold(
            detector=detector,
            subject=subject,
            step=threat.step,
            reason=threat.finding.reason,
            first_at=threat.first_seen,
            held=held.get(subject, 0),
        )
        for (_, detector, subject), threat in stage.pending.items()
    ]
    return Replayed(windows=len(windows), calls=calls, held=sum(held.values()), threats=found)


def _refused(stage: Threats, asked: Asked, status: int) -> bool:
    """Play one call and tell whether the stage refused it."""
    try:
        stage.admit(asked)
    except IsthmusError as error:
        stage.ended(asked, status=error.status, micros=0)
        return True
    stage.ended(asked, status=status, micros=0)
    return False


def _calls(window: Window, principal: Principal, routes: dict[str, Route]) -> list[tuple[Asked, int]]:
    """Return the calls of a window with their statuses, laid evenly over its time."""
    plan: list[tuple[str, int, int]] = []
    failing = {(each.route, each.status): each for each in window.failures}
    for name, count in window.routes.items():
        failed = sum(each.count for each in window.failures if each.route == name)
        plan += [(name, 200, number) for number in range(count - failed)]
    for (name, status), each in failing.items():
        plan += [(name, status, number % max(1, each.distinct)) for number in range(each.count)]
    plan = plan[:CALLS_MAX]
    step = WINDOW / max(1, len(plan))
    things = max(1, window.things)
    address = window.network.partition("/")[0]
    address = address.removesuffix("0") + "1" if ":" not in address else f"{address}1"
    made: list[tuple[Asked, int]] = []
    for place, (name, status, number) in enumerate(plan):
        route = routes.setdefault(name, _route(name))
        thing = number % things if status == 200 else number  # noqa: PLR2004 - the status of an ordinary answer.
        asked = Asked(
            route=route,
            now=window.at + place * step,
            path=f"{route.path}/{status}-{thing}",
            client=address,
            agent=window.program,
            principal=principal,
        )
        made.append((asked, status))
    return made


def _principal(subject: str, workspace: int) -> Principal:
    kind, _, own = subject.partition(":")
    known = "key" if kind == "key" else "token" if kind == "token" else "session"
    return Principal(workspace=workspace, kind=known, id=UUID(own), name="", permissions=frozenset())


def _route(name: str) -> Route:
    method, _, path = name.partition(" ")
    known: Method = msgspec.convert(method, Method)
    return Route(method=known, path=path, handler=_nothing, summary="", permission=None)


async def _nothing(call: Call) -> None:
    del call
