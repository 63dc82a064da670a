"""Putting a batch: find out what is known, fold what is not new, seal, and merge it all in the caller's transaction.

`land` tells which observations repeat what is known and which records they mean; a matcher then says who the others
are; `write` stores them. One record is a batch of one on the same path. A batch is idempotent on (system, external id,
observed time): putting it again changes nothing.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import LiteralString, NamedTuple, cast
from uuid import UUID

from isthmus.kernel.clock import milliseconds
from isthmus.kernel.errors import Fault, Unavailable
from isthmus.kernel.ids import ENTROPY_BYTES, mint_many, mint_raw
from isthmus.kernel.marks import Json, RecordType
from isthmus.store.bulk import copy_rows, land_block, write_block
from isthmus.store.cases import CaseChange, write_cases
from isthmus.store.columns import Block
from isthmus.store.database import Transaction
from isthmus.store.folding import Folded, Move, fold_groups
from isthmus.store.moving import Missed, write_moved
from isthmus.store.prepare import Prepared, Preparer, Reject, Row, echo_of
from isthmus.store.staging import COPY, STAGE, Staged, binary, merge_statement
from isthmus.store.trail import claims_of
from isthmus.vault import Vault, entropy

_REFS: LiteralString = """
select r.system, r.external_id, r.record_id, r.digest, r.hlc, r.seen
from unnest(%s::text[], %s::text[]) as wanted(system, external_id)
cross join lateral (
    select * from ref where workspace = (select current_workspace()) and type = %s and system = wanted.system
       and external_id = wanted.external_id
    offset 0
) as r
"""
_SEEN: LiteralString = """
insert into ref as r (workspace, type, system, external_id, record_id, digest, hlc, seen, version, deleted)
select old.workspace, old.type, old.system, old.external_id, record_id, digest, old.hlc, wanted.hlc, version, deleted
from unnest(%s::text[], %s::text[], %s::bigint[]) as wanted(system, external_id, hlc)
cross join lateral (
    select * from ref where workspace = (select current_workspace()) and type = %s and system = wanted.system
       and external_id = wanted.external_id
    offset 0
) as old
order by old.system, old.external_id
on conflict (workspace, type, system, external_id) do update set seen = greatest(r.seen, excluded.seen)
"""
_ECHO: LiteralString = """
insert into claim (workspace, record_id, hlc, system, external_id, type, fields, sealed, subject, basis, deleted, actor,
                   cause)
select workspace, record_id, wanted.seen, system, external_id, type, fields, sealed, subject, basis, deleted, actor,
       cause
from unnest(%s::uuid[], %s::text[], %s::text[], %s::bigint[], %s::bigint[])
     as wanted(record, of_system, id, spoken, seen)
cross join lateral (
    select * from claim where workspace = (select current_workspace()) and record_id = wanted.record
       and system = wanted.of_system and external_id = wanted.id and hlc = wanted.spoken
    offset 0
) as old
on conflict do nothing
"""
# What comes late from inside the interval is not the system's last word: the repetition at its end is.
_ECHOED: LiteralString = """
update ref set hlc = seen
from (select distinct * from unnest(%s::text[], %s::text[], %s::bigint[]) as kept(system, id, spoken)) as kept
where workspace = current_workspace() and type = %s and ref.system = kept.system and external_id = kept.id
  and hlc = kept.spoken
"""
_ASIDE: LiteralString = """
update claim set hlc = -moved.now
from unnest(%s::uuid[], %s::text[], %s::text[], %s::bigint[], %s::bigint[]) as moved(record, system, id, old, now)
where workspace = current_workspace() and record_id = moved.record and claim.system = moved.system
  and external_id = moved.id and hlc = moved.old
"""
_PLACED: LiteralString = """
update claim set hlc = -hlc where workspace = current_workspace() and record_id = any(%s) and hlc < 0
"""
_LAST: LiteralString = """
update ref set hlc = moved.now, seen = greatest(seen, moved.now)
from unnest(%s::text[], %s::text[], %s::bigint[], %s::bigint[]) as moved(system, id, old, now)
where workspace = current_workspace() and type = %s and ref.system = moved.system and external_id = moved.id
  and hlc = moved.old
