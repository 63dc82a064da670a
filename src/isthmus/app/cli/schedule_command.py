"""`isthmus schedule`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from isthmus.app.cli.groups import Group
from isthmus.app.cli.jobs_command import read_arguments
from isthmus.app.cli.output import say, table
from isthmus.app.cli.terminal import Terminal, at_terminal
from isthmus.app.cli.wording import moment
from isthmus.app.scheduling.standard import installed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from isthmus.app.program import Program
    from isthmus.app.scheduling.views import JobView, ScheduleView
    from isthmus.store.database import Transaction
    from isthmus.stream.jobs.schedules import Schedule

_CRON = "Minute, hour, day of the month, month, day of the week: '0 6 * * 1-5', '0 5 * * 1#1'."
_ZONE = "A name of the IANA database such as Europe/Brussels; '' is the workspace's own."
_DAY = click.DateTime(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M"])


class _Schedules(Group):
    default = "ls"


@click.group("schedule", cls=_Schedules)
def command() -> None:
    """See when jobs come by themselves; move them, let them rest, run them now, fill a past time.

    Without a command schedules are listed.

    Example: isthmus schedule edit daily-crm --cron "30 1 * * *" --zone Europe/Brussels
    """


@command.command("ls")
@at_terminal
def list_all(terminal: Terminal) -> None:
    """List schedules, and when they come next (in UTC).

    Example: isthmus schedule ls --json
    """
    from isthmus.app.scheduling.views import schedule_view
    from isthmus.stream.jobs.schedules import schedules

    async def work(tx: Transaction, _: Program) -> list[ScheduleView]:
        await installed(tx)
        return [schedule_view(each) for each in await schedules(tx)]

    found = terminal.transact("schedule", work)
    rows = [
        {
            "name": each.name,
            "status": each.status,
            "cron": each.cron,
            "zone": each.zone,
            "next": moment(each.next_at),
            "last": moment(each.last_at),
            "missed": each.missed,
            "job": each.kind,
            "about": each.about,
        }
        for each in found
    ]
    columns = ("name", "status", "cron", "zone", "next", "last", "missed", "job", "about")
    terminal.answer(found, lambda: table(rows, columns=columns, empty="none; add one: isthmus schedule add"))


@command.command("add")
@click.argument("name")
@click.argument("kind")
@click.option("--cron", required=True, help=_CRON)
@click.option("--zone", default="", help=_ZONE)
@click.option("--argument", "given", multiple=True, metavar="NAME=VALUE", help="An argument; JSON, or else text.")
@click.option("--about", default="", help="What it is for.")
@at_terminal
def add_one(
    terminal: Terminal, name: str, kind: str, *, cron: str, zone: str, given: tuple[str, ...], about: str
) -> None:
    """Add a schedule of jobs of a kind (isthmus jobs kinds).

    Example: isthmus schedule add noon-crm sync.connection --cron "0 12 * * 1-5" --argument connection=crm
    """
    from isthmus.app.scheduling.kinds import checked, kind_of
    from isthmus.stream.jobs.schedules import Standard, add

    known = kind_of(kind)
    arguments = checked(known, read_arguments(given))
    wanted = Standard(name=name, about=about, kind=kind, cron=cron, arguments=arguments, zone=zone or None)
    _change(terminal, "schedule-add", lambda tx: add(tx, wanted))


@command.command("edit")
@click.argument("name")
@click.option("--cron", help=_CRON)
@click.option("--zone", help=_ZONE)
@click.option("--argument", "given", multiple=True, metavar="NAME=VALUE", help="An argument; those not named go.")
@at_terminal
def edit_one(terminal: Terminal, name: str, *, cron: str | None, zone: str | None, given: tuple[str, ...]) -> None:
    """Change when a schedule comes, and with what.

    Example: isthmus schedule edit daily-health --cron "0 5 * * *"
    """
    from isthmus.app.scheduling.kinds import checked, kind_of
    from isthmus.stream.jobs.schedules import change, schedule_of

    if cron is None and zone is None and not given:
        raise click.UsageError("Say what is to be different: --cron, --zone or --argument.")

    async def work(tx: Transaction) -> Schedule:
        kind = kind_of((await schedule_of(tx, name)).kind)
        arguments = checked(kind, read_arguments(given)) if given else None
        return await change(tx, name, cron=cron, own_zone=zone, arguments=arguments)

    _change(terminal, "schedule-edit", work)


@command.command("rm")
@click.argument("name")
@at_terminal
def remove_one(terminal: Terminal, name: str) -> None:
    """Take a schedule away.

    Example: isthmus schedule rm noon-crm
    """
    from isthmus.stream.jobs.schedules import remove

    async def work(tx: Transaction, _: Program) -> None:
        await installed(tx)
        await remove(tx, name)

    terminal.transact("schedule-rm", work)
    terminal.answer({"removed": name}, lambda: say(f"{name} is gone"))


@command.command("pause")
@click.argument("name")
@click.option("--reason", default="", help="Why, for those who wonder.")
@at_terminal
def pause_one(terminal: Terminal, name: str, *, reason: str) -> None:
    """Let a schedule rest; what it rests over is not caught up.

    Example: isthmus schedule pause weekly-analytics --reason "the quarter is closed first"
    """
    from isthmus.stream.jobs.schedules import pause

    _change(terminal, "schedule-pause", lambda tx: pause(tx, name, reason=reason))


@command.command("resume")
@click.argument("name")
@at_terminal
def resume_one(terminal: Terminal, name: str) -> None:
    """Let a schedule come again, from now on.

    Example: isthmus schedule resume weekly-analytics
    """
    from isthmus.stream.jobs.schedules import resume

    _change(terminal, "schedule-resume", lambda tx: resume(tx, name))


@command.command("run")
@click.argument("name")
@at_terminal
def run_one(terminal: Terminal, name: str) -> None:
    """Run the job of a schedule now; refused (5) while the last run is not done.

    Example: isthmus schedule run daily-health
    """
    from isthmus.app.scheduling.views import job_view
    from isthmus.stream.jobs.board import job_of
    from isthmus.stream.jobs.schedules import run_now

    async def work(tx: Transaction, _: Program) -> JobView:
        await installed(tx)
        return job_view(await job_of(tx, await run_now(tx, name)))

    made = terminal.transact("schedule-run", work)
    terminal.answer(made, lambda: say(f"{made.id} waits to be done; see how it goes: isthmus jobs show {made.id}"))


@command.command("backfill")
@click.argument("name")
@click.option("--from", "since", type=_DAY, required=True, help="The first moment, in UTC.")
@click.option("--to", "until", type=_DAY, required=True, help="Up to this moment, in UTC.")
@at_terminal
def backfill_one(terminal: Terminal, name: str, *, since: datetime, until: datetime) -> None:
    """Make a job for every moment of a past time, done one after the other.

    Example: isthmus schedule backfill daily-health --from 2026-11-01 --to 2026-11-08
    """
    from datetime import UTC

    from isthmus.kernel.ids import text_of
    from isthmus.stream.jobs.job import JOB_PREFIX
    from isthmus.stream.jobs.schedules import backfill

    async def work(tx: Transaction, _: Program) -> list[str]:
        await installed(tx)
        made = await backfill(tx, name, since=since.replace(tzinfo=UTC), until=until.replace(tzinfo=UTC))
        return [text_of(JOB_PREFIX, each) for each in made]

    made = terminal.transact("schedule-backfill", work)
    terminal.answer({"jobs": made}, lambda: say(f"{len(made)} runs of {name} wait to be done"))


@command.command("zone")
@click.argument("zone", required=False)
@at_terminal
def set_one(terminal: Terminal, zone: str | None) -> None:
    """Show or set the time zone in which schedules without one of their own are read.

    Example: isthmus schedule zone Europe/Brussels
    """
    from isthmus.stream.jobs import schedules

    async def work(tx: Transaction, _: Program) -> str:
        await installed(tx)
        if zone is not None:
            await schedules.set_zone(tx, zone)
        return await schedules.zone(tx)

    found = terminal.transact("schedule-zone", work)
    terminal.answer({"zone": found}, lambda: click.echo(found))


def _change(terminal: Terminal, cause: str, work: Callable[[Transaction], Awaitable[Schedule]]) -> None:
    """Change a schedule, and say how it stands."""
    from isthmus.app.scheduling.views import schedule_view

    async def inside(tx: Transaction, _: Program) -> ScheduleView:
        await installed(tx)
        return schedule_view(await work(tx))

    found = terminal.transact(cause, inside)
    comes = "rests" if found.status == "paused" else f"comes next at {moment(found.next_at)} UTC"
    terminal.answer(found, lambda: say(f"{found.name} {comes} ({found.cron}, {found.zone})"))
