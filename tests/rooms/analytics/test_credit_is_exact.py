"""Credit is money: it sums to what was won, in every currency, whatever the order of the rows."""

import random
from collections import defaultdict
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.analytics import MODELS, POSITIONS, attribute
from isthmus.analytics.ledger import RepeatedId, ReservedBucket
from isthmus.analytics.outcomes import Outcomes
from isthmus.kernel.errors import IsthmusError
from tests.rooms.analytics.tables import (
    DIGITS,
    Outcome,
    Step,
    ask,
    floats,
    moment,
    named_columns,
    outcomes_table,
    rows,
    steps_table,
    without,
    worlds,
)

World = tuple[list[Step], list[Outcome]]
MODEL, POSITION, WINDOW = st.sampled_from(list(MODELS)), st.sampled_from(list(POSITIONS)), st.sampled_from((None, 1, 2))


@settings(max_examples=150, deadline=None)
@given(world=worlds(), model=MODEL, position=POSITION, window=WINDOW)
def test_credit_sums_to_each_outcome_and_each_currency_exactly(
    world: World, model: str, position: str, window: int | None
) -> None:
    answer = ask(*world, model=model, position=position, window_days=window)
    won = {each.id: each for each in world[1] if each.won}
    credit: dict[object, int] = defaultdict(int)
    share: dict[object, float] = defaultdict(float)
    for row in rows(answer):
        credit[row["outcome"]] += int(str(row["minor"]))
        share[row["outcome"]] += float(str(row["share"]))
        assert row["currency"] == won[str(row["outcome"])].currency
    assert credit == {name: each.minor for name, each in won.items()}
    assert share == pytest.approx(dict.fromkeys(won, 1.0), abs=1e-12)
    for currency in {each.currency for each in won.values()}:
        expected = sum((each.value for each in won.values() if each.currency == currency), Decimal(0))
        totals = [each for each in answer.totals if each.currency == currency]
        assert sum((each.revenue for each in totals), Decimal(0)) == expected == answer.revenue[currency]
        assert sum(each.share for each in totals) == pytest.approx(1, abs=1e-12)
        assert answer.digits[currency] == DIGITS[currency]


@settings(max_examples=100, deadline=None)
@given(world=worlds(), model=MODEL, position=POSITION, seed=st.integers(0, 2**32))
def test_the_order_of_rows_changes_nothing(world: World, model: str, position: str, seed: int) -> None:
    steps, outcomes = list(world[0]), list(world[1])
    before = ask(steps, outcomes, model=model, position=position)
    random.Random(seed).shuffle(steps)
    random.Random(seed + 1).shuffle(outcomes)
    after = ask(steps, outcomes, model=model, position=position)
    assert (rows(after), after.totals, after.digits) == (rows(before), before.totals, before.digits)


@settings(max_examples=50, deadline=None)
@given(world=worlds(), seed=st.integers(0, 2**32))
def test_without_ids_the_order_of_rows_changes_nothing_either(world: World, seed: int) -> None:
    steps, outcomes = list(world[0]), list(world[1])
    answers: list[object] = []
    for turn in range(2):
        answer = attribute(
            steps=without(steps_table(steps), "step"),
            outcomes=without(outcomes_table(outcomes), "outcome"),
            model="last",
            window_days=None,
        )
        answers.append((rows(answer), answer.totals))
        random.Random(seed + turn).shuffle(steps)
        random.Random(seed - turn).shuffle(outcomes)
    assert answers[0] == answers[1]


@settings(max_examples=100, deadline=None)
@given(world=worlds(), model=MODEL)
def test_no_step_after_the_decision_or_before_the_window_is_credited(world: World, model: str) -> None:
    steps, won = {each.id: each for each in world[0]}, {each.id: each for each in world[1]}
    for row in rows(ask(*world, model=model, window_days=1)):
        if row["step"] is not None:
            outcome, step = won[str(row["outcome"])], steps[str(row["step"])]
            decided = min(outcome.hour, outcome.hour if outcome.committed is None else outcome.committed)
            assert decided - 24 <= step.hour <= decided
            assert step.unit == outcome.unit


