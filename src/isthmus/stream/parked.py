"""Events whose effect failed: kept with the reason, in order for each record, until they are tried again or dropped."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from pathlib import PurePath
from traceback import extract_tb
from typing import LiteralString
from uuid import UUID

from msgspec import Struct

from isthmus.kernel.errors import IsthmusError, NotFound
from isthmus.store.database import Transaction
from isthmus.stream.event import Event, events_at

RECORDS_MAX = 1_000
GROUPED_MAX = 10_000
WAITS_BEHIND = "waits behind an earlier event of its record"
_PARK: LiteralString = """
insert into parked (workspace, consumer, seq, record_id, reason, attempts, parked_at, tried_at)
values (current_workspace(), %s, %s, %s, %s, 1, %s, %s)
"""
_HELD: LiteralString = """
select distinct record_id from parked
where workspace = current_workspace() and consumer = %s and record_id = any(%s)
"""
_LIST: LiteralString = """
select consumer, seq, record_id, reason, attempts, parked_at, tried_at, id from parked
where workspace = current_workspace() and (%(consumer)s::text is null or consumer = %(consumer)s)
  and (%(after)s::uuid is null or (consumer, seq) > (
      select last.consumer, last.seq from parked last
      where last.workspace = current_workspace() and last.id = %(after)s))
order by consumer, seq limit %(limit)s
"""
_ONE: LiteralString = """
select consumer, seq, record_id, reason, attempts, parked_at, tried_at, id from parked
where workspace = current_workspace() and id = %s
"""
_COUNT: LiteralString = "select count(*) from parked where workspace = current_workspace()"
_CAUSES: LiteralString = """
with first as (
    select * from parked where workspace = current_workspace() order by consumer, seq limit %s
), told as (
    select *, first_value(reason) over (partition by consumer, record_id order by seq) as cause from first
), placed as (
    select *, count(*) over same as together, min(parked_at) over same as since, max(tried_at) over same as tried,
           row_number() over (partition by consumer, cause order by seq) as place
    from told window same as (partition by consumer, cause)
)
select consumer, cause, together, since, tried, seq, record_id, reason, attempts, parked_at, tried_at, id
from placed where place <= %s order by together desc, consumer, cause, place
"""
_HEADS: LiteralString = """
select consumer, seq, record_id, reason, attempts, parked_at, tried_at, id from parked p
where workspace = current_workspace() and consumer = %s and reason = %s and not exists (
    select from parked before where before.workspace = p.workspace and before.consumer = p.consumer
       and before.record_id = p.record_id and before.seq < p.seq
) order by seq limit %s
"""
_OF_RECORD: LiteralString = """
select seq from parked where workspace = current_workspace() and consumer = %s and record_id = %s
order by seq for update
"""
_FAILED: LiteralString = """
update parked set reason = %s, attempts = attempts + 1, tried_at = %s
where workspace = current_workspace() and consumer = %s and seq = %s
"""
_DONE: LiteralString = "delete from parked where workspace = current_workspace() and consumer = %s and seq = %s"


class NothingParked(NotFound):
    """There is no such event that waits."""

    code, title = "dead-letter-missing", "There is no such dead letter"


class Parked(Struct, frozen=True):
    """An event that waits: why, how often it was tried, since when, and when last."""

    consumer: str
    seq: int
    record_id: UUID
    reason: str
    attempts: int
    parked_at: datetime
    tried_at: datetime
    id: UUID


class Cause(Struct, frozen=True):
    """Events that wait for one consumer because of one fault: how many, since when, tried last when, and the first.

    An event that waits behind another counts with the fault of the first of its record.
    """

    consumer: str
    reason: str
    count: int
    since: datetime
    tried_at: datetime
    first: tuple[Parked, ...]


def reason_of(error: Exception) -> str:
    """Say why an effect failed, without the values it failed on: they may be personal, and a reason is not sealed."""
    frames = extract_tb(error.__traceback__)
    place = f"{PurePath(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "nowhere"
    said = f"{error.code}: {error.title}" if isinstance(error, IsthmusError) else type(error).__name__
    return f"{said} ({place})"


async def park(tx: Transaction, consumer: str, event: Event, *, reason: str) -> None:
    """Keep an event that could not have its effect."""
    now = tx.scope.now
    await tx.connection.execute(_PARK, (consumer, event.seq, event.record_id, reason, now, now))


async def parked_records(tx: Transaction, consumer: str, records: Sequence[UUID]) -> set[UUID]:
    """Return which of the records have an event that waits."""
    cursor = await tx.connection.execute(_HELD, (consumer, list(records)), prepare=True)
    return {row[0] for row in await cursor.fetchall()}


async def parked(
    tx: Transaction, *, consumer: str | None = None, after: UUID | None = None, limit: int = RECORDS_MAX
) -> list[Parked]:
    """Return what waits, of one consumer or of all, in the order of the log, from the one after `after`."""
    cursor = await tx.connection.execute(_LIST, {"consumer": consumer, "after": after, "limit": limit})
    return [Parked(*row) for row in await cursor.fetchall()]


async def parked_one(tx: Transaction, own: UUID) -> Parked:
    """Return one that waits; raises NothingParked."""
    row = await (await tx.connection.execute(_ONE, (own,))).fetchone()
    if row is None:
        raise NothingParked("There is no such dead letter.", fix="List them: isthmus events dlq")
    return Parked(*row)


async def parked_count(tx: Transaction) -> int:
    """Return how many events wait."""
    row = await (await tx.connection.execute(_COUNT)).fetchone()
    return int(row[0]) if row else 0


async def causes(tx: Transaction, *, shown: int) -> list[Cause]:
    """Return why events wait, the most frequent first, each with its first `shown` events.

    The first 10,000 events that wait are grouped.
    """
    rows = await (await tx.connection.execute(_CAUSES, (GROUPED_MAX, shown))).fetchall()
    grouped: dict[tuple[str, str, int, datetime, datetime], list[Parked]] = {}
    for consumer, cause, count, since, tried, *parked_row in rows:
        grouped.setdefault((consumer, cause, count, since, tried), []).append(Parked(consumer, *parked_row))
    return [Cause(*key, first=tuple(first)) for key, first in grouped.items()]


async def heads(tx: Transaction, *, consumer: str, reason: str, limit: int) -> list[Parked]:
    """Return the events that wait for one reason and for nothing before them, in the order of the log."""
    rows = await (await tx.connection.execute(_HEADS, (consumer, reason, limit))).fetchall()
    return [Parked(*row) for row in rows]


async def discard(tx: Transaction, found: Parked) -> None:
    """Give up an event for its consumer: its effect will never be. What waits behind it can be tried then."""
    await tx.connection.execute(_DONE, (found.consumer, found.seq))


async def retry_parked(
    tx: Transaction, consumer: str, record: UUID, *, effect: Callable[[Event], Awaitable[str | None]]
) -> int:
    """Try the waiting events of a record in order until one fails again; returns how many had their effect.

    `effect` does one event in a savepoint of the same transaction and returns why it failed, None when it did not.
    """
    cursor = await tx.connection.execute(_OF_RECORD, (consumer, record))
    done = 0
    for event in await events_at(tx.connection, [int(row[0]) for row in await cursor.fetchall()]):
        reason = await effect(event)
        if reason is not None:
            await tx.connection.execute(_FAILED, (reason, tx.scope.now, consumer, event.seq))
            break
        await tx.connection.execute(_DONE, (consumer, event.seq))
        done += 1
    return done
