"""Versions of mappings: saved with author and reason, tried on stored records, put in force, taken back, replayed."""

from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import LiteralString
from uuid import UUID

import msgspec
from msgspec import Struct

from isthmus.kernel.clock import milliseconds
from isthmus.kernel.errors import Conflicting, NotFound
from isthmus.kernel.ids import ENTROPY_BYTES, mint
from isthmus.kernel.marks import Json
from isthmus.store.database import Transaction
from isthmus.store.observation import Observation
from isthmus.sync.connections import audit
from isthmus.sync.connector import Connector, Feed, Raw
from isthmus.sync.flows import Flow, flowing
from isthmus.sync.ingest import Interval, Store
from isthmus.sync.landing import land_observations, observe, unpack
from isthmus.sync.pull import Work, spoken, transacted
from isthmus.vault import entropy

FLOW_PREFIX = "map"
RESOURCE = "mapping"
BATCH_ROWS = 500
LOOKED_MAX, SHOWN_MAX = 10_000, 200
_COLUMNS: LiteralString = """
select m.id, c.name, m.connection_id, m.type, m.number, m.mapping, m.reason, m.created_at, m.created_by,
       m.id = (select a.mapping_id from flow_activation a where a.workspace = m.workspace and a.type = m.type
               and a.connection_id = m.connection_id and a.undone_at is null order by a.id desc limit 1)
from flow_mapping m join connection c on c.workspace = m.workspace and c.id = m.connection_id
where m.workspace = current_workspace() and c.removed_at is null
"""
_LIST: LiteralString = (
    _COLUMNS
    + """
and (%(connection)s::uuid is null or m.connection_id = %(connection)s)
and (%(types)s::text[] is null or m.type = any(%(types)s)) and (%(before)s::uuid is null or m.id < %(before)s)
order by m.id desc limit %(limit)s
"""
)
_SAVE: LiteralString = """
insert into flow_mapping (workspace, id, connection_id, type, number, mapping, reason, created_at, created_by)
select current_workspace(), %(id)s, %(connection)s, %(type)s, coalesce(max(number), 0) + 1, %(mapping)s, %(reason)s,
       %(now)s, %(actor)s
from flow_mapping where workspace = current_workspace() and connection_id = %(connection)s and type = %(type)s
"""
_ACTIVATE: LiteralString = """
insert into flow_activation (workspace, id, connection_id, type, mapping_id, at, by)
values (current_workspace(), %s, %s, %s, %s, %s, %s)
"""
_UNDO: LiteralString = """
update flow_activation set undone_at = %(now)s, undone_by = %(actor)s
where workspace = current_workspace() and id = (
    select id from flow_activation where workspace = current_workspace() and connection_id = %(connection)s
       and type = %(type)s and undone_at is null order by id desc limit 1
) and mapping_id = %(mapping)s
"""
_IN_FORCE: LiteralString = """
select distinct on (a.type) a.type, m.mapping
from flow_activation a join flow_mapping m on m.workspace = a.workspace and m.id = a.mapping_id
where a.workspace = current_workspace() and a.connection_id = %s and a.undone_at is null order by a.type, a.id desc
"""
_PAYLOADS: LiteralString = """
select r.external_id, found.subject, found.payload from ref r cross join lateral (
    select coalesce(c.subject, c.record_id) as subject, c.payload from claim c
    where c.workspace = r.workspace and c.record_id = r.record_id and c.type = r.type and c.system = r.system
      and c.external_id = r.external_id and c.payload is not null
    order by c.hlc desc limit 1
) as found
where r.workspace = current_workspace() and r.type = %(type)s and r.system = %(system)s and not r.deleted
  and r.external_id > %(after)s
order by r.external_id limit %(limit)s
"""


class FlowMissing(NotFound):
    """There is no such version of a mapping."""

    code, title = "mapping-missing", "There is no such mapping"


class NotInForce(Conflicting):
    """Only the version that is in force can be taken back."""

    code, title = "mapping-not-in-force", "The mapping is not in force"


class FlowVersion(Struct, frozen=True, kw_only=True):
    """A version of a mapping, by number of its connection and type; `in_force` tells that runs use it."""

    id: UUID
    connection: str
    connection_id: UUID
    type: str
    number: int
    flow: Flow
    reason: str
    created_at: datetime
    created_by: str
    in_force: bool


class Moved(Struct, frozen=True, kw_only=True):
    """What a system would be taken to say of one field of one record, before and after; absent fields are None."""

    external_id: str
    field: str
    before: Json
    after: Json


class FlowPlan(Struct, frozen=True, kw_only=True):
    """What a mapping would change on stored records: how many were looked at, and how many would say something else.

    `fields` counts by field, `rejected` those that could not be stored any more, with the first reason.
    """

    looked: int
    changed: int
    rejected: int
    reason: str
    fields: dict[str, int]
    moved: list[Moved]


