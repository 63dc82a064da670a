"""Answers on their way out: headers that every answer carries, and bodies sent whole or piece by piece."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from http import HTTPStatus

from isthmus.gateway.request import Receive, Request, Send

_NO_BODY = frozenset({204, 304})
_FIRST_ERROR = 400
COMMON = (
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
    ("x-frame-options", "DENY"),
)
DEFAULTS = (("cache-control", "no-store"),)
API_POLICY = "default-src 'none'; frame-ancestors 'none'"
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HSTS = ("strict-transport-security", "max-age=31536000")


@dataclass(slots=True, kw_only=True)
class Outgoing:
    """An answer, ready to be sent."""

    status: int
    media: str = ""
    body: bytes | AsyncIterator[bytes] = b""
    headers: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])

    @property
    def failed(self) -> bool:
        """Tell whether it refuses."""
        return self.status >= _FIRST_ERROR


def seal(answer: Outgoing, *, secure: bool) -> bytes:
    """Return the head of a whole answer with a body that many calls get: all of it but lines of one call and its end.

    That is its status line and headers as HTTP/1.1 writes them, each line with its end.
    """
    assert isinstance(answer.body, bytes)
    headers = [*_final(answer, secure=secure), (b"content-length", b"%d" % len(answer.body))]
    phrase = HTTPStatus(answer.status).phrase.encode()
    return b"HTTP/1.1 %d %b\r\n" % (answer.status, phrase) + b"".join(b"%b: %b\r\n" % each for each in headers)


async def send_answer(
    request: Request, answer: Outgoing, *, receive: Receive, send: Send, closing: asyncio.Event
) -> None:
    """Send an answer; a stream ends when the caller goes away, or when `closing` is set."""
    headers = _headers(request, answer)
    body = answer.body
    if isinstance(body, bytes):
        if answer.status not in _NO_BODY:
            headers.append((b"content-length", b"%d" % len(body)))
        await send(_start(answer.status, headers))
        whole = b"" if request.method == "HEAD" or answer.status in _NO_BODY else body
        await send({"type": "http.response.body", "body": whole})
        return
    await send(_start(answer.status, [*headers, (b"x-accel-buffering", b"no")]))
    if request.method != "HEAD":
        await _stream(body, receive, send, closing)
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def _headers(request: Request, answer: Outgoing) -> list[tuple[bytes, bytes]]:
    headers = _final(answer, secure=request.secure)
    if not any(name == b"x-request-id" for name, _ in headers):
        headers.append((b"x-request-id", request.id.encode("latin-1")))
    return headers


def _final(answer: Outgoing, *, secure: bool) -> list[tuple[bytes, bytes]]:
    """Return the headers of an answer with those that every answer carries."""
    common, names = _COMMON[answer.media.startswith("text/html"), secure]
    own = [(_encoded(name), value.encode("latin-1")) for name, value in answer.headers]
    given = {name for name, _ in own}
    own += common if names.isdisjoint(given) else [each for each in common if each[0] not in given]
    if answer.media and answer.status not in _NO_BODY:
        own.append((b"content-type", _encoded(answer.media)))
    return own


@lru_cache(maxsize=1_024)
def _encoded(text: str) -> bytes:
    return text.encode("latin-1")


def _common(policy: str, *, secure: bool) -> tuple[list[tuple[bytes, bytes]], frozenset[bytes]]:
    """Return the headers that every answer carries unless it has its own of these names, and the names."""
    pairs = [*DEFAULTS, ("content-security-policy", policy), *COMMON, *([HSTS] if secure else [])]
    return [(_encoded(name), _encoded(value)) for name, value in pairs], frozenset(_encoded(name) for name, _ in pairs)


_COMMON = {
    (html, secure): _common(PAGE_POLICY if html else API_POLICY, secure=secure)
    for html in (False, True)
    for secure in (False, True)
}


def _start(status: int, headers: list[tuple[bytes, bytes]]) -> dict[str, object]:
    return {"type": "http.response.start", "status": status, "headers": headers}


async def _stream(body: AsyncIterator[bytes], receive: Receive, send: Send, closing: asyncio.Event) -> None:
    sending = asyncio.ensure_future(_send_parts(body, send))
    ends = [asyncio.ensure_future(_gone(receive)), asyncio.ensure_future(closing.wait())]
    try:
        await asyncio.wait((sending, *ends), return_when=asyncio.FIRST_COMPLETED)
        if sending.done():
            await sending
    finally:
        for task in (sending, *ends):
            task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await task


async def _send_parts(body: AsyncIterator[bytes], send: Send) -> None:
    try:
        async for part in body:
            await send({"type": "http.response.body", "body": part, "more_body": True})
    finally:
        close = getattr(body, "aclose", None)
        if close is not None:
            await close()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
