"""Those who hear of leads: a client of the live feed, a webhook's receiver, and whoever looks into the fake CRM."""

import asyncio
import re
import sqlite3
import time
from multiprocessing.connection import Connection
from pathlib import Path

CREATED = b"isthmus.sales.lead.created.v1"
LOOK_S = 0.02
_SUBJECT = re.compile(rb'"subject":"([^"]+)"')
_EMAIL = re.compile(r'"Email":"([^"]+)"')
_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)
_END = b"\r\n\r\n"
_ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"
_QUERY = "select at_us, body from kept where feed = 'crm.leads' and at_us > ? order by at_us"
Heard = dict[str, list[float]]
"""When each lead was heard of, by its id or address, in seconds of the machine's monotonic clock."""


class _Receiver(asyncio.Protocol):
    """One connection of whoever sends webhooks."""

    def __init__(self, heard: Heard) -> None:
        self._heard = heard
        self._read = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._read += data
        head, found, body = self._read.partition(_END)
        length = _LENGTH.search(head + b"\r\n")
        if not found or length is None or len(body) < int(length[1]) or self._transport is None:
            return
        self._read = body[int(length[1]) :]
        _note(self._heard, body)
        self._transport.write(_ANSWER)


class _Feed(asyncio.Protocol):
    """The client of the live feed; it comes back when the server ends a feed, as clients do."""

    def __init__(self, heard: Heard, request: bytes, ended: asyncio.Event) -> None:
        self._heard, self._request, self._ended = heard, request, ended
        self._read = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        *whole, self._read = (self._read + data).split(b"\n\n")
        for each in whole:
            _note(self._heard, each)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._ended.set()


def _note(heard: Heard, text: bytes) -> None:
    subject = _SUBJECT.search(text) if CREATED in text else None
    if subject is not None:
        heard.setdefault(subject[1].decode(), []).append(time.monotonic())


def hear(mine: Connection, *, port: int, key: str, company: Path) -> None:
    """Listen until told to stop: the target of a child process.

    Says first at which port webhooks are received, and at the end what was heard by feed, webhook and CRM. Between the
    two it is asked how many of each there are so far.
    """
    asyncio.run(_hear(mine, port, key, company))


async def _hear(mine: Connection, port: int, key: str, company: Path) -> None:
    feed, hook, crm = Heard(), Heard(), Heard()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Receiver(hook), "127.0.0.1", 0)
    following = [
        asyncio.create_task(_follow(feed, port, key)),
        asyncio.create_task(_look(crm, company)),
    ]
    mine.send(server.sockets[0].getsockname()[1])
    while await asyncio.to_thread(mine.recv) == "count":
        mine.send((len(feed), len(hook), len(crm)))
    for each in following:
        each.cancel()
    await asyncio.gather(*following, return_exceptions=True)
    server.close()
    mine.send((feed, hook, crm))


async def _follow(heard: Heard, port: int, key: str) -> None:
    """Follow the creation of leads from now on; a feed that ends is opened again after the last event heard of."""
    loop = asyncio.get_running_loop()
    request = (
        f"GET /api/v1/events?type={CREATED.decode()} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n"
        f"authorization: Bearer {key}\r\naccept: text/event-stream\r\n\r\n"
    ).encode()
    while True:
        ended = asyncio.Event()
        await loop.create_connection(lambda ended=ended: _Feed(heard, request, ended), "127.0.0.1", port)
        await ended.wait()


async def _look(heard: Heard, company: Path) -> None:
    """Look into the file of the fake CRM again and again."""
    base = sqlite3.connect(f"file:{company}?mode=ro", uri=True, isolation_level=None)
    last = int(base.execute("select coalesce(max(at_us), 0) from kept where feed = 'crm.leads'").fetchone()[0])
    while True:
        for at_us, body in base.execute(_QUERY, (last,)).fetchall():
            last = at_us
            email = _EMAIL.search(body)
            if email is not None:
                heard.setdefault(email[1], []).append(time.monotonic())
        await asyncio.sleep(LOOK_S)
