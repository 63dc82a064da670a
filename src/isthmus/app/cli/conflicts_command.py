"""`isthmus conflicts`."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import click

from isthmus.app.case_views import CASE_PREFIX, CaseView, ConflictRuleView, case_views, rule_view
from isthmus.app.cli.common import operator
from isthmus.app.cli.conflicts_views import show_case, show_cases, show_decision, show_rules
from isthmus.app.cli.groups import Group
from isthmus.app.cli.output import say
from isthmus.app.cli.terminal import Terminal, at_terminal
from isthmus.app.cli.wording import counted, id_of, value_of
from isthmus.kernel.marks import Json
from isthmus.sync.conflicts import (
    PAGE_ROWS_MAX,
    Case,
    Choice,
    Filter,
    Side,
    case_of,
    chosen,
    resolve_in,
    resolve_many,
    undo,
    weight,
    weightiest,
)
from isthmus.sync.learned import RULE_PREFIX, forget, learn, rules

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import ParamSpec, TypeVar
    from uuid import UUID

    from isthmus.app.program import Program
    from isthmus.store.database import Transaction

    P = ParamSpec("P")
    T = TypeVar("T")

_LIST = "List them: isthmus conflicts ls"
_PUSHED = "the decision is written to the systems in their next push: isthmus sync run --all --only push"
_personal_option = click.option(
    "--show-personal", is_flag=True, help="Show personal values, which are masked otherwise."
)


class _Conflicts(Group):
    default = "ls"


def _filter_options(command: Callable[P, T]) -> Callable[P, T]:
    by_type = click.option("--type", "type_name", metavar="TYPE", help="Only this record type, such as sales.deal.")
    by_field = click.option("--field", help="Only this field, such as amount.")
    by_system = click.option("--system", help="Only where this system stands on either side.")
    return by_type(by_field(by_system(command)))


@click.group("conflicts", cls=_Conflicts)
def command() -> None:
    """See and settle what waits for a person.

    A case opens when two systems moved a critical field differently, or one deleted what the other changed. Nothing
    is written for that field until a person decides. Without a command the open cases are listed.

    Example: isthmus conflicts ls --type sales.deal
    """


@command.command("ls")
@_filter_options
@click.option(
    "--status",
    type=click.Choice(["open", "resolved", "dissolved", "all"]),
    default="open",
    show_default=True,
    help="Dissolved: the systems came to agree by themselves.",
)
@click.option("--min-stake", type=float, help="Only with at least so much money at stake, in its own currency.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="Cases at most.")
@_personal_option
@at_terminal
def list_cases(
    terminal: Terminal,
    type_name: str | None,
    field: str | None,
    system: str | None,
    status: str,
    min_stake: float | None,
    limit: int,
    *,
    show_personal: bool,
) -> None:
    """List cases, the most at stake first.

    Example: isthmus conflicts ls --type sales.deal --json
    """
    stake_min = None if min_stake is None else Decimal(str(min_stake))
    status_of = None if status == "all" else status
    where = Filter(status=status_of, type=type_name, field=field, system=system, stake_min=stake_min)

    async def ask(program: Program) -> list[CaseView]:
        _known(program, type_name)
        async with program.database.transaction(operator(program, "conflicts")) as tx:
            return await _views(tx, program, await _cases(tx, program, where, limit), personal=show_personal)

    found = terminal.run(ask)
    terminal.answer(found, lambda: show_cases(found, empty=_nothing(status)))
    if len(found) == limit and not terminal.as_json:
        say(f"these are the first {limit:,}; see more with --limit")


@command.command("show")
@click.argument("case_id", metavar="ID")
@_personal_option
@at_terminal
def show_one(terminal: Terminal, case_id: str, *, show_personal: bool) -> None:
    """Show both values, who said them, and when.

    Example: isthmus conflicts show case_01KAX3V9Q2M4T8Z5N7P6R1S0WD
    """
    own = id_of(CASE_PREFIX, case_id, fix=_LIST)

    async def ask(program: Program) -> CaseView:
        return await _one(program, own, personal=show_personal)

    found = terminal.run(ask)
    terminal.answer(found, lambda: show_case(found))


@command.command("resolve")
@click.argument("case_id", metavar="[ID]", required=False)
@click.option("--keep", is_flag=True, help="Keep the value that is held here.")
@click.option("--take", is_flag=True, help="Take the value that is claimed.")
@click.option("--side", metavar="SYSTEM", help="Take what this system says, whichever side it stands on.")
@click.option("--value", help="Another value: 'text', 42, '48000 EUR', 2026-11-30, yes.")
@click.option("--learn", "learns", is_flag=True, help="From now on the same conflict decides itself that way.")
@click.option("--note", default="", help="Why, for those who read the history.")
@click.option("--all", "every", is_flag=True, help="Decide all open cases that the options name.")
@_filter_options
@click.option("--dry-run", is_flag=True, help="With --all: only show which cases these are.")
@at_terminal
def resolve_cases(  # noqa: PLR0913 - one parameter for each option.
    terminal: Terminal,
    case_id: str | None,
    value: str | None,
    side: str | None,
    note: str,
    type_name: str | None,
    field: str | None,
    system: str | None,
    *,
    keep: bool,
    take: bool,
    learns: bool,
    every: bool,
    dry_run: bool,
) -> None:
    """Decide a case, or all that the options name.

    The decision is pushed, kept in the history, and can be undone; what is learned is listed by `conflicts rules`.

    Example: isthmus conflicts resolve --all --type sales.deal --system billing --take --dry-run
    """
    if [keep, take, side is not None, value is not None].count(True) != 1:
        raise click.UsageError("Say one of --keep, --take, --side and --value.")
    choice = Side(system=side) if side is not None else _choice(keep=keep, take=take)
    if every:
        if case_id is not None or value is not None or learns:
            raise click.UsageError("--all goes without an id and without --learn, and with --keep, --take or --side.")
        where = Filter(type=type_name, field=field, system=system)
        _resolve_all(terminal, where, choice, note=note, dry_run=dry_run)
        return
    if case_id is None:
        raise click.UsageError("Name a case, or say --all.")
    if dry_run or type_name or field or system:
        raise click.UsageError("--dry-run, --type, --field and --system go with --all.")
    own = id_of(CASE_PREFIX, case_id, fix=_LIST)
    _resolve_one(terminal, own, choice, typed=value, note=note, learns=learns)


@command.command("undo")
@click.argument("case_id", metavar="ID")
@at_terminal
def undo_one(terminal: Terminal, case_id: str) -> None:
    """Take a decision back.

    The former value is held again, and the case is open.

    Example: isthmus conflicts undo case_01KAX3V9Q2M4T8Z5N7P6R1S0WD
    """
    own = id_of(CASE_PREFIX, case_id, fix=_LIST)

    async def work(program: Program) -> CaseView:
        await undo(program.store, operator(program, "conflicts-undo"), own)
        return await _one(program, own, personal=False)

    found = terminal.run(work)
    terminal.answer(found, lambda: show_decision(found))


@command.command("rules")
@at_terminal
def list_rules(terminal: Terminal) -> None:
    """List what was learned from decisions.

    On that field of these records one system wins over the other.

    Example: isthmus conflicts rules
    """

    async def ask(tx: Transaction, _: Program) -> list[ConflictRuleView]:
        return [rule_view(each) for each in await rules(tx, limit=10_000)]

    found = terminal.transact("conflicts", ask)
    terminal.answer(found, lambda: show_rules(found))


@command.command("forget")
@click.argument("rule_id", metavar="ID")
@at_terminal
def forget_one(terminal: Terminal, rule_id: str) -> None:
    """Forget a rule.

    What it decided stays decided.

    Example: isthmus conflicts forget crul_01KAX3V9Q2M4T8Z5N7P6R1S0WD
    """
    own = id_of(RULE_PREFIX, rule_id, fix="List them: isthmus conflicts rules")

    async def work(tx: Transaction, _: Program) -> ConflictRuleView:
        return rule_view(await forget(tx, own))

    gone = terminal.transact("conflicts-forget", work)
    terminal.answer(gone, lambda: click.echo(f"forgot that {gone.winner} wins over {gone.loser} on {gone.field}"))


def _choice(*, keep: bool, take: bool) -> Choice:
    return Choice.KEPT if keep else Choice.CLAIMED if take else Choice.VALUE


def _resolve_one(  # noqa: PLR0913, RUF100 - what is decided, how and why.
    terminal: Terminal, own: UUID, choice: Choice | Side, *, typed: str | None, note: str, learns: bool
) -> None:
    async def work(program: Program) -> CaseView:
        async with program.database.transaction(operator(program, "conflicts-resolve")) as tx:
            case = await case_of(tx, program.store, own)
            value: Json = None
            if typed is not None:
                declared = program.store.schema[case.type].field(case.field)
                value = value_of(typed, field=declared) if declared else typed
            await resolve_in(tx, program.store, own, choice, value=value, note=note)
            if learns:
                await learn(tx, program.store, case, chosen(case, choice), note=note)
        return await _one(program, own, personal=False)

    found = terminal.run(work)
    terminal.answer(found, lambda: show_decision(found, typed=typed))
    if not terminal.as_json:
        say(_PUSHED)


def _resolve_all(terminal: Terminal, where: Filter, choice: Choice | Side, *, note: str, dry_run: bool) -> None:
    async def work(program: Program) -> list[CaseView]:
        _known(program, where.type)
        scope = operator(program, "conflicts-resolve")
        found = await resolve_many(program.store, scope, where, choice, note=note, dry_run=dry_run)
        async with program.database.transaction(operator(program, "conflicts")) as tx:
            return await _views(tx, program, found, personal=False)

    found = terminal.run(work)
    terminal.answer(found, lambda: show_cases(found, empty="no open case fits"))
    if terminal.as_json or not found:
        return
    does = "keep what is held" if choice == Choice.KEPT else "take what is claimed"
    does = f"take what {choice.system} says" if isinstance(choice, Side) else does
    if dry_run:
        say(f"{counted(len(found), 'case')} would {does}; nothing was decided")
    else:
        say(f"{counted(len(found), 'case')} decided: {does}")
        say(_PUSHED)


async def _one(program: Program, own: UUID, *, personal: bool) -> CaseView:
    async with program.database.transaction(operator(program, "conflicts")) as tx:
        found = await case_of(tx, program.store, own)
        return (await _views(tx, program, [found], personal=personal))[0]


async def _views(tx: Transaction, program: Program, found: Sequence[Case], *, personal: bool) -> list[CaseView]:
    return await case_views(tx, program.vault, program.store.schema, found, may=lambda _: personal)


async def _cases(tx: Transaction, program: Program, where: Filter, limit: int) -> list[Case]:
    found: list[Case] = []
    while len(found) < limit:
        wanted = min(PAGE_ROWS_MAX, limit - len(found))
        last = weight(found[-1]) if found else None
        page = await weightiest(tx, program.store, where=where, after=last, limit=wanted)
        found += page
        if len(page) < wanted:
            break
    return found


def _known(program: Program, type_name: str | None) -> None:
    """Refuse a record type that does not exist; raises UnknownRecordType."""
    if type_name is not None:
        program.store.schema[type_name]


def _nothing(status: str) -> str:
    return "nothing waits for a person" if status == "open" else "no cases"
