"""What can be compared: a side tells digests, hashes of rows, and rows; and the side that is read row by row."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Protocol

from isthmus.sync.reconciling.digest import Buckets, Digest, gathered
from isthmus.sync.reconciling.shape import Row, Shape, canonical, place_of, portable_hash, row_of, row_text

PORTABLE = "md5"
FETCHED_ROWS = 5_000
Sums = dict[tuple[str, str], Decimal]
"""Exact sums of money by (currency, month as `2026-11`), of rows that have amount, currency and moment."""


class Side(Protocol):
    """One of two places that should hold the same rows."""

    name: str

    @property
    def kept_bits(self) -> int | None:
        """The width of the buckets whose digests it keeps; None when it has to read its rows for any."""
        ...

    async def families(self) -> Sequence[str]:
        """Return the ways in which it can hash, the fastest first; both sides must use the same."""
        ...

    async def extent(self, family: str) -> tuple[int, int] | None:
        """Return the least and the greatest place of a key; None when there are no rows."""
        ...

    async def digests(self, family: str, *, bits: int, within: Buckets | None = None) -> dict[int, Digest]:
        """Return digests of buckets of 2^bits places, of all or within some wider ones."""
        ...

    async def hashes(self, family: str, within: Buckets) -> list[tuple[str, int]]:
        """Return key and hash of every row in some buckets."""
        ...

    async def rows(self, keys: Sequence[str]) -> list[Row]:
        """Return the rows of some keys."""
        ...

    async def sums(self) -> Sums:
        """Return the money of all rows."""
        ...


class ScannedSide:
    """A side whose rows are read one after the other: from a connector, a file, or any DB-API source.

    `scan` begins anew at each call and is run in a thread; nothing but the rows of keys that differ is held.
    """

    kept_bits: int | None = None

    def __init__(self, name: str, shape: Shape, scan: Callable[[], Iterable[Row]]) -> None:
        """Compare what `scan` yields."""
        self.name = name
        self._shape = shape
        self._scan = scan

    async def families(self) -> Sequence[str]:
        return (PORTABLE,)

    async def extent(self, family: str) -> tuple[int, int] | None:
        del family
        if not self._shape.by_number:
            return 0, (1 << 63) - 1
        return await asyncio.to_thread(self._extent)

    def _extent(self) -> tuple[int, int] | None:
        least: int | None = None
        greatest = 0
        for row in self._scan():
            place = int(row.key)
            least, greatest = (place, place) if least is None else (min(least, place), max(greatest, place))
        return None if least is None else (least, greatest)

    async def digests(self, family: str, *, bits: int, within: Buckets | None = None) -> dict[int, Digest]:
        del family
        return await asyncio.to_thread(lambda: gathered(self._hashed(within), bits=bits))

    def _hashed(self, within: Buckets | None) -> Iterator[tuple[int, int]]:
        for row in self._inside(within):
            yield place_of(self._shape, row.key), portable_hash(row_text(row))

    def _inside(self, within: Buckets | None) -> Iterator[Row]:
        if within is None:
            yield from self._scan()
            return
        numbers = frozenset(within.numbers)
        for row in self._scan():
            if place_of(self._shape, row.key) >> within.bits in numbers:
                yield row

    async def hashes(self, family: str, within: Buckets) -> list[tuple[str, int]]:
        del family
        return await asyncio.to_thread(
            lambda: [(row.key, portable_hash(row_text(row))) for row in self._inside(within)]
        )

    async def rows(self, keys: Sequence[str]) -> list[Row]:
        wanted = frozenset(keys)
        return await asyncio.to_thread(lambda: [row for row in self._scan() if row.key in wanted])

    async def sums(self) -> Sums:
        return await asyncio.to_thread(lambda: summed(self._shape, self._scan()))


def summed(shape: Shape, rows: Iterable[Row]) -> Sums:
    """Return the exact sums of money of rows."""
    found: Sums = {}
    if shape.money is None:
        return found
    amount_at, currency_at, moment_at = map(shape.position, (shape.money.amount, shape.money.currency, shape.money.at))
    for row in rows:
        amount, currency, moment = row.values[amount_at], row.values[currency_at], row.values[moment_at]
        if amount is not None and currency is not None and moment is not None:
            own = (currency, moment[:7])
            found[own] = found.get(own, Decimal(0)) + Decimal(amount)
    return found


class Cursor(Protocol):
    """What we use of a cursor of the DB-API (PEP 249)."""

    def execute(self, operation: str, /) -> object: ...

    def fetchmany(self, size: int, /) -> Sequence[Sequence[object]]: ...

    def close(self) -> object: ...


def dbapi_rows(begin: Callable[[], Cursor], query: str, shape: Shape) -> Callable[[], Iterator[Row]]:
    """Return a scan of a query over any DB-API driver, for ScannedSide.

    The query gives the key, the fields in the order of the shape, and `changed_at` last where the shape has it.
    `begin` opens a cursor, which is closed when its rows are read.
    """

    def scan() -> Iterator[Row]:
        cursor = begin()
        try:
            cursor.execute(query)
            while some := cursor.fetchmany(FETCHED_ROWS):
                for key, *values in some:
                    stamp = values.pop() if shape.changed_at is not None else None
                    yield row_of(shape, key, tuple(values), stamp)
        finally:
            cursor.close()

    return scan


def mapped_row(shape: Shape, values: dict[str, object]) -> Row:
    """Return a row from values by name; a name that is absent has no value. Raises UnknownValue."""
    stamp = values.get(shape.changed_at) if shape.changed_at is not None else None
    told = tuple(values.get(each.name) for each in shape.fields)
    return row_of(shape, canonical(values.get(shape.key.name), shape.key.kind), told, stamp)
