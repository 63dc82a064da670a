"""`isthmus policy`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from uuid import UUID

import click
import msgspec
from msgspec import Struct

from isthmus.app.cli.common import operator
from isthmus.app.cli.groups import Group
from isthmus.app.cli.output import say, table
from isthmus.app.cli.terminal import Terminal, at_terminal
from isthmus.app.clock import SystemClock
from isthmus.app.discovery import domain_names, schema
from isthmus.kernel.errors import Invalid
from isthmus.kernel.money import Money

if TYPE_CHECKING:
    from isthmus.app.program import Program
    from isthmus.gateway.policy.book import Book
    from isthmus.gateway.policy.explain import Explained
    from isthmus.gateway.policy.language import Policy
    from isthmus.gateway.policy.replay import Changed, Simulated
    from isthmus.gateway.policy.rows import KeptPolicy
    from isthmus.gateway.policy.vocabulary import Vocabulary
    from isthmus.store.database import Transaction

_FILES = click.Path(exists=True, dir_okay=False, path_type=Path)
_LOCAL = "127.0.0.1"


class CaseFailed(Invalid):
    """A policy decides a case otherwise than its file says."""

    code, title = "policy-case-failed", "A case is decided otherwise"


class Case(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A call and what shall become of it; without roles and permissions the caller has every permission."""

    name: str
    route: str
    expect: Literal["allow", "deny"]
    roles: list[str] = []
    permissions: list[str] = []
    kind: Literal["key", "session", "token"] = "key"
    at: datetime | None = None
    client: str = _LOCAL
    purpose: str = ""
    mfa_age_s: int | None = None
    amount: Money | None = None


class CaseResult(Struct, frozen=True, kw_only=True):
    """What became of a case, and the policies by which."""

    name: str
    expected: str
    decided: str
    by: list[str]

    @property
    def passed(self) -> bool:
        """Tell whether it is as expected."""
        return self.expected == self.decided


class _Policies(Group):
    default = "ls"


@click.group("policy", cls=_Policies)
def command() -> None:
    """Keep policies in Cedar, try a change over last week, explain a decision.

    A policy says in which circumstances a call is forbidden, with its reason. Without a command they are listed.

    Example: isthmus policy add nights.cedar --shadow
    """


@command.command("ls")
@at_terminal
def list_all(terminal: Terminal) -> None:
    """List policies with their reasons.

    Example: isthmus policy ls
    """
    from isthmus.gateway.policy.rows import list_policies

    found = terminal.transact("policy-ls", lambda tx, _: list_policies(tx))
    shown = [
        {"name": each.name, "effect": each.effect, "mode": each.mode, "reason": each.reason, "by": each.created_by}
        for each in found
    ]
    columns = ("name", "effect", "mode", "reason", "by")
    terminal.answer(found, lambda: table(shown, columns=columns, empty="no policies; see: isthmus policy add --help"))


@command.command("add")
@click.argument("files", nargs=-1, required=True, type=_FILES)
@click.option("--shadow", is_flag=True, help="Refuse nothing; count what it would have refused.")
@at_terminal
def add(terminal: Terminal, files: tuple[Path, ...], *, shadow: bool) -> None:
    """Keep policies, one in each file, in place of those of their names.

    Within a second every server follows them.

    Example: isthmus policy add nights.cedar --shadow
    """
    from isthmus.auth.roles import all_permissions
    from isthmus.gateway.policy.rows import save_policy

    policies = [_read(each, shadow=shadow) for each in files]
    everything = all_permissions(domains=domain_names())

    async def work(program: Program) -> list[KeptPolicy]:
        words = _vocabulary()
        async with program.database.transaction(operator(program, "policy-add")) as tx:
            return [
                await save_policy(tx, each, vocabulary=words, giver=None, all_there_is=everything) for each in policies
            ]

    kept = terminal.run(work)
    said = "\n".join(f"{each.name} ({each.effect}) is {each.mode}" for each in kept)
    terminal.answer(kept, lambda: click.echo(said))


@command.command("rm")
@click.argument("names", nargs=-1, required=True)
@at_terminal
def remove(terminal: Terminal, names: tuple[str, ...]) -> None:
    """Take policies away.

    Example: isthmus policy rm nights
    """
    from isthmus.gateway.policy.rows import remove_policy

    async def work(tx: Transaction, _: Program) -> None:
        for name in names:
            await remove_policy(tx, name)

    terminal.transact("policy-rm", work)
    terminal.answer({"removed": list(names)}, lambda: click.echo(f"removed {', '.join(names)}"))


@command.command("explain")
@click.option("--key", "key_id", required=True, metavar="ID", help="The id of the key, as isthmus keys ls shows it.")
@click.option("--route", required=True, help='Method and path: "GET /api/v1/leads".')
@click.option("--at", type=click.DateTime(["%Y-%m-%dT%H:%M", "%Y-%m-%d"]), help="When, in UTC (default: now).")
@click.option("--client", default=_LOCAL, help="The caller's address.")
@click.option("--purpose", default="", help="What the header Isthmus-Purpose says.")
@at_terminal
def explain(terminal: Terminal, key_id: str, route: str, at: datetime | None, client: str, purpose: str) -> None:
    """Tell step by step how a call of a key is decided.

    Example: isthmus policy explain --key key_01KAX3V9Q2M4T8Z5N7P6R1S0WD --route "GET /api/v1/leads"
    """
    from isthmus.app.http.policies import PolicyQuestion, explained

    moment = None if at is None else at.replace(tzinfo=UTC)
    question = PolicyQuestion(key=key_id, route=route, at=moment, client=client, purpose=purpose)

    told = terminal.transact(
        "policy-explain",
        lambda tx, _: explained(tx, question, vocabulary=_vocabulary(), schema=schema(), client=client),
    )
    terminal.answer(told, lambda: _show(told))


