"""The way of a block onto records that are known: later words of the one system that ever spoke of them, all said anew.

No rule decides anything there: a record is what was said last. So rows are compared with what was said before column by
column, copied into one temporary table and stored by one statement. It finds the rows to replace by their place in the
table, which the lock gave; a row that was moved meanwhile is missed and counted, and the transaction is tried again.
Whatever needs rules leaves the block and goes on as a row.
"""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from struct import Struct
from typing import LiteralString, TypeAlias, cast
from uuid import UUID

import msgspec

from isthmus.kernel.marks import Json, RecordType
from isthmus.store.bulk import SEPARATOR, block_row
from isthmus.store.columns import Block, Moved
from isthmus.store.database import Transaction
from isthmus.store.fold import HERE
from isthmus.store.prepare import Prepared, Preparer, Row
from isthmus.store.schema import index_column
from isthmus.store.staging import COPY_HEADER, COPY_TRAILER, expressions
from isthmus.vault import Vault

# Rows are found by their places alone: another plan would be one for tables as the planner believes them to be.
_OTHER_PLANS = ("hashjoin", "mergejoin", "seqscan", "indexscan", "indexonlyscan", "bitmapscan")
_ONLY_PLACES: LiteralString = "; ".join(f"set local enable_{each} = off" for each in _OTHER_PLANS)
_AGAIN: LiteralString = "; ".join(f"set local enable_{each} to default" for each in _OTHER_PLANS)
_STAGE: LiteralString = (
    """
create temporary table if not exists stage_moved (
    record_id uuid, place tid, ref_place tid, hlc bigint, digest bytea, external_id text, said jsonb, sealed bytea,
    version text, changed text, index_0 bytea, index_1 bytea, index_2 bytea, index_3 bytea
) on commit delete rows;
truncate stage_moved;
"""
    + _ONLY_PLACES
)
# Looked up record by record: as long as nothing is known of a young table, the planner would read all of it instead.
_SAID: LiteralString = """
with wanted as (
    select n - 1 as n, external_id, hlc,
           encode(substring(%(records)s::bytea from 16 * n::integer - 15 for 16), 'hex')::uuid as id
    from unnest(string_to_array(%(ids)s, chr(31)), string_to_array(%(hlcs)s, ',')::bigint[])
         with ordinality as given(external_id, hlc, n)
)
select n, found.hlc,
       system = %(system)s and found.external_id = wanted.external_id and found.hlc < wanted.hlc and basis is null
           and subject is null and not deleted as plain,
       fields::text, sealed
from wanted cross join lateral (
    select hlc, system, external_id, fields, sealed, subject, basis, deleted
    from claim where workspace = (select current_workspace()) and record_id = wanted.id
    offset 0
) as found
"""
_LENGTH = Struct(">i")
_NULL = b"\xff\xff\xff\xff"
_FIXED = Struct(">hi16si6si6siqi16si")
_Map: TypeAlias = dict[str, Json]
_Said: TypeAlias = tuple[int, bool, str, bytes | None]


@dataclass(frozen=True, slots=True)
class Counted:
    """How many records changed, and of how many only the claim was new."""

    changed: int = 0
    claimed: int = 0


class Missed(Exception):
    """A row that should be replaced was moved by another writer."""


async def write_moved(tx: Transaction, vault: Vault, prepared: Prepared, preparer: Preparer) -> Counted:
    """Store what the block says of known records; rows that need rules go on by themselves. Raises Missed."""
    moved, prepared.moved = prepared.moved, None
    if moved is None or not len(moved.block):
        return Counted()
    block = moved.block
    if block.source.system.partition(".")[0] == HERE:
        prepared.rows += moved_rows(moved, range(len(block)))
        return Counted()
    places = await _locked(tx, prepared, moved)
    said = await _said(tx, moved)
    work = _Work(vault, tx.scope.workspace, preparer, moved, places, said)
    copied, others, changed = await asyncio.to_thread(work.done)
    prepared.rows += moved_rows(moved, others)
    if copied:
        await _store(tx, prepared.type, block, copied, changed)
    return Counted(changed, len(copied) - changed)


def moved_rows(moved: Moved, chosen: Sequence[int]) -> list[Row]:
    """Return rows on known records as rows that stand by themselves."""
    rows: list[Row] = []
    for n in chosen:
        row = block_row(moved.block, n)
        row.record_id, row.known = UUID(bytes=moved.records[n]), True
        rows.append(row)
    return rows


