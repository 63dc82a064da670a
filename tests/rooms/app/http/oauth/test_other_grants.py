"""Pushed requests, devices, and exchanged tokens over HTTP."""

from urllib.parse import urlencode

import pytest

from isthmus.auth.oauth.clients import CODE, DEVICE, EXCHANGE, MACHINE, REFRESH, ClientWish
from isthmus.kernel.marks import Json
from tests.rooms.app.http.caller import Answered
from tests.rooms.app.http.oauth.conftest import House
from tests.rooms.app.http.oauth.program import FORM, Registered, claims_of, read_answer, text

BACK = "https://app.test/back"
ACCESS = "urn:ietf:params:oauth:token-type:access_token"
WEB = ClientWish(name="Web", scopes=("openid", "sales:read", "sales:write"), redirects=(BACK,), grants=(CODE, REFRESH))


@pytest.fixture
def web(house: House) -> Registered:
    """A program that asks people."""
    return house.register(WEB)


def pushed(program: Registered, **changed: str | None) -> Answered:
    """Push a request."""
    return program.post("/oauth/par", program.asking(**changed))


def test_a_pushed_request_is_used_once_by_who_pushed_it(house: House, web: Registered) -> None:
    answer = pushed(web)
    assert answer.status == 201, answer.body
    uri = text(answer.json["request_uri"])
    assert uri.startswith("urn:ietf:params:oauth:request_uri:")
    assert answer.json["expires_in"] == 60
    other = house.register(WEB)
    assert other.authorize(None, {"client_id": other.id, "request_uri": uri}).status == 400
    cookie = house.sign_in("sales.editor")
    by_uri = {"client_id": web.id, "request_uri": uri}
    assert "code" in web.consent(cookie, by_uri)
    assert web.authorize(cookie, by_uri).status == 400


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"redirect_uri": "https://evil.test/"}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"scope": "finance:read"}, "invalid_scope"),
        ({"request_uri": "urn:x"}, "invalid_request"),
    ],
)
def test_a_pushed_request_is_checked_at_once(web: Registered, changed: dict[str, str | None], error: str) -> None:
    refused = pushed(web, **changed)
    assert (refused.status, refused.json["error"]) == (400, error)


def test_only_a_proven_program_pushes(web: Registered) -> None:
    body = urlencode(web.asking()).encode()
    assert web.call("POST", "/oauth/par", body, {"content-type": FORM}).status == 401


def test_a_program_may_be_bound_to_push(house: House) -> None:
    program = house.register(
        ClientWish(name="Bank", scopes=("sales:read",), redirects=(BACK,), grants=(CODE,), pushed_only=True)
    )
    said = read_answer(program.authorize(None, program.asking()).headers["location"])
    assert said["error"] == "invalid_request"
    assert pushed(program).status == 201


@pytest.fixture
def television(house: House) -> Registered:
    """A device without a browser."""
    return house.register(ClientWish(name="TV", method="none", grants=(DEVICE,), scopes=("sales:read",)))


def decide(program: Registered, cookie: str, typed: str, choice: str) -> Answered:
    """Type a code on the page."""
    headers = {"cookie": cookie, "content-type": FORM}
    page = program.call("GET", "/device", headers={"cookie": cookie})
    csrf = page.body.split(b'name="csrf" value="')[1].split(b'"')[0].decode()
    fields = {"csrf": csrf, "user_code": typed, "choice": choice}
    return program.call("POST", "/device", urlencode(fields).encode(), headers)


def polled(program: Registered, begun: Answered) -> Answered:
    """Ask whether somebody decided."""
    return program.token(grant_type=DEVICE, device_code=text(begun.json["device_code"]))


def test_a_device_waits_for_a_person_and_is_let_in_once(house: House, television: Registered) -> None:
    cookie = house.sign_in("sales.viewer")
    begun = television.post("/oauth/device", {"scope": "sales:read"})
    typed = text(begun.json["user_code"])
    assert begun.json["verification_uri"] == f"{house.issuer}/device"
    assert begun.json["verification_uri_complete"] == f"{house.issuer}/device?user_code={typed}"
    assert polled(television, begun).json["error"] == "authorization_pending"
    assert polled(television, begun).json["error"] == "slow_down"
    looked = decide(television, cookie, typed.lower().replace("-", " "), "look")
    assert b"TV" in looked.body
    assert b"read sales" in looked.body
    assert decide(television, cookie, typed, "allow").status == 200
    made = polled(television, begun)
    assert made.status == 200, made.body
    assert television.use(text(made.json["access_token"])).json["permissions"] == ["sales:read"]
    assert polled(television, begun).json["error"] == "invalid_grant"


def test_a_device_that_is_refused_is_told(house: House, television: Registered) -> None:
    begun = television.post("/oauth/device", {"scope": "sales:read"})
    assert decide(television, house.sign_in("sales.viewer"), text(begun.json["user_code"]), "refuse").status == 200
    assert polled(television, begun).json["error"] == "access_denied"


def test_codes_are_not_to_be_guessed(house: House, television: Registered) -> None:
    cookie = house.sign_in("sales.viewer")
    statuses = [decide(television, cookie, f"BCDFGHJ{last}", "look").status for last in "BCDFGHJKLMN"]
    assert statuses == [404] * 10 + [429]


def test_people_of_another_workspace_do_not_find_the_code(house: House, television: Registered) -> None:
    begun = television.post("/oauth/device", {"scope": "sales:read"})
    stranger = House(house.site, house.site.workspace()).sign_in("owner")
    assert decide(television, stranger, text(begun.json["user_code"]), "allow").status == 404


