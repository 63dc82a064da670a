"""Records found to be one: listing the links with their evidence, merging by hand, and undoing either exactly.

Claims move with the ids they came under and keep the key they were sealed with; the records are folded anew from what
they hold then, in the same transaction.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import LiteralString, cast
from uuid import UUID

import msgspec
from msgspec import Struct

from isthmus.kernel.clock import milliseconds
from isthmus.kernel.errors import Conflicting, NotFound
from isthmus.kernel.ids import ENTROPY_BYTES, mint
from isthmus.kernel.marks import RecordType
from isthmus.store.database import Scope, Transaction
from isthmus.store.fold import HERE
from isthmus.store.put import lock_statement
from isthmus.store.refold import refold
from isthmus.sync.connections import audit
from isthmus.sync.ingest import Store
from isthmus.sync.queue import tell_all
from isthmus.vault import entropy

_COLUMNS: LiteralString = """
select id, type, winner, loser, refs, evidence, actor, at, undone_at, undone_by from merge
where workspace = current_workspace()
"""
_CLAIMS: LiteralString = """
update claim set record_id = %(to)s, subject = coalesce(subject, record_id)
from unnest(%(systems)s::text[], %(ids)s::text[]) as moved(system, external_id)
where claim.workspace = current_workspace() and claim.record_id = %(from)s and claim.type = %(type)s
  and claim.system = moved.system and claim.external_id = moved.external_id
"""
_REFS: LiteralString = """
update ref set record_id = %(to)s
from unnest(%(systems)s::text[], %(ids)s::text[]) as moved(system, external_id)
where ref.workspace = current_workspace() and ref.record_id = %(from)s and ref.type = %(type)s
  and ref.system = moved.system and ref.external_id = moved.external_id
