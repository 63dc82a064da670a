"""Return on investment, payback, cost of acquisition and their sampling intervals. Money is decimal throughout."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal

import numpy as np

from isthmus.analytics._arrow import F64
from isthmus.analytics.intervals import Interval, InvalidFigure, bootstrap_total

_EXACT = Context(prec=50, rounding=ROUND_HALF_EVEN)
_PLACES = Decimal("1e-10")
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A number, or the reason why there is none: exactly one of the two is set."""

    value: Decimal | None
    undefined: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Payback:
    """When investment was earned back: whole days begun since the start, or the reason why not (yet)."""

    days: int | None
    at: datetime | None
    undefined: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatedCredit:
    """Credited revenue and when it was won."""

    at: datetime
    amount: Decimal


def return_on_investment(*, revenue: Decimal, investment: Decimal) -> Figure:
    """(attributed revenue - total investment) / total investment, to ten decimals.

    Both amounts are in one currency; 0.5 means that half as much again came back. Undefined without investment.
    Raises InvalidFigure for NaN, infinity or negative investment.
    """
    _finite(revenue, investment)
    if investment == 0:
        return Figure(value=None, undefined="Nothing was invested, so there is nothing to relate the return to.")
    return Figure(value=_quotient(_EXACT.subtract(revenue, investment), investment))


def acquisition_cost(*, investment: Decimal, won: Decimal) -> Figure:
    """Investment per won outcome; `won` is a fractional count, the sum of credited shares. Undefined when none was won.

    Raises InvalidFigure for NaN, infinity, a negative investment or count.
    """
    _finite(won, investment)
    if won < 0:
        raise InvalidFigure(f"{won} outcomes cannot have been won.", fix="Give the sum of credited shares.")
    if won == 0:
        return Figure(value=None, undefined="Nothing was won, so no cost per win exists.")
    return Figure(value=_quotient(investment, won))


def payback(*, earned: Sequence[DatedCredit], investment: Decimal, started_at: datetime) -> Payback:
    """Return when cumulative credited revenue first reached the investment, counting from `started_at`.

    Days are rounded up: 36 hours are two days; revenue from before the start counts, and pays back in zero days.
    A later refund does not undo a payback. Raises InvalidFigure for NaN, infinity or negative investment.
    """
    _finite(*(each.amount for each in earned), investment)
    if investment == 0:
        return Payback(days=None, at=None, undefined="Nothing was invested, so there is nothing to pay back.")
    so_far = Decimal(0)
    ordered = sorted(earned, key=lambda each: each.at)
    for k, each in enumerate(ordered):
        so_far = _EXACT.add(so_far, each.amount)
        # Credits of one moment count together, so that their order among each other cannot decide.
        if k + 1 < len(ordered) and ordered[k + 1].at == each.at:
            continue
        if so_far >= investment:
            days = -((started_at - each.at) // _DAY)
            return Payback(days=max(0, days), at=each.at)
    return Payback(days=None, at=None, undefined=f"{so_far} of {investment} has come back so far.")


def roi_interval(
    *, credited: F64, investment: Decimal, generator: np.random.Generator, rounds: int = 2000, level: float = 0.95
) -> Interval:
    """Return the interval of the return on investment; `credited` float64[n] is each outcome's credit, zeros included.

    Raises InvalidFigure as `bootstrap_total` does, and when nothing was invested.
    """
    _finite(investment)
    if investment == 0:
        raise InvalidFigure("Nothing was invested, so the return has no interval.", fix="Leave the interval out.")
    total = bootstrap_total(values=credited, generator=generator, rounds=rounds, level=level)
    cost = float(investment)
    return Interval(low=(total.low - cost) / cost, high=(total.high - cost) / cost, level=level, rounds=rounds)


def _quotient(above: Decimal, below: Decimal) -> Decimal:
    return _EXACT.divide(above, below).quantize(_PLACES, context=_EXACT)


def _finite(*amounts: Decimal) -> None:
    """Refuse NaN and infinity anywhere, and a negative investment, which is always the last."""
    if not all(each.is_finite() for each in amounts):
        raise InvalidFigure("An amount is not a finite number.", fix='Give decimals such as "123.45".')
    if amounts[-1] < 0:
        raise InvalidFigure(f"An investment of {amounts[-1]} is below zero.", fix="Book refunds of spend separately.")