def test_a_third_of_a_hundred_euro_leaves_the_odd_cent_with_the_earliest_step() -> None:
    answer = ask(
        [Step("s1", hour=1), Step("s2", hour=2), Step("s3", hour=3)], [Outcome("o", minor=10000)], model="linear"
    )
    assert [row["minor"] for row in rows(answer)] == [3334, 3333, 3333]


def test_a_refund_is_handed_back_as_it_was_handed_out() -> None:
    steps = [Step("s1", hour=1), Step("s2", hour=2), Step("s3", hour=3)]
    answer = ask(steps, [Outcome("o", minor=-10000)], model="linear")
    assert [row["minor"] for row in rows(answer)] == [-3334, -3333, -3333]


def test_a_worth_of_nothing_still_shows_who_would_have_been_credited() -> None:
    answer = ask([Step("s1", bucket="ads"), Step("s2", bucket="mail")], [Outcome("o", minor=0)], model="linear")
    assert [(each.bucket, each.revenue, each.share, each.outcomes) for each in answer.totals] == [
        ("ads", 0, 0.5, 0.5),
        ("mail", 0, 0.5, 0.5),
    ]


def test_an_amount_finer_than_the_minor_unit_is_split_finer_and_the_others_stay_in_whole_cents() -> None:
    steps = steps_table([Step("s1", hour=1), Step("s2", hour=2)])
    outcomes = named_columns(
        unit=["a", "a"],
        at=[moment(10), moment(11)],
        value=[Decimal("10.005"), Decimal("0.99")],
        currency=["EUR", "EUR"],
    )
    answer = attribute(steps=steps, outcomes=outcomes, model="linear")
    assert [row["minor"] for row in rows(answer)] == [5003, 5002, 500, 490]
    assert {name: str(amount) for name, amount in answer.revenue.items()} == {"EUR": "10.995"}


def test_currencies_are_never_added_together() -> None:
    outcomes = [
        Outcome("o1", minor=1234),
        Outcome("o2", minor=56, currency="JPY"),
        Outcome("o3", minor=7, currency="KWD"),
    ]
    answer = ask([Step("s1")], outcomes, model="first")
    assert [(each.currency, str(each.revenue), each.share) for each in answer.totals] == [
        ("EUR", "12.34", 1.0),
        ("JPY", "56", 1.0),
        ("KWD", "0.007", 1.0),
    ]


def test_money_as_float_is_refused() -> None:
    with pytest.raises(IsthmusError, match="money is decimal"):
        Outcomes.of(floats(outcomes_table([Outcome("o")]), "value"))


@pytest.mark.parametrize(
    ("value", "said"),
    [("0.00001", "more than four decimals"), ("1000000000000000", "over 9"), ("100000000000000", "2\\^53")],
)
def test_money_with_five_decimals_or_beyond_what_can_be_counted_is_refused(value: str, said: str) -> None:
    table = named_columns(unit=["a"], at=[moment(10)], value=[Decimal(value)], currency=["EUR"])
    with pytest.raises(IsthmusError, match=said):
        Outcomes.of(table)


def test_the_same_id_twice_is_refused_because_it_would_count_twice() -> None:
    with pytest.raises(RepeatedId, match="'s1'"):
        ask([Step("s1"), Step("s1", hour=3)], model="first")
    with pytest.raises(RepeatedId, match="'o1'"):
        ask([Step("s1")], [Outcome("o1"), Outcome("o1", unit="b")], model="first")


def test_a_bucket_may_not_take_the_name_of_what_nobody_earned() -> None:
    with pytest.raises(ReservedBucket):
        ask([Step("s1", bucket="unattributed")], model="first")


@pytest.mark.parametrize("name", ["unit", "at", "bucket"])
def test_a_missing_column_is_named_with_what_was_found(name: str) -> None:
    with pytest.raises(IsthmusError, match=f"no column `{name}`; found: ") as caught:
        attribute(steps=without(steps_table([Step("s1")]), name), outcomes=outcomes_table([]), model="first")
    assert caught.value.code == "missing-column"
