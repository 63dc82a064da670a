"""Which records a push looks at: those that changed since the last one, and those that somebody asked to look at again.

Events are read by their gapless sequence; those that are not stamped yet are looked at every time, so that none is
missed whatever commits when. A record that only this system ever spoke of has nothing to be told and is left out,
unless it is deleted, or edited here; and so is one of which only fields changed that the system is never written.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import LiteralString, cast
from uuid import UUID

from isthmus.kernel.marks import RecordType
from isthmus.store.database import Transaction
from isthmus.stream.event import head_of
from isthmus.stream.trimming import trimmed
from isthmus.sync.connections import Connection

PAGE_ROWS_MAX = 2_000
Candidates = dict[str, list[UUID]]
_STAMPED: LiteralString = """
with page as (
    select seq as place, type, record_type, record_id, changed from events_after(%(after)s)
    order by bundle, seq limit %(limit)s
)
"""
_UNSTAMPED: LiteralString = """
with page as (
    select id as place, type, record_type, record_id, changed from event
    where workspace = current_workspace() and bundle is null and id > %(after)s order by id limit %(limit)s
)
"""
# What a system brought itself it need not be told, and a change of fields that are not written there is none for it.
MEANT: LiteralString = """
record_type = any(%(types)s) and (right(type, 10) <> 'created.v1' or exists (
    select from claim c where c.workspace = current_workspace() and c.record_id = page.record_id
       and c.system <> %(system)s
)) and (right(type, 10) <> 'changed.v1' or changed = '{}' or exists (
    select from unnest(changed) as moved(name) where record_type || '.' || name = any(%(writable)s)
       or (record_type <> all(%(declared)s) and record_type || '.' || name <> all(%(withheld)s))
) or exists (
    select from claim c where c.workspace = current_workspace() and c.record_id = page.record_id and c.deleted
))
"""
_CONCERNED: LiteralString = f"""
select record_type, record_id, max(place) from page where {MEANT} group by record_type, record_id
union all
select null, null, max(place) from page
"""  # noqa: S608 - constants.
_PENDING: LiteralString = """
select type, record_id, at from push_pending
where workspace = current_workspace() and connection_id = %s and (type, record_id) > (%s, %s)
order by type, record_id limit %s
"""
_LOOKED: LiteralString = """
delete from push_pending p using unnest(%s::text[], %s::uuid[], %s::timestamptz[]) as seen(type, record_id, at)
where p.workspace = current_workspace() and p.connection_id = %s and p.type = seen.type
  and p.record_id = seen.record_id and p.at = seen.at
