"""The ledger of our own writes: what was sent to a system, so that its echo is known for what it is.

Values are kept as keyed hashes only. A write is noted before it is made; when the answer never came, the next pull
recognises it by its values. A field that a system holds in another form than ours stays noted as a pair (sent,
returned): as long as both stand, it is neither written again nor taken for a change there. What a system refuses is
noted too, so that it is not asked the same again.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import blake2b
from typing import LiteralString
from uuid import UUID

import msgspec

from isthmus.kernel.marks import Json, RecordType
from isthmus.store.database import Transaction
from isthmus.store.prepare import Prepared, Row
from isthmus.store.records import find
from isthmus.vault import Vault

_FINGERPRINT_BYTES = 16
REFUSED = "~refused"
Pairs = dict[str, tuple[str, str | None]]
Groups = Sequence[Sequence[str]]
_Map = dict[str, Json]
_ENTRIES: LiteralString = """
select external_id, record_id, key, state, fields, at from write_ledger
where workspace = current_workspace() and connection_id = %s and type = %s
  and (external_id = any(%s) or (external_id = '' and state = 'sent'))
"""
_NOTED: LiteralString = """
select distinct external_id from write_ledger
where workspace = current_workspace() and connection_id = %s and type = %s
  and (external_id = any(%s) or (external_id = '' and state = 'sent'))
"""
_OF_RECORDS: LiteralString = """
select external_id, record_id, key, state, fields, at from write_ledger
where workspace = current_workspace() and connection_id = %s and type = %s and record_id = any(%s)
"""
_NOTE: LiteralString = """
insert into write_ledger (workspace, connection_id, type, record_id, external_id, key, state, fields, at)
select current_workspace(), %s, %s, n.record_id, n.external_id, n.key, n.state, n.fields::jsonb, %s
from unnest(%s::uuid[], %s::text[], %s::text[], %s::text[], %s::text[]) as n(record_id, external_id, key, state, fields)
on conflict (workspace, connection_id, type, record_id, external_id) do update
set key = excluded.key, state = excluded.state, at = excluded.at,
    fields = case when excluded.state = 'sent' then write_ledger.fields || excluded.fields else excluded.fields end
"""
_FORGET: LiteralString = """
delete from write_ledger l using unnest(%s::uuid[], %s::text[]) as gone(record_id, external_id)
where l.workspace = current_workspace() and l.connection_id = %s and l.type = %s and l.record_id = gone.record_id
  and l.external_id = gone.external_id
"""
_ADOPT: LiteralString = """
insert into ref (workspace, type, system, external_id, record_id, hlc, seen)
select current_workspace(), %s, %s, n.external_id, n.record_id, 0, 0
from unnest(%s::text[], %s::uuid[]) as n(external_id, record_id)
on conflict (workspace, type, system, external_id) do nothing returning external_id, record_id
"""
_KNOWN: LiteralString = """
select external_id from ref
where workspace = current_workspace() and type = %s and system = %s and external_id = any(%s)
"""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What was sent for one record under one external id (empty: it was to be made)."""

    external_id: str
    record_id: UUID
    key: str
    state: str
    fields: Pairs
    at: datetime


@dataclass(frozen=True)
class Fingerprints:
    """Keyed hashes of values, with a key of the workspace's own."""

    key: bytes

    @classmethod
    def of(cls, vault: Vault, workspace: int) -> "Fingerprints":
        """Derive the key."""
        return cls(vault.workspace(workspace).derived("write-ledger"))

    def __call__(self, value: Json) -> str:
        """Return the hash of a value in its stored form, in hexadecimal."""
        plain = msgspec.json.encode(value, order="deterministic")
        return blake2b(plain, key=self.key, digest_size=_FINGERPRINT_BYTES).hexdigest()


async def note(tx: Transaction, *entries: Entry, connection_id: UUID, type_name: str) -> None:
    """Write down what is about to be sent, or how it ended."""
    if not entries:
        return
    columns = (
        [each.record_id for each in entries],
        [each.external_id for each in entries],
        [each.key for each in entries],
        [each.state for each in entries],
        [msgspec.json.encode(each.fields).decode() for each in entries],
    )
    await tx.connection.execute(_NOTE, (connection_id, type_name, tx.scope.now, *columns))


@dataclass(frozen=True, kw_only=True)
class Closing:
    """What was sent and is closed now, under the id that the record has there, with the pairs (sent, returned)."""

    sent: Entry
    external_id: str
    pairs: Pairs


