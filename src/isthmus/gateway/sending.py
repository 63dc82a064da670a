"""Answers on their way out: headers that every answer carries, and bodies sent whole or piece by piece."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field

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


@dataclass(frozen=True, kw_only=True)
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


async def send_answer(
    request: Request, answer: Outgoing, *, receive: Receive, send: Send, closing: asyncio.Event
) -> None:
    """Send an answer; a stream ends when the caller goes away, or when `closing` is set."""
    headers = _headers(request, answer)
    body = answer.body
    if isinstance(body, bytes):
        if answer.status not in _NO_BODY:
            headers.append(("content-length", str(len(body))))
        await send(_start(answer.status, headers))
        whole = b"" if request.method == "HEAD" or answer.status in _NO_BODY else body
        await send({"type": "http.response.body", "body": whole})
        return
    await send(_start(answer.status, [*headers, ("x-accel-buffering", "no")]))
    if request.method != "HEAD":
        await _stream(body, receive, send, closing)
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def _headers(request: Request, answer: Outgoing) -> list[tuple[str, str]]:
    own = {name for name, _ in answer.headers}
    policy = PAGE_POLICY if answer.media.startswith("text/html") else API_POLICY
    defaults = [*DEFAULTS, ("content-security-policy", policy), ("x-request-id", request.id), *COMMON]
    if request.secure:
        defaults.append(HSTS)
    headers = [*answer.headers, *(each for each in defaults if each[0] not in own)]
    if answer.media and answer.status not in _NO_BODY:
        headers.append(("content-type", answer.media))
    return headers


def _start(status: int, headers: list[tuple[str, str]]) -> dict[str, object]:
    encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    return {"type": "http.response.start", "status": status, "headers": encoded}


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
