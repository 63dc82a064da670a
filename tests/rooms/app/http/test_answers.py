"""What every answer carries, and what the program says about itself."""

import json
import re
from typing import cast

import pytest
from openapi_spec_validator import validate

from isthmus.app.discovery import schema
from isthmus.app.http.assembly import all_routes
from isthmus.gateway.versions import PATTERN, VERSIONS
from isthmus.kernel.marks import Json
from tests.rooms.app.http.caller import Caller
from tests.rooms.app.http.conftest import Site


@pytest.mark.parametrize("path", ["/healthz", "/api/v1/leads", "/nothing", "/docs"])
def test_every_answer_is_safe_to_show_and_not_kept(owner: Caller, path: str) -> None:
    headers = owner.get(path).headers
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["referrer-policy"] == "no-referrer"


def test_head_answers_like_get_without_a_body(owner: Caller) -> None:
    got, head = owner.get("/api/v1/leads"), owner.call("HEAD", "/api/v1/leads")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-length"] == got.headers["content-length"]


def test_options_names_the_methods(site: Site) -> None:
    answer = site.caller().call("OPTIONS", "/api/v1/keys")
    assert (answer.status, answer.headers["allow"]) == (204, "GET, HEAD, OPTIONS, POST")


def test_the_program_is_alive_and_ready(site: Site) -> None:
    assert site.caller().get("/healthz").json == {"status": "alive"}
    ready = site.caller().get("/readyz")
    assert ready.status == 200
    assert ready.json["checks"] == {"database": "ok", "migrations": "ok", "keys": "ok"}


def test_traffic_is_counted_over_all_workers(site: Site, owner: Caller) -> None:
    def counted() -> int:
        line = 'isthmus_requests_total{method="GET",route="/docs/errors/{code}",status="4xx"} '
        lines = site.caller().get("/metrics").body.decode().splitlines()
        return sum(int(each.removeprefix(line)) for each in lines if each.startswith(line))

    before = counted()
    for _ in range(20):
        assert owner.get("/docs/errors/none-such").status == 404
    assert counted() == before + 20


def test_traffic_is_shown_to_this_machine_or_by_permission(site: Site, shared_workspace: int) -> None:
    assert site.caller().get("/metrics").status == 200
    assert site.caller().get("/metrics", x_forwarded_for="203.0.113.9").status == 401
    viewer = site.caller(site.key(shared_workspace, "viewer"))
    assert viewer.get("/metrics", x_forwarded_for="203.0.113.9").code == "grant-missing"


def test_the_description_is_valid_and_holds_every_listed_route(site: Site) -> None:
    answer = site.caller().get("/openapi.json")
    document = cast("dict[str, dict[str, dict[str, Json]]]", json.loads(answer.body))
    validate(document)
    described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert described == {(route.method, route.path) for route in all_routes(schema()) if route.listed}


def test_the_description_refuses_unknown_fields_as_the_gateway_does(site: Site) -> None:
    schemas = cast("dict[str, dict[str, dict[str, Json]]]", site.caller().get("/openapi.json").json["components"])[
        "schemas"
    ]
    for route in all_routes(schema()):
        if route.body is not None and route.listed:
            assert route.body.__struct_config__.forbid_unknown_fields, route.path
            assert schemas[route.body.__name__]["additionalProperties"] is False


def test_the_documentation_explains_operations_and_errors_without_scripts(site: Site) -> None:
    page = site.caller().get("/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert b"/api/v1/leads" in page.body
    assert b"<script" not in page.body
    assert b"//" not in page.body.replace(b"<!doctype", b"")
    for code in ("invalid", "grant-missing", "stale-version", "rejected"):
        assert site.caller().get(f"/docs/errors/{code}").status == 200
    assert site.caller().get("/docs/errors/none-such").status == 404


def test_a_browser_is_shown_errors_as_a_page(site: Site) -> None:
    answer = site.caller().get("/nothing", accept="text/html,application/xhtml+xml")
    assert answer.status == 404
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.headers["x-request-id"].encode() in answer.body


def test_the_description_says_which_days_pin_a_version_and_the_gateway_agrees(site: Site) -> None:
    assert re.search(PATTERN, VERSIONS[0].isoformat())
    for day, answered in (("2026-11-22", 200), ("2031-02-28", 200), ("2026-11-21", 400), ("2026-W48-1", 400)):
        assert bool(re.search(PATTERN, day)) == (answered == 200), day
        assert site.caller().get("/healthz", isthmus_version=day).status == answered, day
