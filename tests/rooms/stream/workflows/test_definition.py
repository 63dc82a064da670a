"""A definition says what is wrong with it, and a clause holds of what it says."""

from datetime import UTC, datetime

import msgspec
import pytest

from isthmus.domains.sales.records import LEAD
from isthmus.kernel.marks import Json
from isthmus.stream.workflows.definition import BadWorkflow, Clause, Definition, check, holds

NOW = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)
CAN = frozenset({"wait", "condition", "task", "notify", "escalate"})


@pytest.mark.parametrize(
    ("fact", "comparison", "value", "expected"),
    [
        ("new", "is", "new", True),
        ("new", "is_not", "new", False),
        ("new", "one_of", ["new", "working"], True),
        ("new", "none_of", ["new"], False),
        (None, "none_of", ["new"], True),
        (0, "present", None, True),
        ([], "absent", None, True),
        (12, "at_least", 12, True),
        (11.5, "at_least", 12, False),
        ({"amount": "100.00", "currency": "EUR"}, "at_most", 100, True),
        (None, "at_least", 0, False),
        (None, "at_most", 0, False),
        ("2026-11-01T09:30:00+00:00", "older_than_hours", 24, True),
        ("2026-11-01T09:30:01+00:00", "older_than_hours", 24, False),
        ("2026-11-02T10:00:00+00:00", "within_hours", 1, True),
        ("2026-11-02T09:00:00+00:00", "within_hours", 1, False),
        ("2026-11-03", "within_hours", 24, True),
        (None, "older_than_hours", 0, False),
    ],
)
def test_a_clause_holds_of_what_it_says(fact: Json, comparison: str, value: Json, expected: bool) -> None:  # noqa: FBT001 - a row of the table.
    clause = msgspec.convert({"field": "x", "is": comparison, "value": value}, Clause)
    assert holds(clause, fact, now=NOW) is expected


@pytest.mark.parametrize(
    ("steps", "pointer", "code"),
    [
        ([{"kind": "send", "subject": "Hi", "text": "You"}], "/steps/0", "no-such-step"),
        ([{"kind": "escalate"}], "/steps/0", "no-task"),
        (
            [{"kind": "condition", "where": [{"field": "email", "is": "present"}]}],
            "/steps/0/where/0/field",
            "unknown-field",
        ),
        (
            [{"kind": "condition", "where": [{"field": "nothing", "is": "present"}]}],
            "/steps/0/where/0/field",
            "unknown-field",
        ),
        (
            [{"kind": "condition", "where": [{"field": "score", "is": "at_least", "value": "x"}]}],
            "/steps/0/where/0/value",
            "bad-value",
        ),
        (
            [{"kind": "condition", "where": [{"field": "status", "is": "one_of", "value": "x"}]}],
            "/steps/0/where/0/value",
            "bad-value",
        ),
        (
            [{"kind": "condition", "where": [{"field": "score", "is": "within_hours", "value": 1}]}],
            "/steps/0/where/0/value",
            "bad-value",
        ),
        (
            [
                {"kind": "wait", "hours": 1, "label": "a"},
                {"kind": "condition", "where": [{"field": "status", "is": "present"}], "otherwise": "a"},
            ],
            "/steps/1/otherwise",
            "no-such-label",
        ),
        (
            [{"kind": "wait", "hours": 1, "label": "a"}, {"kind": "wait", "hours": 1, "label": "a"}],
            "/steps/1/label",
            "repeated",
        ),
    ],
)
def test_what_cannot_be_followed_is_refused_with_its_place(steps: Json, pointer: str, code: str) -> None:
    definition = msgspec.convert({"title": "T", "steps": steps}, Definition)
    with pytest.raises(BadWorkflow) as refused:
        check(definition, subject=LEAD, can=CAN, cues={})
    assert (pointer, code) in [(each.pointer, each.code) for each in refused.value.faults]


def test_a_cue_that_nothing_gives_is_refused() -> None:
    definition = Definition(title="T", steps=(), cues=("moon.full",))
    with pytest.raises(BadWorkflow) as refused:
        check(definition, subject=LEAD, can=CAN, cues={"captured": "A lead was captured."})
    assert [each.pointer for each in refused.value.faults] == ["/cues/0"]
