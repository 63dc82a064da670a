"""Mappings of files: which column becomes which field and how; saved by name, and proposed from a file's header."""

import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Literal, LiteralString

import msgspec
from msgspec import Struct

from isthmus.kernel.errors import Fault, Invalid, NotFound
from isthmus.kernel.marks import Json, RecordType
from isthmus.store.database import Transaction
from isthmus.store.fold import HERE
from isthmus.sync.connections import audit

CUSTOM = "custom."
_NOT_A_WORD = re.compile(r"[^a-z0-9]+")
_IDS = ("external_id", "id", "uuid", "key")
_TIMES = ("updated_at", "modified_at", "last_modified_at", "changed_at")
_SAVE: LiteralString = """
insert into file_mapping (workspace, name, type, mapping, created_at, updated_at)
values (current_workspace(), %s, %s, %s, %s, %s)
on conflict (workspace, name) do update set type = excluded.type, mapping = excluded.mapping,
    updated_at = excluded.updated_at
"""
_FIX = "Correct the mapping, or say which column is which field: --map COLUMN=FIELD"
Transform = Literal["trim", "lower", "upper"]


class MappingMissing(NotFound):
    """There is no mapping of that name."""

    code, title = "mapping-missing", "There is no such mapping"


class MappingUnfit(Invalid):
    """The mapping names a column that the file lacks, or a field that the record type lacks."""

    code, title = "mapping-unfit", "The mapping does not fit"


class Source(Struct, frozen=True, kw_only=True):
    """Where a field's value comes from: a column, or a constant.

    `transforms` are applied in order to text. An amount takes its currency from `currency_column` or `currency`. A
    date or moment in text is read by `format` (as `datetime.strptime`; ISO 8601 without one), and one that names no
    zone is in `zone` (IANA). A list in text is split at `separator`.
    """

    column: str | None = None
    constant: Json = None
    transforms: tuple[Transform, ...] = ()
    currency: str | None = None
    currency_column: str | None = None
    format: str | None = None
    zone: str | None = None
    separator: str = ";"

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns it reads."""
        return tuple(each for each in (self.column, self.currency_column) if each is not None)


class FileMapping(Struct, frozen=True, kw_only=True):
    """How the rows of a file become observations of one record type by one `system`.

    A row is known by `id_column`, or by a digest of its values; it was observed at `at`, or when the file was changed.
    A blank cell says nothing, or with `blank_is_null` that there is no value. Without `pipeline` new records do not go
    through the steps of their domain.
    """

    type: str
    system: str
    fields: dict[str, Source]
    id_column: str | None = None
    at: Source | None = None
    blank_is_null: bool = False
    encoding: str = "utf-8"
    delimiter: str | None = None
    pipeline: bool = True

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns it reads, each once."""
        named = [column for source in self.fields.values() for column in source.columns]
        named += [self.id_column] if self.id_column else []
        named += self.at.columns if self.at else ()
        return tuple(dict.fromkeys(named))


class ProposedColumn(Struct, frozen=True, kw_only=True):
    """A column of a file: the field it is taken for, if any, and its first values."""

    column: str
    field: str | None
    samples: tuple[str, ...]


class Proposal(Struct, frozen=True, kw_only=True):
    """A mapping made from a header, to look at and change; `missing` are required fields that no column gives."""

    mapping: FileMapping
    columns: tuple[ProposedColumn, ...]
    missing: tuple[str, ...]


