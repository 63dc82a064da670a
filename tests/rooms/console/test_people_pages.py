"""The pages of people and accounts shut nobody out and fit; owners invite, change roles and shut out."""

import secrets
from collections.abc import Callable
from typing import Literal

import pytest
from playwright.sync_api import Page, expect
from pyotp.totp import TOTP

from isthmus.app import discovery
from isthmus.auth.people.factors import begin_totp
from isthmus.auth.people.links import create_login_link, use_link
from isthmus.auth.people.logins import LoginWish, create_login
from isthmus.auth.people.sign_in import People
from isthmus.auth.people.visitor import Visitor
from isthmus.auth.sessions import NewSession, session_digest
from tests.rooms.console.checks import Watch, overflowing, shut_out
from tests.rooms.console.conftest import Window
from tests.rooms.console.stage import Site, Who

Scheme = Literal["light", "dark"]
PASSWORD = "seven unrelated grey lamps"
CHROME = "Mozilla/5.0 (X11; Linux x86_64) Chrome/150.0 Safari/537.36"
PLACES = ("account", "codes", "recovery", "people", "set up", "join", "prove", "refused", "invited")


def account(site: Site, workspace: int, name: str, *roles: str) -> tuple[Who, str]:
    """Make somebody with an account; return their session and a link that nobody used."""
    people = People.over(site.database, site.store.vault, domains=[each.name for each in discovery.domains()])
    email = f"{name.split(maxsplit=1)[0].lower()}.{secrets.token_hex(3)}@northwind.example"

    async def make() -> tuple[Who, str]:
        scope = site.scope(workspace)
        visitor = Visitor(address="192.0.2.7", agent=CHROME, request_id="test", now=scope.now)
        async with site.database.transaction(scope) as tx:
            wish = LoginWish(email=email, name=name, roles=roles)
            login = await create_login(tx, people.vault, wish, domains=people.domains, giver=None)
            token = await create_login_link(tx, login.id)
        session = await use_link(people, visitor, token=token, password=PASSWORD)
        assert isinstance(session, NewSession)
        async with site.database.transaction(scope) as tx:
            await begin_totp(tx, people.vault, login.id)
            return Who(workspace, session.token), await create_login_link(tx, login.id)

    return site.do(make())


@pytest.fixture(scope="module")
def team(site: Site) -> tuple[Who, str]:
    """An owner among others; the link is that of one who has not joined."""
    workspace = site.workspace("Northwind Bridges")
    account(site, workspace, "Grace Hopper", "sales.editor", "finance.viewer")
    _, link = account(site, workspace, "Maximiliana Featherstonehaugh-Cholmondeley", "viewer")
    who, _ = account(site, workspace, "Ada Byron", "owner")
    return who, link


@pytest.fixture
def visit(window: Window, site: Site, team: tuple[Who, str]) -> Callable[[str, Scheme], Page]:
    """Opens a place."""
    who, link = team
    paths = {
        "account": "/me",
        "codes": "/me/totp",
        "people": "/people",
        "set up": "/me",
        "prove": "/step-up",
        "recovery": "/me/totp",
    }

    def go(place: str, scheme: Scheme) -> Page:
        viewer = None if place in {"join", "refused"} else who
        viewer = site.sign_in(who.workspace, "owner") if place == "set up" else viewer
        viewer = account(site, who.workspace, "Ada Lovelace", "viewer")[0] if place == "recovery" else viewer
        page = window(viewer, scheme=scheme).new_page()
        page.goto(site.url + paths.get(place, f"/join/{link}" if place == "join" else "/people"))
        if place == "recovery":
            make_codes(page)
        if place == "codes":
            page.get_by_text("It cannot be scanned").click()
        if place == "people":
            page.get_by_text("Change").first.click()
        if place == "invited":
            invite(page, f"{secrets.token_hex(4)}@northwind.example")
        if place == "refused":
            page.get_by_label("E-mail address").fill("nobody@northwind.example")
            page.get_by_label("Password").fill("wrong")
            page.get_by_role("button", name="Sign in", exact=True).click()
            page.get_by_role("alert").first.wait_for()
        return page

    return go


def make_codes(page: Page) -> None:
    """Confirm one-time codes by a code of the secret that is shown."""
    page.get_by_text("It cannot be scanned").click()
    own = TOTP("".join((page.locator("code.secret").text_content() or "").split()))
    page.get_by_role("textbox", name="Code").fill(own.now())
    page.get_by_role("button", name="Turn on").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Recovery codes")


def invite(page: Page, email: str, name: str = "Katherine Johnson") -> None:
    """Fill the form."""
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label("E-mail address").fill(email)
    page.get_by_role("button", name="Invite").click()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("place", PLACES)
