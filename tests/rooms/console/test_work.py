"""The page of work shows what waits for somebody, what runs and what comes, and mends it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, LiteralString

import pytest
from playwright.sync_api import Page, expect

from isthmus.app import discovery
from isthmus.auth.custom_roles import save
from isthmus.auth.roles import CustomRole
from tests.rooms.console import working
from tests.rooms.console.checks import Watch, overflowing, shut_out
from tests.rooms.console.conftest import Window
from tests.rooms.console.stage import Site, Who

Scheme = Literal["light", "dark"]


@dataclass(frozen=True)
class Busy:
    """A workspace with work of every sort."""

    workspace: int
    owner: Who


@pytest.fixture(scope="module")
def busy(site: Site) -> Busy:
    """The workspace."""
    workspace = site.workspace("Northwind Bridges")
    site.do(working.fill(site, workspace))
    return Busy(workspace, site.sign_in(workspace, "owner"))


@pytest.fixture
def own(site: Site) -> Busy:
    """Another such workspace, for one test to change."""
    workspace = site.workspace("Northwind Bridges")
    site.do(working.fill(site, workspace))
    return Busy(workspace, site.sign_in(workspace, "owner"))


@pytest.fixture
def visit(window: Window, site: Site) -> Callable[..., Page]:
    """Opens the page."""

    def go(who: Who, *, scheme: Scheme = "light", query: str = "", script: bool = True, width: int = 1280) -> Page:
        page = window(who, scheme=scheme, script=script, width=width).new_page()
        page.goto(f"{site.url}/work{query}")
        return page

    return go


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("place", ["opened up", "first day"])
def test_the_page_shuts_nobody_out_and_fits(
    visit: Callable[..., Page], busy: Busy, newcomer: Who, place: str, scheme: Scheme
) -> None:
    page = visit(newcomer if place == "first day" else busy.owner, scheme=scheme)
    if place == "opened up":
        page.evaluate("() => document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    assert shut_out(page) == []
    for width in (360, 760, 1920):
        page.set_viewport_size({"width": width, "height": 900})
        assert overflowing(page) == []
    assert shut_out(page) == []


def test_the_page_is_light_quiet_and_stays_at_home(window: Window, site: Site, busy: Busy) -> None:
    page = window(busy.owner).new_page()
    watch = Watch.over(page, own=f"127.0.0.1:{site.port}")
    page.goto(f"{site.url}/work")
    page.locator("#lamp.on").wait_for()
    page.wait_for_timeout(500)
    assert watch.elsewhere == []
    assert watch.complaints == []
    assert len(watch.requests) <= 8
    assert 0 < watch.received <= 60_000


def test_it_says_what_waits_for_whom_and_why(visit: Callable[..., Page], busy: Busy) -> None:
    page = visit(busy.owner)
    expect(page.locator(".headline")).to_have_text("13 dead letters and 1 webhook wait for somebody.")
    letters, log = page.locator("#letters"), page.locator("#log")
    expect(letters.locator("li.cause", has_text="Reactions of sales")).to_contain_text("5 events")
    expect(letters.locator("li.cause", has_text="Run a connection")).to_contain_text("The vendor refuses the key.")
    expect(letters.locator("li.cause", has_text="Messages from billing")).to_contain_text("2 messages")
    expect(log).to_contain_text("PostgreSQL only")
    expect(log).to_contain_text("The last is event 10")
    expect(log).to_contain_text("6 events are parked.")
    expect(log.locator("li", has_text="pipeline of sales")).to_contain_text("4 events to read")
    expect(page.locator("#schedules li", has_text="Health scores")).to_contain_text("2 missed · 1 skipped")
    expect(page.locator("#jobs .models")).to_contain_text("needs attention 5")
    hook = page.locator("#webhooks li", has_text="hooks.warehouse.example").first
    expect(hook).to_contain_text("failing for 6 days")
    expect(hook).to_contain_text("no answer")


def test_a_job_that_goes_on_is_seen_going_on(site: Site, visit: Callable[..., Page], busy: Busy) -> None:
    page = visit(busy.owner)
    running = page.locator("#running article", has_text="Credit by channel")
    expect(running.get_by_role("progressbar")).to_have_attribute("value", "250")
    run(site, busy, "update job set progress = jsonb_set(progress, '{done}', '3600') where kind = 'analytics.full'")
    expect(running.get_by_role("progressbar")).to_have_attribute("value", "750")
    run(site, busy, "update job set progress = jsonb_set(progress, '{done}', '1200') where kind = 'analytics.full'")


def test_what_failed_is_tried_again_by_its_cause_without_script(
    site: Site, visit: Callable[..., Page], own: Busy
) -> None:
    page = visit(own.owner, script=False)
    page.get_by_role("button", name=f"Retry all: Reactions of sales, {working.BROKEN}").click()
    expect(page.locator("#letters").get_by_role("status")).to_have_text("5 tried again.")
    page.get_by_role("button", name="Retry all: Run a connection: pull, compare, push").click()
    expect(page.locator("#letters").get_by_role("status")).to_have_text("4 tried again.")
    page.get_by_role("button", name="Retry all: Messages from billing").click()
    expect(page.locator(".headline")).to_have_text("2 dead letters and 1 webhook wait for somebody.")
    page.get_by_role("button", name="Retry: Reactions of retired").click()
    expect(page.locator("#letters").get_by_role("status")).to_have_text("1 failed again, and waits as before.")
    page.get_by_text("Discard… Reactions of retired").click()
    page.get_by_role("button", name="Discard: Reactions of retired").click()
    page.get_by_text("Discard… The month that has ended").click()
    page.get_by_role("button", name="Discard: The month that has ended").click()
    expect(page.locator(".headline")).to_have_text("1 webhook waits for somebody.")
    expect(page.locator("#letters")).to_contain_text("Everything that happened had its effect.")
    traced = actions(site, own)
    assert (traced["dead-letter.retried"], traced["job.retried"], traced["dead-letter.discarded"]) == (5, 4, 1)
    assert traced["job.discarded"] == 1


def test_one_of_many_is_tried_again_or_given_up(visit: Callable[..., Page], own: Busy) -> None:
    page = visit(own.owner)
    cause = page.locator("li.cause", has_text="Messages from billing")
    cause.get_by_text("One by one").click()
    cause.get_by_role("button", name="Retry: whin_").first.click()
    expect(page.locator("#letters").get_by_role("status")).to_have_text("1 tried again.")
    assert "did=" not in page.url
    page.locator("li.cause", has_text="Reactions of sales").get_by_text("The first 3").click()
    page.get_by_text("Discard… event 1").click()
    page.get_by_role("button", name="Discard: event 1").click()
    expect(page.locator("#letters").get_by_role("status")).to_have_text("1 given up.")
    expect(page.locator("#letters")).to_contain_text("What it waited behind was given up, so it can be tried now.")


def test_a_schedule_is_run_rested_and_resumed(site: Site, visit: Callable[..., Page], own: Busy) -> None:
    page = visit(own.owner)
    page.get_by_role("button", name="Run now: Financial figures").click()
    expect(page.locator("#schedules").get_by_role("status")).to_have_text("The job of the schedule waits to be done.")
    page.get_by_role("button", name="Run now: Financial figures").click()
    expect(page.get_by_role("alert")).to_contain_text("A run of 'daily-finance' waits or goes on.")
    page.get_by_role("button", name="Pause: Financial figures").click()
    expect(page.locator("#schedules li", has_text="Financial figures")).to_contain_text("paused in the console")
    page.get_by_role("button", name="Resume: Financial figures").click()
    expect(page.get_by_role("button", name="Pause: Financial figures")).to_be_visible()
    traced = actions(site, own)
    assert (traced["schedule.paused"], traced["schedule.resumed"], traced["schedule.run"]) == (2, 1, 2)


def test_jobs_are_filtered_paged_cancelled_and_tried_again(visit: Callable[..., Page], own: Busy) -> None:
    page = visit(own.owner, query="?status=healthy")
    rows = page.locator("#jobs ul.jobs > li")
    expect(rows).to_have_count(15)
    seen = set(rows.all_inner_texts())
    page.get_by_role("link", name="Older").click()
    expect(page.get_by_role("link", name="Newest")).to_be_visible()
    expect(rows).to_have_count(14)
    assert not seen & set(rows.all_inner_texts())
    page.keyboard.press("m")
    expect(page.locator("#jobs [aria-current]")).to_have_text("paused 1")
    page.get_by_role("button", name="Retry: Delete what has expired").click()
    expect(page.locator("#jobs").get_by_role("status")).to_have_text("The job waits to be done.")
    expect(page.locator("#jobs")).to_contain_text("None is paused.")
    page.goto(page.url.split("?")[0] + "?status=retrying")
    page.locator("#jobs").get_by_role("button", name="Cancel: Run a connection").click()
    expect(page.locator("#jobs")).to_contain_text("None is retrying.")
    page.locator("#running").get_by_role("button", name="Cancel: Credit by channel").click()
    expect(page.locator("#running")).to_contain_text("it stops at its next step")


def test_a_webhook_is_resumed_recovered_and_paused(site: Site, visit: Callable[..., Page], own: Busy) -> None:
    page = visit(own.owner)
    page.get_by_text("Recover… hooks.warehouse.example").click()
    page.get_by_label("Send what failed in the last").select_option("168")
    page.get_by_role("button", name="Recover: hooks.warehouse.example").click()
    expect(page.locator("#webhooks").get_by_role("status")).to_have_text("3 deliveries that failed are sent again.")
    page.get_by_role("button", name="Resume: hooks.warehouse.example").click()
    expect(page.locator("#webhooks li", has_text="hooks.warehouse.example").first).to_contain_text("3 under way")
    page.get_by_role("button", name="Pause: hooks.warehouse.example").click()
    expect(page.locator("#webhooks")).to_contain_text("Paused just now")
    traced = actions(site, own)
    assert (traced["webhook.recovered"], traced["webhook.resumed"], traced["webhook.paused"]) == (1, 1, 2)


def test_who_may_only_look_finds_no_buttons_and_who_may_less_less(window: Window, site: Site, busy: Busy) -> None:
    def opened(*roles: str) -> tuple[Page, int]:
        page = window(site.sign_in(busy.workspace, *roles)).new_page()
        answer = page.goto(f"{site.url}/work")
        assert answer is not None
        return page, answer.status

    assert opened("sales.viewer")[1] == 403
    looking, _ = opened("sales.admin")
    expect(looking.get_by_role("link", name="Work")).to_have_attribute("aria-current", "page")
    assert looking.locator("main button").count() == 0
    operator = CustomRole(name="operator", permissions=("stream:read", "stream:write"))

    async def make() -> None:
        async with site.database.transaction(site.scope(busy.workspace)) as tx:
            await save(tx, operator, domains=[each.name for each in discovery.domains()], giver=None)

    site.do(make())
    tending, _ = opened("operator")
    expect(tending.get_by_role("button", name="Run now: Delete what has expired")).to_be_visible()
    assert tending.get_by_role("button", name="Run now: Health scores").count() == 0
    assert tending.get_by_role("button", name="Retry all: Run a connection").count() == 0
    refused = tending.evaluate(
        "async () => (await fetch('/working/schedules/daily-health/run', {method: 'POST', body: new URLSearchParams({"
        "csrf: document.querySelector('#press [name=csrf]').value})})).status"
    )
    assert refused == 403


def run(site: Site, busy: Busy, query: LiteralString) -> None:
    """Run a statement in the workspace."""

    async def do() -> None:
        async with site.database.transaction(site.scope(busy.workspace)) as tx:
            await tx.connection.execute(query)

    site.do(do())


def actions(site: Site, busy: Busy) -> dict[str, int]:
    """Return what is in the audit log, with how often."""

    async def ask() -> dict[str, int]:
        async with site.database.transaction(site.scope(busy.workspace)) as tx:
            cursor = await tx.connection.execute("select action, count(*) from audit group by action")
            return {str(action): int(count) for action, count in await cursor.fetchall()}

    return site.do(ask())
