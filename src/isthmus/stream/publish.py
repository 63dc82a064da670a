"""Carrying stamped events from the log to the tail in Valkey, and catching up after Valkey or this program was away."""

import asyncio
from collections.abc import Sequence

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from isthmus.store.database import Database, DatabaseAway
from isthmus.store.schema import Schema
from isthmus.stream.broker import Broker, BrokerAway, Entry
from isthmus.stream.envelope import envelopes_json
from isthmus.stream.event import Event, events_after, head_of, within

EVENTS_MAX = 1_000
FRESH_MAX = 10_000
RETRY_S = 0.5


class Publisher:
    """Brings the tails of workspaces up to the heads of their logs.

    What is sent twice is stored once, because an entry's id is the event's number; a tail that ends elsewhere than
    believed is asked where it ends. So several publishers, or one that comes back late, do no harm.
    """

    def __init__(self, *, database: Database, schema: Schema, broker: Broker, retry_s: float = RETRY_S) -> None:
        """`retry_s` is the wait after Valkey or the database did not answer."""
        self._database, self._schema, self._broker, self._retry_s = database, schema, broker, retry_s
        self._ends: dict[int, int] = {}
        self._due: set[int] = set()
        self._fresh: dict[int, list[Event]] = {}
        self._moved = asyncio.Event()
        self.reached = False
        self.published = 0

    def moved(self, workspace: int, events: Sequence[Event] = ()) -> None:
        """Take note that the log of a workspace has grown, by these events, which need not be read from it then."""
        fresh = self._fresh.setdefault(workspace, [])
        fresh += events
        if len(fresh) > FRESH_MAX:
            fresh.clear()
        self._due.add(workspace)
        self._moved.set()

    async def run(self) -> None:
        """Publish until cancelled; begins with every workspace, and again after each loss."""
        while True:
            try:
                await self._all()
                self.reached = True
                while True:
                    await self._moved.wait()
                    self._moved.clear()
                    await self._publish_due()
            except (BrokerAway, DatabaseAway, psycopg.OperationalError, psycopg.InterfaceError):
                self.reached = False
                self._ends.clear()
                await asyncio.sleep(self._retry_s)

    async def _all(self) -> None:
        await self._broker.last(0)
        async with self._database.plain() as connection:
            cursor = await connection.execute("select id from workspace")
            self._due |= {int(row[0]) for row in await cursor.fetchall()}
        await self._publish_due()

    async def _publish_due(self) -> None:
        while self._due:
            workspace = self._due.pop()
            if not await self._publish_fresh(workspace):
                async with self._database.plain() as connection:
                    await self._publish(connection, workspace)

    async def _publish_fresh(self, workspace: int) -> bool:
        """Send the events that were just stamped, if they follow what was sent; tells whether that was all."""
        events, end = self._fresh.pop(workspace, []), self._ends.get(workspace)
        if not events or end is None or events[0].seq != end + 1 or events[-1].seq != end + len(events):
            return False
        for start in range(0, len(events), EVENTS_MAX):
            some = events[start : start + EVENTS_MAX]
            self._ends[workspace] = end = await self._send(workspace, some, follows=end)
            if end != some[-1].seq:
                return False
        return True

    async def _publish(self, connection: AsyncConnection[TupleRow], workspace: int) -> None:
        end = self._ends.get(workspace)
        if end is None:
            end = await self._broker.last(workspace)
        async with within(connection, workspace):
            head = await head_of(connection)
        if end > head:
            # The tail is of another log, such as before a restore: numbers of this one would be refused for ever.
            await self._broker.drop(workspace)
            end = 0
        while end < head:
            end = await self._append(connection, workspace, end=end, head=head)
        self._ends[workspace] = end

    async def _append(self, connection: AsyncConnection[TupleRow], workspace: int, *, end: int, head: int) -> int:
        """Send some events and return where the tail ends.

        A tail far behind, as in a long import, goes on near the head after a gap, which readers fill from the log.
        """
        async with within(connection, workspace):
            after = max(end, head - min(EVENTS_MAX, self._broker.events_max))
            events = await events_after(connection, after=after, limit=EVENTS_MAX)
        now = await self._send(workspace, events, follows=end)
        return now if events else head

    async def _send(self, workspace: int, events: Sequence[Event], *, follows: int) -> int:
        """Send events and return where the tail ends then."""
        bodies = envelopes_json(events, workspace=workspace, schema=self._schema)
        entries = [Entry(each.seq, each.type, body) for each, body in zip(events, bodies, strict=True)]
        now = await self._broker.append(workspace, entries, follows=follows)
        if events and now == events[-1].seq:
            self.published += len(events)
        return now