def test_a_page_shuts_nobody_out_and_fits(visit: Callable[[str, Scheme], Page], place: str, scheme: Scheme) -> None:
    page = visit(place, scheme)
    assert shut_out(page) == []
    assert overflowing(page) == []
    page.set_viewport_size({"width": 400, "height": 900})
    assert overflowing(page) == []
    assert shut_out(page) == []


@pytest.mark.parametrize("path", ["/me", "/people", "/me/totp", "/step-up"])
def test_a_page_is_quiet_and_stays_at_home(window: Window, site: Site, team: tuple[Who, str], path: str) -> None:
    page = window(team[0]).new_page()
    watch = Watch.over(page, own=f"127.0.0.1:{site.port}")
    page.goto(site.url + path)
    page.wait_for_timeout(500)
    assert (watch.elsewhere, watch.complaints) == ([], [])
    assert watch.received <= 60_000


def test_an_owner_invites_somebody_who_chooses_a_password(window: Window, site: Site, team: tuple[Who, str]) -> None:
    page = window(team[0], script=False).new_page()
    page.goto(f"{site.url}/people")
    email = f"katherine.{secrets.token_hex(4)}@northwind.example"
    invite(page, email)
    link = page.get_by_role("status").locator("code").inner_text()
    guest = window(script=False).new_page()
    guest.goto(link)
    expect(guest.get_by_role("heading", level=1)).to_have_text("Welcome, Katherine Johnson")
    guest.get_by_label("Password").fill("four quiet copper kettles")
    guest.get_by_role("button", name="Sign in").click()
    expect(guest.get_by_role("heading", level=1)).to_have_text("Katherine Johnson")
    expect(guest.get_by_role("link", name="People")).to_have_count(0)
    assert guest.request.get(f"{site.url}/people").status == 403
    page.goto(f"{site.url}/people")
    row = page.locator("li", has_text=email)
    row.get_by_text("Change").click()
    row.get_by_role("button", name="Shut out").click()
    expect(page.locator("li", has_text=email).get_by_text("disabled")).to_be_visible()
    guest.goto(f"{site.url}/me")
    expect(guest.get_by_role("heading", level=1)).to_have_text("Sign in")


def test_roles_that_are_given_hold_at_once(window: Window, site: Site, team: tuple[Who, str]) -> None:
    workspace = team[0].workspace
    other, _ = account(site, workspace, "Dorothy Vaughan", "viewer")
    page = window(team[0]).new_page()
    page.goto(f"{site.url}/people")
    row = page.locator("li", has_text="Dorothy Vaughan")
    row.get_by_text("Change").click()
    row.get_by_label("owner").check()
    row.get_by_role("button", name="Set roles").click()
    theirs = window(other).new_page()
    theirs.wait_for_timeout(1_100)
    theirs.goto(f"{site.url}/people")
    expect(theirs.get_by_role("heading", level=1)).to_have_text("People")


def test_a_session_is_seen_and_ended_elsewhere(window: Window, site: Site, team: tuple[Who, str]) -> None:
    who, _ = account(site, team[0].workspace, "Mary Jackson", "viewer")
    page = window(who).new_page()
    page.goto(f"{site.url}/me")
    expect(page.locator("section", has_text="Where you are signed in")).to_contain_text(
        "Chrome on Linux · 192.0.2.0/24"
    )
    assert page.request.get(f"{site.url}/api/v1/sessions").json()["data"][0]["current"] is True


def test_what_matters_asks_for_a_fresh_proof(window: Window, site: Site, team: tuple[Who, str]) -> None:
    who, _ = account(site, team[0].workspace, "Annie Easley", "owner")

    async def grow_old() -> None:
        async with site.database.transaction(site.scope(who.workspace)) as tx:
            await tx.connection.execute(
                "update session set proven_at = proven_at - interval '16 minutes' where digest = %s",
                (session_digest(who.token),),
            )

    site.do(grow_old())
    page = window(who, script=False).new_page()
    page.goto(f"{site.url}/people")
    csrf = page.locator("input[name=csrf]").first.get_attribute("value") or ""
    wish = {"name": "A key", "roles": ["viewer"]}
    refused = page.request.post(f"{site.url}/api/v1/keys", data=wish, headers={"x-csrf-token": csrf})
    assert (refused.status, refused.json()["code"]) == (403, "step-up-needed")
    invite(page, "late@northwind.example")
    expect(page).to_have_url(f"{site.url}/step-up?next=/people")
    before = {each.get("value") for each in page.context.cookies()}
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Go on").click()
    expect(page).to_have_url(f"{site.url}/people")
    assert before == {who.token}
    assert not before & {each.get("value") for each in page.context.cookies()}
    invite(page, "late@northwind.example")
    expect(page.get_by_role("status")).to_contain_text("/join/")
