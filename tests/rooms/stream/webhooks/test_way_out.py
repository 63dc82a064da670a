"""A webhook leads to the internet and nowhere else, whatever its name resolves to and however it answers."""

import asyncio
import gzip
import socket
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from isthmus.stream.outbound import Outbound, OutboundRefused
from isthmus.stream.webhooks.sending import ANSWER_BYTES_MAX, Answered, Sender
from tests.rooms.stream.test_outbound import INSIDE
from tests.rooms.stream.webhooks.conftest import LOCAL, Post

Writes = Callable[[asyncio.StreamWriter], Awaitable[None]]
REFUSED = "outbound-refused: The name leads to an address that may not be called."
Names = dict[str, list[list[str]]]


@asynccontextmanager
async def answering(write: Writes) -> AsyncGenerator[tuple[int, list[str]]]:
    """Take requests, keep their heads, and answer with whatever `write` writes; yields the port and the heads."""
    heads: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            await reader.readexactly(int(head.lower().partition("content-length: ")[2].partition("\r")[0]))
            heads.append(head)
            await write(writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield int(server.sockets[0].getsockname()[1]), heads
    finally:
        server.close()


async def sent(url: str, outbound: Outbound = LOCAL, *, seconds_max: float = 5.0) -> Answered:
    """Send a message and return how it went."""
    sender = Sender(outbound, ticks=time.perf_counter_ns, seconds_max=seconds_max)
    try:
        return await sender.send(url, b"{}", {"webhook-id": "1"})
    finally:
        await sender.close()


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    """Names and what they resolve to, one answer after the other; the last one stays."""
    known: Names = {}
    real = socket.getaddrinfo

    def resolve(host: str, port: int, *_: object, **_kept: object) -> list[object]:
        if host not in known:
            return list(real(host, port))
        answers = known[host]
        addresses = answers.pop(0) if len(answers) > 1 else answers[0]
        kinds = {each: socket.AF_INET6 if ":" in each else socket.AF_INET for each in addresses}
        return [(kinds[each], socket.SOCK_STREAM, 6, "", (each, port)) for each in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return known


@pytest.mark.parametrize("address", INSIDE)
async def test_a_name_that_leads_inside_is_not_called(names: Names, address: str) -> None:
    names["inside.test"] = [[address]]
    assert (await sent("https://inside.test/", Outbound())).failure == REFUSED


async def test_one_address_inside_among_others_is_enough_to_refuse(names: Names) -> None:
    names["both.test"] = [["93.184.216.34", "10.0.0.1"]]
    assert (await sent("https://both.test/", Outbound())).failure == REFUSED


async def test_a_name_is_resolved_once_and_what_was_looked_at_is_called(names: Names) -> None:
    async def well(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    async with answering(well) as (port, heads):
        names["rebinding.test"] = [["127.0.0.1"], ["10.0.0.1"]]
        first = await sent(f"https://rebinding.test:{port}/", seconds_max=0.5)
        assert first.failure not in ("", REFUSED)
        assert names["rebinding.test"] == [["10.0.0.1"]]
        assert (await sent(f"https://rebinding.test:{port}/")).failure == REFUSED
        assert heads == []


@pytest.mark.parametrize("address", [each for each in INSIDE if "." in each or ":" in each])
async def test_an_address_inside_cannot_be_registered(post: Post, address: str) -> None:
    host = f"[{address}]" if ":" in address else address
    guarded = Outbound()
    with pytest.raises(OutboundRefused):
        guarded.check(f"https://{host}/")
    assert (await sent(f"https://{host}/", guarded)).failure.startswith("outbound-refused")
    assert post.webhooks is not None


async def test_a_redirect_is_a_failure_and_not_followed() -> None:
    async def away(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 307 Go\r\nlocation: http://169.254.169.254/latest\r\ncontent-length: 0\r\n\r\n")

    async with answering(away) as (port, heads):
        answered = await sent(f"http://127.0.0.1:{port}/")
    assert (answered.status, answered.failure) == (307, "It answered 307, and redirects are not followed.")
    assert len(heads) == 1


async def test_of_an_endless_answer_the_beginning_is_read() -> None:
    async def endless(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 65_536)
            await writer.drain()

    async with answering(endless) as (port, _):
        answered = await sent(f"http://127.0.0.1:{port}/")
    assert (answered.status, answered.answer) == (200, b"x" * ANSWER_BYTES_MAX)


async def test_who_answers_too_slowly_has_not_answered() -> None:
    async def drip(writer: asyncio.StreamWriter) -> None:
        for byte in b"HTTP/1.1 200 OK\r\nx-a: " + b"a" * 1_000:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.02)

    async with answering(drip) as (port, _):
        answered = await sent(f"http://127.0.0.1:{port}/", seconds_max=0.5)
    assert (answered.status, answered.failure) == (None, "It did not answer in time.")


async def test_a_body_that_never_ends_is_not_waited_for_longer_than_a_call_may_take() -> None:
    async def hang(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nfirst")
        await writer.drain()
        await asyncio.sleep(60)

    async with answering(hang) as (port, _):
        answered = await sent(f"http://127.0.0.1:{port}/", seconds_max=0.5)
    assert (answered.status, answered.answer, answered.taken) == (200, b"first", True)


@pytest.mark.parametrize(
    "wire",
    [
        b"HTTP/1.1 200 OK\r\nx-a: " + b"a" * 100_000 + b"\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"",
        b"HTTP/1.1 999999999999 Big\r\n\r\n",
    ],
    ids=["huge head", "another protocol", "nothing", "no status"],
)
async def test_what_is_no_answer_is_a_failure(wire: bytes) -> None:
    async def write(writer: asyncio.StreamWriter) -> None:
        writer.write(wire)

    async with answering(write) as (port, _):
        answered = await sent(f"http://127.0.0.1:{port}/")
    assert answered.status is None
    assert answered.failure.startswith("It cannot be called")


async def test_a_kept_connection_that_was_closed_meanwhile_is_no_failure() -> None:
    async def once(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        await writer.drain()

    async with answering(once) as (port, heads):
        sender = Sender(LOCAL, ticks=time.perf_counter_ns)
        answers = [await sender.send(f"http://127.0.0.1:{port}/", b"{}", {}) for _ in range(5)]
        await sender.close()
    assert [each.status for each in answers] == [200] * 5
    assert len(heads) == 5


async def test_a_compressed_answer_stays_as_small_as_it_came() -> None:
    bomb = gzip.compress(b"0" * 5_000_000)

    async def write(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(bomb) + bomb)

    async with answering(write) as (port, _):
        answered = await sent(f"http://127.0.0.1:{port}/")
    assert answered.answer == bomb[:ANSWER_BYTES_MAX]


async def test_neither_cookies_nor_a_proxy_of_the_environment_have_a_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9/")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9/")

    async def write(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nset-cookie: a=b\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")

    async with answering(write) as (port, heads):
        sender = Sender(LOCAL, ticks=time.perf_counter_ns)
        answers = [await sender.send(f"http://127.0.0.1:{port}/", b"{}", {}) for _ in range(2)]
        await sender.close()
    assert [each.status for each in answers] == [200, 200]
    assert len(heads) == 2
    assert "cookie" not in heads[1].lower()
    assert "user-agent: isthmus-webhooks/1" in heads[1].lower()
