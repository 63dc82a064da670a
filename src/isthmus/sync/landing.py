"""Landing a page: raw records become observations of one system, and these are put in the caller's transaction.

What the system is told twice, what it says late, what it echoes of our own writes and what cannot be mapped is sorted
out here; nothing of it stops a page.
"""

import asyncio
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import LiteralString
from uuid import UUID

import msgspec
from msgspec import Struct

from isthmus.kernel.errors import Fault, IsthmusError
from isthmus.kernel.hlc import COUNTER_BITS
from isthmus.store.bulk import perhaps_known
from isthmus.store.columns import Columns
from isthmus.store.database import Transaction
from isthmus.store.observation import Observation
from isthmus.store.prepare import Prepared, Preparer, Reject
from isthmus.store.put import PutResult
from isthmus.store.rejected import keep_rejects
from isthmus.sync.connector import Connector, Feed, Raw
from isthmus.sync.drift import drift_of
from isthmus.sync.ingest import Interval, Store, add, put_in
from isthmus.sync.ledger import Groups, noted, recognise

_PAYLOAD_BYTES_MAX = 10_000_000
_BLOCK_ROWS_MIN = 100
_REFS: LiteralString = """
select r.system, r.external_id, r.digest, r.hlc, r.version
from unnest(%s::text[], %s::text[]) as wanted(system, external_id)
join ref r on r.workspace = current_workspace() and r.type = %s
          and r.system = wanted.system and r.external_id = wanted.external_id
"""
_VERSIONS: LiteralString = """
update ref set version = told.version
from unnest(%s::text[], %s::text[], %s::text[]) as told(system, external_id, version)
where ref.workspace = current_workspace() and ref.type = %s and ref.system = told.system
  and ref.external_id = told.external_id
"""
_LIVING: LiteralString = """
select type, external_id from ref
where workspace = current_workspace() and type = any(%s) and system = %s and external_id = any(%s) and not deleted
"""
_SUPERSEDED: LiteralString = """
update rejected set settled_at = %s
where workspace = current_workspace() and type = %s and system = %s and external_id = any(%s) and settled_at is null
"""
_LOOK_AGAIN: LiteralString = """
insert into push_pending (workspace, connection_id, type, record_id, reason, at)
select current_workspace(), %s, %s, record, %s, %s from unnest(%s::uuid[]) as given(record)
on conflict (workspace, connection_id, type, record_id) do update set at = excluded.at, reason = excluded.reason
"""


class Payload(Struct, frozen=True, kw_only=True):
    """A record as it was received, and from which feed: enough to map it again."""

    feed: str
    raw: Raw


@dataclass(slots=True)
class Landed:
    """What a page did: the counts, and by type the records that were spoken of without being changed."""

    result: PutResult = field(default_factory=PutResult)
    spoken: dict[str, list[UUID]] = field(default_factory=dict[str, list[UUID]])


def pack(feed: str, raw: Raw) -> bytes:
    """Return a payload, compressed."""
    return zlib.compress(msgspec.json.encode(Payload(feed=feed, raw=raw)), level=1)


def unpack(payload: bytes) -> Payload:
    """Return a payload that was packed; raises ValueError when it is not one."""
    opened = zlib.decompressobj()
    plain = opened.decompress(payload, _PAYLOAD_BYTES_MAX)
    return msgspec.json.decode(plain, type=Payload)


