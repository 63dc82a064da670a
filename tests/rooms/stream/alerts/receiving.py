"""Small servers that take what is told: a mail server (RFC 5321, as much as a client needs) and a web server."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass
class Received:
    """What came: whole mails, and requests as they stood on the wire."""

    port: int = 0
    mails: list[str] = field(default_factory=list[str])
    requests: list[str] = field(default_factory=list[str])
    status: str = "200 OK"
    extra: str = ""


@asynccontextmanager
async def mail_server() -> AsyncGenerator[Received]:
    """Take mails."""
    received = Received()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.test\r\n")
        while line := (await reader.readline()).decode():
            verb = line[:4].upper()
            if verb == "DATA":
                writer.write(b"354 go on\r\n")
                mail = await reader.readuntil(b"\r\n.\r\n")
                received.mails.append(mail.decode())
            writer.write(b"221 bye\r\n" if verb == "QUIT" else b"250 ok\r\n")
            await writer.drain()
            if verb == "QUIT":
                break
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    received.port = int(server.sockets[0].getsockname()[1])
    async with server:
        yield received


@asynccontextmanager
async def web_server() -> AsyncGenerator[Received]:
    """Take requests, and answer with `status`."""
    received = Received()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next((int(each[15:]) for each in head.split("\r\n") if each.lower().startswith("content-length:")), 0)
        received.requests.append(head + (await reader.readexactly(length)).decode())
        writer.write(
            f"HTTP/1.1 {received.status}\r\n{received.extra}content-length: 0\r\nconnection: close\r\n\r\n".encode()
        )
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    received.port = int(server.sockets[0].getsockname()[1])
    async with server:
        yield received
