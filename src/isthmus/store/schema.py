"""The record types a program knows, and the tables they live in, derived from their marks."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from isthmus.kernel.errors import IsthmusError
from isthmus.kernel.marks import Field, RecordType

FILLFACTOR = 85
META_COLUMNS = (
    "workspace integer not null",
    "id uuid not null",
    "sealed bytea",
    "version bigint not null default 1",
    "hlc bigint not null",
    "system text not null",
    "created_at timestamptz not null",
    "updated_at timestamptz not null",
    "deleted_at timestamptz",
    "merged_into uuid",
)


class UnknownRecordType(IsthmusError):
    """No domain declares that record type."""

    code, title = "unknown-record-type", "No domain declares that record type"


@dataclass(frozen=True)
class Schema:
    """All record types by name."""

    types: dict[str, RecordType]

    @classmethod
    def of(cls, types: Iterable[RecordType]) -> "Schema":
        """Check that names, prefixes and references fit together; raises UnknownRecordType or ValueError."""
        by_name: dict[str, RecordType] = {}
        prefixes: set[str] = set()
        for each in types:
            if each.name in by_name or each.prefix in prefixes:
                message = f"record type {each.name} ({each.prefix}) is declared twice"
                raise ValueError(message)
            by_name[each.name] = each
            prefixes.add(each.prefix)
        for each in by_name.values():
            for target in (field.to for field in each.fields if field.to):
                if target not in by_name:
                    raise UnknownRecordType(f"{each.name} points to {target}.", fix="Declare it in its domain.")
        return cls(by_name)

    def __getitem__(self, name: str) -> RecordType:
        """Return the type of that name; raises UnknownRecordType."""
        found = self.types.get(name)
        if found is None:
            raise UnknownRecordType(f"There is no record type {name!r}.", fix=f"Use one of {', '.join(self.types)}.")
        return found

    def __iter__(self) -> Iterator[RecordType]:
        """Yield the types in order of declaration."""
        return iter(self.types.values())


def column_names(field: Field) -> tuple[tuple[str, str], ...]:
    """Return the columns of an open field as (name, PostgreSQL type)."""
    if field.column == "money":
        return ((field.name, "numeric(20,4)"), (f"{field.name}_currency", "text"))
    return ((field.name, field.column),)


def index_column(field: Field) -> str:
    """Return the column with the blind index of a handle."""
    return f"{field.name}_index"


def table_columns(record_type: RecordType) -> list[tuple[str, str]]:
    """Return the columns that a record type's own fields give its table."""
    columns = [column for field in record_type.open_fields for column in column_names(field)]
    return columns + [(index_column(field), "bytea") for field in record_type.handles]


def create_table(record_type: RecordType) -> str:
    """Return the statements that make the table of a record type, its look-up indexes and its second wall."""
    table = record_type.table
    own = [f"{name} {kind}" for name, kind in table_columns(record_type)]
    lines = ",\n    ".join([*META_COLUMNS, *own, "primary key (workspace, id)"])
    # Room for new versions of rows on their own page, so that a change leaves the indexes alone.
    statements = [f"create table {table} (\n    {lines}\n) with (fillfactor = {FILLFACTOR});"]
    statements += index_statements(record_type, (name for name, _ in table_columns(record_type)))
    statements += [
        f"alter table {table} enable row level security;",
        f"create policy workspace on {table} using (workspace = (select current_workspace()));",
        f"grant select, insert, update, delete on {table} to isthmus_app;",
    ]
    return "\n".join(statements)


def index_statements(record_type: RecordType, columns: Iterable[str]) -> list[str]:
    """Return the statements that make the look-up indexes over some columns of a record type's table."""
    looked_up = {index_column(each) for each in deciding_handles(record_type)}
    looked_up |= {each.name for each in record_type.open_fields if each.to}
    table = record_type.table
    return [
        f"create index {table}_{column} on {table} (workspace, {column}) where {column} is not null;"
        for column in columns
        if column in looked_up
    ]


def deciding_handles(record_type: RecordType) -> tuple[Field, ...]:
    """Return the handles by which records are looked up, strongest first.

    A handle that is weaker than one that every record has never decides: it is not looked up and needs no index.
    """
    handles = record_type.handles
    strongest = next((n for n, each in enumerate(handles) if each.required), len(handles) - 1)
    return handles[: strongest + 1]
