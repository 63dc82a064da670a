"""Connectors and connections as they are shown, and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from isthmus.app.cli.output import say, table
from isthmus.app.cli.wording import ago, paragraph, short_length
from isthmus.app.veiling import MASK
from isthmus.console.status import badge
from isthmus.kernel.status import Status

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from isthmus.app.connection_views import ConnectionView, ConnectorView, LastRunView, SettingView


_HEAD = 10


def show_connectors(found: Sequence[ConnectorView]) -> None:
    """Print connectors, each with what it is proven against."""
    for each in found:
        _show_title(each)
        click.echo(paragraph(each.proven, head=f"  {'proven':{_HEAD}}"))
    say("what one reads, writes and takes: isthmus connect --list NAME")


def show_connector(each: ConnectorView) -> None:
    """Print all that is known of one connector."""
    _show_title(each)
    for head, text in (
        ("proven", each.proven),
        ("reads", ", ".join(each.reads)),
        ("writes", ", ".join(each.writes) or "nothing"),
    ):
        click.echo(paragraph(text, head=f"  {head:{_HEAD}}"))
    width = max((len(setting.name) for setting in each.settings), default=0)
    for number, setting in enumerate(each.settings):
        click.echo(paragraph(_about(setting), head=f"  {'' if number else 'settings':{_HEAD}}{setting.name:{width}}  "))
    for number, untried in enumerate(each.untried):
        names = ", ".join(name.replace("_", " ") for name in untried.checks)
        click.echo(paragraph(f"{names}. {untried.reason}", head=f"  {'' if number else 'untried':{_HEAD}}"))


def _show_title(each: ConnectorView) -> None:
    label = "  [fake: for demonstrations and tests]" if each.fake else ""
    click.echo(f"{click.style(each.name, bold=True)}  {each.title}{label}")
    click.echo(paragraph(each.about, head="  "))


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


def _run_words(run: LastRunView, *, now: datetime) -> str:
    counts = f"{run.read:,} read, {run.created:,} new, {run.changed:,} changed, {run.rejected:,} rejected"
    return f"{run.kind} {ago(run.started_at, now=now)}: {run.status}; {counts}, {run.written:,} written there"
