"""One connection of HTTP/1.1: known requests are answered at once, all others are parsed and called.

Parsing, bodies, pipelining, flow control and keeping alive are uvicorn's, over llhttp. Added here: the answers at once,
problems as answers to what cannot be read, and bounds on heads, waiting requests and time.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from isthmus.gateway.asgi import HEAD, Gateway
from isthmus.gateway.errors import HeadTooLarge
from isthmus.gateway.request_cache import HEAD_BYTES_MAX as KNOWN_BYTES_MAX
from isthmus.gateway.request_cache import Head
from isthmus.kernel.errors import IsthmusError, Malformed

if TYPE_CHECKING:
    import asyncio

HEAD_BYTES_MAX, HEADERS_MAX, WAITING_MAX, CONNECTIONS_MAX = 64 << 10, 128, 64, 10_000
_VERSIONS = frozenset({"1.0", "1.1"})
_END, _SLICE_BYTES = b"\r\n\r\n", 4 << 10


class _Refused(Exception):
    """The parser is told to stop; what to answer stands in the connection."""


@dataclass
class Floor:
    """What all connections of a worker share. `beat` counts seconds; `lines` are headers of every answer.

    `shaking` holds connections that shake hands for TLS, with the beat at which they began.
    """

    gateway: Gateway
    config: Config
    state: ServerState = field(default_factory=ServerState)
    connections: "set[Lane]" = field(default_factory=set["Lane"])
    shaking: "dict[asyncio.BaseTransport, int]" = field(default_factory=dict["asyncio.BaseTransport", int])
    beat: int = 0
    lines: bytes = b""

    @property
    def full(self) -> bool:
        """Tell whether there are more connections than may be."""
        return len(self.connections) + len(self.shaking) > CONNECTIONS_MAX


class _Flow(FlowControl):
    """Reads no further while requests wait for their turn, whoever asks for it."""

    def __init__(self, transport: "asyncio.Transport", waiting: "deque[object]") -> None:
        super().__init__(transport)
        self._waiting = waiting

    def resume_reading(self) -> None:
        if not self._waiting:
            super().resume_reading()


class Lane(HttpToolsProtocol):
    """One connection. `since` is the beat at which it began to wait for the rest of a head, or for its next request."""

    def __init__(self, floor: Floor, loop: "asyncio.AbstractEventLoop") -> None:
        """`floor` is shared with all others."""
        super().__init__(floor.config, floor.state, {}, loop)
        self.floor = floor
        self.since = self.stuck_since = floor.beat
        self.idle = True
        self.in_head = False
        self.stuck = False
        self._peer, self._secure = "", False
        self._alone: bytes | None = None
        self._later = b""
        self._running: RequestResponseCycle | None = None
        self._size, self._came, self._new = 0, 0, False
        self._refusal: IsthmusError | None = None

    def connection_made(self, transport: "asyncio.Transport") -> None:
        super().connection_made(transport)
        self.flow = _Flow(transport, cast("deque[object]", self.pipeline))
        self._peer = self.client[0] if self.client else ""
        self._secure = self.scheme == "https"
        self.floor.connections.add(self)
        if self.floor.full:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.floor.connections.discard(self)
        self.idle = False
        self.pipeline.clear()
        if self._running is not None and not self._running.response_complete:
            self._running.disconnected = True
            self._running.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        floor = self.floor
        if self.idle and not self.stuck:
            self.since = floor.beat
            answer = floor.gateway.answer_at_once(data, self._peer, secure=self._secure, lines=floor.lines)
            if answer is not None:
                self.transport.write(answer)
                return
            self._alone = data if len(data) <= KNOWN_BYTES_MAX and data.find(_END) == len(data) - len(_END) else None
        self._parse(data)

    def _parse(self, data: bytes) -> None:
        """Read on, slice by slice; what comes while many requests wait is read when they were answered."""
        if self._later:
            self._later += data
            return
        for start in range(0, len(data), _SLICE_BYTES):
            if len(self.pipeline) >= WAITING_MAX:
                self._later = data[start:]
                return
            self._feed(data[start : start + _SLICE_BYTES])
        self._alone = None

    def _feed(self, data: bytes) -> None:
        parser = self.parser
        if parser is None or self._refusal is not None:
            return
        try:
            parser.feed_data(data)
            if self.in_head:
                self._came, self._new = 0 if self._new else self._came + len(data), False
                self._bound(self._came)
        except httptools.HttpParserUpgrade:
            # No other protocol is spoken: the request was called as it is, and what follows it is not read.
            self.cycle.keep_alive = False
        except (httptools.HttpParserError, _Refused):
            self._refuse(self._refusal or Malformed("The request cannot be read.", fix="Send HTTP/1.1 (RFC 9112)."))

    def on_message_begin(self) -> None:
        self.idle, self.in_head = False, True
        self.since, self._size, self._new = self.floor.beat, 0, True
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._grown(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.in_head:
            return  # Trailers say nothing to anybody here.
        if len(self.headers) >= HEADERS_MAX:
            self._stop(HeadTooLarge(f"There are more than {HEADERS_MAX} headers.", fix="Send fewer."))
        self._grown(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self.in_head = False
        if self.parser is None or self.parser.get_http_version() not in _VERSIONS:
            self._stop(Malformed("The version of HTTP is not spoken.", fix="Send HTTP/1.1."))
        if self._alone is not None and b" HTTP/1.1\r\n" in self._alone:
            head = Head(raw=self._alone, peer=self._peer, secure=self._secure)
            cast("dict[str, object]", self.scope)[HEAD] = head
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        if self.cycle.response_complete:
            self._rest()

    def on_response_complete(self) -> None:
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
            if not self.pipeline and self._later:
                later, self._later = self._later, b""
                self._parse(later)
        elif self._refusal is not None:
            self._say(self._refusal)
        elif not self.cycle.more_body and not self.in_head:
            self._rest()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def pause_writing(self) -> None:
        self.stuck, self.stuck_since = True, self.floor.beat
        super().pause_writing()

    def resume_writing(self) -> None:
        self.stuck = False
        super().resume_writing()

    @property
    def answers(self) -> bool:
        """Tell whether an answer is being made or sent."""
        return self._running is not None and not self._running.response_complete

    def _rest(self) -> None:
        """Wait for the next request."""
        if not self.transport.is_closing() and self.cycle.keep_alive:
            self.idle, self.since = True, self.floor.beat

    def _grown(self, size: int) -> None:
        self._size += size
        self._bound(self._size)

    def _bound(self, size: int) -> None:
        if size > HEAD_BYTES_MAX:
            self._stop(HeadTooLarge(f"The head is over {HEAD_BYTES_MAX:,} bytes.", fix="Send shorter headers."))

    def _stop(self, refusal: IsthmusError) -> None:
        """Make the parser stop; raises _Refused."""
        self._refusal = self._refusal or refusal
        raise _Refused

    def _refuse(self, refusal: IsthmusError) -> None:
        """Read nothing more; say why once everything before it is answered."""
        self._refusal, self.idle, self.in_head = refusal, False, False
        self.flow.pause_reading()
        cycle = self.cycle
        if not self.answers:
            self._say(refusal)
        elif cycle.more_body:
            # It is the body of this one that cannot be read, so nobody waits for its rest.
            cycle.disconnected = True
            cycle.message_event.set()
            if not cycle.response_started and not self.pipeline:
                self._say(refusal)
            else:
                self.transport.close()

    def _say(self, refusal: IsthmusError) -> None:
        self.transport.write(self.floor.gateway.refuse(refusal, secure=self._secure, lines=self.floor.lines))
        self.transport.close()
