"""Users and sessions over HTTP."""

import re
from collections.abc import Callable
from urllib.parse import urlencode

import pytest

from isthmus.kernel.marks import Json
from tests.rooms.app.http.caller import Caller
from tests.rooms.app.http.conftest import Site

FORM = "application/x-www-form-urlencoded"
PASSWORD = "seven unrelated grey lamps"
ADA: dict[str, Json] = {"email": "ada@example.com", "name": "Ada Byron", "roles": ["sales.editor"]}
Join = Callable[[str], str]


@pytest.fixture
def workspace(site: Site) -> int:
    """A workspace of the test's own."""
    return site.workspace()


@pytest.fixture
def boss(site: Site, workspace: int) -> Caller:
    """A key that may do everything."""
    return site.caller(site.key(workspace, "owner"))


@pytest.fixture
def join(site: Site) -> Join:
    """Chooses a password behind a link, and returns the cookie."""

    def choose(path: str) -> str:
        body = urlencode({"password": PASSWORD}).encode()
        answer = site.caller().call("POST", path, body, media=FORM)
        assert answer.status == 303, answer.body
        return answer.headers["set-cookie"].partition(";")[0]

    return choose


def test_a_user_is_invited_and_comes_in(site: Site, boss: Caller, join: Join) -> None:
    made = boss.post("/api/v1/users", ADA)
    assert made.status == 201
    assert boss.get(f"/api/v1/users/{made.json['id']}").json["status"] == "invited"
    cookie = join(str(made.json["path"]))
    own = site.caller().get("/api/v1/me", cookie=cookie).json
    assert (own["kind"], own["name"]) == ("session", "Ada Byron")
    found = boss.get(f"/api/v1/users/{made.json['id']}").json
    assert (found["status"], found["email"], found["second_factor"]) == ("active", "ada@example.com", False)
    (session,) = site.caller().get("/api/v1/sessions", cookie=cookie).rows
    assert (session["user"], session["current"], session["network"]) == (made.json["id"], True, "127.0.0.0/24")


def test_an_address_is_masked_for_who_may_not_administer(site: Site, workspace: int, boss: Caller) -> None:
    boss.post("/api/v1/users", ADA)
    reader = site.caller(site.key(workspace, permissions=("gateway:read",)))
    (shown,) = reader.get("/api/v1/users").rows
    assert shown["email"] == "a…@example.com"
    assert reader.post("/api/v1/users", ADA).status == 403


def test_nobody_invites_or_changes_beyond_their_own_grant(site: Site, workspace: int, boss: Caller) -> None:
    owner = boss.post("/api/v1/users", {**ADA, "roles": ["owner"]}).json["id"]
    lesser = site.caller(site.key(workspace, permissions=("gateway:write", "sales:read")))
    assert lesser.post("/api/v1/users", {**ADA, "email": "b@example.com"}).code == "grant-too-wide"
    for verb in ("disable", "link", "reset", "enable"):
        assert lesser.call("POST", f"/api/v1/users/{owner}:{verb}").code == "grant-too-wide"
    assert lesser.call("PATCH", f"/api/v1/users/{owner}", {"roles": []}).code == "grant-too-wide"


def test_wrong_wishes_are_told_what_is_wrong(boss: Caller) -> None:
    boss.post("/api/v1/users", ADA)
    assert boss.post("/api/v1/users", {**ADA, "email": "ADA@example.com"}).code == "user-taken"
    assert boss.post("/api/v1/users", {**ADA, "email": "not an address"}).status == 422
    assert boss.post("/api/v1/users", {**ADA, "email": "c@example.com", "roles": ["emperor"]}).code == "unknown-role"
    assert boss.get("/api/v1/users/user_01KAX3V9Q2M4T8Z5N7P6R1S0WD").code == "user-missing"
    assert boss.get("/api/v1/users/nobody").status == 404


def test_a_user_of_another_workspace_is_not_there(site: Site, boss: Caller) -> None:
    own = boss.post("/api/v1/users", ADA).json["id"]
    stranger = site.caller(site.key(site.workspace(), "owner"))
    assert stranger.get(f"/api/v1/users/{own}").status == 404
    assert stranger.call("POST", f"/api/v1/users/{own}:disable").status == 404
    assert stranger.get("/api/v1/users").rows == []
    assert stranger.get("/api/v1/sessions?all=true").rows == []


def test_sessions_are_seen_by_their_user_and_ended_by_who_may(site: Site, boss: Caller, join: Join) -> None:
    cookie = join(str(boss.post("/api/v1/users", ADA).json["path"]))
    assert site.caller().get("/api/v1/sessions?all=true", cookie=cookie).status == 403
    assert boss.get("/api/v1/sessions").code == "people-only"
    (session,) = boss.get("/api/v1/sessions?all=true").rows
    assert boss.call("POST", f"/api/v1/sessions/{session['id']}:end").status == 204
    assert boss.call("POST", f"/api/v1/sessions/{session['id']}:end").code == "session-missing"
    assert boss.get("/api/v1/sessions?all=true").rows == []


def test_a_form_without_the_sessions_token_changes_nothing(site: Site, boss: Caller, join: Join) -> None:
    cookie = join(str(boss.post("/api/v1/users", {**ADA, "roles": ["owner"]}).json["path"]))
    for path in ("/me/totp", "/me/sessions/end-others", "/people/invite", "/step-up"):
        refused = site.caller().call("POST", path, b"csrf=wrong", media=FORM, headers={"cookie": cookie})
        assert refused.status == 403
    page = site.caller().get("/me", cookie=cookie)
    token = re.search(rb'name="csrf" value="([0-9a-f]{64})"', page.body)
    assert token is not None
    body = urlencode({"csrf": token[1].decode()}).encode()
    begun = site.caller().call("POST", "/me/totp", body, media=FORM, headers={"cookie": cookie})
    assert (begun.status, begun.headers["location"]) == (303, "/me/totp")


def test_a_key_has_no_account(boss: Caller) -> None:
    assert boss.get("/me").status == 403
    assert boss.post("/me/passkeys/options", {}).code == "people-only"
