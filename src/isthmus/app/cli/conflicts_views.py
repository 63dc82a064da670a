"""Cases as they are shown, and as JSON."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, LiteralString

import click
from msgspec import Struct

from isthmus.app.cli.output import say, table
from isthmus.app.cli.wording import id_text, moment, value_text, veiled
from isthmus.console import words
from isthmus.console.overview.titles import titles
from isthmus.kernel.hlc import moment_of
from isthmus.kernel.marks import Json
from isthmus.store.fold import GONE, Place

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isthmus.app.program import Program
    from isthmus.kernel.marks import RecordType
    from isthmus.store.database import Transaction
    from isthmus.sync.conflicts import Case

CASE = "case"
_TEXT_MAX = 40
_CHOICES = {"kept": "the held value was kept", "claimed": "the claimed value was taken", "value": "another was given"}
_PLACES: LiteralString = """
select id, kept_hlc, kept_system, kept_external_id, claimed_hlc, claimed_system, claimed_external_id
from inbox_case where workspace = current_workspace() and id = any(%s)
"""


class Side(Struct, frozen=True, kw_only=True):
    """One of the two values: which system says it, of which record there, and since when."""

    system: str
    external_id: str
    value: Json
    at: datetime


class CaseView(Struct, frozen=True, kw_only=True):
    """A case; `last_write_wins` tells which side that rule would hold, were the field not critical."""

    id: str
    type: str
    record: str
    title: str
    field: str
    status: str
    kept: Side
    claimed: Side
    last_write_wins: str
    stake: dict[str, str] | None
    opened_at: datetime
    age_s: float
    settled_at: datetime | None
    settled_by: str | None
    choice: str | None
    note: str | None


async def case_views(tx: Transaction, program: Program, found: Sequence[Case], *, personal: bool) -> list[CaseView]:
    """Return cases with their records' titles; personal values are masked unless they are to be shown."""
    schema = program.store.schema
    records = [(each.type, each.record_id) for each in found]
    named = await titles(tx, program.vault, schema, records, may=lambda _: personal)
    cursor = await tx.connection.execute(_PLACES, ([each.id for each in found],))
    places: dict[object, tuple[Place, Place]] = {
        row[0]: ((row[1], row[2], row[3]), (row[4], row[5], row[6])) for row in await cursor.fetchall()
    }
    return [
        _view(each, schema[each.type], title=named[each.record_id], places=places[each.id], personal=personal)
        for each in found
    ]


def _view(case: Case, record_type: RecordType, *, title: str, places: tuple[Place, Place], personal: bool) -> CaseView:
    kept, claimed = places

    def side(place: Place, value: Json) -> Side:
        shown = veiled(record_type, case.field, value, personal=personal)
        return Side(system=place[1], external_id=place[2], value=shown, at=moment_of(place[0]))

    return CaseView(
        id=id_text(CASE, case.id),
        type=case.type,
        record=id_text(record_type.prefix, case.record_id),
        title=title,
        field=case.field,
        status=case.status,
        kept=side(kept, case.kept),
        claimed=side(claimed, case.claimed),
        last_write_wins="claimed" if claimed > kept else "kept",
        stake=case.stake,
        opened_at=case.opened_at,
        age_s=case.age_s,
        settled_at=case.settled_at,
        settled_by=case.settled_by,
        choice=case.choice,
        note=case.note,
    )


def show_cases(found: Sequence[CaseView], *, empty: str) -> None:
    """Print cases as a table, the most at stake first."""
    rows = [
        {
            "id": each.id,
            "record": f"{words.kind(each.type)} {_cut(each.title)}",
            "field": _field(each),
            "kept": f"{_cut(_value(each, each.kept))} ({each.kept.system})",
            "claimed": f"{_cut(_value(each, each.claimed))} ({each.claimed.system})",
            "at stake": _stake(each),
            "age": words.duration(each.age_s),
            "status": each.status if each.choice is None else f"{each.status}: {each.choice}",
        }
        for each in found
    ]
    columns = ("id", "record", "field", "kept", "claimed", "at stake", "age")
    closed = any(each.status != "open" for each in found)
    table(rows, columns=(*columns, "status") if closed else columns, empty=empty)


def show_case(each: CaseView) -> None:
    """Print all that is known of one case."""
    lines = [
        ("case", each.id),
        ("status", f"{each.status}, {'since' if each.status == 'open' else 'after'} {words.duration(each.age_s)}"),
        ("record", f"{words.kind(each.type)} {each.title}  {each.record}"),
        ("field", _field(each)),
        ("at stake", _stake(each)),
    ]
    if each.settled_at:
        lines.append(
            ("settled", f"{moment(each.settled_at)} by {each.settled_by}, {each.choice or 'without a person'}")
        )
    if each.note:
        lines.append(("note", each.note))
    for head, text in lines:
        click.echo(f"{click.style(f'{head:8}', bold=True)}  {text}")
    click.echo()
    rows = [
        {"": name, "value": _value(each, side), "said by": side.system, "there": side.external_id, "at": _at(side)}
        for name, side in (("kept", each.kept), ("claimed", each.claimed))
    ]
    table(rows, columns=("", "value", "said by", "there", "at"), empty="")
    winner = each.kept if each.last_write_wins == "kept" else each.claimed
    click.echo()
    click.echo(f"last write wins would hold {_value(each, winner)}: {winner.system} spoke last")
    if each.status == "open":
        value = "" if each.field == GONE else " | --value V"
        say(f"decide: isthmus conflicts resolve {each.id} --keep | --take{value}")
    elif each.status == "resolved":
        say(f"take the decision back: isthmus conflicts undo {each.id}")


def show_decision(each: CaseView, *, typed: str | None = None) -> None:
    """Print what a decision or its undoing did; `typed` is a value that a person gave."""
    what = f"{words.kind(each.type)} {each.title}, {_field(each)}"
    if each.status == "open":
        click.echo(f"{each.id} is open again: {what}")
        return
    value = _value(each, each.claimed if each.choice == "claimed" else each.kept)
    click.echo(f"{each.id} is resolved: {what} is {value if typed is None else typed}")


def _at(side: Side) -> str:
    return f"{moment(side.at)} UTC"


def _stake(each: CaseView) -> str:
    return value_text({**each.stake}) if each.stake else "–"


def _field(each: CaseView) -> str:
    return "deleted or kept" if each.field == GONE else each.field


def _value(each: CaseView, side: Side) -> str:
    if each.field == GONE:
        return "deleted" if side.value else "kept"
    return value_text(side.value)


def _cut(text: str) -> str:
    return text if len(text) <= _TEXT_MAX else f"{text[: _TEXT_MAX - 1]}…"
