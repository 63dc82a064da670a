"""Which steps an outcome's journey holds."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from isthmus.analytics import attribute
from isthmus.analytics.journeys import InvalidWindow
from tests.rooms.analytics.tables import (
    START,
    Outcome,
    Step,
    ask,
    named_columns,
    outcomes_table,
    rows,
    steps_table,
    without,
)

DAY = 24.0
MICROSECOND = 1 / 3600e6


def credited(
    steps: list[Step], outcomes: list[Outcome], *, window_days: int | None = None
) -> list[tuple[object, object]]:
    answer = ask(steps, outcomes, model="linear", window_days=window_days)
    return [(row["outcome"], row["step"]) for row in rows(answer)]


def test_both_edges_of_the_window_are_included_and_a_microsecond_beyond_is_not() -> None:
    steps = [
        Step("too early", hour=10 * DAY - MICROSECOND),
        Step("first edge", hour=10 * DAY),
        Step("last edge", hour=40 * DAY),
        Step("too late", hour=40 * DAY + MICROSECOND),
    ]
    found = credited(steps, [Outcome("o", hour=40 * DAY)], window_days=30)
    assert found == [("o", "first edge"), ("o", "last edge")]


def test_steps_between_commitment_and_close_get_nothing() -> None:
    steps = [Step("before", hour=1), Step("at", hour=5), Step("paperwork", hour=6)]
    assert credited(steps, [Outcome("o", hour=9, committed=5)]) == [("o", "before"), ("o", "at")]


def test_a_commitment_dated_after_the_close_does_not_reopen_the_journey() -> None:
    steps = [Step("before", hour=1), Step("after the close", hour=6)]
    assert credited(steps, [Outcome("o", hour=5, committed=9)]) == [("o", "before")]


def test_without_a_window_the_whole_past_counts() -> None:
    assert credited([Step("old", hour=0)], [Outcome("o", hour=9000 * DAY)]) == [("o", "old")]


def test_one_step_may_serve_several_outcomes_and_each_hands_out_its_own_worth() -> None:
    steps = [Step("s1", hour=1), Step("s2", hour=50)]
    outcomes = [Outcome("o1", hour=24, minor=1000), Outcome("o2", hour=60, minor=501)]
    answer = ask(steps, outcomes, model="linear")
    assert [(row["outcome"], row["step"], row["minor"]) for row in rows(answer)] == [
        ("o1", "s1", 1000),
        ("o2", "s1", 251),
        ("o2", "s2", 250),
    ]


def test_steps_of_another_unit_are_not_in_the_journey() -> None:
    assert credited([Step("s1", unit="a"), Step("s2", unit="b")], [Outcome("o", unit="b")]) == [("o", "s2")]


def test_what_was_not_won_has_no_journey() -> None:
    answer = ask([Step("s1")], [Outcome("o", won=False)], model="linear")
    assert (answer.outcomes, answer.journeys, answer.totals, rows(answer)) == (0, 0, (), [])


def test_an_outcome_without_steps_is_unattributed_and_not_hidden() -> None:
    answer = ask(
        [Step("s1", hour=5)], [Outcome("o1", unit="new", minor=77), Outcome("o2", hour=4, minor=1)], model="first"
    )
    assert [(row["outcome"], row["bucket"], row["step"], row["minor"]) for row in rows(answer)] == [
        ("o1", "unattributed", None, 77),
        ("o2", "unattributed", None, 1),
    ]
    assert {name: str(amount) for name, amount in answer.unattributed.items()} == {"EUR": "0.78"}
    assert (answer.outcomes, answer.journeys) == (2, 0)


def test_nothing_that_closed_after_the_moment_asked_about_is_counted() -> None:
    outcomes = [Outcome("o1", hour=10), Outcome("o2", hour=11)]
    answer = attribute(
        steps=steps_table([Step("s1", hour=1)]),
        outcomes=outcomes_table(outcomes),
        model="last",
        as_of=(START + timedelta(hours=10)).astimezone(timezone(timedelta(hours=5))),
    )
    assert [row["outcome"] for row in rows(answer)] == ["o1"]


def test_ids_are_made_from_unit_and_order_where_none_are_given() -> None:
    steps = without(steps_table([Step("", unit="b", hour=2), Step("", unit="b", hour=1), Step("", unit="a")]), "step")
    outcomes = without(outcomes_table([Outcome("", unit="b", hour=9), Outcome("", unit="b", hour=5)]), "outcome")
    answer = attribute(steps=steps, outcomes=outcomes, model="first")
    assert [(row["outcome"], row["step"]) for row in rows(answer)] == [
        ("b#1", "b#1"),
        ("b#1", "b#2"),
        ("b#2", "b#1"),
        ("b#2", "b#2"),
    ]


def test_times_without_a_zone_are_utc_and_optional_columns_may_be_absent() -> None:
    steps = named_columns(unit=["a"], at=[datetime(2026, 1, 1, 12)], bucket=["x"])  # noqa: DTZ001 - the point of the test.
    outcomes = named_columns(unit=["a"], at=[datetime(2026, 1, 1, 12, tzinfo=UTC)], value=[7], currency=["EUR"])
    assert [row["step"] for row in rows(attribute(steps=steps, outcomes=outcomes, model="linear"))] == ["a#1"]


@pytest.mark.parametrize("days", [0, -3, 36_501])
def test_a_window_without_sense_is_refused(days: int) -> None:
    with pytest.raises(InvalidWindow, match="1 to 36500"):
        credited([Step("s1")], [Outcome("o")], window_days=days)