"""
_Map = dict[str, Json]


class Raced(Unavailable):
    """Another writer gave the same external id to another record just now; the transaction must be tried again."""

    code, title = "raced", "Another writer was faster"


@dataclass(slots=True)
class PutResult:
    """What a batch did. `records` are the ids of changed or created records."""

    created: int = 0
    changed: int = 0
    claimed: int = 0
    unchanged: int = 0
    opened_cases: int = 0
    rejected: int = 0
    rejects: list[Reject] = field(default_factory=list[Reject])
    records: list[UUID] = field(default_factory=list[UUID])


class _Ref(NamedTuple):
    """What is known of an external id: its record, its last word and when it was said first and last."""

    record_id: UUID
    digest: bytes
    hlc: int
    seen: int


async def land(tx: Transaction, prepared: Prepared) -> None:
    """Drop what repeats the system's last word, and name the records of the external ids that are known."""
    await land_block(tx, prepared)
    if not prepared.rows:
        return
    await _link(tx, prepared)
    named = [row.observation for row in prepared.rows if not row.known]
    systems, external_ids = [each.system for each in named], [each.external_id for each in named]
    cursor = await tx.connection.execute(_REFS, (systems, external_ids, prepared.type.name))
    known = {(system, ref): _Ref(*rest) for system, ref, *rest in await cursor.fetchall()}
    kept = [row for row in prepared.rows if row.known]
    seen: dict[tuple[str, str], int] = {}
    until = _repeating_until([row for row in prepared.rows if not row.known], known)
    for row in (row for row in prepared.rows if not row.known):
        place = (row.observation.system, row.observation.external_id)
        ref = known.get(place)
        if ref is not None:
            repeats = ref.digest == row.digest and ref.hlc <= row.hlc < until.get(place, row.hlc + 1)
            if repeats and not row.settles and row.observation.seen is None:
                prepared.unchanged += 1
                if row.hlc > ref.seen:
                    seen[place] = max(row.hlc, seen.get(place, 0))
                continue
            row.record_id, row.known = ref.record_id, True
            row.echo = echo_of(row.hlc, spoken=ref.hlc, seen=ref.seen)
        kept.append(row)
    prepared.rows = kept
    if seen:
        columns = [list(column) for column in zip(*((*place, hlc) for place, hlc in seen.items()), strict=True)]
        await tx.connection.execute(_SEEN, (*columns, prepared.type.name))


def _repeating_until(rows: Sequence[Row], known: Mapping[tuple[str, str], _Ref]) -> dict[tuple[str, str], int]:
    """Return when a system first says something else in these rows: its last word after that is no mere repetition."""
    until: dict[tuple[str, str], int] = {}
    for row in rows:
        place = (row.observation.system, row.observation.external_id)
        ref = known.get(place)
        if ref is not None and ref.digest != row.digest and row.hlc >= ref.hlc:
            until[place] = min(row.hlc, until.get(place, row.hlc))
    return until


async def _link(tx: Transaction, prepared: Prepared) -> None:
    """Replace links to other records by their ids; a row whose target is unknown is rejected and can be retried."""
    wanted: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for row, target, system, external_id, _ in _links(prepared):
        del row
        wanted[target].add((system, external_id))
    found: dict[tuple[str, str, str], UUID] = {}
    for target, ids in wanted.items():
        systems, external_ids = zip(*ids, strict=True)
        cursor = await tx.connection.execute(_REFS, (list(systems), list(external_ids), target))
        found.update({(target, system, ref): record for system, ref, record, *_ in await cursor.fetchall()})
    missing: dict[int, list[Fault]] = defaultdict(list)
    for row, target, system, external_id, name in _links(prepared):
        record = found.get((target, system, external_id))
        if record is None:
            detail = (
                f"{system} names {target} {external_id!r}, which is not known yet. It is retried after the next pull."
            )
            missing[id(row)].append(Fault(pointer=f"/{name}", code="unknown-link", detail=detail))
        else:
            comma = b"," if len(row.open_json) > len(b"{}") else b""
            row.open_json = b'{"%s":"%s"%s' % (name.encode(), str(record).encode(), comma) + row.open_json[1:]
    if missing:
        prepared.rejects += [
            Reject(row.observation, tuple(missing[id(row)])) for row in prepared.rows if id(row) in missing
        ]
        prepared.rows = [row for row in prepared.rows if id(row) not in missing]