async def _locked(tx: Transaction, prepared: Prepared, moved: Moved) -> dict[bytes, bytes]:
    """Lock all known records of the batch, in one order, and return where those of the block are."""
    record_type = prepared.type
    records = {UUID(bytes=each) for each in moved.records}
    records.update(row.record_id for row in prepared.rows if row.record_id is not None and not row.fresh)
    table = cast("LiteralString", record_type.table)
    query = f"select uuid_send(id), ctid from {table} where workspace = current_workspace() and id = any(%s) order by id for update"  # noqa: E501, S608 - the name comes from a declaration.
    cursor = await tx.connection.execute(query, (sorted(records),), binary=True)
    return dict(await cursor.fetchall())


async def _said(tx: Transaction, moved: Moved) -> dict[int, list[_Said]]:
    """Return what was said of each record until now, by the number of its row."""
    block = moved.block
    given = {
        "system": block.source.system,
        "records": b"".join(moved.records),
        "ids": SEPARATOR.join(block.external_ids),
        "hlcs": ",".join(map(str, block.hlcs)),
    }
    cursor = await tx.connection.execute(_SAID, given, prepare=False, binary=True)
    said: dict[int, list[_Said]] = defaultdict(list)
    for n, *rest in await cursor.fetchall():
        said[n].append((rest[0], rest[1], rest[2], rest[3]))
    return said


async def _store(tx: Transaction, record_type: RecordType, block: Block, copied: Sequence[bytes], changed: int) -> None:
    names = "".join(f", index_{n}" for n in range(len(block.indexes)))
    copy = (
        "copy stage_moved (record_id, place, ref_place, hlc, digest, external_id, said, sealed, version, changed"
        f"{names}) from stdin (format binary)"
    )
    scope = tx.scope
    tx.grown.add(scope.workspace)
    await tx.connection.execute(_STAGE)
    async with tx.connection.cursor().copy(cast("LiteralString", copy)) as into:
        await into.write(b"".join((COPY_HEADER, *copied, COPY_TRAILER)))
    given = {"workspace": scope.workspace, "now": scope.now, "system": block.source.system}
    given |= {"actor": scope.actor, "cause": scope.cause}
    statement = _statement(record_type, frozenset(block.source.fields))
    cursor = await tx.connection.execute(statement, given, prepare=False)
    found = await cursor.fetchone()
    if found != (len(copied), changed):
        raise Missed
    await tx.connection.execute(_AGAIN)


@dataclass(frozen=True, slots=True)
class _Work:
    """What is computed beside the event loop."""

    vault: Vault
    workspace: int
    preparer: Preparer
    moved: Moved
    places: Mapping[bytes, bytes]
    said: Mapping[int, Sequence[_Said]]

    def done(self) -> tuple[list[bytes], list[int], int]:
        """Return the rows for the stage, the numbers of rows that need rules, and how many records change."""
        chosen = [n for n in range(len(self.moved.block)) if self._is_plain(n)]
        before = self._opened(chosen)
        changes: dict[int, list[str]] = {}
        for n in chosen:
            told = self._changed(n, before.get(n, ()))
            if told is not None:
                changes[n] = told
        others = [n for n in range(len(self.moved.block)) if n not in changes]
        return self._copied(changes), others, sum(1 for told in changes.values() if told)

    def _is_plain(self, n: int) -> bool:
        """Tell whether the record is there and the same system alone ever spoke of it, under this id and before."""
        said = self.said.get(n)
        return bool(said) and self.moved.records[n] in self.places and all(plain for _, plain, _, _ in said or ())

    def _opened(self, chosen: Sequence[int]) -> dict[int, list[tuple[str, bytes]]]:
        """Return what was said of the records in the order of time, opened; a record with an erased key is absent."""
        ordered = [(n, each) for n in chosen for each in sorted(self.said[n], key=_time)]
        sealed = [(n, each[3]) for n, each in ordered if each[3] is not None]
        records = self.moved.records
        opened = iter(
            self.vault.open_columns(
                workspace=self.workspace,
                subjects=[records[n] for n, _ in sealed],
                envelopes=[envelope for _, envelope in sealed],
            )
        )
        before: dict[int, list[tuple[str, bytes]]] = defaultdict(list)
        erased: set[int] = set()
        for n, (_, _, fields, envelope) in ordered:
            personal = next(opened) if envelope is not None else b""
            if personal is None:
                erased.add(n)
            else:
                before[n].append((fields, personal))
        return {n: said for n, said in before.items() if n not in erased}

    def _changed(self, n: int, before: Sequence[tuple[str, bytes]]) -> list[str] | None:
        """Return the names of the fields that differ from what was said before, or None where rules may decide."""
        block = self.moved.block
        personal, own = before[-1][1] if before else b"", block.personal_json[n]
        if not before or (own and not personal):
            return None
        now = _read(block.open_json[n])
        held: _Map = {}
        advancing = self.preparer.advance_only
        for fields, _ in before:
            told = _read(fields)
            if any(name in held and name in told and told[name] != held[name] for name in advancing):
                return None
            held |= told
        if len(before) > 1 or personal != own:
            for _, opened in before:
                held |= _read(opened) if opened else {}
            now |= _read(own) if own else {}
        if not held.keys() <= now.keys():
            return None
        changed = [name for name, value in now.items() if name not in held or held[name] != value]
        return None if any(name in held and name in advancing for name in changed) else changed

    def _copied(self, changes: Mapping[int, Sequence[str]]) -> list[bytes]:
        """Return the rows in PostgreSQL's binary COPY format, sealed."""
        block, moved = self.moved.block, self.moved
        sealing = [n for n in changes if block.personal_json[n]]
        envelopes = self.vault.seal_columns(
            workspace=self.workspace,
            subjects=[moved.records[n] for n in sealing],
            values=[block.personal_json[n] for n in sealing],
        )
        sealed = dict(zip(sealing, envelopes, strict=True))
        versions = block.source.versions
        external_ids = [each.encode() for each in block.external_ids]
        columns = 10 + len(block.indexes)
        rows: list[bytes] = []
        for n, names in changes.items():
            record, external_id, said = moved.records[n], external_ids[n], block.open_json[n]
            version = None if versions is None else versions[block.positions[n]]
            fixed = (16, record, 6, self.places[record], 6, moved.places[n], 8, block.hlcs[n], 16, block.digests[n])
            parts = (
                _FIXED.pack(columns, *fixed, len(external_id)),
                external_id,
                _LENGTH.pack(len(said) + 1),
                b"\1",
                said,
                _sized(sealed.get(n)),
                _sized(None if version is None else version.encode()),
                _sized(",".join(names).encode() if names else None),
                *(_sized(column[n]) for column in block.indexes),
            )
            rows.append(b"".join(parts))
        return rows


