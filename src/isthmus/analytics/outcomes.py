"""Outcomes: what was won, when it was decided, and how much it is worth in whole minor units of its currency."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

import numpy as np

from isthmus.analytics import _arrow
from isthmus.analytics._arrow import I64, SCALE, U32, Array, Bools, Table
from isthmus.analytics.cents import MINOR_MAX, AmountTooLarge
from isthmus.analytics.ledger import RepeatedId
from isthmus.kernel.money import minor_digits

_OF = "the table of outcomes"
_TOTAL_MAX = 2.0**62
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, eq=False)
class Outcomes:
    """n won outcomes in byte order of their id.

    `closed_at`, `decided_at` int64[n] are microseconds since 1970 UTC; `minor` int64[n] counts 10^-digits of the
    currency, and is split in multiples of `unit` int64[n]; `currency` int64[n] indexes `currencies` and `digits`, which
    are in byte order.
    """

    ids: Array
    units: Array
    closed_at: I64
    decided_at: I64
    minor: I64
    unit: I64
    currency: I64
    currencies: tuple[str, ...]
    digits: tuple[int, ...]

    @property
    def count(self) -> int:
        """How many were won."""
        return len(self.ids)

    @classmethod
    def of(cls, outcomes: Table, *, as_of: datetime | None = None) -> Self:
        """Keep what was won.

        Columns: `unit`, `at` (close), `value` (decimal or integer, main unit), `currency`; optional: `outcome` (id),
        `committed_at` (nullable), `won` (absent means every row was won).

        Rows that were not won, or closed after `as_of`, are left out; their value may be empty. The decision is at
        `committed_at` where it is given and earlier than the close, else at the close. Without ids the k-th outcome
        of a unit is called `<unit>#<k>`. An amount is split in the ISO 4217 minor unit of its currency, or in the finer
        one (down to 10^-4) that it needs itself, so that no amount is ever rounded here; a currency is counted
        in the finest unit that one of its amounts needs.

        Raises:
            MissingColumn, UnusableColumn: a column is absent, of the wrong type, or empty somewhere.
            RepeatedId: two outcomes share an id.
            AmountTooLarge: an amount is over 2^53 minor units.
        """
        kept = outcomes.filter(_arrow.array(_counted(outcomes, as_of=as_of)))
        code, names = _arrow.encode(_arrow.texts(_arrow.column(kept, name="currency", of=_OF)))
        currencies = tuple(_arrow.strings(names))
        minor, unit, digits = _minor(kept, code=code, currencies=currencies)
        closed = _arrow.microseconds(_arrow.column(kept, name="at", of=_OF), name="at", of=_OF)
        decided = _decided(kept, closed=closed)
        units = _arrow.texts(_arrow.column(kept, name="unit", of=_OF))
        order, ids = _ordered(kept, units=units, by=(minor, code.astype(np.int64), decided, closed))
        return cls(
            ids=ids,
            units=units.take(_arrow.array(order)),
            closed_at=closed[order],
            decided_at=decided[order],
            minor=minor[order],
            unit=unit[order],
            currency=code[order].astype(np.int64),
            currencies=currencies,
            digits=digits,
        )


def _counted(outcomes: Table, *, as_of: datetime | None) -> Bools:
    won = _arrow.truths(outcomes, name="won", of=_OF, default=True)
    if as_of is None:
        return won
    limit = round((as_of - _EPOCH).total_seconds() * 1_000_000)
    closed = _arrow.microseconds(_arrow.column(outcomes, name="at", of=_OF), name="at", of=_OF)
    return won & (closed <= limit)


def _minor(outcomes: Table, *, code: U32, currencies: tuple[str, ...]) -> tuple[I64, I64, tuple[int, ...]]:
    """Return the worth in minor units, the unit in which each is split, and the decimals of each currency."""
    fine = _arrow.ten_thousandths(_arrow.column(outcomes, name="value", of=_OF), name="value", of=_OF)
    needed = np.array([minor_digits(name) for name in currencies], dtype=np.int64)[code]
    for digits in range(SCALE):
        needed = np.where(fine % 10 ** (SCALE - digits) != 0, np.maximum(needed, digits + 1), needed)
    finest = np.zeros(len(currencies), dtype=np.int64)
    np.maximum.at(finest, code, needed)
    minor = fine // 10 ** (SCALE - finest[code])
    if np.any(np.abs(minor) >= MINOR_MAX) or np.abs(minor.astype(np.float64)).sum() >= _TOTAL_MAX:
        raise AmountTooLarge(
            "An outcome is worth 2^53 minor units or more, or all of them 2^62.", fix="Check the unit of `value`."
        )
    return minor, 10 ** (finest[code] - needed), tuple(int(each) for each in finest)


def _ordered(outcomes: Table, *, units: Array, by: tuple[I64, ...]) -> tuple[I64, Array]:
    """Return the order of rows and the ids in that order; `by` decides, last first, where ids are not given."""
    if "outcome" not in outcomes.column_names:
        unit = _arrow.encode(units)[0].astype(np.int64)
        order = np.lexsort((*by, unit)).astype(np.int64)
        return order, _arrow.numbered(units.take(_arrow.array(order)), numbers=_rank(unit[order]))
    ids = _arrow.texts(_arrow.column(outcomes, name="outcome", of=_OF))
    twice = _arrow.repeated(ids)
    if twice is not None:
        raise RepeatedId(f"Outcome id {twice!r} is given more than once.", fix="Give every outcome its own id.")
    order = np.argsort(_arrow.encode(ids)[0]).astype(np.int64)
    return order, ids.take(_arrow.array(order))


def _decided(outcomes: Table, *, closed: I64) -> I64:
    """Return the earlier of commitment and close: nothing after either can have moved the decision."""
    committed = _arrow.optional(outcomes, name="committed_at")
    if committed is None or committed.null_count == len(committed):
        return closed
    filled = _arrow.filled(committed, default=closed, name="committed_at", of=_OF)
    return np.minimum(filled, closed)


def _rank(groups: I64) -> I64:
    """Number the rows of each run of equal values from one."""
    if not groups.size:
        return groups
    first = np.concatenate(([True], groups[1:] != groups[:-1]))
    starts = np.flatnonzero(first)
    return np.arange(groups.size) - np.repeat(starts, np.diff(np.append(starts, groups.size))) + 1
