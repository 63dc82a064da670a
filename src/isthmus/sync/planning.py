"""What to write to a system: the fields whose value here differs from what it said last, and that may be written there.

A field that waits for a person is not written, a value that the system cannot hold otherwise is not written twice, and
a link is written when the record it points to is known there.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Literal, LiteralString, cast
from uuid import UUID

import msgspec
from msgspec import Struct

from isthmus.kernel.marks import Json, RecordType
from isthmus.store.database import Transaction
from isthmus.store.fold import GONE, State, fold
from isthmus.store.trail import claims_of
from isthmus.sync.connections import Connection
from isthmus.sync.connector import Change, Connector, Feed
from isthmus.sync.ingest import Store
from isthmus.sync.ledger import REFUSED, Entry, Fingerprints, entries_of

WriteKind = Literal["create", "update", "delete"]
_OPEN_CASES: LiteralString = """
select record_id, field from inbox_case
where workspace = current_workspace() and record_id = any(%s) and status = 'open'
"""
_REFS: LiteralString = """
select r.external_id, r.record_id, r.version, r.deleted
from unnest(%s::text[]) as wanted(external_id)
join ref r on r.workspace = current_workspace() and r.type = %s and r.system = %s
          and r.external_id = wanted.external_id
"""
_TARGETS: LiteralString = """
select distinct on (c.record_id) c.record_id, c.external_id
from claim c join ref r on r.workspace = current_workspace() and r.type = c.type and r.system = c.system
                       and r.external_id = c.external_id and not r.deleted
