"""Programs over HTTP: registered, proven, rotated, removed; and the tokens that they get for themselves."""

import base64
import secrets
import time
from typing import cast

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from isthmus.auth.oauth.clients import CODE, DEVICE, MACHINE, ClientWish
from isthmus.kernel.marks import Json
from tests.rooms.app.http.oauth.conftest import House
from tests.rooms.app.http.oauth.program import FORM, Registered, claims_of, text

ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
WISH = ClientWish(name="Machine", grants=(MACHINE,), scopes=("sales:read", "finance:*"))


@pytest.fixture
def machine(house: House) -> Registered:
    """A program that acts for itself."""
    return house.register(WISH)


def test_a_program_gets_what_it_was_granted_or_less(machine: Registered) -> None:
    whole = machine.token(grant_type="client_credentials")
    assert whole.json["scope"] == "sales:read finance:*"
    assert whole.json["expires_in"] == 600
    part = machine.token(grant_type="client_credentials", scope="sales:read")
    token = text(part.json["access_token"])
    assert machine.use(token).json["permissions"] == ["sales:read"]
    assert machine.use(token).json["name"] == "Machine"
    assert machine.token(grant_type="client_credentials", scope="success:read").json["error"] == "invalid_scope"


def test_a_token_has_the_form_of_rfc_9068(house: House, machine: Registered) -> None:
    token = text(machine.token(grant_type="client_credentials").json["access_token"])
    header = base64.urlsafe_b64decode(token.split(".")[0] + "==")
    assert b'"typ":"at+jwt"' in header
    assert b'"kid":"' in header
    claims = claims_of(token)
    assert claims["iss"] == claims["aud"] == house.issuer
    assert claims["sub"] == claims["client_id"] == machine.id
    assert {"exp", "iat", "jti", "scope"} <= claims.keys()


def test_a_resource_is_named_or_refused(house: House, machine: Registered) -> None:
    served = house.register(ClientWish(name="Lake", grants=(), audience="https://lake.test/", scopes=()))
    made = machine.token(grant_type="client_credentials", resource="https://lake.test/")
    token = text(made.json["access_token"])
    assert claims_of(token)["aud"] == "https://lake.test/"
    assert machine.use(token).status == 401, "a token for somebody else opens nothing here"
    assert served.post("/oauth/introspect", {"token": token}).json["active"] is True
    unknown = machine.token(grant_type="client_credentials", resource="https://nobody.test/")
    assert (unknown.status, unknown.json["error"]) == (400, "invalid_target")


@pytest.mark.parametrize(
    "header",
    [
        "Basic bm9ib2R5Om5vdGhpbmc=",
        "Basic " + base64.b64encode(b"client_00000000000000000000000000:x").decode(),
        "Bearer abc",
    ],
)
def test_who_does_not_prove_itself_gets_401_and_a_challenge(machine: Registered, header: str) -> None:
    answer = machine.call(
        "POST", "/oauth/token", b"grant_type=client_credentials", {"content-type": FORM, "authorization": header}
    )
    assert (answer.status, answer.json["error"]) == (401, "invalid_client")
    assert answer.headers["www-authenticate"].startswith("Basic ")
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("header", ["Basic %%%", "Basic //79", "Basic bm9jb2xvbg=="])
def test_a_header_that_cannot_be_read_is_a_refusal_and_no_fault_of_ours(machine: Registered, header: str) -> None:
    answer = machine.call(
        "POST", "/oauth/token", b"grant_type=client_credentials", {"content-type": FORM, "authorization": header}
    )
    assert answer.status in {400, 401}
    assert answer.json["error"] in {"invalid_request", "invalid_client"}


def test_secrets_read_alike_with_escapes_and_without(machine: Registered) -> None:
    assert machine.secret is not None
    assert all(each.isalnum() or each in "-_" for each in machine.secret + machine.id)


def test_a_program_proves_itself_in_one_way(machine: Registered) -> None:
    both = machine.token(grant_type="client_credentials", client_id=machine.id, client_secret=machine.secret or "")
    assert (both.status, both.json["error"]) == (400, "invalid_request")
    other = machine.token(grant_type="client_credentials", client_id="client_00000000000000000000000000")
    assert (other.status, other.json["error"]) == (400, "invalid_request")


def test_a_body_that_is_no_form_or_too_large_is_refused(machine: Registered) -> None:
    json_body = machine.call("POST", "/oauth/token", b"{}", {"content-type": "application/json", **machine.basic})
    assert (json_body.status, json_body.json["error"]) == (400, "invalid_request")
    large = machine.post("/oauth/token", {"grant_type": "client_credentials", "scope": "x" * (65 << 10)})
    assert (large.status, large.json["error"]) == (413, "invalid_request")
    broken = machine.call("POST", "/oauth/token", b"grant_type=%ff%fe", {"content-type": FORM, **machine.basic})
    assert (broken.status, broken.json["error"]) == (400, "invalid_request")


def with_keys(house: House) -> tuple[Registered, ECKey]:
    """Register a program that signs assertions."""
    key = ECKey.generate_key("P-256", {"kid": "one"})
    public = cast("dict[str, Json]", key.as_dict(private=False))
    wish = ClientWish(
        name="Signer",
        method="private_key_jwt",
        grants=(MACHINE,),
        scopes=("sales:read",),
        keys={"keys": [public]},
    )
    return house.register(wish), key


