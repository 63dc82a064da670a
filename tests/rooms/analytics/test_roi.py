"""Return, payback, cost of acquisition and their intervals."""

from datetime import timedelta
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.analytics import (
    DatedCredit,
    acquisition_cost,
    bootstrap_shares,
    bootstrap_total,
    payback,
    return_on_investment,
    roi_interval,
)
from isthmus.analytics.intervals import InvalidFigure
from tests.rooms.analytics.tables import START

AMOUNT = st.decimals(-(10**9), 10**9, places=2)


@pytest.mark.parametrize(
    ("revenue", "investment", "expected"),
    [
        ("150.00", "100.00", "0.5"),
        ("100", "100", "0"),
        ("0", "100", "-1"),
        ("-10", "100", "-1.1"),
        ("1", "3", "-0.6666666667"),
    ],
)
def test_the_return_is_what_came_back_beyond_the_investment_per_unit_invested(
    revenue: str, investment: str, expected: str
) -> None:
    figure = return_on_investment(revenue=Decimal(revenue), investment=Decimal(investment))
    assert (figure.value, figure.undefined) == (Decimal(expected), "")


def test_without_investment_there_is_a_reason_instead_of_a_return() -> None:
    figure = return_on_investment(revenue=Decimal(5), investment=Decimal(0))
    assert figure.value is None
    assert figure.undefined == "Nothing was invested, so there is nothing to relate the return to."


@given(revenue=AMOUNT, investment=st.decimals("0.01", 10**9, places=2))
def test_the_return_turns_back_into_the_revenue(revenue: Decimal, investment: Decimal) -> None:
    value = return_on_investment(revenue=revenue, investment=investment).value
    assert value is not None
    assert abs(investment * (1 + value) - revenue) <= investment * Decimal("1e-10")


@pytest.mark.parametrize(("revenue", "investment"), [("NaN", "1"), ("1", "Infinity"), ("1", "-1")])
def test_figures_of_what_is_no_amount_are_refused(revenue: str, investment: str) -> None:
    with pytest.raises(InvalidFigure):
        return_on_investment(revenue=Decimal(revenue), investment=Decimal(investment))


def test_the_cost_of_a_win_counts_fractions_of_wins() -> None:
    assert acquisition_cost(investment=Decimal(1000), won=Decimal("2.5")).value == 400
    assert (
        acquisition_cost(investment=Decimal(1000), won=Decimal(0)).undefined
        == "Nothing was won, so no cost per win exists."
    )
    with pytest.raises(InvalidFigure):
        acquisition_cost(investment=Decimal(1), won=Decimal(-1))


def credited(*pairs: tuple[float, int]) -> list[DatedCredit]:
    return [DatedCredit(at=START + timedelta(days=day), amount=Decimal(amount)) for day, amount in pairs]


@pytest.mark.parametrize(
    ("earned", "days"),
    [
        (credited((30, 60), (10, 40), (90, 500)), 30),
        (credited((1.5, 100)), 2),
        (credited((2, 100)), 2),
        (credited((-3, 100)), 0),
        (credited((5, 150), (5, -80), (9, 30)), 9),
        (credited((5, 100), (6, -100)), 5),
    ],
)
def test_payback_is_the_day_on_which_the_sum_reaches_the_investment(earned: list[DatedCredit], days: int) -> None:
    found = payback(earned=earned, investment=Decimal(100), started_at=START)
    assert found.days == days
    assert found.at in {each.at for each in earned}


def test_what_has_not_paid_back_says_how_far_it_is() -> None:
    found = payback(earned=credited((1, 99)), investment=Decimal(100), started_at=START)
    assert (found.days, found.undefined) == (None, "99 of 100 has come back so far.")
    assert payback(earned=[], investment=Decimal(0), started_at=START).undefined.startswith("Nothing was invested")


def test_the_same_seed_gives_the_same_interval_and_it_holds_the_figure() -> None:
    credit = np.random.default_rng(1).gamma(2.0, 500.0, size=400)
    first, second = (
        roi_interval(credited=credit, investment=Decimal(200_000), generator=np.random.default_rng(5)) for _ in range(2)
    )
    assert first == second
    assert first.low < credit.sum() / 200_000 - 1 < first.high


def test_the_interval_of_a_sum_is_that_of_the_normal_law_when_outcomes_are_many() -> None:
    values = np.random.default_rng(2).normal(10.0, 3.0, size=5_000)
    found = bootstrap_total(values=values, generator=np.random.default_rng(3), rounds=4_000)
    spread = 1.96 * values.std() * np.sqrt(values.size)
    assert found.low == pytest.approx(values.sum() - spread, rel=0.002)
    assert found.high == pytest.approx(values.sum() + spread, rel=0.002)


def test_nine_of_ten_intervals_of_ninety_percent_hold_the_truth() -> None:
    generator = np.random.default_rng(11)
    held = 0
    for _ in range(300):
        values = generator.exponential(1.0, size=200)
        found = bootstrap_total(values=values, generator=generator, rounds=300, level=0.9)
        held += found.low <= 200.0 <= found.high
    assert 0.85 <= held / 300 <= 0.94


def test_a_bucket_with_all_the_credit_has_no_doubt_and_two_even_ones_mirror_each_other() -> None:
    outcome = np.arange(100)
    only = bootstrap_shares(
        outcome=outcome,
        bucket=np.zeros(100, dtype=np.int64),
        amount=np.full(100, 5.0),
        buckets=1,
        generator=np.random.default_rng(1),
    )
    assert (only[0].low, only[0].high) == (1.0, 1.0)
    even = bootstrap_shares(
        outcome=outcome, bucket=outcome % 2, amount=np.full(100, 5.0), buckets=2, generator=np.random.default_rng(1)
    )
    assert even[0].low == pytest.approx(1 - even[1].high)
    assert even[0].low == pytest.approx(0.4, abs=0.03)


def test_an_interval_of_nothing_is_refused() -> None:
    none = np.array([], dtype=np.float64)
    for values, rounds, level in (
        (none, 10, 0.9),
        (np.array([np.nan]), 10, 0.9),
        (np.ones(3), 0, 0.9),
        (np.ones(3), 9, 1.0),
    ):
        with pytest.raises(InvalidFigure):
            bootstrap_total(values=values, generator=np.random.default_rng(1), rounds=rounds, level=level)
    with pytest.raises(InvalidFigure):
        roi_interval(credited=np.ones(3), investment=Decimal(0), generator=np.random.default_rng(1))
    with pytest.raises(InvalidFigure):
        bootstrap_shares(
            outcome=np.array([0]),
            bucket=np.array([0]),
            amount=np.zeros(1),
            buckets=1,
            generator=np.random.default_rng(1),
        )
