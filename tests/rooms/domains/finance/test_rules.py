"""Budgets of a period and of its parts are one sum seen twice; a closed period holds every day in it."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from isthmus.domains.finance.rules import Cell, closing, elapsed_share, line, month_of, open_month, parts_of, planned
from isthmus.kernel.money import Money
from isthmus.kernel.period import period


def test_a_year_is_four_quarters_and_a_quarter_three_months() -> None:
    assert parts_of("2026") == ["2026-Q1", "2026-Q2", "2026-Q3", "2026-Q4"]
    assert parts_of("2026-Q4") == ["2026-10", "2026-11", "2026-12"]
    assert parts_of("2026-11") == []


def test_a_budget_of_the_period_itself_goes_before_the_sum_of_its_parts() -> None:
    cell: Cell = ("media_spend", None, None, None)
    months: dict[tuple[str, Cell], Decimal] = {(f"2026-{month}", cell): Decimal(100) for month in ("10", "11")}
    assert planned(months, name="2026-Q4", cell=cell) == 200
    assert planned(months | {("2026-Q4", cell): Decimal(450)}, name="2026-Q4", cell=cell) == 450
    assert planned(months | {("2026-Q1", cell): Decimal(30)}, name="2026", cell=cell) == 230
    assert planned(months, name="2026-12", cell=cell) is None


def test_a_day_lies_in_every_closed_period_that_holds_it() -> None:
    assert closing(["2026-10"], day=date(2026, 11, 1)) is None
    held = closing(["2026-10", "2026-Q4"], day=date(2026, 10, 31))
    assert held is not None
    assert held.name == "2026-Q4"


@pytest.mark.parametrize(
    ("closed", "wanted"),
    [([], "2026-10"), (["2026-10"], "2026-11"), (["2026-Q4"], "2027-01"), (["2026", "2027-Q1"], "2027-04")],
)
def test_late_spend_goes_to_the_first_open_month(closed: list[str], wanted: str) -> None:
    assert open_month(closed, day=date(2026, 10, 31)) == wanted
    assert month_of(date(2026, 3, 1)) == "2026-03"


def test_a_line_tells_variance_use_and_where_it_will_land() -> None:
    half = elapsed_share(period("2026-11"), now=datetime(2026, 11, 16, tzinfo=UTC))
    assert half == 0.5
    found = line(name="x", currency="EUR", budget=Decimal("1000.00"), actual=Decimal("600.00"), elapsed=half)
    assert (found.variance, found.used) == (Money(Decimal("400.00"), "EUR"), 0.6)
    assert found.landing == Money(Decimal("1200.00"), "EUR")
    bare = line(name="x", currency="EUR", budget=None, actual=Decimal(5), elapsed=None)
    assert (bare.variance, bare.used, bare.landing) == (None, None, None)
    assert elapsed_share(period("2026-11"), now=datetime(2026, 12, 1, tzinfo=UTC)) is None