@pytest.fixture
def service(house: House) -> Registered:
    """A program that is called with tokens and calls others."""
    return house.register(ClientWish(name="Service", grants=(EXCHANGE, MACHINE), scopes=("sales:read",)))


def exchanged(program: Registered, token: str, **more: str) -> Answered:
    """Exchange a token."""
    return program.token(None, grant_type=EXCHANGE, subject_token=token, subject_token_type=ACCESS, **more)


def test_an_exchanged_token_is_narrower_and_names_who_acts(house: House, web: Registered, service: Registered) -> None:
    token = text(web.tokens(house.sign_in("sales.editor"))["access_token"])
    made = exchanged(service, token)
    assert made.status == 200, made.body
    assert made.json["issued_token_type"] == ACCESS
    assert made.json["scope"] == "sales:read"
    passed = claims_of(text(made.json["access_token"]))
    assert passed["sub"] == claims_of(token)["sub"]
    assert passed["act"] == {"sub": service.id}
    exp, before = passed["exp"], claims_of(token)["exp"]
    assert isinstance(exp, int)
    assert isinstance(before, int)
    assert exp <= before
    assert service.use(text(made.json["access_token"])).json["permissions"] == ["sales:read"]
    assert exchanged(service, token, scope="sales:write").json["error"] == "invalid_scope"


def test_the_chain_of_actors_is_kept(house: House, web: Registered, service: Registered) -> None:
    second = house.register(ClientWish(name="Second", grants=(EXCHANGE,), scopes=("sales:read",)))
    token = text(web.tokens(house.sign_in("sales.editor"))["access_token"])
    first = text(exchanged(service, token).json["access_token"])
    chain = claims_of(text(exchanged(second, first).json["access_token"]))["act"]
    assert chain == {"sub": second.id, "act": {"sub": service.id}}


def test_the_audit_log_names_the_person_and_who_acts(house: House, web: Registered, service: Registered) -> None:
    token = text(web.tokens(house.sign_in("sales.editor"))["access_token"])
    exchanged(service, token)
    owner = house.site.caller(house.site.key(house.workspace, "owner"))
    rows = owner.get("/api/v1/audit?limit=200").rows
    made = [each for each in rows if each["action"] == "grant.created"]
    actors = [str(each["actor"]) for each in made]
    assert any(each == f"client:{service.client.id}" for each in actors), actors
    assert any(each.startswith("session:") for each in actors), actors


def test_what_was_exchanged_ends_with_what_it_came_from(house: House, web: Registered, service: Registered) -> None:
    token = text(web.tokens(house.sign_in("sales.editor"))["access_token"])
    passed = text(exchanged(service, token).json["access_token"])
    assert web.post("/oauth/revoke", {"token": token}).status == 200
    assert service.use(passed).status == 401
    assert exchanged(service, token).json["error"] == "invalid_grant"


@pytest.mark.parametrize(
    "more",
    [
        {"subject_token_type": "urn:ietf:params:oauth:token-type:saml2"},
        {"actor_token": "x", "actor_token_type": ACCESS},
        {"requested_token_type": "urn:ietf:params:oauth:token-type:refresh_token"},
    ],
)
def test_other_exchanges_are_refused(house: House, web: Registered, service: Registered, more: dict[str, str]) -> None:
    token = text(web.tokens(house.sign_in("sales.editor"))["access_token"])
    fields = {"grant_type": EXCHANGE, "subject_token": token, "subject_token_type": ACCESS, **more}
    assert service.post("/oauth/token", fields).status == 400


def test_a_foreign_or_broken_token_is_not_exchanged(service: Registered) -> None:
    for token in ("nonsense", "a.b.c", "eyJhbGciOiJub25lIn0.e30."):
        assert exchanged(service, token).json["error"] == "invalid_grant"


def test_a_program_learns_of_its_own_tokens_only(house: House, web: Registered, service: Registered) -> None:
    token = text(web.tokens(house.sign_in("sales.editor"))["access_token"])
    own: Json = web.post("/oauth/introspect", {"token": token}).json
    assert isinstance(own, dict)
    assert (own["active"], own["client_id"], own["scope"]) == (True, web.id, "openid sales:read sales:write")
    assert service.post("/oauth/introspect", {"token": token}).json == {"active": False}
    assert web.post("/oauth/introspect", {"token": "nonsense"}).json == {"active": False}


def test_public_programs_and_nobody_introspect_nothing(house: House, web: Registered, television: Registered) -> None:
    token = text(web.tokens(house.sign_in("sales.editor"))["access_token"])
    assert television.post("/oauth/introspect", {"token": token}).status == 401
    assert web.call("POST", "/oauth/introspect", f"token={token}".encode(), {"content-type": FORM}).status == 401


def test_revoking_what_nobody_knows_is_fine_and_what_is_anothers_does_nothing(
    house: House, web: Registered, service: Registered
) -> None:
    token = text(web.tokens(house.sign_in("sales.editor"))["access_token"])
    assert web.post("/oauth/revoke", {"token": "nonsense"}).status == 200
    assert service.post("/oauth/revoke", {"token": token}).status == 200
    assert web.use(token).status == 200
    assert web.post("/oauth/revoke", {"token": token, "token_type_hint": "access_token"}).status == 200
    assert web.post("/oauth/introspect", {"token": token}).json == {"active": False}
