"""Signing in by a one-time link, and what protects a signed-in person."""

import re
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlencode

import pytest

from isthmus.gateway.cookies import own_page
from tests.rooms.app.http.caller import Answered, Caller
from tests.rooms.app.http.conftest import Site

FORM = "application/x-www-form-urlencoded"


def press(caller: Caller, token: str, **headers: str) -> Answered:
    """Press the button of the page that a link shows."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return caller.call("POST", f"/enter/{token}", b"", media=FORM, headers=sent)


def signed_in(site: Site) -> str:
    """Return the cookie of a new session."""
    answer = press(site.caller(), site.link(site.workspace()))
    assert answer.status == 303
    return answer.headers["set-cookie"].partition(";")[0]


def test_the_link_only_shows_a_page_and_its_button_opens_a_session(site: Site) -> None:
    token = site.link(site.workspace())
    for _ in range(2):
        page = site.caller().get(f"/enter/{token}")
        assert page.status == 200
        assert token.encode() in page.body
    answer = press(site.caller(), token)
    assert (answer.status, answer.headers["location"]) == (303, "/")
    attributes = set(answer.headers["set-cookie"].split("; ")[1:])
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= attributes
    assert answer.headers["set-cookie"].startswith("isthmus_session=")


def test_of_32_who_press_at_once_one_is_signed_in(site: Site) -> None:
    token = site.link(site.workspace())
    with ThreadPoolExecutor(32) as pool:
        answers = [each.result() for each in [pool.submit(press, site.caller(), token) for _ in range(32)]]
    assert sorted(each.status for each in answers) == [303] + [401] * 31


def test_a_session_may_read_and_changes_only_with_its_token(site: Site) -> None:
    cookie = signed_in(site)
    caller = site.caller()
    assert caller.get("/api/v1/me", cookie=cookie).json["kind"] == "session"
    refused = caller.post("/api/v1/keys", {"name": "A", "roles": ["viewer"]}, cookie=cookie)
    assert (refused.status, refused.code) == (403, "forgery-refused")
    wrong = caller.post("/api/v1/keys", {"name": "A", "roles": ["viewer"]}, cookie=cookie, x_csrf_token="0" * 64)
    assert wrong.code == "forgery-refused"


def test_a_form_from_another_site_is_refused(site: Site) -> None:
    token = site.link(site.workspace())
    for headers in ({"sec_fetch_site": "cross-site"}, {"origin": "https://evil.test"}, {"origin": "null"}):
        assert press(site.caller(), token, **headers).status == 403
    assert press(site.caller(), token, origin=f"http://127.0.0.1:{site.settings.port}").status == 303


def test_signing_out_needs_the_token_and_ends_the_session(site: Site) -> None:
    cookie = signed_in(site)
    home = site.caller().get("/", cookie=cookie)
    assert home.status == 200
    token = re.search(rb'name="csrf" value="([0-9a-f]{64})"', home.body)
    assert token is not None
    out = site.caller().call("POST", "/sign-out", b"csrf=wrong", media=FORM, headers={"cookie": cookie})
    assert out.status == 403
    body = urlencode({"csrf": token[1].decode()}).encode()
    out = site.caller().call("POST", "/sign-out", body, media=FORM, headers={"cookie": cookie})
    assert out.status == 303
    assert "Max-Age=0" in out.headers["set-cookie"]


def test_a_page_sends_a_stranger_to_the_sign_in_page(site: Site) -> None:
    answer = site.caller().get("/")
    assert (answer.status, answer.headers["location"]) == (303, "/sign-in?next=/")


@pytest.mark.parametrize("to", ["https://evil.test/", "//evil.test/", "/\\evil.test", "evil", "/a\nb", "/ä"])
def test_a_page_to_go_to_is_always_one_of_ours(to: str) -> None:
    assert own_page(to) == "/"
    assert own_page("/conflicts?open=1") == "/conflicts?open=1"
