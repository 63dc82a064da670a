"""The one way in: observations are prepared, landed, matched and written; what cannot be stored is kept with why."""

import asyncio
from collections import deque
from collections.abc import AsyncIterable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeAlias, cast

from psycopg import Rollback, errors

from isthmus.kernel.ids import ids_ms
from isthmus.kernel.marks import RecordType
from isthmus.matching.match import lock, match, meet, part
from isthmus.store.bulk import write_ahead
from isthmus.store.columns import Columns
from isthmus.store.database import Database, Scope, Transaction
from isthmus.store.observation import Observation
from isthmus.store.prepare import Prepared, Preparer
from isthmus.store.put import PutResult, Raced, anticipate, land, write
from isthmus.store.rejected import keep_rejects
from isthmus.store.schema import Schema
from isthmus.vault import Vault, WorkspaceKeys, entropy

Batch: TypeAlias = Sequence[Observation] | Columns
TRIES_MAX = 5
STORING_MAX = 2
BATCH_ROWS_MAX = 10_000


@dataclass(frozen=True)
class Store:
    """What putting needs: the record types, the database, the vault."""

    schema: Schema
    database: Database
    vault: Vault
    preparers: dict[tuple[str, WorkspaceKeys], Preparer] = field(default_factory=dict, repr=False, compare=False)

    def preparer(self, type_name: str, workspace: int) -> Preparer:
        """Return the preparer of a record type in a workspace, made once: its keys are derived, which takes long."""
        place = (type_name, self.vault.workspace(workspace))
        found = self.preparers.get(place)
        if found is None:
            found = self.preparers[place] = Preparer(self.schema[type_name], place[1])
        return found


@dataclass(frozen=True, kw_only=True)
class Interval:
    """When observations were made: after `since` (None: unknown) and not later than `until`."""

    since: datetime | None
    until: datetime


async def put_in(
    tx: Transaction, store: Store, preparer: Preparer, prepared: Prepared, *, keep: bool = True
) -> PutResult:
    """Put a prepared batch inside a transaction. With `keep`, rejects are stored for a later retry."""
    await land(tx, prepared)
    await asyncio.to_thread(anticipate, store.vault, prepared, workspace=tx.scope.workspace, now=tx.scope.now)
    return await _store_in(tx, store, preparer, prepared, keep=keep)


async def _store_in(tx: Transaction, store: Store, preparer: Preparer, prepared: Prepared, *, keep: bool) -> PutResult:
    part(prepared)
    if prepared.block is not None and len(prepared.block):
        await _try_ahead(tx, prepared)
    await match(tx, prepared, entropy=entropy)
    result = await write(tx, store.vault, prepared, preparer)
    if keep and result.rejects:
        await keep_rejects(tx, store.vault, prepared.type, result.rejects)
    return result


async def _try_ahead(tx: Transaction, prepared: Prepared) -> None:
    """Write most of a block before waiting for other writers of its handles, as if nobody were meant by them."""
    async with tx.connection.transaction():
        await write_ahead(tx, prepared)
        await lock(tx, prepared)
        if await meet(tx, prepared):
            prepared.met = True
            raise Rollback


async def put(
    store: Store, scope: Scope, observations: Sequence[Observation], *, interval: Interval, keep: bool = True
) -> list[PutResult]:
    """Put observations in one transaction, type by type in the order given; retried when another writer was faster."""
    types = list(dict.fromkeys(each.type for each in observations))
    for attempt in range(TRIES_MAX):
        try:
            async with store.database.transaction(scope) as tx:
                results: list[PutResult] = []
                for name in types:
                    preparer = store.preparer(name, scope.workspace)
                    own = [each for each in observations if each.type == name]
                    prepared = preparer.prepare(own, since=interval.since, until=interval.until)
                    results.append(await put_in(tx, store, preparer, prepared, keep=keep))
                return results
        except (Raced, errors.DeadlockDetected, errors.SerializationFailure, errors.UniqueViolation):
            if attempt == TRIES_MAX - 1:
                raise
    raise AssertionError


async def put_stream(
    store: Store,
    scope: Scope,
    record_type: RecordType,
    batches: AsyncIterable[Batch],
    *,
    interval: Interval,
    progress: Callable[[PutResult], None],
) -> PutResult:
    """Put a long stream of one record type, a transaction for each batch; the next are prepared while one is stored.

    A batch comes as observations, or faster as columns. `progress` is called with the totals after every commit.
    """
    preparer = store.preparer(record_type.name, scope.workspace)
    source = aiter(batches)
    total = PutResult()
    meets = False
    born = scope.now

    async def following() -> tuple[Batch, Prepared] | None:
        nonlocal born
        async for batch in source:
            # Ids grow from batch to batch too, so that indexes grow at their end and not all over.
            born += timedelta(milliseconds=ids_ms(len(batch)))
            return batch, await _ready(store, scope, preparer, batch, interval, born=born, meets=meets)
        return None

    async def stored(batch: Batch, prepared: Prepared) -> None:
        nonlocal meets
        add(total, await _put_one(store, scope, preparer, batch, prepared, interval))
        meets = meets or prepared.met
        progress(total)

    ahead = asyncio.create_task(following())
    storing: deque[asyncio.Task[None]] = deque()
    try:
        while (ready := await ahead) is not None:
            ahead = asyncio.create_task(following())
            storing.append(asyncio.create_task(stored(*ready)))
            if len(storing) == STORING_MAX:
                await storing.popleft()
        while storing:
            await storing.popleft()
    finally:
        for task in (ahead, *storing):
            task.cancel()
        await asyncio.gather(ahead, *storing, return_exceptions=True)
    return total


def add(total: PutResult, result: PutResult) -> None:
    """Add counts to a running total; ids and rejects are not kept, so that memory stays flat."""
    total.created += result.created
    total.changed += result.changed
    total.claimed += result.claimed
    total.unchanged += result.unchanged
    total.opened_cases += result.opened_cases
    total.rejected += len(result.rejects) + result.rejected


async def _ready(
    store: Store, scope: Scope, preparer: Preparer, batch: Batch, interval: Interval, *, born: datetime, meets: bool
) -> Prepared:
    """Prepare, land and seal a batch while others are being stored; `meets` tells that earlier ones met records.

    New ids bear the moment `born`.
    """
    prepared = await asyncio.to_thread(_prepare, preparer, batch, interval)
    async with store.database.transaction(scope) as tx:
        await land(tx, prepared)
        if meets:
            await meet(tx, prepared)
    await asyncio.to_thread(anticipate, store.vault, prepared, workspace=scope.workspace, now=born)
    return prepared


def _prepare(preparer: Preparer, batch: Batch, interval: Interval) -> Prepared:
    columns = batch if isinstance(batch, Columns) else Columns.of(batch)
    if columns is not None:
        return preparer.prepare_columns(columns, since=interval.since, until=interval.until)
    return preparer.prepare(cast("Sequence[Observation]", batch), since=interval.since, until=interval.until)


async def _put_one(
    store: Store, scope: Scope, preparer: Preparer, batch: Batch, ready: Prepared, interval: Interval
) -> PutResult:
    for attempt in range(TRIES_MAX):
        try:
            async with store.database.transaction(scope) as tx:
                if attempt == 0:
                    return await _store_in(tx, store, preparer, ready, keep=True)
                prepared = await asyncio.to_thread(_prepare, preparer, batch, interval)
                return await put_in(tx, store, preparer, prepared)
        except (Raced, errors.DeadlockDetected, errors.SerializationFailure, errors.UniqueViolation):
            if attempt == TRIES_MAX - 1:
                raise
    raise AssertionError
