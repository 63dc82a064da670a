"""What arrives by our own interface: values of callers on the same path as those of systems, and edits of many records.

A caller's id repeats what it repeats: the same arrival put twice, also by a caller who never heard the first answer, is
one record. Everything happens in the transaction of the caller, `committed` runs it again when a writer was faster.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString, TypeVar, cast
from uuid import UUID

import msgspec
from msgspec import Struct
from psycopg import errors

from isthmus.kernel.clock import milliseconds
from isthmus.kernel.errors import Conflicting, Fault, Invalid
from isthmus.kernel.ids import ENTROPY_BYTES, InvalidId, mint_many, uuid_of
from isthmus.kernel.marks import Json
from isthmus.matching.match import match
from isthmus.store.database import Scope, Transaction
from isthmus.store.fold import HERE
from isthmus.store.observation import Observation
from isthmus.store.prepare import Prepared, Row
from isthmus.store.put import PutResult, Raced, anticipate, land, lock_statement, write
from isthmus.store.records import find
from isthmus.store.schema import Schema
from isthmus.sync.ingest import TRIES_MAX, Store
from isthmus.vault import entropy

API = "isthmus.api"
_KNOWN: LiteralString = """
select external_id, record_id from ref
where workspace = current_workspace() and type = %s and system = %s and external_id = any(%s)
"""
_LINK: LiteralString = """
insert into merge (workspace, id, type, winner, loser, refs, evidence, actor, at)
select current_workspace(), id, %s, winner, loser, refs::jsonb, evidence, %s, %s
from unnest(%s::uuid[], %s::uuid[], %s::uuid[], %s::text[], %s::text[]) as link(id, winner, loser, refs, evidence)
"""
_MERGES: LiteralString = """
select refs->0->>1, id, evidence from merge
where workspace = current_workspace() and type = %s and winner = any(%s) and undone_at is null
  and refs->0->>0 = %s and refs->0->>1 = any(%s)
"""
_ALIASES: LiteralString = """
with recursive own(id) as (
    select %s::uuid
    union
    select m.loser from own join merge m on m.workspace = current_workspace() and m.winner = own.id
                                         and m.type = %s and m.undone_at is null
)
select id from own
"""
_SETTINGS: LiteralString = "select settings->%s from workspace where id = current_workspace()"
T = TypeVar("T")


class SettingsBroken(Conflicting):
    """A section of the workspace's settings cannot be read."""

    code, title = "settings-broken", "The workspace's settings cannot be used"


class Arrival(Struct, frozen=True, kw_only=True):
    """Values of one record under the caller's id. `same_as` names the record that is meant, with the `evidence`."""

    external_id: str
    fields: dict[str, Json]
    at: datetime | None = None
    same_as: UUID | None = None
    evidence: str = ""


class Arrived(Struct, frozen=True, kw_only=True):
    """What became of an arrival: its record, whether it is new, repeated, or merged into one that was there.

    `merge` is the id under which a merge can be undone, `evidence` why it was made. With `faults` nothing was stored.
    """

    record_id: UUID | None = None
    fresh: bool = False
    repeated: bool = False
    merge: UUID | None = None
    evidence: str = ""
    faults: tuple[Fault, ...] = ()


@dataclass(frozen=True)
class Acting:
    """What a reaction or a worker acts with: the transaction of its event, and the store."""

    tx: Transaction
    store: Store


async def committed(store: Store, scope: Scope, work: Callable[[Transaction], Awaitable[T]]) -> T:
    """Do work in one transaction, again from its beginning when another writer was faster."""
    for attempt in range(TRIES_MAX):
        try:
            async with store.database.transaction(scope) as tx:
                return await work(tx)
        except (Raced, errors.DeadlockDetected, errors.SerializationFailure, errors.UniqueViolation):
            if attempt == TRIES_MAX - 1:
                raise
    raise AssertionError


async def arrive(tx: Transaction, store: Store, type_name: str, arrivals: Sequence[Arrival]) -> list[Arrived]:
    """Put arrivals, whose external ids differ, and tell what became of each, in their order; faults do not raise."""
    preparer = store.preparer(type_name, tx.scope.workspace)
    observations = [
        Observation(type=type_name, system=API, external_id=each.external_id, fields=each.fields, at=each.at)
        for each in arrivals
    ]
    ids = [each.external_id for each in arrivals]
    before = await _known(tx, type_name, ids)
    prepared = preparer.prepare(observations, since=None, until=tx.scope.now)
    await land(tx, prepared)
    await asyncio.to_thread(anticipate, store.vault, prepared, workspace=tx.scope.workspace, now=tx.scope.now)
    same = {each.external_id: each for each in arrivals if each.same_as is not None}
    told = [row for row in prepared.rows if row.record_id is None and row.observation.external_id in same]
    for row in told:
        row.record_id = same[row.observation.external_id].same_as
    await match(tx, prepared, entropy=entropy)
    await _link(tx, type_name, told, same)
    await _after(tx, store, prepared)
    fresh = {row.observation.external_id for row in prepared.rows if row.fresh}
    result = await write(tx, store.vault, prepared, preparer)
    after = await _known(tx, type_name, ids)
    merges = await _merges(tx, type_name, records=after.values(), ids=ids)
    faults = {each.observation.external_id: each.faults for each in result.rejects}
    none: tuple[UUID | None, str] = (None, "")
    return [
        Arrived(
            record_id=after.get(each),
            fresh=each in fresh,
            repeated=each in before,
            merge=merges.get(each, none)[0],
            evidence=merges.get(each, none)[1],
            faults=faults.get(each, ()),
        )
        for each in ids
    ]


