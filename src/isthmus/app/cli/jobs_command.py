"""`isthmus jobs`."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import click
import msgspec

from isthmus.app.cli.common import operator
from isthmus.app.cli.groups import Group
from isthmus.app.cli.output import say, table
from isthmus.app.cli.terminal import Terminal, at_terminal
from isthmus.app.cli.wording import ago, id_of, moment
from isthmus.app.clock import SystemClock
from isthmus.kernel.status import Status

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from uuid import UUID

    from isthmus.app.program import Program
    from isthmus.app.scheduling.views import JobView
    from isthmus.kernel.marks import Json
    from isthmus.store.database import Transaction
    from isthmus.stream.jobs.job import Job

_JOB = "job"
_ROWS = 200
_HINT = "List them: isthmus jobs ls"


class _Jobs(Group):
    default = "ls"


@click.group("jobs", cls=_Jobs)
def command() -> None:
    """See what waits, runs and has ended; start, cancel and try again.

    Without a command the newest jobs are listed.

    Example: isthmus jobs ls --status "needs attention"
    """


@command.command("ls")
@click.option("--status", type=click.Choice([str(each) for each in Status]), help="Those in one status.")
@click.option("--kind", help="Those of one kind.")
@click.option("--schedule", help="Those of one schedule.")
@click.option("--limit", type=click.IntRange(1, 1_000), default=_ROWS, show_default=True, help="How many at most.")
@at_terminal
def list_all(terminal: Terminal, *, status: str | None, kind: str | None, schedule: str | None, limit: int) -> None:
    """List jobs, newest first.

    Example: isthmus jobs ls --kind sync.connection --json
    """
    from isthmus.app.scheduling.views import job_view
    from isthmus.stream.jobs.board import jobs

    wanted = None if status is None else Status(status)

    async def ask(program: Program) -> list[JobView]:
        async with program.database.transaction(operator(program, "jobs")) as tx:
            found = await jobs(tx, status=wanted, kind=kind, schedule=schedule, limit=limit)
        return [job_view(each) for each in found]

    found, now = terminal.run(ask), SystemClock().now()
    rows = [
        {
            "id": each.id,
            "kind": each.kind,
            "status": each.status,
            "tries": f"{each.tries}/{each.tries_max}",
            "due": ago(each.due_at, now=now) if each.due_at <= now else moment(each.due_at),
            "progress": _progress(each),
            "reason": each.reason,
        }
        for each in found
    ]
    columns = ("id", "kind", "status", "tries", "due", "progress", "reason")
    terminal.answer(found, lambda: table(rows, columns=columns, empty="no jobs; start one: isthmus jobs run KIND"))


@command.command("show")
@click.argument("job_id", metavar="ID")
@at_terminal
def show(terminal: Terminal, job_id: str) -> None:
    """Show a job with its arguments and its result.

    Example: isthmus jobs show job_01KAX3V9Q2M4T8Z5N7P6R1S0WD
    """
    from isthmus.app.scheduling.views import job_view
    from isthmus.stream.jobs.board import job_of

    own = id_of(_JOB, job_id, fix=_HINT)

    async def ask(program: Program) -> JobView:
        async with program.database.transaction(operator(program, "jobs")) as tx:
            return job_view(await job_of(tx, own))

    found = terminal.run(ask)
    terminal.answer(found, lambda: click.echo(msgspec.json.format(msgspec.json.encode(found)).decode()))


@command.command("kinds")
@at_terminal
def list_kinds(terminal: Terminal) -> None:
    """List the kinds of jobs that can be started, with what they take.

    Example: isthmus jobs kinds
    """
    from isthmus.app.scheduling.kinds import kind_views

    found = kind_views()
    rows = [{"kind": each.name, "arguments": " ".join(each.arguments), "does": each.about} for each in found]
    terminal.answer(found, lambda: table(rows, columns=("kind", "arguments", "does"), empty=""))


@command.command("run")
@click.argument("kind")
@click.option("--argument", "given", multiple=True, metavar="NAME=VALUE", help="An argument; JSON, or else text.")
@click.option("--priority", type=click.IntRange(0, 100), default=10, show_default=True, help="In minutes of waiting.")
@at_terminal
def run_one(terminal: Terminal, kind: str, given: tuple[str, ...], priority: int) -> None:
    """Start a job, which a running program does.

    Example: isthmus jobs run sync.connection --argument connection=crm
    """
    from isthmus.app.scheduling.kinds import checked, kind_of
    from isthmus.app.scheduling.views import job_view
    from isthmus.stream.jobs.board import start
    from isthmus.stream.jobs.job import Wish

    known = kind_of(kind)
    arguments = checked(known, read_arguments(given))
    wish = Wish(kind=known.name, arguments=arguments, priority=priority, tries_max=known.tries_max)

    async def work(tx: Transaction, _: Program) -> JobView:
        return job_view(await start(tx, wish))

    made = terminal.transact("jobs-run", work)
    terminal.answer(made, lambda: say(f"{made.id} waits to be done; see how it goes: isthmus jobs show {made.id}"))


@command.command("cancel")
@click.argument("job_id", metavar="ID")
@at_terminal
def cancel_one(terminal: Terminal, job_id: str) -> None:
    """Cancel a job: at once when it waits, at its next step when it runs.

    Example: isthmus jobs cancel job_01KAX3V9Q2M4T8Z5N7P6R1S0WD
    """
    from isthmus.stream.jobs.board import cancel

    found = _changed(terminal, job_id, cancel, cause="jobs-cancel")
    running = found.status == Status.RUNNING
    told = "stops at its next step" if running else "is cancelled; have it done after all: isthmus jobs retry"
    terminal.answer(found, lambda: say(f"{found.id} {told}"))


@command.command("retry")
@click.argument("job_id", metavar="ID")
@at_terminal
def retry_one(terminal: Terminal, job_id: str) -> None:
    """Try a job again, from its first step that is not done.

    Example: isthmus jobs retry job_01KAX3V9Q2M4T8Z5N7P6R1S0WD
    """
    from isthmus.stream.jobs.board import again

    found = _changed(terminal, job_id, again, cause="jobs-retry")
    terminal.answer(found, lambda: say(f"{found.id} waits to be done"))


@command.command("discard")
@click.argument("job_id", metavar="ID")
@at_terminal
def discard_one(terminal: Terminal, job_id: str) -> None:
    """Give up a job that needs attention; it can be tried again while it is kept.

    Example: isthmus jobs discard job_01KAX3V9Q2M4T8Z5N7P6R1S0WD
    """
    from isthmus.stream.jobs.board import discard

    found = _changed(terminal, job_id, discard, cause="jobs-discard")
    terminal.answer(found, lambda: say(f"{found.id} is given up; have it done after all: isthmus jobs retry"))


def read_arguments(given: tuple[str, ...]) -> dict[str, Json]:
    """Return arguments of the form NAME=VALUE; a value that is no JSON is text."""
    found: dict[str, Json] = {}
    for each in given:
        name, sign, text = each.partition("=")
        if not sign or not name:
            raise click.UsageError(f"{each!r} is no argument. Give one such as connection=crm.")
        try:
            found[name] = cast("Json", msgspec.json.decode(text))
        except msgspec.DecodeError:
            found[name] = text
    return found


def _changed(
    terminal: Terminal, job_id: str, change: Callable[[Transaction, UUID], Awaitable[Job]], *, cause: str
) -> JobView:
    """Change a job at the terminal, and return it as it is shown."""
    from isthmus.app.scheduling.views import job_view

    own = id_of(_JOB, job_id, fix=_HINT)

    async def work(tx: Transaction, _: Program) -> JobView:
        return job_view(await change(tx, own))

    return terminal.transact(cause, work)


def _progress(job: JobView) -> str:
    if job.progress is None:
        return ""
    total = "" if job.progress.total is None else f"/{job.progress.total:,}"
    return f"{job.progress.done:,}{total} {job.progress.text}".strip()
