"""`isthmus mapping`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from isthmus.app.cli.common import operator
from isthmus.app.cli.groups import Group
from isthmus.app.cli.output import say, table
from isthmus.app.cli.terminal import Terminal, at_terminal
from isthmus.app.cli.wording import counted, id_of, value_text
from isthmus.app.mapping_views import (
    MappingFields,
    MappingPlan,
    MappingView,
    fields_to_map,
    fitting,
    mapping_view,
    plan_view,
    planned_mapping,
)
from isthmus.app.syncing import opened_engine, sync_engine
from isthmus.kernel.errors import Invalid
from isthmus.sync.connections import connection_of
from isthmus.sync.flow_versions import (
    FLOW_PREFIX,
    FlowVersion,
    activate_flow,
    flow_of,
    flow_versions,
    roll_back_flow,
    save_flow,
)
from isthmus.sync.flows import Flow
from isthmus.sync.running import map_again

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from isthmus.app.program import Program
    from isthmus.store.database import Transaction
    from isthmus.sync.runs import Run

_LIST = "List them: isthmus mapping ls"
_COLUMNS = ("id", "connection", "type", "number", "in_force", "reason", "created_by")


class FileUnread(Invalid):
    """The file holds no mapping."""

    code, title = "file-unread", "The file holds no mapping"


class _Mapping(Group):
    default = "ls"


@click.group("mapping", cls=_Mapping)
def command() -> None:
    """Say which fields flow between a connection and the records of a type, in which direction, changed how.

    Versions are kept with who made them and why. A new one changes nothing until it is activated.

    Example: isthmus mapping ls
    """


@command.command("ls")
@click.option("--connection", help="Only of this connection.")
@click.option("--limit", type=click.IntRange(1, 500), default=100, show_default=True, help="Versions at most.")
@at_terminal
def ls(terminal: Terminal, connection: str | None, limit: int) -> None:
    """List versions, newest first.

    Example: isthmus mapping ls --connection crm
    """

    async def ask(tx: Transaction, _: Program) -> list[MappingView]:
        own = None if connection is None else (await connection_of(tx, connection)).id
        return [mapping_view(each) for each in await flow_versions(tx, connection_id=own, limit=limit)]

    rows = terminal.transact("mapping", ask)
    empty = "every connection maps as its connector does"
    terminal.answer(rows, lambda: table([msgspec.to_builtins(each) for each in rows], columns=_COLUMNS, empty=empty))


@command.command("show")
@click.argument("mapping")
@at_terminal
def show(terminal: Terminal, mapping: str) -> None:
    """Show a version.

    Example: isthmus mapping show map_01KAX3V9Q2M4T8Z5N7P6R1S0WD
    """
    _act(terminal, mapping, lambda tx, _, found: flow_of(tx, found.id))


@command.command("save")
@click.argument("connection")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--reason", required=True, help="Why, in a sentence.")
@at_terminal
def save(terminal: Terminal, connection: str, file: Path, reason: str) -> None:
    """Keep the next version from a JSON file, checked against the record type and the connector.

    Example: isthmus mapping save crm accounts.json --reason "Owners are kept in the CRM."
    """
    try:
        flow = msgspec.json.decode(file.read_bytes(), type=Flow)
    except msgspec.DecodeError as error:
        raise FileUnread(f"{file.name} holds no mapping: {error}.", fix="See docs/how-to/map-fields.md.") from error

    async def act(tx: Transaction, program: Program) -> MappingView:
        own = await connection_of(tx, connection)
        fit = await fitting(tx, program.store, sync_engine(program), own.name, flow, program.store.schema)
        return mapping_view(await save_flow(tx, connection_id=own.id, flow=fit, reason=reason))

    saved = terminal.transact("mapping", act)
    terminal.answer(saved, lambda: click.echo(f"{saved.id}: version {saved.number}; try it: mapping plan {saved.id}"))


@command.command("fields")
@click.argument("connection")
@click.argument("type_name", metavar="TYPE")
@click.option("--ask", is_flag=True, help="Have the system describe its fields as well.")
@click.option("--unread", is_flag=True, help="Only fields that hold something and that nothing reads yet.")
@at_terminal
def fields(terminal: Terminal, connection: str, type_name: str, *, ask: bool, unread: bool) -> None:
    """List the fields of what a system sends, custom ones among them, and what becomes of each; no value is told.

    Example: isthmus mapping fields crm sales.account --ask
    """

    async def work(program: Program) -> MappingFields:
        scope = operator(program, "mapping")
        name = program.store.schema[type_name].name
        async with program.store.database.transaction(scope) as tx:
            own = await connection_of(tx, connection)
        async with opened_engine(program) as engine:
            return await fields_to_map(program.store, engine, scope, own, name, ask=ask)

    found = terminal.run(work)
    shown = [each for each in found.fields if not unread or (each.filled and not each.becomes)]
    answer = msgspec.structs.replace(found, fields=shown)
    terminal.answer(answer, lambda: _show_fields(answer))


@command.command("plan")
@click.argument("mapping")
@click.option("--limit", type=click.IntRange(0, 200), default=20, show_default=True, help="Changes shown at most.")
@click.option("--show-personal", is_flag=True, help="Show personal values, which are masked otherwise.")
@at_terminal
def plan(terminal: Terminal, mapping: str, limit: int, *, show_personal: bool) -> None:
    """Tell what a version would change on the records as they were received, and on what is told of them.

    Nothing is changed.

    Example: isthmus mapping plan map_01KAX3V9Q2M4T8Z5N7P6R1S0WD
    """
    own = id_of(FLOW_PREFIX, mapping, fix=_LIST)

    async def ask(tx: Transaction, program: Program) -> MappingPlan:
        version = await flow_of(tx, own)
        found = await planned_mapping(tx, program.store, sync_engine(program), version)
        record_type = program.store.schema[version.type]
        return plan_view(found, record_type, may=lambda _: show_personal, shown=limit)

    found = terminal.transact("mapping", ask)
    terminal.answer(found, lambda: _show_plan(found))


@command.command("activate")
@click.argument("mapping")
@at_terminal
def activate(terminal: Terminal, mapping: str) -> None:
    """Put a version in force: every run that begins from now on uses it.

    Example: isthmus mapping activate map_01KAX3V9Q2M4T8Z5N7P6R1S0WD
    """

    async def act(tx: Transaction, program: Program, found: FlowVersion) -> FlowVersion:
        engine = sync_engine(program)
        await fitting(tx, program.store, engine, found.connection, found.flow, program.store.schema)
        return await activate_flow(tx, found)

    _act(terminal, mapping, act)


@command.command("rollback")
@click.argument("mapping")
@at_terminal
def rollback(terminal: Terminal, mapping: str) -> None:
    """Take back that a version was put in force: the one before it is, or the connector's own mapping.

    Example: isthmus mapping rollback map_01KAX3V9Q2M4T8Z5N7P6R1S0WD
    """
    _act(terminal, mapping, lambda tx, _, found: roll_back_flow(tx, found))


@command.command("replay")
@click.argument("connection")
@click.argument("type_name", metavar="TYPE")
@at_terminal
def replay(terminal: Terminal, connection: str, type_name: str) -> None:
    """Map again what was received, with the mapping that is in force; nothing is read from the system.

    Example: isthmus mapping replay crm sales.account
    """

    async def work(program: Program) -> Run:
        async with opened_engine(program) as engine:
            name = program.store.schema[type_name].name
            return await map_again(engine, workspace=program.workspace, connection=connection, type_name=name)

    run = terminal.run(work)
    told = {"status": run.status.value, "read": run.read, "changed": run.changed, "rejected": run.rejected}
    terminal.answer(told, lambda: click.echo(f"{counted(run.read, 'record')} mapped again, {run.changed:,} changed"))


def _act(
    terminal: Terminal, mapping: str, act: Callable[[Transaction, Program, FlowVersion], Awaitable[FlowVersion]]
) -> None:
    own = id_of(FLOW_PREFIX, mapping, fix=_LIST)

    async def work(tx: Transaction, program: Program) -> MappingView:
        return mapping_view(await act(tx, program, await flow_of(tx, own)))

    found = terminal.transact("mapping", work)
    terminal.answer(found, lambda: _show(found))


def _show(found: MappingView) -> None:
    state = "in force" if found.in_force else "not in force"
    click.echo(f"{found.connection}, {found.type}, version {found.number}: {state}. {found.reason}")
    click.echo(msgspec.json.format(msgspec.json.encode(found.mapping)).decode())


def _show_fields(found: MappingFields) -> None:
    rows: list[dict[str, object]] = [
        {
            "path": each.path,
            "label": each.label,
            "kind": each.kind or ", ".join(each.kinds),
            "own": "own" if each.own else "",
            "filled": each.filled,
            "becomes": ", ".join(each.becomes),
        }
        for each in found.fields
    ]
    columns = ("path", "label", "kind", "own", "filled", "becomes")
    table(rows, columns=columns, empty="nothing was received yet; run it first: isthmus sync run")
    say(f"{counted(found.looked, 'row')} looked at. {found.note}".rstrip())


def _show_plan(found: MappingPlan) -> None:
    rows: list[dict[str, object]] = [
        {
            "external_id": each.external_id,
            "field": each.field,
            "before": value_text(each.before),
            "after": value_text(each.after),
        }
        for each in found.moved
    ]
    table(rows, columns=("external_id", "field", "before", "after"), empty="nothing that comes in would change")
    say(f"{found.changed:,} of {counted(found.looked, 'record')} would say something else")
    if found.rejected:
        say(f"{found.rejected:,} could not be stored any more. {found.reason}")
    out = found.out
    told: list[dict[str, object]] = [
        {
            "external_id": each.external_id,
            "field": each.field,
            "there": value_text(each.there),
            "told before": value_text(each.before),
            "told after": value_text(each.after),
            "next push": "writes it" if each.writes else "",
        }
        for each in out.told
    ]
    columns = ("external_id", "field", "there", "told before", "told after", "next push")
    table(told, columns=columns, empty="nothing that goes out would change")
    looked = counted(out.looked, "record")
    say(f"It would be told something else of {out.changed:,} of {looked}, {out.writes:,} of them at once")
    if out.unfit:
        say(f"{out.unfit:,} could not be told. {out.reason}")
