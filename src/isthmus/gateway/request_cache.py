"""Requests that came before, byte for byte: such a one is not read again, only decided again.

Programs that call all the time send the same headers each time. What was read out of them (the request, its route, what
the decision starts from) is kept with the bytes as key, for callers who proved themselves. Whether the credential still
stands, and everything after it, is asked at every call.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import cast

from isthmus.auth.principal import Principal
from isthmus.gateway.decide import Asked, opens
from isthmus.gateway.request import Request
from isthmus.gateway.router import Match

KEPT_MAX = 4_096
HEADERS_MAX, BYTES_MAX = 24, 4_096
_OF_ONE_CALL = frozenset({b"x-request-id", b"cookie", b"dpop", b"idempotency-key", b"if-none-match", b"range"})
_KINDS = frozenset({"key", "token"})
_BEFORE_HEADERS = 5
Key = tuple[object, ...]


@dataclass(slots=True)
class Familiar:
    """What was read; `asked` is lent to one call at a time, and `granted` is the caller whom the route is open to."""

    request: Request
    match: Match
    asked: Asked | None
    credential: bytes
    granted: Principal
    doors: object

    def lend(self, *, now: datetime, request_id: str) -> Asked | None:
        """Return what a decision starts from, or None while another call has it."""
        asked = self.asked
        if asked is None:
            return None
        self.asked = None
        asked.now, asked.request_id = now, request_id
        asked.principal = asked.sight = asked.weigh = asked.inspect = asked.amount = None
        asked.headers, asked.sent, asked.shown = [], 0, 0
        if asked.reasons:
            asked.reasons = []
        return asked


class Familiars:
    """The familiar requests of one worker."""

    def __init__(self) -> None:
        """Nothing is familiar at first."""
        self._kept: dict[Key, Familiar] = {}

    def key(self, scope: Mapping[str, object]) -> Key | None:
        """Return the bytes of a request that may come again, or None."""
        if scope["method"] != "GET":
            return None
        headers = cast("Iterable[tuple[bytes, bytes]]", scope["headers"])
        client = cast("tuple[object, ...] | None", scope.get("client"))
        place = (scope["path"], scope.get("raw_path"), scope.get("query_string"))
        return (*place, client and client[0], scope["scheme"], *headers)

    def find(self, key: Key, *, doors: object) -> Familiar | None:
        """Return what was read out of these bytes before."""
        found = self._kept.get(key)
        return found if found is None or found.doors is doors else None

    def keep(self, key: Key, request: Request, match: Match, asked: Asked, *, doors: object) -> None:
        """Keep what was read of a call whose caller has proven itself and whom the route is open to.

        `doors` is what the ways in depended on; with another one the request is read again.
        """
        principal, route = asked.principal, match.route
        if principal is None or principal.kind not in _KINDS or not opens(principal, route):
            return
        headers = cast("tuple[tuple[bytes, bytes], ...]", key[_BEFORE_HEADERS:])
        if len(headers) > HEADERS_MAX or sum(len(name) + len(value) for name, value in headers) > BYTES_MAX:
            return
        if route.tail or route.fresh_s is not None or not _OF_ONE_CALL.isdisjoint(name for name, _ in headers):
            return
        if len(self._kept) >= KEPT_MAX:
            self._kept.clear()
        credential = sha256((asked.authorization or "").partition(" ")[2].strip().encode()).digest()
        self._kept[key] = Familiar(request, match, asked, credential, principal, doors)
