"""The short way of a block: rows of one system on records that are new, stored as they were said.

Whatever turns out to be known, or to share a handle, leaves the block and goes on as a row. What remains is copied into
one temporary table, and one statement of plain inserts takes it to references, records, claims, events and audit rows.
"""

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from struct import Struct
from typing import LiteralString, NamedTuple, cast
from uuid import UUID

from isthmus.kernel.marks import RecordType
from isthmus.store.columns import Block, Moved
from isthmus.store.database import Transaction
from isthmus.store.prepare import Prepared, Row, echo_of
from isthmus.store.schema import index_column
from isthmus.store.staging import COPY_HEADER, COPY_TRAILER, INDEXES_MAX, expressions

SEPARATOR = "\x1f"
_STAGE: LiteralString = """
create temporary table if not exists stage_new (
    record_id uuid, hlc bigint, digest bytea, external_id text, said jsonb, sealed bytea,
    version text, payload bytea, index_0 bytea, index_1 bytea, index_2 bytea, index_3 bytea
) on commit delete rows;
truncate stage_new
"""
_KNOWN: LiteralString = """
with wanted as (
    select external_id, hlc, n, substring(%(digests)s::bytea from 16 * n::integer - 15 for 16) as digest
    from unnest(string_to_array(%(ids)s, chr(31)), string_to_array(%(hlcs)s, ',')::bigint[])
         with ordinality as given(external_id, hlc, n)
), known as materialized (
    select n - 1 as n, r.*, wanted.hlc as spoken, r.digest = wanted.digest and wanted.hlc >= r.hlc as repeated
    from wanted cross join lateral (
        select *, ctid as place from ref where workspace = (select current_workspace()) and type = %(type)s
           and system = %(system)s and external_id = wanted.external_id
        offset 0
    ) as r
), seen_later as (
    insert into ref as r (workspace, type, system, external_id, record_id, digest, hlc, seen, version, deleted)
    select workspace, type, system, external_id, record_id, digest, hlc, spoken, version, deleted
    from known where repeated and spoken > seen order by external_id
    on conflict (workspace, type, system, external_id) do update set seen = greatest(r.seen, excluded.seen)
)
select null, null, null, null, null, string_agg(n::text, ',') from known where repeated
union all
select n, uuid_send(record_id), hlc, seen, place, null from known where repeated is not true
"""
# What is known between the least and the greatest of the ids, up to a limit: to read a stretch of an index is far
# cheaper than to look up each id, and ids that come in order meet few others there.
_NEAR: LiteralString = """
with bounds as materialized (
    select min(external_id) as least, max(external_id) as greatest
    from unnest(string_to_array(%(ids)s, chr(31))) as given(external_id)
)
select count(*), string_agg(external_id, chr(31)) from (
    select external_id from ref where workspace = (select current_workspace()) and type = %(type)s
       and system = %(system)s and external_id >= (select least from bounds)
       and external_id <= (select greatest from bounds)
    limit %(limit)s
) as near
"""
_NEAR_TIMES = 2
_LENGTH = Struct(">i")
_NULL = b"\xff\xff\xff\xff"
_JSONB = b"\1"


class _Known(NamedTuple):
    """A row of a block whose external id is known: of which record, its last word, and the place of the reference."""

    row: int
    record: bytes
    hlc: int
    seen: int
    place: bytes


async def land_block(tx: Transaction, prepared: Prepared) -> None:
    """Drop what repeats the system's last word; rows with known external ids leave the block, most of them together."""
    block = prepared.block
    if block is None or not len(block) or block.asked:
        return
    ids = block.external_ids
    asked = await perhaps_known(tx, prepared.type, system=block.source.system, ids=ids)
    if not asked:
        return
    given = {
        "type": prepared.type.name,
        "system": block.source.system,
        # One text or string each: an array would cost a call for each of its elements.
        "ids": SEPARATOR.join(ids[n] for n in asked),
        "hlcs": ",".join(str(block.hlcs[n]) for n in asked),
        "digests": b"".join(block.digests[n] for n in asked),
    }
    cursor = await tx.connection.execute(_KNOWN, given, prepare=False, binary=True)
    (*_, told), *others = await cursor.fetchall()
    repeated = [asked[int(each)] for each in told.split(",")] if told else []
    known = [_Known(asked[n], *rest) for n, *rest, _ in others]
    prepared.unchanged += len(repeated)
    _set_apart(prepared, block, known)
    block.drop([*repeated, *(each.row for each in known)])


