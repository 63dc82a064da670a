"""Filling the list of connections and the page of one."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import LiteralString
from uuid import UUID

from isthmus.console import words
from isthmus.console.connections.views import (
    CauseRow,
    FeedRow,
    GrantView,
    Listing,
    MappedRow,
    OneConnection,
    Present,
    RunRow,
    RunsView,
    Sieve,
    SystemRow,
)
from isthmus.console.overview.systems import SILENT_AFTER, load_systems, run_view
from isthmus.console.status import badge
from isthmus.gateway import Services
from isthmus.kernel.ids import text_of
from isthmus.kernel.status import Status
from isthmus.store.database import Scope, Transaction
from isthmus.sync.connections import Connection, connection_of, connections
from isthmus.sync.connector import Connector, ConnectorError
from isthmus.sync.feeds import feed_states
from isthmus.sync.flow_versions import flow_versions
from isthmus.sync.grants import Ending, endings, grant_of
from isthmus.sync.mending import rejects_by_cause
from isthmus.sync.runs import Engine, Run, as_of, runs

CONNECTION_PREFIX, RUN_PREFIX = "conn", "run"
SYSTEMS_SHOWN, RUNS_SHOWN, VERSIONS_LOOKED_AT = 30, 15, 500
WARN = timedelta(days=7)
_REJECTED: LiteralString = """
select count(*) from rejected where workspace = current_workspace() and system = %s and settled_at is null
"""
_FILTERS = (
    Status.NEEDS_ATTENTION,
    Status.RETRYING,
    Status.DEGRADED,
    Status.PENDING,
    Status.RUNNING,
    Status.HEALTHY,
    Status.PAUSED,
)


@dataclass(frozen=True)
class Viewer:
    """For whom a page is made: their permissions, and the record types that they may read as a whole."""

    permissions: frozenset[str]
    types: frozenset[str]

    def may(self, permission: str) -> bool:
        """Tell whether the viewer has a permission."""
        return permission in self.permissions


@dataclass(frozen=True)
class Wanted:
    """Which connections: part of a name or of what it is connected with, a status, and after which name."""

    q: str = ""
    status: str = ""
    after: str = ""


async def load_listing(services: Services, scope: Scope, viewer: Viewer, wanted: Wanted) -> Listing:
    """Return the connections that are asked for, by name."""
    known = services.of(Engine).connectors
    async with services.database.transaction(scope) as tx:
        found = {each.name: each for each in await connections(tx)}
        systems, _ = await load_systems(tx, known)
        ending = {each.connection: each for each in await endings(tx)}
        workspace = await workspace_name(tx)
    rows = [
        SystemRow(
            id=text_of(CONNECTION_PREFIX, found[each.name].id),
            title=known[each.connector].title if each.connector in known else each.connector,
            system=each,
            ending=_ending(ending.get(each.name), scope),
        )
        for each in systems
        if each.name in found
    ]
    text = wanted.q.casefold()
    named = [each for each in rows if text in each.system.name.casefold() or text in each.title.casefold()]
    by_status = Counter(str(found[each.system.name].status) for each in named)
    chosen = [each for each in named if wanted.status in ("", str(found[each.system.name].status))]
    rest = [each for each in chosen if each.system.name > wanted.after]
    return Listing(
        now=scope.now,
        workspace=workspace,
        rows=rest[:SYSTEMS_SHOWN],
        sieves=_sieves(by_status, wanted.status),
        total=len(rows),
        found=len(chosen),
        q=wanted.q,
        status=wanted.status,
        after=wanted.after,
        next=rest[SYSTEMS_SHOWN - 1].system.name if len(rest) > SYSTEMS_SHOWN else "",
        may_act=viewer.may("sync:write"),
    )


async def load_present(services: Services, scope: Scope, own: UUID) -> Present:
    """Return how a connection is now; raises ConnectionMissing."""
    async with services.database.transaction(scope) as tx:
        found = await connection_of(tx, own)
        return await _present(tx, found, services.of(Engine).connectors.get(found.connector))


async def load_connection(  # noqa: PLR0913, RUF100 - one parameter for each thing that the page shows.
    services: Services,
    scope: Scope,
    viewer: Viewer,
    found: Connection,
    *,
    status: Status | None,
    before: UUID | None,
    redirect: str,
) -> OneConnection:
    """Return the page of a connection; `redirect` is where a vendor sends a browser back, as it has to know it."""
    connector = services.of(Engine).connectors.get(found.connector)
    async with services.database.transaction(scope) as tx:
        present = await _present(tx, found, connector)
        own = [each for each in await rejects_by_cause(tx, system=found.name) if each.type in viewer.types]
        consents = connector is not None and connector.consents(found.settings)
        return OneConnection(
            id=text_of(CONNECTION_PREFIX, found.id),
            name=found.name,
            title=connector.title if connector else found.connector,
            about=connector.about if connector else "",
            fake=connector.fake if connector else False,
            known=connector is not None,
            workspace=await workspace_name(tx),
            present=present,
            paused=found.status is Status.PAUSED,
            grant=await _grant(tx, services, found, redirect) if consents else None,
            settings={name: value for name, value in found.settings.items() if value},
            secrets=[each.name for each in connector.settings if each.secret] if connector else [],
            options=_options(found),
            causes=[
                CauseRow(
                    code=each.code,
                    type=each.type,
                    kind=words.kind(each.type, count=each.rows),
                    rows=each.rows,
                    oldest_at=each.oldest_at,
                    example=each.example,
                )
                for each in own
            ],
            runs=await _runs(tx, found.id, status, before),
            mapped=await _mapped(tx, found, connector, viewer),
            pushes=found.options.push and any(each.writes for each in present.feeds),
            may_act=viewer.may("sync:write"),
        )


def run_row(run: Run, scope: Scope) -> RunRow:
    """Return a run as it is shown in a list."""
    run = as_of(run, scope.now)
    until = run.finished_at or (scope.now if run.status is Status.RUNNING else run.updated_at)
    return RunRow(
        id=text_of(RUN_PREFIX, run.id),
        kind=run.kind,
        badge=badge(run.status, now=scope.now, rejected=run.rejected),
        started_at=run.started_at,
        took_s=(until - run.started_at).total_seconds(),
        going_on=run.finished_at is None and run.status is Status.RUNNING,
        read=run.read,
        created=run.created,
        changed=run.changed,
        rejected=run.rejected,
        written=run.written,
        conflicts=run.conflicts,
        error=run.error or "",
    )


async def workspace_name(tx: Transaction) -> str:
    """Return what the workspace is called."""
    cursor = await tx.connection.execute("select name from workspace where id = %s", (tx.scope.workspace,))
    row = await cursor.fetchone()
    return str(row[0]) if row else ""


def every(seconds: int | None) -> str:
    """Return how often a connection runs, in words."""
    return "when it is asked to" if seconds is None else f"every {words.duration(seconds)}"


async def _present(tx: Transaction, found: Connection, connector: Connector | None) -> Present:
    now = tx.scope.now
    newest = await runs(tx, connection_id=found.id, limit=3)
    living = [each for each in newest if each.finished_at is None and now - each.updated_at < SILENT_AFTER]
    states = await feed_states(tx, found.id)
    trouble = ""
    try:
        feeds = connector.feeds_of(found.settings) if connector else ()
    except ConnectorError as error:
        feeds, trouble = (), f"{error.detail} {error.fix}".strip()
    rows = [
        FeedRow(
            name=each.name,
            label=words.plain(each.name.removeprefix(f"{found.name}.")),
            kinds=_kinds(each.types),
            writes=_kinds(each.writes) if found.options.push else "",
            finished_at=states[each.name].finished_at if each.name in states else None,
        )
        for each in feeds
    ]
    last = newest[0].started_at if newest else None
    due = last + timedelta(seconds=found.every_s) if last is not None and found.every_s is not None else None
    row = await (await tx.connection.execute(_REJECTED, (found.name,))).fetchone()
    rejected = int(row[0]) if row else 0
    return Present(
        now=now,
        name=found.name,
        badge=badge(found.status, now=now, retry_at=found.retry_at, rejected=rejected),
        reason=found.reason,
        status_at=found.status_at,
        next_at=None if found.status is Status.PAUSED else found.retry_at or due,
        every=every(found.every_s),
        running=[run_view(each, now=now) for each in living],
        feeds=rows,
        trouble=trouble,
    )


async def _runs(tx: Transaction, own: UUID, status: Status | None, before: UUID | None) -> RunsView:
    found = await runs(tx, connection_id=own, status=status, before=before, limit=RUNS_SHOWN + 1)
    rows = [run_row(each, tx.scope) for each in found[:RUNS_SHOWN]]
    return RunsView(
        rows=rows,
        status=str(status) if status else "",
        before=text_of(RUN_PREFIX, before) if before is not None else "",
        next=rows[-1].id if len(found) > RUNS_SHOWN else "",
    )


async def _grant(tx: Transaction, services: Services, found: Connection, redirect: str) -> GrantView:
    grant, now = await grant_of(tx, services.vault, found.id), tx.scope.now
    ends_at = grant.refresh_expires_at if grant else None
    return GrantView(
        given_at=grant.consented_at if grant else None,
        ends_at=ends_at,
        refused_at=grant.refused_at if grant else None,
        reason=grant.reason if grant else "",
        warns=ends_at is not None and ends_at <= now + WARN,
        redirect=redirect,
    )


async def _mapped(
    tx: Transaction, found: Connection, connector: Connector | None, viewer: Viewer
) -> Sequence[MappedRow]:
    names = brought(found, connector, viewer)
    versions = await flow_versions(tx, connection_id=found.id, types=names, limit=VERSIONS_LOOKED_AT)
    counts, used = Counter(each.type for each in versions), {each.type: each for each in versions if each.in_force}
    return [
        MappedRow(
            type=name,
            kind=words.title(words.kind(name, count=2)),
            number=used[name].number if name in used else None,
            versions=counts[name],
        )
        for name in names
    ]


def brought(found: Connection, connector: Connector | None, viewer: Viewer) -> list[str]:
    """Return the record types that a connection brings, and that the viewer may read."""
    try:
        feeds = connector.feeds_of(found.settings) if connector else ()
    except ConnectorError:
        feeds = ()
    return [name for name in dict.fromkeys(name for feed in feeds for name in feed.types) if name in viewer.types]


def _sieves(by_status: Mapping[str, int], status: str) -> list[Sieve]:
    every_one = Sieve(name="", label="all", count=sum(by_status.values()), chosen=not status)
    own = [
        Sieve(name=str(each), label=str(each), count=by_status.get(str(each), 0), chosen=str(each) == status)
        for each in _FILTERS
        if by_status.get(str(each), 0) or str(each) == status
    ]
    return [every_one, *own]


def _ending(found: Ending | None, scope: Scope) -> str:
    if found is None:
        return ""
    if found.refused_at is not None or (found.ends_at is not None and found.ends_at <= scope.now):
        return "The consent has ended."
    return f"The consent ends {words.until(found.ends_at, now=scope.now)}." if found.ends_at else ""


def _options(found: Connection) -> list[str]:
    own = found.options
    made = ", ".join(words.kind(each, count=2) for each in own.create)
    said = ["changes are written there" if own.push else "nothing is written there"]
    if own.push:
        said.append(f"{made} that are missing there are made" if made else "nothing is made there")
        said.append("what is deleted here is deleted there" if own.delete else "nothing is deleted there")
    if not own.pipeline:
        said.append("what it brings does not go through the steps of its domain")
    return said


def _kinds(types: Sequence[str]) -> str:
    return ", ".join(words.kind(each, count=2) for each in types)
