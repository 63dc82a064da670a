"""Provisioning over HTTP: who may, what it does to people, and what clients rely on."""

import time
from typing import cast
from urllib.parse import quote, urlencode

import pytest

from isthmus.app.program import Program
from isthmus.kernel.marks import Json
from tests.rooms.app.http.caller import Answered, Caller
from tests.rooms.app.http.conftest import Site, scope_of

USERS, GROUPS = "/scim/v2/Users", "/scim/v2/Groups"
FORM = "application/x-www-form-urlencoded"
PASSWORD = "seven unrelated grey lamps"
KNOWN_S_MAX = 5.0
ADA: dict[str, Json] = {
    "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
    "userName": "ada@northwind.example",
    "externalId": "00u1",
    "name": {"givenName": "Ada", "familyName": "Byron"},
    "active": True,
}


@pytest.fixture
def workspace(site: Site) -> int:
    """A workspace of the test's own."""
    return site.workspace()


@pytest.fixture
def boss(site: Site, workspace: int) -> Caller:
    """A key that may do everything."""
    return site.caller(site.key(workspace, "owner"))


def patch(caller: Caller, path: str, *operations: Json) -> Answered:
    """Send operations."""
    return caller.call("PATCH", path, {"Operations": list(operations)}, media="application/scim+json")


def found(caller: Caller, path: str, wanted: str) -> list[Json]:
    """Return the ids of what a filter finds."""
    answer = caller.get(f"{path}?filter={quote(wanted)}")
    assert answer.status == 200, answer.body
    return [cast("dict[str, Json]", each)["id"] for each in cast("list[Json]", answer.json["Resources"])]


def test_making_somebody_inactive_ends_their_sessions_in_every_worker(site: Site, boss: Caller) -> None:
    made = boss.post(USERS, ADA)
    assert (made.status, made.headers["content-type"]) == (201, "application/scim+json")
    link = boss.call("POST", f"/api/v1/users/{made.json['id']}:link").json["path"]
    body = urlencode({"password": PASSWORD}).encode()
    cookie = site.caller().call("POST", str(link), body, media=FORM).headers["set-cookie"].partition(";")[0]
    assert site.caller().get("/api/v1/me", cookie=cookie).status == 200
    patched = patch(boss, f"{USERS}/{made.json['id']}", {"op": "Replace", "path": "active", "value": "False"})
    assert (patched.status, patched.json["active"]) == (200, False)
    assert boss.get("/api/v1/sessions?all=true").rows == []
    patch(boss, f"{USERS}/{made.json['id']}", {"op": "replace", "value": {"active": True}})
    # What one worker changed the others know within a second.
    over = time.monotonic() + KNOWN_S_MAX
    while (status := site.caller().get("/api/v1/me", cookie=cookie).status) == 200 and time.monotonic() < over:
        time.sleep(0.05)
    assert status == 401


def test_people_are_found_by_name_address_and_external_id(boss: Caller) -> None:
    own = boss.post(USERS, ADA).json["id"]
    boss.post(USERS, {**ADA, "userName": "b@northwind.example", "externalId": "00u2"})
    for wanted in (
        'userName eq "ADA@northwind.example"',
        'emails.value eq "Ada@Northwind.example" and active eq true',
        'emails[value eq "ada@northwind.example"]',
        'externalId eq "00u1"',
        f'id eq "{own}"',
        'name.familyName eq "byron" and userName sw "ada"',
    ):
        assert found(boss, USERS, wanted) == [own], wanted
    assert found(boss, USERS, 'externalId eq "00U1"') == []
    assert found(boss, USERS, 'id eq "nobody"') == []
    assert boss.get(f"{USERS}?filter={quote('shoeSize pr')}").json["scimType"] == "invalidFilter"


