"""Cases as they are shown, and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from isthmus.app.cli.output import say, table
from isthmus.app.cli.wording import moment, value_text
from isthmus.console import words
from isthmus.store.fold import GONE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isthmus.app.case_views import CaseSide, CaseView, ConflictRuleView

_TEXT_MAX = 40
_CHOICES = {"kept": "the held value was kept", "claimed": "the claimed value was taken", "value": "another was given"}


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


def show_rules(found: Sequence[ConflictRuleView]) -> None:
    """Print what was learned."""
    rows = [
        {
            "id": each.id,
            "records": words.kind(each.type),
            "field": each.field,
            "wins": each.winner,
            "over": each.loser,
            "by": each.created_by,
            "since": moment(each.created_at),
            "waiting": each.waiting,
            "note": _cut(each.note),
        }
        for each in found
    ]
    table(
        rows,
        columns=("id", "records", "field", "wins", "over", "by", "since", "waiting", "note"),
        empty="nothing was learned; teach by: isthmus conflicts resolve ID --take --learn",
    )


def show_decision(each: CaseView, *, typed: str | None = None) -> None:
    """Print what a decision or its undoing did; `typed` is a value that a person gave."""
    what = f"{words.kind(each.type)} {each.title}, {_field(each)}"
    if each.status == "open":
        click.echo(f"{each.id} is open again: {what}")
        return
    value = _value(each, each.claimed if each.choice == "claimed" else each.kept)
    click.echo(f"{each.id} is resolved: {what} is {value if typed is None else typed}")


def _at(side: CaseSide) -> str:
    return f"{moment(side.at)} UTC"


def _stake(each: CaseView) -> str:
    return value_text({**each.stake}) if each.stake else "–"


def _field(each: CaseView) -> str:
    return "deleted or kept" if each.field == GONE else each.field


def _value(each: CaseView, side: CaseSide) -> str:
    if each.field == GONE:
        return "deleted" if side.value else "kept"
    return value_text(side.value)


def _cut(text: str) -> str:
    return text if len(text) <= _TEXT_MAX else f"{text[: _TEXT_MAX - 1]}…"
