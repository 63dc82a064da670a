"""Live feeds for many clients of one program: one reader for each workspace, one bounded queue for each client.

A frame is made once and given to everybody. A client that does not keep up is told so and let go; it comes back with
the number of the last event it saw (`Last-Event-ID`) and misses nothing: the log is asked for what lies between.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cached_property

import msgspec
from msgspec import Struct

from isthmus.kernel.errors import Unavailable
from isthmus.stream.broker import Entry
from isthmus.stream.tail import Tail, TailState

QUEUE_FRAMES_MAX = 1_000
HEARTBEAT_S = 15.0
RETRY_S = 0.5
HELLO = b"retry: 1000\n\n"
HEARTBEAT = b": still here\n\n"
SLOW = b'event: dropped\ndata: {"reason": "too slow"}\n\n'
"""Told last to a client that did not keep up."""
_GAP = b'event: gap\ndata: {"after": %d, "next": %d}\n\n'
HEADERS = (
    ("content-type", "text/event-stream; charset=utf-8"),
    ("cache-control", "no-store"),
    ("x-accel-buffering", "no"),
)


class _About(Struct, frozen=True):
    record_type: str
    changed: tuple[str, ...]


class _Envelope(Struct, frozen=True):
    partitionkey: str
    subject: str
    data: _About


@dataclass(frozen=True)
class Frame:
    """An event in the form of server-sent events, made once for all who get it; its number is what to resume from."""

    seq: int
    type: str
    body: bytes = field(repr=False)

    @cached_property
    def wire(self) -> bytes:
        """What is sent."""
        return b"id: %d\ndata: %s\n\n" % (self.seq, self.body)

    @property
    def key(self) -> str:
        """The id of the account that it belongs to, or of its record."""
        return self._read.partitionkey

    @property
    def subject(self) -> str:
        """The id of its record."""
        return self._read.subject

    @property
    def record_type(self) -> str:
        """The type of its record."""
        return self._read.data.record_type

    @property
    def changed(self) -> tuple[str, ...]:
        """The fields that changed."""
        return self._read.data.changed

    @cached_property
    def _read(self) -> _Envelope:
        return msgspec.json.decode(self.body, type=_Envelope)


Wants = Callable[[Frame], bool]
Sees = Callable[[Frame], Awaitable[bool]]


def frame(entry: Entry) -> Frame:
    """Return the frame of an entry."""
    return Frame(entry.seq, entry.type, entry.body)


def _never() -> bool:
    return False


async def _sees(each: Frame) -> bool:
    del each
    return True


@dataclass(slots=True)
class _Client:
    queue: asyncio.Queue[Frame | None]
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
        self._holders: Counter[str] = Counter()

    @property
    def clients(self) -> int:
        """How many clients listen."""
        return sum(len(room.clients) for room in self._rooms.values())

    async def close(self) -> None:
        """Close what reads the log; the feeds have ended before."""
        await self._tail.close()

    async def tail(self, workspace: int) -> TailState:
        """Return whether the tail in Valkey is there."""
        return await self._tail.state(workspace)

    def held(self, holder: str) -> int:
        """Return how many feeds somebody has open here."""
        return self._holders[holder]

    async def frames(
        self,
        workspace: int,
        *,
        after: int | None,
        wants: Wants,
        sees: Sees = _sees,
        ended: Callable[[], bool] = _never,
        holder: str = "",
    ) -> AsyncGenerator[bytes]:
        """Yield what is sent of events that `wants` accepts, from the one after `after` (None: from now on).

        `sees` is asked of those then, and may look something up. Where the log has forgotten what came after `after`,
        that is told first, as an event `gap` with the numbers on both sides.
        Yields a comment when nothing came for a while. Ends when the client does not keep up, and when `ended` says
        so, which is asked before each event: its caller may no longer be who it was.
        """
        async with self._seat(workspace, holder) as (room, client):
            meeting = room.position
            seen = meeting if after is None else min(after, meeting)
            yield HELLO
            async for each in self._coming(workspace, seen, meeting, client):
                if ended():
                    return
                if each is None:
                    yield HEARTBEAT
                elif each.seq > seen:
                    if each.seq > seen + 1:
                        yield _GAP % (seen, each.seq)
                    seen = each.seq
                    if wants(each) and await sees(each):
                        yield each.wire
            if client.lost:
                yield SLOW

    async def _coming(self, workspace: int, after: int, meeting: int, client: _Client) -> AsyncIterator[Frame | None]:
        """Yield what lies between a number and where the client met the log, and then what comes."""
        async for each in self._between(workspace, after, meeting):
            yield each
        async for each in self._following(client):
            yield each

    async def _between(self, workspace: int, after: int, upto: int) -> AsyncIterator[Frame]:
        while after < upto:
            kept = await self._tail.kept(workspace, after=after)
            for entry in kept:
                if entry.seq <= upto:
                    yield frame(entry)
            after = kept[-1].seq if kept else upto

    async def _following(self, client: _Client) -> AsyncIterator[Frame | None]:
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
    async def _seat(self, workspace: int, holder: str) -> AsyncGenerator[tuple[_Room, _Client]]:
        client = _Client(asyncio.Queue(self._queue_frames_max))
        self._holders[holder] += 1
        try:
            async with self._listening(workspace, client) as room:
                yield room, client
        finally:
            self._holders[holder] -= 1
            if not self._holders[holder]:
                del self._holders[holder]

    @asynccontextmanager
    async def _listening(self, workspace: int, client: _Client) -> AsyncGenerator[_Room]:
        async with self._opening:
            room = self._rooms.get(workspace)
            if room is None:
                room = self._rooms[workspace] = _Room(await self._tail.head(workspace))
            room.clients.append(client)
            if room.reader is None:
                room.reader = asyncio.create_task(self._read(workspace, room))
        try:
            yield room
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
                    shared = frame(entry)
                    for client in room.clients:
                        _give(client, shared)
        finally:
            # Whatever ends the reader ends its clients too: they come back and find a new one.
            for client in room.clients:
                _give(client, None)
            if self._rooms.get(workspace) is room:
                del self._rooms[workspace]


def _give(client: _Client, entry: Frame | None) -> None:
    if client.lost:
        return
    try:
        client.queue.put_nowait(entry)
    except asyncio.QueueFull:
        client.lost = True
