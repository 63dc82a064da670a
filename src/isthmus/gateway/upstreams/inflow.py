"""The body of a request, piece by piece as it comes, beside an answer that may already be on its way."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import cast

from isthmus.gateway.request import Message, Receive, Request
from isthmus.kernel.errors import IsthmusError


class CallerGone(IsthmusError):
    """The caller went away before its request was complete; nobody hears of it."""

    status, code, title = 499, "caller-gone", "The caller went away"


class Inflow:
    """Reads the body once. `heard` is told of each piece, and of the end with True.

    The server tells of a caller who went away by the same way as it hands over the body, so `wait` listens only while
    nobody reads the body.
    """

    def __init__(self, receive: Receive, *, empty: bool) -> None:
        """`empty` says that the request has no body."""
        self._receive = receive
        self._ended = asyncio.Event()
        self._gone = False
        self.begun = False
        self.heard: Callable[[bool], None] = lambda _: None
        self.empty = empty
        if empty:
            self._ended.set()

    @property
    def ended(self) -> bool:
        """Tell whether the whole body was read, or will not be."""
        return self._ended.is_set()

    @property
    def gone(self) -> bool:
        """Tell whether the caller went away."""
        return self._gone

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the body; raises CallerGone."""
        self.begun = True
        try:
            while not self._ended.is_set():
                message = await self._receive()
                if message["type"] == "http.disconnect":
                    self._gone = True
                    raise CallerGone("The caller went away before the body was complete.")
                piece = cast("bytes", message.get("body") or b"")
                last = not message.get("more_body")
                self.heard(last)
                if last:
                    self._ended.set()
                if piece:
                    yield piece
        finally:
            self._ended.set()

    async def wait(self) -> Message:
        """Return that the caller went away, when it did."""
        await self._ended.wait()
        while not self._gone:
            self._gone = (await self._receive())["type"] == "http.disconnect"
        return {"type": "http.disconnect"}


@dataclass(frozen=True)
class Passing:
    """A request that is passed on: what came, and its body."""

    request: Request
    inflow: Inflow
