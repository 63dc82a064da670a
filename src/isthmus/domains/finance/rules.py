"""What finance means by a budget, a variance and an open period. No input, no output, no clock."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import TypeAlias

from msgspec import Struct

from isthmus.kernel.errors import Fault
from isthmus.kernel.money import Money, exact
from isthmus.kernel.period import Period, period

QUARTERS, MONTHS = range(1, 5), range(1, 13)
Cell: TypeAlias = tuple[str | None, ...]
NONE = "none"


def spend_faults(amount: Money) -> tuple[Fault, ...]:
    """Return what is wrong with an amount that was spent."""
    if amount.amount < 0:
        detail = "What was spent cannot be below zero. Book a refund as a credit note of the vendor."
        return (Fault(pointer="/amount/amount", code="negative-money", detail=detail),)
    return ()


def month_of(day: date) -> str:
    """Return the month that a day belongs to, such as `2026-11`."""
    return f"{day.year:04d}-{day.month:02d}"


def closing(names: Iterable[str], *, day: date) -> Period | None:
    """Return the closed period that a day lies in, or None while it is open; the longest one says why."""
    noon = datetime.combine(day, time(12), tzinfo=UTC)
    holding = [each for each in map(period, names) if each.holds(noon)]
    return max(holding, key=lambda each: each.end - each.start, default=None)


def open_month(names: Sequence[str], *, day: date) -> str:
    """Return the first month from that of `day` on that is in no closed period."""
    year, month = day.year, day.month
    while closing(names, day=date(year, month, 1)) is not None:
        year, month = (year, month + 1) if month < MONTHS[-1] else (year + 1, 1)
    return f"{year:04d}-{month:02d}"


def parts_of(name: str) -> list[str]:
    """Return the periods that a period consists of: quarters of a year, months of a quarter, none of a month."""
    year, _, rest = name.partition("-")
    if not rest:
        return [f"{year}-Q{quarter}" for quarter in QUARTERS]
    if rest.startswith("Q"):
        last = int(rest[1:]) * 3
        return [f"{year}-{month:02d}" for month in (last - 2, last - 1, last)]
    return []


def planned(budgets: Mapping[tuple[str, Cell], Decimal], *, name: str, cell: Cell) -> Decimal | None:
    """Return what may be spent in a period: the budget given for it, or else the sum of those of its parts.

    A year's budget and those of its months for the same thing are two views of one sum, so they are never added.
    """
    own = budgets.get((name, cell))
    if own is not None:
        return own
    parts = [found for each in parts_of(name) if (found := planned(budgets, name=each, cell=cell)) is not None]
    return sum(parts, Decimal(0)) if parts else None


class Line(Struct, frozen=True, kw_only=True):
    """Budget against actual of one thing. `variance` is budget less actual; `used` is actual / budget.

    `landing` is what will have been spent at the end of the period if it goes on at the same rate; it is there while
    the period runs.
    """

    name: str
    budget: Money | None
    actual: Money
    variance: Money | None
    used: float | None
    landing: Money | None


def line(*, name: str, currency: str, budget: Decimal | None, actual: Decimal, elapsed: float | None) -> Line:
    """Return a line; `elapsed` is the share of the period that is over, None when it has not begun or is over."""
    landing = (actual / Decimal(str(elapsed))).quantize(Decimal("0.01")) if elapsed else None
    return Line(
        name=name,
        budget=None if budget is None else exact(budget, currency),
        actual=exact(actual, currency),
        variance=None if budget is None else exact(budget - actual, currency),
        used=float(actual / budget) if budget else None,
        landing=None if landing is None else Money(landing, currency),
    )


def elapsed_share(wanted: Period, *, now: datetime) -> float | None:
    """Return which share of a period is over; None before it begins and after its end."""
    return (now - wanted.start) / (wanted.end - wanted.start) if wanted.start < now < wanted.end else None