def _links(prepared: Prepared) -> Iterator[tuple[Row, str, str, str, str]]:
    for row in prepared.rows:
        for name, link in row.observation.links.items():
            declared = prepared.type.field(name)
            if declared is not None and declared.to is not None:
                yield row, declared.to, link.system or row.observation.system, link.external_id, name


async def write(tx: Transaction, vault: Vault, prepared: Prepared, preparer: Preparer) -> PutResult:
    """Store rows whose records are known; raises Raced when the transaction has to be tried again.

    Of a block the created and changed records are counted and not listed.
    """
    result = PutResult(unchanged=prepared.unchanged, rejects=prepared.rejects)
    try:
        moved = await write_moved(tx, vault, prepared, preparer)
    except Missed as error:
        raise Raced("A record was changed at this moment.", fix="Try again.") from error
    result.changed, result.claimed = moved.changed, moved.claimed
    groups: dict[UUID, list[Row]] = defaultdict(list)
    for row in prepared.rows:
        if row.record_id is None:
            message = "a row without a record reached write(): match it first"
            raise AssertionError(message)
        groups[row.record_id].append(row)
    result.created += await write_block(tx, prepared)
    plain = [rows[0] for rows in groups.values() if len(rows) == 1 and rows[0].fresh and _simple(rows[0])]
    folded = {
        record: rows for record, rows in groups.items() if len(rows) > 1 or not (rows[0].fresh and _simple(rows[0]))
    }
    staged = _stage_plain(plain)
    cases: list[CaseChange] = []
    if folded:
        outcome = await _fold(tx, vault, preparer, folded)
        await _renumber(tx, prepared.type, outcome.moves)
        staged, cases = [*staged, *outcome.staged], outcome.cases
        result.rejects += outcome.rejects
        result.unchanged += outcome.unchanged
    if not staged:
        return result
    await _merge(tx, prepared.type, staged)
    result.opened_cases = await write_cases(tx, prepared.type, cases)
    for row in staged:
        if row.writes_record:
            result.created += row.fresh
            result.changed += not row.fresh
            result.records.append(row.record_id)
        else:
            result.claimed += 1
    return result


def _simple(row: Row) -> bool:
    own = row.observation
    return not row.settles and own.seen is None and not own.deleted and not own.rules


def anticipate(vault: Vault, prepared: Prepared, *, workspace: int, now: datetime) -> None:
    """Give every stranger a candidate id with a key of its own, and seal for it. It blocks: run it in a thread.

    A candidate that turns out to mean a known record stays reserved, with its key, for the day the link is undone.
    """
    if prepared.block is not None:
        _anticipate_block(vault, prepared.type, prepared.block, workspace=workspace, now=now)
    strangers = [row for row in prepared.rows if row.record_id is None]
    count = len(strangers)
    candidates = mint_many(unix_ms=milliseconds(now), count=count, entropy=entropy(count * ENTROPY_BYTES))
    if prepared.type.personal_fields and candidates:
        vault.create(workspace=workspace, subjects=candidates)
    values: list[tuple[UUID, bytes]] = []
    for row, candidate in zip(strangers, candidates, strict=True):
        row.candidate = candidate
        if row.personal_json:
            values.append((candidate, row.personal_json))
        if row.observation.payload:
            values.append((candidate, row.observation.payload))
    if not prepared.type.personal_fields:
        carrying = [row.record_id or row.candidate for row in prepared.rows if row.observation.payload]
        vault.ensure(workspace=workspace, subjects=[each for each in carrying if each])
    sealed = iter(vault.seal_many(workspace=workspace, values=values))
    for row in strangers:
        row.sealed = next(sealed) if row.personal_json else None
        row.sealed_payload = next(sealed) if row.observation.payload else None


def _anticipate_block(vault: Vault, record_type: RecordType, block: Block, *, workspace: int, now: datetime) -> None:
    count = len(block)
    block.ids = mint_raw(unix_ms=milliseconds(now), count=count, entropy=entropy(count * ENTROPY_BYTES))
    payloads = block.source.payloads
    received = [] if payloads is None else [payloads[position] or b"" for position in block.positions]
    if block.ids and (record_type.personal_fields or received):
        columns = [block.personal_json, *([received] if received else [])]
        block.sealed, *rest = vault.seal_new(workspace=workspace, subjects=block.ids, columns=columns)
        block.payloads = rest[0] if rest else []
    copy_rows(block)


