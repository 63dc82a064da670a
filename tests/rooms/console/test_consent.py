"""A person in a browser lets a program in, coming from another site; the pages shut nobody out."""

import os
from typing import Literal
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from playwright.sync_api import Page, Route

from isthmus.auth.oauth.clients import CODE, DEVICE, REFRESH, Client, ClientWish, register_client
from isthmus.auth.oauth.devices import begin_device
from tests.rooms.console.checks import overflowing, shut_out
from tests.rooms.console.conftest import Window
from tests.rooms.console.stage import Site, Who

BACK = "https://app.test/back"
SCOPES = ("openid", "profile", "offline_access", "sales:read", "sales:read_personal")
PICTURES = os.environ.get("PICTURES")


@pytest.fixture
def program(site: Site, newcomer: Who) -> Client:
    """A registered program."""

    async def make() -> Client:
        async with site.database.transaction(site.scope(newcomer.workspace)) as tx:
            wish = ClientWish(
                name="Quarterly reports", scopes=SCOPES, redirects=(BACK,), grants=(CODE, DEVICE, REFRESH)
            )
            return (await register_client(tx, wish, domains=("sales",), giver=None))[0]

    return site.do(make())


def address(site: Site, program: Client) -> str:
    """Return where the program sends a person."""
    query = {
        "client_id": program.client_id,
        "response_type": "code",
        "redirect_uri": BACK,
        "scope": " ".join(SCOPES),
        "state": "s",
        "code_challenge": "x" * 43,
        "code_challenge_method": "S256",
        "prompt": "consent",
    }
    return f"{site.url}/oauth/authorize?{urlencode(query)}"


def elsewhere(page: Page, link: str) -> None:
    """Play the program's own site, with a link to ours."""

    def answer(route: Route) -> None:
        route.fulfill(status=200, content_type="text/html", body=f"<a href='{link}'>Connect</a>")

    page.route("https://app.test/**", answer)


def checked(page: Page, name: str) -> None:
    """Check a page at both widths."""
    page.get_by_role("heading", level=1).wait_for()
    if PICTURES:
        page.screenshot(path=f"{PICTURES}/{name}.png")
    for width in (1280, 400):
        page.set_viewport_size({"width": width, "height": 900})
        assert shut_out(page) == []
        assert overflowing(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_person_who_comes_from_another_site_allows_and_goes_back(
    window: Window, site: Site, newcomer: Who, program: Client, scheme: Literal["light", "dark"]
) -> None:
    page = window(newcomer, scheme=scheme).new_page()
    elsewhere(page, address(site, program))
    page.goto("https://app.test/start")
    page.get_by_role("link", name="Connect").click()
    page.get_by_role("heading", name="Quarterly reports asks for access").wait_for()
    checked(page, f"consent-{scheme}")
    page.get_by_role("button", name="Allow").click()
    page.wait_for_url("https://app.test/back?**")
    said = parse_qs(urlsplit(page.url).query)
    assert said["state"] == ["s"]
    assert said["code"]
    page.goto(f"{site.url}/programs")
    checked(page, f"programs-{scheme}")
    page.get_by_role("button", name="End its access").first.click()
    page.get_by_text("None. A program asks you here").wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_person_types_the_code_of_a_device(
    window: Window, site: Site, newcomer: Who, program: Client, scheme: Literal["light", "dark"]
) -> None:
    async def begin() -> str:
        async with site.database.transaction(site.scope(newcomer.workspace)) as tx:
            return (await begin_device(tx, program, scopes=("sales:read",), resources=())).user_code

    page = window(newcomer, scheme=scheme).new_page()
    page.goto(f"{site.url}/device?user_code={site.do(begin())}")
    checked(page, f"device-{scheme}")
    page.get_by_role("button", name="Go on").click()
    page.get_by_text("Quarterly reports").wait_for()
    checked(page, f"device-asks-{scheme}")
    page.get_by_role("button", name="Refuse").click()
    page.get_by_role("status").filter(has_text="The device is refused").wait_for()
