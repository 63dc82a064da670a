"""A mapping tried on what is held: what a system would be told of the records it knows, and what the next push writes.

Nothing is written. A value that does not fit its field after its transforms is told as unfit, and why.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import LiteralString
from uuid import UUID

from msgspec import Struct

from isthmus.kernel.errors import IsthmusError
from isthmus.kernel.marks import Json
from isthmus.store.database import Transaction
from isthmus.store.fold import State, fold
from isthmus.store.observation import Observation
from isthmus.store.trail import claims_of
from isthmus.sync.connections import Connection
from isthmus.sync.connector import Change, Connector, Feed
from isthmus.sync.flow_versions import FlowVersion
from isthmus.sync.flows import FieldFlow, Flow, flowing
from isthmus.sync.ingest import Store
from isthmus.sync.planning import Planner

TOLD_LOOKED_MAX, PAGE_ROWS, SHOWN_MAX = 2_000, 200, 200
_Words = dict[str, Json]
_KNOWN: LiteralString = """
select external_id, record_id from ref
where workspace = current_workspace() and type = %s and system = %s and not deleted and external_id > %s
order by external_id limit %s
"""


class Told(Struct, frozen=True, kw_only=True):
    """One field of one record as a system would be told of it, before and after; null where it would not be.

    `there` is what it says now, and `writes` tells that the next push writes it.
    """

    external_id: str
    field: str
    there: Json
    before: Json
    after: Json
    writes: bool


class ToldPlan(Struct, frozen=True, kw_only=True):
    """What a mapping would change on what a system is told: of how many records of those that were looked at.

    `fields` counts by field, `writes` the records that the next push writes, `unfit` those that could not be told, with
    the first reason.
    """

    looked: int = 0
    changed: int = 0
    writes: int = 0
    unfit: int = 0
    reason: str = ""
    fields: dict[str, int] = {}
    told: list[Told] = []


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """A mapping tried on what is held: `before` and `after` plan writes without and with it."""

    store: Store
    connection: Connection
    type: str
    feeds: Sequence[Feed]
    before: Planner
    after: Planner
    flow: Flow

    @classmethod
    def of(
        cls,
        store: Store,
        connection: Connection,
        connector: Connector,
        settings: dict[str, str],
        *,
        version: FlowVersion,
        now: Mapping[str, Flow],
    ) -> "Rehearsal":
        """Set a version beside what is in force `now`; `connector` is as its settings make it, without mappings."""
        plans = (flowing(connector, now), flowing(connector, {**now, version.type: version.flow}))
        before, after = (Planner(store=store, connection=connection, connector=each) for each in plans)
        return cls(
            store=store,
            connection=connection,
            type=version.type,
            feeds=_written_by(connector, settings, version.type) if connection.options.push else [],
            before=before,
            after=after,
            flow=version.flow,
        )

    async def plan(self, tx: Transaction, *, looked_max: int = TOLD_LOOKED_MAX) -> ToldPlan:
        """Tell what would change on what the system is told of records that it knows; nothing is written."""
        count = Counter[str]()
        fields, told, reason, after = Counter[str](), list[Told](), "", ""
        while self.feeds and count["looked"] < looked_max:
            row = (self.type, self.connection.name, after, PAGE_ROWS)
            known = await (await tx.connection.execute(_KNOWN, row)).fetchall()
            if not known:
                break
            after = known[-1][0]
            some = await self._page(tx, self.feeds[0], [(external_id, record) for external_id, record in known])
            for apart, unfit in some:
                writes = any(each.writes for each in apart)
                count.update(looked=1, changed=bool(apart), unfit=bool(unfit), writes=writes)
                fields.update(each.field for each in apart)
                told += apart
                reason = reason or unfit
            del told[SHOWN_MAX:]
        return ToldPlan(
            looked=count["looked"],
            changed=count["changed"],
            writes=count["writes"],
            unfit=count["unfit"],
            reason=reason,
            fields=dict(fields.most_common()),
            told=told,
        )

    async def _page(
        self, tx: Transaction, feed: Feed, known: Sequence[tuple[str, UUID]]
    ) -> list[tuple[list[Told], str]]:
        """Return for each record what would be told otherwise, and why something could not be."""
        records = list(dict.fromkeys(record for _, record in known))
        trails = await claims_of(tx, self.store.vault, records)
        states = {record: fold(self.store.schema[self.type], trails[record]) for record in records}
        written, wrong = await self._written(tx, feed, records)
        preparer = self.store.preparer(self.type, tx.scope.workspace)
        found, observed = list[list[Told]](), list[Observation]()
        for external_id, record in known:
            state = states[record]
            there = state.shadows.get((self.connection.name, external_id), {})
            one, other = (self._words(each, state, record, external_id) for each in (self.before, self.after))
            observed.append(self._changed(other, external_id))
            writes = written.get((record, external_id), set())
            apart = [
                Told(
                    external_id=external_id,
                    field=name,
                    there=there.get(name),
                    before=one.get(name),
                    after=other.get(name),
                    writes=name in writes,
                )
                for name in sorted(one.keys() | other.keys())
                if (name in one) != (name in other) or one.get(name) != other.get(name)
            ]
            found.append(apart)
        rejects = preparer.prepare(observed, since=None, until=tx.scope.now).rejects
        unfit = {each.observation.external_id: each.reason for each in rejects}
        return [(apart, wrong or unfit.get(own, "")) for apart, (own, _) in zip(found, known, strict=True)]

    async def _written(
        self, tx: Transaction, feed: Feed, records: Sequence[UUID]
    ) -> tuple[dict[tuple[UUID, str], set[str]], str]:
        """Return the fields that the next push writes with the mapping, by record and external id; or why it cannot."""
        try:
            planned = await self.after.plan(tx, feed, self.type, records)
        except Exception as error:  # noqa: BLE001 - whatever a connector's wording raises is what is asked for.
            return {}, _words_of(error)
        changes = [each.change for each in planned]
        return {(each.record_id, each.external_id or ""): {*each.fields, *each.links} for each in changes}, ""

    def _words(self, planner: Planner, state: State, record: UUID, external_id: str) -> _Words:
        """Return what the system would be told of all that is held and may be written there."""
        there = state.shadows.get((self.connection.name, external_id), {})
        writable = planner.writable(self.type, there)
        fields = {name: value for name, value in state.values().items() if name in writable}
        change = Change(record_id=record, type=self.type, fields=fields, external_id=external_id)
        return planner.connector.told(change).fields

    def _changed(self, told: _Words, external_id: str) -> Observation:
        """Return what the mapping itself makes of values, but for those that it names as the system's own."""
        own = {name: each for name, each in self.flow.fields.items() if each.out_transforms and name in told}
        fields = {name: told[name] for name, each in own.items() if not _named(told[name], each)}
        return Observation(type=self.type, system=self.connection.name, external_id=external_id, fields=fields)


def _named(value: Json, own: FieldFlow) -> bool:
    return isinstance(value, str) and value in own.values


def _written_by(connector: Connector, settings: dict[str, str], type_name: str) -> list[Feed]:
    return [feed for feed in connector.feeds_of(settings) if type_name in feed.writes]


def _words_of(error: Exception) -> str:
    return str(error) if isinstance(error, IsthmusError) else f"The connector cannot word it: {type(error).__name__}."