async def settle(tx: Transaction, closing: Sequence[Closing], *, connection_id: UUID, type_name: str) -> None:
    """Close what was sent: only fields that the system holds in another form stay noted."""
    if not closing:
        return
    records = [each.sent.record_id for each in closing]
    noted = await entries_of(tx, connection_id=connection_id, type_name=type_name, records=records)
    await forget(tx, *(each.sent for each in closing), connection_id=connection_id, type_name=type_name)
    left: list[Entry] = []
    for each in closing:
        before = noted.get((each.sent.record_id, each.external_id))
        whole = (before.fields if before else {}) | each.pairs
        whole.pop(REFUSED, None)
        left.append(_left(each.sent, external_id=each.external_id, pairs=whole))
    await _keep(tx, left, connection_id=connection_id, type_name=type_name)


async def unsend(
    tx: Transaction, *, connection_id: UUID, type_name: str, sent: Entry, refused: str | None = None
) -> None:
    """Close what was sent and not taken: the ledger says again what it said before, and what was refused for good."""
    noted = await entries_of(tx, connection_id=connection_id, type_name=type_name, records=[sent.record_id])
    before = noted.get((sent.record_id, sent.external_id))
    await forget(tx, sent, connection_id=connection_id, type_name=type_name)
    unsent = sent.fields.items()
    pairs = {name: pair for name, pair in before.fields.items() if (name, pair) not in unsent} if before else {}
    if refused is not None:
        pairs[REFUSED] = (refused, None)
    left = _left(sent, external_id=sent.external_id, pairs=pairs)
    await _keep(tx, [left], connection_id=connection_id, type_name=type_name)


def _left(sent: Entry, *, external_id: str, pairs: Pairs) -> Entry:
    """Return what stays noted of what was sent."""
    kept = {
        name: pair for name, pair in pairs.items() if name == REFUSED or (pair[1] is not None and pair[0] != pair[1])
    }
    return replace(sent, external_id=external_id, state="settled", fields=kept)


async def _keep(tx: Transaction, left: Sequence[Entry], *, connection_id: UUID, type_name: str) -> None:
    """Note what is left, and forget entries of which nothing is."""
    over = [each for each in left if not each.fields]
    await forget(tx, *over, connection_id=connection_id, type_name=type_name)
    await note(tx, *(each for each in left if each.fields), connection_id=connection_id, type_name=type_name)


async def forget(tx: Transaction, *entries: Entry, connection_id: UUID, type_name: str) -> None:
    """Take entries out of the ledger."""
    if entries:
        places = ([each.record_id for each in entries], [each.external_id for each in entries])
        await tx.connection.execute(_FORGET, (*places, connection_id, type_name))


async def entries_of(
    tx: Transaction, *, connection_id: UUID, type_name: str, records: Sequence[UUID]
) -> dict[tuple[UUID, str], Entry]:
    """Return what is noted of records, by record and external id."""
    cursor = await tx.connection.execute(_OF_RECORDS, (connection_id, type_name, list(records)))
    return {(each.record_id, each.external_id): each for each in map(_entry, await cursor.fetchall())}


async def adopt(tx: Transaction, *, record_type: RecordType, system: str, external_id: str, record_id: UUID) -> bool:
    """Say that a system's new id means a record we know; False when the id means another one already."""
    given = [(external_id, record_id)]
    return given[0] in await adopt_many(tx, record_type=record_type, system=system, given=given)


async def adopt_many(
    tx: Transaction, *, record_type: RecordType, system: str, given: Sequence[tuple[str, UUID]]
) -> set[tuple[str, UUID]]:
    """Say it of many; returns those pairs of id and record that are new."""
    if not given:
        return set()
    columns = [list(each) for each in zip(*given, strict=True)]
    cursor = await tx.connection.execute(_ADOPT, (record_type.name, system, *columns))
    return {(external_id, record_id) for external_id, record_id in await cursor.fetchall()}


async def noted(tx: Transaction, *, connection_id: UUID, type_name: str, ids: Sequence[str]) -> set[str]:
    """Return those ids of which something is noted; with the empty one where a new record may be any of them."""
    cursor = await tx.connection.execute(_NOTED, (connection_id, type_name, list(ids)))
    return {external_id for (external_id,) in await cursor.fetchall()}


