"""Connectors and connections as they are shown, over HTTP and at the terminal alike."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from msgspec import Struct

from isthmus.app.inbound_views import CONNECTION_PREFIX
from isthmus.kernel.ids import text_of
from isthmus.store.database import Transaction
from isthmus.sync.connections import Connection
from isthmus.sync.connector import Connector, ConnectorError
from isthmus.sync.feeds import FeedState, feed_states
from isthmus.sync.runs import Run, as_of, runs


class SettingView(Struct, frozen=True, kw_only=True):
    """A setting that a connector takes; without a default it has to be given.

    A `secret` one is sealed and never shown; a `local` one is given at the command line only.
    """

    name: str
    about: str
    secret: bool
    default: str | None
    local: bool


class UntriedView(Struct, frozen=True, kw_only=True):
    """Checks of the conformance suite that a connector cannot be put to, and why."""

    reason: str
    checks: list[str]


class ConnectorFeedView(Struct, frozen=True, kw_only=True):
    """A feed that a connector knows: what its records become, and what is written to it."""

    name: str
    types: list[str]
    writes: list[str]


class ConnectorView(Struct, frozen=True, kw_only=True):
    """A connector and what it was tried against (`proven`); a fake one speaks with nothing real."""

    name: str
    title: str
    about: str
    proven: str
    fake: bool
    reads: list[str]
    writes: list[str]
    feeds: list[ConnectorFeedView]
    settings: list[SettingView]
    untried: list[UntriedView]


class ConnectionFeedView(Struct, frozen=True, kw_only=True):
    """A feed of a connection and when its last pull came to its end."""

    name: str
    types: list[str]
    writes: list[str]
    finished_at: datetime | None


class LastRunView(Struct, frozen=True, kw_only=True):
    """The last run of a connection."""

    kind: str
    status: str
    started_at: datetime
    finished_at: datetime | None
    read: int
    created: int
    changed: int
    rejected: int
    written: int


class ConnectionView(Struct, frozen=True, kw_only=True):
    """A connection without its secrets; of these only the names are told."""

    id: str
    name: str
    connector: str
    fake: bool
    status: str
    reason: str
    status_at: datetime
    retry_at: datetime | None
    every_s: int | None
    settings: dict[str, str]
    secrets: list[str]
    push: bool
    create: list[str]
    delete: bool
    pipeline: bool
    feeds: list[ConnectionFeedView]
    last_run: LastRunView | None
    created_at: datetime


def connector_view(connector: Connector) -> ConnectorView:
    """Return a connector as JSON values."""
    feeds = connector.feeds
    return ConnectorView(
        name=connector.name,
        title=connector.title,
        about=connector.about,
        proven=connector.proven,
        fake=connector.fake,
        reads=_once(name for feed in feeds for name in feed.types),
        writes=_once(name for feed in feeds for name in feed.writes),
        feeds=[ConnectorFeedView(name=feed.name, types=list(feed.types), writes=list(feed.writes)) for feed in feeds],
        settings=[
            SettingView(name=each.name, about=each.about, secret=each.secret, default=each.default, local=each.local)
            for each in connector.settings
        ],
        untried=[
            UntriedView(reason=reason, checks=[name for name, why in connector.cannot.items() if why == reason])
            for reason in dict.fromkeys(connector.cannot.values())
        ],
    )


async def connection_view(
    tx: Transaction, connection: Connection, *, connectors: Mapping[str, Connector]
) -> ConnectionView:
    """Return a connection; of one whose connector is gone the feeds are unknown."""
    last = next(iter(await runs(tx, connection_id=connection.id, limit=1)), None)
    states = await feed_states(tx, connection.id)
    connector = connectors.get(connection.connector)
    return ConnectionView(
        id=text_of(CONNECTION_PREFIX, connection.id),
        name=connection.name,
        connector=connection.connector,
        fake=connector.fake if connector else False,
        status=str(connection.status),
        reason=connection.reason,
        status_at=connection.status_at,
        retry_at=connection.retry_at,
        every_s=connection.every_s,
        settings=connection.settings,
        secrets=[each.name for each in connector.settings if each.secret] if connector else [],
        push=connection.options.push,
        create=list(connection.options.create),
        delete=connection.options.delete,
        pipeline=connection.options.pipeline,
        feeds=_feeds(connector, connection, states) if connector else [],
        last_run=_last(as_of(last, tx.scope.now)) if last else None,
        created_at=connection.created_at,
    )


def _feeds(connector: Connector, connection: Connection, states: Mapping[str, FeedState]) -> list[ConnectionFeedView]:
    """Return the feeds of a connection; where its settings do not fit its connector any more, none are known."""
    finished = {name: state.finished_at for name, state in states.items()}
    try:
        feeds = connector.feeds_of(connection.settings)
    except ConnectorError:
        feeds = ()
    return [
        ConnectionFeedView(
            name=feed.name, types=list(feed.types), writes=list(feed.writes), finished_at=finished.get(feed.name)
        )
        for feed in feeds
    ]


def _last(run: Run) -> LastRunView:
    return LastRunView(
        kind=run.kind,
        status=str(run.status),
        started_at=run.started_at,
        finished_at=run.finished_at,
        read=run.read,
        created=run.created,
        changed=run.changed,
        rejected=run.rejected,
        written=run.written,
    )


def _once(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
