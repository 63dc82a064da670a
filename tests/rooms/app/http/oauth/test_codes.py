"""Authorisation codes over HTTP: asked for strictly, used once, bound to who began."""

import pytest

from isthmus.auth.oauth.clients import CODE, MACHINE, REFRESH, ClientWish
from tests.rooms.app.http.oauth.conftest import House
from tests.rooms.app.http.oauth.program import Registered, claims_of, read_answer, text

BACK = "https://app.test/back"
SCOPES = ("openid", "profile", "offline_access", "sales:read")
WISH = ClientWish(name="Reporting", scopes=SCOPES, redirects=(BACK,), grants=(CODE, REFRESH))


@pytest.fixture
def program(house: House) -> Registered:
    """A program with a secret."""
    return house.register(WISH)


def test_a_person_lets_a_program_in_and_it_reads_what_both_may(house: House, program: Registered) -> None:
    cookie = house.sign_in("sales.editor")
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


def test_a_token_never_carries_more_than_the_person_may(house: House) -> None:
    wide = house.register(
        ClientWish(name="Wide", scopes=("sales:*", "finance:read"), redirects=(BACK,), grants=(CODE,))
    )
    made = wide.tokens(house.sign_in("sales.viewer"))
    assert made["scope"] == "sales:*"
    assert wide.use(text(made["access_token"])).json["permissions"] == ["sales:read"]


def test_a_person_who_has_nothing_of_what_is_asked_sends_the_program_a_refusal(house: House) -> None:
    program = house.register(ClientWish(name="Books", scopes=("finance:read",), redirects=(BACK,), grants=(CODE,)))
    answer = program.consent(house.sign_in("sales.viewer"))
    assert answer["error"] == "access_denied"
    assert answer["iss"] == house.issuer


def test_a_person_who_refuses_sends_the_program_a_refusal(house: House, program: Registered) -> None:
    answer = program.consent(house.sign_in("sales.viewer"), choice="refuse")
    assert (answer["error"], answer["state"], answer["iss"]) == ("access_denied", "a state", house.issuer)


def test_a_code_used_again_revokes_all_it_gave(house: House, program: Registered) -> None:
    code = program.consent(house.sign_in("sales.viewer"))["code"]
    first = program.redeem(code).json
    again = program.redeem(code)
    assert (again.status, again.json["error"]) == (400, "invalid_grant")
    assert program.use(text(first["access_token"])).status == 401
    late = program.token(grant_type="refresh_token", refresh_token=text(first["refresh_token"]))
    assert late.json["error"] == "invalid_grant"


def test_a_code_of_another_program_is_refused_and_stays_good(house: House, program: Registered) -> None:
    other = house.register(WISH)
    code = program.consent(house.sign_in("sales.viewer"))["code"]
    assert other.redeem(code, code_verifier=program.verifier).json["error"] == "invalid_grant"
    assert program.redeem(code).status == 200


@pytest.mark.parametrize(
    "changed", [{"code_verifier": "x" * 43}, {"code_verifier": "short"}, {"redirect_uri": "https://app.test/"}]
)
def test_a_code_with_a_wrong_verifier_or_address_is_refused(
    house: House, program: Registered, changed: dict[str, str]
) -> None:
    code = program.consent(house.sign_in("sales.viewer"))["code"]
    refused = program.redeem(code, None, **changed)
    assert (refused.status, refused.json["error"]) == (400, "invalid_grant")


def test_a_code_without_a_verifier_is_refused(house: House, program: Registered) -> None:
    code = program.consent(house.sign_in("sales.viewer"))["code"]
    refused = program.token(grant_type="authorization_code", code=code, redirect_uri=BACK)
    assert (refused.status, refused.json["error"]) == (400, "invalid_request")


