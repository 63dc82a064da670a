"""Leads of the bench are offered at fixed moments, each once, and what is not accepted is told."""

import asyncio
import threading
import time
from collections.abc import Generator
from contextlib import closing, contextmanager, suppress

from isthmus.app.bench.realtime.offering import Offer, email_of, offered


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer captures: every lead is taken, except the third; a lead takes twenty milliseconds."""
    while True:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            break
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        body = await reader.readexactly(length)
        await asyncio.sleep(0.02)
        email = body.split(b'"email":"')[1].split(b'"')[0]
        if email == email_of("test", 2).encode():
            writer.write(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy")
        else:
            said = b'{"outcome":"created","lead":{"id":"lead_' + email.split(b"@")[0] + b'"}}'
            writer.write(b"HTTP/1.1 201 Created\r\nContent-Length: %d\r\n\r\n" % len(said) + said)
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


@contextmanager
def served() -> Generator[int]:
    """Serve on a port in a thread of its own."""
    loop, ports = asyncio.new_event_loop(), list[int]()
    ready = threading.Event()

    async def begin() -> asyncio.Server:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        ports.append(server.sockets[0].getsockname()[1])
        ready.set()
        return server

    def run() -> None:
        with closing(loop):
            server = loop.run_until_complete(begin())
            loop.run_forever()
            server.close()
            for task in asyncio.all_tasks(loop):
                loop.run_until_complete(task)

    thread = threading.Thread(target=run)
    thread.start()
    ready.wait()
    try:
        yield ports[0]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


def test_each_lead_is_offered_once_when_it_is_due_and_late_answers_count_from_then() -> None:
    began = time.monotonic()
    with served() as port:
        sent = offered(Offer(port=port, key="k", per_s=100, seconds=0.2, mark="test"))
    by_number = {each.number: each for each in sent}
    assert sorted(by_number) == list(range(20))
    assert [each.number for each in sent if each.status != 201] == [2]
    assert (by_number[2].said, by_number[2].lead) == ("busy", "")
    assert by_number[7].lead == "lead_lead-7"
    first = by_number[0].due
    assert first > began
    assert all(round(each.due - first, 6) == round(number / 100, 6) for number, each in by_number.items())
    assert all(each.done - each.due >= 0.02 for each in sent)
