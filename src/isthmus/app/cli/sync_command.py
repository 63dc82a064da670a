"""`isthmus sync`: running connections, and how they are."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from isthmus.app.cli import exit_code
from isthmus.app.cli.common import operator
from isthmus.app.cli.groups import Group
from isthmus.app.cli.output import say
from isthmus.app.cli.sync_again import backfill, resync
from isthmus.app.cli.sync_history import list_outcomes, list_runs
from isthmus.app.cli.sync_mending import plan, rejected, retry
from isthmus.app.cli.sync_views import (
    RunView,
    code_of,
    not_run,
    show_runs,
    show_streams,
    streams,
)
from isthmus.app.cli.telling import Teller
from isthmus.app.cli.terminal import Terminal, at_terminal
from isthmus.app.clock import SystemClock
from isthmus.app.sync_views import run_view
from isthmus.app.syncing import WATCH_S, watched
from isthmus.kernel.errors import IsthmusError
from isthmus.sync.connections import Status, connection_of, connections, resume
from isthmus.sync.running import EVERYTHING, Part
from isthmus.sync.runs import Run, as_of, runs

if TYPE_CHECKING:
    from isthmus.app.program import Program
    from isthmus.store.database import Transaction


class _Sync(Group):
    default = "status"


@click.group("sync", cls=_Sync)
def command() -> None:
    """Pull, push and plan; watch runs; retry what was rejected.

    Without a command the status is shown.

    Example: isthmus sync run --all
    """


@command.command("run")
@click.argument("names", nargs=-1)
@click.option("--all", "every", is_flag=True, help="Run every connection that is not paused.")
@click.option(
    "--only", type=click.Choice(EVERYTHING), multiple=True, help="Only this part; repeatable. All three by default."
)
@click.option(
    "--confirmed",
    "--confirm-deletes",
    "confirmed",
    is_flag=True,
    help="A person has agreed to the many deletions that were held back.",
)
@at_terminal
@click.pass_context
def run(
    context: click.Context,
    terminal: Terminal,
    names: tuple[str, ...],
    only: tuple[str, ...],
    *,
    every: bool,
    confirmed: bool,
) -> None:
    """Run connections now, one after the other.

    Exits 0 when all runs came to their end (rows may be rejected: they are counted and kept), 1 when one failed,
    5 when one is running already, 6 when a system does not answer for now.

    Example: isthmus sync run crm billing --only pull
    """
    if bool(names) == every:
        raise click.UsageError("Name connections, or say --all.")
    parts: tuple[Part, ...] = tuple(part for part in EVERYTHING if not only or part in only)

    async def work(program: Program) -> list[tuple[RunView, int]]:
        if names:
            return [
                await _run(program, name, parts=parts, confirmed=confirmed, alone=len(names) == 1) for name in names
            ]
        chosen = await _unpaused(program)
        return [await _run(program, name, parts=parts, confirmed=confirmed, alone=False) for name in chosen]

    found = terminal.run(work)
    views = [view for view, _ in found]
    terminal.answer(views, lambda: show_runs(views))
    context.exit(max((code for _, code in found), default=0))


@command.command("status")
@at_terminal
def status(terminal: Terminal) -> None:
    """Show how connections are and how fresh.

    There is one status: pending, running, retrying (with the time of the next try), healthy, degraded (some rows
    were rejected), needs attention (with the reason), paused.

    Example: isthmus sync status
    """
    found = terminal.transact("sync-status", lambda tx, _: streams(tx))
    terminal.answer(found, lambda: show_streams(found, now=SystemClock().now()))


@command.command("watch")
@click.argument("name")
@at_terminal
@click.pass_context
def watch(context: click.Context, terminal: Terminal, name: str) -> None:
    """Watch the run that goes on until it ends.

    It may have been started elsewhere, by a schedule or another program. When none goes on, the last one is shown.

    Example: isthmus sync watch crm
    """

    async def ask(program: Program) -> Run | None:
        progress = Teller(name)
        while True:
            async with program.database.transaction(operator(program, "sync-watch")) as tx:
                connection = await connection_of(tx, name)
                last = next(iter(await runs(tx, connection_id=connection.id, limit=1)), None)
            if last is None or last.finished_at is not None:
                return last
            if (stands := as_of(last, program.clock.now())).status == Status.NEEDS_ATTENTION:
                return stands
            progress.show(last)
            await asyncio.sleep(WATCH_S)

    last = terminal.run(ask)
    if last is None:
        terminal.answer(None, lambda: say(f"{name} has never run; run it: isthmus sync run {name}"))
        return
    found = run_view(last)
    terminal.answer(found, lambda: show_runs([found]))
    context.exit(code_of(found))


@command.command("resume", hidden=True)
@click.argument("name")
@at_terminal
def resume_one(terminal: Terminal, name: str) -> None:
    """Let a paused connection run again; the same as `isthmus connect resume`."""

    async def work(tx: Transaction, _: Program) -> None:
        await resume(tx, await connection_of(tx, name))

    terminal.transact("sync-resume", work)
    terminal.answer({"name": name, "status": "pending"}, lambda: click.echo(f"resumed {name}"))


command.add_command(list_runs)
command.add_command(backfill)
command.add_command(resync)
command.add_command(plan)
command.add_command(retry)
command.add_command(rejected)
command.add_command(list_outcomes)


async def _run(
    program: Program, name: str, *, parts: tuple[Part, ...], confirmed: bool, alone: bool
) -> tuple[RunView, int]:
    """Run one connection and return how it went, and the exit code.

    Among several what keeps one of them from running is told, and the others run; alone it is raised.
    """
    teller = Teller(name)
    try:
        ended = await watched(program, name, parts=parts, confirmed=confirmed, show=teller.show)
    except IsthmusError as error:
        if alone:
            raise
        teller.end(str(error))
        return not_run(name, error), exit_code(error)
    view = run_view(ended)
    teller.end(f"{view.status} after {view.seconds:,.1f} s" + (f": {view.error}" if view.error else ""))
    return view, code_of(view)


async def _unpaused(program: Program) -> tuple[str, ...]:
    async with program.database.transaction(operator(program, "sync")) as tx:
        found = await connections(tx)
    return tuple(each.name for each in found if each.status != "paused")
