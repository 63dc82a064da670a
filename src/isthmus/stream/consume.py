"""Consumers: each event's effect happens once, because effect and offset commit in one transaction.

An effect that fails is rolled back alone and its event is parked with the reason; later events of the same record wait
behind it, so that order within a record holds, and everything else goes on. Parked events can be tried again.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import LiteralString, TypeAlias
from uuid import UUID

import psycopg
from psycopg import errors

from isthmus.kernel.clock import Clock
from isthmus.kernel.errors import Unavailable
from isthmus.store.database import Database, Scope, Transaction
from isthmus.stream.event import Event, events_after, events_of, head_of
from isthmus.stream.parked import WAITS_BEHIND, park, parked_records, reason_of, retry_parked

EVENTS_MAX = 200
POLL_S = 0.05
RETRY_S = 0.5
Handler: TypeAlias = Callable[[Transaction, Event], Awaitable[None]]
Together: TypeAlias = Callable[[Transaction, Sequence[Event]], Awaitable[None]]
_BEGIN: LiteralString = """
insert into consumer_offset (workspace, consumer, seq) values (current_workspace(), %s, 0) on conflict do nothing
"""
_OFFSET: LiteralString = """
select seq from consumer_offset where workspace = current_workspace() and consumer = %s for update skip locked
"""
_MOVE: LiteralString = """
update consumer_offset set seq = %s where workspace = current_workspace() and consumer = %s and seq = %s
"""
_BEHIND: LiteralString = "select workspace, consumer from consumers_behind(%s)"
_TRANSIENT = (errors.OperationalError, psycopg.InterfaceError, Unavailable)


class OffsetMoved(Unavailable):
    """Another instance of this consumer was faster; nothing of this attempt is kept."""

    code, title = "offset-moved", "Another instance of this consumer was faster"


@dataclass(frozen=True)
class Consumer:
    """A named reader of the log. `handle` does its effect through the transaction it is given, and nowhere else.

    With `types` it reads events of these types only. `together` does the effects of many events at once, whose records
    may repeat; when it fails, each is done by itself.
    """

    name: str
    handle: Handler
    types: tuple[str, ...] = ()
    together: Together | None = None


async def consume(database: Database, consumer: Consumer, scope: Scope, *, limit: int = EVENTS_MAX) -> int:
    """Take the next events of a workspace; returns how many were taken (0: none left, or another instance is at it).

    `scope.actor` names the consumer in what its effects write; their cause is the event.
    Raises OffsetMoved and DatabaseAway.
    """
    try:
        return await _attempt(database, consumer, scope, limit=limit, careful=False)
    except _TRANSIENT:
        raise
    except Exception:  # noqa: BLE001 - whatever failed is found and parked by the careful attempt.
        return await _attempt(database, consumer, scope, limit=limit, careful=True)


async def _attempt(database: Database, consumer: Consumer, scope: Scope, *, limit: int, careful: bool) -> int:
    """Do a batch in one transaction; when `careful`, each event in a savepoint of its own."""
    async with database.transaction(scope) as tx:
        offset = await _offset(tx, consumer.name)
        if offset is None:
            return 0
        events, until = await _next(tx, consumer, offset, limit)
        if until == offset:
            return 0
        held = await parked_records(tx, consumer.name, [each.record_id for each in events])
        done = await _together(tx, consumer, events, held) if not careful else set[int]()
        for event in (each for each in events if each.seq not in done):
            if event.record_id in held:
                await park(tx, consumer.name, event, reason=WAITS_BEHIND)
            elif not careful:
                await consumer.handle(caused_by(tx, event), event)
            elif (reason := await effect(tx, consumer.handle, event)) is not None:
                held.add(event.record_id)
                await park(tx, consumer.name, event, reason=reason)
        moved = await tx.connection.execute(_MOVE, (until, consumer.name, offset), prepare=True)
        if moved.rowcount != 1:
            raise OffsetMoved(f"{consumer.name} was taken forward elsewhere.", fix="Nothing is lost; it goes on there.")
        return len(events)


async def _next(tx: Transaction, consumer: Consumer, offset: int, limit: int) -> tuple[list[Event], int]:
    """Return the next events and how far the consumer is after them."""
    if not consumer.types:
        events = await events_after(tx.connection, after=offset, limit=limit)
        return events, events[-1].seq if events else offset
    head = await head_of(tx.connection)
    events = await events_of(tx.connection, consumer.types, after=offset, until=head, limit=limit)
    return events, events[-1].seq if len(events) == limit else max(head, offset)


async def _together(tx: Transaction, consumer: Consumer, events: Sequence[Event], held: set[UUID]) -> set[int]:
    """Do at once what may be done at once; returns the numbers of the events that are done."""
    ready = [each for each in events if each.record_id not in held]
    if consumer.together is None or not ready:
        return set()
    await consumer.together(caused_by(tx, ready[0]), ready)
    return {each.seq for each in ready}


async def effect(tx: Transaction, handle: Handler, event: Event) -> str | None:
    """Do an event's effect in a savepoint; returns why it failed, in which case nothing of it is kept."""
    try:
        async with tx.connection.transaction():
            await handle(caused_by(tx, event), event)
    except _TRANSIENT:
        raise
    except Exception as error:  # noqa: BLE001 - the reason is kept beside the event, which waits for a person.
        return reason_of(error)
    return None


def caused_by(tx: Transaction, event: Event) -> Transaction:
    """Return the transaction in the name of the event, so that what its effect writes can be traced to it."""
    return replace(tx, scope=replace(tx.scope, cause=f"event:{event.seq}"))


async def _offset(tx: Transaction, name: str) -> int | None:
    """Lock and return how far the consumer is; None when another instance holds it."""
    row = await (await tx.connection.execute(_OFFSET, (name,), prepare=True)).fetchone()
    if row is None:
        await tx.connection.execute(_BEGIN, (name,))
        row = await (await tx.connection.execute(_OFFSET, (name,), prepare=True)).fetchone()
    return None if row is None else int(row[0])


async def run_consumers(
    database: Database, consumers: Sequence[Consumer], *, clock: Clock, poll_s: float = POLL_S
) -> None:
    """Run consumers over all workspaces until cancelled; several programs may do so at once."""
    by_name = {each.name: each for each in consumers}
    while True:
        try:
            behind = await _behind(database, list(by_name))
        except _TRANSIENT:
            await asyncio.sleep(RETRY_S)
            continue
        taken = [await _turn(database, by_name[name], workspace, clock) for workspace, name in behind]
        if not any(taken):
            await asyncio.sleep(poll_s)


async def _turn(database: Database, consumer: Consumer, workspace: int, clock: Clock) -> int:
    scope = Scope(workspace=workspace, actor=f"consumer:{consumer.name}", cause="event", now=clock.now())
    try:
        return await consume(database, consumer, scope)
    except _TRANSIENT:
        return 0


async def _behind(database: Database, names: list[str]) -> list[tuple[int, str]]:
    async with database.plain() as connection:
        cursor = await connection.execute(_BEHIND, (names,), prepare=True)
        return [(int(row[0]), str(row[1])) for row in await cursor.fetchall()]


async def retry(database: Database, consumer: Consumer, scope: Scope, record: UUID) -> int:
    """Try a record's parked events again, in order, in one transaction; returns how many had their effect."""
    async with database.transaction(scope) as tx:

        async def again(event: Event) -> str | None:
            return await effect(tx, consumer.handle, event)

        return await retry_parked(tx, consumer.name, record, effect=again)
