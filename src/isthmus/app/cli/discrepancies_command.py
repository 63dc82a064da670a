"""`isthmus discrepancies`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from msgspec import Struct

from isthmus.app.cli.groups import Command
from isthmus.app.cli.output import say, table
from isthmus.app.cli.terminal import Terminal, at_terminal
from isthmus.app.cli.wording import value_text
from isthmus.app.discrepancy_views import AgreementView, DiscrepancyView, Wanted, counted, listed

if TYPE_CHECKING:
    from isthmus.app.program import Program
    from isthmus.store.database import Transaction


class Report(Struct, frozen=True, kw_only=True):
    """How far systems agree; `records` is there when it was asked for, and `more` tells that there are others."""

    data: list[AgreementView]
    compared: int
    differing: int
    accuracy: float | None
    records: list[DiscrepancyView] | None = None
    more: bool = False


@click.command("discrepancies", cls=Command)
@click.option("--type", "type_name", metavar="TYPE", help="Only this record type, such as sales.deal.")
@click.option("--field", help="Only this field, such as amount.")
@click.option("--between", "systems", nargs=2, metavar="ONE OTHER", help="Only between these two systems.")
@click.option("--records", "lists", is_flag=True, help="List which records differ.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="Records at most.")
@click.option("--all", "every", is_flag=True, help="Show fields on which all agree, too.")
@click.option("--show-personal", is_flag=True, help="Show personal values, which are masked otherwise.")
@at_terminal
def command(
    terminal: Terminal,
    type_name: str | None,
    field: str | None,
    systems: tuple[str, str] | None,
    limit: int,
    *,
    lists: bool,
    every: bool,
    show_personal: bool,
) -> None:
    """See how far systems agree, field by field.

    What two systems say of the same field of the same record now is compared; accuracy is the share that agrees.
    Sealed fields are compared where records are listed.

    Example: isthmus discrepancies --type sales.deal --between crm billing --records
    """
    one, other = systems or (None, None)

    async def ask(tx: Transaction, program: Program) -> Report:
        types = [program.store.schema[type_name].name] if type_name else [each.name for each in program.store.schema]
        wanted = Wanted(types=types, field=field, one=one, other=other)
        sums = await counted(tx, program.store, wanted)
        records, place = (await _records(tx, program, wanted, limit, personal=show_personal)) if lists else (None, None)
        return Report(
            data=sums.data,
            compared=sums.compared,
            differing=sums.differing,
            accuracy=sums.accuracy,
            records=records,
            more=place is not None,
        )

    found = terminal.transact("discrepancies", ask)
    terminal.answer(found, lambda: _show(found, every=every))


async def _records(
    tx: Transaction, program: Program, wanted: Wanted, limit: int, *, personal: bool
) -> tuple[list[DiscrepancyView], str | None]:
    found: list[DiscrepancyView] = []
    place: str | None = None
    while len(found) < limit:
        rows, place = await listed(tx, program.store, wanted, after=place, limit=limit, may=lambda _: personal)
        found += rows
        if place is None:
            break
    return found[:limit], place


def _show(found: Report, *, every: bool) -> None:
    rows = [
        {
            "type": each.type,
            "field": each.field,
            "between": f"{each.one}, {each.other}",
            "differ": each.differing,
            "of": each.compared,
            "accuracy": _share(each.accuracy),
        }
        for each in found.data
        if every or each.differing
    ]
    empty = "nothing differs" if found.compared else "no two systems speak of the same record"
    table(rows, columns=("type", "field", "between", "differ", "of", "accuracy"), empty=empty)
    if found.records is not None:
        click.echo()
        _show_records(found.records)
        if found.more:
            say("there are more; see them with --limit")
    if found.accuracy is not None:
        say(f"{_share(found.accuracy)} of {found.compared:,} compared fields agree")


def _show_records(found: list[DiscrepancyView]) -> None:
    rows = [
        {
            "record": each.record,
            "field": each.field,
            "one says": f"{value_text(each.one_value)} ({each.one})",
            "the other says": f"{value_text(each.other_value)} ({each.other})",
            "held": value_text(each.held),
        }
        for each in found
    ]
    table(rows, columns=("record", "field", "one says", "the other says", "held"), empty="no record differs")


def _share(accuracy: float) -> str:
    return f"{accuracy:.2%}"
