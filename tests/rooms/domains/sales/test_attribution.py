"""Credit over account journeys sums to the cent, opens down to every touch, and hides nothing."""

from decimal import Decimal

import pytest

from isthmus.analytics import UNATTRIBUTED
from isthmus.domains.sales.metrics import attribution_by
from isthmus.kernel.marks import Json
from isthmus.store.observation import Observation
from tests.rooms.domains.desk import Answer, Desk, said

BASE = "/api/v1/integrations/sales/attribution"


def money(amount: str, currency: str = "EUR") -> dict[str, Json]:
    """Money as it stands in JSON."""
    return {"amount": amount, "currency": currency}


def touch(name: str, channel: str, kind: str, at: str, **links: Json) -> Observation:
    """A touch."""
    return said("marketing.touch", name, channel=channel, kind=kind, at=at, **links)


def won(name: str, **fields: Json) -> Observation:
    """A deal that was won at noon of the 20th of October."""
    at = "2026-10-20T12:00:00Z"
    return said("sales.deal", name, name=name, stage="closed_won", won=True, closed_at=at, **fields)


async def company(desk: Desk) -> dict[str, str]:
    """An account with a journey of mail, direct visit and webinar, one won without any, one in another currency."""
    ids = {
        "mail": (await desk.put(said("marketing.campaign", "C1", name="Mail", channel="email")))[0],
        "webinar": (await desk.put(said("marketing.campaign", "C2", name="Webinar", channel="webinar")))[0],
        "idle": (await desk.put(said("marketing.campaign", "C3", name="Idle")))[0],
    }
    for name in ("A1", "A2", "A3"):
        await desk.put(said("sales.account", name, name=f"Account {name}"))
    await desk.put(said("sales.person", "P1", first_name="Ada", account_id="A1"))
    await desk.put(
        touch("T1", "email", "clicked", "2026-10-01T12:00:00Z", account_id="A1", campaign_id="C1"),
        touch("T2", "direct", "visited", "2026-10-10T12:00:00Z", person_id="P1"),
        touch("T3", "webinar", "attended", "2026-10-19T12:00:00Z", person_id="P1", campaign_id="C2"),
        touch("T4", "email", "bounced", "2026-10-19T13:00:00Z", account_id="A1", campaign_id="C1"),
        touch("T5", "email", "clicked", "2026-10-21T12:00:00Z", account_id="A1", campaign_id="C1"),
        touch("T6", "email", "clicked", "2026-10-01T12:00:00Z", account_id="A3", campaign_id="C1"),
    )
    await desk.put(
        won("D1", account_id="A1", amount=money("100.00")),
        won("D2", account_id="A2", amount=money("40.00")),
        won("D3", account_id="A3", amount=money("7.00", "USD")),
        said("sales.deal", "D4", name="Lost", account_id="A1", stage="closed_lost", won=False, amount=money("9.00")),
        won("D5", account_id="A1"),
        said("sales.deal", "D6", name="No date", stage="closed_won", won=True, amount=money("5.00")),
    )
    return ids


def revenue(answer: Answer, at: str = "buckets") -> dict[tuple[Json, Json], Json]:
    """Bucket and currency to revenue."""
    found: dict[tuple[Json, Json], Json] = {}
    for each in answer.rows(at):
        amount = each["revenue"]
        assert isinstance(amount, dict)
        found[each["bucket"], amount["currency"]] = amount["amount"]
    return found


@pytest.mark.parametrize(
    ("model", "email", "direct", "webinar"),
    [
        ("first", "100.00", "0.00", "0.00"),
        ("last", "0.00", "0.00", "100.00"),
        ("last_non_direct", "0.00", "0.00", "100.00"),
        ("linear", "33.34", "33.33", "33.33"),
        ("position", "40.00", "20.00", "40.00"),
    ],
)
async def test_each_model_credits_the_channels_by_its_rule(
    desk: Desk, model: str, email: str, direct: str, webinar: str
) -> None:
    await company(desk)
    answer = await desk.get(f"{BASE}?by=channel&model={model}")
    assert answer.status == 200, answer.body
    assert revenue(answer) == {
        ("email", "EUR"): email,
        ("direct", "EUR"): direct,
        ("webinar", "EUR"): webinar,
        (UNATTRIBUTED, "EUR"): "40.00",
        ("email", "USD"): "7.00",
    }
    assert answer.at("totals") == [money("140.00"), money("7.00", "USD")]
    assert answer.at("unattributed") == [money("40.00"), money("0.00", "USD")]
    assert (answer.at("deals"), answer.at("journeys")) == (3, 2)
    assert (answer.at("without_amount"), answer.at("without_date"), answer.at("model")) == (1, 1, model)


async def test_time_decay_halves_with_every_half_life(desk: Desk) -> None:
    await company(desk)
    answer = await desk.get(f"{BASE}?model=time_decay&half_life=9")
    # Ages from the last touch: 18, 9 and 0 days, so weights 1/4, 1/2 and 1 of 7/4.
    found = revenue(answer)
    assert [found[name, "EUR"] for name in ("email", "direct", "webinar")] == ["14.29", "28.57", "57.14"]
    assert answer.at("half_life_days") == 9.0


