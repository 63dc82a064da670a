"""One record and its likely matches: looked up by keyed digests of block keys, compared by what was learned.

A key is eight bytes of keyed BLAKE2b over the record type and the block key, so the table tells nobody's name. Keys of
what a record said before stay until the next run; they bring a candidate more, which is compared by what it says now.
"""

import zlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import LiteralString
from uuid import UUID

import msgspec

from isthmus.kernel.clock import milliseconds
from isthmus.kernel.ids import ENTROPY_BYTES, mint
from isthmus.matching.probable.one import Learned, Probe
from isthmus.matching.probable.traits import Plan
from isthmus.store.database import Transaction
from isthmus.vault import Vault, entropy
from isthmus.vault.index import keyed_digests

PURPOSE = "matching keys"
BLOCK_ROWS_MAX = 60
NEAR_MAX = 300
_STAGE: LiteralString = "create temp table match_stage (key bigint, record_id uuid) on commit drop"
_COPY: LiteralString = "copy match_stage (key, record_id) from stdin (format binary)"
_INSERT: LiteralString = """
insert into match_key (workspace, kind, key, record_id)
select current_workspace(), hashtext(%s), key, record_id from match_stage
order by key on conflict do nothing
"""
_DELETE: LiteralString = """
delete from match_key k where workspace = current_workspace() and kind = hashtext(%s)
and not exists (select from match_stage s where s.key = k.key and s.record_id = k.record_id)
"""
_NEAR: LiteralString = """
select wanted.key, near.record_id from unnest(%s::bigint[]) as wanted(key) cross join lateral (
    select record_id from match_key where workspace = (select current_workspace()) and key = wanted.key
    order by record_id limit %s
) as near
"""
_KEEP: LiteralString = """
insert into match_model (workspace, type, subject, sealed, learned_at) values (current_workspace(), %s, %s, %s, %s)
on conflict (workspace, type) do update
set sealed = excluded.sealed, learned_at = excluded.learned_at
"""


def digests(vault: Vault, workspace: int, type_name: str, keys: Iterable[str]) -> list[int]:
    """Return the digests of block keys of records of a type."""
    own = vault.workspace(workspace).derived(PURPOSE)
    made = keyed_digests((f"{type_name}|{each}".encode() for each in keys), key=own)
    return [int.from_bytes(each[:8], "big", signed=True) for each in made]


async def index_all(tx: Transaction, type_name: str, keys: Iterable[tuple[int, UUID]]) -> None:
    """Let the keys of the records of a type be these, and no others."""
    await tx.connection.execute(_STAGE)
    async with tx.connection.cursor().copy(_COPY) as copy:
        copy.set_types(["int8", "uuid"])
        for each in keys:
            await copy.write_row(each)
    await tx.connection.execute("create index on match_stage (key, record_id)")
    await tx.connection.execute("analyze match_stage")
    await tx.connection.execute(_DELETE, (type_name,))
    await tx.connection.execute(_INSERT, (type_name,))


async def index_some(tx: Transaction, type_name: str, keys: Mapping[UUID, Sequence[int]]) -> None:
    """Add the keys of some records."""
    pairs = [(each, record) for record, own in keys.items() for each in own]
    await tx.connection.execute(
        "insert into match_key (workspace, kind, key, record_id) select current_workspace(), hashtext(%s), key, record"
        " from unnest(%s::bigint[], %s::uuid[]) as given(key, record) order by key on conflict do nothing",
        (type_name, [each for each, _ in pairs], [record for _, record in pairs]),
    )


async def near_some(tx: Transaction, keys: Mapping[UUID, Sequence[int]]) -> dict[UUID, list[UUID]]:
    """Return for each of some records those that share a key with it, those that share most first.

    A key that more than `BLOCK_ROWS_MAX` records have says too little and is passed over.
    """
    held = await _having(tx, sorted({each for own in keys.values() for each in own}))
    return {record: [each for each in _nearest(held, own) if each != record] for record, own in keys.items()}


async def _having(tx: Transaction, keys: Sequence[int]) -> dict[int, list[UUID]]:
    """Return the records that have each key."""
    cursor = await tx.connection.execute(_NEAR, (list(keys), BLOCK_ROWS_MAX + 1))
    held: dict[int, list[UUID]] = {}
    for key, record in await cursor.fetchall():
        held.setdefault(key, []).append(record)
    return held


def _nearest(held: Mapping[int, Sequence[UUID]], keys: Sequence[int]) -> list[UUID]:
    shared: dict[UUID, int] = {}
    for key in keys:
        records = held.get(key, ())
        if len(records) <= BLOCK_ROWS_MAX:
            for record in records:
                shared[record] = shared.get(record, 0) + 1
    return sorted(shared, key=lambda each: (-shared[each], each))[:NEAR_MAX]


async def keep_learned(tx: Transaction, vault: Vault, type_name: str, learned: Learned) -> None:
    """Keep what a run learned, sealed."""
    workspace, now = tx.scope.workspace, tx.scope.now
    before = await _held(tx, type_name)
    subject = mint(unix_ms=milliseconds(now), entropy=entropy(ENTROPY_BYTES)) if before is None else before[0]
    vault.ensure(workspace=workspace, subjects=[subject])
    packed = zlib.compress(msgspec.msgpack.encode(learned))
    (sealed,) = vault.seal_many(workspace=workspace, values=[(subject, packed)])
    await tx.connection.execute(_KEEP, (type_name, subject, sealed, now))


async def learned_of(tx: Transaction, vault: Vault, type_name: str) -> Learned | None:
    """Return what the last run learned of a type, or None before the first."""
    held = await _held(tx, type_name)
    if held is None:
        return None
    (packed,) = vault.open_many(workspace=tx.scope.workspace, values=[held])
    return None if packed is None else msgspec.msgpack.decode(zlib.decompress(packed), type=Learned)


async def looked_to(tx: Transaction, type_name: str) -> datetime | None:
    """Return up to when new records of a type were looked at, at the latest when all were; None before the first run.

    What was learned counts from then.
    """
    query = (
        "select greatest(looked_to, learned_at) from match_model where workspace = current_workspace() and type = %s"
    )
    row = await (await tx.connection.execute(query, (type_name,))).fetchone()
    return None if row is None else row[0]


async def keep_looked_to(tx: Transaction, type_name: str, at: datetime) -> None:
    """Say up to when new records of a type were looked at."""
    query = "update match_model set looked_to = %s where workspace = current_workspace() and type = %s"
    await tx.connection.execute(query, (at, type_name))


async def _held(tx: Transaction, type_name: str) -> tuple[UUID, bytes] | None:
    query = "select subject, sealed from match_model where workspace = current_workspace() and type = %s"
    row = await (await tx.connection.execute(query, (type_name,))).fetchone()
    return None if row is None else (row[0], bytes(row[1]))


class Probes:
    """Probes at hand by workspace and type, as long as what was learned stands."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._held: dict[tuple[int, str], tuple[object, Probe]] = {}

    async def of(self, tx: Transaction, vault: Vault, type_name: str) -> Probe | None:
        """Return the probe of a type, or None before its first run."""
        place = (tx.scope.workspace, type_name)
        query = "select learned_at from match_model where workspace = current_workspace() and type = %s"
        row = await (await tx.connection.execute(query, (type_name,))).fetchone()
        if row is None:
            return None
        known = self._held.get(place)
        if known is not None and known[0] == row[0]:
            return known[1]
        learned = await learned_of(tx, vault, type_name)
        if learned is None:
            return None
        self._held[place] = (row[0], Probe(self._plan, learned))
        return self._held[place][1]
