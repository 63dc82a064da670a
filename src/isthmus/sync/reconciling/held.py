"""What isthmus holds of a system, and what the system says now, as two sides.

A row is an external id with the digest of the system's last word on it. The digests of buckets are kept by the tables
themselves (see the migration that makes `ref_digest`), in the transactions that write them.
"""

from collections.abc import Mapping, Sequence
from typing import LiteralString

from isthmus.store.database import Transaction
from isthmus.sync.reconciling.digest import Buckets, Digest, coarser, gathered
from isthmus.sync.reconciling.shape import Row, portable_hash
from isthmus.sync.reconciling.sides import Sums

WORDS = "words"
PLACE_BITS = 63
KEPT_BITS = 50
"""8,192 buckets of the 63 bits of an external id's place."""
_PLACE_MASK = (1 << PLACE_BITS) - 1
_READ: LiteralString = """
select bucket, sum(count)::bigint, sum(total), bit_xor(mixed) from (
    select bucket, count, total, mixed from ref_digest
    where workspace = current_workspace() and type = %(type)s and system = %(system)s
    union all
    select bucket, sign, sign * hash::numeric, hash from ref_delta, unnest(buckets, hashes) as each(bucket, hash)
    where workspace = current_workspace() and type = %(type)s and system = %(system)s
) as every group by bucket
"""
_HASHES: LiteralString = """
select external_id, ref_hash(external_id, digest) from ref
where workspace = current_workspace() and type = %(type)s and system = %(system)s and digest is not null
  and not deleted and (ref_bucket(external_id) >> %(above)s) = any(%(numbers)s)
"""
_ALONE: LiteralString = "select pg_advisory_xact_lock(hashtext('isthmus.ref_digest'), current_workspace())"
_FOLD: LiteralString = """
with taken as (
    delete from ref_delta where workspace = current_workspace() returning *
), gathered as (
    select type, system, bucket, sum(sign)::bigint as count, sum(sign * hash::numeric) as total, bit_xor(hash) as mixed
    from taken, unnest(buckets, hashes) as each(bucket, hash) group by type, system, bucket
)
insert into ref_digest as d (workspace, type, system, bucket, count, total, mixed)
select current_workspace(), type, system, bucket, count, total, mixed from gathered
on conflict (workspace, type, system, bucket) do update
set count = d.count + excluded.count, total = d.total + excluded.total, mixed = d.mixed # excluded.mixed
"""
# One statement and so one snapshot: what others append meanwhile stays, and counts on top of what is computed.
_REBUILD: LiteralString = """
with fresh as materialized (
    select type, system, bucket, count(*) as count, sum(hash) as total, bit_xor(hash) as mixed from (
        select type, system, ref_bucket(external_id) as bucket, ref_hash(external_id, digest) as hash
        from ref where workspace = current_workspace() and digest is not null and not deleted offset 0
    ) as hashed group by type, system, bucket
), taken as (
    delete from ref_delta where workspace = current_workspace()
), stale as (
    delete from ref_digest d where workspace = current_workspace()
       and not exists (select from fresh f where (f.type, f.system, f.bucket) = (d.type, d.system, d.bucket))
)
insert into ref_digest as d (workspace, type, system, bucket, count, total, mixed)
select current_workspace(), type, system, bucket, count, total, mixed from fresh
on conflict (workspace, type, system, bucket) do update
set count = excluded.count, total = excluded.total, mixed = excluded.mixed
"""


async def fold(tx: Transaction) -> None:
    """Gather what writers of the workspace appended to the kept digests; writers do not wait for it."""
    await tx.connection.execute(_ALONE)
    await tx.connection.execute(_FOLD)


async def rebuild(tx: Transaction) -> None:
    """Compute the kept digests of the workspace anew; writers do not wait for it."""
    await tx.connection.execute(_ALONE)
    await tx.connection.execute(_REBUILD)


class HeldSide:
    """What is held of one record type of a system, living ones only; it tells keys and hashes, and no fields."""

    kept_bits: int | None = KEPT_BITS

    def __init__(self, tx: Transaction, *, type_name: str, system: str) -> None:
        """Read in a transaction."""
        self.name = "isthmus"
        self._tx = tx
        self._given = {"type": type_name, "system": system}

    async def families(self) -> Sequence[str]:
        return (WORDS,)

    async def extent(self, family: str) -> tuple[int, int] | None:
        del family
        return 0, _PLACE_MASK

    async def digests(self, family: str, *, bits: int, within: Buckets | None = None) -> dict[int, Digest]:
        """Return the kept digests; narrower buckets are computed."""
        if within is not None or bits < KEPT_BITS:
            everything = Buckets(PLACE_BITS, (0,))
            hashes = await self.hashes(family, within or everything)
            return gathered(((_place(key), own) for key, own in hashes), bits=bits)
        cursor = await self._tx.connection.execute(_READ, self._given)
        rows = await cursor.fetchall()
        own = {number: Digest(count, int(total), mixed) for number, count, total, mixed in rows}
        return coarser({number: each for number, each in own.items() if each != Digest()}, by=bits - KEPT_BITS)

    async def hashes(self, family: str, within: Buckets) -> list[tuple[str, int]]:
        del family
        level = max(within.bits, KEPT_BITS)
        numbers = sorted({number >> (level - within.bits) for number in within.numbers})
        given = {**self._given, "above": level - KEPT_BITS, "numbers": numbers}
        cursor = await self._tx.connection.execute(_HASHES, given)
        wanted = frozenset(within.numbers)
        return [(key, own) for key, own in await cursor.fetchall() if _place(key) >> within.bits in wanted]

    async def rows(self, keys: Sequence[str]) -> list[Row]:
        """Return the keys that are there; `sync.reconciling.systems` compares their fields."""
        rows = await self.hashes(WORDS, Buckets(0, tuple(_place(key) for key in keys)))
        return [Row(key, ()) for key, _ in rows]

    async def sums(self) -> Sums:
        """Return nothing: a word is not told apart here."""
        return {}


class SpokenSide:
    """What a system says now: the digest of its word, as a put keeps it, by external id."""

    kept_bits: int | None = None

    def __init__(self, name: str, words: Mapping[str, bytes]) -> None:
        """Compare words."""
        self.name = name
        self._hashes = {key: word_hash(key, digest) for key, digest in words.items()}

    async def families(self) -> Sequence[str]:
        return (WORDS,)

    async def extent(self, family: str) -> tuple[int, int] | None:
        del family
        return (0, _PLACE_MASK) if self._hashes else None

    async def digests(self, family: str, *, bits: int, within: Buckets | None = None) -> dict[int, Digest]:
        hashes = self._hashes.items() if within is None else await self.hashes(family, within)
        return gathered(((_place(key), own) for key, own in hashes), bits=bits)

    async def hashes(self, family: str, within: Buckets) -> list[tuple[str, int]]:
        del family
        wanted = frozenset(within.numbers)
        return [(key, own) for key, own in self._hashes.items() if _place(key) >> within.bits in wanted]

    async def rows(self, keys: Sequence[str]) -> list[Row]:
        return [Row(key, ()) for key in keys if key in self._hashes]

    async def sums(self) -> Sums:
        """Return nothing, as what is held."""
        return {}


def word_hash(external_id: str, digest: bytes) -> int:
    """Return the hash of a word, as `ref_hash` of the migration does."""
    return portable_hash(f"{external_id} {digest.hex()}".encode())


def _place(external_id: str) -> int:
    return portable_hash(external_id.encode()) & _PLACE_MASK
