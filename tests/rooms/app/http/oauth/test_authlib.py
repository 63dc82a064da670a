"""Authlib's client, which sends its secret without escapes, gets its tokens too."""

from collections.abc import Callable, Mapping
from typing import Protocol, cast

import pytest
from authlib.integrations.requests_client import OAuth2Session

from isthmus.auth.oauth.clients import CODE, MACHINE, REFRESH, ClientWish
from tests.rooms.app.http.oauth.conftest import House
from tests.rooms.app.http.oauth.program import Registered, read_answer, text

BACK = "https://app.test/back"


class Answered(Protocol):
    """An answer as the client's library gives it."""

    status_code: int

    def json(self) -> dict[str, object]:
        """Return the body."""
        ...


class Session(Protocol):
    """What we use of the foreign client."""

    def create_authorization_url(self, url: str, *, code_verifier: str) -> tuple[str, str]:
        """Return the address to open, and the state."""
        ...

    def fetch_token(self, url: str, **given: str) -> dict[str, str]:
        """Return tokens."""
        ...

    def refresh_token(self, url: str, *, refresh_token: str) -> dict[str, str]:
        """Return tokens for a refresh token."""
        ...

    def introspect_token(self, url: str, *, token: str) -> Answered:
        """Ask what a token is."""
        ...

    def revoke_token(self, url: str, *, token: str) -> Answered:
        """Revoke a token."""
        ...

    def get(self, url: str) -> Answered:
        """Call with the token."""
        ...


def session_of(program: Registered, *, method: str, scope: str) -> Session:
    """Return the foreign client of a program."""
    given: Mapping[str, str | None] = {
        "client_id": program.id,
        "client_secret": program.secret,
        "token_endpoint_auth_method": method,
        "scope": scope,
        "redirect_uri": BACK,
        "code_challenge_method": "S256",
    }
    return cast("Callable[..., Session]", OAuth2Session)(**given)


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_authlib_goes_from_a_code_to_a_revoked_token(house: House, method: str) -> None:
    wish = ClientWish(
        name="Authlib",
        scopes=("openid", "offline_access", "sales:read"),
        redirects=(BACK,),
        grants=(CODE, REFRESH, MACHINE),
    )
    program = house.register(wish)
    session = session_of(program, method=method, scope="openid offline_access sales:read")
    url, state = session.create_authorization_url(f"{house.issuer}/oauth/authorize", code_verifier=program.verifier)
    answer = program.consent(house.sign_in("sales.viewer"), read_answer(url))
    assert answer["state"] == state
    back = f"{BACK}?code={answer['code']}&state={answer['state']}&iss={answer['iss']}"
    endpoint = f"{house.issuer}/oauth/token"
    token = session.fetch_token(endpoint, authorization_response=back, code_verifier=program.verifier)
    assert session.get(f"{house.issuer}/api/v1/me").status_code == 200
    renewed = session.refresh_token(endpoint, refresh_token=token["refresh_token"])
    assert renewed["refresh_token"] != token["refresh_token"]
    seen = session.introspect_token(f"{house.issuer}/oauth/introspect", token=renewed["access_token"])
    assert seen.json()["active"] is True
    assert session.revoke_token(f"{house.issuer}/oauth/revoke", token=renewed["refresh_token"]).status_code == 200
    again = session.introspect_token(f"{house.issuer}/oauth/introspect", token=renewed["access_token"])
    assert again.json() == {"active": False}


def test_authlib_gets_a_token_of_the_program_itself(house: House) -> None:
    program = house.register(ClientWish(name="Authlib", scopes=("sales:read",), grants=(MACHINE,)))
    session = session_of(program, method="client_secret_basic", scope="sales:read")
    token = session.fetch_token(f"{house.issuer}/oauth/token", grant_type="client_credentials")
    assert token["scope"] == "sales:read"
    assert text(cast("str", session.get(f"{house.issuer}/api/v1/me").json()["kind"])) == "token"