@pytest.mark.parametrize("method", ["secret", "none"])
@pytest.mark.parametrize(
    "changed",
    [
        {"code_challenge": None, "code_challenge_method": None},
        {"code_challenge_method": "plain"},
        {"code_challenge_method": None},
    ],
)
def test_every_program_must_bring_a_challenge_of_s256(
    house: House, method: str, changed: dict[str, str | None]
) -> None:
    program = house.register(
        ClientWish(name="Any", method="none" if method == "none" else "secret", scopes=SCOPES, redirects=(BACK,))
    )
    answer = program.authorize(None, program.asking(**changed))
    assert answer.status == 303
    said = read_answer(answer.headers["location"])
    assert (said["error"], said["iss"], said["state"]) == ("invalid_request", house.issuer, "a state")


@pytest.mark.parametrize(
    "changed",
    [
        {"client_id": "client_00000000000000000000000000"},
        {"client_id": "nobody"},
        {"client_id": None},
        {"redirect_uri": "https://app.test/back/"},
        {"redirect_uri": "https://app.test/back?x=1"},
        {"redirect_uri": "https://app.test:444/back"},
        {"redirect_uri": "https://evil.test/back"},
    ],
)
def test_nobody_is_sent_to_an_address_that_is_not_registered(
    program: Registered, changed: dict[str, str | None]
) -> None:
    answer = program.authorize(None, program.asking(**changed))
    assert answer.status == 400
    assert "location" not in answer.headers


def test_a_public_program_on_this_machine_may_choose_its_port(house: House) -> None:
    program = house.register(
        ClientWish(name="Desktop", method="none", scopes=SCOPES, redirects=("http://127.0.0.1/back",))
    )
    assert program.authorize(None, program.asking(redirect_uri="http://127.0.0.1:5123/back")).status == 200
    assert program.authorize(None, program.asking(redirect_uri="http://127.0.0.1:5123/other")).status == 400


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": "id_token"}, "unsupported_response_type"),
        ({"response_type": None}, "invalid_request"),
        ({"response_mode": "fragment"}, "invalid_request"),
        ({"scope": "openid sales:write"}, "invalid_scope"),
        ({"scope": "nonsense"}, "invalid_scope"),
        ({"scope": None}, "invalid_scope"),
        ({"resource": "https://nobody.test/"}, "invalid_target"),
        ({"request": "eyJ"}, "request_not_supported"),
        ({"prompt": "none login"}, "invalid_request"),
        ({"max_age": "soon"}, "invalid_request"),
    ],
)
def test_a_request_that_is_not_fit_goes_back_to_the_program(
    house: House, program: Registered, changed: dict[str, str | None], error: str
) -> None:
    answer = program.authorize(None, program.asking(**changed))
    assert answer.status == 303
    said = read_answer(answer.headers["location"])
    assert (said["error"], said["iss"]) == (error, house.issuer)


def test_a_repeated_parameter_is_refused_at_both_endpoints(program: Registered) -> None:
    pairs = [*program.asking().items(), ("state", "another")]
    assert program.authorize(None, pairs).status == 400
    twice = program.post("/oauth/token", [("grant_type", "client_credentials"), ("grant_type", "client_credentials")])
    assert (twice.status, twice.json["error"]) == (400, "invalid_request")


def test_the_old_flows_are_not_there(house: House, program: Registered) -> None:
    passwords = program.token(grant_type="password", username="a", password="b")
    assert (passwords.status, passwords.json["error"]) == (400, "unsupported_grant_type")
    machine = program.token(grant_type="client_credentials")
    assert (machine.status, machine.json["error"]) == (400, "unauthorized_client")
    assert house.register(ClientWish(name="M", grants=(MACHINE,), scopes=("sales:read",))).secret


def test_who_is_not_signed_in_goes_to_the_sign_in_page_and_comes_back(house: House, program: Registered) -> None:
    begun = program.authorize(None, program.asking())
    assert begun.status == 200, "a page of ours leads on, so that the session's cookie comes along"
    handle = begun.body.split(b'content="0;url=')[1].split(b'"')[0].decode()
    away = program.call("GET", handle)
    assert away.headers["location"] == f"/sign-in?next={handle}"
    cookie = house.sign_in("sales.viewer")
    assert program.call("GET", handle, headers={"cookie": cookie}).status == 200


