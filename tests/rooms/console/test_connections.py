"""The pages of connections: connecting by consent, how a system is, what waits, what would be written, what flows."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, LiteralString

import pytest
from playwright.sync_api import Page, expect

from isthmus.kernel.ids import text_of
from isthmus.stream.jobs.board import jobs
from isthmus.sync.connections import connection_of
from tests.rooms.console.checks import Watch, overflowing, shut_out
from tests.rooms.console.conftest import Window
from tests.rooms.console.stage import Site, Who
from tests.rooms.sync.consent_room import CLIENT, SECRET, running_vendor

Scheme = Literal["light", "dark"]
CALLBACK = "/connections/oauth/callback"
PICTURES = os.environ.get("PICTURES")


@dataclass(frozen=True)
class Own:
    """A workspace with one connected system, and its page."""

    workspace: int
    owner: Who
    at: str


@pytest.fixture(scope="module")
def own(site: Site) -> Own:
    """The workspace; its system is the CRM of the demo company, which holds rows that cannot be stored."""
    workspace = site.workspace("Harbour Supplies")
    site.fill(workspace, systems=("crm",))
    return Own(workspace, site.sign_in(workspace, "owner"), place(site, workspace, "crm"))


@pytest.fixture(scope="module")
def vendor(site: Site) -> Iterator[str]:
    """The address of a vendor at which people consent."""
    with running_vendor(f"{site.url}{CALLBACK}") as address:
        yield address


@pytest.fixture
def visit(window: Window, site: Site) -> Callable[..., Page]:
    """Opens a page."""

    def go(who: Who, path: str, *, scheme: Scheme = "light", script: bool = True) -> Page:
        page = window(who, scheme=scheme, script=script).new_page()
        page.goto(path if path.startswith("http") else f"{site.url}{path}")
        return page

    return go


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_pages_shut_nobody_out_and_fit(
    site: Site, visit: Callable[..., Page], owner: Who, newcomer: Who, full: int, scheme: Scheme
) -> None:
    page = visit(owner, "/connections", scheme=scheme)
    at = place(site, full, "crm")
    dark = ("/connections", at, f"{at}/mapping")
    light = ("/connections/add", "/connections/add/hubspot", f"{at}/plan", f"{at}/settings", f"{at}/records")
    # What the pages are made of is alike in both schemes, so each page is looked at in one of them.
    for path in dark if scheme == "dark" else light:
        page.goto(path if path.startswith("http") else f"{site.url}{path}")
        page.evaluate("() => document.querySelectorAll('details').forEach((each) => { each.open = true; })")
        assert (path, shut_out(page)) == (path, [])
        for width in (380, 900):
            page.set_viewport_size({"width": width, "height": 900})
            assert (path, overflowing(page)) == (path, [])
    if scheme == "light":
        first_day = visit(newcomer, "/connections")
        expect(first_day.locator("#systems")).to_contain_text("Nothing is connected yet.")
        assert shut_out(first_day) == []


def test_a_page_is_light_quiet_and_stays_at_home(window: Window, site: Site, own: Own) -> None:
    page = window(own.owner).new_page()
    watch = Watch.over(page, own=f"127.0.0.1:{site.port}")
    page.goto(own.at)
    page.locator("#lamp.on").wait_for()
    page.wait_for_timeout(300)
    assert (watch.elsewhere, watch.complaints) == ([], [])
    assert len(watch.requests) <= 8
    assert 0 < watch.received <= 60_000


def test_a_system_is_found_filled_in_and_connected_by_a_persons_consent(
    site: Site, visit: Callable[..., Page], own: Own, vendor: str
) -> None:
    page = visit(own.owner, "/connections")
    page.get_by_role("link", name="Connect a system").click()
    page.get_by_role("searchbox").fill("a person's consent")
    page.keyboard.press("Enter")
    expect(page.locator(".choices li")).to_have_count(1)
    page.get_by_role("link", name="Books").click()
    filled(page, name="crm", url=vendor, client_id=CLIENT, client_secret=SECRET)
    page.get_by_role("button", name="Connect").click()
    expect(page.get_by_role("alert")).to_contain_text("There is a connection named 'crm'. Choose another name.")
    assert SECRET not in page.content()
    filled(page, name="books", client_secret=SECRET)
    page.get_by_role("button", name="Connect").click()
    expect(page.get_by_role("status")).to_contain_text("It is connected.")
    expect(page.locator("#consent")).to_contain_text("not given yet")
    page.get_by_role("button", name="Ask whether it answers").click()
    expect(page.get_by_role("status")).to_contain_text("Nobody has consented at Books yet.")
    page.get_by_role("button", name="Connect: Books").click()
    expect(page.get_by_role("status")).to_contain_text("The consent is kept, sealed.")
    expect(page.locator("#consent")).to_contain_text("holds")
    page.get_by_role("button", name="Ask whether it answers").click()
    expect(page.get_by_role("status")).to_have_text("It answers. We are ada there.")
    assert SECRET not in page.content()
    run(site, own, "update connection_grant set refresh_expires_at = now() + interval '3 days 1 hour'")
    page.goto(f"{site.url}/connections")
    expect(page.locator("#systems li", has_text="books")).to_contain_text("The consent ends in 3 days.")
    page.get_by_role("link", name="Consent again").click()
    expect(page.locator("#consent .status")).to_have_text("ends in 3 days")
    picture(page, "connection-consent")
    page.get_by_role("button", name="Reconnect: Books").click()
    expect(page.locator("#consent .status")).to_have_text("holds")


def test_a_consent_that_is_over_is_told_on_a_page(site: Site, visit: Callable[..., Page], own: Own) -> None:
    page = visit(own.owner, f"{site.url}{CALLBACK}?state=1.gone&code=x")
    expect(page.get_by_role("heading", name="It is not connected")).to_be_visible()
    expect(page.get_by_role("alert")).to_contain_text("was used before")
    assert shut_out(page) == []


def test_a_form_that_is_refused_says_where_and_what_to_do(visit: Callable[..., Page], own: Own) -> None:
    page = visit(own.owner, "/connections/add/sql", script=False)
    filled(page, name="warehouse", url="sqlite:/etc/x.db", tables="[t]")
    page.get_by_role("button", name="Connect").click()
    expect(page.get_by_role("alert")).to_contain_text("Give it on that machine: isthmus connect add sql")
    box = page.get_by_label("Url")
    expect(box).to_have_attribute("aria-invalid", "true")
    expect(box).to_have_value("sqlite:/etc/x.db")
    page.goto(page.url.replace("/sql", "/singer"))
    expect(page.locator("main")).to_contain_text("This one is connected on the machine itself")
    assert page.get_by_role("button", name="Connect", exact=True).count() == 0


def test_rejected_rows_are_told_by_cause_and_retried_without_script(
    site: Site, visit: Callable[..., Page], own: Own
) -> None:
    page = visit(own.owner, own.at, script=False)
    cause = page.locator("#rejected li.cause", has_text="Invalid email")
    expect(cause).to_contain_text("3 leads")
    expect(cause).to_contain_text("An email address must have an @-sign.")
    cause.get_by_role("button", name="Retry all: invalid-email, leads").click()
    expect(page.locator("#rejected").get_by_role("status")).to_contain_text("tried again by the next free worker")
    page.locator("#rejected li.cause", has_text="Invalid value").get_by_role("button").click()
    expect(page.locator("#rejected").get_by_role("status")).to_contain_text("tried again by the next free worker")
    cause.get_by_role("button", name="Retry all: invalid-email, leads").click()
    expect(page.get_by_role("alert")).to_contain_text("A job for the same waits or runs.")
    assert wanted(site, own, "sync.retry") == [{"code": "invalid-value"}, {"code": "invalid-email"}]
    page.get_by_role("link", name="the rows of invalid-email").click()
    expect(page.locator(".outcomes > li")).to_have_count(3)
    page.get_by_role("link", name="Show all").click()
    page.get_by_label("Id there").fill("LEA0080004")
    page.get_by_role("button", name="Find").click()
    expect(page.locator(".outcomes > li")).to_have_count(1)
    expect(page.locator(".outcomes > li")).to_contain_text("/company: Send text of 1 to 500 characters")
    page.get_by_role("link", name="its run").click()
    expect(page.locator(".figures .waiting")).to_contain_text("4")


def test_what_a_push_would_write_is_seen_before_it_is_asked_for(
    site: Site, visit: Callable[..., Page], owner: Who, full: int
) -> None:
    page = visit(owner, f"{place(site, full, 'crm')}/plan")
    expect(page.locator(".headline")).to_contain_text("people to update")
    row = page.locator("tbody tr").first
    expect(row.locator(".was")).not_to_be_empty()
    expect(row.locator(".becomes")).not_to_be_empty()
    picture(page, "connection-plan")
    page.get_by_role("button", name="Write this now").click()
    expect(page.get_by_role("status")).to_contain_text("is written by the next free worker")
    assert wanted(site, Own(full, owner, ""), "sync.connection") == [{"parts": ["push"]}]


def test_a_connection_is_run_read_again_rested_and_resumed(site: Site, visit: Callable[..., Page], own: Own) -> None:
    page = visit(own.owner, own.at)
    page.get_by_role("button", name="Run now").click()
    expect(page.get_by_role("status")).to_contain_text("A run waits for a worker")
    assert "did=" not in page.url
    page.get_by_text("Read again…").click()
    page.get_by_role("button", name="Read everything again").click()
    expect(page.get_by_role("status")).to_contain_text("Everything there is read again")
    page.get_by_text("Read again…").click()
    page.locator("select[name=feed]").select_option("crm.leads")
    page.get_by_label("From").fill("2026-11-01")
    page.get_by_label("Until, with that day").fill("2026-11-07")
    page.get_by_role("button", name="Read these days again").click()
    expect(page.get_by_role("status")).to_contain_text("The time is read again")
    assert wanted(site, own, "sync.resync") == [{"confirmed": False}]
    (span,) = wanted(site, own, "sync.backfill")
    assert (span["since"], span["until"]) == ("2026-11-01T00:00:00+00:00", "2026-11-08T00:00:00+00:00")
    page.get_by_text("Pause…").click()
    page.get_by_label("Why, for the others").fill("upgrade until Monday")
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("#state")).to_contain_text("upgrade until Monday")
    assert page.get_by_role("button", name="Run now").count() == 0
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_role("button", name="Run now")).to_be_visible()
    expect(page.locator("#state")).to_contain_text("pending")


def test_a_run_that_goes_on_is_seen_going_on(site: Site, visit: Callable[..., Page], own: Own) -> None:
    page = visit(own.owner, own.at)
    page.locator("#lamp.on").wait_for()
    run(
        site,
        own,
        "insert into run (workspace, id, connection_id, about, kind, status, feed, started_at, updated_at, read, total)"
        " select workspace, gen_random_uuid(), id, name, 'sync', 'running', 'crm.leads', now(), now(), 250, 1000"
        " from connection where name = 'crm'",
    )
    bar = page.locator("#running").get_by_role("progressbar")
    expect(bar).to_have_attribute("value", "250")
    run(site, own, "update run set read = 750 where total = 1000")
    expect(bar).to_have_attribute("value", "750")
    run(site, own, "delete from run where total = 1000")
    expect(bar).to_have_count(0)


def test_settings_are_changed_and_a_secret_stays(visit: Callable[..., Page], own: Own) -> None:
    page = visit(own.owner, f"{own.at}/settings")
    page.get_by_text("more settings").click()
    page.get_by_label("Page rows").fill("100")
    page.get_by_label("Runs").select_option("3600")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status")).to_have_text("The settings are changed.")
    expect(page.locator("#settings")).to_contain_text("100")
    expect(page.locator("#state")).to_contain_text("runs every 1 h")
    page.get_by_text("Remove…").click()
    expect(page.get_by_role("button", name="Remove: crm")).to_be_visible()


def test_a_mapping_is_saved_tried_put_in_force_and_taken_back(visit: Callable[..., Page], own: Own) -> None:
    page = visit(own.owner, f"{own.at}/mapping?type=sales.account")
    expect(page.locator(".headline")).to_have_text("Accounts flow as the connector maps them, unchanged.")
    page.get_by_label("industry flows").select_option("never")
    page.get_by_label("Why").first.fill("Industries are kept here.")
    page.get_by_role("button", name="Save and try it").click()
    trial = page.locator("#trial")
    expect(trial).to_contain_text("52 records would say something else")
    expect(trial.locator("tbody tr").first.locator(".becomes")).to_have_text("nothing")
    picture(page, "connection-mapping")
    page.get_by_role("button", name="Put version 1 in force").click()
    expect(page.locator(".headline")).to_have_text("For accounts version 1 is in force: 1 field.")
    expect(page.get_by_label("industry flows")).to_have_value("never")
    page.get_by_label("name flows", exact=True).select_option("out")
    page.get_by_label("Why").first.fill("A mistake.")
    page.get_by_role("button", name="Save and try it").click()
    expect(page.get_by_role("alert")).to_contain_text("'name' is required")
    page.get_by_role("button", name="Take back: version 1").click()
    expect(page.locator("#versions").get_by_role("status")).to_contain_text("It is taken back")
    expect(page.locator(".headline")).to_have_text("Accounts flow as the connector maps them, unchanged.")


def test_a_mapping_is_written_as_json_as_well(visit: Callable[..., Page], own: Own) -> None:
    page = visit(own.owner, f"{own.at}/mapping?type=sales.deal", script=False)
    page.get_by_text("Everything, as JSON").click()
    page.locator("textarea[name=whole]").fill('{"type": "sales.deal", "custom": {"kept": "Nowhere"}}')
    page.get_by_label("Why").last.fill("More is kept.")
    page.get_by_role("button", name="Save this and try it").click()
    expect(page.locator("#versions").get_by_role("status")).to_contain_text("The version is kept.")
    page.get_by_text("Everything, as JSON").click()
    page.locator("textarea[name=whole]").fill("{")
    page.get_by_label("Why").last.fill("Broken.")
    page.get_by_role("button", name="Save this and try it").click()
    expect(page.get_by_role("alert")).to_contain_text("This is no mapping")


def test_a_hundred_thousand_rows_are_paged_and_stay_quick(site: Site, visit: Callable[..., Page]) -> None:
    workspace = site.workspace("Many Rows")
    many = Own(workspace, site.sign_in(workspace, "owner"), "")
    page = visit(many.owner, "/connections/add/stripe")
    run(
        site,
        many,
        "insert into connection (workspace, id, name, connector, settings, options, status, status_at, created_at)"
        " values (current_workspace(), gen_random_uuid(), 'many', 'ingest', '{}', '{}', 'healthy', now(), now())",
    )
    run(
        site,
        many,
        "insert into rejected (workspace, type, system, external_id, code, reason, observation, subject, at)"
        " select current_workspace(), 'product.event', 'many', 'E' || n, 'invalid-value', 'no', '', gen_random_uuid(),"
        " now() - n * interval '1 second' from generate_series(1, 100000) n",
    )
    run(
        site,
        many,
        "insert into run (workspace, id, connection_id, about, kind, status, started_at, updated_at, finished_at)"
        " select workspace, gen_random_uuid(), id, name, 'sync', 'healthy', now(), now(), now()"
        " from connection, generate_series(1, 40)",
    )
    at = place(site, workspace, "many")
    page.goto(at)
    expect(page.locator("#rejected")).to_contain_text("100,000 rows, in 1 group by cause")
    rows = page.locator("#runs tbody tr")
    expect(rows).to_have_count(15)
    page.locator("#runs").get_by_role("link", name="Older").click()
    expect(page.locator("#runs").get_by_role("link", name="Newest")).to_be_visible()
    page.goto(f"{at}/records")
    expect(page.locator(".outcomes > li")).to_have_count(50)
    seen = set(page.locator(".outcomes h3").all_inner_texts())
    began = site.clock.now()
    page.get_by_role("link", name="Older").click()
    expect(page.get_by_role("link", name="Newest")).to_be_visible()
    assert (site.clock.now() - began).total_seconds() < 5
    assert not seen & set(page.locator(".outcomes h3").all_inner_texts())


def test_who_may_only_look_finds_no_buttons(window: Window, site: Site, full: int) -> None:
    at = place(site, full, "crm")

    def opened(path: str, *roles: str) -> tuple[Page, int]:
        page = window(site.sign_in(full, *roles)).new_page()
        answer = page.goto(path)
        assert answer is not None
        return page, answer.status

    assert opened(at, "viewer")[1] == 403
    looking, status = opened(at, "sales.editor")
    assert (status, looking.locator("main button").count()) == (200, 0)
    assert looking.get_by_role("link", name="Connect a system").count() == 0
    assert opened(f"{site.url}/connections/add", "sales.editor")[1] == 403
    assert opened(f"{site.url}/connections/conn_0123", "owner")[1] == 404


def filled(page: Page, **values: str) -> None:
    """Fill in fields by the names of the settings."""
    for name, value in values.items():
        if name == "name":
            page.locator("input[name=name]").fill(value)
        else:
            page.locator(f"label:has(input[name=keys][value={name}]) [name=values]").fill(value)


def place(site: Site, workspace: int, name: str) -> str:
    """Return the address of a connection's page."""

    async def ask() -> str:
        async with site.database.transaction(site.scope(workspace)) as tx:
            return text_of("conn", (await connection_of(tx, name)).id)

    return f"{site.url}/connections/{site.do(ask())}"


def run(site: Site, own: Own, query: LiteralString) -> None:
    """Run a statement in the workspace."""

    async def do() -> None:
        async with site.database.transaction(site.scope(own.workspace)) as tx:
            await tx.connection.execute(query)

    site.do(do())


def wanted(site: Site, own: Own, kind: str) -> list[dict[str, object]]:
    """Return what the jobs of a kind that wait are given, apart from the connection."""

    async def ask() -> list[dict[str, object]]:
        async with site.database.transaction(site.scope(own.workspace)) as tx:
            found = await jobs(tx, kind=kind)
        return [{name: value for name, value in each.arguments.items() if name != "connection"} for each in found]

    return site.do(ask())


def picture(page: Page, name: str) -> None:
    """Take a picture of the page, where one is asked for."""
    if PICTURES:
        page.screenshot(path=f"{PICTURES}/{name}.png", full_page=True)