async def _after(tx: Transaction, store: Store, prepared: Prepared) -> None:
    """Place what is said of records that are there after what was said of them before, also within a millisecond."""
    known = {row.record_id for row in prepared.rows if row.record_id is not None and not row.fresh}
    if not known:
        return
    query = lock_statement(store.schema[prepared.type.name], shown="id, hlc")
    cursor = await tx.connection.execute(query, (sorted(known),))
    last: dict[UUID, int] = dict(await cursor.fetchall())
    for row in prepared.rows:
        if row.record_id is not None and row.record_id in last:
            row.hlc = max(row.hlc, last[row.record_id] + 1)


async def arrive_all(
    tx: Transaction, store: Store, type_name: str, arrivals: Sequence[Arrival], *, at: str = ""
) -> list[Arrived]:
    """Put arrivals as `arrive` does, or none of them: raises Invalid with every fault.

    `at` points to the list in which they came; without it a single arrival is the whole body.
    """
    arrived = await arrive(tx, store, type_name, arrivals)
    faults = [
        Fault(pointer=f"{at}/{k}{fault.pointer}" if at else fault.pointer, code=fault.code, detail=fault.detail)
        for k, each in enumerate(arrived)
        for fault in each.faults
    ]
    if faults:
        raise refusal(faults)
    return arrived


def refusal(faults: Sequence[Fault]) -> Invalid:
    """Return the error that tells all faults."""
    noun = "One value is" if len(faults) == 1 else f"{len(faults)} values are"
    return Invalid(f"{noun} not valid.", fix="Mend what `errors` names, and send it again.", faults=tuple(faults))


async def edit_many(
    tx: Transaction, store: Store, type_name: str, edits: Mapping[UUID, dict[str, Json]]
) -> PutResult | None:
    """Change fields of many records in one statement, each compared with what it holds; absent ones are passed over.

    Raises Rejected when a value does not fit its field.
    """
    record_type = store.schema[type_name]
    stored = await find(tx, store.vault, record_type, list(edits))
    if not stored:
        return None
    preparer = store.preparer(type_name, tx.scope.workspace)
    until = max([tx.scope.now, *(each.updated_at for each in stored.values())])
    observations = [
        Observation(
            type=type_name,
            system=HERE,
            external_id=str(record_id),
            fields=edits[record_id],
            at=until,
            seen={name: each.values.get(name) for name in edits[record_id]},
        )
        for record_id, each in stored.items()
    ]
    prepared: Prepared = preparer.prepare(observations, since=None, until=until)
    if prepared.rejects:
        raise prepared.rejects[0].error()
    known = await _known(tx, type_name, [each.external_id for each in observations], system=HERE)
    for row in prepared.rows:
        record = stored[UUID(row.observation.external_id)]
        row.record_id, row.known = record.id, row.observation.external_id in known
        row.hlc = max(row.hlc, record.hlc + 1)
    return await write(tx, store.vault, prepared, preparer)


async def settings_of(tx: Transaction, section: str, kind: type[T]) -> T:
    """Return a section of the workspace's settings, with the defaults of `kind` for what is not set.

    Raises SettingsBroken when what is set does not fit.
    """
    row = await (await tx.connection.execute(_SETTINGS, (section,))).fetchone()
    try:
        return msgspec.convert((row[0] if row else None) or {}, kind)
    except msgspec.ValidationError as error:
        raise SettingsBroken(f"The settings of {section} are wrong: {error}.", fix="Mend the workspace.") from error


class Reference(Struct, frozen=True):
    """A record named in what a caller sent: where it stands there, its type, and its id as text."""

    pointer: str
    type: str
    text: str


async def resolve(tx: Transaction, schema: Schema, references: Iterable[Reference]) -> dict[tuple[str, str], UUID]:
    """Return the ids of records by (type, text); a merged record leads to the one that it was merged into.

    Raises Invalid with a fault for every reference that is no id of its type, or names no living record.
    """
    wanted = list(references)
    faults: list[Fault] = []
    found: dict[tuple[str, str], UUID] = {}
    for name in sorted({each.type for each in wanted}):
        ids: dict[str, UUID] = {}
        for each in (each for each in wanted if each.type == name):
            try:
                ids[each.text] = uuid_of(schema[name].prefix, each.text)
            except InvalidId as error:
                faults.append(Fault(pointer=each.pointer, code=error.code, detail=f"{error.detail} {error.fix}"))
        living = await _living(tx, schema, name, list(ids.values()))
        found.update({(name, text): living[own] for text, own in ids.items() if own in living})
        faults += [
            _unknown(each) for each in wanted if each.type == name and each.text in ids and ids[each.text] not in living
        ]
    if faults:
        raise refusal(faults)
    return found