def _stage_plain(rows: Sequence[Row]) -> list[Staged]:
    """Stage records that are new and of which one system spoke once: the record is what was said."""
    return [
        Staged(
            record_id=_record(row),
            system=row.observation.system,
            external_id=row.observation.external_id,
            hlc=row.hlc,
            digest=row.digest,
            said=row.open_json,
            said_sealed=row.sealed,
            payload=row.sealed_payload,
            version=row.observation.version,
            new_ref=not row.known,
            indexes=row.indexes,
        )
        for row in rows
    ]


async def _fold(tx: Transaction, vault: Vault, preparer: Preparer, groups: dict[UUID, list[Row]]) -> Folded:
    """Fold the trails of records that are known, under a lock of each."""
    ordered = {record: groups[record] for record in sorted(groups)}
    await tx.connection.execute(lock_statement(preparer.type), (list(ordered),))
    await _keep_echoes(tx, preparer.type, ordered)
    trails = await claims_of(tx, vault, list(ordered))
    return await asyncio.to_thread(fold_groups, vault, tx.scope.workspace, preparer, ordered, trails)


@lru_cache(maxsize=256)
def lock_statement(record_type: RecordType, *, shown: LiteralString = "1") -> LiteralString:
    """Return the statement that locks records in one order; the name in it comes from a declaration."""
    table = cast("LiteralString", record_type.table)
    return f"select {shown} from {table} where workspace = current_workspace() and id = any(%s) order by id for update"  # noqa: S608 - see above.


def _record(row: Row) -> UUID:
    if row.record_id is None:
        message = "a row without a record was staged"
        raise AssertionError(message)
    return row.record_id


async def _keep_echoes(tx: Transaction, record_type: RecordType, groups: dict[UUID, list[Row]]) -> None:
    """Write down how long a system kept saying its last word, where an older word arrives late in between."""
    echoes = [
        (record, row.observation.system, row.observation.external_id, *row.echo)
        for record, rows in groups.items()
        for row in rows
        if row.echo is not None
    ]
    if not echoes:
        return
    await tx.connection.execute(_ECHO, [list(column) for column in zip(*echoes, strict=True)])
    _, systems, ids, spoken, _ = zip(*echoes, strict=True)
    await tx.connection.execute(_ECHOED, (list(systems), list(ids), list(spoken), record_type.name))


async def _renumber(tx: Transaction, record_type: RecordType, moves: Sequence[Move]) -> None:
    """Give claims their new numbers; by a detour below zero, because one may take the number that another leaves."""
    if not moves:
        return
    records = [each.record for each in moves]
    systems, ids = [each.system for each in moves], [each.external_id for each in moves]
    old, new = [each.old for each in moves], [each.new for each in moves]
    await tx.connection.execute(_ASIDE, (records, systems, ids, old, new))
    await tx.connection.execute(_PLACED, (records,))
    await tx.connection.execute(_LAST, (systems, ids, old, new, record_type.name))


async def _merge(tx: Transaction, record_type: RecordType, staged: Sequence[Staged]) -> None:
    written = await run_staged(tx, staged, merge_statement(record_type, alone=len(staged) == 1))
    if written != len({(row.system, row.external_id) for row in staged}):
        raise Raced("The external id was taken at this moment.", fix="Try again.")


def _name_causes(causes: dict[str, str], staged: Sequence[Staged]) -> None:
    """Give rows the causes of whoever put them; what becomes of their records later has these causes too."""
    if not causes:
        return
    for row in staged:
        row.cause = causes.get(row.external_id)
        if row.cause is not None:
            causes[str(row.record_id)] = row.cause


async def run_staged(tx: Transaction, staged: Sequence[Staged], statement: LiteralString) -> int:
    """Copy rows into the stage, run a statement of `staging` over it and return the number it gives."""
    connection = tx.connection
    _name_causes(tx.causes, staged)
    tx.grown.add(tx.scope.workspace)
    await connection.execute(STAGE)
    async with connection.cursor().copy(COPY) as copy:
        for block in binary(staged):
            await copy.write(block)
    scope = tx.scope
    cursor = await connection.execute(
        statement,
        {"workspace": scope.workspace, "now": scope.now, "actor": scope.actor, "cause": scope.cause},
        prepare=False,
    )
    counted = await cursor.fetchone()
    await connection.execute("truncate stage")
    return int(counted[0]) if counted else 0
