"""What is remembered of a network from which proofs failed, and the detectors that look at it."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from ipaddress import ip_network

from isthmus.audit.entry import network_of
from isthmus.gateway.decide import UNSAFE, Asked
from isthmus.gateway.threats.callers import REQUESTS_MAX, WINDOW
from isthmus.gateway.threats.ladder import Counts, Finding

NOBODY = 0
PROOFS_MIN, PROOFS_MAX, PROVEN_MAX, SHARED = 12, 256, 1_000, 2
CALLS_MAX = 300
REMEMBERED = timedelta(minutes=10)
_FAILED = frozenset({400, 401, 403})
named: Callable[[str], str | None] = lru_cache(maxsize=8_192)(network_of)


@dataclass(slots=True)
class Network:
    """A network by its class. `proven` holds the callers who prove themselves from it.

    `shown` counts by their proofs the failures that are remembered, however old they are.
    """

    name: str
    failures: deque[tuple[datetime, int, str]] = field(default_factory=deque[tuple[datetime, int, str]])
    shown: dict[int, int] = field(default_factory=dict[int, int])
    proven: set[str] = field(default_factory=set[str])
    calls: int = 0
    ends: datetime | None = None

    def prove(self, subject: str) -> None:
        """Remember that somebody proved themselves from here."""
        if len(self.proven) < PROVEN_MAX:
            self.proven.add(subject)

    def heard(self, asked: Asked, status: int) -> Finding | None:
        """Hear of a call of nobody known; return a finding about guessed credentials, or about too many calls."""
        shown = proof_in(asked)
        if shown is not None and status in _FAILED:
            found = self._failed(asked, shown)
            if found is not None:
                return found
        if self.ends is None or asked.now >= self.ends:
            self.calls, self.ends = 0, asked.now + WINDOW
        self.calls += 1
        if self.calls != CALLS_MAX * max(1, len(self.proven)):
            return None
        counts: Counts = {"calls": self.calls, "seconds": 10}
        reason = f"{self.calls} calls without a valid credential within 10 s."
        return self._finding("volume", reason, asked, asked.now, counts, (asked.request_id,))

    def _failed(self, asked: Asked, shown: int) -> Finding | None:
        now = asked.now
        if len(self.failures) >= PROOFS_MAX:
            self._forget(self.failures.popleft()[1])
        self.failures.append((now, shown, asked.request_id))
        self.shown[shown] = self.shown.get(shown, 0) + 1
        many = max(PROOFS_MIN, SHARED * len(self.proven))
        if len(self.shown) < many:
            return None
        recent = [each for each in self.failures if now - each[0] <= REMEMBERED]
        distinct = len({each[1] for each in recent})
        if distinct < many:
            return None
        self.failures.clear()
        self.shown.clear()
        counts: Counts = {"failed": len(recent), "credentials": distinct, "proven": len(self.proven)}
        reason = f"{distinct} different credentials failed from this network."
        requests = tuple(each[2] for each in recent[-REQUESTS_MAX:])
        return self._finding("stuffing", reason, asked, recent[0][0], counts, requests)

    def _forget(self, shown: int) -> None:
        """Let go of a failure that is no longer remembered."""
        left = self.shown[shown] - 1
        if left:
            self.shown[shown] = left
        else:
            del self.shown[shown]

    def _finding(
        self, detector: str, reason: str, asked: Asked, since: datetime, counts: Counts, requests: tuple[str, ...]
    ) -> Finding:
        return Finding(
            workspace=NOBODY,
            detector="stuffing" if detector == "stuffing" else "volume",
            subject=f"network:{self.name}",
            reason=reason,
            at=asked.now,
            since=since,
            counts=counts,
            requests=requests,
        )


def proof_in(asked: Asked) -> int | None:
    """Return what tells the proof in a call from others, or None when it shows none."""
    if asked.authorization is not None:
        return hash(asked.authorization)
    if asked.shown and proves(asked):
        return asked.shown
    return hash(asked.session) if asked.session is not None else None


def proves(asked: Asked) -> bool:
    """Tell whether a call's body may prove somebody: it changes something, and everybody is let in."""
    return asked.route.permission is None and asked.route.method in UNSAFE


@lru_cache(maxsize=8_192)
def is_own(name: str) -> bool:
    """Tell whether a network is this machine, behind which a proxy of ours, and so everybody, may stand."""
    return ip_network(name).is_loopback