def test_who_was_invited_by_hand_is_taken_over(boss: Caller) -> None:
    invited: dict[str, Json] = {"email": "eve@northwind.example", "name": "Eve", "roles": ["sales.editor"]}
    own = boss.post("/api/v1/users", invited).json["id"]
    assert found(boss, USERS, 'userName eq "eve@northwind.example"') == [own]
    assert boss.post(USERS, {**ADA, "userName": "EVE@northwind.example"}).json["scimType"] == "uniqueness"
    put = boss.call("PUT", f"{USERS}/{own}", {**ADA, "userName": "eve@northwind.example", "displayName": "Eve Stone"})
    assert put.status == 200, put.body
    shown = boss.get(f"/api/v1/users/{own}").json
    assert (shown["name"], shown["roles"]) == ("Eve Stone", ["sales.editor"])


def test_groups_give_roles_and_take_them_away(boss: Caller) -> None:
    own = boss.post(USERS, ADA).json["id"]
    boss.call("PATCH", f"/api/v1/users/{own}", {"roles": ["sales.viewer"]})
    group = boss.post(GROUPS, {"displayName": "sales.editor", "members": [{"value": own}]}).json["id"]
    second = boss.post(GROUPS, {"displayName": "All of sales", "members": [{"value": own}]}).json["id"]
    role: Json = {
        "op": "add",
        "path": "urn:isthmus:scim:schemas:extension:role:1.0:Group:role",
        "value": "sales.viewer",
    }
    assert patch(boss, f"{GROUPS}/{second}", role).status == 200
    assert boss.get(f"/api/v1/users/{own}").json["roles"] == ["sales.viewer", "sales.editor"]
    groups = cast("list[dict[str, Json]]", boss.get(f"{USERS}/{own}").json["groups"])
    assert sorted(str(each["display"]) for each in groups) == ["All of sales", "sales.editor"]
    patch(boss, f"{GROUPS}/{group}", {"op": "Remove", "path": "members", "value": [{"value": own}]})
    assert boss.get(f"/api/v1/users/{own}").json["roles"] == ["sales.viewer"]
    assert boss.call("DELETE", f"{GROUPS}/{second}").status == 204
    assert boss.get(f"/api/v1/users/{own}").json["roles"] == ["sales.viewer"]


def test_nobody_provisions_beyond_their_own_grant(site: Site, workspace: int, boss: Caller) -> None:
    owner = boss.post("/api/v1/users", {"email": "o@x.example", "name": "Olga", "roles": ["owner"]}).json["id"]
    viewer = boss.post(USERS, ADA).json["id"]
    lesser = site.caller(site.key(workspace, permissions=("gateway:write", "sales:read")))
    off: Json = {"op": "replace", "path": "active", "value": False}
    assert patch(lesser, f"{USERS}/{owner}", off).status == 403
    assert patch(lesser, f"{USERS}/{owner}", {"op": "replace", "path": "title", "value": "x"}).status == 403
    assert lesser.call("DELETE", f"{USERS}/{owner}").status == 403
    assert lesser.post(GROUPS, {"displayName": "owner", "members": [{"value": viewer}]}).status == 403
    assert patch(lesser, f"{USERS}/{viewer}", off).status == 200
    assert boss.get(f"/api/v1/users/{owner}").json["status"] == "invited"


def test_only_keys_that_may_administer_people_provision(site: Site, workspace: int) -> None:
    reader = site.caller(site.key(workspace, "sales.admin"))
    for refused, status in ((site.caller().get(USERS), 401), (reader.get(USERS), 403)):
        assert refused.status == status
        assert (refused.headers["content-type"], refused.json["status"]) == ("application/scim+json", str(status))


def test_another_workspace_sees_and_changes_nothing(site: Site, boss: Caller) -> None:
    own, group = boss.post(USERS, ADA).json["id"], boss.post(GROUPS, {"displayName": "Team"}).json["id"]
    stranger = site.caller(site.key(site.workspace(), "owner"))
    assert stranger.get(USERS).json["totalResults"] == 0
    assert found(stranger, USERS, 'userName eq "ada@northwind.example"') == []
    for path in (f"{USERS}/{own}", f"{GROUPS}/{group}"):
        assert stranger.get(path).status == 404
        assert stranger.call("DELETE", path).status == 404
        assert patch(stranger, path, {"op": "replace", "path": "displayName", "value": "x"}).status == 404
    assert stranger.post(GROUPS, {"displayName": "Team", "members": [{"value": own}]}).status == 400


