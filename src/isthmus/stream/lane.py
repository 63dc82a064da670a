"""One connection to Valkey for a whole program: commands of callers that come at the same moment go in one write.

Answers come in the order of the commands. When the connection breaks, every command that waits fails at once, commands
fail at once while it is away, and a task connects again, first soon and then each second.
"""

import asyncio
import ssl
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias, cast

import libvalkey

from isthmus.kernel.errors import Unavailable

Reply: TypeAlias = "int | bytes | list[Reply] | None"
Word: TypeAlias = "str | bytes | int | float"
ANSWER_S = 2.0
CONNECT_S = 2.0
_AGAIN_FIRST_S, _AGAIN_MAX_S = 0.05, 1.0


class LaneAway(Unavailable):
    """Valkey does not answer."""

    code, title = "valkey-away", "Valkey does not answer"


class LaneRefused(Exception):
    """Valkey answered a command with an error; its words are the message."""


@dataclass(frozen=True, kw_only=True)
class LaneAddress:
    """The way to Valkey: by `socket_path`, or by `host` and `port`, there with verified TLS when `tls`."""

    socket_path: str | None = None
    host: str = "localhost"
    port: int = 6379
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    database: int = 0
    tls: bool = False
    ca_file: str | None = None


class _Reader(Protocol):
    """What we use of libvalkey's parser, whose types say Any."""

    def feed(self, buf: bytes, /) -> None: ...

    def gets(self) -> object: ...


class _Line(asyncio.Protocol):
    """One connection while it lasts."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.waiting: deque[asyncio.Future[Reply]] = deque()
        self.written: list[bytes] = []
        self.closed = asyncio.get_running_loop().create_future()
        self._reader = cast("_Reader", libvalkey.Reader(notEnoughData=Ellipsis))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        reader, waiting = self._reader, self.waiting
        try:
            reader.feed(data)
            while (reply := reader.gets()) is not Ellipsis:
                future = waiting.popleft()
                if future.done():
                    continue
                if isinstance(reply, libvalkey.ReplyError):
                    future.set_exception(LaneRefused(str(reply)))
                else:
                    future.set_result(cast("Reply", reply))
        except (libvalkey.ProtocolError, IndexError):
            self.drop()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self.transport = None
        for future in self.waiting:
            if not future.done():
                future.set_exception(_away())
        self.waiting.clear()
        if not self.closed.done():
            self.closed.set_result(None)

    def drop(self) -> None:
        """Break the connection; what waits fails."""
        if self.transport is not None:
            self.transport.abort()

    def send(self, command: bytes) -> "asyncio.Future[Reply]":
        """Add a command to the next write."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Reply] = loop.create_future()
        if not self.written:
            loop.call_soon(self._write)
        self.written.append(command)
        self.waiting.append(future)
        return future

    def _write(self) -> None:
        whole = b"".join(self.written)
        self.written.clear()
        if self.transport is not None:
            self.transport.write(whole)


class Lane:
    """The connection, opened by `open` and kept until `close`; its methods belong to one event loop."""

    def __init__(self, address: LaneAddress, *, answer_s: float = ANSWER_S) -> None:
        """`answer_s` is how long an answer may take before the connection is given up, in seconds."""
        self._address = address
        self._answer_s = answer_s
        self._line: _Line | None = None
        self._keeping: asyncio.Task[None] | None = None
        self.writes = 0
        self.commands = 0
        self.connections = 0

    @property
    def up(self) -> bool:
        """Tell whether there is a connection now."""
        return self._line is not None and self._line.transport is not None

    async def open(self) -> None:
        """Connect if Valkey is there; when it is not, go on trying beside."""
        with suppress(LaneAway):
            self._line = await self._connected()
        self._keeping = asyncio.create_task(self._keep())

    async def close(self) -> None:
        """End the connection."""
        if self._keeping is not None:
            self._keeping.cancel()
            with suppress(asyncio.CancelledError):
                await self._keeping
        if self._line is not None:
            self._line.drop()
            await self._line.closed
            self._line = None

    async def ask(self, *words: Word) -> Reply:
        """Return the answer to a command; raises LaneAway, and LaneRefused for an error that Valkey answers."""
        line = self._line
        if line is None or line.transport is None:
            raise _away()
        if not line.written:
            self.writes += 1
        self.commands += 1
        waiting = line.send(libvalkey.pack_command(words))
        # One timer for all: a connection on which the oldest command got no answer in time answers none.
        if len(line.waiting) == 1:
            asyncio.get_running_loop().call_later(self._answer_s, _expire, line, waiting, self._answer_s)
        return await waiting

    async def _keep(self) -> None:
        pause = _AGAIN_FIRST_S
        while True:
            if self._line is not None:
                await asyncio.shield(self._line.closed)
                self._line = None
                pause = _AGAIN_FIRST_S
            try:
                self._line = await self._connected()
            except LaneAway:
                await asyncio.sleep(pause)
                pause = min(_AGAIN_MAX_S, pause * 2)

    async def _connected(self) -> _Line:
        line: _Line | None = None
        try:
            async with asyncio.timeout(CONNECT_S):
                line = await self._dialled()
                for command in self._greeting():
                    await line.send(libvalkey.pack_command(command))
        except BaseException as error:
            if line is not None:
                line.drop()
                await line.closed
            if isinstance(error, OSError | TimeoutError | LaneRefused | LaneAway):
                raise _away() from error
            raise
        self.connections += 1
        return line

    async def _dialled(self) -> _Line:
        loop, address = asyncio.get_running_loop(), self._address
        if address.socket_path is not None:
            return (await loop.create_unix_connection(_Line, address.socket_path))[1]
        context = ssl.create_default_context(cafile=address.ca_file) if address.tls else None
        return (await loop.create_connection(_Line, address.host, address.port, ssl=context))[1]

    def _greeting(self) -> list[tuple[str | int, ...]]:
        address = self._address
        words: list[tuple[str | int, ...]] = []
        if address.password is not None:
            words.append(("AUTH", *([address.username] if address.username else []), address.password))
        if address.database:
            words.append(("SELECT", address.database))
        return words or [("PING",)]


def _expire(line: _Line, oldest: "asyncio.Future[Reply]", answer_s: float) -> None:
    if line.waiting and line.waiting[0] is oldest:
        line.drop()
    elif line.waiting:
        asyncio.get_running_loop().call_later(answer_s, _expire, line, line.waiting[0], answer_s)


def _away() -> LaneAway:
    return LaneAway("Valkey does not answer.", fix="Run: isthmus doctor")
