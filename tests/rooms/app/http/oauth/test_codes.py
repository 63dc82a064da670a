"""Authorisation codes over HTTP: asked for strictly, used once, bound to who began."""

import pytest

from isthmus.auth.oauth.clients import CODE, REFRESH, ClientWish
from tests.rooms.app.http.oauth.conftest import House
from tests.rooms.app.http.oauth.program import Registered, claims_of, text

BACK = "https://app.test/back"
WISH = ClientWish(
    name="Reporting",
    scopes=("openid", "profile", "offline_access", "sales:read"),
    redirects=(BACK,),
    grants=(CODE, REFRESH),
)


@pytest.fixture
def program(house: House) -> Registered:
    """A program with a secret."""
    return house.register(WISH)


def test_a_person_lets_a_program_in_and_it_reads_what_both_may(house: House, program: Registered) -> None:
    cookie = house.sign_in("sales.viewer")
    answer = program.consent(cookie)
    assert answer["state"] == "a state"
    assert answer["iss"] == house.issuer
    made = program.redeem(answer["code"])
    assert made.status == 200, made.body
    assert made.headers["cache-control"] == "no-store"
    token = text(made.json["access_token"])
    me = program.use(token)
    assert me.status == 200, me.body
    assert me.json["kind"] == "token"
    assert me.json["permissions"] == ["sales:read"]
    assert claims_of(token)["aud"] == house.issuer
