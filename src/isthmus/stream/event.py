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
from event where workspace = current_workspace() and seq > %s order by seq limit %s
"""
_SOME: LiteralString = """
select seq, id, type, record_type, record_id, account_id, hlc, changed, actor, cause, at
from event where workspace = current_workspace() and seq = any(%s) order by seq
"""
_OF_TYPES: LiteralString = """
select seq, id, type, record_type, record_id, account_id, hlc, changed, actor, cause, at
from event where workspace = current_workspace() and seq > %s and seq <= %s and type = any(%s) order by seq limit %s
"""
_LAST: LiteralString = """
select seq, id, type, record_type, record_id, account_id, hlc, changed, actor, cause, at
from event where workspace = current_workspace() and seq is not null and type = any(%s) order by seq desc limit %s
"""
_FIRST_AT: LiteralString = """
select seq from event where workspace = current_workspace() and seq is not null and at >= %s order by seq limit 1
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
    cursor = await connection.execute(_OF_TYPES, (after, until, list(types), limit), prepare=True)
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
