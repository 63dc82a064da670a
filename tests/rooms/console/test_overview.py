"""The overview tells the truth, keeps itself up to date, and shows to each what they may see."""

import asyncio
import time
from urllib.parse import urlsplit
from uuid import UUID

import pytest
from click.testing import CliRunner
from playwright.sync_api import Page, expect

from isthmus.app.cli.group import cli
from isthmus.app.http.assembly import all_routes
from isthmus.gateway.router import Router
from isthmus.store.observation import Observation
from isthmus.sync.ingest import Interval, put
from isthmus.sync.runs import recorded
from tests.rooms.console.conftest import Window
from tests.rooms.console.stage import Site, Who


@pytest.fixture
def page(window: Window, site: Site, owner: Who) -> Page:
    """The overview of the full workspace."""
    page = window(owner).new_page()
    page.goto(site.url)
    return page


def test_it_names_every_system_with_its_streams_and_one_status(page: Page) -> None:
    systems = page.locator("#systems li")
    expect(systems).to_have_count(5)
    crm = systems.filter(has=page.get_by_role("heading", name="crm"))
    expect(crm.locator(".status")).to_contain_text("rejected")
    expect(crm.locator(".streams")).to_contain_text("opportunities")
    expect(crm.locator("time").first).to_be_visible()
    expect(crm.locator(".last")).to_contain_text("read")


def test_a_made_up_company_is_called_made_up(window: Window, site: Site, page: Page, newcomer: Who) -> None:
    expect(page.locator("#headline")).to_contain_text("nothing here is real")
    honest = window(newcomer).new_page()
    honest.goto(site.url)
    expect(honest.locator("#headline")).not_to_contain_text("real")


def test_it_counts_what_is_in_the_store(page: Page, site: Site, full: int) -> None:
    async def count() -> int:
        async with site.database.transaction(site.scope(full)) as tx:
            cursor = await tx.connection.execute(
                "select count(*) from sales_person where deleted_at is null and merged_into is null"
            )
            row = await cursor.fetchone()
            return int(row[0]) if row else 0

    expect(page.locator("#domains tr").filter(has_text="Sales")).to_contain_text(f"{site.do(count()):,} people")


def test_every_model_credits_the_same_total(page: Page) -> None:
    totals: set[int] = set()
    shown: set[str] = set()
    for model in ("First", "Last", "Last non-direct", "Linear", "Time decay", "Position"):
        page.get_by_role("link", name=model, exact=True).click()
        expect(page.locator(".models [aria-current]")).to_have_text(model)
        amounts = page.locator(".channels .amount").all_inner_texts()
        totals.add(sum(int(each.strip("€$£").replace(",", "")) for each in amounts))
        shown.add("|".join(amounts))
    assert len(shown) >= 4
    assert max(totals) - min(totals) <= 12
    won = int(page.locator(".figures dd").nth(4).inner_text().strip("€$£").replace(",", ""))
    assert abs(max(totals) - won) <= 12


def test_currencies_are_never_added_and_each_has_its_picture(page: Page) -> None:
    other = page.get_by_role("link", name="Show what was won in USD")
    dollars = other.inner_text()
    assert dollars.startswith("$")
    expect(page.locator("#figures")).to_contain_text(f"and {dollars}")
    other.click()
    amounts = page.locator(".channels .amount").all_inner_texts()
    assert all(each.startswith("$") for each in amounts)
    assert abs(sum(int(each[1:].replace(",", "")) for each in amounts) - int(dollars[1:].replace(",", ""))) <= 12
    page.get_by_role("link", name="Last", exact=True).click()
    expect(page.locator(".channels .amount").first).to_contain_text("$")
    page.locator("#lamp.on").wait_for()
    expect(page.locator(".channels .amount").first).to_contain_text("$")


def test_the_picture_stands_in_a_table_too(page: Page) -> None:
    page.get_by_text("All models side by side").click()
    rows = page.locator("#credit-table tbody tr")
    expect(rows).to_have_count(page.locator(".channels tbody tr").count())
    expect(rows.first.locator("td")).to_have_count(6)


