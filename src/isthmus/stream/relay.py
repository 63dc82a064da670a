"""The relay: stamps committed events with their numbers, without gaps, and has them carried to the tail in Valkey.

One relay leads a database, by an advisory lock on the connection that it stamps through: who loses the connection can
stamp no more. An event that commits late gets a later number, so the numbers are the order of commits, and within one
record the order of its changes. Stamping never waits for Valkey; without it everything goes on through PostgreSQL.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from operator import itemgetter
from typing import LiteralString

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from isthmus.store.database import Database, DatabaseAway
from isthmus.store.schema import Schema
from isthmus.stream.broker import Broker, BrokerAway
from isthmus.stream.event import Event, events_in
from isthmus.stream.publish import Publisher

BATCH_EVENTS_MAX = 5_000
POLL_S, BUSY_POLL_S = 0.05, 0.002
STANDBY_S = 0.5
_TURN_LOCK = 4_815_162_343
_TAKE_TURN: LiteralString = "select pg_try_advisory_lock(%s)"
_WAITING: LiteralString = "select waiting_workspaces()"
_HERE: LiteralString = "select current_workspace()"
_STAMP: LiteralString = """
select first, id, type, record_type, record_ids, account_ids, hlcs, changed, actor, cause, at from stamp_events(%s, %s)
"""


@dataclass(frozen=True, kw_only=True)
class RelayHealth:
    """How the relay is: whether this one stamps, whether the tail is reached, and what it did since it began.

    `told` tells whether it hears of commits at once; else it looks by itself, often.
    """

    stamps: bool
    tail: bool
    told: bool
    stamped: int
    published: int


class Relay:
    """Stamps the events of all workspaces of one database, and publishes them where there is a broker."""

    def __init__(
        self,
        *,
        database: Database,
        schema: Schema,
        broker: Broker | None,
        poll_s: float = POLL_S,
        standby_s: float = STANDBY_S,
    ) -> None:
        """Without `broker` events are stamped only: PostgreSQL-only mode."""
        self._database, self._poll_s, self._standby_s = database, poll_s, standby_s
        self._broker = broker
        self._publisher = Publisher(database=database, schema=schema, broker=broker) if broker else None
        self._stamps = False
        self._stamped = 0
        self._rest_s = poll_s
        self._woken = asyncio.Event()
        self._grown: set[int] = set()
        self._told = False
        self._due = True

    @property
    def health(self) -> RelayHealth:
        """How it is now."""
        publisher = self._publisher
        return RelayHealth(
            stamps=self._stamps,
            tail=publisher.reached if publisher else False,
            told=self._told,
            stamped=self._stamped,
            published=publisher.published if publisher else 0,
        )

    def wake(self, workspace: int) -> None:
        """Look at once: somebody has committed events of a workspace."""
        self._grown.add(workspace)
        self._woken.set()

    async def run(self) -> None:
        """Lead whenever nobody else does, until cancelled; losses of the database are waited out."""
        while True:
            try:
                async with self._database.plain() as connection:
                    await self._stamp_on(connection)
            except (DatabaseAway, psycopg.OperationalError, psycopg.InterfaceError):
                await asyncio.sleep(self._standby_s)

    async def _stamp_on(self, connection: AsyncConnection[TupleRow]) -> None:
        publishing = listening = None
        try:
            self._stamps = bool(await _one(connection, _TAKE_TURN, (_TURN_LOCK,)))
            if not self._stamps:
                return await asyncio.sleep(self._standby_s)
            if self._publisher is not None:
                publishing = asyncio.create_task(self._publisher.run())
                listening = asyncio.create_task(self._listen())
            while publishing is None or not publishing.done():
                await self._round(connection)
            publishing.result()
        finally:
            # The lock belongs to the session: closing it is the one way that always lets go.
            self._stamps = False
            await connection.close()
            for each in (publishing, listening):
                if each is not None:
                    each.cancel()

    async def _listen(self) -> None:
        """Be woken by what writers tell through Valkey; while nothing can be heard, look more often."""
        while self._broker is not None:
            try:
                async for workspace in self._broker.heard():
                    self._told = True
                    self.wake(workspace)
            except BrokerAway:
                self._told = False
                await asyncio.sleep(self._standby_s)

    async def _round(self, connection: AsyncConnection[TupleRow]) -> None:
        """Stamp a batch of every workspace that waits; rest when there is none, the longer the longer that lasts."""
        self._woken.clear()
        waiting = await self._waiting(connection)
        for workspace in waiting:
            events = await stamped(connection, workspace)
            self._stamped += len(events)
            if len(events) >= BATCH_EVENTS_MAX:
                self._grown.add(workspace)
            if self._publisher is not None:
                self._publisher.moved(workspace, events)
        if waiting:
            self._rest_s = self._poll_s if self._told else min(self._poll_s, BUSY_POLL_S)
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(self._rest_s):
                await self._woken.wait()
        self._rest_s = min(self._poll_s, 2 * self._rest_s)

    def _fall_due(self) -> None:
        self._due = True

    async def _waiting(self, connection: AsyncConnection[TupleRow]) -> list[int]:
        """Return the workspaces that we were told of; every `poll_s` seconds all are looked at, told of or not."""
        if self._grown and not self._due:
            told = sorted(self._grown)
            self._grown.clear()
            return told
        self._due = False
        asyncio.get_running_loop().call_later(self._poll_s, self._fall_due)
        self._grown.clear()
        cursor = await connection.execute(_WAITING, prepare=True)
        return [int(row[0]) for row in await cursor.fetchall()]


async def stamped(
    connection: AsyncConnection[TupleRow], workspace: int, *, limit: int = BATCH_EVENTS_MAX
) -> list[Event]:
    """Give the next numbers to about `limit` committed events of a workspace, in order of ids; returns them.

    They are committed with the statement, if no transaction is open; whoever else stamps there waits, and then sees
    what was stamped.
    """
    cursor = await connection.execute(_STAMP, (workspace, limit), prepare=True, binary=True)
    bundles = sorted(await cursor.fetchall(), key=itemgetter(0))
    return [event for bundle in bundles for event in events_in(bundle)]


async def stamp(connection: AsyncConnection[TupleRow], *, limit: int = BATCH_EVENTS_MAX) -> int:
    """Stamp as `stamped` does in the transaction's own workspace, and return how many events that were."""
    workspace = await _one(connection, _HERE, ())
    return len(await stamped(connection, int(workspace), limit=limit))


async def _one(
    connection: AsyncConnection[TupleRow], query: LiteralString, parameters: tuple[object, ...]
) -> int | bool:
    row = await (await connection.execute(query, parameters, prepare=True)).fetchone()
    return row[0] if row else 0
