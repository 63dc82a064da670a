"""A person's consent over HTTP, at npm oidc-provider: out with an address, and back to the callback and on."""

import asyncio
import html
import re
from collections.abc import Iterator
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from isthmus.app.discovery import domain_names
from isthmus.auth.credentials import Credentials
from isthmus.auth.sessions import create_admin_link, open_session
from isthmus.gateway.request import session_cookie
from isthmus.kernel.marks import Json
from isthmus.store.database import Scope
from isthmus.sync.ingest import Store
from tests.rooms.domains.desk import Desk, ask
from tests.rooms.sync.consent_room import CLIENT, REDIRECT, SECRET, books, consented, running_vendor

CONNECTIONS = "/api/v1/connections"
OWN = f"{CONNECTIONS}/books"
HOST, CALLBACK = "localhost:8080", "/connections/oauth/callback"
HERE = f"http://{HOST}"


@pytest.fixture(scope="module")
def vendor() -> Iterator[str]:
    """The vendor's address."""
    with running_vendor(REDIRECT, f"{HERE}{CALLBACK}") as address:
        yield address


@pytest.fixture
async def desk(store: Store, scope: Scope, vendor: str) -> Desk:
    """Somebody who calls, with a connection that nobody has consented to yet."""
    desk = Desk.of(store, scope, connectors={"books": books()})
    settings: Json = {"url": vendor, "client_id": CLIENT, "client_secret": SECRET}
    made = await desk.post(CONNECTIONS, {"connector": "books", "name": "books", "settings": settings})
    assert made.status == 201, made.body
    return desk


async def signed_in(desk: Desk) -> dict[str, str]:
    """Return the headers of a browser in which an administrator has signed in."""
    database, now = desk.store.database, desk.clock.now()
    async with database.transaction(desk.now) as tx:
        link = await create_admin_link(tx)
    session = await open_session(database, link, request_id="test", now=now)
    known = await Credentials(database, domains=domain_names()).session(session.token, now=now)
    cookie = f"{session_cookie(secure=False)}={session.token}"
    return {"cookie": cookie, "x-csrf-token": known.csrf, "host": HOST, "content-type": "application/json"}


async def test_a_key_consents_out_and_back_and_what_opens_something_is_never_shown(desk: Desk) -> None:
    assert (await desk.post(f"{OWN}:check")).at("trouble") == "Nobody has consented at Books yet."
    begun = await desk.post(f"{OWN}:authorize", {"redirect_uri": REDIRECT})
    assert (begun.status, begun.at("redirect_uri")) == (200, REDIRECT), begun.body
    answer = await asyncio.to_thread(consented, str(begun.at("url")))
    led = await desk.get(f"{CALLBACK}?{urlencode(answer)}")
    assert (led.status, led.headers["referrer-policy"]) == (200, "no-referrer")
    finish = f"{CONNECTIONS}/oauth/finish?{urlencode(answer)}"
    assert (await desk.get(finish, roles=("editor",))).status in {403, 422}
    done = await desk.get(finish)
    assert (done.at("name"), done.at("status")) == ("books", "pending"), done.body
    assert SECRET.encode() not in done.body
    assert (await desk.post(f"{OWN}:check")).at("answers_as") == "ada"
    assert (await desk.get(finish)).at("code") == "consent-over"


async def test_a_browser_finishes_with_the_session_that_began_and_no_other(desk: Desk) -> None:
    ways = [await signed_in(desk), await signed_in(desk)]
    begun = await ask(desk.gateway, "POST", f"{OWN}:authorize", b"{}", headers=ways[0])
    assert begun.status == 200, begun.body
    sent = parse_qs(urlsplit(str(begun.at("url"))).query)
    assert sent["redirect_uri"] == [f"{HERE}{CALLBACK}"]
    back = urlencode(await asyncio.to_thread(consented, str(begun.at("url")), redirect=f"{HERE}{CALLBACK}"))
    # The browser comes from another site, without its cookie, and is led on by a page of ours.
    led = await ask(desk.gateway, "GET", f"{CALLBACK}?{back}", b"", headers={"host": HOST})
    (onward,) = re.findall(r'content="0; url=([^"]+)"', led.body.decode())
    onward = html.unescape(onward)
    assert onward.startswith(f"{CONNECTIONS}/oauth/finish?")
    assert (await ask(desk.gateway, "GET", onward, b"", headers={"host": HOST})).status == 401
    refused = await ask(desk.gateway, "GET", onward, b"", headers=ways[1])
    assert (refused.status, b"It is not connected" in refused.body) == (422, True), refused.body
    done = await ask(desk.gateway, "GET", onward, b"", headers=ways[0])
    at = f"/connections/{(await desk.get(OWN)).at('id')}?did=consented"
    assert (done.status, done.headers["location"]) == (303, at), done.body
    assert (await desk.post(f"{OWN}:check")).at("answers_as") == "ada"


async def test_without_a_redirect_address_it_is_the_servers_own_callback(desk: Desk) -> None:
    begun = await desk.post(f"{OWN}:authorize", {})
    asked = parse_qs(urlsplit(str(begun.at("url"))).query)
    assert asked["redirect_uri"] == [begun.at("redirect_uri")]
    assert str(begun.at("redirect_uri")).endswith("/connections/oauth/callback")
    assert asked["code_challenge_method"] == ["S256"]


@pytest.mark.parametrize("redirect_uri", ["http://evil.example/back", "https://a@hub.example/", "javascript:1"])
async def test_no_code_is_sent_to_where_others_could_read_it(desk: Desk, redirect_uri: str) -> None:
    refused = await desk.post(f"{OWN}:authorize", {"redirect_uri": redirect_uri})
    assert (refused.status, refused.at("code")) == (422, "no-consent")


async def test_a_secret_is_given_anew_for_another_address_and_the_consent_is_asked_for_again(desk: Desk) -> None:
    begun = await desk.post(f"{OWN}:authorize", {"redirect_uri": REDIRECT})
    answer = await asyncio.to_thread(consented, str(begun.at("url")))
    assert (await desk.get(f"{CONNECTIONS}/oauth/finish?{urlencode(answer)}")).status == 200
    moved: dict[str, Json] = {"url": "http://127.0.0.1:9"}
    assert (await desk.call("PATCH", OWN, {"settings": moved})).status == 422
    assert (await desk.call("PATCH", OWN, {"settings": {**moved, "client_secret": SECRET}})).status == 200
    assert (await desk.post(f"{OWN}:check")).at("trouble") == "Nobody has consented at Books yet."
