"""Leads offered one by one at fixed moments over connections that are kept, by a client that does next to nothing."""

import asyncio
import re
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

CONNECTIONS_MAX = 512
SETTLED_S_MAX = 60.0
CREATED = 201
_ID = re.compile(rb'"lead":\{"id":"([^"]+)"')
_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)
_END = b"\r\n\r\n"


@dataclass(frozen=True, kw_only=True)
class Offer:
    """What is offered: so many leads a second for so long, to one address with one key."""

    port: int
    key: str
    per_s: int
    seconds: float
    mark: str

    @property
    def count(self) -> int:
        """How many leads that are."""
        return round(self.per_s * self.seconds)


@dataclass(frozen=True, kw_only=True)
class Sent:
    """One lead: when it was due and answered (seconds of the machine's monotonic clock), and what was answered."""

    number: int
    due: float
    done: float
    status: int
    lead: str
    said: str


def email_of(mark: str, number: int) -> str:
    """Return the address by which a lead is found again."""
    return f"lead-{number}@{mark}.example"


class _Caller(asyncio.Protocol):
    """One connection, on which one call is under way at a time."""

    def __init__(self, crowd: "_Crowd") -> None:
        self._crowd = crowd
        self._read = b""
        self._now: tuple[int, float] | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def call(self, number: int, due: float, request: bytes) -> None:
        """Send a request."""
        assert self._transport is not None
        self._now, self._read = (number, due), b""
        self._transport.write(request)

    def close(self) -> None:
        """End the connection."""
        if self._transport is not None:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._read += data
        head, found, body = self._read.partition(_END)
        length = _LENGTH.search(head + b"\r\n")
        if found and length is not None and len(body) >= int(length[1]) and self._now is not None:
            (number, due), self._now = self._now, None
            lead = _ID.search(body)
            status = int(head[9:12])
            said = "" if status == CREATED else body.decode(errors="replace")[:500]
            self._crowd.answered(number, due, status=status, lead=lead[1].decode() if lead else "", said=said)
            self._crowd.free(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._now is not None:
            self._crowd.answered(*self._now, status=0, lead="", said=f"The connection was lost ({exc}).")


class _Crowd:
    """All callers of one offer."""

    def __init__(self, offer: Offer) -> None:
        self._offer = offer
        self._idle: list[_Caller] = []
        self._waiting: deque[tuple[int, float]] = deque()
        self._opening: set[asyncio.Task[None]] = set()
        self._callers = 0
        self.sent: list[Sent] = []
        self.all = asyncio.Event()

    async def run(self) -> None:
        """Offer everything, and wait for the answers."""
        offer, began = self._offer, time.monotonic() + 0.2
        for number in range(offer.count):
            due = began + number / offer.per_s
            if (ahead := due - time.monotonic()) > 0:
                await asyncio.sleep(ahead)
            self._waiting.append((number, due))
            self._send()
        with suppress(TimeoutError):
            async with asyncio.timeout(SETTLED_S_MAX):
                await self.all.wait()
        for each in self._idle:
            each.close()
        for number in set(range(offer.count)) - {each.number for each in self.sent}:
            self.answered(number, began + number / offer.per_s, status=0, lead="", said="There was no answer.")

    def answered(self, number: int, due: float, *, status: int, lead: str, said: str) -> None:
        """Note an answer."""
        self.sent.append(Sent(number=number, due=due, done=time.monotonic(), status=status, lead=lead, said=said))
        if len(self.sent) == self._offer.count:
            self.all.set()

    def free(self, caller: _Caller) -> None:
        """Have a connection ready for the next call."""
        self._idle.append(caller)
        self._send()

    def _send(self) -> None:
        while self._waiting and self._idle:
            number, due = self._waiting.popleft()
            self._idle.pop().call(number, due, _request(self._offer, number))
        if len(self._waiting) > len(self._opening) and self._callers < CONNECTIONS_MAX:
            self._callers += 1
            task = asyncio.create_task(self._open())
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    async def _open(self) -> None:
        loop = asyncio.get_running_loop()
        _, caller = await loop.create_connection(lambda: _Caller(self), "127.0.0.1", self._offer.port)
        self.free(caller)


def _request(offer: Offer, number: int) -> bytes:
    body = (
        f'{{"email":"{email_of(offer.mark, number)}","first_name":"Ada","last_name":"Number{number}",'
        f'"company":"Company {number} of {offer.mark}","title":"Head of Engineering","country":"GB",'
        f'"company_size":240,"source":"webinar_registration"}}'
    ).encode()
    return (
        f"POST /api/v1/integrations/sales/leads HTTP/1.1\r\nhost: 127.0.0.1:{offer.port}\r\n"
        f"authorization: Bearer {offer.key}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    ).encode() + body


def offered(offer: Offer) -> Sequence[Sent]:
    """Offer leads and return how each went, in the order of the answers."""

    async def inside() -> Sequence[Sent]:
        crowd = _Crowd(offer)
        await crowd.run()
        return crowd.sent

    return asyncio.run(inside())