where c.workspace = current_workspace() and c.record_id = any(%s) and c.system = %s and c.type = %s
order by c.record_id, c.hlc desc
"""
_Map = dict[str, Json]


class Planned(Struct, frozen=True, kw_only=True):
    """One write: what the system says now (`there`), what it will say, and in its own words (`body`).

    `waits` names links that are left out because the record they point to is not known there.
    """

    connection: str
    feed: str
    kind: WriteKind
    change: Change
    there: dict[str, Json]
    body: dict[str, Json]
    waits: tuple[str, ...] = ()
    sent: dict[str, Json] = {}


def writes(planned: Planned) -> bool:
    """Tell whether there is something to write now."""
    return bool(planned.body) or (planned.kind == "delete" and not planned.waits)


@dataclass(frozen=True)
class _Ref:
    external_id: str
    version: str | None


@dataclass(slots=True)
class _Page:
    """What is known of some records of one type, read at once."""

    states: dict[UUID, State]
    frozen: dict[UUID, set[str]] = field(default_factory=lambda: defaultdict[UUID, set[str]](set))
    living: dict[UUID, list[_Ref]] = field(default_factory=lambda: defaultdict[UUID, list[_Ref]](list))
    dead: dict[UUID, int] = field(default_factory=lambda: defaultdict[UUID, int](int))
    entries: dict[tuple[UUID, str], Entry] = field(default_factory=dict[tuple[UUID, str], Entry])
    targets: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])


@dataclass(frozen=True, kw_only=True)
class Planner:
    """Plans the writes of one connection; without `deletes` deletions wait for a person."""

    store: Store
    connection: Connection
    connector: Connector
    deletes: bool = True

    async def plan(self, tx: Transaction, feed: Feed, type_name: str, records: Sequence[UUID]) -> list[Planned]:
        """Return the writes that bring a system to what is held here for these records of one type."""
        record_type = self.store.schema[type_name]
        page = await self._read(tx, record_type, records)
        prints = Fingerprints.of(self.store.vault, tx.scope.workspace)
        found: list[Planned] = []
        for record in records:
            state = page.states[record]
            if not state.fields or GONE in page.frozen[record]:
                continue
            if state.deleted:
                found += self._deletions(feed, record_type, record, page)
            elif page.living[record]:
                found += self._updates(feed, record_type, record, page, prints)
            elif type_name in self.connection.options.create:
                found += self._creation(feed, record_type, record, page)
        return [each for each in found if not _refused(each, page, prints)]

    async def _read(self, tx: Transaction, record_type: RecordType, records: Sequence[UUID]) -> _Page:
        trails = await claims_of(tx, self.store.vault, records)
        page = _Page({record: fold(record_type, trails[record]) for record in records})
        for record, name in await (await tx.connection.execute(_OPEN_CASES, (list(records),))).fetchall():
            page.frozen[record].add(name)
        for record, state in page.states.items():
            page.frozen[record] |= set(state.contested)
        system = self.connection.name
        ids = {each for state in page.states.values() for owner, each in state.shadows if owner == system}
        cursor = await tx.connection.execute(_REFS, (list(ids), record_type.name, system))
        for external_id, record, version, deleted in await cursor.fetchall():
            if deleted:
                page.dead[record] += 1
            else:
                page.living[record].append(_Ref(external_id, version))
        page.entries = await entries_of(
            tx, connection_id=self.connection.id, type_name=record_type.name, records=records
        )
        for each in record_type.fields:
            if each.to is not None:
                held = {
                    str(state.fields[each.name].value) for state in page.states.values() if each.name in state.fields
                }
                page.targets[each.name] = await self._targets(tx, self.store.schema[each.to], held - {"None"})
        return page

    async def _targets(self, tx: Transaction, target: RecordType, held: set[str]) -> dict[str, str]:
        """Return the external ids there of records that are pointed to, through merges."""
        if not held:
            return {}
        ids = {UUID(each): UUID(each) for each in held}
        table = cast("LiteralString", target.table)
        cursor = await tx.connection.execute(
            f"select id, merged_into from {table} where workspace = current_workspace()"  # noqa: S608 - the name comes from a declaration.
            " and id = any(%s) and merged_into is not null",
            (list(ids),),
        )
        ids |= dict(await cursor.fetchall())
        cursor = await tx.connection.execute(_TARGETS, (list(ids.values()), self.connection.name, target.name))
        known = dict(await cursor.fetchall())
        return {str(record): known[winner] for record, winner in ids.items() if winner in known}

    def writable(self, type_name: str, spoken: Mapping[str, Json]) -> set[str]:
        """Return the fields that may be written there, of a record of which the system has `spoken` so far."""
        declared = self.connector.writable.get(type_name)
        return set(spoken) if declared is None else set(declared)

    def _updates(
        self, feed: Feed, record_type: RecordType, record: UUID, page: _Page, prints: Fingerprints
    ) -> list[Planned]:
        state = page.states[record]
        found: list[Planned] = []
        for ref in page.living[record]:
            there = state.shadows.get((self.connection.name, ref.external_id), {})
            entry = page.entries.get((record, ref.external_id))
            wanted = {
                name: held.value
                for name, held in state.fields.items()
                if name in self.writable(record_type.name, there)
                and name not in page.frozen[record]
                and not _same(there, name, held.value)
                and not _equivalent(entry, name, sent=held.value, returned=there.get(name), prints=prints)
            }
            if wanted:
                wanted |= self._companions(record_type.name, wanted, state, page.frozen[record])
                found += self._one(feed, record_type, record, page, ref=ref, wanted=wanted, there=there)
        return found

    def _companions(self, type_name: str, wanted: _Map, state: State, frozen: set[str]) -> _Map:
        """Return the fields that go with what is wanted, because the system holds them as one value."""
        groups = [each for each in self.connector.together.get(type_name, ()) if not wanted.keys().isdisjoint(each)]
        return {
            name: state.fields[name].value
            for group in groups
            for name in group
            if name in state.fields and name not in frozen
        }

    def _creation(self, feed: Feed, record_type: RecordType, record: UUID, page: _Page) -> list[Planned]:
        state = page.states[record]
        wanted = {
            name: held.value
            for name, held in state.fields.items()
            if name in self.writable(record_type.name, {})
            and name not in page.frozen[record]
            and not _blank(held.value)
        }
        if not wanted:
            return []
        later = self._coming(record_type, wanted, page)
        if later:
            change = Change(record_id=record, type=record_type.name, fields={})
            name = self.connection.name
            return [
                Planned(connection=name, feed=feed.name, kind="create", change=change, there={}, body={}, waits=later)
            ]
        return self._one(feed, record_type, record, page, ref=None, wanted=wanted, there={})

    def _coming(self, record_type: RecordType, wanted: _Map, page: _Page) -> tuple[str, ...]:
        """Return the links to records that will be made there too; this one waits for them."""
        return tuple(
            name
            for name in wanted
            for declared in (record_type.field(name),)
            if declared is not None
            and declared.to in self.connection.options.create
            and str(wanted[name]) not in page.targets[name]
        )

    def _one(  # noqa: PLR0913, RUF100 - a write is made of this.
        self,
        feed: Feed,
        record_type: RecordType,
        record: UUID,
        page: _Page,
        *,
        ref: _Ref | None,
        wanted: _Map,
        there: Mapping[str, Json],
    ) -> list[Planned]:
        fields: _Map = {}
        links: dict[str, str] = {}
        waits: list[str] = []
        for name, value in wanted.items():
            if name not in page.targets or value is None:
                fields[name] = value
            elif (target := page.targets[name].get(str(value))) is not None:
                links[name] = target
            else:
                waits.append(name)
        change = Change(
            record_id=record,
            type=record_type.name,
            fields=fields,
            links=links,
            external_id=ref.external_id if ref else None,
            version=ref.version if ref else None,
            key=self._key(record, ref, wanted, generation=page.dead[record]),
        )
        change = self.connector.told(change)
        change = self._expressible(feed, change) if ref else change
        body = self.connector.express(feed.name, change) if change.fields or change.links else {}
        if not body and not waits:
            return []
        planned = Planned(
            connection=self.connection.name,
            feed=feed.name,
            kind="update" if ref else "create",
            change=change,
            there={name: there[name] for name in wanted if name in there},
            body=body,
            waits=tuple(waits),
            sent={name: value for name, value in wanted.items() if name in change.fields or name in change.links},
        )
        return [planned]

    def _expressible(self, feed: Feed, change: Change) -> Change:
        """Leave out what the system has no place for, so that nobody believes it was told."""

        def has_place(**only: Mapping[str, Json]) -> bool:
            return bool(self.connector.express(feed.name, msgspec.structs.replace(change, **only)))

        return msgspec.structs.replace(
            change,
            fields={name: value for name, value in change.fields.items() if has_place(fields={name: value}, links={})},
            links={name: value for name, value in change.links.items() if has_place(fields={}, links={name: value})},
        )

    def _deletions(self, feed: Feed, record_type: RecordType, record: UUID, page: _Page) -> list[Planned]:
        if not self.connection.options.delete:
            return []
        waits = () if self.deletes else (GONE,)
        return [
            Planned(
                connection=self.connection.name,
                feed=feed.name,
                kind="delete",
                change=Change(
                    record_id=record,
                    type=record_type.name,
                    fields={},
                    external_id=ref.external_id,
                    version=ref.version,
                    deleted=True,
                    key=self._key(record, ref, {}, generation=page.dead[record]),
                ),
                there=page.states[record].shadows.get((self.connection.name, ref.external_id), {}),
                body={},
                waits=waits,
            )
            for ref in page.living[record]
        ]

    def _key(self, record: UUID, ref: _Ref | None, wanted: _Map, *, generation: int) -> str:
        """Return what is the same for every attempt at a change; a creation is one change, whatever it says."""
        said = [str(self.connection.id), str(record), ref.external_id if ref else generation]
        if ref is not None:
            said += [ref.version, wanted]
        return blake2b(msgspec.json.encode(said, order="deterministic"), digest_size=16).hexdigest()


def refusal(planned: Planned, prints: Fingerprints) -> str:
    """Return what the ledger notes of a write that was refused: the same write is not tried again."""
    change = planned.change
    return prints([change.version, change.deleted, change.fields, dict(change.links)])


def _refused(planned: Planned, page: _Page, prints: Fingerprints) -> bool:
    entry = page.entries.get((planned.change.record_id, planned.change.external_id or ""))
    noted = entry.fields.get(REFUSED) if entry is not None else None
    return noted is not None and noted[0] == refusal(planned, prints)


def _same(there: Mapping[str, Json], name: str, value: Json) -> bool:
    """Tell whether a system holds the value; one that never spoke of a field holds a blank."""
    return there[name] == value if name in there else _blank(value)


def _blank(value: Json) -> bool:
    return value is None or value in ("", [], {})


def _equivalent(entry: Entry | None, name: str, *, sent: Json, returned: Json, prints: Fingerprints) -> bool:
    """Tell whether the system holds this very value in another form, which it gave when it was written."""
    pair = entry.fields.get(name) if entry is not None else None
    return pair is not None and pair[0] == prints(sent) and pair[1] == prints(returned)
