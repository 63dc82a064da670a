"""The page of monitoring shows what was counted, what alarms, and lets somebody look after it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Literal

import pytest
from playwright.sync_api import Page, expect

from isthmus.app.alerting.rules import LATE, LATENCY, RULES
from isthmus.gateway.monitoring.minutes import Cell, Kind, write_cells
from isthmus.store.database import Scope
from isthmus.stream.alerts.rules import Gauge, Reading
from isthmus.stream.alerts.state import SETTLED, evaluate
from tests.rooms.console.checks import Watch, overflowing, shut_out
from tests.rooms.console.conftest import Window
from tests.rooms.console.stage import Site, Who

Scheme = Literal["light", "dark"]
MINUTE = timedelta(minutes=1)
ROUTES = ("GET /api/v1/leads", "POST /api/v1/integrations/sales/leads", "GET /api/v1/me", "GET /")


@dataclass(frozen=True)
class Watched:
    """A workspace with three hours of traffic and three alerts, one of which is over."""

    workspace: int
    owner: Who


def cells(now: datetime) -> list[tuple[Kind, datetime, str, Cell]]:
    chance = Random(5)
    found: list[tuple[Kind, datetime, str, Cell]] = []
    first = now.replace(second=0, microsecond=0) - 170 * MINUTE
    for minute in range(169):
        at = first + minute * MINUTE
        every = Cell()
        for name in ROUTES:
            cell = Cell()
            for _ in range(chance.randint(1, 9)):
                slow = 90 < minute < 110
                micros = int(chance.lognormvariate(10.2 if slow else 8.6, 0.7))
                status = 503 if slow and chance.random() < 0.1 else 403 if chance.random() < 0.02 else 200
                cell.count(status=status, micros=micros)
            every.add(cell)
            found.append(("route", at, name, cell))
        sums: tuple[tuple[Kind, str], ...] = (("all", "all"), ("domain", "sales"), ("key", "key_01M6DSG7E0"))
        found.extend((kind, at, name, every) for kind, name in sums)
    return found


@pytest.fixture(scope="session")
def watched(site: Site) -> Watched:
    """The workspace."""
    workspace = site.workspace("Northwind Bridges")
    now = datetime.now(UTC)

    async def fill() -> None:
        scope = site.scope(workspace)
        async with site.database.transaction(scope) as tx:
            await write_cells(tx, cells(now), instance="one")
        nobody = Scope(workspace=0, actor="", cause="", now=now)
        probes = Cell()
        for _ in range(2_000):
            probes.count(status=200, micros=900)
        probes.count(status=503, micros=900)
        async with site.database.transaction(nobody) as tx:
            await write_cells(tx, [("probe", now - MINUTE, "healthz", probes)], instance="one")
        early = replace(scope, now=now - SETTLED - MINUTE)
        over = Gauge(name=LATENCY, about="finance", value=900, reason="p95 is 900 ms over 80 calls in 5 min")
        slow = Gauge(name=LATENCY, about="sales", value=812, reason="p95 is 812 ms over 240 calls in 5 min")
        late = Gauge(name=LATE, about="crm/deals", value=5_400, reason="due 1 h ago; the connection is retrying")
        async with site.database.transaction(early) as tx:
            await evaluate(tx, RULES, Reading(gauges=[over], names=frozenset({LATENCY, LATE})))
        async with site.database.transaction(scope) as tx:
            await evaluate(tx, RULES, Reading(gauges=[slow, late], names=frozenset({LATENCY, LATE})))

    site.do(fill())
    return Watched(workspace, site.sign_in(workspace, "owner"))


@pytest.fixture
def visit(window: Window, site: Site) -> Callable[..., Page]:
    """Opens the page."""

    def go(who: Who, *, scheme: Scheme = "light", query: str = "", script: bool = True) -> Page:
        page = window(who, scheme=scheme, script=script).new_page()
        page.goto(f"{site.url}/monitoring{query}")
        return page

    return go


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("place", ["full", "opened up", "first day"])
def test_the_page_shuts_nobody_out_and_fits(
    visit: Callable[..., Page], watched: Watched, newcomer: Who, place: str, scheme: Scheme
) -> None:
    page = visit(newcomer if place == "first day" else watched.owner, scheme=scheme)
    if place == "opened up":
        page.evaluate("() => document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    assert shut_out(page) == []
    assert overflowing(page) == []
    page.set_viewport_size({"width": 400, "height": 900})
    assert overflowing(page) == []
    assert shut_out(page) == []


def test_the_page_is_light_quiet_and_stays_at_home(window: Window, site: Site, watched: Watched) -> None:
    page = window(watched.owner).new_page()
    watch = Watch.over(page, own=f"127.0.0.1:{site.port}")
    page.goto(f"{site.url}/monitoring")
    page.wait_for_timeout(500)
    assert watch.elsewhere == []
    assert watch.complaints == []
    assert len(watch.requests) <= 8
    assert 0 < watch.received <= 80_000


def test_it_shows_what_was_counted_and_what_alarms(visit: Callable[..., Page], watched: Watched) -> None:
    page = visit(watched.owner)
    expect(page.get_by_role("heading", name="Answers are slow (p95 over 500 ms)").first).to_be_visible()
    expect(page.locator("#alerts")).to_contain_text("p95 is 812 ms over 240 calls in 5 min")
    expect(page.locator(".headline")).to_have_text("2 alerts wait for somebody.")
    assert page.locator(".plot .line.p95").count() == 1
    assert page.locator(".plot .fault").count() > 1
    expect(page.get_by_role("region", name="Traffic by route, the busiest first")).to_contain_text("GET /api/v1/me")
    expect(page.locator("#objectives")).to_contain_text("99.9% promised")


def test_a_stretch_of_time_is_chosen_by_link_or_key(visit: Callable[..., Page], watched: Watched) -> None:
    page = visit(watched.owner)
    expect(page.locator("#traffic [aria-current]")).to_have_text("3 hours")
    page.keyboard.press("m")
    page.wait_for_url("**/monitoring?hours=24*")
    expect(page.locator("#traffic [aria-current]")).to_have_text("24 hours")


def test_an_alert_is_looked_after_and_silenced_without_script(
    site: Site, visit: Callable[..., Page], watched: Watched
) -> None:
    page = visit(watched.owner, script=False)
    page.get_by_role("button", name="Acknowledge: A stream is late, crm/deals").click()
    expect(page.locator(".headline")).to_have_text("1 alert waits for somebody.")
    expect(page.locator("#alerts")).to_contain_text("looked after by you")
    page.get_by_role("button", name="Silence for 4 hours: A stream is late, crm/deals").click()
    page.wait_for_url("**/monitoring")

    async def silences() -> list[tuple[str, str]]:
        async with site.database.transaction(site.scope(watched.workspace)) as tx:
            rows = await (await tx.connection.execute("select rule, about from alert_silence")).fetchall()
        return [(str(rule), str(about)) for rule, about in rows]

    assert site.do(silences()) == [("stream-late", "crm/deals")]


def test_who_may_not_watch_is_refused_and_who_may_only_look_finds_no_buttons(
    window: Window, site: Site, watched: Watched
) -> None:
    viewer = window(site.sign_in(watched.workspace, "sales.viewer")).new_page()
    answer = viewer.goto(f"{site.url}/monitoring")
    assert answer is not None
    assert answer.status == 403
    looking = window(site.sign_in(watched.workspace, "sales.admin")).new_page()
    looking.goto(f"{site.url}/monitoring")
    expect(looking.get_by_role("heading", name="A stream is late")).to_be_visible()
    assert looking.get_by_role("button", name="Acknowledge").count() == 0
