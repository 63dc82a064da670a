"""Spend is booked where it belongs, and no return is told without its model, window and interval."""

from decimal import Decimal

from isthmus.kernel.marks import Json
from tests.rooms.domains.desk import Answer, Desk, said

BASE = "/api/v1/integrations/finance"


def money(amount: str, currency: str = "EUR") -> dict[str, Json]:
    """Money as it stands in JSON."""
    return {"amount": amount, "currency": currency}


async def booked(desk: Desk, amount: str, day: str, **fields: Json) -> Answer:
    """The answer to spend that was booked."""
    answer = await desk.post(f"{BASE}/spend", {"amount": money(amount), "day": day, **fields})
    assert answer.status == 201, answer.body
    return answer


async def campaign(desk: Desk, name: str = "C1") -> str:
    """The id of a campaign."""
    return (await desk.put(said("marketing.campaign", name, name=name)))[0]


async def won(desk: Desk, name: str, amount: str, at: str, *, currency: str = "EUR", of: str = "C1") -> None:
    """A deal that a campaign alone led to."""
    await desk.put(
        said("sales.account", name, name=name),
        said("marketing.touch", name, channel="email", at="2026-10-01T00:00:00Z", account_id=name, campaign_id=of),
    )
    fields = {"stage": "closed_won", "won": True, "closed_at": at, "amount": money(amount, currency)}
    await desk.put(said("sales.deal", name, name=name, account_id=name, **fields))


async def test_spend_is_booked_in_the_month_of_its_day(desk: Desk) -> None:
    own = await campaign(desk)
    answer = await booked(desk, "1200.5", "2026-10-31", campaign_id=own, channel="webinar", department="marketing")
    assert (answer.at("amount"), answer.at("period"), answer.at("late")) == (money("1200.50"), "2026-10", False)
    assert (answer.at("campaign_id"), answer.at("category")) == (own, "media_spend")


async def test_spend_that_is_no_money_or_names_what_is_not_there_is_refused(desk: Desk) -> None:
    unknown = "camp_01JD3Q4B8M0000000000000000"
    cases: list[tuple[dict[str, Json], dict[str, str]]] = [
        ({"amount": money("-1")}, {"/amount/amount": "negative-money"}),
        ({"amount": money("NaN")}, {"/amount": "invalid-money"}),
        ({"amount": money("1.00001")}, {"/amount": "invalid-money"}),
        ({"amount": money("1", "euro")}, {"/amount": "invalid-money"}),
        ({"campaign_id": unknown}, {"/campaign_id": "unknown-campaign"}),
        ({"category": "fun"}, {"/category": "unknown-value"}),
        ({"day": "2026-02-30"}, {"/day": "wrong-form"}),
        ({"chanel": "email"}, {"/chanel": "unknown-field"}),
    ]
    for fields, faults in cases:
        answer = await desk.post(f"{BASE}/spend", {"amount": money("1"), "day": "2026-10-31", **fields})
        assert (answer.status, answer.faults) == (422, faults), answer.body
    bare = await desk.post(f"{BASE}/spend", b'{"amount": {"amount": NaN, "currency": "EUR"}, "day": "2026-10-31"}')
    assert bare.status == 400
    assert (await desk.get("/api/v1/spend")).rows("data") == []


async def test_a_closed_period_refuses_late_spend_or_sends_it_to_the_open_one(desk: Desk) -> None:
    closed = await desk.post(f"{BASE}/periods/2026-Q3:close")
    assert (closed.status, closed.at("closed_periods")) == (200, ["2026-Q3"])
    late: dict[str, Json] = {"amount": money("10"), "day": "2026-09-30"}
    refused = await desk.post(f"{BASE}/spend", {**late})
    assert (refused.status, refused.at("code")) == (409, "period-closed")
    assert "2026-10" in str(refused.at("fix"))
    posted = await booked(desk, "10", "2026-09-30", post_late=True)
    assert (posted.at("period"), posted.at("late")) == ("2026-10", True)
    assert (await desk.post(f"{BASE}/periods/2026-Q3:reopen")).at("closed_periods") == []
    assert (await booked(desk, "10", "2026-09-30")).at("period") == "2026-09"
    assert (await desk.post(f"{BASE}/periods/2026-Q5:close")).status == 404
    assert (await desk.post(f"{BASE}/periods/2026-Q3:close", roles=("finance.editor",))).status == 403


async def test_the_same_spend_sent_again_is_one(desk: Desk) -> None:
    first = await booked(desk, "10", "2026-10-01", external_id="bill-1")
    again = await booked(desk, "10", "2026-10-01", external_id="bill-1")
    assert first.at("id") == again.at("id")


async def test_the_return_stands_beside_its_model_window_interval_payback_and_cost(desk: Desk) -> None:
    own = await campaign(desk)
    await booked(desk, "1000.00", "2026-09-30", campaign_id=own)
    await booked(desk, "500.00", "2026-10-05", campaign_id=own, category="creative_production")
    await won(desk, "D1", "900.00", "2026-10-10T00:00:00Z")
    await won(desk, "D2", "2100.00", "2026-10-20T12:00:00Z")
    answer = await desk.get(f"{BASE}/roi/{own}?model=linear&window=90")
    assert answer.status == 200, answer.body
    (found,) = answer.rows("returns")
    assert (found["attributed_revenue"], found["total_investment"]) == (money("3000.00"), money("1500.00"))
    assert answer.at("returns.0.roi.value") == "1.0000000000"
    # 900 after 10 days is not enough, 3000 after 20.5 days is: 21 days begun.
    assert (answer.at("returns.0.payback.days"), answer.at("returns.0.acquisition_cost.value")) == (
        21,
        "750.0000000000",
    )
    low, high = answer.at("returns.0.interval.low"), answer.at("returns.0.interval.high")
    # Drawn anew, both deals are the small one (1800), or the large one (4200).
    assert (low, high) == (0.2, 1.8)
    assert (answer.at("model"), answer.at("window_days"), answer.at("grade")) == ("linear", 90, "E0")
    assert [each["category"] for each in answer.rows("investment")] == ["creative_production", "media_spend"]


