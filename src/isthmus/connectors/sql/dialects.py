"""What differs between databases as words of SQL: quoting, placeholders, and the catalog."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from isthmus.connectors.sql.values import Kind

Name = Literal["postgresql", "mariadb", "sqlite"]
_POSTGRES_COLUMNS = """
select a.attname, format_type(a.atttypid, null), a.attgenerated <> '' or a.attidentity = 'a',
       has_column_privilege(c.oid, a.attnum, 'select'),
       has_column_privilege(c.oid, a.attnum, 'update') and has_column_privilege(c.oid, a.attnum, 'insert'),
       has_table_privilege(c.oid, 'delete'), coalesce(b.typtype, t.typtype), t.typcategory
from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_type t on t.oid = a.atttypid
left join pg_type b on b.oid = t.typbasetype
where c.oid = to_regclass(%s) and a.attnum > 0 and not a.attisdropped order by a.attnum
"""
_POSTGRES_TABLES = """
select case when schemaname = current_schema() then tablename else schemaname || '.' || tablename end from pg_tables
where schemaname <> 'information_schema' and schemaname !~ '^pg_' order by 1 limit 100
"""
_MARIADB_COLUMNS = """
select column_name, column_type, extra like '%%GENERATED%%', find_in_set('select', privileges) > 0,
       find_in_set('update', privileges) > 0 and find_in_set('insert', privileges) > 0, 1, 'b', 'X'
from information_schema.columns
where table_schema = coalesce(%s, database()) and table_name = %s order by ordinal_position
"""
_MARIADB_TABLES = "select table_name from information_schema.tables where table_schema = database() limit 100"
_SQLITE_COLUMNS = """
select name, lower(type), hidden in (2, 3), 1, 1, 1, 'b', 'X' from pragma_table_xinfo(?) where hidden <> 1
"""
_SQLITE_TABLES = "select name from sqlite_master where type in ('table', 'view') and name not like 'sqlite%' limit 100"
_NUMBERS = ("int", "serial", "numeric", "decimal", "real", "double", "float", "bit", "money", "oid", "year")
_BYTES = ("bytea", "blob", "binary")


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of the catalog: its type there, what it holds, and what the user may do with it."""

    name: str
    type: str
    kind: Kind
    made: bool
    readable: bool
    writable: bool
    deletable: bool


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """How one kind of database is spoken to. `textual`: text that is bound is read as the column's type."""

    name: Name
    title: str
    quote: str
    mark: str
    tables: str
    port: int
    now: str
    begin: str
    textual: bool = False
    locks: bool = True

    def named(self, *parts: str) -> str:
        """Return a name, or a name in a schema, quoted; what its driver takes for a placeholder is doubled."""
        quoted = ".".join(f"{self.quote}{part.replace(self.quote, self.quote * 2)}{self.quote}" for part in parts)
        return quoted.replace("%", "%%") if self.mark == "%s" else quoted

    def table(self, name: str) -> str:
        """Return the name of a table, which may name its schema, quoted."""
        return self.named(*name.split("."))

    def list_of(self, names: Sequence[str]) -> str:
        """Return names as a list, quoted."""
        return ", ".join(self.named(name) for name in names)

    def catalog(self, table: str) -> tuple[str, list[str | None]]:
        """Return the statement that lists the columns of a table, and what is bound to it."""
        schema, _, own = table.rpartition(".")
        match self.name:
            case "postgresql":
                return _POSTGRES_COLUMNS, [self.table(table).replace("%%", "%")]
            case "mariadb":
                return _MARIADB_COLUMNS, [schema or None, own]
            case "sqlite":
                return _SQLITE_COLUMNS, [own]

    def column(self, row: Sequence[object]) -> Column:
        """Return a column from a row of the catalog."""
        name, kind, made, readable, writable, deletable, types, category = row
        return Column(
            name=str(name),
            type=str(kind),
            kind=self._kind(str(kind), enum=types == "e", category=str(category)),
            made=bool(made),
            readable=bool(readable),
            writable=bool(writable),
            deletable=bool(deletable),
        )

    def _kind(self, named: str, *, enum: bool, category: str) -> Kind:  # noqa: PLR0911 - one line for each kind.
        low = named.lower()
        if enum or low.startswith(("enum", "set(")):
            return Kind.TEXT
        if category == "A":
            return Kind.LIST
        if any(each in low for each in _BYTES):
            return Kind.BYTES
        if low.startswith("json"):
            return Kind.JSON
        if low.startswith("bool"):
            return Kind.TRUTH
        if low.startswith(("timestamp", "datetime")):
            if self.name == "sqlite":
                return Kind.TEXT
            # MariaDB tells a TIMESTAMP in the zone of the session, which is UTC, and a DATETIME as it was written.
            aware = low.startswith("timestamp" if self.name == "mariadb" else "timestamp with time zone")
            return Kind.MOMENT if aware else Kind.LOCAL
        if low == "date":
            return Kind.DAY
        return Kind.NUMBER if low.startswith(_NUMBERS) or "int" in low.partition("(")[0] else Kind.TEXT


POSTGRESQL = Dialect(
    name="postgresql",
    title="PostgreSQL",
    quote='"',
    mark="%s",
    tables=_POSTGRES_TABLES,
    port=5432,
    now="(clock_timestamp() at time zone 'UTC')",
    begin="begin",
    textual=True,
)
MARIADB = Dialect(
    name="mariadb",
    title="MariaDB",
    quote="`",
    mark="%s",
    tables=_MARIADB_TABLES,
    port=3306,
    now="current_timestamp(6)",
    begin="start transaction",
)
SQLITE = Dialect(
    name="sqlite",
    title="SQLite",
    quote='"',
    mark="?",
    tables=_SQLITE_TABLES,
    port=0,
    now="strftime('%Y-%m-%d %H:%M:%f', 'now')",
    begin="begin immediate",
    locks=False,
)
DIALECTS = {"postgresql": POSTGRESQL, "postgres": POSTGRESQL, "mariadb": MARIADB, "mysql": MARIADB}