def _time(said: _Said) -> int:
    return said[0]


def _read(told: str | bytes) -> _Map:
    return msgspec.json.decode(told, type=_Map)


def _sized(value: bytes | None) -> bytes:
    return _NULL if value is None else _LENGTH.pack(len(value)) + value


@lru_cache(maxsize=256)
def _statement(record_type: RecordType, spoken: frozenset[str]) -> LiteralString:
    """Return the statement that stores what is staged; it gives how many references and records it replaced.

    All names in it come from declarations, none from data.
    """
    own = [
        (name, expression.replace("s.spoken", "s.said"))
        for declared in record_type.open_fields
        if declared.name in spoken
        for name, expression in expressions(declared)
    ]
    own += [(index_column(declared), f"s.index_{n}") for n, declared in enumerate(record_type.handles)]
    parts = {
        "type": record_type.name,
        "table": record_type.table,
        "updates": "".join(f", {name} = {expression}" for name, expression in own),
        "account": "(said->>'account_id')::uuid" if record_type.field("account_id") else "null::uuid",
    }
    return cast("LiteralString", _MOVED.format_map(parts))


_MOVED = """
with given as materialized (
    select %(workspace)s::integer as workspace, %(now)s::timestamptz as at, %(actor)s::text as actor,
           %(cause)s::text as cause, %(system)s::text as system
), moved_ref as (
    update ref as r set digest = s.digest, hlc = s.hlc, seen = greatest(r.seen, s.hlc),
                        version = coalesce(s.version, r.version), deleted = false
    from stage_moved as s
    where r.ctid = s.ref_place and r.record_id = s.record_id and r.external_id = s.external_id
      and r.type = '{type}' and r.system = %(system)s
    returning 1
), moved_record as (
    update {table} as t set sealed = s.sealed, version = t.version + 1, hlc = greatest(t.hlc, s.hlc),
                            system = %(system)s, updated_at = %(now)s, deleted_at = null{updates}
    from stage_moved as s
    where t.ctid = s.place and t.id = s.record_id and s.changed is not null
    returning 1
), new_claim as (
    insert into claim (workspace, record_id, hlc, system, external_id, type, fields, sealed, actor, cause)
    select workspace, record_id, hlc, system, external_id, '{type}', said, sealed, actor, cause
    from stage_moved, given
), new_event as (
    insert into event_bundle (workspace, type, record_type, record_ids, account_ids, hlcs, changed, actor, cause, at)
    select workspace, 'isthmus.{type}.changed.v1', '{type}', array_agg(record_id), array_agg({account}), array_agg(hlc),
           string_to_array(changed, ','), actor, cause, at
    from (select *, (row_number() over (partition by changed) - 1) / 128 as part from stage_moved
          where changed is not null) as told, given
    group by changed, part, workspace, actor, cause, at
), new_audit as (
    insert into audit (workspace, at, actor, action, resource, record_id, request_id, digest)
    select workspace, at, actor, case when changed is null then 'claim' else 'change' end, '{type}', record_id, cause,
           digest
    from stage_moved, given
)
select (select count(*) from moved_ref), (select count(*) from moved_record)
"""
