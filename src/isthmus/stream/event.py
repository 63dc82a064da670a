"""Events as the log holds them: facts that records changed, numbered without gaps within a workspace."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import LiteralString
from uuid import UUID

from msgspec import Struct
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

_AFTER: LiteralString = """
select seq, id, type, record_type, record_id, account_id, hlc, changed, actor, cause, at
from events_after(%s) order by bundle, seq limit %s
"""
_SOME: LiteralString = """
select e.seq, e.id, e.type, e.record_type, e.record_id, e.account_id, e.hlc, e.changed, e.actor, e.cause, e.at
from unnest(%s::bigint[]) as wanted(seq) cross join lateral event_at(wanted.seq) as e order by e.seq
"""
_OF_TYPES: LiteralString = """
select seq, id, type, record_type, record_id, account_id, hlc, changed, actor, cause, at
from events_after(%(after)s) where seq <= %(until)s and bundle <= %(until)s and type = any(%(types)s)
order by bundle, seq limit %(limit)s
"""
_LAST: LiteralString = """
select seq, id, type, record_type, record_id, account_id, hlc, changed, actor, cause, at
from event where workspace = current_workspace() and bundle is not null and type = any(%s)
order by bundle desc, seq desc limit %s
"""
_FIRST_AT: LiteralString = """
select first from event_bundle where workspace = current_workspace() and first is not null and at >= %s
order by first limit 1
"""
_HEAD: LiteralString = "select seq from event_head where workspace = current_workspace()"
_SCOPE: LiteralString = "select set_config('isthmus.workspace', %s, true)"


class Event(Struct, frozen=True):
    """One stamped row. `changed` names fields and holds no values; `cause` is the request, run or event behind it."""

    seq: int
    id: int
    type: str
    record_type: str
    record_id: UUID
    account_id: UUID | None
    hlc: int
    changed: tuple[str, ...]
    actor: str
    cause: str
    at: datetime


def event_of(row: TupleRow) -> Event:
    """Return the event of a row with the columns in the order of its fields."""
    seq, event_id, kind, record_type, record_id, account_id, hlc, changed, actor, cause, at = row
    return Event(seq, event_id, kind, record_type, record_id, account_id, hlc, tuple(changed), actor, cause, at)


def events_in(row: TupleRow) -> list[Event]:
    """Return the events of a bundle: as a row of an event, with arrays of records, accounts and clocks."""
    first, own, kind, record_type, records, accounts, hlcs, changed, actor, cause, at = row
    fields = tuple(changed)
    return [
        Event(first + place, own + place, kind, record_type, *told, fields, actor, cause, at)
        for place, told in enumerate(zip(records, accounts, hlcs, strict=True))
    ]


@asynccontextmanager
async def within(connection: AsyncConnection[TupleRow], workspace: int) -> AsyncGenerator[None]:
    """Open a transaction that sees one workspace, for work that is done in nobody's name."""
    async with connection.transaction():
        await connection.execute(_SCOPE, (str(workspace),), prepare=True)
        yield


async def events_after(connection: AsyncConnection[TupleRow], *, after: int, limit: int) -> list[Event]:
    """Return stamped events of the connection's workspace in order, from the one after `after`."""
    cursor = await connection.execute(_AFTER, (after, limit), prepare=True)
    return [event_of(row) for row in await cursor.fetchall()]


async def events_of(
    connection: AsyncConnection[TupleRow], types: Sequence[str], *, after: int, until: int, limit: int
) -> list[Event]:
    """Return stamped events of some types in order, from the one after `after` to `until`."""
    given = {"after": after, "until": until, "types": list(types), "limit": limit}
    cursor = await connection.execute(_OF_TYPES, given, prepare=True)
    return [event_of(row) for row in await cursor.fetchall()]


async def last_events(connection: AsyncConnection[TupleRow], types: Sequence[str], *, limit: int) -> list[Event]:
    """Return the last stamped events of some types, in order."""
    cursor = await connection.execute(_LAST, (list(types), limit))
    return [event_of(row) for row in reversed(await cursor.fetchall())]


async def before_moment(connection: AsyncConnection[TupleRow], at: datetime) -> int:
    """Return the number after which reading meets everything that happened at a moment or later."""
    row = await (await connection.execute(_FIRST_AT, (at,))).fetchone()
    return row[0] - 1 if row else await head_of(connection)


async def events_at(connection: AsyncConnection[TupleRow], seqs: Sequence[int]) -> list[Event]:
    """Return the events of those numbers, in order."""
    cursor = await connection.execute(_SOME, (list(seqs),))
    return [event_of(row) for row in await cursor.fetchall()]


async def head_of(connection: AsyncConnection[TupleRow]) -> int:
    """Return the number of the last stamped event of the connection's workspace, 0 before the first."""
    row = await (await connection.execute(_HEAD, prepare=True)).fetchone()
    return row[0] if row else 0
