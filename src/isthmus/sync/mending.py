"""Trying again what was rejected: after its reason is gone, or with a mapping that was mended."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime
from uuid import UUID

from msgspec import Struct

from isthmus.kernel.errors import IsthmusError
from isthmus.store.database import Scope, Transaction
from isthmus.store.observation import Observation
from isthmus.store.put import PutResult
from isthmus.store.rejected import Kept, open_rejects, settle_rejects
from isthmus.sync.connector import Connector, Feed
from isthmus.sync.ingest import Store, add, put_in
from isthmus.sync.landing import observe, order, unpack

BATCH_ROWS_MAX = 500
ROUNDS_MAX = 10
UNKNOWN_LINK = "unknown-link"
Remap = Callable[[Observation], Sequence[Observation]]


class Retried(Struct, frozen=True, kw_only=True):
    """What trying again did: rows that are stored now, and rows that still cannot be."""

    stored: int
    left: int


def remapping(store: Store, connector: Connector, *, system: str, feeds: Sequence[Feed]) -> Remap:
    """Return what maps a kept payload anew with the connector as it is now; without a payload nothing changes."""
    by_name = {feed.name: feed for feed in feeds}

    def remap(observation: Observation) -> Sequence[Observation]:
        if observation.payload is None:
            return [observation]
        try:
            kept = unpack(observation.payload)
        except ValueError:
            return [observation]
        if kept.feed not in by_name:
            return [observation]
        mapped, rejects = observe(store, connector, by_name[kept.feed], system=system, rows=[kept.raw])
        if rejects:
            raise Unmapped(rejects[0].reason, fix="Mend the mapping first.")
        return mapped

    return remap


class Unmapped(IsthmusError):
    """The mapping still fails."""

    code, title = "mapping", "The mapping still fails"


async def retry_rejects(
    store: Store, scope: Scope, *, system: str, code: str | None = None, remap: Remap | None = None
) -> tuple[Retried, PutResult]:
    """Try everything again that is kept of a system, with one reason or any; what is stored now is settled.

    Rows may wait for each other, so it goes round as long as something gets on.
    """
    total, stored, left = PutResult(), 0, 0
    for _ in range(ROUNDS_MAX):
        after, moved, left = 0, 0, 0
        while True:
            async with store.database.transaction(scope) as tx:
                kept = await open_rejects(tx, store.vault, system=system, code=code, after=after, limit=BATCH_ROWS_MAX)
                done = await _again(tx, store, kept, remap, total)
                await settle_rejects(tx, done)
            moved, left = moved + len(done), left + len(kept) - len(done)
            if len(kept) < BATCH_ROWS_MAX:
                break
            after = kept[-1].id
        stored += moved
        if not moved or not left:
            break
    total.rejected = 0
    return Retried(stored=stored, left=left), total


async def _again(
    tx: Transaction, store: Store, kept: Sequence[Kept], remap: Remap | None, total: PutResult
) -> list[int]:
    """Put kept observations as they were made then; returns the ids of the rejects that are settled."""
    groups: dict[tuple[str, datetime], list[tuple[int, Observation]]] = defaultdict(list)
    done: set[int] = set()
    for each in kept:
        if each.observation is None:
            done.add(each.id)
            continue
        try:
            mapped = remap(each.observation) if remap and each.code != UNKNOWN_LINK else [each.observation]
        except Unmapped:
            continue
        done.add(each.id)
        for observation in mapped:
            groups[observation.type, each.at].append((each.id, observation))
    for (name, at), members in groups.items():
        preparer = store.preparer(name, tx.scope.workspace)
        prepared = preparer.prepare([observation for _, observation in members], since=None, until=at)
        await order(tx, prepared)
        result = await put_in(tx, store, preparer, prepared, keep=False)
        add(total, result)
        refused = {each.observation.external_id for each in result.rejects}
        done -= {reject_id for reject_id, observation in members if observation.external_id in refused}
    return sorted(done)


async def rejects_by_cause(tx: Transaction, *, system: str | None = None, run_id: UUID | None = None) -> list["Cause"]:
    """Return what is kept, of one system or one run, counted by system, record type and reason code, the most first."""
    cursor = await tx.connection.execute(
        "select system, type, code, count(*), min(at), min(reason) from rejected where workspace = current_workspace()"
        " and settled_at is null and (%(system)s::text is null or system = %(system)s)"
        " and (%(run)s::uuid is null or run_id = %(run)s)"
        " group by system, type, code order by count(*) desc, system, type, code",
        {"system": system, "run": run_id},
    )
    names = Cause.__struct_fields__
    return [Cause(**dict(zip(names, row, strict=True))) for row in await cursor.fetchall()]


class Cause(Struct, frozen=True, kw_only=True):
    """Rejected rows with one reason code; `example` is one of the reasons in words."""

    system: str
    type: str
    code: str
    rows: int
    oldest_at: datetime
    example: str


async def stamp_run(tx: Transaction, *, run_id: UUID, system: str) -> None:
    """Note on fresh rejects which run met them."""
    await tx.connection.execute(
        "update rejected set run_id = %s where workspace = current_workspace() and system = %s and run_id is null"
        " and settled_at is null",
        (run_id, system),
    )
