"""Refresh tokens over HTTP: rotated, repeatable for a moment, revoked as a family, never wider than before."""

import pytest

from isthmus.auth.oauth.clients import CODE, REFRESH, ClientWish
from isthmus.kernel.marks import Json
from tests.rooms.app.http.caller import Answered
from tests.rooms.app.http.oauth.conftest import House
from tests.rooms.app.http.oauth.program import Key, Registered, text

BACK = "https://app.test/back"
SCOPES = ("openid", "offline_access", "sales:read", "sales:write")
WEB = ClientWish(name="Web", scopes=SCOPES, redirects=(BACK,), grants=(CODE, REFRESH))
MOBILE = ClientWish(name="Mobile", method="none", scopes=SCOPES, redirects=(BACK,), grants=(CODE, REFRESH))


def refreshed(program: Registered, made: dict[str, Json], key: Key | None = None, **more: str) -> Answered:
    """Use the refresh token of an answer."""
    headers = {"dpop": key.proof("POST", f"{program.issuer}/oauth/token")} if key else {}
    return program.token(headers, grant_type="refresh_token", refresh_token=text(made["refresh_token"]), **more)


@pytest.fixture
def web(house: House) -> Registered:
    """A program with a secret."""
    return house.register(WEB)


def test_a_refresh_token_is_followed_by_another(house: House, web: Registered) -> None:
    made = web.tokens(house.sign_in("sales.editor"))
    second = refreshed(web, made).json
    assert second["refresh_token"] != made["refresh_token"]
    third = refreshed(web, second)
    assert third.status == 200
    assert web.use(text(third.json["access_token"])).status == 200


def test_a_lost_answer_can_be_asked_for_again_at_once(house: House, web: Registered) -> None:
    made = web.tokens(house.sign_in("sales.editor"))
    first, again = refreshed(web, made).json, refreshed(web, made).json
    assert again["refresh_token"] == first["refresh_token"]
    assert refreshed(web, first).status == 200


def test_a_token_whose_successor_was_used_ends_the_family(house: House, web: Registered) -> None:
    made = web.tokens(house.sign_in("sales.editor"))
    second = refreshed(web, made).json
    third = refreshed(web, second).json
    stolen = refreshed(web, made)
    assert (stolen.status, stolen.json["error"]) == (400, "invalid_grant")
    assert refreshed(web, third).json["error"] == "invalid_grant"
    assert web.use(text(third["access_token"])).status == 401


def test_a_program_that_nothing_binds_gets_no_second_chance(house: House) -> None:
    mobile = house.register(MOBILE)
    made = mobile.tokens(house.sign_in("sales.editor"))
    second = refreshed(mobile, made).json
    assert refreshed(mobile, made).json["error"] == "invalid_grant"
    assert refreshed(mobile, second).json["error"] == "invalid_grant"


def test_a_bound_public_program_may_ask_again_with_its_key(house: House) -> None:
    mobile, key = house.register(MOBILE), Key()
    made = mobile.tokens(house.sign_in("sales.editor"), {"dpop": key.proof("POST", f"{house.issuer}/oauth/token")})
    first, again = refreshed(mobile, made, key).json, refreshed(mobile, made, key).json
    assert again["refresh_token"] == first["refresh_token"]


def test_a_bound_refresh_token_needs_its_key(house: House) -> None:
    mobile, key = house.register(MOBILE), Key()
    made = mobile.tokens(house.sign_in("sales.editor"), {"dpop": key.proof("POST", f"{house.issuer}/oauth/token")})
    assert refreshed(mobile, made).json["error"] == "invalid_grant"
    assert refreshed(mobile, made, Key()).json["error"] == "invalid_grant"
    assert refreshed(mobile, made, key).json["token_type"] == "DPoP"


def test_the_scope_shrinks_and_never_grows(house: House, web: Registered) -> None:
    made = web.tokens(house.sign_in("sales.editor"), scope="offline_access sales:read")
    assert refreshed(web, made, scope="sales:read sales:write").json["error"] == "invalid_scope"
    narrow = refreshed(web, made, scope="sales:read").json
    assert narrow["scope"] == "sales:read"
    assert refreshed(web, narrow).json["scope"] == "offline_access sales:read"


def test_without_offline_access_there_is_no_refresh_token(house: House, web: Registered) -> None:
    assert "refresh_token" not in web.tokens(house.sign_in("sales.editor"), scope="openid sales:read")


def test_a_refresh_token_of_another_program_is_refused(house: House, web: Registered) -> None:
    made = web.tokens(house.sign_in("sales.editor"))
    assert refreshed(house.register(WEB), made).json["error"] == "invalid_grant"
    assert refreshed(web, made).status == 200