async def test_nothing_invested_gives_no_number_and_says_why(desk: Desk) -> None:
    own = await campaign(desk)
    await won(desk, "D1", "900.00", "2026-10-10T00:00:00Z")
    answer = await desk.get(f"{BASE}/roi/{own}")
    assert (answer.at("returns.0.roi.value"), answer.at("returns.0.interval")) == (None, None)
    assert "Nothing was invested" in str(answer.at("returns.0.roi.undefined"))
    other = await campaign(desk, "C2")
    assert (await desk.get(f"{BASE}/roi/{other}")).at("returns") == []


async def test_money_in_two_currencies_is_never_added(desk: Desk) -> None:
    own = await campaign(desk)
    await booked(desk, "100.00", "2026-09-30", campaign_id=own)
    await won(desk, "D1", "900.00", "2026-10-10T00:00:00Z", currency="USD")
    answer = await desk.get(f"{BASE}/roi/{own}")
    assert [each["currency"] for each in answer.rows("returns")] == ["EUR", "USD"]
    assert answer.at("returns.0.roi.value") is None
    assert "USD" in str(answer.at("returns.0.roi.undefined"))


async def test_what_was_won_in_other_currencies_can_only_raise_a_return_paid_for_in_one(desk: Desk) -> None:
    own = await campaign(desk)
    await booked(desk, "100.00", "2026-09-30", campaign_id=own)
    await won(desk, "D1", "900.00", "2026-10-10T00:00:00Z", currency="USD")
    await won(desk, "D2", "250.00", "2026-10-11T00:00:00Z")
    bounded = await desk.get(f"{BASE}/roi/{own}")
    assert Decimal(str(bounded.at("returns.0.roi.at_least"))) == Decimal("1.5")
    assert bounded.at("returns.1.roi.at_least") is None
    await desk.post(f"{BASE}/spend", {"amount": money("10.00", "USD"), "day": "2026-09-30", "campaign_id": own})
    assert (await desk.get(f"{BASE}/roi/{own}")).at("returns.0.roi.at_least") is None


async def test_as_of_cuts_spend_and_deals_alike(desk: Desk) -> None:
    own = await campaign(desk)
    await booked(desk, "100.00", "2026-10-01", campaign_id=own)
    await booked(desk, "300.00", "2026-10-15", campaign_id=own)
    await won(desk, "D1", "150.00", "2026-10-10T00:00:00Z")
    early = await desk.get(f"{BASE}/roi/{own}?as_of=2026-10-12T00:00:00Z")
    assert early.at("returns.0.roi.value") == "0.5000000000"
    assert (await desk.get(f"{BASE}/roi/{own}")).at("returns.0.roi.value") == "-0.6250000000"
    missing = await desk.get(f"{BASE}/roi/camp_01JD3Q4B8M0000000000000000")
    assert (missing.status, missing.at("code")) == (404, "campaign-missing")
    assert (await desk.get(f"{BASE}/roi/{own}?model=magic")).faults == {"/query/model": "unknown-value"}


async def test_budget_against_actual_by_category_department_and_channel(desk: Desk) -> None:
    await desk.put(
        said(
            "finance.budget", "B1", period="2026-11", amount=money("1000.00"), category="media_spend", channel="email"
        ),
        said("finance.budget", "B2", period="2026-11", amount=money("500.00"), department="events"),
        said("finance.budget", "B3", period="2026-12", amount=money("700.00"), department="events"),
    )
    await booked(desk, "600.00", "2026-11-01", channel="email", department="growth")
    await booked(desk, "40.00", "2026-10-31", channel="email")
    answer = await desk.get(f"{BASE}/budget/2026-11")
    assert answer.status == 200, answer.body
    assert answer.at("currencies.0.total.budget") == money("1500.00")
    assert answer.at("currencies.0.total.actual") == money("600.00")
    assert answer.at("currencies.0.total.variance") == money("900.00")
    lines = {str(each["name"]): each for each in answer.rows("currencies.0.by_department")}
    assert (lines["events"]["budget"], lines["events"]["actual"]) == (money("500.00"), money("0.00"))
    assert (lines["growth"]["budget"], lines["growth"]["used"]) == (None, None)
    channels = {str(each["name"]): each for each in answer.rows("currencies.0.by_channel")}
    assert channels["email"]["used"] == 0.6
    quarter = await desk.get(f"{BASE}/budget/2026-Q4")
    assert quarter.at("currencies.0.total.budget") == money("2200.00")
    assert quarter.at("currencies.0.total.actual") == money("640.00")
    assert (await desk.get(f"{BASE}/budget/2026-13")).status == 404
    assert (await desk.get(f"{BASE}/budget/2024")).at("currencies") == []
