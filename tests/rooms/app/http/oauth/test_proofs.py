"""DPoP over HTTP: proofs are for one request, and a bound token opens nothing without them."""

import time

import pytest

from isthmus.auth.oauth.clients import CODE, MACHINE, ClientWish
from isthmus.kernel.marks import Json
from tests.rooms.app.http.caller import Answered
from tests.rooms.app.http.oauth.conftest import House
from tests.rooms.app.http.oauth.program import Key, Registered, claims_of, text

BACK = "https://app.test/back"


@pytest.fixture
def machine(house: House) -> Registered:
    """A program that acts for itself."""
    return house.register(ClientWish(name="Machine", grants=(MACHINE,), scopes=("sales:read",)))


def bound(machine: Registered, key: Key, proof: str | None = None) -> Answered:
    """Ask for a bound token."""
    own = proof or key.proof("POST", f"{machine.issuer}/oauth/token")
    return machine.token({"dpop": own}, grant_type="client_credentials")


def call(machine: Registered, token: str, proof: str | None, *, scheme: str = "DPoP") -> Answered:
    """Call with a token and a proof."""
    headers = {"authorization": f"{scheme} {token}", **({"dpop": proof} if proof else {})}
    return machine.call("GET", "/api/v1/me", headers=headers)


def test_a_bound_token_opens_with_a_fresh_proof_only(machine: Registered) -> None:
    key = Key()
    made = bound(machine, key).json
    token, url = text(made["access_token"]), f"{machine.issuer}/api/v1/me"
    assert made["token_type"] == "DPoP"
    assert claims_of(token)["cnf"] == {"jkt": key.thumbprint}
    good = key.proof("GET", url, token=token)
    assert call(machine, token, good).status == 200
    replayed = call(machine, token, good)
    assert replayed.status == 401
    assert 'error="invalid_dpop_proof"' in replayed.headers["www-authenticate"]


def test_a_bound_token_is_no_bearer_token(machine: Registered) -> None:
    key = Key()
    token, url = text(bound(machine, key).json["access_token"]), f"{machine.issuer}/api/v1/me"
    assert call(machine, token, None, scheme="Bearer").status == 401
    assert call(machine, token, key.proof("GET", url, token=token), scheme="Bearer").status == 401
    assert call(machine, token, None).status == 401


def test_a_bearer_token_does_not_pass_as_a_bound_one(machine: Registered) -> None:
    token = text(machine.token(grant_type="client_credentials").json["access_token"])
    proof = Key().proof("GET", f"{machine.issuer}/api/v1/me", token=token)
    assert call(machine, token, proof).status == 401


@pytest.mark.parametrize(
    ("ahead_s", "changed"),
    [
        (-600, {}),
        (600, {}),
        (0, {"htm": "POST"}),
        (0, {"htu": "https://evil.test/api/v1/me"}),
        (0, {"ath": "AAAA"}),
        (0, {"jti": ""}),
        (0, {"jti": "x" * 300}),
    ],
)
def test_a_proof_for_something_else_is_refused(machine: Registered, ahead_s: int, changed: dict[str, Json]) -> None:
    key = Key()
    token = text(bound(machine, key).json["access_token"])
    claims: dict[str, Json] = {"iat": int(time.time()) + ahead_s, **changed}
    proof = key.proof("GET", f"{machine.issuer}/api/v1/me", token=token, **claims)
    assert call(machine, token, proof).status == 401


def test_a_proof_of_another_key_is_refused(machine: Registered) -> None:
    token = text(bound(machine, Key()).json["access_token"])
    proof = Key().proof("GET", f"{machine.issuer}/api/v1/me", token=token)
    assert call(machine, token, proof).status == 401


def test_the_token_endpoint_takes_each_proof_once(machine: Registered) -> None:
    key = Key()
    proof = key.proof("POST", f"{machine.issuer}/oauth/token")
    assert bound(machine, key, proof).status == 200
    again = bound(machine, key, proof)
    assert (again.status, again.json["error"]) == (400, "invalid_dpop_proof")
    assert bound(machine, key, "not a proof").json["error"] == "invalid_dpop_proof"


def test_a_program_that_must_bind_gets_no_bearer_tokens(house: House) -> None:
    machine = house.register(ClientWish(name="M", grants=(MACHINE,), scopes=("sales:read",), bound_only=True))
    assert machine.token(grant_type="client_credentials").json["error"] == "invalid_request"
    assert bound(machine, Key()).status == 200


def test_a_code_asked_for_with_a_key_is_redeemed_with_that_key(house: House) -> None:
    program = house.register(
        ClientWish(name="Mobile", method="none", scopes=("sales:read",), redirects=(BACK,), grants=(CODE,))
    )
    key, url = Key(), f"{house.issuer}/oauth/token"
    cookie = house.sign_in("sales.viewer")
    code = program.consent(cookie, program.asking(dpop_jkt=key.thumbprint))["code"]
    assert program.redeem(code).json["error"] == "invalid_grant"
    assert program.redeem(code, {"dpop": Key().proof("POST", url)}).json["error"] == "invalid_grant"
    assert program.redeem(code, {"dpop": key.proof("POST", url)}).status == 200