async def save_flow(tx: Transaction, *, connection_id: UUID, flow: Flow, reason: str) -> FlowVersion:
    """Keep a mapping as the next version, which changes nothing until it is put in force."""
    own = mint(unix_ms=milliseconds(tx.scope.now), entropy=entropy(ENTROPY_BYTES))
    given = {"id": own, "connection": connection_id, "type": flow.type, "reason": reason}
    told = msgspec.json.encode(flow).decode()
    await tx.connection.execute(_SAVE, {**given, "mapping": told, "now": tx.scope.now, "actor": tx.scope.actor})
    saved = await flow_of(tx, own)
    await _trace(tx, "save", saved, reason=reason)
    return saved


async def flow_of(tx: Transaction, flow_id: UUID) -> FlowVersion:
    """Return a version; raises FlowMissing."""
    row = await (await tx.connection.execute(_COLUMNS + " and m.id = %s", (flow_id,))).fetchone()
    if row is None:
        raise FlowMissing("There is no mapping with this id.", fix="List them: isthmus mapping ls")
    return _version(row)


async def flow_versions(
    tx: Transaction,
    *,
    connection_id: UUID | None = None,
    types: Sequence[str] | None = None,
    before: UUID | None = None,
    limit: int = 100,
) -> list[FlowVersion]:
    """Return versions, newest first, of one connection or all and of some types."""
    given = {"connection": connection_id, "types": None if types is None else list(types)}
    cursor = await tx.connection.execute(_LIST, {**given, "before": before, "limit": limit})
    return [_version(row) for row in await cursor.fetchall()]


async def activate_flow(tx: Transaction, version: FlowVersion) -> FlowVersion:
    """Put a version in force: every run that begins from now on uses it."""
    if version.in_force:
        return version
    own = mint(unix_ms=milliseconds(tx.scope.now), entropy=entropy(ENTROPY_BYTES))
    row = (own, version.connection_id, version.type, version.id, tx.scope.now, tx.scope.actor)
    await tx.connection.execute(_ACTIVATE, row)
    await _trace(tx, "activate", version)
    return await flow_of(tx, version.id)


async def roll_back_flow(tx: Transaction, version: FlowVersion) -> FlowVersion:
    """Take back that a version was put in force: the one before it is, or the connector's own. Raises NotInForce."""
    given = {"connection": version.connection_id, "type": version.type, "mapping": version.id}
    cursor = await tx.connection.execute(_UNDO, {**given, "now": tx.scope.now, "actor": tx.scope.actor})
    if cursor.rowcount != 1:
        raise NotInForce(f"Version {version.number} is not in force.", fix="See which one is: isthmus mapping ls")
    await _trace(tx, "roll-back", version)
    return await flow_of(tx, version.id)


