"""A request as the server hands it over (ASGI 3), read once and frozen."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from ipaddress import ip_address
from typing import TypeAlias, cast
from urllib.parse import urlsplit

from isthmus.gateway.errors import BodyLate
from isthmus.gateway.routes import Route
from isthmus.kernel.clock import milliseconds
from isthmus.kernel.errors import Malformed, TooLarge, UnsupportedMedia
from isthmus.kernel.ids import PAIRS, mint, text_of
from isthmus.vault import entropy

Message: TypeAlias = MutableMapping[str, object]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

SESSION_COOKIE, SECURE_SESSION_COOKIE = "isthmus_session", "__Host-isthmus_session"
BODY_S_MAX = 60
DRAINED_BYTES_MAX, DRAINED_S_MAX = 64 << 20, 5
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_ONCE_ONLY = frozenset({"authorization", "content-length", "content-type", "host", "idempotency-key", "x-csrf-token"})
_NONE = frozenset[str]()
_PER_TURN = len(PAIRS)
_TURN, _LONG_AGO = timedelta(seconds=1), datetime.min.replace(tzinfo=UTC)
_FORWARDED = frozenset({"forwarded", "x-forwarded-for", "x-real-ip"})
_MEDIA = {"json": "application/json", "form": "application/x-www-form-urlencoded"}


@dataclass(frozen=True, kw_only=True)
class Request:
    """What was asked. `client` is the address it comes from; `local` tells one on this machine without a proxy.

    `framed` tells that a body may come without headers that say so, as in HTTP/2.
    """

    method: str
    path: str
    query: bytes
    headers: Mapping[str, str] = field(repr=False)
    id: str
    secure: bool
    local: bool
    client: str = ""
    repeated: frozenset[str] = frozenset()
    framed: bool = False

    @property
    def session(self) -> str | None:
        """The token in the session's cookie."""
        cookies = self.headers.get("cookie")
        if cookies is None:
            return None
        wanted = session_cookie(secure=self.secure)
        for part in cookies.split(";"):
            name, _, value = part.strip().partition("=")
            if name == wanted and value:
                return value
        return None

    @property
    def site(self) -> str:
        """Where a browser says the request was made: `same-origin`, `none`, or somewhere else."""
        said = self.headers.get("sec-fetch-site")
        if said is not None:
            return said
        origin = self.headers.get("origin")
        return "none" if origin is None or urlsplit(origin).netloc == self.headers.get("host") else "cross-site"

    def check(self) -> None:
        """Raise Malformed for headers that must stand once and are repeated."""
        if self.repeated:
            raise Malformed(f"The header {min(self.repeated)} is repeated.", fix="Send it once.")


def session_cookie(*, secure: bool) -> str:
    """Return the name of the session's cookie; browsers bind the secure one to this host."""
    return SECURE_SESSION_COOKIE if secure else SESSION_COOKIE


def read_request(scope: Mapping[str, object], *, now: datetime) -> Request:
    """Return the request of an ASGI scope; an id that is not fit to be logged is replaced."""
    headers: dict[str, str] = {}
    repeated: set[str] = set()
    for raw_name, raw_value in cast("Iterable[tuple[bytes, bytes]]", scope["headers"]):
        name, value = _name(raw_name), raw_value.decode("latin-1")
        if name in headers:
            repeated.add(name)
            value = f"{headers[name]}{'; ' if name == 'cookie' else ', '}{value}"
        headers[name] = value
    given = headers.get("x-request-id", "")
    client = _address(scope.get("client"))
    raw_path = cast("bytes | None", scope.get("raw_path")) or str(scope["path"]).encode()
    return Request(
        method=str(scope["method"]),
        path=raw_path.partition(b"?")[0].decode("latin-1"),
        query=cast("bytes", scope.get("query_string") or b""),
        headers=headers,
        id=given if _REQUEST_ID.fullmatch(given) else new_request_id(now),
        secure=scope.get("scheme") == "https",
        client=client,
        local=_is_local(client) and _FORWARDED.isdisjoint(headers),
        repeated=frozenset(repeated & _ONCE_ONLY) if repeated else _NONE,
        framed=str(scope.get("http_version", "1.1")).startswith("2"),
    )


def new_request_id(now: datetime) -> str:
    """Return a fresh id."""
    return text_of("req", mint(unix_ms=milliseconds(now), entropy=entropy(10)))


class RequestIds:
    """Fresh ids of requests, each made by counting from one that is random. One for each worker.

    Ids of one turn carry the moment at which it began, and sort in the order in which they were given.
    """

    def __init__(self) -> None:
        """Nothing is given yet."""
        self._head, self._at, self._until = "", _PER_TURN, _LONG_AGO

    def new(self, now: datetime) -> str:
        """Return a fresh id."""
        at = self._at
        if at == _PER_TURN or now >= self._until:
            self._head, at = new_request_id(now)[:-2], 0
            self._until = now + _TURN
        self._at = at + 1
        return self._head + PAIRS[at]


async def read_body(request: Request, route: Route, receive: Receive) -> bytes:
    """Return the body once its type and size are fit for the route.

    Raises UnsupportedMedia, BodyLate, and TooLarge without keeping what is over the route's limit: a moderate rest is
    read and thrown away, because most callers look at the answer only after they have sent everything.
    """
    length = request.headers.get("content-length", "0")
    if not length.isdecimal():
        raise Malformed("Content-Length is not a number.", fix="Send the number of bytes.")
    declared = int(length)
    if declared > DRAINED_BYTES_MAX:
        raise _too_large(route)
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_S_MAX if declared <= route.body_bytes_max else DRAINED_S_MAX):
            async for part in _parts(receive):
                size += len(part)
                if size <= route.body_bytes_max:
                    parts.append(part)
                elif size > DRAINED_BYTES_MAX:
                    break
    except TimeoutError as error:
        if size <= route.body_bytes_max:
            raise BodyLate(f"The body did not arrive within {BODY_S_MAX} s.", fix="Send it faster.") from error
    if size > route.body_bytes_max:
        raise _too_large(route)
    body = b"".join(parts)
    if route.body is not None or body:
        _check_media(request, route)
    return body


def _check_media(request: Request, route: Route) -> None:
    if route.sender is None and request.headers.get("content-encoding", "identity").lower() != "identity":
        raise UnsupportedMedia("The body is compressed.", fix="Send it without Content-Encoding.")
    wanted = _MEDIA.get(route.accepts)
    if wanted is None:
        return
    media, *parameters = (each.strip().lower() for each in request.headers.get("content-type", "").split(";"))
    charset = {each for each in parameters if each.startswith("charset=")}
    if media != wanted or not charset <= {"charset=utf-8", 'charset="utf-8"'}:
        raise UnsupportedMedia(f"The body must be {wanted} in UTF-8.", fix=f"Send Content-Type: {wanted}")


async def _parts(receive: Receive) -> AsyncIterator[bytes]:
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Malformed("The caller went away before the body was complete.")
        yield cast("bytes", message.get("body") or b"")
        more = bool(message.get("more_body"))


def _too_large(route: Route) -> TooLarge:
    return TooLarge(
        f"The body is over {route.body_bytes_max:,} bytes.", fix="Send less at once, or import the records as a file."
    )


def _address(client: object) -> str:
    return str(cast("tuple[object]", client)[0]) if isinstance(client, list | tuple) else ""


@lru_cache(maxsize=1_024)
def _name(raw: bytes) -> str:
    return raw.decode("latin-1").lower()


@lru_cache(maxsize=1_024)
def _is_local(client: str) -> bool:
    try:
        return ip_address(client).is_loopback
    except ValueError:
        return False
