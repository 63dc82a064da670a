"""The comparison: digests of buckets first, and further down only where these differ."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from isthmus.kernel.errors import Invalid
from isthmus.sync.reconciling.digest import EMPTY, Buckets, unlike
from isthmus.sync.reconciling.shape import Kind, Row, Shape, canonical
from isthmus.sync.reconciling.sides import Side, Sums

BUCKET_BITS = 13
"""All places are cut into about that power of two of buckets."""
NARROWED_BITS = 6
ROWS_AT_ONCE = 20_000
FOUND_MAX = 10_000
KEYS_AT_ONCE = 1_000


class DifferenceKind(StrEnum):
    """How the sides differ: what `one` has and `other` has not is missing, the reverse is extra.

    A key that stands a different number of times is a duplicate. A row that changed after the watermark is late, and
    nothing else. An aggregate is a sum of money of a currency in a month.
    """

    MISSING = "missing"
    EXTRA = "extra"
    FIELD = "field"
    DUPLICATE = "duplicate"
    LATE = "late"
    AGGREGATE = "aggregate"


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One difference. Of a field it has both values; of a duplicate how often the key stands on each side.

    Of an aggregate the key is the currency and the month, and the values are the sums. `at_stake` is the money that
    the sides differ by, as (amount, currency), where the shape has money.
    """

    kind: DifferenceKind
    key: str
    field: str | None = None
    one: str | None = None
    other: str | None = None
    at_stake: tuple[Decimal, str] | None = None


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a comparison found. `unvisited` counts buckets that differ and were not looked into, over the limit."""

    rows_one: int
    rows_other: int
    differences: tuple[Difference, ...]
    unvisited: int = 0

    @property
    def agree(self) -> bool:
        """Tell whether the sides hold the same."""
        return not self.differences and not self.unvisited


@dataclass(frozen=True, kw_only=True)
class UnlikeRows:
    """Keys of rows that are not the same on both sides, of how many rows; `unvisited` as in Found."""

    keys: tuple[str, ...]
    rows_one: int
    rows_other: int
    unvisited: int


class NoCommonHash(Invalid):
    """The sides cannot hash in the same way."""

    code, title = "no-common-hash", "The sides cannot be compared"


async def compare(
    one: Side, other: Side, *, shape: Shape, watermark: datetime | None = None, found_max: int = FOUND_MAX
) -> Found:
    """Compare two sides; `watermark` is the moment up to which both should be complete.

    About `found_max` differing rows are named at most. Raises NoCommonHash, and what the sides raise.
    """
    unlike_rows = await differing_keys(one, other, found_max=found_max)
    keys = unlike_rows.keys
    differences: list[Difference] = []
    for start in range(0, len(keys), KEYS_AT_ONCE):
        some = keys[start : start + KEYS_AT_ONCE]
        differences += _judged(shape, *await asyncio.gather(one.rows(some), other.rows(some)), watermark=watermark)
    return Found(
        rows_one=unlike_rows.rows_one,
        rows_other=unlike_rows.rows_other,
        differences=tuple(differences),
        unvisited=unlike_rows.unvisited,
    )


async def differing_keys(one: Side, other: Side, *, found_max: int = FOUND_MAX) -> UnlikeRows:
    """Return the keys of rows that are not the same on both sides. Raises NoCommonHash, and what the sides raise."""
    family = await _common_family(one, other)
    bits = await _first_bits(one, other, family)
    in_one, in_other = await asyncio.gather(one.digests(family, bits=bits), other.digests(family, bits=bits))
    differing = unlike(in_one, in_other)
    visited = differing[:found_max]
    rows = sum(max(in_one.get(each, EMPTY).count, in_other.get(each, EMPTY).count) for each in visited)
    buckets = await _narrowed(one, other, family, Buckets(bits, tuple(visited)), rows, found_max)
    return UnlikeRows(
        keys=tuple(await _unlike_keys(one, other, family, buckets)),
        rows_one=sum(each.count for each in in_one.values()),
        rows_other=sum(each.count for each in in_other.values()),
        unvisited=len(differing) - len(visited),
    )


async def compare_sums(one: Side, other: Side) -> list[Difference]:
    """Return the sums of money that differ, by currency and month; there is no tolerance."""
    first, second = await asyncio.gather(one.sums(), other.sums())
    return differing_sums(first, second)


def differing_sums(one: Sums, other: Sums) -> list[Difference]:
    """Return a difference for each currency and month whose sums differ, in order; a sum that is absent is zero."""
    found: list[Difference] = []
    for own in sorted(one.keys() | other.keys()):
        first, second = one.get(own, Decimal(0)), other.get(own, Decimal(0))
        if first != second:
            found.append(
                Difference(
                    kind=DifferenceKind.AGGREGATE,
                    key=" ".join(own),
                    one=str(first),
                    other=str(second),
                    at_stake=(abs(first - second), own[0]),
                )
            )
    return found


async def _common_family(one: Side, other: Side) -> str:
    theirs = frozenset(await other.families())
    for family in await one.families():
        if family in theirs:
            return family
    raise NoCommonHash(f"{one.name} and {other.name} cannot hash in the same way.", fix="Compare by reading the rows.")


async def _first_bits(one: Side, other: Side, family: str) -> int:
    """Return the width of the first buckets: what a side keeps, or what cuts the places into some thousands."""
    kept = [side.kept_bits for side in (one, other) if side.kept_bits is not None]
    if kept:
        return max(kept)
    extents = [each for each in await asyncio.gather(one.extent(family), other.extent(family)) if each]
    if not extents:
        return 0
    width = max(last for _, last in extents) - min(first for first, _ in extents)
    return max(0, width.bit_length() - BUCKET_BITS)


async def _narrowed(one: Side, other: Side, family: str, buckets: Buckets, rows: int, found_max: int) -> Buckets:
    """Return smaller buckets that differ, until they hold few rows or cannot be cut further."""
    while buckets.bits > 0 and rows > ROWS_AT_ONCE:
        bits = max(0, buckets.bits - NARROWED_BITS)
        in_one, in_other = await asyncio.gather(
            one.digests(family, bits=bits, within=buckets), other.digests(family, bits=bits, within=buckets)
        )
        differing = unlike(in_one, in_other)[:found_max]
        rows = sum(max(in_one.get(each, EMPTY).count, in_other.get(each, EMPTY).count) for each in differing)
        buckets = Buckets(bits, tuple(differing))
    return buckets


async def _unlike_keys(one: Side, other: Side, family: str, buckets: Buckets) -> list[str]:
    if not buckets.numbers:
        return []
    first, second = map(Counter, await asyncio.gather(one.hashes(family, buckets), other.hashes(family, buckets)))
    return sorted({key for key, _ in (first - second)} | {key for key, _ in (second - first)})


def _judged(
    shape: Shape, one: Sequence[Row], other: Sequence[Row], *, watermark: datetime | None
) -> Iterator[Difference]:
    """Yield the differences of rows; a row that has become equal while it was looked for is none."""
    pairs: dict[str, tuple[list[Row], list[Row]]] = defaultdict(lambda: ([], []))
    for row in one:
        pairs[row.key][0].append(row)
    for row in other:
        pairs[row.key][1].append(row)
    mark = canonical(watermark, Kind.MOMENT)
    for key in sorted(pairs):
        ones, others = pairs[key]
        found = list(_of_key(shape, key, ones, others))
        if found and mark is not None and _newest(ones, others) > mark:
            at_stake = next((each.at_stake for each in found if each.at_stake), None)
            yield Difference(kind=DifferenceKind.LATE, key=key, at_stake=at_stake)
        else:
            yield from found


def _newest(ones: Iterable[Row], others: Iterable[Row]) -> str:
    return max((row.changed_at or "" for row in (*ones, *others)), default="")


def _of_key(shape: Shape, key: str, ones: list[Row], others: list[Row]) -> Iterator[Difference]:
    """Yield what differs between the rows of one key, which are usually one on each side."""
    if not ones or not others:
        kind = DifferenceKind.EXTRA if not ones else DifferenceKind.MISSING
        yield Difference(kind=kind, key=key, at_stake=_money(shape, (ones or others)[0].values))
        return
    if len(ones) != len(others):
        at_stake = _money(shape, ones[0].values)
        yield Difference(
            kind=DifferenceKind.DUPLICATE, key=key, one=str(len(ones)), other=str(len(others)), at_stake=at_stake
        )
    first, second = Counter(row.values for row in ones), Counter(row.values for row in others)
    rest = zip(_in_order(first - second), _in_order(second - first), strict=False)
    for values, against in rest:
        yield from _fields(shape, key, values, against)


def _in_order(rows: Counter[tuple[str | None, ...]]) -> list[tuple[str | None, ...]]:
    return sorted(rows.elements(), key=lambda values: [(each is not None, each or "") for each in values])


def _fields(
    shape: Shape, key: str, ones: tuple[str | None, ...], others: tuple[str | None, ...]
) -> Iterator[Difference]:
    for field, value, against in zip(shape.fields, ones, others, strict=True):
        if value != against:
            money = shape.money is not None and field.name == shape.money.amount
            yield Difference(
                kind=DifferenceKind.FIELD,
                key=key,
                field=field.name,
                one=value,
                other=against,
                at_stake=_apart(shape, ones, others) if money else None,
            )


def _money(shape: Shape, values: tuple[str | None, ...]) -> tuple[Decimal, str] | None:
    if shape.money is None:
        return None
    amount, currency = values[shape.position(shape.money.amount)], values[shape.position(shape.money.currency)]
    return None if amount is None or currency is None else (Decimal(amount), currency)


def _apart(shape: Shape, ones: tuple[str | None, ...], others: tuple[str | None, ...]) -> tuple[Decimal, str] | None:
    """Return by how much two amounts of one currency differ; of two currencies nothing can be said."""
    first, second = _money(shape, ones), _money(shape, others)
    if first is None or second is None:
        return first or second
    return (abs(first[0] - second[0]), first[1]) if first[1] == second[1] else None
