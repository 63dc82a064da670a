"""Strangers: ids that are only named, by systems that speak of somebody before they know who it is.

A row that only names an id says nothing new once the id is known. A merge of a stranger is made while it still is one:
nothing was said of it, and it is known by no other id. So whoever can name ids cannot make two people one.
"""

from collections.abc import Sequence
from typing import LiteralString
from uuid import UUID

from isthmus.store.database import Transaction
from isthmus.store.fold import fold
from isthmus.store.trail import claims_of
from isthmus.sync.connector import Feed, Raw
from isthmus.sync.ingest import Store

_NAMED: LiteralString = """
select type, external_id, record_id, deleted from ref
where workspace = current_workspace() and type = any(%s) and system = %s and external_id = any(%s)
"""
_ALONE: LiteralString = """
select record_id from ref where workspace = current_workspace() and record_id = any(%s)
group by record_id having count(*) = 1
"""


async def without_known(tx: Transaction, store: Store, feed: Feed, *, system: str, rows: Sequence[Raw]) -> list[Raw]:
    """Return the rows of a feed without those of strangers that are strangers no more."""
    ids = sorted({raw.external_id for raw in rows if raw.stranger})
    if not ids:
        return list(rows)
    cursor = await tx.connection.execute(_NAMED, (list(feed.types), system, ids))
    named = await cursor.fetchall()
    known = {external_id for _, external_id, *_ in named}
    merging = {raw.external_id for raw in rows if raw.stranger and raw.deleted}
    blank = await _blank(tx, store, [row for row in named if row[1] in merging and not row[3]])
    return [raw for raw in rows if not _is_over(raw, known=known, blank=blank)]


def _is_over(raw: Raw, *, known: set[str], blank: set[str]) -> bool:
    return raw.stranger and raw.external_id in known and not (raw.deleted and raw.external_id in blank)


async def _blank(tx: Transaction, store: Store, named: Sequence[tuple[str, str, UUID, bool]]) -> set[str]:
    """Return ids whose records are known by no other id, and of which nothing was said."""
    if not named:
        return set()
    cursor = await tx.connection.execute(_ALONE, ([record for _, _, record, _ in named],))
    alone = {record for (record,) in await cursor.fetchall()}
    trails = await claims_of(tx, store.vault, sorted(alone))
    found: set[str] = set()
    for name, external_id, record, _ in named:
        if record in alone:
            shadows = fold(store.schema[name], trails[record]).shadows.values()
            if not any(value not in (None, [], {}) for said in shadows for value in said.values()):
                found.add(external_id)
    return found
