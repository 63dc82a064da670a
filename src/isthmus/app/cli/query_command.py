"""`isthmus query`."""

from __future__ import annotations

from typing import TYPE_CHECKING, LiteralString, cast

import click
import psycopg

from isthmus.app.cli.common import data_dir_option, json_option, operator, run, settings_from, workspace_option
from isthmus.app.cli.output import print_json, table
from isthmus.kernel.errors import Invalid

if TYPE_CHECKING:
    from isthmus.app.program import Program

_ROWS_MAX = 10_000
_TIMEOUT = "30s"


class BadQuery(Invalid):
    """PostgreSQL refuses the statement."""

    code, title = "bad-query", "The query is not valid"


@click.command("query")
@click.argument("sql")
@click.option("--limit", type=click.IntRange(1, _ROWS_MAX), default=100, show_default=True, help="Rows at most.")
@data_dir_option
@workspace_option
@json_option
def command(sql: str, limit: int, data_dir: str | None, workspace: str | None, *, as_json: bool) -> None:
    """Ask the database with SQL, read-only, in one workspace.

    Tables are named like record types: sales_lead, marketing_touch, finance_spend. Personal values are sealed.

    Example: isthmus query "select stage, count(*) from sales_deal group by stage"
    """

    async def ask(program: Program) -> tuple[list[str], list[tuple[object, ...]]]:
        async with program.database.transaction(operator(program, "query")) as tx:
            await tx.connection.execute("set transaction read only")
            await tx.connection.execute(f"set local statement_timeout = '{_TIMEOUT}'")
            try:
                # A person's own statement, run as the restricted role in a read-only transaction.
                cursor = await tx.connection.execute(cast("LiteralString", sql))
            except psycopg.Error as error:
                raise BadQuery(str(error).splitlines()[0], fix="Correct the statement.") from error
            names = [each.name for each in cursor.description or ()]
            return names, await cursor.fetchmany(limit) if names else []

    names, rows = run(settings_from(data_dir=data_dir, workspace=workspace), ask)
    found = [{name: _plain(value) for name, value in zip(names, row, strict=True)} for row in rows]
    if as_json:
        print_json(found)
    else:
        table(found, columns=names, empty="no rows")


def _plain(value: object) -> object:
    """Return a value that JSON has, as it is, and any other as text."""
    if isinstance(value, str | int | float | bool | dict | list | None):
        return cast("object", value)
    return str(value)
