"""`isthmus sync runs` and `outcomes`: what connections did, and what became of single records."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from isthmus.app.cli.groups import Command
from isthmus.app.cli.output import table
from isthmus.app.cli.terminal import Terminal, at_terminal
from isthmus.app.cli.wording import id_of, moment
from isthmus.app.sync_views import RUN_PREFIX, OutcomeView, SyncRunView, outcome_view, run_view
from isthmus.kernel.ids import uuid_of
from isthmus.kernel.status import Status
from isthmus.sync.outcomes import Search, outcomes
from isthmus.sync.runs import as_of, runs

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from isthmus.app.program import Program
    from isthmus.store.database import Transaction
    from isthmus.store.schema import Schema

_RUNS = "List them: isthmus sync runs"
_limit_option = click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="At most.")


@click.command("runs", cls=Command)
@click.option("--connection", help="Only of this one.")
@click.option(
    "--status", type=click.Choice(["running", "retrying", "healthy", "degraded", "needs attention"]), help="Only these."
)
@_limit_option
@at_terminal
def list_runs(terminal: Terminal, connection: str | None, status: str | None, limit: int) -> None:
    """List runs, newest first; --json has the counts of each feed.

    Example: isthmus sync runs --connection crm --status degraded
    """

    async def ask(tx: Transaction, _: Program) -> list[SyncRunView]:
        found = await runs(tx, about=connection, status=None if status is None else Status(status), limit=limit)
        return [run_view(as_of(each, tx.scope.now)) for each in found]

    found = terminal.transact("sync-runs", ask)
    terminal.answer(found, lambda: _show_runs(found))


@click.command("outcomes", cls=Command)
@click.option("--connection", help="Only of this one.")
@click.option("--run", "run_id", metavar="ID", help="Only of this run.")
@click.option("--record", metavar="ID", help="Only of this record, such as lead_….")
@click.option("--external-id", metavar="ID", help="Only of the record with this id there.")
@click.option(
    "--outcome", type=click.Choice(["written", "moved", "refused", "failed", "rejected"]), help="Only this one."
)
@_limit_option
@at_terminal
def list_outcomes(  # noqa: PLR0913, RUF100 - one parameter for each option.
    terminal: Terminal,
    connection: str | None,
    run_id: str | None,
    record: str | None,
    external_id: str | None,
    outcome: str | None,
    limit: int,
) -> None:
    """Search what became of single records, across runs.

    Writes to systems with their answers, and rows that could not be stored here.

    Example: isthmus sync outcomes --outcome refused
    """
    run = None if run_id is None else id_of(RUN_PREFIX, run_id, fix=_RUNS)

    async def ask(tx: Transaction, program: Program) -> list[OutcomeView]:
        schema = program.store.schema
        search = Search(
            types=[each.name for each in schema],
            system=connection,
            run_id=run,
            record_id=None if record is None else _record(schema, record),
            external_id=external_id,
            outcome=outcome,
        )
        return [outcome_view(each, schema) for each in await outcomes(tx, search, limit=limit)]

    found = terminal.transact("sync-outcomes", ask)
    terminal.answer(found, lambda: _show_outcomes(found))


def _record(schema: Schema, text: str) -> UUID:
    """Return the id of a record of any type; raises InvalidId."""
    prefix = text.rpartition("_")[0]
    return uuid_of(prefix if any(each.prefix == prefix for each in schema) else "record", text)


def _show_runs(found: Sequence[SyncRunView]) -> None:
    rows = [
        {
            "id": each.id,
            "connection": each.connection,
            "kind": each.kind,
            "status": each.status,
            "begun": moment(each.started_at),
            "read": each.read,
            "new": each.created,
            "changed": each.changed,
            "rejected": each.rejected,
            "written there": each.written,
            "why": each.error or "",
        }
        for each in found
    ]
    columns = ("id", "connection", "kind", "status", "begun", "read", "new", "changed", "rejected", "written there")
    table(rows, columns=(*columns, "why"), empty="nothing ran yet; run: isthmus sync run --all")


def _show_outcomes(found: Sequence[OutcomeView]) -> None:
    rows = [
        {
            "at": moment(each.at),
            "connection": each.connection,
            "record": each.record or each.type,
            "there": each.external_id or "",
            "what": each.kind,
            "outcome": each.outcome,
            "why": each.reason,
        }
        for each in found
    ]
    table(rows, columns=("at", "connection", "record", "there", "what", "outcome", "why"), empty="nothing fits")
