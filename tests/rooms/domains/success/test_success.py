"""Health and expansion of an account are asked over the records of five domains."""

from isthmus.kernel.marks import Json
from isthmus.store.observation import Observation
from tests.rooms.domains.desk import Desk, said

BASE = "/api/v1/integrations/success"


def used(name: str, at: str, **fields: Json) -> Observation:
    """A usage event of the account."""
    return said("product.event", name, name="used", at=at, account_id="A1", feature_id="F1", **fields)


async def account(desk: Desk) -> str:
    """An account with use, an invoice paid late and an escalated ticket."""
    (own,) = await desk.put(said("sales.account", "A1", name="One"))
    await desk.put(
        said("product.feature", "F1", name="Export", key="export", essential=True, usage_limit=10, paid=True),
        said("sales.person", "P1", first_name="Ada", account_id="A1", department="Sales"),
        said("sales.person", "P2", first_name="Bob", account_id="A1", department="Sales"),
    )
    days = [
        used(f"N{n}", f"2026-10-{10 + n}T12:00:00Z", person_id="P1", success=True, amount_used=1) for n in range(10)
    ]
    await desk.put(*days, used("OLD", "2026-09-20T12:00:00Z", person_id="P2"))
    await desk.put(
        said(
            "finance.invoice",
            "I1",
            amount={"amount": "10", "currency": "EUR"},
            account_id="A1",
            due_on="2026-10-01",
            status="paid",
            paid_at="2026-10-05T00:00:00Z",
        ),
        said(
            "success.ticket",
            "T1",
            status="open",
            priority="high",
            escalated=True,
            account_id="A1",
            opened_at="2026-11-01T00:00:00Z",
        ),
    )
    return own


async def test_health_is_made_of_what_is_there(desk: Desk) -> None:
    own = await account(desk)
    answer = await desk.get(f"{BASE}/health/{own}")
    assert answer.status == 200, answer.body
    # 10 active days of 20; one of two users; 10 uses after 1; 100 - 10 - 15 - 40; 0 of 1 in time.
    assert answer.at("sub_scores") == {
        "usage_frequency": 50.0,
        "feature_adoption": 50.0,
        "engagement_trend": 100.0,
        "support_health": 35.0,
        "payment_stability": 0.0,
    }
    # The sum of 12.5, 10, 15, 5.25 and 0 over the weights there are, 0.9.
    assert answer.at("score") == 47.5
    assert (answer.at("missing"), answer.at("risk")) == (["marketing_engagement"], "high")
    assert answer.at("inputs_until.usage") == "2026-10-19T12:00:00Z"
    assert answer.at("inputs_until.marketing") is None
    assert {str(each["risk"]) for each in answer.rows("triggers")} == {"high", "medium"}


async def test_a_stored_score_is_history_and_a_fall_is_a_risk(desk: Desk) -> None:
    own = await account(desk)
    await desk.put(said("success.health_snapshot", "H1", score=90.0, at="2026-10-20T00:00:00Z", account_id="A1"))
    answer = await desk.get(f"{BASE}/health/{own}")
    assert answer.at("history.0.score") == 90.0
    assert any("fell by" in str(each["reason"]) for each in answer.rows("triggers"))


async def test_expansion_shows_seats_limits_departments_and_requests(desk: Desk) -> None:
    own = await account(desk)
    await desk.put(
        said(
            "finance.subscription",
            "S1",
            plan="Pro",
            quantity=10,
            quantity_used=9,
            account_id="A1",
            recurring={"amount": "100", "currency": "EUR"},
            billing_interval="month",
        ),
        said(
            "product.feedback",
            "B1",
            kind="feature_request",
            at="2026-10-01T00:00:00Z",
            account_id="A1",
            feature_id="F1",
        ),
    )
    desk.later(days=1)
    answer = await desk.get(f"{BASE}/expansion/{own}")
    assert answer.status == 200, answer.body
    assert [each["kind"] for each in answer.rows("signals")] == ["limit", "seats", "paid_feature"]
    assert answer.at("signals.1.value") == {"amount": "300.00", "currency": "EUR"}
    desk.later(days=100)
    await desk.put(said("sales.person", "P3", first_name="Eve", account_id="A1", department="Legal"))
    found = [each["evidence"] for each in (await desk.get(f"{BASE}/expansion/{own}")).rows("signals")]
    assert any("Legal" in str(each) for each in found)
    assert not any("Sales" in str(each) for each in found)


async def test_an_intervention_is_kept_and_a_wrong_one_refused(desk: Desk) -> None:
    own = await account(desk)
    wish: dict[str, Json] = {"playbook": "Decline", "account_id": own, "owner_id": "eva", "steps": [{"title": "Call"}]}
    made = await desk.post(f"{BASE}/interventions", {**wish})
    assert made.status == 201, made.body
    read = await desk.get(str(made.at("link")))
    assert (read.at("status"), read.at("owner_id"), read.at("steps.0.title")) == ("active", "eva", "Call")
    assert read.at("started_at") == "2026-11-02T09:30:00Z"
    cases: list[tuple[dict[str, Json], dict[str, str]]] = [
        ({"account_id": "acct_01JD3Q4B8M0000000000000000"}, {"/account_id": "unknown-account"}),
        ({"due_at": "2026-11-01T00:00:00Z"}, {"/due_at": "due-before-start"}),
        ({"steps": [{"titel": "Call", "title": "x"}]}, {"/steps/0/titel": "unknown-field"}),
        ({"expected_value": {"amount": "-1", "currency": "EUR"}}, {"/expected_value/amount": "negative-money"}),
    ]
    for fields, faults in cases:
        answer = await desk.post(f"{BASE}/interventions", {**wish, **fields})
        assert (answer.status, answer.faults) == (422, faults), answer.body


async def test_an_unknown_account_is_not_found(desk: Desk) -> None:
    for path in ("health", "expansion"):
        answer = await desk.get(f"{BASE}/{path}/acct_01JD3Q4B8M0000000000000000")
        assert (answer.status, answer.at("code")) == (404, "account-missing")