def _unknown(reference: Reference) -> Fault:
    kind = reference.type.partition(".")[2]
    noun = kind.replace("_", " ")
    detail = f"There is no {noun} {reference.text}. Check the id against the list, or leave the field out."
    return Fault(pointer=reference.pointer, code=f"unknown-{kind.replace('_', '-')}", detail=detail)


async def aliases(tx: Transaction, type_name: str, record_id: UUID) -> list[UUID]:
    """Return the ids under which others may point to a record: its own, and those of what was merged into it."""
    cursor = await tx.connection.execute(_ALIASES, (record_id, type_name))
    return [own for (own,) in await cursor.fetchall()]


async def _living(tx: Transaction, schema: Schema, name: str, ids: list[UUID]) -> dict[UUID, UUID]:
    if not ids:
        return {}
    table = cast("LiteralString", schema[name].table)
    query = f"""select own.id, now.id from {table} own
        join {table} now on now.workspace = own.workspace and now.id = coalesce(own.merged_into, own.id)
        where own.workspace = current_workspace() and own.id = any(%s) and now.deleted_at is null"""  # noqa: S608 - the name comes from a declaration.
    cursor = await tx.connection.execute(query, (ids,))
    rows: list[tuple[UUID, UUID]] = await cursor.fetchall()
    return dict(rows)


async def _known(tx: Transaction, type_name: str, ids: list[str], *, system: str = API) -> dict[str, UUID]:
    cursor = await tx.connection.execute(_KNOWN, (type_name, system, ids))
    return {str(external_id): record for external_id, record in await cursor.fetchall()}


async def _link(tx: Transaction, type_name: str, rows: Sequence[Row], same: Mapping[str, Arrival]) -> None:
    """Write down merges that something else than a handle decided, in the form in which all merges are undone."""
    if not rows:
        return
    ids = mint_many(unix_ms=milliseconds(tx.scope.now), count=len(rows), entropy=entropy(len(rows) * ENTROPY_BYTES))
    refs = [msgspec.json.encode([[API, row.observation.external_id]]).decode() for row in rows]
    evidence = [same[row.observation.external_id].evidence for row in rows]
    winners, losers = [row.record_id for row in rows], [row.candidate for row in rows]
    await tx.connection.execute(_LINK, (type_name, tx.scope.actor, tx.scope.now, ids, winners, losers, refs, evidence))


async def _merges(
    tx: Transaction, type_name: str, *, records: Iterable[UUID], ids: list[str]
) -> dict[str, tuple[UUID | None, str]]:
    cursor = await tx.connection.execute(_MERGES, (type_name, list(set(records)), API, ids))
    return {str(external_id): (merge, str(evidence)) for external_id, merge, evidence in await cursor.fetchall()}


async def arrive_structs(
    tx: Transaction,
    store: Store,
    type_name: str,
    items: Sequence[Struct],
    *,
    once: str,
    at: str = "",
    also: Mapping[str, Json] | None = None,
    left: Collection[str] = (),
) -> list[Arrived]:
    """Put what callers sent as structs with the fields of a record type, all of it or none.

    Fields that point to records hold ids in their outside form; `external_id`, where there is one, is the caller's own
    id; fields that are absent, null or empty are not spoken of, nor are those in `left`; `also` is said of all of them.
    Without `at`, the list in the body, a single item is the whole body. Raises Invalid with every fault: what is not
    there, what is given twice, what does not fit.
    """
    record_type = store.schema[type_name]
    targets = {each.name: each.to for each in record_type.open_fields if each.to}
    given = [{**_spoken(each, left), **(also or {})} for each in items]
    prefixes = [f"{at}/{k}" if at else "" for k in range(len(given))]
    references = [
        Reference(f"{prefix}/{name}", target, text)
        for prefix, fields in zip(prefixes, given, strict=True)
        for name, target in targets.items()
        if isinstance(text := fields.get(name), str)
    ]
    found = await resolve(tx, store.schema, references)
    arrivals: list[Arrival] = []
    first: dict[str, int] = {}
    faults: list[Fault] = []
    for k, fields in enumerate(given):
        for name, target in targets.items():
            if isinstance(text := fields.get(name), str):
                fields[name] = str(found[target, text])
        own = fields.pop("external_id", None)
        external_id = own if isinstance(own, str) else f"{once}:{k}"
        if first.setdefault(external_id, k) != k:
            detail = f"Item {first[external_id]} has the same external_id."
            faults.append(Fault(pointer=f"{prefixes[k]}/external_id", code="repeated", detail=detail))
        arrivals.append(Arrival(external_id=external_id, fields=fields))
    if faults:
        raise refusal(faults)
    return await arrive_all(tx, store, type_name, arrivals, at=at)


def _spoken(item: Struct, left: Collection[str]) -> dict[str, Json]:
    said: dict[str, Json] = msgspec.to_builtins(item)
    return {name: value for name, value in said.items() if value not in (None, [], {}) and name not in left}
