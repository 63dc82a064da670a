"""The relay: stamps committed events with their numbers, without gaps, and has them carried to the tail in Valkey.

One relay leads a database, by an advisory lock on the connection that it stamps through: who loses the connection can
stamp no more. An event that commits late gets a later number, so the numbers are the order of commits, and within one
record the order of its changes. Stamping never waits for Valkey; without it everything goes on through PostgreSQL.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from operator import attrgetter
from typing import LiteralString

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from isthmus.store.database import Database, DatabaseAway
from isthmus.store.schema import Schema
from isthmus.stream.broker import Broker
from isthmus.stream.event import Event, event_of, within
from isthmus.stream.publish import Publisher

BATCH_EVENTS_MAX = 5_000
POLL_S, BUSY_POLL_S = 0.05, 0.002
STANDBY_S = 0.5
_TURN_LOCK = 4_815_162_343
_TAKE_TURN: LiteralString = "select pg_try_advisory_lock(%s)"
_WAITING: LiteralString = "select waiting_workspaces()"
_LOCK_HEAD: LiteralString = """
insert into event_head as h (workspace, seq) values (current_workspace(), 0)
on conflict (workspace) do update set seq = h.seq returning seq
"""
_STAMP: LiteralString = """
with waiting as (
    select id, row_number() over (order by id) as place
    from (select id from event where workspace = current_workspace() and seq is null order by id limit %s) as first
)
update event set seq = (select seq from event_head where workspace = current_workspace()) + waiting.place from waiting
where event.workspace = current_workspace() and event.id = waiting.id
returning seq, event.id, type, record_type, record_id, account_id, hlc, changed, actor, cause, at
"""
_MOVE_HEAD: LiteralString = """
update event_head h set seq = last.seq
from (select max(seq) as seq from event where workspace = current_workspace()) as last
where h.workspace = current_workspace() and last.seq > h.seq
"""


@dataclass(frozen=True, kw_only=True)
class RelayHealth:
    """How the relay is: whether this one stamps, whether the tail is reached, and what it did since it began."""

    stamps: bool
    tail: bool
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
        self._publisher = Publisher(database=database, schema=schema, broker=broker) if broker else None
        self._stamps = False
        self._stamped = 0
        self._rest_s = poll_s
        self._woken = asyncio.Event()

    @property
    def health(self) -> RelayHealth:
        """How it is now."""
        publisher = self._publisher
        return RelayHealth(
            stamps=self._stamps,
            tail=publisher.reached if publisher else False,
            stamped=self._stamped,
            published=publisher.published if publisher else 0,
        )

    def wake(self) -> None:
        """Look at once: somebody in this program has committed."""
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
        publishing: asyncio.Task[None] | None = None
        try:
            self._stamps = bool(await _one(connection, _TAKE_TURN, (_TURN_LOCK,)))
            if not self._stamps:
                return await asyncio.sleep(self._standby_s)
            if self._publisher is not None:
                publishing = asyncio.create_task(self._publisher.run())
            while publishing is None or not publishing.done():
                await self._round(connection)
            publishing.result()
        finally:
            # The lock belongs to the session: closing it is the one way that always lets go.
            self._stamps = False
            await connection.close()
            if publishing is not None:
                publishing.cancel()

    async def _round(self, connection: AsyncConnection[TupleRow]) -> None:
        """Stamp a batch of every workspace that waits; rest when there is none, the longer the longer that lasts."""
        self._woken.clear()
        cursor = await connection.execute(_WAITING, prepare=True)
        waiting = [int(row[0]) for row in await cursor.fetchall()]
        for workspace in waiting:
            async with connection.pipeline(), within(connection, workspace):
                events = await stamped(connection)
            self._stamped += len(events)
            if self._publisher is not None:
                self._publisher.moved(workspace, events)
        if waiting:
            self._rest_s = min(self._poll_s, BUSY_POLL_S)
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(self._rest_s):
                await self._woken.wait()
        self._rest_s = min(self._poll_s, 2 * self._rest_s)


async def stamped(connection: AsyncConnection[TupleRow], *, limit: int = BATCH_EVENTS_MAX) -> list[Event]:
    """Give the next numbers to committed events of the transaction's workspace, in order of ids; returns them.

    The head row is locked first, so that the numbers have no gap whoever stamps. No statement needs the answer to the
    one before it, so that in a pipeline they go to the database together.
    """
    await connection.execute(_LOCK_HEAD, prepare=True)
    cursor = await connection.execute(_STAMP, (limit,), prepare=True)
    await connection.execute(_MOVE_HEAD, prepare=True)
    return sorted(map(event_of, await cursor.fetchall()), key=attrgetter("seq"))


async def stamp(connection: AsyncConnection[TupleRow], *, limit: int = BATCH_EVENTS_MAX) -> int:
    """Stamp as `stamped` does, and return how many events that were."""
    return len(await stamped(connection, limit=limit))


async def _one(
    connection: AsyncConnection[TupleRow], query: LiteralString, parameters: tuple[object, ...]
) -> int | bool:
    row = await (await connection.execute(query, parameters, prepare=True)).fetchone()
    return row[0] if row else 0
