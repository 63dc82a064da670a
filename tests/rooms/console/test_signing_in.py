"""People sign in by password, one-time code, recovery code and passkey; what matters asks for a fresh proof."""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import pytest
from playwright.sync_api import CDPSession, Page, expect
from pyotp.totp import TOTP

from tests.rooms.console.conftest import Window
from tests.rooms.console.stage import Site

PASSWORD = "seven unrelated grey lamps"


AGAIN = """async () => {
  const csrf = document.querySelector("[data-csrf]").dataset.csrf;
  const headers = { "content-type": "application/json", "x-csrf-token": csrf };
  const send = (path, body) => fetch(path, { method: "POST", headers, body: JSON.stringify(body) });
  const asked = await (await send("/step-up/passkey/options", {})).json();
  const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(JSON.parse(asked.options));
  const shown = await navigator.credentials.get({ publicKey });
  const credential = JSON.stringify(shown.toJSON());
  return (await send("/step-up/passkey", { token: asked.token, credential })).status;
}"""


@dataclass
class Person:
    """Somebody with an account, and the window in which they made it."""

    email: str
    workspace: int
    page: Page


def home(site: Site) -> str:
    """Return the address under which browsers know this server: passkeys need a name."""
    return f"http://localhost:{site.port}"


@pytest.fixture
def ada(window: Window, site: Site) -> Person:
    """Somebody who came in by the one-time link and set up an account."""
    workspace = site.workspace("People")
    email = f"ada.{secrets.token_hex(4)}@example.com"
    page = window().new_page()
    page.goto(site.link(workspace).replace("127.0.0.1", "localhost"))
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("link", name="Set up your account").click()
    page.get_by_label("Name").fill("Ada Byron")
    page.get_by_label("E-mail address").fill(email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Set up").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Ada Byron")
    return Person(email, workspace, page)


@pytest.fixture
def device(ada: Person) -> Iterator[CDPSession]:
    """Chromium's virtual authenticator, in Ada's window."""
    wire = authenticator(ada.page)
    yield wire
    wire.detach()


def authenticator(page: Page) -> CDPSession:
    """Give a page a device that verifies its user and keeps passkeys."""
    wire: CDPSession = page.context.new_cdp_session(page)
    wire.send("WebAuthn.enable")  # pyright: ignore[reportUnknownMemberType] - its answers are free JSON.
    options = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": True,
        "automaticPresenceSimulation": True,
    }
    wire.send("WebAuthn.addVirtualAuthenticator", {"options": options})  # pyright: ignore[reportUnknownMemberType] - as above.
    return wire


def sign_in(page: Page, site: Site, email: str, password: str = PASSWORD) -> None:
    """Fill the form."""
    page.goto(f"{home(site)}/sign-in")
    page.get_by_label("E-mail address").fill(email)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in", exact=True).click()


def with_codes(page: Page) -> tuple[str, list[str]]:
    """Turn one-time codes on and return the code that was shown for it, and the recovery codes."""
    page.get_by_role("button", name="Turn on").click()
    page.get_by_text("It cannot be scanned").click()
    own = TOTP("".join((page.locator("code.secret").text_content() or "").split()))
    shown = own.now()
    page.get_by_role("textbox", name="Code").fill(shown)
    page.get_by_role("button", name="Turn on").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Recovery codes")
    codes = page.locator(".codes code").all_text_contents()
    page.get_by_role("link", name="I have kept them").click()
    return shown, codes


def test_the_bearer_of_a_link_becomes_a_named_user_and_comes_in_again(window: Window, site: Site, ada: Person) -> None:
    expect(ada.page.get_by_role("link", name="Account")).to_be_visible()
    page = window(script=False).new_page()
    page.goto(f"{home(site)}/me")
    expect(page).to_have_url(f"{home(site)}/sign-in?next=/me")
    page.get_by_label("E-mail address").fill(ada.email.upper())
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page).to_have_url(f"{home(site)}/me")
    expect(page.get_by_role("heading", level=1)).to_have_text("Ada Byron")


