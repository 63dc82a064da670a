"""Deterministic matching: an observation with a new external id means the record that holds the same handle.

The strongest handle that is given decides. Writers that carry the same handle wait for each other, so that two
observations of one human at the same moment become one record.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import LiteralString, cast
from uuid import UUID

import msgspec

from isthmus.kernel.clock import milliseconds
from isthmus.kernel.ids import ENTROPY_BYTES, mint_many
from isthmus.kernel.marks import RecordType
from isthmus.store.database import Transaction
from isthmus.store.prepare import Prepared, Row
from isthmus.store.schema import index_column

_BUCKETS = 256
_LOCK_SPACE = 7_021
_LOCK: LiteralString = """
select pg_advisory_xact_lock(%s, bucket) from (select unnest(%s::integer[]) as bucket order by 1) as ordered
"""
_LINK: LiteralString = """
insert into merge (workspace, id, type, winner, loser, refs, evidence, actor, at)
select current_workspace(), id, %s, winner, loser, refs::jsonb, evidence, %s, %s
from unnest(%s::uuid[], %s::uuid[], %s::uuid[], %s::text[], %s::text[]) as link(id, winner, loser, refs, evidence)
"""


async def match(tx: Transaction, prepared: Prepared, *, entropy: Callable[[int], bytes]) -> None:
    """Name the record of every row that has none: one with the same handle, or the candidate it came with.

    Each link made is written down with its evidence, so that it can be explained and undone.
    """
    strangers = [row for row in prepared.rows if row.record_id is None]
    if not strangers:
        return
    keyed = [(row, _strongest(row)) for row in strangers]
    found = await _find(tx, prepared.type, [key for _, key in keyed if key])
    links: list[tuple[Row, UUID, UUID, str]] = []
    for row, key in keyed:
        own = row.candidate
        if own is None:
            message = "a row without a candidate reached match(): anticipate it first"
            raise AssertionError(message)
        holder = found.get(key) if key else None
        if key and holder:
            row.record_id = holder
            links.append((row, holder, own, prepared.type.handles[key[0]].name))
        else:
            row.record_id, row.fresh = own, True
            if key:
                found[key] = own
    prepared.merged = [row for row, *_ in links]
    await _write_links(tx, prepared.type, links, entropy)


def _strongest(row: Row) -> tuple[int, bytes] | None:
    return next(((n, index) for n, index in enumerate(row.indexes) if index is not None), None)


async def _find(
    tx: Transaction, record_type: RecordType, keys: Sequence[tuple[int, bytes]]
) -> dict[tuple[int, bytes], UUID]:
    if not keys:
        return {}
    buckets = {index[0] % _BUCKETS for _, index in keys}
    await tx.connection.execute(_LOCK, (_LOCK_SPACE, sorted(buckets)))
    found: dict[tuple[int, bytes], UUID] = {}
    for position in sorted({position for position, _ in keys}):
        wanted = [index for at, index in keys if at == position]
        cursor = await tx.connection.execute(_lookup(record_type, position), (wanted,))
        found.update({(position, bytes(index)): record for index, record in await cursor.fetchall()})
    return found


@lru_cache(maxsize=256)
def _lookup(record_type: RecordType, position: int) -> LiteralString:
    """Return the look-up by one handle, oldest record first to win; the names come from declarations."""
    column = cast("LiteralString", index_column(record_type.handles[position]))
    table = cast("LiteralString", record_type.table)
    return f"""select distinct on ({column}) {column}, id from {table}
        where workspace = current_workspace() and {column} = any(%s) and merged_into is null and deleted_at is null
        order by {column}, id"""  # noqa: S608 - see above.


async def _write_links(
    tx: Transaction,
    record_type: RecordType,
    links: Iterable[tuple[Row, UUID, UUID, str]],
    entropy: Callable[[int], bytes],
) -> None:
    rows = list(links)
    if not rows:
        return
    ids = mint_many(unix_ms=milliseconds(tx.scope.now), count=len(rows), entropy=entropy(len(rows) * ENTROPY_BYTES))
    refs = [msgspec.json.encode([[row.observation.system, row.observation.external_id]]).decode() for row, *_ in rows]
    winners, losers = [winner for _, winner, _, _ in rows], [loser for _, _, loser, _ in rows]
    evidence = [f"same {handle}" for *_, handle in rows]
    await tx.connection.execute(
        _LINK, (record_type.name, tx.scope.actor, tx.scope.now, ids, winners, losers, refs, evidence)
    )