@command.command("simulate")
@click.option("--add", "added", multiple=True, type=_FILES, help="A file with a policy to try; repeatable.")
@click.option("--remove", "removed", multiple=True, help="The name of a policy to leave out; repeatable.")
@click.option("--days", default=7, show_default=True, type=click.IntRange(1, 8), help="Over how many days.")
@at_terminal
def simulate(terminal: Terminal, added: tuple[Path, ...], removed: tuple[str, ...], days: int) -> None:
    """Tell what a change would have allowed or denied in the last days.

    Example: isthmus policy simulate --add nights.cedar --days 7
    """
    if not added and not removed:
        raise click.UsageError("Say what to try: --add FILE or --remove NAME.")
    from isthmus.app.http.policies import PolicyChange, tried

    change = PolicyChange(add=[each.read_text("utf-8") for each in added], remove=list(removed), days=days)

    found = terminal.transact("policy-simulate", lambda tx, _: tried(tx, change, vocabulary=_vocabulary()))
    terminal.answer(found, lambda: _show_simulated(found))


@command.command("test")
@click.argument("files", nargs=-1, required=True, type=_FILES)
@click.option("--cases", "cases_file", required=True, type=_FILES, help="A JSON file with a list of cases.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def test(files: tuple[Path, ...], cases_file: Path, *, as_json: bool) -> None:
    """Decide the cases of a file by the policies of others; nothing runs and nothing is kept.

    Ends with 1 when a case is decided otherwise than it says.

    Example: isthmus policy test nights.cedar --cases nights.json
    """
    from isthmus.app.cli.output import print_json
    from isthmus.gateway.policy.book import Book

    words = _vocabulary()
    policies = [_read(each, shadow=False) for each in files]
    for each in policies:
        words.check(each)
    try:
        cases = msgspec.json.decode(cases_file.read_bytes(), type=list[Case])
    except msgspec.DecodeError as error:
        raise click.UsageError(f"{cases_file} holds no list of cases: {error}") from error
    book, now = Book.of(policies, words), SystemClock().now()
    results = [_decided(each, book, words, now) for each in cases]
    if as_json:
        print_json(results)
    else:
        rows = [{"case": each.name, "decided": each.decided, "by": ", ".join(each.by)} for each in results]
        table(rows, columns=("case", "decided", "by"), empty="no cases")
    failed = [each for each in results if not each.passed]
    if failed:
        detail = "; ".join(f"{each.name}: expected {each.expected}, decided {each.decided}" for each in failed[:5])
        raise CaseFailed(detail, fix="Correct the policy, or what the case expects.")


def _vocabulary() -> Vocabulary:
    from isthmus.app.http.assembly import all_routes
    from isthmus.gateway.policy.vocabulary import Vocabulary

    known = schema()
    return Vocabulary(all_routes(known), known.types)


def _read(path: Path, *, shadow: bool) -> Policy:
    from isthmus.gateway.policy.language import read_policy

    return read_policy(path.read_text("utf-8"), mode="shadow" if shadow else None)


def _decided(case: Case, book: Book, words: Vocabulary, now: datetime) -> CaseResult:
    from isthmus.auth.principal import Principal
    from isthmus.auth.roles import all_permissions, permissions_of, roles_held
    from isthmus.gateway.policy.explain import find_route
    from isthmus.gateway.policy.facts import Situation, facts_of
    from isthmus.gateway.policy.replay import judged

    names = domain_names()
    named = permissions_of(case.roles, case.permissions, domains=names)
    moment = now if case.at is None else case.at.replace(tzinfo=case.at.tzinfo or UTC).astimezone(UTC)
    principal = Principal(
        workspace=0,
        kind=case.kind,
        id=UUID(int=0),
        name=case.name,
        permissions=named if case.roles or case.permissions else all_permissions(domains=names),
        roles=tuple(sorted(roles_held(case.roles, domains=names))),
        mfa_at=None if case.mfa_age_s is None else moment - timedelta(seconds=case.mfa_age_s),
    )
    route = find_route(words.by_name, case.route)
    situation = Situation(
        principal=principal, route=route, now=moment, client=case.client, purpose=case.purpose, amount=case.amount
    )
    verdict = judged(book, route, facts_of(situation))
    decided = "allow" if verdict.allowed else "deny"
    return CaseResult(name=case.name, expected=case.expect, decided=decided, by=sorted(verdict.by))


def _show(told: Explained) -> None:
    verdict = "allowed" if told.allowed else "refused"
    click.echo(f"{told.route} of {told.caller} is {verdict}")
    for step in told.steps:
        click.echo(f"  {'ok  ' if step.passes else 'STOP'}  {step.step}: {step.detail}")


def _show_simulated(found: Simulated) -> None:
    click.echo(f"{found.calls:,} calls tried: {found.would_deny:,} more denied, {found.would_allow:,} more allowed")
    rows = [*(_row("denied", each) for each in found.denied), *(_row("allowed", each) for each in found.allowed)]
    if rows:
        table(rows, columns=("now", "calls", "caller", "route", "because"), empty="")
    if found.left_out:
        say(f"{found.left_out:,} calls of routes that are gone were left out")


def _row(verdict: str, changed: Changed) -> dict[str, object]:
    return {
        "now": verdict,
        "calls": changed.calls,
        "caller": changed.caller,
        "route": changed.route,
        "because": ", ".join(changed.because),
    }