"""
_ALL: LiteralString = """
insert into push_pending (workspace, connection_id, type, record_id, reason, at)
select current_workspace(), c.id, %s, %s, %s, %s from connection c
where c.workspace = current_workspace() and c.removed_at is null
on conflict (workspace, connection_id, type, record_id) do update set at = excluded.at, reason = excluded.reason
"""
_DELETED: LiteralString = """
select count(*) from (
    select record_id from events_after(%(after)s) where record_type = %(type)s
    union
    select record_id from event where workspace = current_workspace() and record_type = %(type)s and bundle is null
    union
    select record_id from push_pending
    where workspace = current_workspace() and connection_id = %(connection)s and type = %(type)s
) as looked where exists (
    select from {table} t where t.workspace = current_workspace() and t.id = looked.record_id
       and t.deleted_at is not null and t.merged_into is null
) and exists (
    select from claim c join ref r on r.workspace = c.workspace and r.type = c.type and r.system = c.system
                                  and r.external_id = c.external_id and not r.deleted
    where c.workspace = current_workspace() and c.record_id = looked.record_id and c.system = %(system)s
)
"""
_LIVING: LiteralString = """
select count(*) from ref where workspace = current_workspace() and type = %s and system = %s and not deleted
"""
_EVERY: LiteralString = """
insert into push_pending (workspace, connection_id, type, record_id, reason, at)
select workspace, %(connection)s, %(type)s, id, %(reason)s, %(now)s from {table} where workspace = current_workspace()
on conflict (workspace, connection_id, type, record_id) do nothing
"""
_SOME_OF_EVERY: LiteralString = """
select id from {table} where workspace = current_workspace() and id > %s order by id limit %s
"""
FORGOTTEN = "The log no longer holds every change since the last push."
Pending = tuple[str, UUID, datetime]


def meant(
    connection: Connection, types: Sequence[str], writable: Mapping[str, Sequence[str]], *, withheld: Sequence[str] = ()
) -> dict[str, object]:
    """Return what `MEANT` is asked with: the types that are written there, and their fields where those are named.

    `withheld` are fields, each as `<type>.<field>`, that are not written there although nobody says which ones are.
    """
    fields = [f"{name}.{each}" for name, named in writable.items() for each in named]
    given = {"types": list(types), "system": connection.name, "declared": list(writable), "writable": fields}
    return {**given, "withheld": list(withheld)}


async def changed_page(
    tx: Transaction,
    connection: Connection,
    types: Sequence[str],
    *,
    writable: Mapping[str, Sequence[str]],
    after: int,
    stamped: bool,
    limit: int = PAGE_ROWS_MAX,
) -> tuple[Candidates, int | None]:
    """Return records with events after a place, and the last place that was looked at; None at the end.

    The place is the sequence number of stamped events, and the id of those that are not stamped yet. `writable` names
    by type the fields that may be written there: a change of others is none for that system. `limit` is how many events
    are looked at.
    """
    query = (_STAMPED if stamped else _UNSTAMPED) + _CONCERNED
    given = {**meant(connection, types, writable), "after": after, "limit": limit}
    found: Candidates = {}
    last: int | None = None
    for name, record, place in await (await tx.connection.execute(query, given)).fetchall():
        if name is None:
            last = place
        else:
            found.setdefault(name, []).append(record)
    return {name: sorted(records) for name, records in found.items()}, last


async def deletions_waiting(tx: Transaction, connection: Connection, record_type: RecordType) -> tuple[int, int]:
    """Return how many records of a type the next push would delete there, and how many are living there."""
    query = cast("LiteralString", _DELETED.format(table=record_type.table))
    given = {"type": record_type.name, "after": connection.pushed_seq, "connection": connection.id}
    cursor = await tx.connection.execute(query, {**given, "system": connection.name})
    waiting = await cursor.fetchone()
    living = await (await tx.connection.execute(_LIVING, (record_type.name, connection.name))).fetchone()
    return (int(waiting[0]) if waiting else 0), (int(living[0]) if living else 0)


async def is_forgotten(tx: Transaction, connection: Connection) -> bool:
    """Tell whether the log has forgotten events that a push would have to look at."""
    return connection.pushed_seq < await trimmed(tx.connection)


async def look_at_all(tx: Transaction, connection: Connection, types: Sequence[RecordType]) -> None:
    """Have the next push look at every record of some types, and not at the events before this moment."""
    head = await head_of(tx.connection)
    for each in types:
        given = {"connection": connection.id, "type": each.name, "reason": FORGOTTEN, "now": tx.scope.now}
        await tx.connection.execute(cast("LiteralString", _EVERY.format(table=each.table)), given)
    await mark_pushed(tx, connection, seq=head)


async def every_page(tx: Transaction, record_type: RecordType, *, after: UUID) -> list[UUID]:
    """Return records of a type in the order of their ids, from after one."""
    query = cast("LiteralString", _SOME_OF_EVERY.format(table=record_type.table))
    return [record for (record,) in await (await tx.connection.execute(query, (after, PAGE_ROWS_MAX))).fetchall()]


async def mark_pushed(tx: Transaction, connection: Connection, *, seq: int) -> None:
    """Say that all events up to a sequence number were looked at."""
    await tx.connection.execute(
        "update connection set pushed_seq = greatest(pushed_seq, %s) where workspace = current_workspace() and id = %s",
        (seq, connection.id),
    )


async def pending_page(
    tx: Transaction, connection: Connection, *, after: tuple[str, UUID], limit: int = PAGE_ROWS_MAX
) -> list[Pending]:
    """Return at most `limit` records to look at again, in the order of type and id, from after one."""
    cursor = await tx.connection.execute(_PENDING, (connection.id, *after, limit))
    return [(name, record, at) for name, record, at in await cursor.fetchall()]


async def forget_pending(tx: Transaction, connection: Connection, looked: Sequence[Pending]) -> None:
    """Take records off the list that were looked at; one that was put on it again meanwhile stays."""
    if looked:
        columns = [list(column) for column in zip(*looked, strict=True)]
        await tx.connection.execute(_LOOKED, (*columns, connection.id))


async def tell_all(tx: Transaction, *, type_name: str, record_id: UUID, reason: str) -> None:
    """Have every connection look at a record in its next push."""
    await tx.connection.execute(_ALL, (type_name, record_id, reason, tx.scope.now))
