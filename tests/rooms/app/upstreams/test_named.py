"""An upstream is named by limits and policies, and what is changed there stands in the audit log."""

import time
from collections.abc import Callable
from typing import cast

from isthmus.kernel.marks import Json
from tests.rooms.app.http.caller import Caller
from tests.rooms.app.http.conftest import Site
from tests.rooms.app.upstreams.conftest import PROXY_KEY
from tests.rooms.app.upstreams.service import Service

Add = Callable[..., str]
SOON_S = 5.0
NO_CHANGES = """@id("no-changes") @reason("Billing is closed.") forbid (principal, action, resource)
when { context.upstream == "billing" && context.method != "GET" };"""


def traced(owner: Caller, q: str, *, rows: int) -> list[dict[str, Json]]:
    """Return the entries that a search finds, oldest first, once there are so many of them."""
    over = time.monotonic() + SOON_S
    while True:
        found = cast("list[dict[str, Json]]", owner.get(f"/api/v1/audit?q={q}").json["data"])
        if len(found) >= rows or time.monotonic() > over:
            return found[::-1]
        time.sleep(0.05)


def test_changes_at_a_service_stand_in_the_audit_log_and_reads_do_not(
    owner: Caller, service: Service, register: Add
) -> None:
    path = register()
    told = {"isthmus-purpose": "refunds", "x-request-id": "req-first"}
    assert owner.get(f"{path}/echo/1").status == 200
    sent = owner.call("POST", f"{path}/echo/inv_1/anna%40example.com?q=anna", b"x", media="text/plain", headers=told)
    assert sent.status == 200
    assert owner.call("DELETE", f"{path}/status/409").status == 409
    assert owner.call("POST", f"{path}/reset").status == 502
    first, *_ = traced(owner, "action:upstream.write", rows=3)
    assert (first["resource"], first["purpose"], first["request_id"]) == ("upstream:billing", "refunds", "req-first")
    assert first["details"] == {"method": "POST", "path": "/echo/inv_1/…"}
    assert first["network"] == "127.0.0.0/24"
    assert str(first["actor"]).startswith("key:")
    assert service.calls["echo"] == 2
    failed = [
        cast("dict[str, Json]", each["details"]) for each in traced(owner, "action:upstream.write-failed", rows=2)
    ]
    assert [(each["method"], each["status"]) for each in failed] == [("DELETE", 409), ("POST", 502)]
    assert len(traced(owner, "resource:upstream:billing+action:upstream.write", rows=3)) == 3


def test_a_change_that_a_proxy_holds_stands_in_the_audit_log_too(owner: Caller, register: Add) -> None:
    register()
    asking = {"isthmus-proxy-key": PROXY_KEY, "x-forwarded-for": "203.0.113.9"}
    assert owner.call("PUT", "/authz/envoy/up/billing/invoices/7", headers=asking).status == 200
    assert owner.call("GET", "/authz/envoy/up/billing/invoices/7", headers=asking).status == 200
    (entry,) = traced(owner, "action:upstream.write", rows=1)
    assert (entry["details"], entry["network"]) == ({"method": "PUT", "path": "/invoices/7"}, "203.0.113.0/24")


def test_a_limit_holds_for_one_upstream_for_all_its_callers_together(
    site: Site, workspace: int, owner: Caller, register: Add
) -> None:
    paths = register("billing"), register("shipping")
    limit: Json = {"name": "upstreams", "scope": "upstream", "count": 3, "seconds": 3600}
    named: Json = {"name": "billing", "scope": "upstream", "subject": "billing", "count": 2, "seconds": 3600}
    assert owner.call("PUT", "/api/v1/limits", {"limits": [limit, named]}).status == 200
    callers = [site.caller(site.key(workspace, "owner")) for _ in range(2)]
    statuses = [[callers[turn % 2].get(f"{path}/echo").status for turn in range(5)] for path in paths]
    assert statuses == [[200, 200, 429, 429, 429], [200, 200, 200, 429, 429]]
    other_name = owner.get("/up/b%69lling/echo")
    assert (other_name.status, other_name.headers["ratelimit"].partition(";")[0]) == (429, '"billing"')
    assert owner.get("/api/v1/me").status == 200


def test_a_policy_names_an_upstream(owner: Caller, register: Add) -> None:
    register("billing")
    register("shipping")
    assert owner.post("/api/v1/policies", {"text": NO_CHANGES}).status == 201
    assert owner.post("/up/billing/echo", {}).code == "policy-refused"
    assert owner.post("/up/bill%69ng/echo", {}).code == "policy-refused"
    assert owner.get("/up/billing/echo").status == 200
    assert owner.post("/up/shipping/echo", {}).status == 200
