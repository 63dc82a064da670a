"""The way into the tables: rows go by binary COPY into one temporary table, and one statement merges them everywhere.

The statement is generated from the record type. It writes references, records, claims, events and audit rows, so
that either all of it is there after the commit or nothing.
"""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import LiteralString, cast
from uuid import UUID

from isthmus.kernel.marks import Field, RecordType
from isthmus.store.schema import index_column

INDEXES_MAX = 4
STAGE: LiteralString = """
create temporary table if not exists stage (
    ordinal integer, record_id uuid, system text, external_id text, hlc bigint, digest bytea, version text,
    said jsonb, said_sealed bytea, subject uuid, basis jsonb, claim_deleted boolean, payload bytea,
    writes_record boolean, fresh boolean, record jsonb, record_sealed bytea, gone boolean, changed text,
    index_0 bytea, index_1 bytea, index_2 bytea, index_3 bytea
) on commit delete rows
"""
COPY: LiteralString = "copy stage from stdin (format binary)"
_HEADER = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
_TRAILER = struct.pack(">h", -1)
_NULL = struct.pack(">i", -1)
_JSONB = b"\1"
_COLUMNS = 19 + INDEXES_MAX
_BATCH_BYTES = 1 << 20
_FIXED = struct.Struct(">hiii16s")
_LENGTH = struct.Struct(">i")
_HLC = struct.Struct(">iq")
_FLAG = {True: struct.pack(">i?", 1, True), False: struct.pack(">i?", 1, False)}


@dataclass(slots=True)
class Staged:
    """One row of the stage. Without `record` the record takes what the claim said; without `changed` no event is told."""

    record_id: UUID
    system: str
    external_id: str
    hlc: int
    digest: bytes
    said: bytes
    said_sealed: bytes | None
    version: str | None = None
    subject: UUID | None = None
    basis: bytes | None = None
    claim_deleted: bool = False
    payload: bytes | None = None
    writes_record: bool = True
    fresh: bool = True
    record: bytes | None = None
    record_sealed: bytes | None = None
    gone: bool = False
    changed: str | None = ""
    indexes: tuple[bytes | None, ...] = ()


def binary(rows: Iterable[Staged]) -> Iterator[bytes]:
    """Yield the rows in PostgreSQL's binary COPY format, in blocks of about a mebibyte."""
    block: list[bytes] = [_HEADER]
    size = 0
    for ordinal, row in enumerate(rows):
        piece = _row(ordinal, row)
        block.append(piece)
        size += len(piece)
        if size > _BATCH_BYTES:
            yield b"".join(block)
            block, size = [], 0
    block.append(_TRAILER)
    yield b"".join(block)


def _row(ordinal: int, row: Staged) -> bytes:
    indexes = (*row.indexes, *(None,) * (INDEXES_MAX - len(row.indexes)))
    return b"".join(
        (
            _FIXED.pack(_COLUMNS, 4, ordinal, 16, row.record_id.bytes),
            _text(row.system),
            _text(row.external_id),
            _HLC.pack(8, row.hlc),
            _bytes(row.digest),
            _text(row.version),
            _jsonb(row.said),
            _bytes(row.said_sealed),
            _bytes(row.subject.bytes if row.subject else None),
            _jsonb(row.basis),
            _FLAG[row.claim_deleted],
            _bytes(row.payload),
            _FLAG[row.writes_record],
            _FLAG[row.fresh],
            _jsonb(row.record),
            _bytes(row.record_sealed),
            _FLAG[row.gone],
            _text(row.changed),
            *map(_bytes, indexes),
        )
    )


def _bytes(value: bytes | None) -> bytes:
    return _NULL if value is None else _LENGTH.pack(len(value)) + value


def _text(value: str | None) -> bytes:
    return _NULL if value is None else _bytes(value.encode())


def _jsonb(value: bytes | None) -> bytes:
    return _NULL if value is None else _LENGTH.pack(len(value) + 1) + _JSONB + value


