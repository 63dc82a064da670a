"""How far the readers of the log are behind it, in events and in seconds."""

from collections.abc import Sequence
from datetime import datetime
from typing import LiteralString

from msgspec import Struct

from isthmus.store.database import Transaction

UNSTAMPED_COUNTED_MAX = 10_000
_LOG: LiteralString = """
select coalesce((select seq from event_head where workspace = current_workspace()), 0),
       (select min(first) from event_bundle where workspace = current_workspace() and first is not null),
       (select at from event_bundle where workspace = current_workspace() and first is not null
        order by first desc limit 1),
       (select count(*) from (select from event where workspace = current_workspace() and bundle is null limit %s) few),
       (select at from event_bundle where workspace = current_workspace() and first is null order by id limit 1)
"""
_READERS: LiteralString = """
select o.consumer, o.seq, greatest(%(head)s - o.seq, 0), (
    select e.at from events_after(o.seq) e order by e.bundle limit 1
) from consumer_offset o where o.workspace = current_workspace() order by 3 desc, 1
"""


class Reader(Struct, frozen=True):
    """A consumer: the number up to which it has read, how many events follow, and when the next of them happened."""

    consumer: str
    seq: int
    behind: int
    waits_since: datetime | None

    def lag_s(self, now: datetime) -> float:
        """Return for how many seconds the next event has waited; 0 for a reader that is at the end."""
        return max((now - self.waits_since).total_seconds(), 0.0) if self.behind and self.waits_since else 0.0


class Log(Struct, frozen=True):
    """The log of a workspace: its last number, the first that is kept, when it last grew, and who reads it.

    `unstamped` events are committed and have no number yet (counted to 10,000); the oldest is of `unstamped_since`.
    """

    head: int
    first: int | None
    grew_at: datetime | None
    unstamped: int
    unstamped_since: datetime | None
    readers: Sequence[Reader]


async def log_of(tx: Transaction) -> Log:
    """Return how the log stands, those first that are furthest behind."""
    row = await (await tx.connection.execute(_LOG, (UNSTAMPED_COUNTED_MAX,))).fetchone()
    head, first, grew_at, unstamped, since = row or (0, None, None, 0, None)
    rows = await (await tx.connection.execute(_READERS, {"head": head})).fetchall()
    return Log(head, first, grew_at, unstamped, since, [Reader(*each) for each in rows])