"""
_OWN_REFS: LiteralString = """
select distinct system, external_id from claim
where workspace = current_workspace() and record_id = %s and type = %s order by system, external_id
"""
_INSERT: LiteralString = """
insert into merge (workspace, id, type, winner, loser, refs, evidence, actor, at)
values (current_workspace(), %s, %s, %s, %s, %s, %s, %s, %s)
"""
_BELOW: LiteralString = """
with recursive below(id) as (
    select m.loser from merge m where m.workspace = current_workspace() and m.winner = %(of)s and m.type = %(type)s
       and m.undone_at is null
    union
    select m.loser from below join merge m on m.workspace = current_workspace() and m.winner = below.id
                                           and m.type = %(type)s and m.undone_at is null
)
select id from below
"""
LOOK = "It was merged or split here."
Ids = list[tuple[str, str]]


class MergeMissing(NotFound):
    """There is no such merge."""

    code, title = "merge-missing", "There is no such merge"


class MergeUndone(Conflicting):
    """The merge was undone, or its records went on to become part of others."""

    code, title = "merge-undone", "The merge cannot be undone any more"


class NotMergeable(Conflicting):
    """The two are not two living records of one type."""

    code, title = "not-mergeable", "These records cannot be merged"


class Merge(Struct, frozen=True, kw_only=True):
    """A link: the ids that `refs` names (system, external id) belong to `winner`; undone, they make up `loser`."""

    id: UUID
    type: str
    winner: UUID
    loser: UUID
    refs: Ids
    evidence: str
    actor: str
    at: datetime
    undone_at: datetime | None
    undone_by: str | None


async def merges(
    tx: Transaction,
    *,
    record_id: UUID | None = None,
    types: Sequence[str] | None = None,
    after: UUID | None = None,
    limit: int = 100,
) -> list[Merge]:
    """Return links in the order they were made, all or those of one record or some types."""
    cursor = await tx.connection.execute(
        _COLUMNS + " and (%(record)s::uuid is null or winner = %(record)s or loser = %(record)s)"
        " and (%(types)s::text[] is null or type = any(%(types)s))"
        " and (%(after)s::uuid is null or id > %(after)s) order by id limit %(limit)s",
        {"record": record_id, "types": None if types is None else list(types), "after": after, "limit": limit},
    )
    return [_merge(row) for row in await cursor.fetchall()]


async def merge(
    store: Store, scope: Scope, type_name: str, *, winner: UUID, loser: UUID, evidence: str = "by hand"
) -> UUID:
    """Merge two records; returns the id of the merge. Raises NotMergeable."""
    async with store.database.transaction(scope) as tx:
        return await merge_in(tx, store, type_name, winner=winner, loser=loser, evidence=evidence)


async def merge_in(tx: Transaction, store: Store, type_name: str, *, winner: UUID, loser: UUID, evidence: str) -> UUID:
    """Merge two records inside a transaction; see `merge`."""
    record_type = store.schema[type_name]
    await _both_alive(tx, record_type, winner, loser)
    rows = await (await tx.connection.execute(_OWN_REFS, (loser, type_name))).fetchall()
    refs: Ids = [(system, external_id) for system, external_id in rows]
    await _move(tx, record_type, refs, source=loser, target=winner)
    merge_id = mint(unix_ms=milliseconds(tx.scope.now), entropy=entropy(ENTROPY_BYTES))
    told = (merge_id, type_name, winner, loser, msgspec.json.encode(refs).decode(), evidence)
    await tx.connection.execute(_INSERT, (*told, tx.scope.actor, tx.scope.now))
    await _fold(tx, store, record_type, (winner, loser))
    await _point(tx, record_type, loser, winner)
    await audit(tx, action="merge", resource=type_name, record_id=winner, details={"loser": str(loser)})
    return merge_id


async def undo_merge(store: Store, scope: Scope, merge_id: UUID) -> Merge:
    """Split off what a link brought together; raises MergeMissing and MergeUndone."""
    async with store.database.transaction(scope) as tx:
        row = await (await tx.connection.execute(_COLUMNS + " and id = %s for update", (merge_id,))).fetchone()
        if row is None:
            raise MergeMissing("There is no merge with this id.", fix="List them: isthmus match explain")
        found = _merge(row)
        if found.undone_at is not None:
            raise MergeUndone(f"It was undone by {found.undone_by}.", fix="Nothing needs to be done.")
        record_type = store.schema[found.type]
        await tx.connection.execute(lock_statement(record_type), (sorted((found.winner, found.loser)),))
        moved = await _move(tx, record_type, found.refs, source=found.winner, target=found.loser)
        if moved < len([each for each in found.refs if each[0] != HERE]):
            raise MergeUndone(
                "Some of its ids belong to another record by now.", fix="Undo the later merge of that record first."
            )
        await _point(tx, record_type, found.loser, None)
        await _fold(tx, store, record_type, (found.winner, found.loser))
        await tx.connection.execute(
            "update merge set undone_at = %s, undone_by = %s where workspace = current_workspace() and id = %s",
            (scope.now, scope.actor, merge_id),
        )
        await audit(
            tx, action="unmerge", resource=found.type, record_id=found.winner, details={"split": str(found.loser)}
        )
        row = await (await tx.connection.execute(_COLUMNS + " and id = %s", (merge_id,))).fetchone()
        return _merge(row or ())


async def _both_alive(tx: Transaction, record_type: RecordType, winner: UUID, loser: UUID) -> None:
    await tx.connection.execute(lock_statement(record_type), (sorted((winner, loser)),))
    table = cast("LiteralString", record_type.table)
    cursor = await tx.connection.execute(
        f"select count(*) from {table} where workspace = current_workspace() and id = any(%s)"  # noqa: S608 - the name comes from a declaration.
        " and deleted_at is null and merged_into is null",
        ([winner, loser],),
    )
    row = await cursor.fetchone()
    if winner == loser or row is None or row[0] != 2:  # noqa: PLR2004 - two records.
        raise NotMergeable(f"Two living records of {record_type.name} are needed.", fix="Check both ids.")


async def _move(
    tx: Transaction, record_type: RecordType, refs: Sequence[tuple[str, str]], *, source: UUID, target: UUID
) -> int:
    """Move ids and the claims made under them; returns how many ids of connected systems moved."""
    systems, ids = [each[0] for each in refs], [each[1] for each in refs]
    given = {"systems": systems, "ids": ids, "from": source, "to": target, "type": record_type.name}
    moved = await tx.connection.execute(_REFS, given)
    await tx.connection.execute(_CLAIMS, given)
    return moved.rowcount


async def _fold(tx: Transaction, store: Store, record_type: RecordType, records: tuple[UUID, UUID]) -> None:
    workspace = tx.scope.workspace
    if record_type.personal_fields:
        store.vault.ensure(workspace=workspace, subjects=records)
    await refold(tx, store.vault, record_type, store.preparer(record_type.name, workspace), records)
    for record in records:
        await tell_all(tx, type_name=record_type.name, record_id=record, reason=LOOK)


async def _point(tx: Transaction, record_type: RecordType, loser: UUID, winner: UUID | None) -> None:
    """Let a record, and all that was merged into it before, point to where it is now: never one hop behind."""
    table = cast("LiteralString", record_type.table)
    cursor = await tx.connection.execute(_BELOW, {"of": loser, "type": record_type.name})
    below = [own for (own,) in await cursor.fetchall()]
    await tx.connection.execute(
        f"update {table} set merged_into = %s where workspace = current_workspace() and id = any(%s)",  # noqa: S608 - the name comes from a declaration.
        (winner or loser, below),
    )
    await tx.connection.execute(
        f"update {table} set merged_into = %s where workspace = current_workspace() and id = %s",  # noqa: S608 - the name comes from a declaration.
        (winner, loser),
    )


def _merge(row: Sequence[object]) -> Merge:
    return msgspec.convert(dict(zip(Merge.__struct_fields__, row, strict=True)), Merge)
