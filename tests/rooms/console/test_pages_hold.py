"""Every page, in both schemes and at both widths, shuts nobody out, fits, stays on its host and is light."""

from collections.abc import Callable
from typing import Literal

import pytest
from playwright.sync_api import Page

from tests.rooms.console.checks import Watch, overflowing, shut_out
from tests.rooms.console.conftest import Window
from tests.rooms.console.stage import Site, Who

Scheme = Literal["light", "dark"]
REQUESTS_MAX = 8
BYTES_MAX = 60_000
PLACES = ("overview", "overview opened up", "first day", "sign-in", "link", "spent link", "help")


@pytest.fixture
def visit(window: Window, site: Site, owner: Who, newcomer: Who) -> Callable[[str, Scheme], Page]:
    """Opens a place."""

    def go(place: str, scheme: Scheme) -> Page:
        who = {"sign-in": None, "link": None, "spent link": None, "first day": newcomer}.get(place, owner)
        page = window(who, scheme=scheme).new_page()
        page.goto(site.url + {"sign-in": "/sign-in", "link": "/enter/x", "spent link": "/enter/x"}.get(place, "/"))
        if place == "spent link":
            page.get_by_role("button", name="Sign in").click()
            page.get_by_role("alert").wait_for()
        if place == "overview opened up":
            page.evaluate("() => document.querySelectorAll('details').forEach((each) => { each.open = true; })")
        if place == "help":
            page.keyboard.press("?")
            page.get_by_role("dialog").wait_for()
        return page

    return go


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("place", PLACES)
def test_a_page_shuts_nobody_out_and_fits(visit: Callable[[str, Scheme], Page], place: str, scheme: Scheme) -> None:
    page = visit(place, scheme)
    assert shut_out(page) == []
    assert overflowing(page) == []
    page.set_viewport_size({"width": 400, "height": 900})
    assert overflowing(page) == []
    assert shut_out(page) == []


def test_what_shuts_people_out_is_found(window: Window, site: Site, owner: Who) -> None:
    page = window(owner).new_page()
    page.goto(site.url)
    page.evaluate("() => { document.querySelector('h1').insertAdjacentHTML('afterend', '<img src=data:,>'); }")
    assert any(each.startswith("image-alt") for each in shut_out(page))
    page.evaluate("() => { document.querySelector('h1').style.color = '#ddd'; }")
    assert any(each.startswith("color-contrast") for each in shut_out(page))


@pytest.mark.parametrize("width", [400, 1280])
def test_what_sticks_out_is_found(window: Window, site: Site, owner: Who, width: int) -> None:
    page = window(owner, width=width).new_page()
    page.goto(site.url)
    page.evaluate("(wide) => { document.querySelector('h1').style.width = wide + 'px'; }", width + 20)
    assert "page" in overflowing(page)
    page.reload()
    page.evaluate(
        "() => { const h = document.querySelector('h1'); h.style.width = '40px'; h.textContent = 'Wiiiiiide'; }"
    )
    assert overflowing(page) == ["text in h1: Wiiiiiide"]


@pytest.mark.parametrize("place", ["/", "/sign-in", "/enter/x"])
def test_a_page_is_light_quiet_and_stays_at_home(window: Window, site: Site, owner: Who, place: str) -> None:
    page = window(owner if place == "/" else None).new_page()
    watch = Watch.over(page, own=f"127.0.0.1:{site.port}")
    page.goto(site.url + place)
    if place == "/":
        page.locator("#lamp.on").wait_for()
    page.wait_for_timeout(1200)
    assert watch.elsewhere == []
    assert watch.complaints == []
    assert 0 < len(watch.requests) <= REQUESTS_MAX
    assert 0 < watch.received <= BYTES_MAX


def test_what_breaks_the_policy_or_leaves_the_host_is_found(window: Window, site: Site, owner: Who) -> None:
    page = window(owner).new_page()
    watch = Watch.over(page, own=f"127.0.0.1:{site.port}")
    page.goto(site.url)
    page.evaluate("() => { document.querySelector('h1').setAttribute('style', 'color: red'); }")
    page.evaluate("() => { document.body.insertAdjacentHTML('beforeend', '<p onclick=\"x()\">planted</p>'); }")
    page.wait_for_timeout(200)
    assert sum("Content Security Policy" in each for each in watch.complaints) == 2
    page.evaluate("() => { new Image().src = 'http://elsewhere.invalid/pixel.png'; }")
    page.wait_for_timeout(200)
    assert any("elsewhere.invalid" in each for each in (*watch.elsewhere, *watch.complaints))
    page.evaluate("() => { console.error('planted'); }")
    page.wait_for_timeout(100)
    assert "planted" in watch.complaints


def test_what_weighs_too_much_is_found(window: Window, site: Site, owner: Who) -> None:
    page = window(owner).new_page()
    watch = Watch.over(page, own=f"127.0.0.1:{site.port}")
    page.goto(site.url)
    page.evaluate("async () => { for (let i = 0; i < 9; i++) await (await fetch('/?again=' + i)).text(); }")
    page.evaluate("async () => { for (let i = 0; i < 9; i++) await (await fetch('/')).text(); }")
    assert len(watch.requests) > REQUESTS_MAX
    assert watch.received > BYTES_MAX


def test_pages_are_never_kept_and_assets_for_ever(window: Window, site: Site, owner: Who) -> None:
    page = window(owner).new_page()
    kept: dict[str, str] = {}
    page.on("response", lambda answer: kept.update({answer.url: answer.headers.get("cache-control", "")}))
    page.goto(site.url)
    assert kept[f"{site.url}/"] == "no-store"
    assets = {url: control for url, control in kept.items() if "/assets/" in url}
    assert len(assets) >= 2
    assert set(assets.values()) == {"public, max-age=31536000, immutable"}
