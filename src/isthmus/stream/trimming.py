"""The log forgets: events that are old, and that everybody who must read them has passed, are deleted.

Numbers are never used again, so that whoever comes back with an old one can tell that something is missing between.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import LiteralString

from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from isthmus.kernel.errors import IsthmusError
from isthmus.store.database import Transaction

KEPT = timedelta(days=30)
KEPT_LEAST = timedelta(days=7)
"""A webhook is tried for over a day, and people look at Monday at what happened on Friday."""
EVENTS_MAX = 10_000
_TRIMMED: LiteralString = """
select coalesce((select trimmed from event_head where workspace = current_workspace()), 0)
"""
# An event that waits for a person because its effect failed is kept until it was done. An endpoint that nobody is to
# call holds nothing: when it goes on, it does so from the first event that is kept.
_TRIM: LiteralString = """
with held as (
    select least(
        (select min(coalesce(o.seq, 0)) from unnest(%(consumers)s::text[]) as wanted(name)
         left join consumer_offset o on o.workspace = current_workspace() and o.consumer = wanted.name),
        (select min(o.seq) from webhook_endpoint e
         join webhook_health h on h.workspace = e.workspace and h.endpoint_id = e.id
         join consumer_offset o on o.workspace = e.workspace and o.consumer = 'webhook:' || e.id::text
         where e.workspace = current_workspace() and e.removed_at is null and e.paused_at is null
           and h.disabled_at is null),
        head.seq
    ) as seq, head.trimmed
    from event_head head where head.workspace = current_workspace()
), looked as (
    select e.first, e.first + e.events - 1 as last, e.at
    from held join event_bundle e on e.workspace = current_workspace() and e.first > held.trimmed
       and e.first + e.events - 1 <= held.seq
    order by e.first limit %(limit)s
), upto as (
    select coalesce((select min(first) - 1 from looked where at >= %(before)s), (select max(last) from looked)) as seq
), gone as (
    delete from event_bundle e using upto
    where e.workspace = current_workspace() and e.first <= upto.seq and not exists (
        select from parked p where p.workspace = e.workspace and p.seq >= e.first and p.seq < e.first + e.events
    )
    returning e.events
), moved as (
    update event_head h set trimmed = upto.seq from upto
    where h.workspace = current_workspace() and upto.seq > h.trimmed
)
select coalesce(sum(events), 0) from gone
"""


class EventsForgotten(IsthmusError):
    """The log no longer holds events that were asked for."""

    status, code, title = 410, "events-forgotten", "The log has forgotten these events"


async def trim(tx: Transaction, consumers: Sequence[str], *, kept: timedelta = KEPT, limit: int = EVENTS_MAX) -> int:
    """Delete some events older than `kept`, the first ones; returns how many (0: there are none to delete now).

    `consumers` names every consumer that must have passed an event before it may go.
    """
    given = {"consumers": list(consumers), "before": tx.scope.now - kept, "limit": limit}
    row = await (await tx.connection.execute(_TRIM, given)).fetchone()
    return int(row[0]) if row else 0


async def trimmed(connection: AsyncConnection[TupleRow]) -> int:
    """Return the number of the last event that the log of the transaction's workspace has forgotten, 0 for none."""
    row = await (await connection.execute(_TRIMMED)).fetchone()
    return int(row[0]) if row else 0