def propose(
    record_type: RecordType, *, system: str, header: Sequence[str], samples: Sequence[Sequence[object]]
) -> Proposal:
    """Return the mapping that the names of the columns suggest: `E-Mail` is taken for `email`."""
    by_name = {_plain(column): column for column in reversed(header)}
    fields: dict[str, Source] = {}
    for each in record_type.fields:
        column = by_name.get(_plain(each.name))
        if column is None and each.to is not None:
            column = by_name.get(_plain(each.name.removesuffix("_id")))
        if column is None or (each.column == "jsonb" and each.name == CUSTOM.rstrip(".")):
            continue
        source = Source(column=column, transforms=("trim",))
        if each.column == "money":
            currency = by_name.get(_plain(f"{each.name}_currency")) or by_name.get("currency")
            source = msgspec.structs.replace(source, currency_column=currency)
        fields[each.name] = source
    id_column = next((by_name[_plain(name)] for name in _IDS if _plain(name) in by_name), None)
    at = next((Source(column=by_name[_plain(name)]) for name in _TIMES if _plain(name) in by_name), None)
    mapping = FileMapping(type=record_type.name, system=system, fields=fields, id_column=id_column, at=at)
    taken = {column: name for name, source in fields.items() for column in source.columns}
    columns = tuple(
        ProposedColumn(column=column, field=taken.get(column), samples=tuple(str(row[n]) for row in samples))
        for n, column in enumerate(header)
    )
    missing = tuple(each.name for each in record_type.fields if each.required and each.name not in fields)
    return Proposal(mapping=mapping, columns=columns, missing=missing)


def check(mapping: FileMapping, record_type: RecordType, header: Sequence[str]) -> None:
    """Check a mapping against a record type and a header; raises MappingUnfit with every fault."""
    faults: list[Fault] = []
    for name, source in mapping.fields.items():
        if record_type.field(name.partition(".")[0]) is None:
            fix = _nearest(name, [each.name for each in record_type.fields])
            detail = f"{record_type.name} has no field {name!r}{fix}."
            faults.append(Fault(pointer=f"/fields/{name}", code="unknown-field", detail=detail))
        if source.column is None and source.constant is None:
            detail = f"Give {name!r} a column or a constant."
            faults.append(Fault(pointer=f"/fields/{name}", code="no-source", detail=detail))
    for column in mapping.columns:
        if column not in header:
            shown = ", ".join(map(repr, header)) or "none"
            detail = f"The file has no column {column!r}{_nearest(column, header)}; it has {shown}."
            faults.append(Fault(pointer=f"/columns/{column}", code="missing-column", detail=detail))
    if not any(source.column for source in mapping.fields.values()):
        faults.append(Fault(pointer="/fields", code="no-column", detail="Map one column at least."))
    if not mapping.system or mapping.system == HERE:
        faults.append(Fault(pointer="/system", code="invalid", detail=f"Name a system other than {HERE!r}."))
    if faults:
        raise MappingUnfit(" ".join(each.detail for each in faults), fix=_FIX, faults=tuple(faults))


async def save_mapping(tx: Transaction, *, name: str, mapping: FileMapping) -> None:
    """Keep a mapping under a name, in the place of an earlier one."""
    now = tx.scope.now
    told = msgspec.json.encode(mapping).decode()
    await tx.connection.execute(_SAVE, (name, mapping.type, told, now, now))
    await audit(tx, action="save", resource="mapping", record_id=None, details={"name": name, "type": mapping.type})


async def mapping_of(tx: Transaction, name: str) -> FileMapping:
    """Return a saved mapping; raises MappingMissing."""
    cursor = await tx.connection.execute(
        "select mapping from file_mapping where workspace = current_workspace() and name = %s", (name,)
    )
    row = await cursor.fetchone()
    if row is None:
        raise MappingMissing(f"There is no mapping {name!r}.", fix="Make one from a file's header first.")
    return msgspec.convert(row[0], FileMapping)


async def mappings(tx: Transaction) -> dict[str, FileMapping]:
    """Return all saved mappings by name."""
    cursor = await tx.connection.execute(
        "select name, mapping from file_mapping where workspace = current_workspace() order by name"
    )
    return {name: msgspec.convert(mapping, FileMapping) for name, mapping in await cursor.fetchall()}


def _plain(name: str) -> str:
    return _NOT_A_WORD.sub("", name.strip().lower())


def _nearest(name: str, known: Sequence[str]) -> str:
    plain = {_plain(each): each for each in known}
    close = get_close_matches(_plain(name), list(plain), n=1, cutoff=0.5)
    return f"; the nearest is {plain[close[0]]!r}" if close else ""
