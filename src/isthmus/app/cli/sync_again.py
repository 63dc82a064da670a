"""`isthmus sync backfill` and `resync`: reading again what was read before, beside the live cursors."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import click

from isthmus.app.cli.groups import Command
from isthmus.app.cli.sync_views import code_of, show_runs
from isthmus.app.cli.telling import Teller
from isthmus.app.cli.terminal import Terminal, at_terminal
from isthmus.app.cli.wording import Duration
from isthmus.app.clock import SystemClock
from isthmus.app.sync_views import run_view
from isthmus.app.syncing import watched_work
from isthmus.sync import running
from isthmus.sync.rereading import Span

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from isthmus.app.program import Program
    from isthmus.sync.runs import Engine, Run

_confirmed_option = click.option("--confirmed", is_flag=True, help="A person has agreed to many changes at once.")


class Moment(click.ParamType[datetime]):
    """A moment such as 2026-11-01T00:00:00Z, a day such as 2026-11-01 (UTC), or how long ago, such as 7d."""

    name = "moment"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Return the moment; fails with the forms that are expected."""
        if isinstance(value, datetime):
            return value
        text = str(value).strip()
        try:
            found = datetime.fromisoformat(f"{text}T00:00:00Z" if len(text) == len("2026-11-01") else text)
        except ValueError:
            ago: timedelta = Duration().convert(text, param, ctx)
            return SystemClock().now() - ago
        if found.tzinfo is None:
            self.fail(f"{text!r} says no time zone. Write 2026-11-01T00:00:00Z.", param, ctx)
        return found


@click.command("backfill", cls=Command)
@click.argument("name")
@click.argument("feed")
@click.option(
    "--since", type=Moment(), help="From when on: 2026-11-01, 2026-11-01T08:00:00Z, or 7d for seven days ago."
)
@click.option("--until", type=Moment(), help="Before when, in the same forms.")
@_confirmed_option
@at_terminal
@click.pass_context
def backfill(  # noqa: PLR0913, RUF100 - one parameter for each option.
    context: click.Context,
    terminal: Terminal,
    name: str,
    feed: str,
    since: datetime | None,
    until: datetime | None,
    *,
    confirmed: bool,
) -> None:
    """Read what changed in a time again, from one feed.

    The live cursor stays where it is, and what says nothing new changes nothing. What carries no stamp is taken in any
    case. Feeds are listed by: isthmus connect show NAME

    Example: isthmus sync backfill crm crm.leads --since 2026-11-01 --until 2026-11-08
    """
    span = Span(since=since, until=until)

    def run(program: Program) -> Callable[[Engine], Coroutine[object, object, Run]]:
        return lambda engine: running.backfill(
            engine, workspace=program.workspace, connection=name, feed=feed, span=span, confirmed=confirmed
        )

    _watched(context, terminal, name, run)


@click.command("resync", cls=Command)
@click.argument("name")
@_confirmed_option
@at_terminal
@click.pass_context
def resync(context: click.Context, terminal: Terminal, name: str, *, confirmed: bool) -> None:
    """Read everything that a system holds again.

    What was missed is known then, and what is gone there is gone. The live cursors stay, and nothing is written there.

    Example: isthmus sync resync crm
    """

    def run(program: Program) -> Callable[[Engine], Coroutine[object, object, Run]]:
        return lambda engine: running.resync(engine, workspace=program.workspace, connection=name, confirmed=confirmed)

    _watched(context, terminal, name, run)


def _watched(
    context: click.Context,
    terminal: Terminal,
    name: str,
    run: Callable[[Program], Callable[[Engine], Coroutine[object, object, Run]]],
) -> None:
    """Do it here, tell how far it is, and exit with the code of how it ended."""

    async def work(program: Program) -> Run:
        teller = Teller(name)
        ended = await watched_work(program, name, run(program), show=teller.show)
        teller.clear()
        return ended

    found = run_view(terminal.run(work))
    terminal.answer(found, lambda: show_runs([found]))
    context.exit(code_of(found))