def _set_apart(prepared: Prepared, block: Block, known: Sequence[_Known]) -> None:
    """Let rows with known ids go on together; those that arrive late, or twice for one record, stand by themselves."""
    times = Counter(each.record for each in known)
    together: list[_Known] = []
    for each in known:
        hlc = block.hlcs[each.row]
        if times[each.record] == 1 and hlc > max(each.hlc, each.seen) and block.source.payloads is None:
            together.append(each)
            continue
        row = block_row(block, each.row)
        row.record_id, row.known = UUID(bytes=each.record), True
        row.echo = echo_of(hlc, spoken=each.hlc, seen=each.seen)
        prepared.rows.append(row)
    if together:
        together.sort(key=lambda each: each.record)
        prepared.moved = Moved(
            block=block.taken([each.row for each in together]),
            records=[each.record for each in together],
            places=[each.place for each in together],
        )


async def perhaps_known(tx: Transaction, record_type: RecordType, *, system: str, ids: Sequence[str]) -> Sequence[int]:
    """Return the positions of external ids that may be known; all, where too many others lie between them."""
    limit = _NEAR_TIMES * len(ids)
    given = {"type": record_type.name, "system": system, "ids": SEPARATOR.join(ids), "limit": limit}
    cursor = await tx.connection.execute(_NEAR, given, prepare=False)
    row = await cursor.fetchone()
    if row is None or row[0] == limit:
        return range(len(ids))
    near = frozenset(row[1].split(SEPARATOR)) if row[0] else frozenset[str]()
    return [n for n, each in enumerate(ids) if each in near]


def block_row(block: Block, n: int) -> Row:
    """Return one row of a block as a row that stands by itself."""
    return Row(
        observation=block.source.observation(block.positions[n]),
        open_json=block.open_json[n],
        personal_json=block.personal_json[n],
        digest=block.digests[n],
        indexes=tuple(column[n] for column in block.indexes),
        hlc=block.hlcs[n],
        candidate=UUID(bytes=block.ids[n]) if block.ids else None,
        sealed=(block.sealed[n] or None) if block.sealed else None,
        sealed_payload=(block.payloads[n] or None) if block.payloads else None,
    )


def release(prepared: Prepared, rows: Sequence[int]) -> None:
    """Let rows leave the block and go on by themselves."""
    block = prepared.block
    if block is not None and rows:
        prepared.rows += [block_row(block, n) for n in rows]
        block.drop(rows)


def copy_rows(block: Block) -> None:
    """Make the rows ready for the stage, in PostgreSQL's binary COPY format, while there is time."""
    fixed = Struct(">hi16siqi16si").pack
    length = _LENGTH.pack
    tails = _tails(block)
    columns = 6 + len(block.indexes) + 2 * _carries(block)
    rows = zip(
        block.ids,
        block.hlcs,
        block.digests,
        [each.encode() for each in block.external_ids],
        block.open_json,
        block.sealed or [b""] * len(block),
        tails,
        strict=True,
    )
    block.copied = [
        b"".join(
            (
                fixed(columns, 16, record, 8, hlc, 16, digest, len(external_id)),
                external_id,
                length(len(said) + 1),
                _JSONB,
                said,
                length(len(sealed)) if sealed else _NULL,
                sealed,
                tail,
            )
        )
        for record, hlc, digest, external_id, said, sealed, tail in rows
    ]


def _carries(block: Block) -> bool:
    """Tell whether rows go with a version and a payload."""
    return block.source.versions is not None or block.source.payloads is not None


def _tails(block: Block) -> Sequence[bytes]:
    """Return the last columns of each row: the version and the payload, where there are any, and the indexes."""
    head = _LENGTH.pack(16)
    columns = [[_NULL if each is None else head + each for each in column] for column in block.indexes]
    if _carries(block):
        given = block.source.versions
        versions = [None if given is None else given[position] for position in block.positions]
        encoded = [None if each is None else each.encode() for each in versions]
        payloads = [each or None for each in block.payloads] or [None] * len(block)
        columns = [[_sized(each) for each in encoded], [_sized(each) for each in payloads], *columns]
    match columns:
        case []:
            return [b""] * len(block)
        case [only]:
            return only
        case _:
            return [b"".join(each) for each in zip(*columns, strict=True)]


def _sized(value: bytes | None) -> bytes:
    return _NULL if value is None else _LENGTH.pack(len(value)) + value