@lru_cache(maxsize=256)
def merge_statement(record_type: RecordType) -> LiteralString:
    """Return the statement that merges the stage; it gives one row: references written, records written.

    Parameters: workspace, now, actor, cause. All names in it come from declarations, none from data.
    """
    own = [(name, expression) for field in record_type.open_fields for name, expression in _expressions(field)]
    own += [(index_column(field), f"s.index_{n}") for n, field in enumerate(record_type.handles)]
    columns = ", ".join(name for name, _ in own)
    values = ", ".join(expression for _, expression in own)
    updates = ", ".join(f"{name} = excluded.{name}" for name, _ in own)
    account = "(s.spoken->>'account_id')::uuid" if record_type.field("account_id") else "null::uuid"
    parts = {
        "table": record_type.table,
        "type": record_type.name,
        "event": f"isthmus.{record_type.name}",
        "columns": columns,
        "values": values,
        "updates": updates,
        "shape": ", ".join(_shape(field) for field in record_type.open_fields),
        "account": account,
    }
    return cast("LiteralString", _MERGE.format_map(parts))


def _expressions(field: Field) -> list[tuple[str, str]]:
    if field.column == "money":
        return [
            (field.name, f"(f.{field.name}->>'amount')::numeric"),
            (f"{field.name}_currency", f"f.{field.name}->>'currency'"),
        ]
    return [(field.name, f"f.{field.name}")]


def _shape(field: Field) -> str:
    return f"{field.name} {'jsonb' if field.column == 'money' else field.column}"


_MERGE = """
with given as (
    select %(workspace)s::integer as workspace, %(now)s::timestamptz as at, %(actor)s::text as actor,
           %(cause)s::text as cause
), s as materialized (
    select stage.*, given.*, coalesce(record, said) as spoken, coalesce(record_sealed, case when record is null then
           said_sealed end) as spoken_sealed
    from stage, given
), written_ref as (
    insert into ref as r (workspace, type, system, external_id, record_id, digest, hlc, seen, version, deleted)
    select distinct on (system, external_id)
           workspace, '{type}', system, external_id, record_id, digest, hlc, hlc, version, claim_deleted
    from s order by system, external_id, hlc desc
    on conflict (workspace, type, system, external_id) do update
    set digest = case when excluded.hlc >= r.hlc then excluded.digest else r.digest end,
        version = case when excluded.hlc >= r.hlc then coalesce(excluded.version, r.version) else r.version end,
        deleted = case when excluded.hlc >= r.hlc then excluded.deleted else r.deleted end,
        seen = greatest(r.seen, excluded.hlc), hlc = greatest(r.hlc, excluded.hlc)
    where r.record_id = excluded.record_id
    returning 1
), written_record as (
    insert into {table} as t (workspace, id, sealed, hlc, system, created_at, updated_at, deleted_at, {columns})
    select workspace, record_id, spoken_sealed, hlc, system, at, at, case when gone then at end, {values}
    from s cross join lateral jsonb_to_record(s.spoken) as f({shape})
    where writes_record
    on conflict (workspace, id) do update
    set sealed = excluded.sealed, version = t.version + 1, hlc = greatest(t.hlc, excluded.hlc), system = excluded.system,
        updated_at = excluded.updated_at, deleted_at = excluded.deleted_at, {updates}
    returning 1
), written_claim as (
    insert into claim (workspace, record_id, hlc, system, external_id, type, fields, sealed, subject, basis, deleted,
                       actor, cause, payload)
    select workspace, record_id, hlc, system, external_id, '{type}', said, said_sealed, subject, basis, claim_deleted,
           actor, cause, payload
    from s
), written_event as (
    insert into event (workspace, type, record_type, record_id, account_id, hlc, changed, actor, cause, at)
    select workspace, '{event}.' || case when gone then 'deleted' when fresh then 'created' else 'changed' end || '.v1',
           '{type}', record_id, {account}, hlc, string_to_array(changed, ','), actor, cause, at
    from s where changed is not null order by ordinal
), written_audit as (
    insert into audit (workspace, at, actor, action, resource, record_id, request_id, digest)
    select workspace, at, actor,
           case when not writes_record then 'claim' when gone then 'delete' when fresh then 'create' else 'change' end,
           '{type}', record_id, cause, digest
    from s order by ordinal
)
select (select count(*) from written_ref), (select count(*) from written_record)
"""