def test_a_conflict_shows_both_values_their_sources_and_the_stake(page: Page) -> None:
    case = page.locator("#cases li").first
    expect(case.locator(".side")).to_have_count(2)
    expect(case.locator(".who").first).to_contain_text("kept for now")
    assert len(set(case.locator(".value").all_inner_texts())) == 2
    expect(case.locator(".stake")).to_contain_text("at stake")


def test_every_panel_says_how_to_ask_the_same_elsewhere(page: Page, site: Site) -> None:
    known = Router(all_routes(site.store.schema))
    for name in ("credit", "cases", "systems", "domains", "changes"):
        page.locator(f"#{name} summary", has_text="Show as").click()
        said = page.locator(f"#{name} .api code").inner_text()
        if "curl" in said:
            address = urlsplit(said.split('"')[-2])
            assert f"{address.scheme}://{address.netloc}" == site.url
            assert known.find("GET", address.path).route.path == address.path


@pytest.mark.parametrize("who", ["owner", "newcomer"])
def test_every_command_a_page_names_exists(
    window: Window, site: Site, who: str, request: pytest.FixtureRequest
) -> None:
    page = window(request.getfixturevalue(who)).new_page()
    page.goto(site.url)
    named = {words for words in page.locator("code").all_text_contents() if words.startswith("isthmus ")}
    page.goto(f"{site.url}/enter/x")
    page.get_by_role("button", name="Sign in").click()
    named |= {words for words in page.locator("code").all_text_contents() if words.startswith("isthmus ")}
    assert len(named) >= 3
    for line in named:
        words = [each for each in line.split()[1:] if each.islower() and not each.startswith("-")]
        outcome = CliRunner().invoke(cli, [*words, "--help"])
        assert outcome.exit_code == 0, line


def test_an_empty_workspace_says_what_to_do_next(window: Window, site: Site, newcomer: Who) -> None:
    page = window(newcomer).new_page()
    page.goto(site.url)
    expect(page.locator("#headline")).to_contain_text("Nothing is connected yet")
    expect(page.locator("#systems")).to_contain_text("isthmus connect")
    expect(page.locator("#cases")).to_contain_text("Nothing waits for a decision")
    expect(page.locator("#credit")).to_contain_text("No won deal yet")
    expect(page.locator("#domains")).to_contain_text("isthmus import FILE")


def test_a_run_is_shown_while_it_goes_on_without_reloading(window: Window, site: Site) -> None:
    workspace = site.workspace("Busy")
    page = window(site.sign_in(workspace, "owner")).new_page()
    page.goto(site.url)
    page.locator("#lamp.on").wait_for()
    steps: asyncio.Queue[int] = asyncio.Queue()
    begun = site.begin(go_on(site, workspace, steps))
    run = page.locator("#running .run")
    for read in (250, 600):
        told = time.monotonic()
        site.do(steps.put(read))
        expect(run.locator("dd").first).to_contain_text(f"{read} of 1,000")
        assert time.monotonic() - told < 1.5
        expect(run.locator("progress")).to_have_attribute("value", str(read))
        expect(run.locator(".status")).to_have_text("running")
        expect(run.locator(".some dd")).to_have_text("2")
        expect(run.locator("header")).to_contain_text("left")
    site.do(steps.put(0))
    begun.result(timeout=20)
    expect(run).to_have_count(0)


async def go_on(site: Site, workspace: int, steps: "asyncio.Queue[int]") -> None:
    """Run an import of a thousand rows, of which as many are read as it is told; it ends at 0."""
    engine, kind = site.engine, "import"
    async with recorded(engine, workspace=workspace, actor="user:tester", kind=kind, about="leads.csv") as progress:
        while read := await steps.get():
            progress.read, progress.created, progress.total, progress.rejected = read, read - 7, 1000, 2
            async with site.database.transaction(site.scope(workspace)) as tx:
                await progress.save(tx)