async def write_ahead(tx: Transaction, prepared: Prepared) -> None:
    """Store all of the block but the records themselves, before it is sure that nobody else is meant by them.

    No other writer waits for this part. When somebody is met after all, it has to be rolled back. A writer who was
    faster with one of the external ids breaks a key, and the whole transaction has to be tried again.
    """
    block = prepared.block
    if block is None or not len(block):
        return
    names = ", version, payload" if _carries(block) else ""
    names += "".join(f", index_{n}" for n in range(len(block.indexes)))
    copy = f"copy stage_new (record_id, hlc, digest, external_id, said, sealed{names}) from stdin (format binary)"
    await tx.connection.execute(_STAGE)
    async with tx.connection.cursor().copy(cast("LiteralString", copy)) as into:
        await into.write(b"".join((COPY_HEADER, *block.copied, COPY_TRAILER)))
    await tx.connection.execute(_ahead_statement(prepared.type), _parameters(tx, block), prepare=False)
    block.ahead = True


async def write_block(tx: Transaction, prepared: Prepared) -> int:
    """Store the rows of the block, all of which are new records; returns their number."""
    block = prepared.block
    if block is None or not len(block):
        return 0
    if not block.ahead:
        await write_ahead(tx, prepared)
    statement = _record_statement(prepared.type, frozenset(block.source.fields))
    tx.grown.add(tx.scope.workspace)
    await tx.connection.execute(statement, _parameters(tx, block), prepare=False)
    return len(block)


def _parameters(tx: Transaction, block: Block) -> dict[str, object]:
    scope = tx.scope
    given: dict[str, object] = {"workspace": scope.workspace, "now": scope.now, "system": block.source.system}
    return {**given, "actor": scope.actor, "cause": scope.cause}


@lru_cache(maxsize=256)
def _ahead_statement(record_type: RecordType) -> LiteralString:
    """Return the statement that stores references, claims, events and audit rows of what is staged.

    All names in it come from declarations, none from data.
    """
    account = "(said->>'account_id')::uuid" if record_type.field("account_id") else "null::uuid"
    return cast("LiteralString", _AHEAD.format(type=record_type.name, account=account))


@lru_cache(maxsize=256)
def _record_statement(record_type: RecordType, spoken: frozenset[str]) -> LiteralString:
    """Return the statement that stores staged records of which the fields `spoken` were said."""
    if len(record_type.handles) > INDEXES_MAX:
        message = f"{record_type.name} has more than {INDEXES_MAX} handles"
        raise ValueError(message)
    own = [
        (name, expression.replace("s.spoken", "said"))
        for declared in record_type.open_fields
        if declared.name in spoken
        for name, expression in expressions(declared)
    ]
    own += [(index_column(declared), f"index_{n}") for n, declared in enumerate(record_type.handles)]
    parts = {
        "table": record_type.table,
        "columns": "".join(f", {name}" for name, _ in own),
        "values": "".join(f", {expression}" for _, expression in own),
    }
    return cast("LiteralString", _RECORD.format_map(parts))


_AHEAD = """
with given as materialized (
    select %(workspace)s::integer as workspace, %(now)s::timestamptz as at, %(actor)s::text as actor,
           %(cause)s::text as cause, %(system)s::text as system
), new_ref as (
    insert into ref (workspace, type, system, external_id, record_id, digest, hlc, seen, version)
    select workspace, '{type}', system, external_id, record_id, digest, hlc, hlc, version from stage_new, given
), new_claim as (
    insert into claim (workspace, record_id, hlc, system, external_id, type, fields, sealed, actor, cause, payload)
    select workspace, record_id, hlc, system, external_id, '{type}', said, sealed, actor, cause, payload
    from stage_new, given
), new_event as (
    insert into event_bundle (workspace, type, record_type, record_ids, account_ids, hlcs, changed, actor, cause, at)
    select workspace, 'isthmus.{type}.created.v1', '{type}', array_agg(record_id), array_agg({account}), array_agg(hlc),
           '{{}}', actor, cause, at
    from (select *, (row_number() over () - 1) / 128 as part from stage_new) as told, given
    group by part, workspace, actor, cause, at
)
insert into audit (workspace, at, actor, action, resource, record_id, request_id, digest)
select workspace, at, actor, 'create', '{type}', record_id, cause, digest from stage_new, given
"""
_RECORD = """
insert into {table} (workspace, id, sealed, hlc, system, created_at, updated_at{columns})
select %(workspace)s::integer, record_id, sealed, hlc, %(system)s::text, %(now)s::timestamptz,
       %(now)s::timestamptz{values}
from stage_new
"""