async def recognise(
    tx: Transaction, vault: Vault, prepared: Prepared, *, connection_id: UUID, together: Groups = ()
) -> None:
    """Tell our own writes from changes there, before a page is put; `together` are fields held there as one value."""
    ids = [row.observation.external_id for row in prepared.rows]
    cursor = await tx.connection.execute(_ENTRIES, (connection_id, prepared.type.name, ids))
    entries = [_entry(row) for row in await cursor.fetchall()]
    if not entries:
        return
    prints = Fingerprints.of(vault, tx.scope.workspace)
    noted = {each.external_id: each for each in entries if each.external_id}
    made = [each for each in entries if not each.external_id]
    if made:
        await _adopt_made(tx, prepared, made, prints, connection_id=connection_id)
    held = await find(tx, vault, prepared.type, [each.record_id for each in noted.values()]) if noted else {}
    kept: list[Entry] = []
    for row in prepared.rows:
        entry = noted.get(row.observation.external_id)
        if entry is None or row.observation.deleted:
            continue
        stored = held.get(entry.record_id)
        words, ours = said(row), stored.values if stored else {}
        seen, left = _seen(entry, said=words, held=ours, prints=prints)
        for group in together:
            halves = [name for name in group if name in entry.fields and name in words]
            if any(name not in left and (name not in seen or seen[name] != words[name]) for name in halves):
                _move_together(halves, entry, ours, prints=prints, seen=seen, left=left)
        if seen:
            row.observation = msgspec.structs.replace(row.observation, seen=(row.observation.seen or {}) | seen)
        if left != entry.fields or entry.state == "sent":
            kept.append(_left(entry, external_id=entry.external_id, pairs=left))
    await _keep(tx, kept, connection_id=connection_id, type_name=prepared.type.name)


def _seen(
    entry: Entry, *, said: Mapping[str, Json], held: Mapping[str, Json], prints: Fingerprints
) -> tuple[_Map, Pairs]:
    """Return what the system last agreed with us on, where that is not what it said, and the pairs that still stand."""
    seen: _Map = {}
    left: Pairs = {}
    for name, (sent, returned) in entry.fields.items():
        if name not in said:
            left[name] = (sent, returned)
            continue
        value = prints(said[name])
        if value in (sent, returned):
            seen[name] = said[name]
            if value == returned:
                left[name] = (sent, returned)
        elif returned is not None and name in held and prints(held[name]) == sent:
            seen[name] = held[name]
    return seen, left


def _move_together(
    names: Iterable[str], entry: Entry, held: Mapping[str, Json], *, prints: Fingerprints, seen: _Map, left: Pairs
) -> None:
    """Take fields as moved because others of their group are; what was edited here since is compared by itself."""
    for name in names:
        left.pop(name, None)
        if name in held and prints(held[name]) == entry.fields[name][0]:
            seen[name] = held[name]


async def _adopt_made(
    tx: Transaction, prepared: Prepared, made: Iterable[Entry], prints: Fingerprints, *, connection_id: UUID
) -> None:
    """Recognise records that we made there and of which the answer never came: all that was sent is what they say."""
    strangers = await _strangers(tx, prepared)
    for entry in made:
        for external_id, row in strangers.items():
            words = said(row)
            if entry.fields and all(
                name in words and prints(words[name]) in pair for name, pair in entry.fields.items()
            ):
                await adopt(
                    tx,
                    record_type=prepared.type,
                    system=row.observation.system,
                    external_id=external_id,
                    record_id=entry.record_id,
                )
                await forget(tx, entry, connection_id=connection_id, type_name=prepared.type.name)
                del strangers[external_id]
                break


async def _strangers(tx: Transaction, prepared: Prepared) -> dict[str, Row]:
    rows = {row.observation.external_id: row for row in prepared.rows if not row.observation.deleted}
    if not rows:
        return {}
    system = next(iter(rows.values())).observation.system
    cursor = await tx.connection.execute(_KNOWN, (prepared.type.name, system, list(rows)))
    known = {external_id for (external_id,) in await cursor.fetchall()}
    return {external_id: row for external_id, row in rows.items() if external_id not in known}


def said(row: Row) -> _Map:
    """Return the values of a prepared row, without its links."""
    words = msgspec.json.decode(row.open_json, type=_Map)
    return words | (msgspec.json.decode(row.personal_json, type=_Map) if row.personal_json else {})


def _entry(row: tuple[object, ...]) -> Entry:
    external_id, record_id, key, state, fields, at = row
    pairs = msgspec.convert(fields, Pairs)
    return msgspec.convert(
        {"external_id": external_id, "record_id": record_id, "key": key, "state": state, "fields": pairs, "at": at},
        Entry,
    )
