"""Write the migration that a changed declaration needs: `python -m isthmus.app.migrations DATE NAME`.

It applies all migrations to a database of its own, compares what is there with what record types declare, and writes
`DATE_pre_NAME.sql` with the tables, columns and indexes that are missing. A column whose type changed is told and left
to a migration written by hand, because what to do with its values is a decision.
"""

import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

import psycopg

from isthmus.app.discovery import schema
from isthmus.app.engines import EngineSettings, start_engines
from isthmus.kernel.marks import RecordType
from isthmus.store.migrate import migrate
from isthmus.store.schema import create_table, index_statements, table_columns
from isthmus.vault import entropy

_COLUMNS = """
select table_name::text, column_name::text, case when data_type = 'numeric' and numeric_precision is not null
       then format('numeric(%s,%s)', numeric_precision, numeric_scale) else udt_name end
from information_schema.columns where table_schema = current_schema()
"""
_NAMES = {"bigint": "int8", "integer": "int4", "double precision": "float8", "boolean": "bool"}


@dataclass(frozen=True)
class Missing:
    """What declarations have and the database has not: statements, and columns whose types differ in words."""

    statements: tuple[str, ...]
    differing: tuple[str, ...]


def missing(connection: psycopg.Connection, types: Iterable[RecordType]) -> Missing:
    """Compare a migrated database with record types."""
    there: dict[str, dict[str, str]] = {}
    for table, column, kind in connection.execute(_COLUMNS).fetchall():
        there.setdefault(table, {})[column] = kind
    statements: list[str] = []
    differing: list[str] = []
    for each in types:
        if each.table not in there:
            statements.append(create_table(each))
            continue
        held = there[each.table]
        absent = [(name, kind) for name, kind in table_columns(each) if name not in held]
        statements += [f"alter table {each.table} add column {name} {kind};" for name, kind in absent]
        statements += index_statements(each, (name for name, _ in absent))
        differing += [
            f"{each.table}.{name} is {held[name]} and declared as {kind}"
            for name, kind in table_columns(each)
            if name in held and held[name] != _NAMES.get(kind, kind)
        ]
    return Missing(tuple(statements), tuple(differing))


def main(arguments: list[str]) -> int:
    """Write the file into the package and say so; 1 when nothing is missing or types differ, 2 for wrong use."""
    try:
        date, name = arguments
    except ValueError:
        sys.stderr.write("Usage: python -m isthmus.app.migrations 2026_11_30 what_it_does\n")
        return 2
    with tempfile.TemporaryDirectory(prefix="isthmus-migrations-") as directory:
        settings = EngineSettings(data_dir=Path(directory), want_valkey=False)
        with start_engines(settings=settings, entropy=entropy, now=lambda: datetime.now(UTC)) as engines:
            owner = engines.postgres.owner
            with psycopg.connect(owner.conninfo, password=owner.password) as connection:
                migrate(connection)
                found = missing(connection, schema())
    for each in found.differing:
        sys.stderr.write(f"{each}: write this change by hand.\n")
    if not found.statements:
        sys.stderr.write("No table or column is missing.\n")
        return 1
    path = Path(str(files("isthmus.store"))) / "migrations" / f"{date}_pre_{name}.sql"
    path.write_text("\n".join(found.statements) + "\n", encoding="utf-8")
    sys.stdout.write(f"{path}\n")
    return 1 if found.differing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