def test_the_page_that_asks_names_where_its_answer_goes(house: House, program: Registered) -> None:
    cookie = house.sign_in("sales.viewer")
    page = program.authorize(cookie, program.asking()).headers["location"]
    shown = program.call("GET", page, headers={"cookie": cookie})
    assert "form-action 'self' https://app.test;" in shown.headers["content-security-policy"]
    assert b"Reporting asks for access" in shown.body


def test_a_request_is_decided_once(house: House, program: Registered) -> None:
    cookie = house.sign_in("sales.viewer")
    page = program.authorize(cookie, program.asking(prompt="consent")).headers["location"]
    first = program.call("GET", page, headers={"cookie": cookie})
    csrf = first.body.split(b'name="csrf" value="')[1].split(b'"')[0].decode()
    form = f"csrf={csrf}&choice=allow".encode()
    headers = {"cookie": cookie, "content-type": "application/x-www-form-urlencoded"}
    assert program.call("POST", page, form, headers).status == 303
    assert program.call("POST", page, form, headers).status == 400


def test_a_decision_without_the_token_of_the_session_is_refused(house: House, program: Registered) -> None:
    cookie = house.sign_in("sales.viewer")
    page = program.authorize(cookie, program.asking()).headers["location"]
    headers = {"cookie": cookie, "content-type": "application/x-www-form-urlencoded"}
    assert program.call("POST", page, b"csrf=00&choice=allow", headers).status == 403


def test_a_key_of_a_machine_decides_nothing(house: House, program: Registered) -> None:
    cookie = house.sign_in("sales.viewer")
    page = program.authorize(cookie, program.asking()).headers["location"]
    key = house.site.key(house.workspace, "owner")
    headers = {"authorization": f"Bearer {key}", "content-type": "application/x-www-form-urlencoded"}
    assert program.call("POST", page, b"choice=allow", headers).status == 403


def test_somebody_of_another_workspace_lets_nobody_in(house: House, program: Registered) -> None:
    stranger = House(house.site, house.site.workspace()).sign_in("owner")
    page = program.authorize(stranger, program.asking()).headers["location"]
    assert program.call("GET", page, headers={"cookie": stranger}).status == 400


def test_what_was_allowed_is_not_asked_again_but_for_more(house: House) -> None:
    program = house.register(
        ClientWish(name="Growing", scopes=("sales:read", "finance:read"), redirects=(BACK,), grants=(CODE,))
    )
    cookie = house.sign_in("sales.viewer", "finance.viewer")
    assert "code" in program.consent(cookie, program.asking(scope="sales:read"))
    page = program.authorize(cookie, program.asking(scope="sales:read")).headers["location"]
    assert "code=" in program.call("GET", page, headers={"cookie": cookie}).headers["location"]
    more = program.authorize(cookie, program.asking(scope="sales:read finance:read")).headers["location"]
    assert program.call("GET", more, headers={"cookie": cookie}).status == 200


def test_a_person_sees_and_ends_what_they_allowed(house: House, program: Registered) -> None:
    cookie = house.sign_in("sales.viewer")
    token = text(program.tokens(cookie)["access_token"])
    page = program.call("GET", "/programs", headers={"cookie": cookie})
    assert b"Reporting" in page.body
    csrf = page.body.split(b'name="csrf" value="')[1].split(b'"')[0].decode()
    headers = {"cookie": cookie, "content-type": "application/x-www-form-urlencoded"}
    assert program.call("POST", f"/programs/{program.id}", f"csrf={csrf}".encode(), headers).status == 303
    assert program.use(token).status == 401
    assert b"Reporting" not in program.call("GET", "/programs", headers={"cookie": cookie}).body
