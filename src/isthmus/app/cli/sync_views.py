"""Runs and streams as they are shown, and as JSON."""

from __future__ import annotations

from datetime import datetime
from itertools import groupby
from typing import TYPE_CHECKING, TypeAlias

from msgspec import Struct

from isthmus.app.cli.output import say, table
from isthmus.app.cli.wording import ago
from isthmus.app.sync_views import RowCounts, SyncRunView
from isthmus.console import words
from isthmus.console.status import badge
from isthmus.sync.connections import Status, connections
from isthmus.sync.feeds import Freshness, freshness
from isthmus.sync.mending import rejects_by_cause
from isthmus.sync.running import ConnectionPaused
from isthmus.sync.runs import RunOverlaps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isthmus.kernel.errors import IsthmusError
    from isthmus.store.database import Transaction
    from isthmus.sync.connections import Connection

_CODES = {Status.NEEDS_ATTENTION: 1, Status.RETRYING: 6}


class NotRun(RowCounts, frozen=True, kw_only=True):
    """What stands for a run that did not begin, in the words of one."""

    connection: str
    status: str
    error: str
    seconds: float = 0.0


RunView: TypeAlias = SyncRunView | NotRun


class FeedFreshness(Struct, frozen=True, kw_only=True):
    """How fresh a feed is: seconds since its last pull came to its end, and when the next is due."""

    feed: str
    finished_at: datetime | None
    lag_s: float | None
    next_at: datetime | None


class StreamView(Struct, frozen=True, kw_only=True):
    """A connection with its one status and its feeds; `rejected` rows wait to be mended."""

    connection: str
    status: str
    reason: str
    retry_at: datetime | None
    rejected: int
    feeds: list[FeedFreshness]


def not_run(name: str, error: IsthmusError) -> NotRun:
    """Return what stands for a run that did not begin."""
    status = Status.NEEDS_ATTENTION
    if isinstance(error, ConnectionPaused):
        status = Status.PAUSED
    elif isinstance(error, RunOverlaps):
        status = Status.RUNNING
    return NotRun(connection=name, status=str(status), error=error.detail)


def code_of(run: RunView) -> int:
    """Return the exit code that tells how a run ended."""
    return _CODES.get(Status(run.status), 0)


def show_runs(found: Sequence[RunView]) -> None:
    """Print runs as a table, and what to do next."""
    rows = [
        {
            "connection": each.connection,
            "status": each.status,
            "read": each.read,
            "new": each.created,
            "changed": each.changed,
            "unchanged": each.unchanged,
            "rejected": each.rejected,
            "written there": each.written,
            "conflicts": each.conflicts,
            "seconds": f"{each.seconds:,.1f}",
        }
        for each in found
    ]
    columns = ("connection", "status", "read", "new", "changed", "unchanged", "rejected")
    table(
        rows,
        columns=(*columns, "written there", "conflicts", "seconds"),
        empty="no connections; see what can be connected: isthmus connect --list",
    )
    for each in found:
        if each.error:
            say(f"{each.connection}: {each.error}")
    if any(each.rejected for each in found):
        say("why rows were rejected: isthmus sync rejected")
    if any(each.conflicts for each in found):
        say("what waits for a person: isthmus conflicts ls")


async def streams(tx: Transaction) -> list[StreamView]:
    """Return all connections with their feeds."""
    fresh = {name: list(group) for name, group in groupby(await freshness(tx), key=lambda each: each.connection)}
    rejected: dict[str, int] = {}
    for cause in await rejects_by_cause(tx):
        rejected[cause.system] = rejected.get(cause.system, 0) + cause.rows
    return [
        _stream(each, fresh.get(each.name, []), rejected=rejected.get(each.name, 0)) for each in await connections(tx)
    ]


def show_streams(found: Sequence[StreamView], *, now: datetime) -> None:
    """Print connections, a line for each feed."""
    rows: list[dict[str, object]] = []
    for each in found:
        shown = badge(Status(each.status), now=now, retry_at=each.retry_at, rejected=each.rejected)
        first: dict[str, object] = {"connection": each.connection, "status": shown.word, "reason": each.reason}
        feeds = [_feed_row(feed, now=now) for feed in each.feeds] or [{"feed": "–", "last pull": "never"}]
        rows += [(first if place == 0 else {}) | feed for place, feed in enumerate(feeds)]
    table(
        rows,
        columns=("connection", "status", "feed", "last pull", "next", "reason"),
        empty="no connections; see what can be connected: isthmus connect --list",
    )


def _feed_row(feed: FeedFreshness, *, now: datetime) -> dict[str, object]:
    due = words.until(feed.next_at, now=now) if feed.next_at else "when asked to"
    return {"feed": feed.feed, "last pull": ago(feed.finished_at, now=now), "next": due}


def _stream(connection: Connection, fresh: Sequence[Freshness], *, rejected: int) -> StreamView:
    return StreamView(
        connection=connection.name,
        status=str(connection.status),
        reason=connection.reason,
        retry_at=connection.retry_at,
        rejected=rejected,
        feeds=[
            FeedFreshness(feed=each.feed, finished_at=each.finished_at, lag_s=each.lag_s, next_at=each.next_at)
            for each in fresh
        ],
    )
