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
    writes_record boolean, fresh boolean, new_ref boolean, record jsonb, record_sealed bytea, gone boolean,
    changed text, own_cause text, index_0 bytea, index_1 bytea, index_2 bytea, index_3 bytea
) on commit delete rows
"""
COPY: LiteralString = "copy stage from stdin (format binary)"
COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
COPY_TRAILER = struct.pack(">h", -1)
_NULL = struct.pack(">i", -1)
_JSONB = b"\1"
_COLUMNS = 21 + INDEXES_MAX
_BATCH_BYTES = 1 << 20
_FIXED = struct.Struct(">hiii16s")
_LENGTH = struct.Struct(">i")
_HLC = struct.Struct(">iq")
_FLAG = {flag: struct.pack(">i?", 1, flag) for flag in (True, False)}


@dataclass(slots=True)
class Staged:
    """One row of the stage. Without `record` the record takes what was said; without `changed` no event is told.

    `cause` takes the place of the scope's.
    """

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
    new_ref: bool = True
    record: bytes | None = None
    record_sealed: bytes | None = None
    gone: bool = False
    changed: str | None = ""
    cause: str | None = None
    indexes: tuple[bytes | None, ...] = ()


def binary(rows: Iterable[Staged]) -> Iterator[bytes]:
    """Yield the rows in PostgreSQL's binary COPY format, in blocks of about a mebibyte."""
    block: list[bytes] = [COPY_HEADER]
    size = 0
    for ordinal, row in enumerate(rows):
        piece = _row(ordinal, row)
        block.append(piece)
        size += len(piece)
        if size > _BATCH_BYTES:
            yield b"".join(block)
            block, size = [], 0
    block.append(COPY_TRAILER)
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
            _FLAG[row.new_ref],
            _jsonb(row.record),
            _bytes(row.record_sealed),
            _FLAG[row.gone],
            _text(row.changed),
            _text(row.cause),
            *map(_bytes, indexes),
        )
    )


def _bytes(value: bytes | None) -> bytes:
    return _NULL if value is None else _LENGTH.pack(len(value)) + value


def _text(value: str | None) -> bytes:
    return _NULL if value is None else _bytes(value.encode())


def _jsonb(value: bytes | None) -> bytes:
    return _NULL if value is None else _LENGTH.pack(len(value) + 1) + _JSONB + value


@lru_cache(maxsize=512)
def merge_statement(record_type: RecordType, *, alone: bool = False) -> LiteralString:
    """Return the statement that merges the stage; it gives one row: how many references were written.

    With `alone` each row's event has a row of the log to itself, which costs less where the stage holds one row.

    What is new goes by plain inserts: a second writer of the same breaks a key, and its transaction is tried again.
    What is known goes by inserts that always conflict: there is no join, whose plan would depend on what the planner
    believes of tables that a long import fills.
    Parameters: workspace, now, actor, cause. All names in it come from declarations, none from data.
    """
    told = _TOLD_ALONE if alone else _TOLD
    return _statement(record_type, _GIVEN + _REFS + _RECORDS + _CLAIMS + told + _AUDITED + _COUNTED)


@lru_cache(maxsize=256)
def rewrite_statement(record_type: RecordType) -> LiteralString:
    """Return the statement that writes staged records anew, without claims or references: after these were moved."""
    return _statement(record_type, _GIVEN + _RECORDS + _TOLD + _AUDITED + _DONE)


def _statement(record_type: RecordType, template: str) -> LiteralString:
    own = [(name, expression) for field in record_type.open_fields for name, expression in expressions(field)]
    own += [(index_column(field), f"s.index_{n}") for n, field in enumerate(record_type.handles)]
    parts = {
        "table": record_type.table,
        "type": record_type.name,
        "event": f"isthmus.{record_type.name}",
        "columns": ", ".join(name for name, _ in own),
        "values": ", ".join(expression for _, expression in own),
        "updates": ", ".join(f"{name} = excluded.{name}" for name, _ in own),
        "account": "(s.spoken->>'account_id')::uuid" if record_type.field("account_id") else "null::uuid",
    }
    return cast("LiteralString", template.format_map(parts))


def expressions(field: Field) -> list[tuple[str, str]]:
    """Return (column, expression over the spoken JSON): plain look-ups cost a fifth of unfolding the object."""
    name, key = field.name, f"s.spoken->>'{field.name}'"
    match field.column:
        case "text":
            return [(name, key)]
        case "jsonb":
            return [(name, f"nullif(s.spoken->'{name}', 'null'::jsonb)")]
        case "money":
            inner = f"s.spoken->'{name}'"
            return [(name, f"({inner}->>'amount')::numeric"), (f"{name}_currency", f"{inner}->>'currency'")]
        case _:
            return [(name, f"({key})::{field.column}")]


