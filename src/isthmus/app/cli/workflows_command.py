"""`isthmus workflows`."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

import click

from isthmus.app.cli.groups import Group
from isthmus.app.cli.output import print_json, say, table
from isthmus.app.cli.terminal import Terminal, at_terminal
from isthmus.app.cli.wording import moment

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from uuid import UUID

    from isthmus.app.program import Program
    from isthmus.app.workflow_views import RunView, VersionView, WorkflowView
    from isthmus.store.database import Transaction
    from isthmus.stream.workflows.subject import Run

_STATES = click.Choice(["running", "paused", "done", "cancelled"])


class _Workflows(Group):
    default = "ls"


@click.group("workflows", cls=_Workflows)
def command() -> None:
    """See and edit what is done for records step by step; start, pause and cancel it for one of them.

    Without a command workflows are listed. What runs goes on with the version that it began with.

    Example: isthmus workflows show rescue --json > rescue.json
    """


@command.command("ls")
@at_terminal
def list_all(terminal: Terminal) -> None:
    """List workflows.

    Example: isthmus workflows ls --json
    """
    from isthmus.app.workflow_views import shown, workflow_view

    async def work(tx: Transaction, _: Program) -> list[WorkflowView]:
        return [workflow_view(each) for each in await shown(tx)]

    found = terminal.transact("workflows", work)
    rows = [
        {
            "name": each.name,
            "for": each.subject,
            "version": each.version,
            "status": each.status,
            "steps": len(each.steps),
            "begins": ", ".join(each.cues) or "by hand",
            "title": each.title,
        }
        for each in found
    ]
    columns = ("name", "for", "version", "status", "steps", "begins", "title")
    terminal.answer(found, lambda: table(rows, columns=columns, empty="none; write one: isthmus workflows edit"))


@command.command("show")
@click.argument("name")
@at_terminal
def show_one(terminal: Terminal, name: str) -> None:
    """Print what a workflow says, as JSON that `edit` takes.

    Example: isthmus workflows show follow-up
    """
    from isthmus.app.workflow_views import known, workflow_view

    async def work(tx: Transaction, _: Program) -> WorkflowView:
        return workflow_view(await known(tx, name))

    print_json(terminal.transact("workflows-show", work))


@command.command("edit")
@click.argument("name")
@click.option("--file", "source", type=click.File("r", encoding="utf-8"), required=True, help="JSON; - is stdin.")
@click.option("--subject", default="", help="The type of the records that a new workflow follows, such as sales.lead.")
@click.option("--note", default="", help="Why, for those who read the versions later.")
@at_terminal
def edit_one(terminal: Terminal, name: str, *, source: IO[str], subject: str, note: str) -> None:
    """Write a new version of a workflow, or a new one.

    Example: isthmus workflows edit follow-up --file follow-up.json --note "two days, not three"
    """
    from msgspec import structs

    from isthmus.app.workflow_views import edited, read_version, workflow_view

    read = read_version(source.read())
    wanted = structs.replace(read, subject=subject or read.subject, note=note or read.note)

    async def work(tx: Transaction, program: Program) -> WorkflowView:
        return workflow_view(await edited(tx, program.store.schema, name, wanted))

    found = terminal.transact("workflows-edit", work)
    terminal.answer(found, lambda: say(f"{name} is at version {found.version}; what runs goes on with its own"))


@command.command("versions")
@click.argument("name")
@at_terminal
def list_versions(terminal: Terminal, name: str) -> None:
    """List the versions of a workflow, newest first.

    Example: isthmus workflows versions follow-up
    """
    from isthmus.app.workflow_views import known, version_view
    from isthmus.stream.workflows.shelf import versions

    async def work(tx: Transaction, _: Program) -> list[VersionView]:
        await known(tx, name)
        return [version_view(each) for each in await versions(tx, name)]

    found = terminal.transact("workflows-versions", work)
    rows = [
        {
            "version": each.version,
            "made": moment(each.made_at),
            "by": each.made_by,
            "steps": len(each.steps),
            "title": each.title,
            "note": each.note,
        }
        for each in found
    ]
    columns = ("version", "made", "by", "steps", "title", "note")
    terminal.answer(found, lambda: table(rows, columns=columns, empty="none"))


@command.command("pause")
@click.argument("name")
@click.option("--reason", default="", help="Why, for those who wonder.")
@at_terminal
def pause_one(terminal: Terminal, name: str, *, reason: str) -> None:
    """Let a workflow rest with all its runs, or one run (wrun_…).

    Example: isthmus workflows pause follow-up --reason "the texts are rewritten"
    """
    from isthmus.app.workflow_views import paused, workflow_view
    from isthmus.stream.workflows.runs import RUN_PREFIX, pause

    if name.startswith(f"{RUN_PREFIX}_"):
        _change(terminal, "workflows-pause", name, pause)
        return

    async def work(tx: Transaction, _: Program) -> WorkflowView:
        return workflow_view(await paused(tx, name, reason=reason))

    found = terminal.transact("workflows-pause", work)
    terminal.answer(found, lambda: say(f"{name} rests"))


@command.command("resume")
@click.argument("name")
@at_terminal
def resume_one(terminal: Terminal, name: str) -> None:
    """Let a workflow, or one run (wrun_…), go on; what fell due meanwhile is done at once.

    Example: isthmus workflows resume follow-up
    """
    from isthmus.app.workflow_views import resumed, workflow_view
    from isthmus.stream.workflows.runs import RUN_PREFIX, resume

    if name.startswith(f"{RUN_PREFIX}_"):
        _change(terminal, "workflows-resume", name, resume)
        return

    async def work(tx: Transaction, _: Program) -> WorkflowView:
        return workflow_view(await resumed(tx, name))

    found = terminal.transact("workflows-resume", work)
    terminal.answer(found, lambda: say(f"{name} goes on"))


@command.command("start")
@click.argument("name")
@click.argument("record")
@click.option("--owner", default="", help="Who has what is to be done, where the domain asks for one.")
@at_terminal
def start_one(terminal: Terminal, name: str, record: str, *, owner: str) -> None:
    """Start a workflow for a record; refused (5) while it runs for it.

    Example: isthmus workflows start rescue acct_01JD3Q4B8M0000000000000000 --owner eva
    """
    from isthmus.app.syncing import sync_engine
    from isthmus.app.workflow_views import run_view, started
    from isthmus.app.workflows import Held

    async def work(tx: Transaction, program: Program) -> RunView:
        run = await started(tx, Held(sync_engine(program)), name, record, owner=owner)
        return run_view(run, program.store.schema)

    found = terminal.transact("workflows-start", work)
    terminal.answer(found, lambda: say(f"{found.id} begins; see how it goes: isthmus workflows runs --record {record}"))


@command.command("runs")
@click.option("--workflow", help="Of this workflow.")
@click.option("--state", type=_STATES, help="In this state.")
@click.option("--record", help="For this record.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="How many at most.")
@at_terminal
def list_runs(terminal: Terminal, *, workflow: str | None, state: str | None, record: str | None, limit: int) -> None:
    """List runs of workflows, newest first.

    Example: isthmus workflows runs --workflow rescue --state running
    """
    from typing import cast

    from isthmus.app.workflow_views import record_id, run_view
    from isthmus.stream.workflows.runs import State, runs

    async def work(tx: Transaction, program: Program) -> list[RunView]:
        schema = program.store.schema
        subject = None if record is None else record_id(schema, record)
        found = await runs(tx, name=workflow, state=cast("State | None", state), subject=subject, limit=limit)
        return [run_view(each, schema) for each in found]

    found = terminal.transact("workflows-runs", work)
    rows = [
        {
            "run": each.id,
            "workflow": f"{each.workflow} {each.version}",
            "record": each.subject_id,
            "state": each.state,
            "step": f"{min(each.position, 999)}",
            "due": moment(each.due_at),
            "reason": each.reason,
        }
        for each in found
    ]
    columns = ("run", "workflow", "record", "state", "step", "due", "reason")
    terminal.answer(found, lambda: table(rows, columns=columns, empty="none; start one: isthmus workflows start"))


@command.command("cancel")
@click.argument("run")
@click.option("--reason", default="", help="Why, for those who wonder.")
@at_terminal
def cancel_one(terminal: Terminal, run: str, *, reason: str) -> None:
    """Cancel a run, and close what stands for it.

    Example: isthmus workflows cancel wrun_01JD3Q4B8M0000000000000000 --reason "they called us"
    """
    from isthmus.app.syncing import sync_engine
    from isthmus.app.workflow_views import cancelled, run_view
    from isthmus.app.workflows import Held
    from isthmus.kernel.ids import uuid_of
    from isthmus.stream.workflows.runs import RUN_PREFIX

    async def work(tx: Transaction, program: Program) -> RunView:
        own = uuid_of(RUN_PREFIX, run)
        return run_view(await cancelled(tx, Held(sync_engine(program)), own, reason=reason), program.store.schema)

    found = terminal.transact("workflows-cancel", work)
    terminal.answer(found, lambda: say(f"{found.id} is cancelled"))


def _change(terminal: Terminal, cause: str, run: str, change: Callable[[Transaction, UUID], Awaitable[Run]]) -> None:
    """Change a run, and say how it stands."""
    from isthmus.app.workflow_views import run_view
    from isthmus.kernel.ids import uuid_of
    from isthmus.stream.workflows.runs import RUN_PREFIX

    async def work(tx: Transaction, program: Program) -> RunView:
        return run_view(await change(tx, uuid_of(RUN_PREFIX, run)), program.store.schema)

    found = terminal.transact(cause, work)
    terminal.answer(found, lambda: say(f"{found.id} is {found.state}"))
