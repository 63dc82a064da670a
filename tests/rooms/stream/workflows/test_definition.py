"""A definition says what is wrong with it, and a clause holds of what it says."""

from datetime import UTC, datetime

import msgspec
import pytest

from isthmus.app.discovery import schema
from isthmus.domains.sales.records import LEAD
from isthmus.kernel.marks import Json
from isthmus.stream.workflows.definition import BadWorkflow, Clause, Definition, check, holds
from isthmus.stream.workflows.sight import Latest, Sight

NOW = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)
HEALTH = Latest(type="success.health_snapshot", by="account_id", at="at", of="account_id")
SIGHT = Sight.of(schema(), LEAD, {"health": HEALTH})
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
        check(definition, sight=SIGHT, can=CAN, cues={}, ends={})
    assert (pointer, code) in [(each.pointer, each.code) for each in refused.value.faults]


def test_a_cue_that_nothing_gives_is_refused() -> None:
    definition = Definition(title="T", steps=(), cues=("moon.full",), ends_on=("reply", "rain"))
    with pytest.raises(BadWorkflow) as refused:
        check(definition, sight=SIGHT, can=CAN, cues={"captured": "A lead was captured."}, ends={"reply": "A reply."})
    assert [each.pointer for each in refused.value.faults] == ["/cues/0", "/ends_on/1"]


@pytest.mark.parametrize("path", ["score", "account.segment", "campaign.kind", "health.risk", "account.created"])
def test_conditions_see_the_record_one_step_along_its_links_and_the_latest_about_it(path: str) -> None:
    definition = msgspec.convert({"title": "T", "steps": [_present(path)]}, Definition)
    if path == "account.created":
        with pytest.raises(BadWorkflow, match="One thing is wrong"):
            check(definition, sight=SIGHT, can=CAN, cues={}, ends={})
    else:
        check(definition, sight=SIGHT, can=CAN, cues={}, ends={})


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("account.segmnet", "sales.account publishes no field 'segmnet'."),
        ("owner.name", "'owner_id' of sales.lead leads to no record. Compare 'owner_id' itself."),
        (
            "acount.segment",
            "Nothing leads from sales.lead to 'acount'; there are: account, campaign, deal, health, person.",
        ),
        (
            "account.parent.segment",
            "'account.parent.segment' goes more than one step. Take a field of 'account' itself.",
        ),
        ("person.email", "sales.person publishes no field 'email'."),
    ],
)
def test_what_conditions_do_not_see_is_refused_in_words(path: str, told: str) -> None:
    definition = msgspec.convert({"title": "T", "steps": [_present(path)]}, Definition)
    with pytest.raises(BadWorkflow) as refused:
        check(definition, sight=SIGHT, can=CAN, cues={}, ends={})
    assert [(each.pointer, each.detail) for each in refused.value.faults] == [("/steps/0/where/0/field", told)]


def _present(path: str) -> Json:
    return {"kind": "condition", "where": [{"field": path, "is": "present"}]}
