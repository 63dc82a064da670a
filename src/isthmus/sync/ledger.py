"""The ledger of our own writes: what was sent to a system, so that its echo is known for what it is.

Values are kept as keyed hashes only. A write is noted before it is made; when the answer never came, the next pull
recognises it by its values. A field that a system holds in another form than ours stays noted as a pair (sent,
returned): as long as both stand, it is neither written again nor taken for a change there. What a system refuses is
noted too, so that it is not asked the same again.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
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
_OF_RECORDS: LiteralString = """
select external_id, record_id, key, state, fields, at from write_ledger
where workspace = current_workspace() and connection_id = %s and type = %s and record_id = any(%s)
"""
_NOTE: LiteralString = """
insert into write_ledger (workspace, connection_id, type, record_id, external_id, key, state, fields, at)
values (current_workspace(), %s, %s, %s, %s, %s, %s, %s, %s)
on conflict (workspace, connection_id, type, record_id, external_id) do update
set key = excluded.key, state = excluded.state, at = excluded.at,
    fields = case when excluded.state = 'sent' then write_ledger.fields || excluded.fields else excluded.fields end
"""
_FORGET: LiteralString = """
delete from write_ledger
where workspace = current_workspace() and connection_id = %s and type = %s and record_id = %s and external_id = %s
"""
_ADOPT: LiteralString = """
insert into ref (workspace, type, system, external_id, record_id, hlc, seen)
values (current_workspace(), %s, %s, %s, %s, 0, 0)
on conflict (workspace, type, system, external_id) do nothing
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


async def note(tx: Transaction, *, connection_id: UUID, type_name: str, entry: Entry) -> None:
    """Write down what is about to be sent, or how it ended."""
    pairs = msgspec.json.encode(entry.fields).decode()
    row = (connection_id, type_name, entry.record_id, entry.external_id, entry.key, entry.state, pairs, tx.scope.now)
    await tx.connection.execute(_NOTE, row)


async def settle(
    tx: Transaction, *, connection_id: UUID, type_name: str, sent: Entry, external_id: str, pairs: Pairs
) -> None:
    """Close what was sent: only fields that the system holds in another form stay noted."""
    noted = await entries_of(tx, connection_id=connection_id, type_name=type_name, records=[sent.record_id])
    before = noted.get((sent.record_id, external_id))
    whole = (before.fields if before else {}) | pairs
    whole.pop(REFUSED, None)
    await forget(tx, connection_id=connection_id, type_name=type_name, entry=sent)
    await _keep(tx, sent, external_id=external_id, pairs=whole, connection_id=connection_id, type_name=type_name)


async def unsend(
    tx: Transaction, *, connection_id: UUID, type_name: str, sent: Entry, refused: str | None = None
) -> None:
    """Close what was sent and not taken: the ledger says again what it said before, and what was refused for good."""
    noted = await entries_of(tx, connection_id=connection_id, type_name=type_name, records=[sent.record_id])
    before = noted.get((sent.record_id, sent.external_id))
    await forget(tx, connection_id=connection_id, type_name=type_name, entry=sent)
    pairs = dict(before.fields) if before else {}
    if refused is not None:
        pairs[REFUSED] = (refused, None)
    await _keep(tx, sent, external_id=sent.external_id, pairs=pairs, connection_id=connection_id, type_name=type_name)


async def _keep(
    tx: Transaction, sent: Entry, *, external_id: str, pairs: Pairs, connection_id: UUID, type_name: str
) -> None:
    kept = {
        name: pair for name, pair in pairs.items() if name == REFUSED or (pair[1] is not None and pair[0] != pair[1])
    }
    entry = Entry(
        external_id=external_id, record_id=sent.record_id, key=sent.key, state="settled", fields=kept, at=sent.at
    )
    if kept:
        await note(tx, connection_id=connection_id, type_name=type_name, entry=entry)
    else:
        await forget(tx, connection_id=connection_id, type_name=type_name, entry=entry)


async def forget(tx: Transaction, *, connection_id: UUID, type_name: str, entry: Entry) -> None:
    """Take an entry out of the ledger."""
    await tx.connection.execute(_FORGET, (connection_id, type_name, entry.record_id, entry.external_id))


async def entries_of(
    tx: Transaction, *, connection_id: UUID, type_name: str, records: Sequence[UUID]
) -> dict[tuple[UUID, str], Entry]:
    """Return what is noted of records, by record and external id."""
    cursor = await tx.connection.execute(_OF_RECORDS, (connection_id, type_name, list(records)))
    return {(each.record_id, each.external_id): each for each in map(_entry, await cursor.fetchall())}


async def adopt(tx: Transaction, *, record_type: RecordType, system: str, external_id: str, record_id: UUID) -> bool:
    """Say that a system's new id means a record we know; False when the id means another one already."""
    row = (record_type.name, system, external_id, record_id)
    return (await tx.connection.execute(_ADOPT, row)).rowcount == 1


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
            await _keep(
                tx,
                entry,
                external_id=entry.external_id,
                pairs=left,
                connection_id=connection_id,
                type_name=prepared.type.name,
            )


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
                name in words and prints(words[name]) == sent for name, (sent, _) in entry.fields.items()
            ):
                await adopt(
                    tx,
                    record_type=prepared.type,
                    system=row.observation.system,
                    external_id=external_id,
                    record_id=entry.record_id,
                )
                await forget(tx, connection_id=connection_id, type_name=prepared.type.name, entry=entry)
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