async def test_a_campaign_shows_its_credit_and_the_journeys_behind_it(desk: Desk) -> None:
    ids = await company(desk)
    answer = await desk.get(f"{BASE}/{ids['mail']}?model=linear&expand=journeys")
    assert answer.status == 200, answer.body
    assert revenue(answer, "credit.buckets") == {(ids["mail"], "EUR"): "33.34", (ids["mail"], "USD"): "7.00"}
    (first, second) = answer.rows("journeys")
    assert (first["value"], first["credited"]) == (money("100.00"), money("33.34"))
    named = [each["campaign_id"] for each in answer.rows("journeys.0.touches")]
    assert named == [ids["mail"], None, ids["webinar"]]
    assert second["credited"] == money("7.00", "USD")
    low, high = answer.at("credit.buckets.0.low"), answer.at("credit.buckets.0.high")
    assert isinstance(low, float)
    assert isinstance(high, float)
    assert low <= 33.34 <= high


async def test_journeys_come_page_by_page_and_those_without_a_touch_too(desk: Desk) -> None:
    ids = await company(desk)
    first = await desk.get(f"{BASE}/{ids['mail']}/journeys?limit=1")
    assert (len(first.rows("data")), first.at("has_more")) == (1, True)
    rest = await desk.get(f"{BASE}/{ids['mail']}/journeys?limit=1&cursor={first.at('next_cursor')}")
    assert (len(rest.rows("data")), rest.at("has_more")) == (1, False)
    assert first.at("data.0.deal_id") != rest.at("data.0.deal_id")
    (lonely,) = (await desk.get(f"{BASE}/unattributed/journeys")).rows("data")
    assert (lonely["value"], lonely["touches"]) == (money("40.00"), [])


async def test_campaigns_and_touches_without_one_share_the_whole(desk: Desk) -> None:
    ids = await company(desk)
    found = revenue(await desk.get(f"{BASE}?by=campaign"))
    assert found[ids["mail"], "EUR"] == "33.34"
    assert found["no campaign", "EUR"] == "33.33"
    total = sum(Decimal(str(amount)) for (_, currency), amount in found.items() if currency == "EUR")
    assert total == Decimal("140.00")


async def test_a_campaign_without_credit_shows_zero_and_an_unknown_one_is_not_found(desk: Desk) -> None:
    ids = await company(desk)
    answer = await desk.get(f"{BASE}/{ids['idle']}")
    assert revenue(answer, "credit.buckets") == {(ids["idle"], "EUR"): "0.00", (ids["idle"], "USD"): "0.00"}
    for unknown in ("camp_01JD3Q4B8M0000000000000000", "deal_01JD3Q4B8M0000000000000000", "x"):
        missing = await desk.get(f"{BASE}/{unknown}")
        assert (missing.status, missing.headers["content-type"]) == (404, "application/problem+json")


@pytest.mark.parametrize(
    ("question", "pointer"),
    [("model=shapely", "/query/model"), ("window=0", "/query/window"), ("as_of=yesterday", "/query/as_of")],
)
async def test_a_wrong_question_is_told_what_is_wrong(desk: Desk, question: str, pointer: str) -> None:
    answer = await desk.get(f"{BASE}?{question}")
    assert (answer.status, list(answer.faults)) == (422, [pointer])


async def test_the_window_and_the_moment_cut_what_counts(desk: Desk) -> None:
    await company(desk)
    short = revenue(await desk.get(f"{BASE}?model=first&window=5"))
    assert short["webinar", "EUR"] == "100.00"
    before = await desk.get(f"{BASE}?as_of=2026-10-20T11:59:59Z")
    assert (before.at("deals"), before.at("buckets")) == (0, [])


async def test_a_new_touch_and_a_changed_deal_are_in_the_next_answer(desk: Desk) -> None:
    await company(desk)
    assert revenue(await desk.get(f"{BASE}?model=last"))["webinar", "EUR"] == "100.00"
    desk.later(minutes=1)
    await desk.put(
        touch("T9", "partner", "called", "2026-10-20T11:00:00Z", account_id="A1"),
        won("D1", account_id="A1", amount=money("90.00")),
    )
    assert revenue(await desk.get(f"{BASE}?model=last"))["partner", "EUR"] == "90.00"


async def test_one_workspace_never_sees_the_credit_of_another(desk: Desk, workspace: int) -> None:
    await company(desk)
    async with desk.store.database.plain() as connection:
        cursor = await connection.execute(
            "insert into workspace (slug, name, created_at) values (%s, 'Other', now()) returning id",
            (f"other-{workspace}",),
        )
        row = await cursor.fetchone()
    assert row is not None
    other = type(desk.scope)(workspace=int(row[0]), actor="user:other", cause="test", now=desk.scope.now)
    async with desk.store.database.transaction(other) as tx:
        found = await attribution_by(tx, desk.services, by="channel", model="linear", as_of=other.now)
    assert (found.deals, found.buckets) == (0, [])


async def test_a_touch_of_a_merged_account_counts_for_the_winner(desk: Desk) -> None:
    await company(desk)
    async with desk.store.database.transaction(desk.now) as tx:
        query = """update sales_account a set merged_into = b.id from sales_account b
                   where a.workspace = current_workspace() and b.workspace = a.workspace
                     and a.name = 'Account A3' and b.name = 'Account A1'"""
        assert (await tx.connection.execute(query)).rowcount == 1
    answer = await desk.get(f"{BASE}?model=first")
    found = revenue(answer)
    assert (found["email", "EUR"], found["email", "USD"]) == ("100.00", "7.00")
    assert answer.at("journeys") == 2
