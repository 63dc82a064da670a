"""How far each feed of a connection was read, and how fresh the streams are."""

from datetime import datetime, timedelta
from typing import LiteralString
from uuid import UUID

import msgspec
from msgspec import Struct

from isthmus.kernel.status import Status
from isthmus.store.database import Transaction

_STATES: LiteralString = """
select feed, cursor, since, finished_at, swept_at from feed_state
where workspace = current_workspace() and connection_id = %s
"""
_ADVANCE: LiteralString = """
insert into feed_state as f (workspace, connection_id, feed, cursor)
values (current_workspace(), %(connection)s, %(feed)s, %(cursor)s)
on conflict (workspace, connection_id, feed) do update set cursor = excluded.cursor
where f.cursor is not distinct from %(before)s
"""
_FINISH: LiteralString = """
insert into feed_state (workspace, connection_id, feed, since, finished_at)
values (current_workspace(), %(connection)s, %(feed)s, %(since)s, %(now)s)
on conflict (workspace, connection_id, feed) do update set since = excluded.since, finished_at = excluded.finished_at
"""
_SWEPT: LiteralString = """
update feed_state set swept_at = %s
where workspace = current_workspace() and connection_id = %s and feed = any(%s)
"""
_FRESHNESS: LiteralString = """
select c.name, f.feed, c.status, c.reason, f.finished_at, c.every_s, c.retry_at
from connection c join feed_state f on f.workspace = c.workspace and f.connection_id = c.id
where c.workspace = current_workspace() and c.removed_at is null
order by c.name, f.feed
"""


class FeedState(Struct, frozen=True, kw_only=True):
    """How far a feed was read. `since` is when the last pull that came to its end began."""

    feed: str
    cursor: str | None = None
    since: datetime | None = None
    finished_at: datetime | None = None
    swept_at: datetime | None = None


class Freshness(Struct, frozen=True, kw_only=True):
    """How fresh one stream is; `lag_s` counts from the last pull that came to its end, `next_at` is when one is due."""

    connection: str
    feed: str
    status: Status
    reason: str
    finished_at: datetime | None
    lag_s: float | None
    next_at: datetime | None


async def feed_states(tx: Transaction, connection_id: UUID) -> dict[str, FeedState]:
    """Return the states of a connection's feeds by name."""
    cursor = await tx.connection.execute(_STATES, (connection_id,))
    return {
        row[0]: msgspec.convert(dict(zip(FeedState.__struct_fields__, row, strict=True)), FeedState)
        for row in await cursor.fetchall()
    }


async def advance(tx: Transaction, connection_id: UUID, feed: str, *, before: str | None, cursor: str) -> bool:
    """Move the cursor from where it was; False when somebody else has moved it, and then nothing may be committed."""
    given = {"connection": connection_id, "feed": feed, "before": before, "cursor": cursor}
    return (await tx.connection.execute(_ADVANCE, given)).rowcount == 1


async def finish(tx: Transaction, connection_id: UUID, feed: str, *, since: datetime) -> None:
    """Say that a pull which began at `since` came to its end."""
    given = {"connection": connection_id, "feed": feed, "since": since, "now": tx.scope.now}
    await tx.connection.execute(_FINISH, given)


async def compare_soon(tx: Transaction, connection_id: UUID, feed: str) -> None:
    """Have the ids of a feed compared by the next sweep, however long ago the last one was."""
    await tx.connection.execute(_SWEPT, (None, connection_id, [feed]))


async def swept(tx: Transaction, connection_id: UUID, feeds: list[str]) -> None:
    """Say that the ids of these feeds were compared."""
    await tx.connection.execute(_SWEPT, (tx.scope.now, connection_id, feeds))


async def freshness(tx: Transaction) -> list[Freshness]:
    """Return all streams of the workspace with their freshness."""
    now = tx.scope.now
    cursor = await tx.connection.execute(_FRESHNESS)
    found: list[Freshness] = []
    for name, feed, status, reason, finished_at, every_s, retry_at in await cursor.fetchall():
        due = finished_at + timedelta(seconds=every_s) if finished_at and every_s else None
        found.append(
            Freshness(
                connection=name,
                feed=feed,
                status=Status(status),
                reason=reason,
                finished_at=finished_at,
                lag_s=(now - finished_at).total_seconds() if finished_at else None,
                next_at=retry_at or due,
            )
        )
    return found
