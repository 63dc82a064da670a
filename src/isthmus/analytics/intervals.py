"""Bootstrap intervals over outcomes: what chance in the sample alone would do to a figure.

They cover sampling noise and nothing else: a rule that credits the wrong bucket does so with a narrow interval too.
The generator is an argument, so that the same seed gives the same interval.
"""

from dataclasses import dataclass

import numpy as np

from isthmus.analytics._arrow import F64, I64
from isthmus.kernel.errors import Invalid

ROUNDS, ROUNDS_MAX = 1000, 100_000
LEVEL = 0.95
_BATCH_CELLS = 4_000_000


class InvalidFigure(Invalid):
    """An amount, count or level is not one that such a figure can be made of."""

    code, title = "invalid-figure", "The figure cannot be computed from this"


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A percentile bootstrap interval."""

    low: float
    high: float
    level: float
    rounds: int


def bootstrap_total(
    *, values: F64, generator: np.random.Generator, rounds: int = ROUNDS, level: float = LEVEL
) -> Interval:
    """Return the interval of the sum of `values` float64[n], one per outcome, when outcomes are drawn anew.

    Raises:
        InvalidFigure: there are no outcomes, a value is not finite, or rounds or level make no sense.
    """
    if not values.size or not np.all(np.isfinite(values)):
        raise InvalidFigure("An interval needs at least one outcome, and finite values.", fix="Widen the period.")
    _check(rounds=rounds, level=level)
    batch = max(1, _BATCH_CELLS // values.size)
    sums = np.empty(rounds, dtype=np.float64)
    for begin in range(0, rounds, batch):
        size = min(batch, rounds - begin)
        sums[begin : begin + size] = values[generator.integers(values.size, size=(size, values.size))].sum(axis=1)
    low, high = np.quantile(sums, ((1 - level) / 2, (1 + level) / 2))
    return Interval(low=float(low), high=float(high), level=level, rounds=rounds)


def bootstrap_shares(
    *,
    outcome: I64,
    bucket: I64,
    amount: F64,
    buckets: int,
    generator: np.random.Generator,
    rounds: int = ROUNDS,
    level: float = LEVEL,
) -> tuple[Interval, ...]:
    """Return the interval of each bucket's share of the total when outcomes are drawn anew.

    `outcome`, `bucket` int64[m], `amount` float64[m]: credit rows, outcomes numbered from zero without gaps. One
    interval per bucket. Draws whose total is zero say nothing about shares and are left out.

    Raises:
        InvalidFigure: no row carries an amount, or rounds or level make no sense.
    """
    _check(rounds=rounds, level=level)
    pair, place = np.unique(outcome * buckets + bucket, return_inverse=True)
    summed = np.bincount(place, weights=amount, minlength=pair.size)
    if not np.any(summed):
        raise InvalidFigure("There is no credit to make an interval of.", fix="Widen the period.")
    owner, owned = pair // buckets, pair % buckets
    size = int(owner.max()) + 1
    drawn = np.empty((rounds, buckets), dtype=np.float64)
    for k in range(rounds):
        times = np.bincount(generator.integers(size, size=size), minlength=size)
        drawn[k] = np.bincount(owned, weights=summed * times[owner], minlength=buckets)
    totals = drawn.sum(axis=1, keepdims=True)
    usable = totals[:, 0] != 0
    shares = drawn[usable] / totals[usable]
    low, high = np.quantile(shares, ((1 - level) / 2, (1 + level) / 2), axis=0)
    return tuple(
        Interval(low=float(below), high=float(above), level=level, rounds=rounds)
        for below, above in zip(low, high, strict=True)
    )


def _check(*, rounds: int, level: float) -> None:
    if not 1 <= rounds <= ROUNDS_MAX or not 0 < level < 1:
        raise InvalidFigure(f"{rounds} rounds at level {level} make no interval.", fix="Try 1000 rounds at 0.95.")
