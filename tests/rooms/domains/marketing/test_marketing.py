"""Campaigns are made once, touches come all or not at all, and every rate says what it is divided by."""

from isthmus.kernel.marks import Json
from tests.rooms.domains.desk import Desk, said

UNKNOWN = "camp_01JD3Q4B8M0000000000000000"


def click(**fields: Json) -> dict[str, Json]:
    """A touch."""
    return {"channel": "email", "kind": "clicked", "at": "2026-11-01T09:00:00Z", **fields}


async def test_a_campaign_is_made_and_can_be_read(desk: Desk) -> None:
    wish: Json = {"name": "Autumn", "code": "au26", "channel": "email", "audience_size": 100, "status": "active"}
    made = await desk.post("/api/v1/campaigns", wish)
    assert made.status == 201, made.body
    read = await desk.get(str(made.headers["location"]))
    assert (read.at("id"), read.at("code"), read.at("audience_size")) == (made.at("id"), "au26", 100)
    again = await desk.post("/api/v1/campaigns", {"name": "Other", "code": "au26"})
    assert (again.status, again.at("code")) == (409, "code-taken")
    assert str(made.at("id")) in str(again.at("detail"))
    child = await desk.post("/api/v1/campaigns", {"name": "Child", "parent_id": made.at("id")})
    assert child.at("parent_id") == made.at("id")


async def test_a_campaign_that_makes_no_sense_is_refused(desk: Desk) -> None:
    cases: list[tuple[dict[str, Json], dict[str, str]]] = [
        ({"audience_size": 99}, {"/audience_size": "audience-size"}),
        ({"audience_size": 1_000_001}, {"/audience_size": "audience-size"}),
        ({"starts_on": "2026-11-02", "ends_on": "2026-11-01"}, {"/ends_on": "ends-before-start"}),
        ({"budget": {"amount": "-1", "currency": "EUR"}}, {"/budget/amount": "negative-money"}),
        ({"status": "active"}, {"/channel": "required"}),
        ({"parent_id": UNKNOWN}, {"/parent_id": "unknown-campaign"}),
        ({"name": ""}, {"/name": "wrong-length"}),
    ]
    for fields, faults in cases:
        answer = await desk.post("/api/v1/campaigns", {"name": "A", **fields})
        assert (answer.status, answer.faults) == (422, faults), answer.body
    await desk.set("marketing", {"audience_size_min": 10})
    assert (await desk.post("/api/v1/campaigns", {"name": "A", "audience_size": 99})).status == 201


async def test_touches_name_what_is_not_there_and_nothing_of_the_batch_is_stored(desk: Desk) -> None:
    (own,) = await desk.put(said("marketing.campaign", "C1", name="Mail"))
    answer = await desk.post("/api/v1/touches", {"touches": [click(campaign_id=own), click(campaign_id=UNKNOWN)]})
    assert (answer.status, answer.faults) == (422, {"/touches/1/campaign_id": "unknown-campaign"})
    assert UNKNOWN in str(answer.json)
    free: Json = {"touches": [click(cost={"amount": "-1", "currency": "EUR"})]}
    assert (await desk.post("/api/v1/touches", free)).faults == {"/touches/0/cost/amount": "negative-money"}
    twice: Json = {"touches": [click(external_id="x"), click(external_id="x")]}
    assert (await desk.post("/api/v1/touches", twice)).faults == {"/touches/1/external_id": "repeated"}
    many: Json = [click() for _ in range(1001)]
    assert (await desk.post("/api/v1/touches", {"touches": many})).faults == {"/touches": "wrong-length"}
    assert (await desk.get("/api/v1/touches")).rows("data") == []


async def test_a_touch_sent_again_under_its_id_is_one(desk: Desk) -> None:
    batch: Json = {"touches": [click(external_id="m1"), click(external_id="m2")]}
    first = await desk.post("/api/v1/touches", batch)
    again = await desk.post("/api/v1/touches", batch)
    assert (first.at("created"), first.at("known"), again.at("created"), again.at("known")) == (2, 0, 0, 2)
    assert first.at("ids") == again.at("ids")


async def test_performance_counts_by_channel_and_divides_by_what_it_says(desk: Desk) -> None:
    (own,) = await desk.put(said("marketing.campaign", "C1", name="Mail"))
    await desk.put(said("sales.account", "A1", name="One"), said("sales.person", "P1", first_name="Ada"))
    kinds = ["sent"] * 4 + ["delivered"] * 3 + ["bounced"] + ["opened"] * 2 + ["clicked"]
    touches = [
        said("marketing.touch", f"T{n}", channel="email", kind=kind, at="2026-11-01T09:00:00Z", campaign_id="C1")
        for n, kind in enumerate(kinds)
    ]
    await desk.put(*touches)
    await desk.put(
        said("marketing.touch", "W", channel="webinar", at="2026-11-01T09:00:00Z", campaign_id="C1", account_id="A1"),
        said("finance.spend", "S1", amount={"amount": "12.50", "currency": "EUR"}, day="2026-11-01", campaign_id="C1"),
    )
    answer = await desk.get(f"/api/v1/campaigns/{own}/performance")
    assert answer.status == 200, answer.body
    assert answer.at("touches") == {
        "bounced": 1,
        "clicked": 1,
        "delivered": 3,
        "opened": 2,
        "sent": 4,
        "unspecified": 1,
    }
    rates = {each["name"]: (each["value"], each["per"], each["base"]) for each in answer.rows("rates")}
    assert rates["delivery_rate"] == (0.75, "sent", 4)
    assert rates["open_rate"] == (2 / 3, "delivered", 3)
    assert rates["click_to_open_rate"] == (0.5, "opened", 2)
    assert "attendance_rate" not in rates
    assert [each["channel"] for each in answer.rows("channels")] == ["email", "webinar"]
    assert answer.at("channels.1.rates") == []
    assert answer.at("spend.0.amount") == {"amount": "12.50", "currency": "EUR"}
    assert (answer.at("accounts"), answer.at("people")) == (1, 0)
    assert (await desk.get(f"/api/v1/campaigns/{UNKNOWN}/performance")).status == 404
