"""What passes between caller and upstream: never a credential, nothing of one hop, nothing that frames two ways."""

import re
from collections.abc import Iterable, Mapping
from urllib.parse import unquote

from isthmus.gateway.request import Request
from isthmus.kernel.errors import Malformed

IDENTITY = "isthmus-identity"
PROXY_KEY = "isthmus-proxy-key"
HOP_BY_HOP = frozenset(
    {
        "connection",
        "expect",
        "http2-settings",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
CREDENTIALS = frozenset({"authorization", "cookie", "dpop", "x-csrf-token", IDENTITY, PROXY_KEY})
_SAID_BY_PROXIES = frozenset({"forwarded", "via", "x-real-ip", "x-rewrite-url", "x-request-id"})
_SAID_BY_PROXIES_PREFIXES = ("x-forwarded-", "x-original-", "x-envoy-")
_NEVER_ANSWERED = frozenset(
    {
        "alt-svc",
        "clear-site-data",
        "content-type",
        "date",
        "ratelimit",
        "ratelimit-policy",
        "service-worker-allowed",
        "server",
        "set-cookie",
        "strict-transport-security",
        "x-request-id",
    }
)
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
SANDBOX = "default-src 'none'; sandbox; frame-ancestors 'none'"
"""A page of an upstream runs nothing in our origin, where it would act as whoever is signed in."""


class FramingRefused(Malformed):
    """Two servers could read the end of the request at different places."""

    code, title = "framing-refused", "It is not clear where the request ends"


class UpgradeRefused(Malformed):
    """The connection shall become something other than HTTP."""

    code, title = "upgrade-refused", "WebSocket and other upgrades are not served"


class PathRefused(Malformed):
    """The path has segments that lead elsewhere."""

    code, title = "path-refused", "The path leads elsewhere"


def check_framing(headers: Mapping[str, str]) -> None:
    """Raise FramingRefused for what request smuggling is made of, and UpgradeRefused (RFC 9112 §6.3, §11.2)."""
    if "upgrade" in headers:
        raise UpgradeRefused("WebSocket is not passed on.", fix="Use plain requests, or call the service directly.")
    coding = headers.get("transfer-encoding")
    if coding is not None and "content-length" in headers:
        raise FramingRefused("Content-Length and Transfer-Encoding came together.", fix="Send one of them.")
    if coding is not None and coding.strip().lower() != "chunked":
        raise FramingRefused("Transfer-Encoding is not `chunked`.", fix="Send no other coding.")
    length = headers.get("content-length")
    if length is not None and not (length.isascii() and length.isdecimal()):
        raise FramingRefused("Content-Length is not a number.", fix="Send the number of bytes.")
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name) or _CONTROL.search(value):
            raise FramingRefused("A header has characters that no header has.", fix="Leave them out.")


def check_path(raw_path: str) -> None:
    r"""Raise PathRefused for segments `.` and `..`, for `\`, and for control characters, escaped or not."""
    plain = unquote(raw_path)
    if _CONTROL.search(plain) or "\\" in plain or any(each in {".", ".."} for each in plain.split("/")):
        raise PathRefused("The path has `.`, `..` or a backslash in it.", fix="Send the path itself.")


def request_headers(request: Request, *, identity: str) -> list[tuple[str, str]]:
    """Return the headers for the upstream: the caller's without credentials, who it is, and where it called from."""
    dropped = HOP_BY_HOP | CREDENTIALS | _SAID_BY_PROXIES | named_by(request.headers.get("connection", "")) | {"host"}
    kept = [
        (name, value)
        for name, value in request.headers.items()
        if name not in dropped and not name.startswith(_SAID_BY_PROXIES_PREFIXES)
    ]
    return [
        *kept,
        (IDENTITY, identity),
        ("x-forwarded-for", request.client),
        ("x-forwarded-proto", "https" if request.secure else "http"),
        ("x-forwarded-host", request.headers.get("host", "")),
        ("x-request-id", request.id),
        ("via", "1.1 isthmus"),
    ]


def answer_headers(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the headers of an upstream's answer as they go to the caller, without the media type.

    An upstream sets no cookies and no rules of our origin, and its pages are shut in.
    """
    own = [(name.lower(), value) for name, value in headers]
    named = frozenset[str]().union(*(named_by(value) for name, value in own if name == "connection"))
    dropped = HOP_BY_HOP | _NEVER_ANSWERED | named
    kept = [(name, value) for name, value in own if name not in dropped]
    return [*kept, ("content-security-policy", SANDBOX)]


def named_by(connection: str) -> frozenset[str]:
    """Return the headers that the header Connection names as those of one hop; the body's length is never one."""
    named = {each.strip().lower() for each in connection.split(",")}
    return frozenset(named - {"", "close", "keep-alive", "content-length", "content-type"})