def test_a_change_appears_within_a_second_and_what_is_open_stays_open(window: Window, site: Site) -> None:
    workspace = site.workspace("Quiet")
    page = window(site.sign_in(workspace, "owner")).new_page()
    page.goto(site.url)
    page.locator("#lamp.on").wait_for()
    page.locator("#cases summary").click()
    opened = page.locator("#cases details")

    async def write() -> None:
        at = site.clock.now()
        seen = Observation(type="sales.account", system="crm", external_id="1", fields={"name": "Ash & Sons"}, at=at)
        await put(site.store, site.scope(workspace), [seen], interval=Interval(since=None, until=at))

    began = time.monotonic()
    site.do(write())
    expect(page.locator("#changes")).to_contain_text("Ash & Sons")
    assert time.monotonic() - began < 2.5
    expect(opened).to_have_attribute("open", "")
    expect(page.locator("#domains")).to_contain_text("1 account", timeout=8_000)


def test_text_from_systems_is_never_markup(window: Window, site: Site) -> None:
    workspace = site.workspace("<b>Bold</b> & Co")
    page = window(site.sign_in(workspace, "owner")).new_page()
    page.goto(site.url)
    page.locator("#lamp.on").wait_for()

    async def write() -> None:
        at = site.clock.now()
        name = "<img src=x onerror=alert(1)>"
        seen = Observation(type="sales.account", system="<i>", external_id="1", fields={"name": name}, at=at)
        await put(site.store, site.scope(workspace), [seen], interval=Interval(since=None, until=at))

    site.do(write())
    expect(page.locator("#changes")).to_contain_text("<img src=x onerror=alert(1)>")
    expect(page.locator("main img")).to_have_count(0)
    expect(page.locator(".workspace")).to_have_text("<b>Bold</b> & Co")


def personal_case(site: Site, workspace: int) -> None:
    """Open a conflict about somebody's e-mail address."""

    async def make() -> None:
        at = site.clock.now()
        seen = [
            Observation(type="sales.person", system="crm", external_id="1", fields={"email": mail}, at=at)
            for mail in ("jane@example.org",)
        ]
        results = await put(site.store, site.scope(workspace), seen, interval=Interval(since=None, until=at))
        record: UUID = results[0].records[0]
        async with site.database.transaction(site.scope(workspace)) as tx:
            cursor = await tx.connection.execute(
                "select hlc, system, external_id from claim where record_id = %s", (record,)
            )
            place = await cursor.fetchone()
            assert place is not None
            await tx.connection.execute(
                "insert into inbox_case (workspace, id, type, record_id, field, status, kept_hlc, kept_system,"
                " kept_external_id, claimed_hlc, claimed_system, claimed_external_id, opened_at)"
                " values (current_workspace(), %s, 'sales.person', %s, 'email', 'open', %s, %s, %s, %s, %s, %s, %s)",
                (record, record, *place, *place, at),
            )

    site.do(make())


def test_what_somebody_may_not_see_never_reaches_their_browser(window: Window, site: Site) -> None:
    workspace = site.workspace("Secrets")
    personal_case(site, workspace)
    seeing = window(site.sign_in(workspace, "owner")).new_page()
    seeing.goto(site.url)
    expect(seeing.locator("#cases .value").first).to_have_text("jane@example.org")
    masked = window(site.sign_in(workspace, "sales.viewer", "marketing.admin")).new_page()
    masked.goto(site.url)
    expect(masked.locator("#cases .value").first).to_have_text("hidden for your role")
    assert "jane" not in masked.content()
    outside = window(site.sign_in(workspace, "finance.viewer")).new_page()
    outside.goto(site.url)
    expect(outside.locator("#cases")).to_contain_text("Ask for sync:read")
    expect(outside.locator("#credit")).to_contain_text("Ask for sales:read")
    expect(outside.locator("#systems")).to_contain_text("Ask for sync:read")
    content = outside.content()
    assert "jane" not in content
    assert "people" not in outside.locator("#domains").inner_text()