def observe(
    store: Store, connector: Connector, feed: Feed, *, system: str, rows: Iterable[Raw]
) -> tuple[list[Observation], list[Reject]]:
    """Map raw records; one whose mapping fails becomes a reject that keeps it as it was received.

    Of a record that is there twice, as in pages that shift while they are read, the later one counts.
    """
    found: dict[tuple[str, str], Observation] = {}
    rejects: list[Reject] = []
    personal = {name for name in feed.types if store.schema[name].personal_fields}
    for raw in rows:
        if raw.deleted:
            continue
        payload = pack(feed.name, raw)
        if (fault := drift_of(feed, raw.body)) is not None:
            rejects.append(_reject(feed, system=system, raw=raw, payload=payload, fault=fault))
            continue
        try:
            mapped = list(connector.normalise(feed.name, raw))
            _check(feed, mapped)
        except Exception as error:  # noqa: BLE001 - whatever a mapping raises belongs to its one record.
            rejects.append(_unmapped(feed, system=system, raw=raw, payload=payload, error=error))
            continue
        carrier = next((each for each in mapped if each.type in personal), mapped[0] if mapped else None)
        for each in mapped:
            own = msgspec.structs.replace(
                each, system=system, payload=payload if each is carrier else None, version=each.version or raw.version
            )
            earlier = found.get((own.type, own.external_id))
            if earlier is None or earlier.at is None or own.at is None or own.at >= earlier.at:
                found[(own.type, own.external_id)] = own
    return list(found.values()), rejects


def _check(feed: Feed, mapped: Sequence[Observation]) -> None:
    for each in mapped:
        if each.type not in feed.types:
            raise WrongType(f"Feed {feed.name} gave a {each.type}.", fix="Name the type in the feed's manifest.")


class WrongType(IsthmusError):
    """A mapping gave a record type that its feed does not name."""

    code, title = "wrong-type", "The feed does not name this record type"


def _unmapped(feed: Feed, *, system: str, raw: Raw, payload: bytes, error: Exception) -> Reject:
    said = str(error) if isinstance(error, IsthmusError) else type(error).__name__
    detail = f"The mapping of {feed.name} failed: {said}. The record is kept as received; retry it when that is mended."
    fault = Fault(pointer="/", code="mapping", detail=detail)
    return _reject(feed, system=system, raw=raw, payload=payload, fault=fault)


def _reject(feed: Feed, *, system: str, raw: Raw, payload: bytes, fault: Fault) -> Reject:
    observation = Observation(
        type=feed.types[0], system=system, external_id=raw.external_id, at=raw.at, version=raw.version, payload=payload
    )
    return Reject(observation, (fault,))


async def tombstones(tx: Transaction, feed: Feed, *, system: str, rows: Iterable[Raw]) -> list[Observation]:
    """Return the deletions of what is known and living under the ids of deleted raw records."""
    gone = {raw.external_id: raw for raw in rows if raw.deleted}
    if not gone:
        return []
    cursor = await tx.connection.execute(_LIVING, (list(feed.types), system, list(gone)))
    return [
        Observation(type=name, system=system, external_id=external_id, deleted=True, at=gone[external_id].at)
        for name, external_id in await cursor.fetchall()
    ]


async def land_observations(
    tx: Transaction,
    store: Store,
    *,
    connection_id: UUID,
    system: str,
    observations: Sequence[Observation],
    rejects: Sequence[Reject] = (),
    interval: Interval,
    together: Mapping[str, Groups] = MappingProxyType({}),
) -> Landed:
    """Put what a system said now; rejects take the place of earlier ones of the same record.

    `together` names by record type the fields that the system holds as one value.
    """
    landed = Landed()
    types = dict.fromkeys([each.type for each in observations] + [each.observation.type for each in rejects])
    for name in types:
        own = [each for each in observations if each.type == name]
        refused = [each for each in rejects if each.observation.type == name]
        ids = [each.external_id for each in own] + [each.observation.external_id for each in refused]
        await tx.connection.execute(_SUPERSEDED, (tx.scope.now, name, system, ids))
        preparer = store.preparer(name, tx.scope.workspace)
        prepared = await _prepared(tx, preparer, own, connection_id=connection_id, interval=interval)
        prepared.rejects += refused
        await order(tx, prepared)
        await recognise(
            tx, store.vault, prepared, connection_id=connection_id, together=together.get(prepared.type.name, ())
        )
        result = await put_in(tx, store, preparer, prepared, keep=False)
        if result.rejects:
            await keep_rejects(tx, store.vault, prepared.type, result.rejects)
        changed = set(result.records)
        claimed = [row.record_id for row in prepared.rows if row.record_id and row.record_id not in changed]
        landed.spoken[name] = list(dict.fromkeys(claimed))
        landed.result.records += result.records
        add(landed.result, result)
    return landed


