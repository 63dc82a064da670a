"""The connected systems, how fresh their streams are, and what runs on them now."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import LiteralString

from isthmus.console import words
from isthmus.console.overview.views import FreshView, RunView, SystemView
from isthmus.console.status import badge
from isthmus.store.database import Transaction
from isthmus.sync.connections import Connection, Status, connections
from isthmus.sync.connector import Connector
from isthmus.sync.feeds import Freshness, freshness
from isthmus.sync.runs import Run, runs

RUNS_LOOKED_AT = 60
SILENT_AFTER = timedelta(seconds=30)
_REJECTED: LiteralString = """
select system, count(*) from rejected where workspace = current_workspace() and settled_at is null group by system
"""


async def load_systems(
    tx: Transaction, connectors: Mapping[str, Connector]
) -> tuple[tuple[SystemView, ...], tuple[RunView, ...]]:
    """Return all systems by name, and the runs that go on, oldest first."""
    now = tx.scope.now
    recent = await runs(tx, limit=RUNS_LOOKED_AT)
    feeds: dict[str, list[Freshness]] = defaultdict(list)
    for each in await freshness(tx):
        feeds[each.connection].append(each)
    cursor = await tx.connection.execute(_REJECTED)
    rejected = {str(system): int(count) for system, count in await cursor.fetchall()}
    systems: list[SystemView] = []
    for connection in await connections(tx):
        last = next((each for each in recent if each.connection_id == connection.id), None)
        if last is None:
            last = next(iter(await runs(tx, connection_id=connection.id, limit=1)), None)
        view = system_view(connection, feeds[connection.name], last, rejected.get(connection.name, 0), now=now)
        connector = connectors.get(connection.connector)
        systems.append(replace(view, fake=connector is not None and connector.fake))
    going_on = [each for each in reversed(recent) if each.finished_at is None and now - each.updated_at < SILENT_AFTER]
    return tuple(sorted(systems, key=lambda each: each.name)), tuple(run_view(each, now=now) for each in going_on)


def system_view(
    connection: Connection, feeds: Sequence[Freshness], last: Run | None, rejected: int, *, now: datetime
) -> SystemView:
    """Return how a system is shown."""
    due = [each.next_at for each in feeds if each.next_at is not None]
    return SystemView(
        name=connection.name,
        connector=connection.connector,
        badge=badge(
            connection.status, now=now, reason=connection.reason, retry_at=connection.retry_at, rejected=rejected
        ),
        streams=fresh_views(feeds, system=connection.name, now=now),
        next_at=min(due) if due and connection.status is not Status.PAUSED else None,
        last=run_view(last, now=now) if last is not None else None,
    )


def fresh_views(feeds: Sequence[Freshness], *, system: str, now: datetime) -> tuple[FreshView, ...]:
    """Return the streams of a system in groups of equal freshness in words, the stalest first: there trouble shows."""
    groups: dict[str, list[Freshness]] = defaultdict(list)
    for each in feeds:
        groups[words.ago(each.finished_at, now=now)].append(each)
    found = [
        FreshView(
            names=tuple(words.plain(each.feed.removeprefix(f"{system}.")) for each in group),
            finished_at=min((each.finished_at for each in group if each.finished_at), default=None),
        )
        for group in groups.values()
    ]
    return tuple(sorted(found, key=lambda each: (each.finished_at is not None, each.finished_at or now)))


def run_view(run: Run, *, now: datetime) -> RunView:
    """Return how a run is shown; the rate is its mean so far, and the time left assumes that it holds."""
    until = run.finished_at or run.updated_at
    lasted = (until - run.started_at).total_seconds()
    rate = run.read / lasted if lasted > 0 and run.read else None
    share = min(1.0, run.read / run.total) if run.total else None
    left = (run.total - run.read) / rate if run.total and rate and run.finished_at is None else None
    return RunView(
        about=run.about,
        feed=words.plain((run.feed or "").removeprefix(f"{run.about}.")),
        badge=badge(run.status, now=now, reason=run.error or "", rejected=run.rejected),
        read=run.read,
        created=run.created,
        changed=run.changed,
        rejected=run.rejected,
        total=run.total,
        share=share,
        rate=rate,
        left_s=max(0.0, left) if left is not None else None,
        started_at=run.started_at,
    )
