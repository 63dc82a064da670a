"""Requests that came before, byte for byte: such a one is not read again, only decided again.

Programs that call all the time send the same head each time. What was read out of it (the request, its route, what the
decision starts from) is kept with the bytes, the address they came from and whether they came encrypted as the key, for
callers who proved themselves. Whether the credential still stands, and everything after it, is asked at every call.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Generic, TypeVar

from isthmus.auth.principal import Principal
from isthmus.gateway.decide import Asked, Standing
from isthmus.gateway.histogram import Timings
from isthmus.gateway.holding import HeldKey
from isthmus.gateway.request import Request
from isthmus.gateway.routes import Route

KEPT_MAX = 8_192
HEAD_BYTES_MAX = 4_096
_OF_ONE_CALL = frozenset({"x-request-id", "cookie", "dpop", "idempotency-key", "if-none-match", "range", "prefer"})
_FRAMING = frozenset({"content-length", "transfer-encoding", "expect", "upgrade", "trailer", "te"})
_UNFIT = _OF_ONE_CALL | _FRAMING
T = TypeVar("T")
Key = tuple[bytes, str, bool]


@dataclass(frozen=True, kw_only=True)
class Head:
    """The bytes of a whole request without a body, and where they came from."""

    raw: bytes
    peer: str
    secure: bool


@dataclass(slots=True, kw_only=True)
class KnownRequest:
    """What was read; `asked` is what the stages were told of, and `principal` the caller whom the route is open to.

    `took` gathers microseconds of those that were answered since `since` and are not counted yet.
    """

    asked: Asked
    place: int
    principal: Principal
    credential: bytes
    held: HeldKey
    secure: bool
    doors: object
    passes: Sequence[Callable[[datetime], bool]]
    counts: Sequence[Callable[[datetime], bytes]]
    hears: Sequence[Callable[[datetime, Timings], None]]
    took: dict[int, int] = field(default_factory=dict[int, int])
    since: datetime | None = None


class Cache(Generic[T]):
    """What is known of requests: of those that came lately, in two halves of which the older one is let go."""

    def __init__(self, most: int) -> None:
        """Keep at most so many."""
        self._half = most // 2
        self._young: dict[Key, T] = {}
        self._old: dict[Key, T] = {}

    def find(self, key: Key) -> T | None:
        """Return what was read before out of these bytes, from this peer, encrypted or not."""
        found = self._young.get(key)
        if found is None and self._old and (found := self._old.pop(key, None)) is not None:
            self._put(key, found)
        return found

    def keep(self, head: Head, known: T) -> None:
        """Keep what was read of a call."""
        self._put((head.raw, head.peer, head.secure), known)

    def _put(self, key: Key, known: T) -> None:
        if len(self._young) >= self._half:
            self._young, self._old = {}, self._young
        self._young[key] = known


def is_fit(head: Head, request: Request, route: Route) -> bool:
    """Tell whether a request may be known by its bytes: nothing in it belongs to one call or one connection."""
    if len(head.raw) > HEAD_BYTES_MAX or request.method != "GET" or route.tail or route.fresh_s is not None:
        return False
    headers = request.headers
    return _UNFIT.isdisjoint(headers) and headers.get("connection", "keep-alive").lower() == "keep-alive"


def parts_of(
    standings: Sequence[Standing],
) -> tuple[
    tuple[Callable[[datetime], bool], ...],
    tuple[Callable[[datetime], bytes], ...],
    tuple[Callable[[datetime, Timings], None], ...],
]:
    """Return what stages answer, count and hear, each in the order of the stages and without those that do nothing."""
    return (
        tuple(each.passes for each in standings if each.passes is not None),
        tuple(each.count for each in standings if each.count is not None),
        tuple(each.hear for each in standings if each.hear is not None),
    )


def digest_of(authorization: str) -> bytes:
    """Return the SHA-256 of the credential in the header Authorization."""
    return sha256(authorization.partition(" ")[2].strip().encode()).digest()
