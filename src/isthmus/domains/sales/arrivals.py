"""Leads that a system or a file brought: batches of them go through the steps that captures go through."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import LiteralString
from uuid import UUID

from isthmus.analytics import Catalog
from isthmus.domains.sales.capture import LEAD, Pipeline
from isthmus.domains.sales.duplicates import NAME_EVIDENCE, known_names
from isthmus.domains.sales.rules import name_key
from isthmus.domains.sales.settings import SalesSettings
from isthmus.store.database import Scope, Transaction
from isthmus.store.records import Stored, find
from isthmus.stream.event import Event
from isthmus.sync.connector import Connector
from isthmus.sync.ingest import Store
from isthmus.sync.intake import Arrived, committed, settings_of
from isthmus.sync.merges import merge_in
from isthmus.sync.runs import left_out

CREATED = "isthmus.sales.lead.created.v1"
BATCH_LEADS = 200
_WAITING: LiteralString = """
select id from sales_lead
where workspace = current_workspace() and deleted_at is null and merged_into is null and id > %s
  and coalesce(steps, '[]') = '[]' order by id limit %s
"""
_KEEPERS: LiteralString = """
select r.record_id, r.system from ref r join connection c
    on c.workspace = r.workspace and c.name = r.system and c.removed_at is null
where r.workspace = current_workspace() and r.type = %s and r.record_id = any(%s) and not r.deleted
"""


_MERGED: LiteralString = """
select distinct on (winner) winner, id, evidence from merge
where workspace = current_workspace() and type = %s and winner = any(%s) and undone_at is null
order by winner, id desc
"""


@dataclass(frozen=True, kw_only=True)
class Arrivals:
    """What leads are taken through the steps with."""

    store: Store
    catalog: Catalog
    connectors: Mapping[str, Connector]

    async def told(self, tx: Transaction, events: list[Event]) -> None:
        """Take the leads of these events, except those that were brought by what is to leave the steps out."""
        silent = await left_out(tx, {each.cause for each in events})
        await self.take(tx, [each.record_id for each in events if each.cause not in silent])

    async def take(self, tx: Transaction, leads: list[UUID]) -> int:
        """Take leads through the steps; returns how many came out as leads of their own.

        One that has been through them, is deleted or merged is passed over: to call this again does no harm.
        """
        stored = await find(tx, self.store.vault, self.store.schema[LEAD], sorted(set(leads)))
        new = {lead: each for lead, each in sorted(stored.items()) if _waits(each)}
        if not new:
            return 0
        settings = await settings_of(tx, "sales", SalesSettings)
        arrived = await self._met(tx, new)
        pipeline = Pipeline(tx=tx, store=self.store, catalog=self.catalog, connectors=self.connectors)
        recent = tx.scope.now - timedelta(days=settings.follow_up_days)
        await pipeline.run(arrived, settings, recent=recent)
        return len(arrived)

    async def take_waiting(self, scope: Scope) -> int:
        """Take all leads of a workspace that have not been through the steps, a transaction for each batch."""
        after, taken = UUID(int=0), 0
        while leads := await self._waiting(scope, after):
            batch, after = leads, leads[-1]
            taken += await committed(self.store, scope, lambda tx, batch=batch: self.take(tx, batch))
        return taken

    async def _waiting(self, scope: Scope, after: UUID) -> list[UUID]:
        async with self.store.database.transaction(scope) as tx:
            cursor = await tx.connection.execute(_WAITING, (after, BATCH_LEADS))
            return [lead for (lead,) in await cursor.fetchall()]

    async def _met(self, tx: Transaction, new: Mapping[UUID, Stored]) -> dict[UUID, Arrived]:
        """Merge leads into older ones of the same name and company; returns what is to go through the steps.

        A connected system keeps its records apart: two that it holds are two, whatever they are called.
        """
        keys = {lead: key for lead, each in new.items() if (key := _key(each)) is not None}
        same = await known_names(tx, self.store, list(keys.values()))
        meant = {lead: same[key] for lead, key in keys.items() if same.get(key, lead) != lead}
        keepers = await _keepers(tx, [*meant, *meant.values()])
        arrived = {lead: Arrived(record_id=lead, fresh=True) for lead in new}
        # What the same e-mail brought together when it was stored.
        cursor = await tx.connection.execute(_MERGED, (LEAD, list(new)))
        for lead, merge, evidence in await cursor.fetchall():
            arrived[lead] = Arrived(record_id=lead, merge=merge, evidence=str(evidence))
        for lead, other in meant.items():
            if keepers.get(lead, frozenset()) & keepers.get(other, frozenset()):
                continue
            merge = await merge_in(tx, self.store, LEAD, winner=other, loser=lead, evidence=NAME_EVIDENCE)
            keepers[other] = keepers.get(other, frozenset()) | keepers.get(lead, frozenset())
            arrived[other] = Arrived(record_id=other, merge=merge, evidence=NAME_EVIDENCE)
            del arrived[lead]
        return arrived


def _waits(lead: Stored) -> bool:
    return not lead.values.get("steps") and lead.deleted_at is None and lead.merged_into is None


def _key(lead: Stored) -> tuple[str, str] | None:
    return name_key(**{name: lead.values.get(name) for name in ("first_name", "last_name", "company")})


async def _keepers(tx: Transaction, leads: list[UUID]) -> dict[UUID, frozenset[str]]:
    """Return which connected systems hold each lead."""
    cursor = await tx.connection.execute(_KEEPERS, (LEAD, leads))
    found: dict[UUID, frozenset[str]] = {}
    for lead, system in await cursor.fetchall():
        found[lead] = found.get(lead, frozenset()) | {str(system)}
    return found
