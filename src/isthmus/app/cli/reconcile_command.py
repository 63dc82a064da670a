"""`isthmus reconcile`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from msgspec import to_builtins

from isthmus.app.cli.common import operator
from isthmus.app.cli.groups import Group
from isthmus.app.cli.output import say, table
from isthmus.app.cli.terminal import Terminal, at_terminal
from isthmus.app.cli.wording import counted, id_of, id_text, value_text
from isthmus.app.reconciliation_views import DifferenceView, MoneyView, difference_view, money_view
from isthmus.app.syncing import opened_engine
from isthmus.sync.reconciling.found import (
    AGREEING_PROMISED,
    DIFFERENCE_PREFIX,
    Decision,
    DifferenceStatus,
    Which,
    accuracy,
    decide,
    difference_of,
    differences,
    reopen,
)
from isthmus.sync.reconciling.pairs import paired
from isthmus.sync.reconciling.running import reconcile, repair

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isthmus.app.program import Program
    from isthmus.store.database import Transaction
    from isthmus.sync.reconciling.systems import Reconciled

_LIST = "List them: isthmus reconcile ls"
_COLUMNS = ("id", "connection", "kind", "type", "external_id", "field", "there", "here", "stake", "status")
_reason_option = click.option("--reason", required=True, help="Why the difference may stay, in a sentence.")


class _Reconcile(Group):
    default = "ls"


@click.group("reconcile", cls=_Reconcile)
def command() -> None:
    """Compare what systems hold now with what is held of them here.

    Everything of a system is read and compared by digests; what differs is kept until it is mended, accepted or
    ignored. Without a command the open differences are listed.

    Example: isthmus reconcile run crm
    """


@command.command("run")
@click.argument("name")
@at_terminal
def run(terminal: Terminal, name: str) -> None:
    """Reconcile a connection now; nothing is changed on either side.

    Example: isthmus reconcile run crm
    """

    async def work(program: Program) -> tuple[list[Reconciled], float | None]:
        async with opened_engine(program) as engine:
            results = await reconcile(engine, workspace=program.workspace, connection=name)
        return results, await _accuracy(program)

    _answer(terminal, *terminal.run(work))


@command.command("repair")
@click.argument("name")
@click.option("--difference", "named", multiple=True, metavar="ID", help="Only this one; may be given several times.")
@click.option("--confirmed", is_flag=True, help="A person has agreed to many changes at once.")
@at_terminal
def mend(terminal: Terminal, name: str, named: tuple[str, ...], *, confirmed: bool) -> None:
    """Read a connection again and compare its ids, so that what is held here becomes what the system says.

    Nothing is written there. Whether it helped is seen by reconciling once more, which is done at the end.

    Example: isthmus reconcile repair crm
    """
    chosen = [id_of(DIFFERENCE_PREFIX, each, fix=_LIST) for each in named]

    async def work(program: Program) -> tuple[list[Reconciled], float | None]:
        scope = operator(program, "reconcile")
        wanted: dict[str, frozenset[str]] | None = None
        if chosen:
            async with program.database.transaction(scope) as tx:
                found = [await difference_of(tx, program.store, each) for each in chosen]
            names = {each.type for each in found}
            wanted = {kind: frozenset(each.external_id for each in found if each.type == kind) for kind in names}
        async with opened_engine(program) as engine:
            ended, results = await repair(
                engine,
                workspace=program.workspace,
                connection=name,
                actor=scope.actor,
                wanted=wanted,
                confirmed=confirmed,
            )
        say(f"{name}: {ended.status}{f', {ended.error}' if ended.error else ''}")
        return results, await _accuracy(program)

    _answer(terminal, *terminal.run(work))


@command.command("ls")
@click.option(
    "--status",
    type=click.Choice(["open", "accepted", "ignored", "repaired", "gone"]),
    default="open",
    show_default=True,
    help="Only those in this state.",
)
@click.option("--limit", type=click.IntRange(1, 500), default=100, show_default=True, help="Differences at most.")
@click.option("--show-personal", is_flag=True, help="Show personal values, which are masked otherwise.")
@at_terminal
def ls(terminal: Terminal, status: DifferenceStatus, limit: int, *, show_personal: bool) -> None:
    """List differences, the oldest first, with both values and what would mend them.

    Example: isthmus reconcile ls --status ignored
    """

    async def ask(tx: Transaction, program: Program) -> tuple[list[DifferenceView], bool]:
        found = await differences(tx, program.store, which=Which(status=status), limit=limit)
        rows = [difference_view(each, program.store.schema, may=lambda _: show_personal) for each in found]
        return rows, await accuracy(tx) is not None

    rows, is_compared = terminal.transact("reconcile", ask)
    empty = "nothing differs" if status == "open" else f"none is {status}"
    if not is_compared:
        empty = "nothing was compared yet; compare a connection: isthmus reconcile run NAME"
    terminal.answer(rows, lambda: table([_cells(row) for row in rows], columns=_COLUMNS, empty=empty))


@command.command("accept")
@click.argument("difference")
@_reason_option
@at_terminal
def accept(terminal: Terminal, difference: str, reason: str) -> None:
    """Accept a difference as right while both values stay: it counts as agreeing.

    Example: isthmus reconcile accept diff_0123 --reason "The branch has moved; the CRM follows in May."
    """
    _decide(terminal, difference, "accepted", reason)


@command.command("ignore")
@click.argument("difference")
@_reason_option
@at_terminal
def ignore(terminal: Terminal, difference: str, reason: str) -> None:
    """Ignore a difference while both values stay: it is not listed, and still counts as differing.

    Example: isthmus reconcile ignore diff_0123 --reason "A test record."
    """
    _decide(terminal, difference, "ignored", reason)


@command.command("money")
@click.argument("one")
@click.argument("other")
@click.option("--type", "type_name", required=True, metavar="TYPE", help="The record type, such as finance.invoice.")
@at_terminal
def money(terminal: Terminal, one: str, other: str, type_name: str) -> None:
    """Compare the money of two systems: sums by currency and month, and the records that differ.

    What each said last is compared, to the cent; nothing is read from them.

    Example: isthmus reconcile money erp billing --type finance.invoice
    """

    async def ask(tx: Transaction, program: Program) -> MoneyView:
        found = await paired(tx, program.store.schema[type_name], one=one, other=other)
        return money_view(found, program.store.schema)

    found = terminal.transact("reconcile", ask)
    terminal.answer(found, lambda: _show_money(found))


def _show_money(found: MoneyView) -> None:
    sums = [{**to_builtins(each), found.one: each.one, found.other: each.other} for each in found.sums]
    table(sums, columns=("field", "currency", "month", found.one, found.other, "agree"), empty="no money")
    differing = [each for each in found.differences if each.kind != "aggregate"]
    if differing:
        columns = ("kind", "key", "field", "one", "other", "stake")
        table([to_builtins(each) for each in differing], columns=columns, empty="")
    apart = sum(not each.agree for each in found.sums)
    say(f"{counted(apart, 'sum')} of {len(found.sums):,} differ, {counted(len(differing), 'difference')} of records")


@command.command("reopen")
@click.argument("difference")
@at_terminal
def take_back(terminal: Terminal, difference: str) -> None:
    """Take back that a difference was accepted or ignored.

    Example: isthmus reconcile reopen diff_0123
    """
    own = id_of(DIFFERENCE_PREFIX, difference, fix=_LIST)

    async def act(tx: Transaction, _: Program) -> None:
        await reopen(tx, [own])

    terminal.transact("reconcile", act)
    terminal.answer({"id": id_text(DIFFERENCE_PREFIX, own), "status": "open"}, lambda: say("open"))


def _decide(terminal: Terminal, difference: str, decision: Decision, reason: str) -> None:
    own = id_of(DIFFERENCE_PREFIX, difference, fix=_LIST)

    async def act(tx: Transaction, _: Program) -> None:
        await decide(tx, [own], decision, reason=reason)

    terminal.transact("reconcile", act)
    terminal.answer({"id": id_text(DIFFERENCE_PREFIX, own), "status": decision}, lambda: say(f"{decision}"))


async def _accuracy(program: Program) -> float | None:
    async with program.database.transaction(operator(program, "reconcile")) as tx:
        return await accuracy(tx)


def _answer(terminal: Terminal, results: Sequence[Reconciled], exact: float | None) -> None:
    rows: list[dict[str, object]] = [
        {
            "type": each.type,
            "there": each.there,
            "here": each.here,
            "compared": each.compared,
            "differing": each.differing,
            "found": len(each.findings),
            "unvisited": each.unvisited,
        }
        for each in results
    ]
    columns = ("type", "there", "here", "compared", "differing", "found")

    def show() -> None:
        table(rows, columns=columns, empty="no feed of this connection can tell all its records")
        if exact is not None:
            below = "" if exact >= AGREEING_PROMISED else f", below the {AGREEING_PROMISED:.2%} that are promised"
            say(f"{exact:.4%} of all fields agree, all connections counted{below}")
        if found := sum(len(each.findings) for each in results):
            say(f"{counted(found, 'difference')}; {_LIST[0].lower()}{_LIST[1:]}")

    terminal.answer({"types": rows, "accuracy": exact}, show)


def _cells(row: DifferenceView) -> dict[str, object]:
    there, here = ("" if row.field is None else value_text(value) for value in (row.there, row.here))
    cells: dict[str, object] = {name: getattr(row, name) for name in _COLUMNS}
    return cells | {"there": there, "here": here}