_GIVEN = """
with given as (
    select %(workspace)s::integer as workspace, %(now)s::timestamptz as at, %(actor)s::text as actor,
           %(cause)s::text as cause
), s as materialized (
    select stage.*, given.workspace, given.at, given.actor, coalesce(own_cause, given.cause) as cause,
           coalesce(record, said) as spoken,
           coalesce(record_sealed, case when record is null then said_sealed end) as spoken_sealed
    from stage, given
"""
_REFS = """), new_ref as (
    insert into ref (workspace, type, system, external_id, record_id, digest, hlc, seen, version, deleted)
    select distinct on (system, external_id)
           workspace, '{type}', system, external_id, record_id, digest, hlc, hlc, version, claim_deleted
    from s where new_ref order by system, external_id, hlc desc
    returning 1
), moved_ref as (
    insert into ref as r (workspace, type, system, external_id, record_id, digest, hlc, seen, version, deleted)
    select distinct on (system, external_id)
           workspace, '{type}', system, external_id, record_id, digest, hlc, hlc, version, claim_deleted
    from s where not new_ref order by system, external_id, hlc desc
    on conflict (workspace, type, system, external_id) do update
    set digest = case when excluded.hlc >= r.hlc then excluded.digest else r.digest end,
        version = case when excluded.hlc >= r.hlc then coalesce(excluded.version, r.version) else r.version end,
        deleted = case when excluded.hlc >= r.hlc then excluded.deleted else r.deleted end,
        seen = greatest(r.seen, excluded.hlc), hlc = greatest(r.hlc, excluded.hlc)
    where r.record_id = excluded.record_id
    returning 1
"""
_RECORDS = """), new_record as (
    insert into {table} (workspace, id, sealed, hlc, system, created_at, updated_at, deleted_at, {columns})
    select workspace, record_id, spoken_sealed, hlc, system, at, at, case when gone then at end, {values}
    from s where writes_record and fresh
), moved_record as (
    insert into {table} as t (workspace, id, sealed, hlc, system, created_at, updated_at, deleted_at, {columns})
    select workspace, record_id, spoken_sealed, hlc, system, at, at, case when gone then at end, {values}
    from s where writes_record and not fresh
    on conflict (workspace, id) do update
    set sealed = excluded.sealed, version = t.version + 1, hlc = greatest(t.hlc, excluded.hlc),
        system = excluded.system, updated_at = excluded.updated_at,
        deleted_at = case when excluded.deleted_at is not null then coalesce(t.deleted_at, excluded.deleted_at) end,
        {updates}
"""
_CLAIMS = """), written_claim as (
    insert into claim (workspace, record_id, hlc, system, external_id, type, fields, sealed, subject, basis, deleted,
                       actor, cause, payload)
    select workspace, record_id, hlc, system, external_id, '{type}', said, said_sealed, subject, basis, claim_deleted,
           actor, cause, payload
    from s
"""
_TOLD = """), written_event as (
    insert into event_bundle (workspace, type, record_type, record_ids, account_ids, hlcs, changed, actor, cause, at)
    select workspace, '{event}.' || case when gone then 'deleted' when fresh then 'created' else 'changed' end || '.v1',
           '{type}', array_agg(record_id order by ordinal), array_agg({account} order by ordinal),
           array_agg(hlc order by ordinal), string_to_array(changed, ','), actor, cause, at
    from s where changed is not null
    group by workspace, gone, fresh, changed, actor, cause, at, ordinal / 128 order by min(ordinal)
"""
_TOLD_ALONE = """), written_event as (
    insert into event_bundle (workspace, type, record_type, record_ids, account_ids, hlcs, changed, actor, cause, at)
    select workspace, '{event}.' || case when gone then 'deleted' when fresh then 'created' else 'changed' end || '.v1',
           '{type}', array[record_id], array[{account}], array[hlc], string_to_array(changed, ','), actor, cause, at
    from s where changed is not null
"""
_AUDITED = """), written_audit as (
    insert into audit (workspace, at, actor, action, resource, record_id, request_id, digest)
    select workspace, at, actor,
           case when not writes_record then 'claim' when gone then 'delete' when fresh then 'create' else 'change' end,
           '{type}', record_id, cause, digest
    from s order by ordinal
"""
_COUNTED = """)
select (select count(*) from new_ref) + (select count(*) from moved_ref)
"""
_DONE = """)
select 0
"""
