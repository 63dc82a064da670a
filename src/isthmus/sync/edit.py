"""Edits made here, by a person or a rule: a claim of our own that says what its author saw."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from uuid import UUID

from isthmus.kernel.errors import Conflicting, NotFound
from isthmus.kernel.marks import Json
from isthmus.store.database import Scope, Transaction
from isthmus.store.fold import HERE, Place
from isthmus.store.observation import Observation
from isthmus.store.put import PutResult, land, write
from isthmus.store.records import Stored, find
from isthmus.sync.ingest import Store


class RecordMissing(NotFound):
    """There is no such record."""

    code, title = "record-missing", "There is no such record"


class RecordDeleted(Conflicting):
    """The record was deleted."""

    code, title = "record-deleted", "The record was deleted"


async def edit(
    store: Store,
    scope: Scope,
    type_name: str,
    record_id: UUID,
    fields: dict[str, Json],
    *,
    settles: Iterable[str] = (),
    deleted: bool = False,
) -> PutResult:
    """Change fields of a record in a transaction of its own; see `edit_in`."""
    async with store.database.transaction(scope) as tx:
        return await edit_in(tx, store, type_name, record_id, fields, settles=settles, deleted=deleted)


async def edit_in(
    tx: Transaction,
    store: Store,
    type_name: str,
    record_id: UUID,
    fields: dict[str, Json],
    *,
    settles: Iterable[str] = (),
    reopens: Mapping[str, Place] | None = None,
    deleted: bool = False,
) -> PutResult:
    """Change fields of a record; `settles` names fields whose case this decides, `~deleted` among them.

    `reopens` names fields that wait for a person again, with the claim that each waits with.

    Raises RecordMissing, and Rejected with every fault when a value does not fit.
    """
    record_type = store.schema[type_name]
    stored = (await find(tx, store.vault, record_type, [record_id])).get(record_id)
    if stored is None:
        raise RecordMissing(f"There is no {type_name} with this id.", fix="Check the id.")
    settled = tuple(settles)
    if stored.deleted_at is not None and not settled and not reopens:
        raise RecordDeleted(f"This {type_name} was deleted.", fix="Restore it first.")
    preparer = store.preparer(type_name, tx.scope.workspace)
    observation = Observation(
        type=type_name,
        system=HERE,
        external_id=str(record_id),
        fields=fields,
        at=_after(stored, tx.scope.now),
        seen={name: stored.values.get(name) for name in fields},
        deleted=deleted,
    )
    prepared = preparer.prepare([observation], since=None, until=_after(stored, tx.scope.now))
    if prepared.rejects:
        raise prepared.rejects[0].error()
    for row in prepared.rows:
        row.settles = settled
        row.reopens = dict(reopens) if reopens else None
        row.hlc = max(row.hlc, stored.hlc + 1)
    await land(tx, prepared)
    for row in prepared.rows:
        row.record_id = record_id
    return await write(tx, store.vault, prepared, preparer)


def _after(stored: Stored, now: datetime) -> datetime:
    """Return now, or the record's last moment when the clock here stands behind it."""
    return max(now, stored.updated_at)
