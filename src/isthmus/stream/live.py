"""Live feeds for many clients of one program: one reader for each workspace, one bounded queue for each client.

A frame is made once and given to everybody. A client that does not keep up is let go; it comes back with the number of
the last event it saw (`Last-Event-ID`) and misses nothing, because the log is asked for what lies between.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from isthmus.kernel.errors import Unavailable
from isthmus.stream.broker import Entry
from isthmus.stream.tail import Tail

QUEUE_FRAMES_MAX = 1_000
HEARTBEAT_S = 15.0
RETRY_S = 0.5
HEARTBEAT = b": still here\n\n"
HEADERS = (
    ("content-type", "text/event-stream; charset=utf-8"),
    ("cache-control", "no-store"),
    ("x-accel-buffering", "no"),
)

Wants = Callable[[str], bool]


def frame(entry: Entry) -> bytes:
    """Return an entry in the form of server-sent events; its number is the id to resume from."""
    return b"id: %d\ndata: %s\n\n" % (entry.seq, entry.body)


@dataclass(slots=True)
class _Client:
    queue: asyncio.Queue[Entry | None]
    lost: bool = False


@dataclass(slots=True)
class _Room:
    position: int
    clients: list[_Client] = field(default_factory=list[_Client])
    reader: asyncio.Task[None] | None = None


class Live:
    """The live feeds of one program."""

    def __init__(
        self, tail: Tail, *, queue_frames_max: int = QUEUE_FRAMES_MAX, heartbeat_s: float = HEARTBEAT_S
    ) -> None:
        """A client more than `queue_frames_max` entries behind is let go."""
        self._tail, self._queue_frames_max, self._heartbeat_s = tail, queue_frames_max, heartbeat_s
        self._rooms: dict[int, _Room] = {}
        self._opening = asyncio.Lock()

    @property
    def clients(self) -> int:
        """How many clients listen."""
        return sum(len(room.clients) for room in self._rooms.values())

    async def frames(self, workspace: int, *, after: int | None, wants: Wants) -> AsyncGenerator[bytes]:
        """Yield frames of events whose type `wants` accepts, from the one after `after` (None: from now on).

        Yields a comment when nothing came for a while. Ends when the client does not keep up.
        """
        async with self._seat(workspace) as (room, client):
            meeting = room.position
            seen = meeting if after is None else min(after, meeting)
            async for entry in self._between(workspace, seen, meeting):
                seen = entry.seq
                if wants(entry.type):
                    yield frame(entry)
            async for entry in self._following(client):
                if entry is None:
                    yield HEARTBEAT
                elif entry.seq > seen:
                    seen = entry.seq
                    if wants(entry.type):
                        yield frame(entry)

    async def _between(self, workspace: int, after: int, upto: int) -> AsyncIterator[Entry]:
        while after < upto:
            kept = await self._tail.kept(workspace, after=after)
            for entry in kept:
                if entry.seq <= upto:
                    yield entry
            after = kept[-1].seq if kept else upto

    async def _following(self, client: _Client) -> AsyncIterator[Entry | None]:
        """Yield what comes; None stands for a while without anything."""
        while not (client.lost and client.queue.empty()):
            try:
                async with asyncio.timeout(self._heartbeat_s):
                    entry = await client.queue.get()
            except TimeoutError:
                yield None
            else:
                if entry is None:
                    return
                yield entry

    @asynccontextmanager
    async def _seat(self, workspace: int) -> AsyncGenerator[tuple[_Room, _Client]]:
        client = _Client(asyncio.Queue(self._queue_frames_max))
        async with self._opening:
            room = self._rooms.get(workspace)
            if room is None:
                room = self._rooms[workspace] = _Room(await self._tail.head(workspace))
            room.clients.append(client)
            if room.reader is None:
                room.reader = asyncio.create_task(self._read(workspace, room))
        try:
            yield room, client
        finally:
            room.clients.remove(client)
            if not room.clients:
                room.reader.cancel()

    async def _read(self, workspace: int, room: _Room) -> None:
        try:
            while True:
                try:
                    entries = await self._tail.next(workspace, after=room.position)
                except Unavailable:
                    await asyncio.sleep(RETRY_S)
                    continue
                for entry in entries:
                    room.position = entry.seq
                    for client in room.clients:
                        _give(client, entry)
        finally:
            # Whatever ends the reader ends its clients too: they come back and find a new one.
            for client in room.clients:
                _give(client, None)
            if self._rooms.get(workspace) is room:
                del self._rooms[workspace]


def _give(client: _Client, entry: Entry | None) -> None:
    if client.lost:
        return
    try:
        client.queue.put_nowait(entry)
    except asyncio.QueueFull:
        client.lost = True
