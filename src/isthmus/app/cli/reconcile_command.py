"""`isthmus reconcile`."""

from __future__ import annotations

from typing import TYPE_CHECKING, ParamSpec

import click
from msgspec import to_builtins

from isthmus.app.cli.common import operator
from isthmus.app.cli.groups import Group
from isthmus.app.cli.output import say, table
from isthmus.app.cli.terminal import Terminal, at_terminal
from isthmus.app.cli.wording import counted, id_of, id_text, value_text
from isthmus.app.reconciliation_views import DifferenceView, MoneyView, difference_view, money_view
from isthmus.app.syncing import opened_engine
from isthmus.sync.connections import connection_of
from isthmus.sync.reconciling.comparing import DifferenceKind
from isthmus.sync.reconciling.found import (
    AGREEING_PROMISED,
    DIFFERENCE_PREFIX,
    PAGE_ROWS_MAX,
    Decision,
    DifferenceStatus,
    Exactness,
    Which,
    decide,
    difference_of,
    differences,
    exactness,
    reopen,
)
from isthmus.sync.reconciling.pairs import paired
from isthmus.sync.reconciling.probing import PROBED_MAX
from isthmus.sync.reconciling.running import probe, reconcile, repair

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from isthmus.app.program import Program
    from isthmus.store.database import Transaction
    from isthmus.sync.reconciling.systems import Reconciled

P = ParamSpec("P")
_LIST = "List them: isthmus reconcile ls"
_COLUMNS = ("id", "connection", "kind", "type", "external_id", "field", "there", "here", "stake", "status")
_reason_option = click.option("--reason", required=True, help="Why the difference may stay, in a sentence.")


def _choosing(function: Callable[P, None]) -> Callable[P, None]:
    """Add the options that say which differences are meant."""
    kinds = click.Choice([each.value for each in DifferenceKind])
    for option in (
        click.option("--field", help="Only of this field."),
        click.option("--kind", type=kinds, help="Only of this kind."),
        click.option("--type", "type_name", metavar="TYPE", help="Only of this record type."),
        click.option("--connection", help="Only of this connection, by name."),
    ):
        function = option(function)
    return function


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

    async def work(program: Program) -> tuple[list[Reconciled], Exactness]:
        async with opened_engine(program) as engine:
            results = await reconcile(engine, workspace=program.workspace, connection=name)
        return results, await _exactness(program)

    _answer(terminal, *terminal.run(work))


@command.command("probe")
@click.argument("name")
@click.option("--records", type=click.IntRange(1, 10_000), default=PROBED_MAX, show_default=True, help="Of each feed.")
@at_terminal
def lot(terminal: Terminal, name: str, records: int) -> None:
    """Ask a system for some records drawn by lot and compare these alone; nothing is changed on either side.

    It is cheap, and finds what was lost between two readings. A system that cannot be asked by id is not probed.

    Example: isthmus reconcile probe crm
    """

    async def work(program: Program) -> tuple[list[Reconciled], Exactness]:
        async with opened_engine(program) as engine:
            results = await probe(engine, workspace=program.workspace, connection=name, probed_max=records)
        return results, await _exactness(program)

    _answer(terminal, *terminal.run(work), empty="nothing was drawn: the system cannot be asked by id, or is empty")


@command.command("repair")
@click.argument("name")
@click.option("--difference", "named", multiple=True, metavar="ID", help="Only this one; may be given several times.")
@click.option("--confirmed", is_flag=True, help="A person has agreed to many changes at once.")
@click.option("--reason", default="", help="Why, in a sentence, for those who read the history.")
@at_terminal
def mend(terminal: Terminal, name: str, named: tuple[str, ...], reason: str, *, confirmed: bool) -> None:
    """Read a connection again and compare its ids, so that what is held here becomes what the system says.

    Nothing is written there. Whether it helped is seen by reconciling once more, which is done at the end.

    Example: isthmus reconcile repair crm
    """
    chosen = [id_of(DIFFERENCE_PREFIX, each, fix=_LIST) for each in named]

    async def work(program: Program) -> tuple[list[Reconciled], Exactness]:
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
                reason=reason,
            )
        say(f"{name}: {ended.status}{f', {ended.error}' if ended.error else ''}")
        return results, await _exactness(program)

    _answer(terminal, *terminal.run(work))


