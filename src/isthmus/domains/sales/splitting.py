"""Undoing merges: what is split off from a lead is a lead of its own again, with an owner and a follow-up."""

from datetime import datetime
from uuid import UUID

from msgspec import Struct

from isthmus.analytics import Catalog
from isthmus.domains.sales.capture import LEAD, Pipeline
from isthmus.domains.sales.settings import SalesSettings
from isthmus.gateway import Call
from isthmus.kernel.ids import text_of
from isthmus.store.database import Transaction
from isthmus.store.records import find
from isthmus.sync.ingest import Store
from isthmus.sync.intake import Arrived, committed, settings_of
from isthmus.sync.merges import Merge, MergeMissing, merges, undo_merge
from isthmus.sync.runs import Engine


class MergeUndo(Struct, frozen=True, kw_only=True):
    """A merge that was taken apart: `split` is the record that stands by itself again."""

    id: str
    type: str
    kept: str
    split: str
    undone_at: datetime
    undone_by: str


async def undo(call: Call, merge_id: UUID) -> MergeUndo:
    """Undo a merge; raises MergeMissing, also for a type that the caller may not write, and MergeUndone."""
    store = call.services.of(Store)
    async with call.services.database.transaction(call.scope) as tx:
        found = await _merge(tx, merge_id)
    if found is None or not call.may(f"{found.type.partition('.')[0]}:write"):
        raise MergeMissing("There is no merge with this id.", fix="Read the record for its merges.")
    done = await undo_merge(store, call.scope, merge_id)
    if done.type == LEAD:
        await committed(store, call.scope, lambda tx: _complete(tx, call, done.loser))
    prefix = store.schema[done.type].prefix
    return MergeUndo(
        id=text_of("merge", done.id),
        type=done.type,
        kept=text_of(prefix, done.winner),
        split=text_of(prefix, done.loser),
        undone_at=done.undone_at or call.scope.now,
        undone_by=done.undone_by or call.scope.actor,
    )


async def _complete(tx: Transaction, call: Call, lead: UUID) -> None:
    """Take the split lead through the steps that it never went through by itself."""
    services = call.services
    store = services.of(Store)
    stored = (await find(tx, store.vault, store.schema[LEAD], [lead])).get(lead)
    if stored is not None and not stored.values.get("owner_id"):
        connectors = services.of(Engine).connectors
        pipeline = Pipeline(tx=tx, store=store, catalog=services.of(Catalog), connectors=connectors)
        await pipeline.run({lead: Arrived(record_id=lead, fresh=True)}, await settings_of(tx, "sales", SalesSettings))


async def _merge(tx: Transaction, merge_id: UUID) -> Merge | None:
    query = "select winner from merge where workspace = current_workspace() and id = %s"
    row = await (await tx.connection.execute(query, (merge_id,))).fetchone()
    if row is None:
        return None
    return next((each for each in await merges(tx, record_id=row[0]) if each.id == merge_id), None)
