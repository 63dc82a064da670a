"""Bytes sent to a listener as they are, and the answers that came back."""

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import cast

from isthmus.app.http.listening import Listener
from isthmus.app.http.supervising import listen
from isthmus.gateway.asgi import Gateway
from isthmus.kernel.marks import Json
from tests.rooms.app.http.conftest import free_port


@dataclass(frozen=True)
class Heard:
    """An answer; `same` is what two answers to the same question have in common."""

    status: int
    headers: dict[str, str]
    body: bytes = field(repr=False)

    @property
    def json(self) -> dict[str, Json]:
        """The body as a JSON object."""
        return cast("dict[str, Json]", json.loads(self.body))

    @property
    def same(self) -> tuple[object, ...]:
        """Everything but the moment, the id and what is left of limits."""
        kept = {
            name: value for name, value in self.headers.items() if name not in {"date", "x-request-id", "ratelimit"}
        }
        body = self.body.replace(self.headers["x-request-id"].encode(), b"")
        return self.status, tuple(sorted(kept.items())), body


@dataclass
class Wire:
    """A connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, *packets: bytes) -> None:
        """Send packets, each for itself."""
        for each in packets:
            self.writer.write(each)
            await self.writer.drain()
            await asyncio.sleep(0.01 if len(packets) > 1 else 0)

    async def heard(self) -> Heard:
        """Return the next answer; raises OSError or EOFError when the connection ended before one came."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        line, *rest = head.decode("latin-1").rstrip().split("\r\n")
        headers = dict(each.split(": ", 1) for each in rest)
        body = await self.reader.readexactly(int(headers.get("content-length", "0")))
        return Heard(int(line.split(" ")[1]), headers, body)

    async def ask(self, *packets: bytes) -> Heard:
        """Send, and return the answer."""
        await self.send(*packets)
        return await self.heard()

    async def some(self, count: int, *packets: bytes) -> Sequence[Heard]:
        """Send, and return so many answers, or fewer when the connection ends."""
        await self.send(*packets)
        found: list[Heard] = []
        with suppress(EOFError, OSError):
            while len(found) < count:
                found.append(await self.heard())
        return found

    async def ended(self) -> bool:
        """Tell that the connection ended without a further byte."""
        with suppress(OSError):
            return await self.reader.read(1) == b""
        return True


@dataclass
class Served:
    """A gateway behind a listener."""

    listener: Listener
    port: int

    @asynccontextmanager
    async def wire(self) -> AsyncGenerator[Wire]:
        """Connect."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            yield Wire(reader, writer)
        finally:
            writer.close()


@asynccontextmanager
async def served(gateway: Gateway) -> AsyncGenerator[Served]:
    """Serve a gateway."""
    port = free_port()
    listener = Listener(gateway)
    await listener.open(listen("127.0.0.1", port, count=1)[0])
    try:
        yield Served(listener, port)
    finally:
        await listener.close(grace_s=1)
        await gateway.close()


def request(path: str, key: str, *lines: str) -> bytes:
    """Return the bytes of a GET."""
    own = "".join(f"{each}\r\n" for each in lines)
    return f"GET {path} HTTP/1.1\r\nHost: isthmus.test\r\nAuthorization: Bearer {key}\r\n{own}\r\n".encode("latin-1")
