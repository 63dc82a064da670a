"""OpenID Connect over HTTP: who a person is, how and when they proved it, and how they leave."""

import json
import time
from base64 import urlsafe_b64decode
from datetime import timedelta
from hashlib import sha256
from urllib.parse import urlencode

import pytest

from isthmus.auth.oauth.clients import CODE, REFRESH, ClientWish
from isthmus.kernel.marks import Json
from tests.rooms.app.http.oauth.conftest import House
from tests.rooms.app.http.oauth.program import Registered, b64, claims_of, read_answer, text

BACK, BYE = "https://app.test/back", "https://app.test/bye"
SCOPES = ("openid", "profile", "sales:read")
WISH = ClientWish(name="Web", scopes=SCOPES, redirects=(BACK,), after_sign_out=(BYE,), grants=(CODE, REFRESH))


@pytest.fixture
def web(house: House) -> Registered:
    """A program that wants to know who somebody is."""
    return house.register(WISH)


def id_claims(made: dict[str, Json]) -> dict[str, Json]:
    """Return the claims of an ID token."""
    return claims_of(text(made["id_token"]))


def outcome(web: Registered, cookie: str | None, **changed: str) -> dict[str, str]:
    """Return what came back without a person being asked anything."""
    begun = web.authorize(cookie, web.asking(**changed))
    page = begun.headers.get("location") or begun.body.split(b'content="0;url=')[1].split(b'"')[0].decode()
    shown = web.call("GET", page, headers={"cookie": cookie} if cookie else {})
    return read_answer(shown.headers["location"]) | {"to": shown.headers["location"].partition("?")[0]}


def test_an_id_token_says_who_when_and_how(house: House, web: Registered) -> None:
    made = web.tokens(house.sign_in("sales.viewer", proven=timedelta(minutes=5)), nonce="a nonce")
    claims = id_claims(made)
    assert (claims["iss"], claims["aud"], claims["nonce"]) == (house.issuer, web.id, "a nonce")
    assert (claims["acr"], claims["amr"]) == ("aal1", ["pwd"])
    assert claims["at_hash"] == b64(sha256(text(made["access_token"]).encode()).digest()[:16])
    issued, proven = claims["iat"], claims["auth_time"]
    assert isinstance(issued, int)
    assert isinstance(proven, int)
    assert 299 <= issued - proven <= 302
    header = json.loads(urlsafe_b64decode(text(made["id_token"]).split(".")[0] + "=="))
    assert header["alg"] == "ES256"
    assert header["kid"]


def test_without_openid_there_is_no_id_token_and_no_userinfo(house: House, web: Registered) -> None:
    made = web.tokens(house.sign_in("sales.viewer"), scope="sales:read")
    assert "id_token" not in made
    assert web.use(text(made["access_token"]), "/oauth/userinfo").status == 403


def test_userinfo_tells_what_the_scopes_allow(house: House, web: Registered) -> None:
    cookie = house.sign_in("sales.viewer")
    made = web.tokens(cookie)
    whole = web.use(text(made["access_token"]), "/oauth/userinfo").json
    assert whole == {"sub": id_claims(made)["sub"], "name": "Tester"}
    bare = text(web.tokens(cookie, scope="openid")["access_token"])
    assert web.use(bare, "/oauth/userinfo").json == {"sub": id_claims(made)["sub"]}
    refused = web.call("GET", "/oauth/userinfo")
    assert refused.status == 401
    assert refused.headers["www-authenticate"].startswith("Bearer")


def test_prompt_none_answers_without_a_page(house: House, web: Registered) -> None:
    assert outcome(web, None, prompt="none")["error"] == "login_required"
    cookie = house.sign_in("sales.viewer")
    assert outcome(web, cookie, prompt="none")["error"] == "consent_required"
    web.consent(cookie)
    assert "code" in outcome(web, cookie, prompt="none")


def test_prompt_login_and_a_small_max_age_want_a_new_proof(house: House, web: Registered) -> None:
    cookie = house.sign_in("sales.viewer", proven=timedelta(minutes=10))
    web.consent(cookie)
    assert outcome(web, cookie, prompt="login")["to"] == "/sign-in"
    assert outcome(web, cookie, max_age="60")["to"] == "/sign-in"
    assert "code" in outcome(web, cookie, max_age="3000")
    assert outcome(web, cookie, prompt="none", max_age="60")["error"] == "login_required"


def test_prompt_consent_asks_again(house: House, web: Registered) -> None:
    cookie = house.sign_in("sales.viewer")
    web.consent(cookie)
    page = web.authorize(cookie, web.asking(prompt="consent")).headers["location"]
    assert web.call("GET", page, headers={"cookie": cookie}).status == 200


def test_a_program_signs_a_person_out_by_its_id_token(house: House, web: Registered) -> None:
    cookie = house.sign_in("sales.viewer")
    made = web.tokens(cookie)
    token = text(made["access_token"])
    query = {"id_token_hint": text(made["id_token"]), "post_logout_redirect_uri": BYE, "state": "s"}
    ended = web.call("GET", f"/oauth/end-session?{urlencode(query)}")
    assert ended.headers["location"] == f"{BYE}?state=s"
    over = time.monotonic() + 1.0
    while (me := web.call("GET", "/api/v1/me", headers={"cookie": cookie}).status) == 200:
        assert time.monotonic() < over, "every worker knows within a second"
    assert me == 401
    while (used := web.use(token).status) == 200:
        assert time.monotonic() < over, "what was not allowed offline ends with the session"
    assert used == 401


def test_signing_out_sends_nobody_to_an_address_that_is_not_registered(house: House, web: Registered) -> None:
    hint = text(web.tokens(house.sign_in("sales.viewer"))["id_token"])
    evil = {"id_token_hint": hint, "post_logout_redirect_uri": "https://evil.test/"}
    assert web.call("GET", f"/oauth/end-session?{urlencode(evil)}").status == 400
    anonymous = {"post_logout_redirect_uri": BYE}
    assert web.call("GET", f"/oauth/end-session?{urlencode(anonymous)}").status == 400
    assert web.call("GET", "/oauth/end-session").status == 200


def test_both_discovery_documents_are_one(house: House, web: Registered) -> None:
    one = web.call("GET", "/.well-known/openid-configuration")
    two = web.call("GET", "/.well-known/oauth-authorization-server")
    assert one.body == two.body
    assert one.json["issuer"] == house.issuer
    assert one.json["code_challenge_methods_supported"] == ["S256"]
    assert one.json["authorization_response_iss_parameter_supported"] is True
    for name, url in one.json.items():
        if name.endswith(("_endpoint", "_uri")) and isinstance(url, str):
            assert web.call("OPTIONS", url.removeprefix(house.issuer)).status == 204, name


def test_the_keys_are_public_and_may_be_kept(house: House, web: Registered) -> None:
    shown = web.call("GET", "/oauth/jwks")
    assert "max-age=900" in shown.headers["cache-control"]
    keys = shown.json["keys"]
    assert isinstance(keys, list)
    assert keys
    for key in keys:
        assert isinstance(key, dict)
        assert "d" not in key
        assert {"kid", "alg", "use", "kty"} <= key.keys()
    assert house.issuer
