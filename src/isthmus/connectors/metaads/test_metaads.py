"""Meta's rows in our words, and a session with our own ad account of its documented protocol."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from isthmus.connectors.metaads import CONNECTOR
from isthmus.connectors.metaads.conformance import advertised
from isthmus.connectors.metaads.vendor_http import Site, serving
from isthmus.connectors.metaads.wire import AUDIENCES, CAMPAIGNS, SPEND, Row
from isthmus.store.observation import Observation
from isthmus.sync.connector import ConnectorError, FeedTrouble, KeyRefused, Raw, Throttled

HERE = Path(__file__).parent / "fixtures"


def said(feed: str, at: int) -> Observation:
    """Return what a row of a fixture says."""
    body = msgspec.json.decode((HERE / f"{feed}.json").read_bytes(), type=list[Row])[at]
    (found,) = CONNECTOR.normalise(feed, Raw(external_id=str(at), body=body))
    return found


@pytest.fixture
def site() -> Iterator[Site]:
    """An ad account."""
    with serving(Site()) as running:
        yield running


async def run(site: Site, feed: str, cursor: str | None = None, **settings: str) -> tuple[list[Raw], str]:
    """Return the rows that a run reads, and its last cursor."""
    rows: list[Raw] = []
    async with CONNECTOR.open(site.settings | settings) as session:
        async for page in session.read(feed, cursor=cursor):
            rows += page.rows
            cursor = page.cursor
    assert cursor is not None
    return rows, cursor


def costs(rows: list[Raw]) -> dict[str, str]:
    """Return what was spent, by external id."""
    return {row.external_id: str(row.body["spend"]) for row in rows}


def test_a_campaign_has_its_days_its_budget_and_its_state() -> None:
    campaign = said(CAMPAIGNS, 0)
    assert (campaign.type, campaign.fields) == (
        "marketing.campaign",
        {
            "name": "Spring leads DE",
            "channel": "paid_social",
            "objective": "OUTCOME_LEADS",
            "starts_on": "2026-03-01",
            "ends_on": "2026-05-31",
            "budget": {"amount": "2500", "currency": "EUR"},
            "status": "active",
        },
    )
    over = said(CAMPAIGNS, 1).fields
    assert (over["status"], over["budget"], over["starts_on"], over["ends_on"]) == (
        "completed",
        None,
        "2025-01-01",
        None,
    )


def test_budgets_are_in_hundredths_but_of_currencies_without_them() -> None:
    body = msgspec.json.decode((HERE / "campaigns.json").read_bytes(), type=list[Row])[1]
    raw = Raw(external_id="1", body={**body, "lifetime_budget": "5050"})
    (yen,) = CONNECTOR.normalise(CAMPAIGNS, raw)
    (euro,) = CONNECTOR.normalise(CAMPAIGNS, Raw(external_id="1", body={**raw.body, "isthmus_currency": "EUR"}))
    assert (yen.fields["budget"], euro.fields["budget"]) == (
        {"amount": "5050", "currency": "JPY"},
        {"amount": "50.5", "currency": "EUR"},
    )


def test_an_audience_has_its_size_where_meta_counts_and_spend_its_campaign() -> None:
    assert said(AUDIENCES, 0).fields == {
        "name": "Trial users",
        "description": "Signed up, not bought.",
        "size": 1200,
        "refreshed_at": "2026-11-06T09:00:00Z",
    }
    assert (said(AUDIENCES, 1).fields["size"], said(AUDIENCES, 1).fields["refreshed_at"]) == (
        None,
        "2026-11-06T09:01:40Z",
    )
    spent = said(SPEND, 0)
    assert (spent.type, spent.fields["amount"]) == ("finance.spend", {"amount": "1234.50", "currency": "EUR"})
    assert (spent.fields["day"], spent.links["campaign_id"].external_id) == ("2026-03-02", "120210000000000001")


async def test_all_that_was_advertised_is_read_the_archived_too(site: Site) -> None:
    running, over = advertised(site)
    campaigns, _ = await run(site, CAMPAIGNS)
    assert [row.external_id for row in campaigns] == [running, over]
    found, _ = await run(site, SPEND)
    today = site.account.today
    assert costs(found) == {
        f"{over}/{today - timedelta(days=40)}": "7.05",
        **{f"{running}/{today - timedelta(days=back)}": f"{20 + back}.50" for back in range(3)},
    }
    assert "POST act_1000200030004000/insights" in site.account.asked, "the first run asks for reports"


async def test_spend_of_the_last_month_is_read_again_and_what_vanished_is_zero_once(site: Site) -> None:
    account = site.account
    running, over = advertised(site)
    today = account.today
    _, cursor = await run(site, SPEND)
    account.spend(running, today, "31.25")
    account.spend(running, today - timedelta(days=1), None)
    account.spend(over, today - timedelta(days=40), "9.99")
    account.now += timedelta(days=1)
    found, after = await run(site, SPEND, cursor)
    assert costs(found) == {
        f"{running}/{today}": "31.25",
        f"{running}/{today - timedelta(days=1)}": "0",
        f"{running}/{today - timedelta(days=2)}": "22.50",
    }
    assert not any(row.deleted for row in found)
    again, _ = await run(site, SPEND, after)
    assert "0" not in costs(again).values()


async def test_a_run_after_a_long_pause_reads_every_day_since(site: Site) -> None:
    running, _ = advertised(site)
    _, cursor = await run(site, SPEND)
    for _ in range(100):
        site.account.now += timedelta(days=1)
        site.account.spend(running, site.account.today, "1.00")
    found, _ = await run(site, SPEND, cursor)
    assert list(costs(found).values()).count("1.00") == 100


async def test_reading_goes_on_from_any_page_and_still_knows_what_vanished(site: Site) -> None:
    running, _ = advertised(site)
    _, cursor = await run(site, SPEND)
    gone = site.account.today
    site.account.spend(running, gone, None)
    site.account.now += timedelta(days=70)
    site.account.spend(running, site.account.today, "2.00")
    async with CONNECTOR.open(site.settings | {"page_rows": "1"}) as session:
        pages = [page async for page in session.read(SPEND, cursor=cursor)]
    whole = [row for page in pages for row in page.rows]
    assert costs(whole)[f"{running}/{gone}"] == "0"
    for at, page in enumerate(pages[:-1]):
        left, _ = await run(site, SPEND, page.cursor)
        assert costs([row for later in pages[at + 1 :] for row in later.rows]).items() <= costs(left).items()


async def test_what_is_too_much_at_once_is_asked_for_as_a_report(site: Site) -> None:
    advertised(site)
    _, cursor = await run(site, SPEND, first_days="30")
    site.account.sync_rows_max, site.account.report_looks, site.account.asked[:] = 1, 1, []
    found, _ = await run(site, SPEND, cursor)
    assert len(found) == 3
    assert [each.partition(" ")[0] for each in site.account.asked].count("POST") == 1
    assert len(site.account.asked) == len(["account", "insights", "report", "running", "completed", "rows"])
    site.account.report_ends = "Job Failed"
    with pytest.raises(FeedTrouble, match="Job Failed"):
        await run(site, SPEND, cursor)


async def test_a_deleted_campaign_is_told_and_a_gone_audience_is_not_in_the_ids(site: Site) -> None:
    running, over = advertised(site)
    _, cursor = await run(site, CAMPAIGNS)
    site.account.status(running, "DELETED")
    changed, _ = await run(site, CAMPAIGNS, cursor)
    assert [(row.external_id, row.deleted) for row in changed][-1] == (running, True)
    gone = next(iter(site.account.audiences))
    async with CONNECTOR.open(site.settings) as session:
        assert [each async for some in session.ids(CAMPAIGNS) for each in some] == [over]
        del site.account.audiences[gone]
        assert gone not in [each async for some in session.ids(AUDIENCES) for each in some]


@pytest.mark.parametrize(("code", "wait_s"), [(80_000, 180.0), (80_004, 180.0), (17, 90.0), (613, 90.0)])
async def test_meta_is_left_alone_for_as_long_as_its_headers_say(site: Site, code: int, wait_s: float) -> None:
    site.account.slower = [code]
    async with CONNECTOR.open(site.settings) as session:
        with pytest.raises(Throttled) as caught:
            await session.check()
        assert caught.value.retry_after_s == wait_s
        assert await session.check() == f"Northwind Ads at {site.url}"


async def test_what_passes_is_tried_again(site: Site) -> None:
    site.account.passing = 1
    async with CONNECTOR.open(site.settings) as session:
        assert await session.check()


async def test_what_is_wrong_with_a_connection_is_told_with_what_to_do(site: Site) -> None:
    async def fails(kind: type[ConnectorError], match: str, **settings: str) -> None:
        with pytest.raises(kind, match=match) as caught:
            async with CONNECTOR.open(site.settings | settings) as session:
                await session.check()
        assert caught.value.fix

    await fails(KeyRefused, "access token", access_token="of-nobody")
    await fails(KeyRefused, "proof", app_secret="of-another")
    await fails(ConnectorError, "not there", account_id="act_1")
    await fails(ConnectorError, "number of an ad account", account_id="northwind")
    await fails(ConnectorError, "restated_days", restated_days="61")
    site.account.demands_proof = True
    await fails(KeyRefused, "proof", app_secret="")
    site.account.rights = False
    await fails(FeedTrouble, "does not allow")
