"""Intervals of credit, and journeys opened from it, on rows made by hand."""

from decimal import Decimal

import pytest

from isthmus.analytics import UNATTRIBUTED, Attribution, credited, journeys_with, revenue_intervals
from tests.rooms.analytics.tables import Outcome, Step, ask

DAY_US = 86_400_000_000


@pytest.fixture
def attribution() -> Attribution:
    """Two units: `mail` alone led to 100, `mail` and `web` to 300, and nothing to 7."""
    steps = [
        Step(id="s1", unit="u1", bucket="mail", hour=1),
        Step(id="s2", unit="u2", bucket="mail", hour=2),
        Step(id="s3", unit="u2", bucket="web", hour=3),
    ]
    outcomes = [
        Outcome(id="o1", unit="u1", minor=100_00),
        Outcome(id="o2", unit="u2", minor=300_00),
        Outcome(id="o3", unit="u3", minor=7_00),
    ]
    return ask(steps, outcomes, model="linear")


def test_the_interval_spans_what_drawing_the_outcomes_anew_can_give(attribution: Attribution) -> None:
    found = revenue_intervals(attribution, currency="EUR", seed=1)
    assert set(found) == {"mail", "web", UNATTRIBUTED}
    # Each of three draws brings mail 100, 150 or 0: nothing at all in one of 27, 450 in one of 27.
    assert (found["mail"].low, found["mail"].high) == (0.0, 450.0)
    assert (found[UNATTRIBUTED].low, found[UNATTRIBUTED].high) == (0.0, 21.0)


def test_one_bucket_alone_has_the_interval_that_it_has_among_all(attribution: Attribution) -> None:
    every = revenue_intervals(attribution, currency="EUR", seed=1)
    assert revenue_intervals(attribution, currency="EUR", seed=1, only="mail") == {"mail": every["mail"]}
    assert revenue_intervals(attribution, currency="EUR", seed=1, only="fax") == {}
    assert revenue_intervals(attribution, currency="USD", seed=1) == {}


def test_what_a_bucket_received_of_each_outcome_counts_zeros_too(attribution: Attribution) -> None:
    assert credited(attribution, bucket="mail", currency="EUR").tolist() == [100.0, 150.0, 0.0]
    assert credited(attribution, bucket="web", currency="EUR").tolist() == [0.0, 150.0, 0.0]
    assert credited(attribution, bucket="web", currency="USD").tolist() == [0.0, 0.0, 0.0]


def test_journeys_open_in_order_from_the_one_after(attribution: Attribution) -> None:
    first, second = journeys_with(attribution, bucket="mail", limit=5)
    assert (first.outcome, first.credited, len(first.steps)) == ("o1", Decimal("100.00"), 1)
    assert [(each.step, each.amount) for each in second.steps] == [("s2", Decimal("150.00")), ("s3", Decimal("150.00"))]
    assert journeys_with(attribution, bucket="mail", limit=5, after="o1") == [second]
    assert [each.outcome for each in journeys_with(attribution, bucket=UNATTRIBUTED, limit=5)] == ["o3"]
    assert journeys_with(attribution, bucket="fax", limit=5) == []