@command.command("ls")
@click.option(
    "--status",
    type=click.Choice(["open", "accepted", "ignored", "repaired", "gone"]),
    default="open",
    show_default=True,
    help="Only those in this state.",
)
@_choosing
@click.option("--limit", type=click.IntRange(1, 500), default=100, show_default=True, help="Differences at most.")
@click.option("--show-personal", is_flag=True, help="Show personal values, which are masked otherwise.")
@at_terminal
def ls(terminal: Terminal, status: DifferenceStatus, limit: int, *, show_personal: bool, **chosen: str | None) -> None:
    """List differences, the oldest first, with both values and what would mend them.

    Example: isthmus reconcile ls --connection crm --field city --status ignored
    """

    async def ask(tx: Transaction, program: Program) -> tuple[list[DifferenceView], Exactness]:
        found = await differences(tx, program.store, which=await _which(tx, program, chosen, status), limit=limit)
        rows = [difference_view(each, program.store.schema, may=lambda _: show_personal) for each in found]
        return rows, await exactness(tx)

    rows, exact = terminal.transact("reconcile", ask)
    empty = "nothing differs" if status == "open" else f"none is {status}"
    if exact.share is None:
        empty = "nothing was compared yet; compare a connection: isthmus reconcile run NAME"

    def show() -> None:
        table([_cells(row) for row in rows], columns=_COLUMNS, empty=empty)
        _say_exact(exact)

    terminal.answer(rows, show)


@command.command("decide")
@click.argument("decision", type=click.Choice(["accept", "ignore", "reopen"]))
@_choosing
@click.option("--status", type=click.Choice(["open", "accepted", "ignored"]), default="open", help="What is reopened.")
@click.option("--reason", default="", help="Why they may stay, in a sentence; `reopen` needs none.")
@click.option("--dry-run", is_flag=True, help="Only list which they are.")
@at_terminal
def settle(
    terminal: Terminal, decision: str, status: DifferenceStatus, reason: str, *, dry_run: bool, **chosen: str | None
) -> None:
    """Accept, ignore or reopen all differences that fit, 500 at once; see first with --dry-run which these are.

    Example: isthmus reconcile decide ignore --field city --reason "The branch list follows in May." --dry-run
    """

    async def act(tx: Transaction, program: Program) -> list[DifferenceView]:
        which = await _which(tx, program, chosen, status)
        found = await differences(tx, program.store, which=which, limit=PAGE_ROWS_MAX)
        ids = [each.id for each in found]
        if not dry_run and decision == "reopen":
            await reopen(tx, ids)
        elif not dry_run:
            await decide(tx, ids, "accepted" if decision == "accept" else "ignored", reason=reason)
        if not dry_run:
            found = await differences(tx, program.store, which=Which(status=None, ids=ids), limit=PAGE_ROWS_MAX)
        return [difference_view(each, program.store.schema, may=lambda _: False) for each in found]

    rows = terminal.transact("reconcile", act)

    def show() -> None:
        table([_cells(row) for row in rows], columns=_COLUMNS, empty="no difference fits")
        say(f"{counted(len(rows), 'difference')}{' would be decided' if dry_run else ' decided'}")

    terminal.answer(rows, show)


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


async def _which(
    tx: Transaction, program: Program, chosen: Mapping[str, str | None], status: DifferenceStatus
) -> Which:
    """Return which differences the options of `_choosing` mean; raises ConnectionMissing and UnknownType."""
    connection, kind, type_name = (chosen.get(each) for each in ("connection", "kind", "type_name"))
    return Which(
        connection_id=None if connection is None else (await connection_of(tx, connection)).id,
        types=None if type_name is None else (program.store.schema[type_name].name,),
        kind=None if kind is None else DifferenceKind(kind),
        field=chosen.get("field"),
        status=status,
    )


async def _exactness(program: Program) -> Exactness:
    async with program.database.transaction(operator(program, "reconcile")) as tx:
        return await exactness(tx)


def _say_exact(exact: Exactness) -> None:
    if exact.share is not None:
        below = "" if exact.share >= AGREEING_PROMISED else f", below the {AGREEING_PROMISED:.2%} that are promised"
        say(f"{exact.share:.4%} of {counted(exact.compared, 'compared field')} agree, all connections counted{below}")


def _answer(
    terminal: Terminal,
    results: Sequence[Reconciled],
    exact: Exactness,
    *,
    empty: str = "no feed of this connection can tell all its records",
) -> None:
    rows: list[dict[str, object]] = [
        {
            "type": each.type,
            "there": each.there,
            "here": each.here,
            "compared": each.compared,
            "differing": each.differing,
            "found": len(each.findings),
            "unvisited": each.unvisited,
            "probed": None if each.probed is None else len(each.probed),
        }
        for each in results
    ]
    columns = ("type", "there", "here", "compared", "differing", "found")

    def show() -> None:
        table(rows, columns=columns, empty=empty)
        _say_exact(exact)
        if found := sum(len(each.findings) for each in results):
            say(f"{counted(found, 'difference')}; {_LIST[0].lower()}{_LIST[1:]}")

    told = {"accuracy": exact.share, "compared": exact.compared, "differing": exact.differing}
    terminal.answer({"types": rows, **told}, show)


def _cells(row: DifferenceView) -> dict[str, object]:
    there, here = ("" if row.field is None else value_text(value) for value in (row.there, row.here))
    cells: dict[str, object] = {name: getattr(row, name) for name in _COLUMNS}
    return cells | {"there": there, "here": here}