def test_versions_keep_two_clients_from_overwriting_each_other(boss: Caller) -> None:
    made = boss.post(USERS, ADA)
    path, before = f"{USERS}/{made.json['id']}", made.headers["etag"]
    assert boss.get(path, if_none_match=before).status == 304
    title: Json = {"Operations": [{"op": "replace", "path": "title", "value": "Boss"}]}
    assert boss.call("PATCH", path, title, headers={"if-match": before}).status == 200
    assert boss.call("PATCH", path, title, headers={"if-match": before}).status == 412
    assert boss.call("DELETE", path, headers={"if-match": before}).status == 412
    assert boss.get(path).headers["etag"] != before


def test_lists_come_in_pages(boss: Caller) -> None:
    for number in range(5):
        boss.post(USERS, {**ADA, "userName": f"p{number}@northwind.example", "externalId": str(number)})
    second = boss.get(f"{USERS}?startIndex=3&count=2&attributes=userName").json
    assert (second["totalResults"], second["startIndex"], second["itemsPerPage"]) == (5, 3, 2)
    names = [each.get("userName") for each in cast("list[dict[str, Json]]", second["Resources"])]
    assert names == ["p2@northwind.example", "p3@northwind.example"]
    assert boss.get(f"{USERS}?count=0").json["Resources"] == []
    assert boss.get(f"{USERS}?startIndex=-4&count=-1").json["totalResults"] == 5
    wanted = quote('userName sw "p" and not (externalId eq "1")')
    assert boss.get(f"{USERS}?filter={wanted}&startIndex=4").json["itemsPerPage"] == 1


def test_who_is_removed_is_forgotten_and_may_come_again(boss: Caller) -> None:
    own = boss.post(USERS, ADA).json["id"]
    boss.post(GROUPS, {"displayName": "sales.viewer", "members": [{"value": own}]})
    assert boss.call("DELETE", f"{USERS}/{own}").status == 204
    assert boss.get(f"{USERS}/{own}").status == 404
    assert boss.call("DELETE", f"{USERS}/{own}").status == 404
    left = boss.get(f"/api/v1/users/{own}").json
    assert (left["status"], left["email"], left["roles"]) == ("disabled", "", [])
    assert boss.post(USERS, ADA).json["id"] != own


def test_bulk_is_refused_and_tells_its_limit(boss: Caller) -> None:
    refused = boss.post("/scim/v2/Bulk", {"Operations": []})
    assert refused.status == 501
    assert "maxOperations 0" in str(refused.json["detail"])
    told = cast("dict[str, Json]", boss.get("/scim/v2/ServiceProviderConfig").json["bulk"])
    assert told == {"supported": False, "maxOperations": 0, "maxPayloadSize": 0}


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({}, "invalidValue"),
        ({"userName": "no address"}, "invalidValue"),
        ({"userName": "x@y.example", "shoeSize": 3}, "invalidSyntax"),
        ({"userName": "x@y.example", "emails": [{"value": "not an address"}]}, "invalidValue"),
        ([], "invalidValue"),
        (b"{", "invalidSyntax"),
    ],
)
def test_wrong_wishes_are_told_in_the_words_of_the_standard(boss: Caller, body: Json | bytes, kind: str) -> None:
    refused = boss.post(USERS, body)
    assert (refused.status, refused.json.get("scimType")) == (400, kind), refused.body
    assert refused.json["schemas"] == ["urn:ietf:params:scim:api:messages:2.0:Error"]


def test_nothing_personal_stands_readable_in_the_tables(site: Site, workspace: int, boss: Caller) -> None:
    boss.post(USERS, {**ADA, "title": "Chancellor"})

    async def stored(program: Program) -> str:
        async with program.database.transaction(scope_of(workspace)) as tx:
            cursor = await tx.connection.execute(
                "select to_jsonb(p), to_jsonb(l) from provisioned_login p join person_login l on l.id = p.login"
            )
            return str(await cursor.fetchall())

    text = site.run(stored)
    assert "sealed" in text
    assert not [each for each in ("ada@", "Byron", "Chancellor", "00u1") if each in text]
