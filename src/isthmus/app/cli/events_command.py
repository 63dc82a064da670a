"""`isthmus events`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from isthmus.app.cli.events_log import Line, follow, last, lines_after, show_line, show_lines, wanted_types
from isthmus.app.cli.groups import Group
from isthmus.app.cli.output import print_line, say, table
from isthmus.app.cli.terminal import Terminal, at_terminal
from isthmus.app.cli.wording import Duration, ago, counted
from isthmus.app.clock import SystemClock
from isthmus.app.topics import topics as catalogue
from isthmus.app.topics import topics_view

if TYPE_CHECKING:
    from datetime import timedelta

    from isthmus.app.program import Program
    from isthmus.store.database import Transaction
    from isthmus.sync.letters import LetterView, Retried

_ROWS = 200
_LENGTH = Duration()


class _Events(Group):
    default = "tail"


class _Letters(Group):
    default = "ls"


@click.group("events", cls=_Events)
def command() -> None:
    """See what happens, read it again, and mend what could not be done with it.

    Without a command the last events are shown.

    Example: isthmus events tail --follow --topic lead-capture
    """


@command.command("tail")
@click.option("--topic", "topics", multiple=True, help="Of a topic only. Can be repeated.")
@click.option("--type", "types", multiple=True, help="Of a type or pattern only. Can be repeated.")
@click.option("-n", "count", type=click.IntRange(0, 1_000), default=20, show_default=True, help="How many at first.")
@click.option("-f", "--follow", "following", is_flag=True, help="Go on until Ctrl-C, one event a line.")
@at_terminal
def tail(terminal: Terminal, *, topics: tuple[str, ...], types: tuple[str, ...], count: int, following: bool) -> None:
    """Show the last events, and follow those that come.

    With --follow, --json prints one document for each event.

    Example: isthmus events tail --follow --type 'isthmus.sales.*'
    """
    wanted = wanted_types(topics, types)

    async def work(program: Program) -> list[Line]:
        found, upto = await last(program, wanted, count=count)
        if not following:
            return found
        for each in found:
            _tell(terminal, each)
        async for each in follow(program, wanted, after=upto):
            _tell(terminal, each)
        return []

    found = terminal.run(work)
    if not following:
        terminal.answer(found, lambda: show_lines(found))


@command.command("replay")
@click.option("--after", type=click.IntRange(0), metavar="NUMBER", help="From the event after this one.")
@click.option("--since", type=_LENGTH, help="From what happened so long ago, such as 2h.")
@click.option("--topic", "topics", multiple=True, help="Of a topic only. Can be repeated.")
@click.option("--type", "types", multiple=True, help="Of a type or pattern only. Can be repeated.")
@at_terminal
def replay(
    terminal: Terminal,
    *,
    after: int | None,
    since: timedelta | None,
    topics: tuple[str, ...],
    types: tuple[str, ...],
) -> None:
    """Read the log again from a number or a moment, in order, to its end.

    With --json one document is printed for each event, one a line. To have it told to a webhook again, see
    `isthmus webhooks replay`.

    Example: isthmus events replay --since 2h --topic lead-capture --json
    """
    if (after is None) == (since is None):
        raise click.UsageError("Say from where: --after NUMBER or --since LENGTH.")
    wanted = wanted_types(topics, types)

    async def work(program: Program) -> int:
        number = 0
        async for each in lines_after(program, wanted, after=after, since=since):
            _tell(terminal, each)
            number += 1
        return number

    say(f"{counted(terminal.run(work), 'event')} read")


@command.command("topics")
@at_terminal
def list_topics(terminal: Terminal) -> None:
    """List topics and types of events; --json adds the schema of each.

    Example: isthmus events topics --json
    """
    view = topics_view(catalogue())
    rows = [
        {"topic": each.name, "types": len(each.types), "about": each.about, "read by": ", ".join(each.read_by)}
        for each in view.topics
    ]

    def show() -> None:
        table(rows, columns=("topic", "types", "about", "read by"), empty="")
        click.echo()
        table(
            [{"type": each.type, "permission": each.permission, "about": each.about} for each in view.types],
            columns=("type", "permission", "about"),
            empty="",
        )

    terminal.answer(view, show)


@command.group("dlq", cls=_Letters)
def dead_letters() -> None:
    """See what could not be done, try it again, or give it up.

    These are events whose effect failed, with later events of their records that wait behind them, and messages of
    connected systems that could not be landed. Without a command they are listed.

    Example: isthmus events dlq
    """


@dead_letters.command("ls")
@click.option("--consumer", help="Of a consumer only.")
@at_terminal
def list_letters(terminal: Terminal, *, consumer: str | None) -> None:
    """List what could not be done, with the reason.

    Example: isthmus events dlq ls --json
    """
    from isthmus.sync.letters import letters

    async def ask(tx: Transaction, _: Program) -> list[LetterView]:
        return await letters(tx, consumer=consumer, after=None, limit=_ROWS)

    found, now = terminal.transact("events-dlq", ask), SystemClock().now()
    rows = [
        {
            "id": each.id,
            "consumer": each.consumer,
            "number": each.sequence,
            "tries": each.attempts,
            "since": ago(each.parked_at, now=now),
            "reason": each.reason,
        }
        for each in found
    ]
    columns = ("id", "consumer", "number", "tries", "since", "reason")
    terminal.answer(found, lambda: table(rows, columns=columns, empty="no dead letters"))


@dead_letters.command("retry")
@click.argument("letter", metavar="ID")
@at_terminal
def retry(terminal: Terminal, letter: str) -> None:
    """Try it again, and what waits for the same record behind it, in order, until something fails.

    Example: isthmus events dlq retry dead_01KAX3V9Q2M4T8Z5N7P6R1S0WD
    """
    from isthmus.app.dead_letters import finder
    from isthmus.sync.letters import retry_letter

    async def work(tx: Transaction, program: Program) -> Retried:
        return await retry_letter(tx, letter, find=finder(program.store))

    done = terminal.transact("events-retry", work)
    if done.queued:
        return terminal.answer(done, lambda: say("it is tried again in a moment"))
    rest = f"; the next one failed again: {done.reason}" if done.reason else ""
    return terminal.answer(done, lambda: say(f"{counted(done.done, 'event')} had their effect{rest}"))


@dead_letters.command("discard")
@click.argument("letter", metavar="ID")
@click.option("--yes", is_flag=True, help="Do not ask.")
@at_terminal
def discard(terminal: Terminal, letter: str, *, yes: bool) -> None:
    """Give a dead letter up: its effect will never be.

    Example: isthmus events dlq discard dead_01KAX3V9Q2M4T8Z5N7P6R1S0WD
    """
    from isthmus.sync.letters import discard_letter

    if not yes:
        terminal.confirm("Its effect will never be. Give it up?")

    async def work(tx: Transaction, program: Program) -> None:
        await discard_letter(tx, letter, vault=program.store.vault)

    terminal.transact("events-discard", work)
    terminal.answer({"discarded": letter}, lambda: say(f"{letter} is given up"))


def _tell(terminal: Terminal, line: Line) -> None:
    if terminal.as_json:
        print_line(line)
    else:
        show_line(line)
