"""`isthmus reconcile`."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import click
from msgspec import Struct

from isthmus.app.cli.common import operator
from isthmus.app.cli.groups import Group
from isthmus.app.cli.output import say, table
from isthmus.app.cli.terminal import Terminal, at_terminal
from isthmus.app.cli.wording import counted, id_of, id_text, value_text
from isthmus.app.syncing import opened_engine
from isthmus.app.veiling import veiled
from isthmus.kernel.marks import Json, RecordType
from isthmus.sync.reconciling.found import Decision, Difference, DifferenceStatus, accuracy, decide, differences
from isthmus.sync.reconciling.running import reconcile, repair

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isthmus.app.program import Program
    from isthmus.store.database import Transaction
    from isthmus.sync.reconciling.systems import Reconciled

PREFIX = "diff"
_LIST = "List them: isthmus reconcile ls"
_COLUMNS = ("id", "connection", "kind", "type", "external_id", "field", "there", "here", "stake", "status")
_reason_option = click.option("--reason", required=True, help="Why the difference may stay, in a sentence.")


class DifferenceRow(Struct, frozen=True, kw_only=True):
    """A difference as it is listed; `there` is the system's value and `here` what is held, personal ones masked."""

    id: str
    connection: str
    kind: str
    type: str
    external_id: str
    field: str | None
    there: Json
    here: Json
    stake: str | None
    status: DifferenceStatus
    reason: str | None
    found_at: datetime
    seen_at: datetime
    repair: str


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
@click.option("--confirmed", is_flag=True, help="A person has agreed to many changes at once.")
@at_terminal
def mend(terminal: Terminal, name: str, *, confirmed: bool) -> None:
    """Read a connection again and compare its ids, so that what is held here becomes what the system says.

    Nothing is written there. Whether it helped is seen by reconciling once more, which is done at the end.

    Example: isthmus reconcile repair crm
    """

    async def work(program: Program) -> tuple[list[Reconciled], float | None]:
        actor = operator(program, "reconcile").actor
        async with opened_engine(program) as engine:
            ended, results = await repair(
                engine, workspace=program.workspace, connection=name, actor=actor, confirmed=confirmed
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

    async def ask(tx: Transaction, program: Program) -> tuple[list[DifferenceRow], bool]:
        found = await differences(tx, program.store, status=status, limit=limit)
        rows = [_row(each, program.store.schema[each.type], personal=show_personal) for each in found]
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


def _decide(terminal: Terminal, difference: str, decision: Decision, reason: str) -> None:
    own = id_of(PREFIX, difference, fix=_LIST)

    async def act(tx: Transaction, _: Program) -> None:
        await decide(tx, own, decision, reason=reason)

    terminal.transact("reconcile", act)
    terminal.answer({"id": id_text(PREFIX, own), "status": decision}, lambda: say(f"{decision}"))


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
            say(f"{exact:.4%} of all fields agree, all connections counted")
        if found := sum(len(each.findings) for each in results):
            say(f"{counted(found, 'difference')}; {_LIST[0].lower()}{_LIST[1:]}")

    terminal.answer({"types": rows, "accuracy": exact}, show)


def _row(each: Difference, record_type: RecordType, *, personal: bool) -> DifferenceRow:
    there, here = (veiled(record_type, each.field, value, personal=personal) for value in (each.there, each.here))
    return DifferenceRow(
        id=id_text(PREFIX, each.id),
        connection=each.connection,
        kind=each.kind.value,
        type=each.type,
        external_id=each.external_id,
        field=each.field or None,
        there=there,
        here=here,
        stake=None if each.stake is None else f"{each.stake:f} {each.currency}",
        status=each.status,
        reason=each.reason or None,
        found_at=each.found_at,
        seen_at=each.seen_at,
        repair=each.repair,
    )


def _cells(row: DifferenceRow) -> dict[str, object]:
    there, here = ("" if row.field is None else value_text(value) for value in (row.there, row.here))
    cells: dict[str, object] = {name: getattr(row, name) for name in _COLUMNS}
    return cells | {"there": there, "here": here}