def test_who_is_unknown_and_who_is_wrong_are_answered_alike(window: Window, site: Site, ada: Person) -> None:
    page = window().new_page()
    told: set[str] = set()
    for email in (ada.email, "nobody@example.com"):
        sign_in(page, site, email, "something else entirely")
        told.add(page.get_by_role("alert").first.inner_text())
    assert len(told) == 1


def test_one_time_codes_are_asked_for_after_the_password_and_taken_once(
    window: Window, site: Site, ada: Person
) -> None:
    shown, codes = with_codes(ada.page)
    assert len(codes) == 10
    page = window().new_page()
    sign_in(page, site, ada.email)
    expect(page.get_by_role("heading", level=1)).to_have_text("Second factor")
    page.get_by_label("Code of your authenticator").fill(shown)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_be_visible()
    page.get_by_label("Code of your authenticator").fill(codes[0].lower())
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Overview")
    again = window().new_page()
    sign_in(again, site, ada.email)
    again.get_by_label("Code of your authenticator").fill(codes[0])
    again.get_by_role("button", name="Sign in").click()
    expect(again.get_by_role("alert")).to_be_visible()


def test_a_passkey_is_made_and_signs_in(site: Site, ada: Person, device: CDPSession) -> None:
    del device
    page = ada.page
    page.get_by_label("Name of the new one").fill("Laptop")
    page.get_by_role("button", name="Add a passkey").click()
    expect(page.get_by_text("Laptop")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("button", name="Use a passkey").click()
    expect(page).to_have_url(f"{home(site)}/")
    page.goto(f"{home(site)}/step-up?next=/me")
    page.get_by_role("button", name="Use a passkey").click()
    expect(page).to_have_url(f"{home(site)}/me")
    expect(page.get_by_text("used just now")).to_be_visible()


def test_a_passkey_shown_once_opens_nothing_a_second_time(site: Site, ada: Person, device: CDPSession) -> None:
    del device
    page = ada.page
    page.get_by_role("button", name="Add a passkey").click()
    expect(page.get_by_role("button", name="Remove Passkey")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    with page.expect_request("**/sign-in/passkey") as shown:
        page.get_by_role("button", name="Use a passkey").click()
    expect(page).to_have_url(f"{home(site)}/")
    sent = cast("dict[str, str]", shown.value.post_data_json)
    assert "credential" in sent
    sign_in_again = f"{home(site)}/sign-in/passkey"
    assert page.request.post(sign_in_again, data=sent).status == 401
    other = page.request.post(f"{sign_in_again}/options", data={}).json()
    assert page.request.post(sign_in_again, data={**sent, "token": other["token"]}).status == 401


def test_the_passkey_of_somebody_else_does_not_prove_oneself_and_a_removed_one_nobody(
    site: Site, ada: Person, device: CDPSession
) -> None:
    del device
    page = ada.page
    page.get_by_role("button", name="Add a passkey").click()
    expect(page.get_by_role("button", name="Remove Passkey")).to_be_visible()
    context = page.context
    mine = context.cookies()
    context.clear_cookies()
    eve = page
    eve.goto(site.link(ada.workspace).replace("127.0.0.1", "localhost"))
    eve.get_by_role("button", name="Sign in").click()
    eve.goto(f"{home(site)}/me")
    eve.get_by_label("Name").fill("Eve")
    eve.get_by_label("E-mail address").fill(f"eve.{secrets.token_hex(4)}@example.com")
    eve.get_by_label("Password").fill(PASSWORD)
    eve.get_by_role("button", name="Set up").click()
    expect(eve.get_by_role("heading", level=1)).to_have_text("Eve")
    answer = eve.evaluate(AGAIN)
    assert answer == 401
    context.clear_cookies()
    context.add_cookies([{"name": each["name"], "value": each["value"], "url": home(site)} for each in mine])  # pyright: ignore[reportTypedDictNotRequiredAccess] - what was read has both.
    page.goto(f"{home(site)}/me")
    page.get_by_role("button", name="Remove Passkey").click()
    expect(page.get_by_text("None yet.")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("button", name="Use a passkey").click()
    expect(page.locator("#passkey-said")).to_contain_text("does not sign you in")
