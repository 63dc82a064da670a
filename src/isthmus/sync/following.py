"""Taking in a page: its records, its deletions, and merges that were made in the system.

Two records that became one there become one here. The id that went away keeps leading to the record that it became part
of; nothing is deleted.
"""

from collections.abc import Iterable, Sequence
from typing import LiteralString
from uuid import UUID

import msgspec

from isthmus.store.database import Transaction
from isthmus.store.fold import fold
from isthmus.store.observation import Observation
from isthmus.store.trail import claims_of
from isthmus.sync.connector import Connector, Feed, Raw
from isthmus.sync.ingest import Interval, Store
from isthmus.sync.landing import Landed, land_observations, observe, tombstones
from isthmus.sync.ledger import adopt
from isthmus.sync.merges import merge_in
from isthmus.sync.strangers import without_known

_KNOWN: LiteralString = """
select type, external_id, record_id from ref
where workspace = current_workspace() and type = any(%s) and system = %s and external_id = any(%s) and not deleted
"""
_AWAY: LiteralString = """
update ref set deleted = true
where workspace = current_workspace() and type = %s and system = %s and external_id = %s
"""

_MOOT: LiteralString = """
update rejected set settled_at = %s
where workspace = current_workspace() and type = any(%s) and system = %s and external_id = any(%s)
  and settled_at is null
"""


def merged(rows: Iterable[Raw]) -> dict[str, str]:
    """Return which ids went away and which record each became part of, through merges of merges."""
    into = {raw.external_id: raw.merged_into for raw in rows if raw.deleted and raw.merged_into}
    found: dict[str, str] = {}
    for external_id, first in into.items():
        target, seen = first, {external_id}
        while target in into and target not in seen:
            seen.add(target)
            target = into[target]
        if target != external_id:
            found[external_id] = target
    return found


async def take(
    tx: Transaction,
    store: Store,
    connector: Connector,
    feed: Feed,
    *,
    connection_id: UUID,
    system: str,
    rows: Sequence[Raw],
    interval: Interval,
) -> tuple[Landed, int]:
    """Map rows of one feed and put them, with their deletions and merges; returns what it did and the deletions."""
    rows = await without_known(tx, store, feed, system=system, rows=rows)
    observations, rejects = observe(store, connector, feed, system=system, rows=rows)
    observations += await _agreeing(tx, store, feed, system=system, rows=rows, observations=observations)
    ended = [raw for raw in rows if raw.deleted and not raw.merged_into]
    gone = await tombstones(tx, feed, system=system, rows=ended)
    if ended:
        # What is no longer there has nothing that could be mended, whether it was ever stored or not.
        ids = [raw.external_id for raw in ended]
        await tx.connection.execute(_MOOT, (tx.scope.now, list(feed.types), system, ids))
    landed = await land_observations(
        tx,
        store,
        connection_id=connection_id,
        system=system,
        observations=observations + gone,
        rejects=rejects,
        interval=interval,
        together=connector.together,
    )
    await follow(tx, store, feed, system=system, rows=rows)
    return landed, len(gone)


async def _agreeing(
    tx: Transaction, store: Store, feed: Feed, *, system: str, rows: Sequence[Raw], observations: Sequence[Observation]
) -> list[Observation]:
    """Return the words of survivors for the known ids that became part of them: what differed was settled there."""
    into = merged(rows)
    if not into:
        return []
    known = await _known(tx, feed.types, system=system, ids={*into, *into.values()})
    fresh = {(each.type, each.external_id): each for each in observations}
    found: list[Observation] = []
    for external_id, target in into.items():
        for name in feed.types:
            if (name, external_id) not in known:
                continue
            word = fresh.get((name, target))
            if word is None and (name, target) in known:
                word = await _last_word(tx, store, name, known[name, target], system=system, external_id=target)
            if word is not None:
                found.append(msgspec.structs.replace(word, external_id=external_id, payload=None, version=None))
    return found


async def _last_word(
    tx: Transaction, store: Store, name: str, record: UUID, *, system: str, external_id: str
) -> Observation | None:
    """Return what a system said last under an id, but for what points to other records."""
    record_type = store.schema[name]
    trails = await claims_of(tx, store.vault, [record])
    said = fold(record_type, trails[record]).shadows.get((system, external_id), {})
    fields = {each.name: said[each.name] for each in record_type.fields if each.name in said and each.to is None}
    return Observation(type=name, system=system, external_id=external_id, fields=fields) if fields else None


async def follow(tx: Transaction, store: Store, feed: Feed, *, system: str, rows: Sequence[Raw]) -> None:
    """Merge the records of ids that became one in their system; the rest of the page has been put before."""
    into = merged(rows)
    if not into:
        return
    known = await _known(tx, feed.types, system=system, ids={*into, *into.values()})
    for external_id, target in into.items():
        for name in feed.types:
            loser, winner = known.get((name, external_id)), known.get((name, target))
            if loser is None:
                continue
            if winner is None:
                # The survivor was never heard of here: it is the record that we know by the other id.
                await adopt(tx, record_type=store.schema[name], system=system, external_id=target, record_id=loser)
                known[name, target] = loser
            elif winner != loser:
                evidence = f"merged in {system}"
                await merge_in(tx, store, name, winner=winner, loser=loser, evidence=evidence)
                known.update({key: winner for key, record in known.items() if record == loser})
            await tx.connection.execute(_AWAY, (name, system, external_id))


async def _known(tx: Transaction, types: Sequence[str], *, system: str, ids: set[str]) -> dict[tuple[str, str], UUID]:
    cursor = await tx.connection.execute(_KNOWN, (list(types), system, sorted(ids)))
    return {(name, external_id): record for name, external_id, record in await cursor.fetchall()}
