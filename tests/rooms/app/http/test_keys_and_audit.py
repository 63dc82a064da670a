"""Keys over HTTP, and the audit log that tells of them."""

import time
from collections.abc import Callable

from isthmus.kernel.ids import uuid_of
from isthmus.kernel.marks import Json
from tests.rooms.app.http.caller import Caller
from tests.rooms.app.http.conftest import Site


def test_a_key_is_made_used_and_revoked(site: Site) -> None:
    workspace = site.workspace()
    owner = site.caller(site.key(workspace, "owner"))
    made = owner.post("/api/v1/keys", {"name": "Forms", "roles": ["sales.viewer"]})
    assert made.status == 201
    key, key_id = str(made.json["key"]), made.json["id"]
    holder = site.caller(key)
    assert holder.get("/api/v1/me").json["permissions"] == ["sales:read"]
    assert holder.get("/api/v1/leads").status == 200
    assert holder.get("/api/v1/invoices").code == "grant-missing"
    shown = owner.get(f"/api/v1/keys/{key_id}")
    assert key.split("_")[3].encode() not in shown.body
    assert owner.post(f"/api/v1/keys/{key_id}:revoke").json["revoked_at"]
    time.sleep(1.1)
    assert holder.get("/api/v1/me").code == "invalid-key"


def test_a_key_of_a_sandbox_says_so(site: Site) -> None:
    assert site.key(site.workspace(kind="sandbox"), "owner").startswith("ist_test_")


def test_nobody_makes_a_key_wider_than_their_own(site: Site, shared_workspace: int) -> None:
    maker = site.caller(site.key(shared_workspace, "sales.viewer", permissions=("gateway:*",)))
    assert maker.post("/api/v1/keys", {"name": "A", "roles": ["sales.viewer"]}).status == 201
    assert maker.post("/api/v1/keys", {"name": "A", "roles": ["sales.editor"]}).code == "grant-too-wide"


def test_keys_are_listed_page_by_page(site: Site) -> None:
    workspace = site.workspace()
    owner = site.caller(site.key(workspace, "owner"))
    names = [f"Key {index}" for index in range(5)]
    for name in names:
        owner.post("/api/v1/keys", {"name": name, "roles": ["viewer"]})
    found: list[str] = []
    path = "/api/v1/keys?limit=2"
    while True:
        answer = owner.get(path)
        found += [str(each["name"]) for each in answer.rows]
        if not answer.json["has_more"]:
            break
        path = f"/api/v1/keys?limit=2&cursor={answer.json['next_cursor']}"
    assert found == ["Test", *names]
    assert answer.json["next_cursor"] is None


def test_a_cursor_serves_its_own_list_only(site: Site, owner: Caller) -> None:
    for _ in range(2):
        owner.post("/api/v1/keys", {"name": "A", "roles": ["viewer"]})
    cursor = owner.get("/api/v1/keys?limit=1").json["next_cursor"]
    assert owner.get(f"/api/v1/keys?limit=2&cursor={cursor}").status == 200
    assert owner.get(f"/api/v1/audit?cursor={cursor}").code == "invalid-cursor"
    stranger = site.caller(site.key(site.workspace(), "owner"))
    assert stranger.get(f"/api/v1/keys?cursor={cursor}").code == "invalid-cursor"


def test_keys_of_another_workspace_are_not_found(site: Site, owner: Caller) -> None:
    key_id = owner.post("/api/v1/keys", {"name": "A", "roles": ["viewer"]}).json["id"]
    stranger = site.caller(site.key(site.workspace(), "owner"))
    assert stranger.get(f"/api/v1/keys/{key_id}").code == "key-missing"
    assert stranger.post(f"/api/v1/keys/{key_id}:revoke").status == 404
    assert owner.get(f"/api/v1/keys/{key_id}").json["revoked_at"] is None


def test_the_audit_log_tells_who_did_what_and_what_was_denied(site: Site) -> None:
    workspace = site.workspace()
    owner = site.caller(site.key(workspace, "owner"))
    viewer = site.caller(site.key(workspace, "sales.viewer"))
    owner.post("/api/v1/keys", {"name": "A", "roles": ["viewer"]}, x_request_id="made-here")
    viewer.get("/api/v1/audit", x_request_id="denied-here")
    made = owner.get("/api/v1/audit?action=key.created&request_id=made-here").rows
    assert [each["resource"] for each in made] == ["api_key"]
    assert made[0]["actor"] == f"key:{_uuid_of(owner)}"
    denied = soon(lambda: owner.get("/api/v1/audit?action=call.denied").rows)
    assert [(each["resource"], each["request_id"]) for each in denied] == [("/api/v1/audit", "denied-here")]
    assert owner.get("/api/v1/audit?until=2020-01-01T00:00:00Z").rows == []


def test_the_audit_log_of_another_workspace_is_not_seen(site: Site, owner: Caller) -> None:
    owner.post("/api/v1/keys", {"name": "A", "roles": ["viewer"]}, x_request_id="own-business")
    stranger = site.caller(site.key(site.workspace(), "owner"))
    assert stranger.get("/api/v1/audit?request_id=own-business").rows == []


def soon(ask: Callable[[], list[dict[str, Json]]]) -> list[dict[str, Json]]:
    """Ask until there are rows: denials are written in groups, ten times a second."""
    over = time.monotonic() + 5
    while not (found := ask()) and time.monotonic() < over:
        time.sleep(0.02)
    return found


def _uuid_of(caller: Caller) -> str:
    return str(uuid_of("key", str(caller.get("/api/v1/me").json["id"])))