async def _prepared(
    tx: Transaction, preparer: Preparer, own: Sequence[Observation], *, connection_id: UUID, interval: Interval
) -> Prepared:
    """Prepare what one system said: plain words on ids that nobody knows by column, where there are many of them."""
    since, until = interval.since, interval.until
    alike = _alike(own)
    if len(alike) < _BLOCK_ROWS_MIN:
        return preparer.prepare(own, since=since, until=until)
    ids = [each.external_id for each in alike]
    name, system = preparer.type.name, alike[0].system
    noticed = await noted(tx, connection_id=connection_id, type_name=name, ids=ids)
    known = {ids[n] for n in await perhaps_known(tx, preparer.type, system=system, ids=ids)} | noticed
    fresh = [] if "" in known else [each for each in alike if each.external_id not in known]
    columns = Columns.of(fresh) if len(fresh) >= _BLOCK_ROWS_MIN else None
    if columns is None:
        return preparer.prepare(own, since=since, until=until)
    prepared = await asyncio.to_thread(preparer.prepare_columns, columns, since=since, until=until)
    if prepared.block is not None:
        prepared.block.asked = True
    taken = set(columns.external_ids)
    others = preparer.prepare([each for each in own if each.external_id not in taken], since=since, until=until)
    prepared.rows += others.rows
    prepared.rejects += others.rejects
    prepared.unchanged += others.unchanged
    return prepared


def _alike(own: Sequence[Observation]) -> list[Observation]:
    """Return those observations that speak plainly, alone of their records, and of the same fields as most do."""
    times = Counter(each.external_id for each in own)
    shapes: dict[tuple[str, ...], list[Observation]] = defaultdict(list)
    for each in own:
        plain = not (each.deleted or each.links or each.rules) and each.seen is None
        if plain and times[each.external_id] == 1:
            shapes[tuple(each.fields)].append(each)
    return max(shapes.values(), key=len) if shapes else []


async def order(tx: Transaction, prepared: Prepared) -> None:
    """Give another word in the same millisecond the place after the last one: what is read later was said later.

    Without it a system that stamps by the second could change a record twice in one of them and be heard once. A new
    version of what was said before is kept too: writes are made on the condition of it.
    """
    if not prepared.rows:
        return
    keys = [(row.observation.system, row.observation.external_id) for row in prepared.rows]
    systems, ids = (list(column) for column in zip(*keys, strict=True))
    cursor = await tx.connection.execute(_REFS, (systems, ids, prepared.type.name))
    known = {(system, external_id): rest for system, external_id, *rest in await cursor.fetchall()}
    versions: list[tuple[str, str, str]] = []
    for row, key in zip(prepared.rows, keys, strict=True):
        digest, hlc, version = known.get(key, (None, 0, None))
        now = row.observation.version
        if digest == row.digest and row.hlc >= hlc and now is not None and now != version:
            versions.append((*key, now))
        if digest != row.digest and row.hlc >> COUNTER_BITS == hlc >> COUNTER_BITS and row.hlc <= hlc:
            row.hlc = hlc + 1
    if versions:
        columns = [list(column) for column in zip(*versions, strict=True)]
        await tx.connection.execute(_VERSIONS, (*columns, prepared.type.name))


async def look_again(
    tx: Transaction, *, connection_id: UUID, type_name: str, records: Sequence[UUID], reason: str
) -> None:
    """Have the next push look at records that no event tells of."""
    if records:
        await tx.connection.execute(_LOOK_AGAIN, (connection_id, type_name, reason, tx.scope.now, list(records)))
