"""Connectors and connections as they are shown, and as JSON."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import click
from msgspec import Struct

from isthmus.app.cli.output import table
from isthmus.app.cli.wording import MASK, ago, paragraph, short_length
from isthmus.console.status import badge
from isthmus.kernel.status import Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from isthmus.sync.connections import Connection
    from isthmus.sync.connector import Connector
    from isthmus.sync.feeds import FeedState
    from isthmus.sync.runs import Run


class SettingView(Struct, frozen=True, kw_only=True):
    """A setting that a connector takes; without a default it has to be given."""

    name: str
    about: str
    secret: bool
    default: str | None


class UntriedView(Struct, frozen=True, kw_only=True):
    """Checks of the conformance suite that a connector cannot be put to, and why."""

    reason: str
    checks: list[str]


class ConnectorView(Struct, frozen=True, kw_only=True):
    """A connector; a fake one speaks with nothing real."""

    name: str
    title: str
    about: str
    proven: str
    fake: bool
    reads: list[str]
    writes: list[str]
    settings: list[SettingView]
    untried: list[UntriedView]


class FeedView(Struct, frozen=True, kw_only=True):
    """A feed of a connection and when its last pull came to its end."""

    name: str
    types: list[str]
    writes: list[str]
    finished_at: datetime | None


class RunView(Struct, frozen=True, kw_only=True):
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
    feeds: list[FeedView]
    last_run: RunView | None
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
        settings=[
            SettingView(name=each.name, about=each.about, secret=each.secret, default=each.default)
            for each in connector.settings
        ],
        untried=[
            UntriedView(reason=reason, checks=[name for name, why in connector.cannot.items() if why == reason])
            for reason in dict.fromkeys(connector.cannot.values())
        ],
    )


def connection_view(
    connection: Connection, *, connector: Connector | None, states: Mapping[str, FeedState], last: Run | None
) -> ConnectionView:
    """Return a connection; of one whose connector is gone the feeds are unknown."""
    feeds = connector.feeds_of(connection.settings) if connector else ()
    finished = {name: state.finished_at for name, state in states.items()}
    return ConnectionView(
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
        feeds=[
            FeedView(
                name=feed.name, types=list(feed.types), writes=list(feed.writes), finished_at=finished.get(feed.name)
            )
            for feed in feeds
        ],
        last_run=_run_view(last) if last else None,
        created_at=connection.created_at,
    )


def show_connectors(found: Sequence[ConnectorView]) -> None:
    """Print connectors, each with what it takes."""
    for place, each in enumerate(found):
        if place:
            click.echo()
        label = "  [fake: for demonstrations and tests]" if each.fake else ""
        click.echo(f"{click.style(each.name, bold=True)}  {each.title}{label}")
        for head, text in (
            ("", each.about),
            ("proven", each.proven),
            ("reads", ", ".join(each.reads)),
            ("writes", ", ".join(each.writes) or "nothing"),
        ):
            click.echo(paragraph(text, head=f"  {head:8}" if head else "  "))
        width = max((len(setting.name) for setting in each.settings), default=0)
        for number, setting in enumerate(each.settings):
            head = "settings" if number == 0 else ""
            click.echo(paragraph(_about(setting), head=f"  {head:8}{setting.name:{width}}  "))
        for number, untried in enumerate(each.untried):
            names = ", ".join(name.replace("_", " ") for name in untried.checks)
            click.echo(paragraph(f"{names}. {untried.reason}", head=f"  {'' if number else 'untried':8}"))


def show_connections(found: Sequence[ConnectionView], *, now: datetime) -> None:
    """Print connections as a table."""
    rows = [
        {
            "name": each.name,
            "connector": f"{each.connector} (fake)" if each.fake else each.connector,
            "status": _status(each, now=now),
            "last run": ago(each.last_run.started_at, now=now) if each.last_run else "never",
            "every": short_length(each.every_s) if each.every_s else "–",
            "reason": each.reason,
        }
        for each in found
    ]
    table(
        rows,
        columns=("name", "connector", "status", "last run", "every", "reason"),
        empty="no connections yet; see what can be connected: isthmus connect --list",
    )


def show_connection(each: ConnectionView, *, now: datetime) -> None:
    """Print all that is known of one connection."""
    lines = [
        ("connector", f"{each.connector}{' (fake)' if each.fake else ''}"),
        ("status", _status(each, now=now) + (f": {each.reason}" if each.reason else "")),
        ("runs", f"every {short_length(each.every_s)}" if each.every_s else "when asked to"),
        ("writes", _writes(each)),
        *((f"  {name}", value) for name, value in sorted(each.settings.items())),
        *((f"  {name}", MASK) for name in sorted(each.secrets)),
    ]
    if each.last_run:
        lines.append(("last run", _run_words(each.last_run, now=now)))
    click.echo(click.style(each.name, bold=True))
    width = max(len(head) for head, _ in lines)
    for head, text in lines:
        click.echo(f"{head:{width}}  {text}")
    click.echo()
    rows = [
        {
            "feed": feed.name,
            "becomes": ", ".join(feed.types),
            "written": ", ".join(feed.writes) or "–",
            "last pull": ago(feed.finished_at, now=now),
        }
        for feed in each.feeds
    ]
    table(rows, columns=("feed", "becomes", "written", "last pull"), empty="no feeds")


def _about(setting: SettingView) -> str:
    notes = ["secret"] if setting.secret else []
    if setting.default is not None:
        notes.append(f"default {setting.default}" if setting.default else "optional")
    return f"{setting.about} ({', '.join(notes)})" if notes else setting.about


def _status(each: ConnectionView, *, now: datetime) -> str:
    return badge(Status(each.status), now=now, retry_at=each.retry_at).word


def _writes(each: ConnectionView) -> str:
    if not each.push:
        return "nothing: it is only read"
    parts = ["changes of known records", f"missing {', '.join(each.create)}" if each.create else ""]
    parts.append("deletions" if each.delete else "")
    return ", ".join(part for part in parts if part)


def _run_view(run: Run) -> RunView:
    return RunView(
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


def _run_words(run: RunView, *, now: datetime) -> str:
    counts = f"{run.read:,} read, {run.created:,} new, {run.changed:,} changed, {run.rejected:,} rejected"
    return f"{run.kind} {ago(run.started_at, now=now)}: {run.status}; {counts}, {run.written:,} written there"


def _once(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
