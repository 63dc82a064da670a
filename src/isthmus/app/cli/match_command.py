"""`isthmus match`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from isthmus.app.cli.common import operator
from isthmus.app.cli.groups import Group
from isthmus.app.cli.output import say, table
from isthmus.app.cli.terminal import Terminal, at_terminal
from isthmus.app.cli.wording import counted, id_of
from isthmus.app.match_views import (
    MERGE_PREFIX,
    CandidateView,
    LikelyView,
    MergeView,
    candidate_view,
    likely_view,
    merge_view,
)
from isthmus.kernel.errors import Invalid
from isthmus.matching.candidates import CANDIDATE_PREFIX, candidates
from isthmus.sync.merges import merge, merges, undo_merge

if TYPE_CHECKING:
    from uuid import UUID

    from isthmus.app.matching import Matched
    from isthmus.app.program import Program
    from isthmus.store.database import Transaction
    from isthmus.store.schema import Schema

_LIST = "List them: isthmus match ls"


class UnlikeRecords(Invalid):
    """Two records can be merged only when they are of one type."""

    code, title = "unlike-records", "The records are of two types"


class _Match(Group):
    default = "ls"


@click.group("match", cls=_Match)
def command() -> None:
    """See who is probably one, merge them, and take that back.

    What is sure is merged by the daily job; what is not waits here. Without a command the open pairs are listed.

    Example: isthmus match ls
    """


@command.command("ls")
@click.option("--type", "type_name", metavar="TYPE", help="Only this record type, such as sales.lead.")
@click.option("--status", type=click.Choice(["open", "merged", "refused", "all"]), default="open", show_default=True)
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="Pairs at most.")
@at_terminal
def list_pairs(terminal: Terminal, type_name: str | None, status: str, limit: int) -> None:
    """List pairs, with the chance that they are one and the reasons.

    Example: isthmus match ls --type sales.lead --json
    """
    wanted = None if status == "all" else status

    async def ask(tx: Transaction, program: Program) -> list[CandidateView]:
        types = [type_name] if type_name else [each.name for each in program.store.schema]
        found = await candidates(tx, types=types, status=wanted, limit=limit)
        return [candidate_view(each, program.store.schema) for each in found]

    found = terminal.transact("match", ask)
    terminal.answer(found, lambda: _show_pairs(found))


@command.command("explain")
@click.argument("record", metavar="RECORD")
@at_terminal
def explain(terminal: Terminal, record: str) -> None:
    """Tell which merges a record came of, with the evidence of each.

    Example: isthmus match explain lead_01KAX3V9Q2M4T8Z5N7P6R1S0WD
    """

    async def ask(tx: Transaction, program: Program) -> list[MergeView]:
        type_name, own = _record(program.store.schema, record)
        found = await merges(tx, record_id=own, types=[type_name], limit=10_000)
        return [merge_view(each, program.store.schema) for each in found]

    found = terminal.transact("match-explain", ask)
    terminal.answer(found, lambda: _show_merges(found))


@command.command("likely")
@click.argument("record", metavar="RECORD")
@at_terminal
def tell_likely(terminal: Terminal, record: str) -> None:
    """Tell who one person or lead probably is, by what the last run over all learned.

    Example: isthmus match likely lead_01KAX3V9Q2M4T8Z5N7P6R1S0WD
    """

    async def ask(tx: Transaction, program: Program) -> list[LikelyView]:
        from isthmus.app.matching_near import likely
        from isthmus.matching.near import Probes
        from isthmus.matching.probable.people import PEOPLE

        type_name, own = _record(program.store.schema, record)
        found = await likely(tx, program.store, Probes(PEOPLE), type_name, own)
        return [likely_view(each, program.store.schema[type_name].prefix) for each in found]

    found = terminal.transact("match-likely", ask)
    rows = [
        {"record": each.record, "chance": f"{each.chance:.2f}", "why": ", ".join(why.says for why in each.reasons[:3])}
        for each in found
    ]
    empty = "nobody is known who it could be"
    terminal.answer(found, lambda: table(rows, columns=("record", "chance", "why"), empty=empty))


@command.command("merge")
@click.argument("kept", metavar="KEPT")
@click.argument("merged", metavar="MERGED")
@at_terminal
def merge_two(terminal: Terminal, kept: str, merged: str) -> None:
    """Merge two records; the first keeps its id.

    Example: isthmus match merge lead_01KAX3V9Q2M4T8Z5N7P6R1S0WD lead_01KAX3V9Q2M4T8Z5N7P6R1S0WE
    """

    async def work(program: Program) -> MergeView:
        schema = program.store.schema
        (type_name, winner), (other, loser) = _record(schema, kept), _record(schema, merged)
        if type_name != other:
            raise UnlikeRecords(f"One is a {type_name}, the other a {other}.", fix="Name two records of one type.")
        scope = operator(program, "match-merge")
        done = await merge(program.store, scope, type_name, winner=winner, loser=loser)
        async with program.database.transaction(scope) as tx:
            found = await merges(tx, record_id=winner)
        return merge_view(next(each for each in found if each.id == done), schema)

    found = terminal.run(work)
    terminal.answer(found, lambda: click.echo(f"{found.merged} is part of {found.kept} now: {found.id}"))


@command.command("unmerge")
@click.argument("merge_id", metavar="MERGE")
@at_terminal
def unmerge(terminal: Terminal, merge_id: str) -> None:
    """Take a merge apart: each record gets back what its systems said of it.

    Example: isthmus match unmerge merge_01KAX3V9Q2M4T8Z5N7P6R1S0WD
    """
    own = id_of(MERGE_PREFIX, merge_id, fix="List them: isthmus match explain RECORD")

    async def work(program: Program) -> MergeView:
        done = await undo_merge(program.store, operator(program, "match-unmerge"), own)
        return merge_view(done, program.store.schema)

    found = terminal.run(work)
    terminal.answer(found, lambda: click.echo(f"{found.merged} stands by itself again"))


@command.command("accept")
@click.argument("candidate_id", metavar="ID")
@at_terminal
def accept_one(terminal: Terminal, candidate_id: str) -> None:
    """Merge a pair; the older record keeps its id.

    Example: isthmus match accept mtch_01KAX3V9Q2M4T8Z5N7P6R1S0WD
    """
    _decide(terminal, candidate_id, merged=True)


@command.command("refuse")
@click.argument("candidate_id", metavar="ID")
@at_terminal
def refuse_one(terminal: Terminal, candidate_id: str) -> None:
    """Say that a pair is two; it is not asked again.

    Example: isthmus match refuse mtch_01KAX3V9Q2M4T8Z5N7P6R1S0WD
    """
    _decide(terminal, candidate_id, merged=False)


@command.command("run")
@at_terminal
def run_now(terminal: Terminal) -> None:
    """Look for people who are probably one, now.

    Example: isthmus match run
    """

    async def work(program: Program) -> list[Matched]:
        from isthmus.app.matching import match_all

        def tell(done: int, total: int, text: str) -> None:
            say(f"{text} ({done + 1} of {total})")

        return await match_all(program.store, operator(program, "match-run"), tell=tell)

    found = terminal.run(work)
    terminal.answer(found, lambda: _show_run(found))


def _decide(terminal: Terminal, candidate_id: str, *, merged: bool) -> None:
    own = id_of(CANDIDATE_PREFIX, candidate_id, fix=_LIST)

    async def work(tx: Transaction, program: Program) -> CandidateView:
        from isthmus.app.matching import accept, refuse

        done = await accept(tx, program.store, own) if merged else await refuse(tx, own)
        return candidate_view(done, program.store.schema)

    found = terminal.transact("match-accept" if merged else "match-refuse", work)
    terminal.answer(found, lambda: click.echo(f"{found.one} and {found.other}: {found.status}"))


def _record(schema: Schema, text: str) -> tuple[str, UUID]:
    """Return the type and the id that an outside id names."""
    prefix = text.rpartition("_")[0]
    for each in schema:
        if each.prefix == prefix:
            return each.name, id_of(prefix, text, fix="Copy the id of a record, such as lead_…")
    known = ", ".join(sorted(each.prefix for each in schema))
    raise Invalid(f"{text!r} is no id of a record.", fix=f"Ids begin with one of: {known}.")


def _show_pairs(found: list[CandidateView]) -> None:
    rows = [
        {
            "id": each.id,
            "one": each.one,
            "other": each.other,
            "chance": f"{each.chance:.2f}",
            "why": ", ".join(why.says for why in each.reasons[:3]),
        }
        for each in found
    ]
    table(rows, columns=("id", "one", "other", "chance", "why"), empty="nobody waits; look anew: isthmus match run")


def _show_merges(found: list[MergeView]) -> None:
    rows = [
        {
            "id": each.id,
            "kept": each.kept,
            "merged": each.merged,
            "evidence": each.evidence,
            "by": each.by,
            "undone": each.undone_by or "",
        }
        for each in found
    ]
    columns = ("id", "kept", "merged", "evidence", "by", "undone")
    table(rows, columns=columns, empty="it was never merged with another")


def _show_run(found: list[Matched]) -> None:
    for each in found:
        looked = counted(each.records, "record")
        click.echo(f"{each.type}: {looked}, {each.merged:,} merged, {each.proposed:,} new for you to decide")
