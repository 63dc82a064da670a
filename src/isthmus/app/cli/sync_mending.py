"""`isthmus sync plan`, `retry` and `rejected`: what would be written, and what could not be stored."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import click
from msgspec import Struct

from isthmus.app.cli.common import operator
from isthmus.app.cli.groups import Command
from isthmus.app.cli.output import say, table
from isthmus.app.cli.terminal import Terminal, at_terminal
from isthmus.app.cli.wording import ago, counted, moment, value_text
from isthmus.app.clock import SystemClock
from isthmus.app.sync_views import WriteView, write_view
from isthmus.app.syncing import sync_engine
from isthmus.store.rejected import Kept, open_rejects
from isthmus.sync.connections import ConnectionMissing
from isthmus.sync.mending import Cause, Retried, rejects_by_cause, retry_rejects
from isthmus.sync.running import planned
from isthmus.sync.running import retry as retry_connection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isthmus.app.program import Program
    from isthmus.store.database import Transaction

_SHOWN_MAX = 1_000


class RowView(Struct, frozen=True, kw_only=True):
    """A row that was rejected, with the reason."""

    id: int
    system: str
    type: str
    external_id: str
    code: str
    reason: str
    at: datetime


@click.command("plan", cls=Command)
@click.argument("name")
@click.option(
    "--limit", type=click.IntRange(1, _SHOWN_MAX), default=_SHOWN_MAX, show_default=True, help="Writes at most."
)
@click.option("--show-personal", is_flag=True, help="Show personal values, which are masked otherwise.")
@at_terminal
def plan(terminal: Terminal, name: str, limit: int, *, show_personal: bool) -> None:
    """Show what a push would write, field by field.

    Nothing is written.

    Example: isthmus sync plan crm
    """

    async def ask(program: Program) -> list[WriteView]:
        found = await planned(sync_engine(program), workspace=program.workspace, connection=name, limit=limit)
        return [write_view(each, program.store.schema, may=lambda _: show_personal) for each in found]

    found = terminal.run(ask)
    terminal.answer(found, lambda: _show_plan(name, found))


@click.command("retry", cls=Command)
@click.argument("name")
@click.option("--code", help="Only what was rejected with this code.")
@at_terminal
def retry(terminal: Terminal, name: str, code: str | None) -> None:
    """Try again what was rejected from a system.

    Rows are mapped anew with the connector as it is now.

    Example: isthmus sync retry crm --code unknown-link
    """

    async def work(program: Program) -> Retried:
        try:
            return await retry_connection(sync_engine(program), workspace=program.workspace, connection=name, code=code)
        except ConnectionMissing:
            scope = operator(program, "sync-retry")
            async with program.database.transaction(scope) as tx:
                if not await rejects_by_cause(tx, system=name):
                    raise
            done, _ = await retry_rejects(program.store, scope, system=name, code=code)
            return done

    done = terminal.run(work)
    terminal.answer(done, lambda: click.echo(f"{counted(done.stored, 'row')} stored now, {done.left:,} still rejected"))
    if done.left and not terminal.as_json:
        say(f"why: isthmus sync rejected --system {name}")


@click.command("rejected", cls=Command)
@click.option("--system", help="Only what came from this system.")
@click.option("--code", help="Only what was rejected with this code.")
@click.option("--rows", "listed", is_flag=True, help="List single rows instead of causes.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="Rows at most.")
@at_terminal
def rejected(terminal: Terminal, system: str | None, code: str | None, limit: int, *, listed: bool) -> None:
    """Show what could not be stored, by cause.

    It is kept until it is mended and tried again.

    Example: isthmus sync rejected --system crm --rows
    """

    async def causes(tx: Transaction, _: Program) -> list[Cause]:
        return [each for each in await rejects_by_cause(tx, system=system) if code in (None, each.code)]

    if listed:
        kept = [
            _row_view(each)
            for each in terminal.transact(
                "sync-rejected",
                lambda tx, program: open_rejects(tx, program.vault, system=system, code=code, limit=limit),
            )
        ]
        terminal.answer(kept, lambda: _show_rows(kept))
        return
    found = terminal.transact("sync-rejected", causes)
    terminal.answer(found, lambda: _show_causes(found))


def _show_plan(name: str, found: Sequence[WriteView]) -> None:
    for each in found:
        there = each.external_id or "new"
        click.echo(f"{click.style(each.kind, bold=True)}  {each.feed}  {there}  ({each.record})")
        width = max((len(field.field) for field in each.fields), default=0)
        for field in each.fields:
            click.echo(f"  {field.field:{width}}  {value_text(field.there)} → {value_text(field.here)}")
        for waits in each.waits:
            why = "a person has to confirm the deletion" if waits.startswith("~") else f"{waits} is not known there yet"
            click.echo(f"  waits: {why}")
    if not found:
        say(f"nothing to write: {name} holds what is held here")
        return
    kinds = ("create", "update", "delete")
    counts = {kind: sum(each.kind == kind for each in found) for kind in kinds}
    said = ", ".join(f"{count:,} to {kind}" for kind, count in counts.items() if count)
    say(f"{counted(len(found), 'write')} planned ({said}), nothing written; write: isthmus sync run {name} --only push")


def _row_view(each: Kept) -> RowView:
    return RowView(
        id=each.id,
        system=each.system,
        type=each.type,
        external_id=each.external_id,
        code=each.code,
        reason=each.reason,
        at=each.at,
    )


def _show_rows(found: Sequence[RowView]) -> None:
    rows = [
        {
            "system": each.system,
            "type": each.type,
            "external id": each.external_id,
            "since": moment(each.at),
            "code": each.code,
            "reason": each.reason,
        }
        for each in found
    ]
    table(rows, columns=("system", "type", "external id", "since", "code", "reason"), empty="nothing is rejected")


def _show_causes(found: Sequence[Cause]) -> None:
    now = SystemClock().now()
    rows = [
        {
            "system": each.system,
            "type": each.type,
            "code": each.code,
            "rows": each.rows,
            "oldest": ago(each.oldest_at, now=now),
            "for example": each.example,
        }
        for each in found
    ]
    table(rows, columns=("system", "type", "code", "rows", "oldest", "for example"), empty="nothing is rejected")
    if found:
        say("single rows: add --rows; try again: isthmus sync retry SYSTEM")
