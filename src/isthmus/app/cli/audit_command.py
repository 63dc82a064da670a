"""`isthmus audit`."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from isthmus.app.cli.common import operator
from isthmus.app.cli.groups import Command, Group
from isthmus.app.cli.output import say, table
from isthmus.app.cli.terminal import Terminal, at_terminal
from isthmus.app.cli.wording import moment

if TYPE_CHECKING:
    from isthmus.app.http.audit import AuditEntry, Format
    from isthmus.app.program import Program
    from isthmus.store.database import Scope

_NOBODY = 0
_ROWS_MAX = 10_000
_EXCLUDED = re.compile(r"-[a-z_]+:.+")
_COLUMNS = ("at", "actor", "action", "resource", "record", "network", "request")


class _Searching(Command):
    """A command among whose terms some begin with a minus: -resource:session is a term, and no option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put such terms where no options are."""
        excluded = [each for each in args if _EXCLUDED.fullmatch(each)]
        others = [each for each in args if not _EXCLUDED.fullmatch(each)]
        if "--" in args or not excluded:
            return super().parse_args(ctx, args)
        return super().parse_args(ctx, [*others, "--", *excluded])


class _Audit(Group):
    default = "search"
    command_class = _Searching


@click.group("audit", cls=_Audit)
def command() -> None:
    """Search the log of who did what, and take it along.

    Without a command the newest entries are shown.

    Example: isthmus audit search actor:key_01KAX3V9Q2M4T8Z5N7P6R1S0WD action:key.* since:7d -resource:session
    """


@command.command("search")
@click.argument("terms", nargs=-1, metavar="[TERM]...")
@click.option("--limit", type=click.IntRange(1, _ROWS_MAX), default=50, show_default=True, help="How many at most.")
@click.option("--before", type=int, metavar="ID", help="Go on below this entry.")
@click.option("--strangers", is_flag=True, help="Calls without a valid credential, which belong to no workspace.")
@at_terminal
def search_entries(
    terminal: Terminal, terms: tuple[str, ...], limit: int, before: int | None, *, strangers: bool
) -> None:
    """Show entries, newest first.

    Terms are field:value (actor, action, resource, record, request, behalf, purpose, network, decision, policy, status,
    since, until) or words to be found anywhere. A minus before a term excludes; * stands for any characters.

    Example: isthmus audit search decision:denied since:24h --json
    """
    from isthmus.app.http.audit import view
    from isthmus.audit.grammar import parse
    from isthmus.audit.search import search

    async def ask(program: Program) -> list[AuditEntry]:
        scope = _scope(program, strangers=strangers)
        condition = parse(_joined(terms), now=scope.now)
        async with program.database.transaction(scope) as tx:
            return [view(each) for each in await search(tx, condition, before=before, limit=limit)]

    found = terminal.run(ask)
    terminal.answer(found, lambda: _show(found))
    if len(found) == limit and not terminal.as_json:
        say(f"there may be more: --before {found[-1].id}")


@command.command("export")
@click.argument("terms", nargs=-1, metavar="[TERM]...")
@click.option("--format", "as_", type=click.Choice(["ndjson", "csv"]), default="ndjson", show_default=True, help="How.")
@at_terminal
def export_entries(terminal: Terminal, terms: tuple[str, ...], as_: Format) -> None:
    """Write all entries that a search finds to stdout.

    That they were taken along becomes an entry of its own.

    Example: isthmus audit export since:30d --format csv > audit.csv
    """
    from isthmus.app.http.audit import written
    from isthmus.audit.grammar import parse
    from isthmus.audit.search import everything
    from isthmus.auth.trace import trace

    async def work(program: Program) -> None:
        scope = operator(program, "audit-export")
        text = _joined(terms)
        condition = parse(text, now=scope.now)
        async with program.database.transaction(scope) as tx:
            details = {"q": text, "format": as_}
            await trace(tx, action="audit.exported", resource="audit", record_id=None, details=details)
        async for piece in written(everything(program.database, scope, condition), as_=as_):
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()

    terminal.run(work)


def _scope(program: Program, *, strangers: bool) -> Scope:
    scope = operator(program, "audit")
    return replace(scope, workspace=_NOBODY) if strangers else scope


def _joined(terms: tuple[str, ...]) -> str:
    """Return the search of a command line; words that the shell kept together stay together."""
    return " ".join(f'"{each}"' if " " in each and '"' not in each and ":" not in each else each for each in terms)


def _show(found: list[AuditEntry]) -> None:
    rows = [
        {
            "at": moment(each.at),
            "actor": each.actor,
            "action": each.action,
            "resource": each.resource,
            "record": each.record_id or "",
            "network": each.network or "",
            "request": each.request_id,
        }
        for each in found
    ]
    table(rows, columns=_COLUMNS, empty="nothing found; try fewer terms, or a longer time: since:30d")