def asserted(program: Registered, key: ECKey, **changed: Json) -> dict[str, str]:
    """Return the fields of an assertion; `changed` are claims that differ from what is right."""
    claims: dict[str, Json] = {
        "iss": program.id,
        "sub": program.id,
        "aud": program.issuer,
        "exp": int(time.time()) + 60,
        "jti": secrets.token_urlsafe(8),
    }
    signed = jwt.encode({"alg": "ES256", "kid": "one"}, {**claims, **changed}, key, algorithms=["ES256"])
    return {"client_assertion": signed, "client_assertion_type": ASSERTION, "grant_type": "client_credentials"}


def plain(program: Registered, fields: dict[str, str]) -> tuple[int, Json]:
    """Call the token endpoint without other credentials; return the status and what was wrong."""
    answer = program.post("/oauth/token", [each for each in fields.items() if each[0] != "client_id"])
    return answer.status, answer.json.get("error")


def test_an_assertion_is_taken_once(house: House) -> None:
    program, key = with_keys(house)
    fields = asserted(program, key)
    assert plain(program, fields) == (200, None)
    assert plain(program, fields) == (401, "invalid_client")


@pytest.mark.parametrize(
    "changed",
    [
        {"aud": "https://evil.test"},
        {"aud": []},
        {"iss": "client_00000000000000000000000000"},
        {"exp": int(time.time()) - 1},
        {"exp": int(time.time()) + 86_400},
        {"jti": ""},
        {"nbf": int(time.time()) + 3_600},
    ],
)
def test_an_assertion_for_somebody_else_or_another_time_is_refused(house: House, changed: dict[str, Json]) -> None:
    program, key = with_keys(house)
    assert plain(program, asserted(program, key, **changed)) == (401, "invalid_client")


def test_an_assertion_of_another_key_is_refused(house: House) -> None:
    program, _ = with_keys(house)
    assert plain(program, asserted(program, ECKey.generate_key("P-256"))) == (401, "invalid_client")


def test_owners_register_rotate_and_remove_programs(house: House) -> None:
    owner = house.site.caller(house.site.key(house.workspace, "owner"))
    made = owner.post("/api/v1/clients", {"name": "Made", "grants": [MACHINE], "scopes": ["sales:read"]})
    assert made.status == 201, made.body
    name, old = text(made.json["client_id"]), text(made.json["client_secret"])
    listed = owner.get("/api/v1/clients").rows
    assert [each["client_id"] for each in listed] == [name]
    assert old not in str(listed)
    new = text(owner.post(f"/api/v1/clients/{name}:rotate").json["client_secret"])

    def status(secret: str) -> int:
        form = f"grant_type=client_credentials&client_id={name}&client_secret={secret}".encode()
        return owner.call("POST", "/oauth/token", form, media=FORM).status

    assert (status(old), status(new), status("wrong")) == (200, 200, 401)
    assert owner.post(f"/api/v1/clients/{name}:remove").status == 200
    assert (status(old), status(new)) == (401, 401)


@pytest.mark.parametrize(
    ("wish", "pointer"),
    [
        ({"grants": ["implicit"]}, "/grants/0"),
        ({"grants": [CODE]}, "/redirects"),
        ({"grants": [CODE], "redirects": ["http://app.test/"]}, "/redirects/0"),
        ({"grants": [CODE], "redirects": ["https://app.test/#x"]}, "/redirects/0"),
        ({"grants": [CODE], "redirects": ["app:/back"]}, "/redirects/0"),
        ({"grants": [CODE], "redirects": ["javascript:alert(1)"]}, "/redirects/0"),
        ({"grants": [MACHINE], "method": "none"}, "/grants"),
        ({"grants": [MACHINE], "scopes": ["nonsense:read"]}, "/scopes/0"),
        ({"grants": [DEVICE], "scopes": ["offline_access"]}, "/grants"),
        ({"grants": [MACHINE], "method": "private_key_jwt"}, "/keys"),
        ({"grants": [MACHINE], "method": "private_key_jwt", "keys": {"keys": [{"kty": "oct", "k": "eA"}]}}, "/keys"),
        ({"grants": [MACHINE], "audience": "lake"}, "/audience"),
    ],
)
def test_a_program_that_makes_no_sense_is_not_registered(house: House, wish: dict[str, Json], pointer: str) -> None:
    owner = house.site.caller(house.site.key(house.workspace, "owner"))
    refused = owner.post("/api/v1/clients", {"name": "Odd", **wish})
    assert refused.code == "invalid-client-wish"
    assert (pointer, "invalid-client-wish") in refused.faults


def test_nobody_registers_a_program_that_may_more_than_they(house: House) -> None:
    some = house.site.key(house.workspace, permissions=("gateway:write", "sales:read"))
    wish: dict[str, Json] = {"name": "Wide", "grants": [MACHINE], "scopes": ["finance:read"]}
    assert house.site.caller(some).post("/api/v1/clients", wish).code == "grant-too-wide"


def test_a_removed_program_is_refused_on_every_worker_within_a_second(house: House, machine: Registered) -> None:
    token = text(machine.token(grant_type="client_credentials").json["access_token"])
    assert {machine.use(token).status for _ in range(8)} == {200}
    owner = house.site.caller(house.site.key(house.workspace, "owner"))
    assert owner.post(f"/api/v1/clients/{machine.id}:remove").status == 200
    time.sleep(1)
    assert {machine.use(token).status for _ in range(8)} == {401}
