"""Google Ads' rows in our words, and a session with our own account of its documented interface."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import msgspec
import pytest

from isthmus.connectors.googleads import CONNECTOR
from isthmus.connectors.googleads.account import NOON, SCOPE
from isthmus.connectors.googleads.account_http import Site, serving
from isthmus.connectors.googleads.answers import flat
from isthmus.connectors.googleads.conformance import running
from isthmus.connectors.googleads.cursor import Days
from isthmus.connectors.googleads.gaql import QueryRefused, parsed
from isthmus.connectors.googleads.wire import AUDIENCES, CAMPAIGNS, SPEND, Row, query
from isthmus.kernel.marks import Json
from isthmus.store.observation import Observation
from isthmus.sync.connector import ConnectorError, KeyRefused, NotAsDocumented, Raw, Throttled, freely
from isthmus.sync.oauth import consent_url, exchange, oauth_of, renew

HERE = Path(__file__).parent / "fixtures"
TODAY, DAY = date(2026, 11, 20), timedelta(days=1)


def said(feed: str, at: int) -> Observation:
    """Return what a row of a fixture says."""
    body = flat(msgspec.json.decode((HERE / f"{feed}.json").read_bytes(), type=list[Row])[at])
    (found,) = CONNECTOR.normalise(feed, Raw(external_id=str(at), body=body))
    return found


def eur(amount: str) -> Json:
    """Return an amount."""
    return {"amount": amount, "currency": "EUR"}


@pytest.fixture
def site() -> Iterator[Site]:
    """An account where it is noon of a day in November."""
    with serving(Site()) as running_site:
        yield running_site


async def read(site: Site, feed: str, cursor: str | None = None, **settings: str) -> tuple[list[Raw], str]:
    """Return the rows that a run reads, and its last cursor."""
    rows: list[Raw] = []
    async with CONNECTOR.open(site.settings | settings) as session:
        async for page in session.read(feed, cursor=cursor):
            rows += page.rows
            cursor = page.cursor
    assert cursor is not None
    return rows, cursor


def costs(rows: list[Raw]) -> dict[str, Json]:
    """Return the cost of each row by its id, in micros."""
    return {row.external_id: row.body["metrics.costMicros"] for row in rows}


def test_a_campaign_has_a_budget_only_where_google_has_one_for_all_of_its_time() -> None:
    whole, daily, gone = (said(CAMPAIGNS, at) for at in range(3))
    assert (whole.type, whole.fields) == (
        "marketing.campaign",
        {
            "name": "Brand, search",
            "kind": "search",
            "channel": "paid_search",
            "status": "active",
            "starts_on": "2026-11-02",
            "ends_on": "2026-12-31",
            "budget": eur("900.000000"),
        },
    )
    assert (daily.fields["budget"], daily.fields["status"], daily.fields["channel"]) == (
        None,
        "completed",
        "performance_max",
    )
    assert (gone.fields["status"], gone.fields["ends_on"]) == ("cancelled", None)


def test_a_user_list_is_an_audience_and_costs_are_exact_to_the_micro() -> None:
    sized, unsized = said(AUDIENCES, 0), said(AUDIENCES, 1)
    assert sized.fields == {"name": "Visitors of the price list", "description": "Thirty days", "size": 12_000}
    assert (unsized.fields["description"], unsized.fields["size"]) == (None, None)
    spent = said(SPEND, 0)
    assert (spent.type, spent.fields) == (
        "finance.spend",
        {
            "amount": eur("12.345678"),
            "day": "2026-11-20",
            "category": "media_spend",
            "custom": {"impressions": 4321, "clicks": 87},
            "channel": "paid_search",
        },
    )
    assert spent.links["campaign_id"].external_id == "20000000001"


async def test_days_within_the_window_are_read_again_and_those_before_are_not(site: Site) -> None:
    own = site.account.campaign("Search")
    for ago in range(60):
        site.account.spent(own, TODAY - ago * DAY, 1_000_000)
    first, cursor = await read(site, SPEND, page_rows="7")
    assert len(first) == len(costs(first)) == 60
    site.account.spent(own, TODAY - 29 * DAY, 900_000)
    site.account.spent(own, TODAY - 30 * DAY, 800_000)
    again, _ = await read(site, SPEND, cursor, page_rows="7")
    assert len(again) == 30
    assert costs(again)[f"{own}~{TODAY - 29 * DAY}"] == "900000"
    assert f"{own}~{TODAY - 30 * DAY}" not in costs(again)


async def test_a_day_that_is_no_longer_told_is_zero_once_and_is_not_deleted(site: Site) -> None:
    search, display = running(site)
    _, cursor = await read(site, SPEND)
    site.account.spent(search, TODAY, 0, impressions=0, clicks=0)
    site.account.spent(display, TODAY - DAY, 0, impressions=0, clicks=0)
    rows, cursor = await read(site, SPEND, cursor, page_rows="1")
    zeros = [row for row in rows if row.body["metrics.costMicros"] == "0"]
    assert {row.external_id for row in zeros} == {f"{search}~{TODAY}", f"{display}~{TODAY - DAY}"}
    (word,) = CONNECTOR.normalise(SPEND, zeros[0])
    assert (word.fields["amount"], "channel" in word.fields) == (eur("0.000000"), False)
    assert not any(row.deleted for row in rows)
    assert len((await read(site, SPEND, cursor))[0]) == 2


async def test_a_run_that_was_broken_off_still_finds_the_days_that_are_no_longer_told(site: Site) -> None:
    search, display = running(site)
    _, cursor = await read(site, SPEND)
    site.account.spent(display, TODAY - DAY, 0, impressions=0, clicks=0)
    async with CONNECTOR.open(site.settings | {"page_rows": "1"}) as session:
        first = await anext(aiter(session.read(SPEND, cursor=cursor)))
    left, _ = await read(site, SPEND, first.cursor)
    found = costs([*first.rows, *left])
    assert found[f"{display}~{TODAY - DAY}"] == "0"
    assert len([each for each in found if each.startswith(str(search))]) == 3


async def test_a_connection_that_slept_reads_what_was_restated_before_it_slept(site: Site) -> None:
    own = site.account.campaign("Search")
    site.account.spent(own, TODAY - 20 * DAY, 1_000_000)
    _, cursor = await read(site, SPEND)
    site.account.now = NOON + 100 * DAY
    site.account.spent(own, TODAY - 20 * DAY, 2_000_000)
    site.account.spent(own, TODAY + 50 * DAY, 3_000_000)
    rows, _ = await read(site, SPEND, cursor)
    assert costs(rows) == {f"{own}~{TODAY - 20 * DAY}": "2000000", f"{own}~{TODAY + 50 * DAY}": "3000000"}


async def test_which_day_it_is_is_that_of_the_account(site: Site) -> None:
    site.account.now = datetime(2026, 11, 20, 23, 30, tzinfo=UTC)
    site.account.zone = "Asia/Tokyo"
    own = site.account.campaign("Search")
    site.account.spent(own, TODAY + DAY, 1_000_000)
    assert list(costs((await read(site, SPEND))[0])) == [f"{own}~{TODAY + DAY}"]


async def test_what_google_refuses_is_told_with_what_to_do(site: Site) -> None:
    wrong = (
        ({"developer_token": "of-another"}, KeyRefused, "API centre"),
        ({"customer_id": "111-111-1111"}, ConnectorError, "login_customer_id"),
        ({"refresh_token": "stale"}, KeyRefused, "refresh_token"),
    )
    for settings, kind, fix in wrong:
        async with CONNECTOR.open(site.settings | settings) as session:
            with pytest.raises(kind) as caught:
                await session.check()
        assert fix in caught.value.fix
    site.account.manager = True
    async with CONNECTOR.open(site.settings) as session:
        with pytest.raises(ConnectorError, match="manages others"):
            await session.check()


async def test_an_exhausted_quota_is_waited_for_as_long_as_google_says(site: Site) -> None:
    site.account.calls_left = 0
    async with CONNECTOR.open(site.settings) as session:
        with pytest.raises(Throttled) as caught:
            await session.check()
    assert caught.value.retry_after_s == 7


async def test_a_persons_consent_gives_tokens_that_are_renewed_and_read_the_account(site: Site) -> None:
    oauth, settings = oauth_of(CONNECTOR), site.settings | {"refresh_token": ""}
    back, verifier = "https://hub.example/back", "v" * 43
    assert CONNECTOR.consents(settings)
    url = consent_url(oauth, settings, state="s", redirect_uri=back, verifier=verifier)
    parts = urlsplit(url)
    connection = HTTPConnection(parts.netloc)
    connection.request("GET", f"{parts.path}?{parts.query}")
    came = dict(parse_qsl(urlsplit(connection.getresponse().getheader("location") or "").query))
    connection.close()
    assert came["scope"] == SCOPE
    granted = await exchange(CONNECTOR, settings, code=came["code"], verifier=verifier, redirect_uri=back, now=NOON)
    renewed = await renew(CONNECTOR, settings, granted.tokens, dies_at=None, now=NOON)
    assert renewed.tokens.refresh == granted.tokens.refresh

    async def authorise(fresh: bool) -> dict[str, str]:  # noqa: FBT001 - as Calls asks it.
        assert not fresh
        return {"Authorization": f"Bearer {renewed.tokens.access}"}

    async with oauth.begin(settings, freely, authorise) as session:
        assert (await session.check()).startswith("Northwind Ads")


async def test_a_token_that_is_over_is_renewed_while_days_are_read(site: Site) -> None:
    search, _ = running(site)
    found: list[str] = []
    async with CONNECTOR.open(site.settings | {"page_rows": "1"}) as session:
        async for page in session.read(SPEND, cursor=None):
            found += [row.external_id for row in page.rows]
            site.account.tokens.clear()
    assert len(found) == len(set(found)) == 4
    assert found[0] == f"{search}~{TODAY - 2 * DAY}"


async def test_settings_that_cannot_be_right_are_refused(site: Site) -> None:
    for name, value in (
        ("customer_id", "abc"),
        ("developer_token", ""),
        ("window_days", "0"),
        ("window_days", "many"),
        ("page_rows", "10001"),
        ("history_days", "4000"),
    ):
        with pytest.raises(ConnectorError):
            async with CONNECTOR.open(site.settings | {name: value}):
                pass


async def test_a_query_that_the_account_refuses_is_told_with_googles_code(site: Site) -> None:
    async with CONNECTOR.open(site.settings) as session:
        site.account.manager = True
        with pytest.raises(NotAsDocumented, match="REQUESTED_METRICS_FOR_MANAGER"):
            _ = [page async for page in session.read(SPEND, cursor=None)]


def test_queries_are_refused_as_they_are_documented_to_be() -> None:
    codes: dict[str, str] = {}
    for text in (
        "FROM campaign",
        "SELECT campaign.id",
        "SELECT campaign.id FROM nothing",
        "SELECT campaign.nothing FROM campaign",
        "SELECT user_list.id FROM campaign",
        "SELECT segments.date, metrics.clicks FROM campaign",
        "SELECT campaign.id FROM campaign WHERE campaign.id > x",
        "SELECT campaign.id FROM campaign WHERE campaign.name = 'open",
        "SELECT campaign.id FROM campaign ORDER BY campaign.name",
        "SELECT campaign.id FROM campaign LIMIT 0",
        "SELECT campaign.id FROM campaign LIMIT 5 more",
        "SELECT segments.date FROM campaign WHERE segments.date BETWEEN '2026-11-01' AND 'then'",
    ):
        with pytest.raises(QueryRefused) as caught:
            parsed(text)
        codes[text] = caught.value.code
    assert list(codes.values()) == [
        "EXPECTED_SELECT",
        "EXPECTED_FROM",
        "BAD_RESOURCE_TYPE_IN_FROM_CLAUSE",
        "UNRECOGNIZED_FIELD",
        "PROHIBITED_RESOURCE_TYPE_IN_SELECT_CLAUSE",
        "EXPECTED_FILTERS_ON_DATE_RANGE",
        "BAD_NUMBER",
        "STRING_NOT_TERMINATED",
        "EXPECTED_REFERENCED_FIELD_IN_SELECT_CLAUSE",
        "LIMIT_VALUE_TOO_LOW",
        "UNEXPECTED_INPUT",
        "INVALID_DATE_FORMAT",
    ]
    assert parsed(query(AUDIENCES, "user_list.id > 0", order="user_list.id", limit=5)).limit == 5


def test_a_clock_that_goes_back_loses_no_day() -> None:
    before = Days().begun(today=TODAY, window=30, history=90).moved([(TODAY, 7)], whole=True).done(window=30)
    assert before.ended == TODAY
    again = before.begun(today=TODAY - 2 * DAY, window=30, history=90)
    assert (again.until, again.day) == (TODAY, TODAY - 29 * DAY)
    assert list(again.moved([], whole=True).gone()) == [("7", TODAY)]
