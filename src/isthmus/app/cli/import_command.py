"""`isthmus import`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, LiteralString, TypedDict

import click
from msgspec import Struct

from isthmus.app.cli.common import operator
from isthmus.app.cli.groups import Command
from isthmus.app.cli.import_mapping import MappingWish, check_file, chosen_mapping, mapping_rows
from isthmus.app.cli.output import say, table
from isthmus.app.cli.telling import Teller
from isthmus.app.cli.terminal import Terminal, at_terminal
from isthmus.app.cli.wording import counted
from isthmus.app.sync_views import SyncRunView, run_view
from isthmus.app.syncing import shown, sync_engine
from isthmus.sync.files import DryRun, RejectedLine, dry_run, import_file
from isthmus.sync.mappings import FileMapping, save_mapping

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Unpack

    from isthmus.app.program import Program
    from isthmus.sync.runs import Run

SHOWN_MAX = 5
_REASONS: LiteralString = """
select reason from rejected where workspace = current_workspace() and run_id = %s and settled_at is null
order by id limit %s
"""


class Imported(Struct, frozen=True, kw_only=True):
    """What an import did; `reasons` are the first of why rows were rejected."""

    file: str
    type: str
    system: str
    run: SyncRunView
    rows_per_second: float
    reasons: list[str]


class Tried(Struct, frozen=True, kw_only=True):
    """What an import would do; nothing was stored. `fields` says which column becomes which field."""

    file: str
    type: str
    system: str
    rows: int
    good: int
    rejected: int
    id_column: str | None
    time_column: str | None
    fields: dict[str, str]
    left_out: list[str]
    rejects: list[RejectedLine]


class _Asked(TypedDict):
    """The options of the command."""

    file: Path
    type_name: str | None
    mapping: str | None
    pairs: tuple[str, ...]
    system: str | None
    id_column: str | None
    time_column: str | None
    currency: str | None
    save_mapping: str | None
    blank_is_null: bool
    partial: bool
    no_pipeline: bool
    dry: bool


@click.command("import", cls=Command)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--type", "type_name", metavar="TYPE", help="What the rows are, such as sales.lead.")
@click.option("--mapping", metavar="NAME|FILE.toml", help="A saved mapping, or one in a file.")
@click.option("--map", "pairs", multiple=True, metavar="COLUMN=FIELD", help="Which field a column is; repeatable.")
@click.option("--system", help="The name under which the rows claim (default: the file's name without its suffix).")
@click.option("--id-column", metavar="COLUMN", help="The column that identifies a row there (default: id or the like).")
@click.option("--time-column", metavar="COLUMN", help="When a row was changed there (default: updated_at or the like).")
@click.option("--currency", help="The currency of amounts that come without one, such as EUR.")
@click.option("--blank-is-null", is_flag=True, help="A blank cell means that there is no value; else it says nothing.")
@click.option("--partial", is_flag=True, help="Rows only change records that are known: required fields may be absent.")
@click.option("--no-pipeline", is_flag=True, help="New leads are only stored: no score, owner, CRM or follow-up.")
@click.option("--dry-run", "dry", is_flag=True, help="Read and check the whole file, and store nothing.")
@click.option("--save-mapping", metavar="NAME", help="Keep the mapping under a name, for the next file.")
@at_terminal
def command(terminal: Terminal, **asked: Unpack[_Asked]) -> None:
    """Import a CSV, Parquet or NDJSON file.

    Columns are taken for the fields they are named after; --map and --mapping say otherwise. Rows that cannot be
    stored are kept with their line and reason, and can be tried again. A file that is imported again changes
    nothing. Exits 1 when no row could be stored.

    Example: isthmus import leads.csv --type sales.lead --map "E-Mail=email" --dry-run
    """
    file = asked["file"]
    check_file(file)
    wish = MappingWish(
        type_name=asked["type_name"],
        mapping=asked["mapping"],
        pairs=asked["pairs"],
        system=asked["system"],
        id_column=asked["id_column"],
        time_column=asked["time_column"],
        currency=asked["currency"],
        blank_is_null=asked["blank_is_null"],
        partial=asked["partial"],
        pipeline=not asked["no_pipeline"],
    )
    context = click.get_current_context()
    if asked["dry"]:
        tried = terminal.run(lambda program: _try(program, file, wish))
        terminal.answer(tried, lambda: _show_tried(tried))
        context.exit(1 if tried.rows and not tried.good else 0)
    done = terminal.run(lambda program: _import(program, file, wish, asked["save_mapping"]))
    terminal.answer(done, lambda: _show(done))
    context.exit(1 if done.run.read and done.run.rejected >= done.run.read else 0)


async def _try(program: Program, file: Path, wish: MappingWish) -> Tried:
    mapping, left_out = await chosen_mapping(program, file, wish)
    found: DryRun = await dry_run(sync_engine(program), workspace=program.workspace, path=file, mapping=mapping)
    return Tried(
        file=str(file),
        type=mapping.type,
        system=mapping.system,
        rows=found.rows,
        good=found.good,
        rejected=found.rejected,
        id_column=mapping.id_column,
        time_column=mapping.at.column if mapping.at else None,
        fields=mapping_rows(mapping),
        left_out=left_out,
        rejects=list(found.rejects),
    )


async def _import(program: Program, file: Path, wish: MappingWish, save_as: str | None) -> Imported:
    mapping, left_out = await chosen_mapping(program, file, wish)
    if left_out:
        say(f"columns left out: {', '.join(left_out)}; name them with --map COLUMN=FIELD")
    run = await _watched(program, file, mapping)
    scope = operator(program, "import")
    async with program.database.transaction(scope) as tx:
        if save_as is not None:
            await save_mapping(tx, name=save_as, mapping=mapping)
        cursor = await tx.connection.execute(_REASONS, (run.id, SHOWN_MAX))
        reasons = [str(reason) for (reason,) in await cursor.fetchall()]
    view = run_view(run)
    return Imported(
        file=str(file),
        type=mapping.type,
        system=mapping.system,
        run=view,
        rows_per_second=round(view.read / view.seconds, 1) if view.seconds else 0.0,
        reasons=reasons,
    )


async def _watched(program: Program, file: Path, mapping: FileMapping) -> Run:
    """Import and show how far it is."""
    teller = Teller(file.name)
    actor = operator(program, "import").actor
    task = asyncio.create_task(
        import_file(sync_engine(program), workspace=program.workspace, actor=actor, path=file, mapping=mapping)
    )
    try:
        return await shown(program, task, about=file.name, show=teller.show)
    finally:
        teller.clear()


def _show_tried(tried: Tried) -> None:
    rows = [{"column": tried.id_column, "field": "– identifies the row"}] if tried.id_column else []
    rows += [{"column": tried.time_column, "field": "– when it was changed there"}] if tried.time_column else []
    rows += [{"column": column, "field": field} for field, column in tried.fields.items()]
    rows += [{"column": column, "field": "– left out"} for column in tried.left_out]
    table(rows, columns=("column", "field"), empty="no column is taken")
    click.echo()
    counts = f"{tried.good:,} good, {tried.rejected:,} rejected"
    click.echo(f"{counted(tried.rows, 'row')} of {tried.type} by {tried.system}: {counts}")
    _reasons([f"line {each.line}: {each.reason}" for each in tried.rejects], tried.rejected)
    say("a dry run: nothing was stored")


def _show(done: Imported) -> None:
    run = done.run
    row: dict[str, object] = {
        "file": Path(done.file).name,
        "status": run.status,
        "rows": run.read,
        "new": run.created,
        "changed": run.changed,
        "unchanged": run.unchanged,
        "rejected": run.rejected,
        "conflicts": run.conflicts,
        "seconds": f"{run.seconds:,.1f}",
        "rows/s": round(done.rows_per_second),
    }
    table([row], columns=tuple(row), empty="")
    _reasons(done.reasons, run.rejected)
    if run.rejected:
        say(f"all of them: isthmus sync rejected --system {done.system} --rows")
    if run.conflicts:
        say("what waits for a person: isthmus conflicts ls")


def _reasons(reasons: Sequence[str], count: int) -> None:
    for reason in reasons[:SHOWN_MAX]:
        say(f"  {reason}")
    if count > SHOWN_MAX:
        say(f"  … and {count - SHOWN_MAX:,} more")