async def in_force(tx: Transaction, connection_id: UUID) -> dict[str, Flow]:
    """Return the mappings of a connection that are in force, by record type."""
    cursor = await tx.connection.execute(_IN_FORCE, (connection_id,))
    return {name: msgspec.convert(mapping, Flow) for name, mapping in await cursor.fetchall()}


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A mapping tried on what was received: `before` and `after` are the connector with and without it."""

    store: Store
    system: str
    type: str
    feeds: Sequence[Feed]
    before: Connector
    after: Connector

    @classmethod
    def of(
        cls,
        store: Store,
        connector: Connector,
        settings: dict[str, str],
        *,
        version: FlowVersion,
        now: Mapping[str, Flow],
    ) -> "Trial":
        """Set a version beside what is in force `now`; `connector` is as its settings make it, without mappings."""
        return cls(
            store=store,
            system=version.connection,
            type=version.type,
            feeds=[feed for feed in connector.feeds_of(settings) if version.type in feed.types],
            before=flowing(connector, now),
            after=flowing(connector, {**now, version.type: version.flow}),
        )

    async def plan(self, tx: Transaction, *, looked_max: int = LOOKED_MAX, shown_max: int = SHOWN_MAX) -> FlowPlan:
        """Tell what would change on the payloads that are kept; nothing is written."""
        looked = changed = rejected = 0
        reason, fields, moved = "", Counter[str](), list[Moved]()
        async for some in received(tx, self.store, self.feeds, system=self.system, type_name=self.type):
            for feed, raws in some:
                looked += len(raws)
                was, now = (self._said(own, feed, raws) for own in (self.before, self.after))
                faults = self._faults(tx, list(now.values()))
                rejected, reason = rejected + len(faults), reason or next(iter(faults), "")
                for key in sorted(was.keys() | now.keys()):
                    apart = _apart(was.get(key), now.get(key))
                    changed += bool(apart)
                    fields.update(name for name, *_ in apart)
                    moved += [Moved(external_id=key, field=name, before=one, after=two) for name, one, two in apart]
            del moved[shown_max:]
            if looked >= looked_max:
                break
        counts = dict(fields.most_common())
        return FlowPlan(looked=looked, changed=changed, rejected=rejected, reason=reason, fields=counts, moved=moved)

    def _said(self, connector: Connector, feed: Feed, raws: Sequence[Raw]) -> dict[str, Observation]:
        told, _ = observe(self.store, connector, feed, system=self.system, rows=raws)
        return {each.external_id: each for each in told if each.type == self.type}

    def _faults(self, tx: Transaction, said: Sequence[Observation]) -> list[str]:
        prepared = self.store.preparer(self.type, tx.scope.workspace).prepare(said, since=None, until=tx.scope.now)
        return [each.reason for each in prepared.rejects]


async def replay(work: Work, type_name: str) -> int:
    """Map again what was received of a type, as the connection's mappings are now; returns how many were looked at.

    What says nothing new changes nothing. Nothing is read from the system.
    """
    feeds = [feed for feed in work.feeds if type_name in feed.types]
    store, system, after, looked = work.engine.store, work.connection.name, "", 0
    while True:
        async with store.database.transaction(work.scope()) as tx:
            last, some = await _page(tx, store, feeds, system=system, type_name=type_name, after=after)
        for feed, raws in some:
            await transacted(work, partial(_again, work, feed, raws, type_name))
            looked += len(raws)
        if last is None:
            work.progress.read += looked
            return looked
        after = last


async def _again(work: Work, feed: Feed, raws: Sequence[Raw], type_name: str, tx: Transaction) -> None:
    """Put what is said by some payloads now."""
    store, system = work.engine.store, work.connection.name
    told, rejects = observe(store, work.connector, feed, system=system, rows=raws)
    landed = await land_observations(
        tx,
        store,
        connection_id=work.connection.id,
        system=system,
        observations=[each for each in told if each.type == type_name],
        rejects=rejects,
        interval=Interval(since=None, until=tx.scope.now),
        together=work.connector.together,
    )
    await spoken(tx, work, landed)
    work.progress.add(landed.result)


async def received(
    tx: Transaction, store: Store, feeds: Sequence[Feed], *, system: str, type_name: str
) -> AsyncIterator[list[tuple[Feed, list[Raw]]]]:
    """Yield what was received last of each record of a type, by page and feed, but for what an erased key sealed."""
    after: str | None = ""
    while after is not None:
        after, some = await _page(tx, store, feeds, system=system, type_name=type_name, after=after)
        yield some


async def _page(
    tx: Transaction, store: Store, feeds: Sequence[Feed], *, system: str, type_name: str, after: str
) -> tuple[str | None, list[tuple[Feed, list[Raw]]]]:
    """Return what was received last of some records, by feed, and after which to go on; None when there is no more."""
    by_name = {feed.name: feed for feed in feeds}
    found: dict[str, list[Raw]] = {}
    last: str | None = None
    carriers = dict.fromkeys([type_name, *(name for feed in feeds for name in feed.types)])
    for carrier in carriers:
        given = {"type": carrier, "system": system, "after": after, "limit": BATCH_ROWS}
        rows = await (await tx.connection.execute(_PAYLOADS, given)).fetchall()
        opened = store.vault.open_many(
            workspace=tx.scope.workspace, values=[(subject, bytes(sealed)) for _, subject, sealed in rows]
        )
        for text in opened:
            kept = unpack(text) if text is not None else None
            if kept is not None and kept.feed in by_name:
                found.setdefault(kept.feed, []).append(kept.raw)
        if rows:
            last = rows[-1][0] if len(rows) == BATCH_ROWS else None
            break
    return last, [(by_name[name], raws) for name, raws in found.items()]


def _apart(was: Observation | None, now: Observation | None) -> list[tuple[str, Json, Json]]:
    """Return the fields of which something else is said: name, before, after."""
    one, other = (_words(each) for each in (was, now))
    return [
        (name, one.get(name), other.get(name))
        for name in sorted(one.keys() | other.keys())
        if (name in one) != (name in other) or one.get(name) != other.get(name)
    ]


def _words(said: Observation | None) -> dict[str, Json]:
    if said is None:
        return {}
    return {**said.fields, **{name: link.external_id for name, link in said.links.items()}}


def _version(row: Sequence[object]) -> FlowVersion:
    names = FlowVersion.__struct_fields__
    told = dict(zip(names, row, strict=True))
    return msgspec.convert({**told, "in_force": bool(told["in_force"])}, FlowVersion)


async def _trace(tx: Transaction, action: str, version: FlowVersion, *, reason: str = "") -> None:
    details = {"connection": version.connection, "number": version.number, "reason": reason}
    await audit(tx, action=action, resource=RESOURCE, record_id=None, details={**details, "type": version.type})
