"""Journeys: for each outcome, the steps of its unit inside the window that ends with the decision."""

from dataclasses import dataclass

import numpy as np

from isthmus.analytics import _arrow
from isthmus.analytics._arrow import I64, Bools
from isthmus.analytics.ledger import Ledger, unpacked
from isthmus.analytics.outcomes import Outcomes
from isthmus.analytics.rules import Paths
from isthmus.kernel.errors import Invalid, TooLarge

DAY_US = 86_400_000_000
PAIRS_MAX = 200_000_000
WINDOW_DAYS_MAX = 36_500


class InvalidWindow(Invalid):
    """The window is not a whole number of days that makes sense."""

    code, title = "invalid-window", "The window is not valid"


class TooManyPairs(TooLarge):
    """Outcomes and steps combine to more rows than one question may hold."""

    code, title = "too-many-pairs", "The question is too large"


@dataclass(frozen=True, slots=True, eq=False)
class Journeys:
    """m pairs of outcome and step, in order of outcome, then time.

    `outcome` int64[m] indexes the outcomes, `row` int64[m] the ledger, `counts` int64[n] is the steps per outcome,
    `paths` is what the rules need of the journeys that have steps.
    """

    ledger: Ledger
    outcomes: Outcomes
    outcome: I64
    row: I64
    counts: I64
    paths: Paths
    window_days: int | None

    @property
    def without_steps(self) -> Bools:
        """Which outcomes have no step in their window: their worth is unattributed."""
        return self.counts == 0


def cut(*, ledger: Ledger, outcomes: Outcomes, window_days: int | None) -> Journeys:
    """Cut one journey per outcome: steps with `decided_at - window_days <= at <= decided_at`, both edges included.

    Steps after the decision belong to no journey of that outcome. A unit may have several outcomes; each owns every
    step of its own window, so that one step may serve several outcomes: each outcome still hands out exactly
    its own worth. `window_days` None means the whole past.

    Raises:
        InvalidWindow: the window is below 1 or above 36,500 days.
        TooManyPairs: there would be more than 200 million pairs.
    """
    if window_days is not None and not 1 <= window_days <= WINDOW_DAYS_MAX:
        raise InvalidWindow(f"A window of {window_days} days makes no sense.", fix="Use 1 to 36500 days.")
    unit = _arrow.positions(outcomes.units, among=ledger.units)
    known = unit >= 0
    begin = np.where(known, ledger.starts[unit], 0)
    end = np.where(known, ledger.starts[np.where(known, unit + 1, 0)], 0)
    last = _bisect(ledger.at, begin=begin, end=end, bound=outcomes.decided_at + 1)
    first = begin
    if window_days is not None:
        first = _bisect(ledger.at, begin=begin, end=end, bound=outcomes.decided_at - window_days * DAY_US)
    counts = last - first
    pairs = int(counts.sum())
    if pairs > PAIRS_MAX:
        raise TooManyPairs(f"Outcomes and steps make {pairs} pairs.", fix="Shorten the window or the period.")
    row = np.arange(pairs, dtype=np.int64) + np.repeat(first - (np.cumsum(counts) - counts), counts)
    return Journeys(
        ledger=ledger,
        outcomes=outcomes,
        outcome=np.repeat(np.arange(outcomes.count, dtype=np.int64), counts),
        row=row,
        counts=counts,
        paths=_paths(ledger, row=row, counts=counts[counts > 0]),
        window_days=window_days,
    )


def _paths(ledger: Ledger, *, row: I64, counts: I64) -> Paths:
    direct, mark = unpacked(ledger.flags[row])
    return Paths(starts=(np.cumsum(counts) - counts).astype(np.int64), at=ledger.at[row], direct=direct, mark=mark)


def _bisect(at: I64, *, begin: I64, end: I64, bound: I64) -> I64:
    """Return, for every outcome at once, the first row in [begin, end) that is not before `bound`, or `end`."""
    low, high = begin, end
    while (open_ := low < high).any():
        middle = (low + high) // 2
        before = open_ & (at[np.minimum(middle, at.size - 1)] < bound)
        low = np.where(before, middle + 1, low)
        high = np.where(open_ & ~before, middle, high)
    return low
