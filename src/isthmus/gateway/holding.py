"""Answers held for a moment, so that a question which many ask at once is worked out once.

A route says so with `held_s`: its answer depends on the workspace, the path, the query, the caller's permissions and
the version of the interface, and on nothing else. An answer is shared only among callers who see all records alike:
whoever is limited to named records, or sees records through a policy, is answered afresh, and so is everybody for whom
personal fields were opened. A change that is made over HTTP, by any worker of this machine, is seen by the next
question.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from isthmus.auth.principal import Principal
from isthmus.gateway.decide import Asked
from isthmus.gateway.request import Request
from isthmus.gateway.routes import Route
from isthmus.gateway.sending import Outgoing, seal

HELD_MAX = 2_000
BODY_BYTES_MAX = 64 << 10
_ALONE = frozenset({"if-none-match", "prefer"})
_OK = 200
HeldKey = tuple[int, int, str, bytes, frozenset[str], str]


@dataclass(slots=True)
class _Held:
    """An answer with its moments, and whether somebody works out the next one.

    It is fresh until `fresh_until` ticks and stands until `ends` ticks, and for moments between `first` and `last`.
    `sent_on` tells that somebody was sent to `find` to work out the next one.
    """

    answer: Outgoing
    fresh_until: int
    ends: int
    first: datetime
    last: datetime
    version: int
    renewing: bool = False
    sent_on: bool = False
    sealed: dict[bool, tuple[bytes, bytes]] = field(default_factory=dict[bool, tuple[bytes, bytes]])

    def seal(self, *, secure: bool) -> tuple[bytes, bytes]:
        """Return the head, but for lines of one call and its end, and the body."""
        body = self.answer.body
        assert isinstance(body, bytes)
        made = self.sealed[secure] = seal(self.answer, secure=secure), body
        return made


class Holding:
    """The held answers of one worker."""

    def __init__(self, *, ticks: Callable[[], int], changes: Callable[[int], int]) -> None:
        """`ticks` counts nanoseconds; `changes` is a number that another one follows when a workspace was changed."""
        self._ticks, self._changes = ticks, changes
        self._held: OrderedDict[HeldKey, _Held] = OrderedDict()

    def key(self, request: Request, asked: Asked, route: Route) -> HeldKey | None:
        """Return the place of a call's answer, or None when it must be worked out for this caller alone."""
        principal, headers = asked.principal, request.headers
        if principal is None or not _sees_all(principal, asked) or not _ALONE.isdisjoint(headers):
            return None
        version = headers.get("isthmus-version", "")
        return principal.workspace, id(route), request.path, request.query, principal.permissions, version

    def find(self, key: HeldKey, *, now: datetime) -> Outgoing | None:
        """Return an answer that is recent enough.

        For as long again as it is held, one caller works out the next one while the others still get this one.
        """
        held, ticks = self._held.get(key), self._ticks()
        if held is None or not self._stands(held, key, ticks, now):
            return None
        if ticks >= held.fresh_until and not held.renewing:
            held.renewing = True
            return None
        return _again(held.answer)

    def find_fresh(self, key: HeldKey, *, now: datetime) -> Outgoing | None:
        """Return an answer that need not be worked out anew."""
        held, ticks = self._held.get(key), self._ticks()
        if held is None or ticks >= held.fresh_until or not self._stands(held, key, ticks, now):
            return None
        return _again(held.answer)

    def find_sealed(self, key: HeldKey, *, now: datetime, ticks: int, secure: bool) -> tuple[bytes, bytes] | None:
        """Return the head, but for lines of one call and its end, and the body of an answer that need not be renewed.

        `ticks` are those of the call. The first one for whom the answer is too old gets None, and renews it through
        `find`; the others still get this one, while it stands.
        """
        held = self._held.get(key)
        if held is None or held.version != self._changes(key[0]) or ticks >= held.ends:
            return None
        if not held.first < now < held.last:
            return None
        if ticks >= held.fresh_until and not (held.renewing or held.sent_on):
            held.sent_on = True
            return None
        return held.sealed.get(secure) or held.seal(secure=secure)

    def _stands(self, held: _Held, key: HeldKey, ticks: int, now: datetime) -> bool:
        return held.version == self._changes(key[0]) and ticks < held.ends and held.first < now < held.last

    def begin(self, key: HeldKey) -> int:
        """Return the state of the workspace before an answer is worked out, for `keep`."""
        return self._changes(key[0])

    def keep(self, key: HeldKey, answer: Outgoing, *, route: Route, now: datetime, version: int) -> None:
        """Hold an answer that was worked out from the state `version`, if it is small and good."""
        body = answer.body
        if answer.status != _OK or not isinstance(body, bytes) or len(body) > BODY_BYTES_MAX:
            return
        kept = _again(answer)
        ticks, held_ns, span = self._ticks(), int(route.held_s * 1e9), timedelta(seconds=2 * route.held_s)
        self._held[key] = _Held(kept, ticks + held_ns, ticks + 2 * held_ns, now - span, now + span, version)
        self._held.move_to_end(key)
        while len(self._held) > HELD_MAX:
            self._held.popitem(last=False)


def _again(answer: Outgoing) -> Outgoing:
    return Outgoing(status=answer.status, media=answer.media, body=answer.body, headers=[*answer.headers])


def _sees_all(principal: Principal, asked: Asked) -> bool:
    return not principal.only and asked.sight is None and asked.weigh is None
