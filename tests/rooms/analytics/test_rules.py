"""Each rule on journeys that a person can compute by hand."""

import math

import pytest

from isthmus.analytics import MODELS, POSITIONS, Mark, Position, attribute
from isthmus.analytics.rules import InvalidHalfLife, InvalidPosition, UnknownModel
from tests.rooms.analytics.tables import Outcome as Won
from tests.rooms.analytics.tables import Step, ask, outcomes_table, shares, steps_table

FOUR = (
    Step("s1", hour=1, bucket="ads"),
    Step("s2", hour=2, bucket="mail"),
    Step("s3", hour=3, bucket="events"),
    Step("s4", hour=4, bucket="direct", direct=True),
)
FIVE = (*FOUR[:3], Step("s4", hour=4), Step("s5", hour=5))


def marked(*roles: str | None) -> list[Step]:
    return [Step(f"s{k}", hour=k, role=role) for k, role in enumerate(roles)]


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("first", [1, 0, 0, 0]),
        ("last", [0, 0, 0, 1]),
        ("last_non_direct", [0, 0, 1, 0]),
        ("linear", [0.25, 0.25, 0.25, 0.25]),
        ("position", [0.4, 0.1, 0.1, 0.4]),
    ],
)
def test_four_steps_share_as_the_rule_says(model: str, expected: list[float]) -> None:
    assert shares(ask(FOUR, model=model)) == expected


def test_a_step_one_half_life_older_gets_half_the_credit() -> None:
    week = 7 * 24
    steps = [Step("s1", hour=0), Step("s2", hour=week), Step("s3", hour=2 * week)]
    assert shares(ask(steps, model="time_decay")) == [round(each / 7, 6) for each in (1, 2, 4)]


def test_a_tiny_half_life_leaves_all_credit_to_the_latest_step() -> None:
    steps = [Step("s1", hour=0), Step("s2", hour=20_000)]
    assert shares(ask(steps, [Won("o", hour=30_000)], model="time_decay")) == [0, 1]


def test_last_non_direct_falls_back_to_the_last_step_when_all_are_direct() -> None:
    steps = [Step("s1", hour=1, direct=True), Step("s2", hour=2, direct=True)]
    assert shares(ask(steps, model="last_non_direct")) == [0, 1]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("position", POSITIONS)
def test_a_single_step_gets_everything_under_every_rule(model: str, position: str) -> None:
    assert shares(ask([Step("s1", role="captured")], model=model, position=position)) == [1]


@pytest.mark.parametrize("position", POSITIONS)
def test_two_unmarked_steps_get_half_each_under_every_preset(position: str) -> None:
    assert shares(ask(FOUR[:2], model="position", position=position)) == [0.5, 0.5]


@pytest.mark.parametrize(
    ("position", "roles", "expected"),
    [
        # All anchors are marked, one step is no anchor.
        ("w", (None, "captured", None, "qualified"), [0.3, 0.3, 0.1, 0.3]),
        # A mark decides over the place: the earliest step is not the first anchor when another is marked so.
        ("w", (None, "first", "captured", "qualified"), [0.1, 0.3, 0.3, 0.3]),
        # Without marks the ends are the anchors, and the weight of the absent one is shared by them.
        ("w", (None, None, None, None), [0.45, 0.05, 0.05, 0.45]),
        # One step is two anchors and adds their weights.
        ("w", ("captured", None, "qualified"), [0.6, 0.1, 0.3]),
        # Nothing is left to take the rest, so the anchors share it.
        ("w", ("captured", "qualified"), [0.666667, 0.333333]),
        # The earliest of several captured steps counts, the latest of several closed ones.
        (
            "full_path",
            (None, "captured", "captured", "qualified", "closed", "closed"),
            [0.225, 0.225, 0.05, 0.225, 0.05, 0.225],
        ),
        ("full_path", (None, "captured", None, "qualified", None), [0.225, 0.225, 0.1, 0.225, 0.225]),
        ("full_path", (None, None, None), [0.45, 0.1, 0.45]),
        # The U looks at places only.
        ("u", (None, "first", "closed", None), [0.4, 0.1, 0.1, 0.4]),
    ],
)
def test_stage_marks_place_the_anchors(position: str, roles: tuple[str | None, ...], expected: list[float]) -> None:
    assert shares(ask(marked(*roles), model="position", position=position)) == expected


def test_own_weights_may_replace_the_presets() -> None:
    shape = Position(name="late", anchors=((Mark.FIRST, 0.2), (Mark.CLOSED, 0.5)), rest=0.3, marked=False)
    assert shares(ask(FIVE, model="position", position=shape)) == [0.2, 0.1, 0.1, 0.1, 0.5]


@pytest.mark.parametrize(
    ("anchors", "rest"),
    [
        ((), 1.0),
        (((Mark.FIRST, 0.5),), 0.4),
        (((Mark.FIRST, 1.5), (Mark.CLOSED, -0.5)), 0.0),
        (((Mark.FIRST, 1.2),), -0.2),
    ],
)
def test_weights_that_are_no_weights_are_refused(anchors: tuple[tuple[Mark, float], ...], rest: float) -> None:
    with pytest.raises(InvalidPosition, match="sum to 1"):
        Position(name="wrong", anchors=anchors, rest=rest)


def test_an_unknown_model_is_refused_with_those_that_exist() -> None:
    with pytest.raises(UnknownModel, match="Use one of: first, last, last_non_direct, linear, time_decay, position"):
        ask(FOUR, model="best")


def test_an_unknown_preset_is_refused_with_those_that_exist() -> None:
    with pytest.raises(InvalidPosition, match="Use one of: u, w, full_path"):
        ask(FOUR, model="position", position="z")


@pytest.mark.parametrize("days", [0, -1, math.nan, math.inf])
def test_a_half_life_must_be_a_positive_number(days: float) -> None:
    with pytest.raises(InvalidHalfLife):
        attribute(steps=steps_table(FOUR), outcomes=outcomes_table([Won("o")]), model="time_decay", half_life_days=days)


def test_each_model_says_what_it_means_and_that_it_measures_nothing() -> None:
    assert list(MODELS) == ["first", "last", "last_non_direct", "linear", "time_decay", "position"]
    assert all(model.meaning.endswith(".") and model.grade == "E0" for model in MODELS.values())
