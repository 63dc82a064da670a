"""Envoy and nginx in front, with the examples that we hand out: they ask about each call, and tell who makes it."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from isthmus.kernel.marks import Json
from tests.rooms.app.http.caller import Answered, Caller
from tests.rooms.app.http.conftest import Site, free_port
from tests.rooms.app.upstreams.conftest import PROXY_KEY
from tests.rooms.app.upstreams.proxies import envoy, nginx
from tests.rooms.app.upstreams.service import Service

Add = Callable[..., str]


@pytest.fixture(params=["envoy", "nginx"])
def front(request: pytest.FixtureRequest, site: Site, service: Service, tmp_path: Path) -> Iterator[int]:
    """The port of a proxy in front of the server and of the service."""
    ports = {8080: site.settings.port, 9000: service.port}
    started = (
        envoy({**ports, 8090: free_port()}, key=PROXY_KEY, into=tmp_path)
        if request.param == "envoy"
        else nginx(ports, key=PROXY_KEY, into=tmp_path)
    )
    with started as port:
        yield port


def met(answer: Answered) -> dict[str, str]:
    """Return the headers that the service met."""
    assert answer.status == 200, (answer.status, answer.headers, answer.body)
    return dict(cast("list[tuple[str, str]]", json.loads(answer.body)["headers"]))


def test_a_call_that_may_pass_arrives_with_who_makes_it(
    site: Site, workspace: int, register: Add, front: int, service: Service
) -> None:
    register()
    caller = Caller(front, site.key(workspace, "owner"))
    answer = caller.call(
        "POST",
        "/up/billing/echo/a?q=1",
        b"content",
        media="text/plain",
        headers={"isthmus-identity": "forged", "cookie": "isthmus_session=secret", "x-forwarded-for": "203.0.113.9"},
    )
    headers = met(answer)
    assert (answer.json["method"], answer.json["target"], answer.json["size"]) == ("POST", "/echo/a?q=1", 7)
    assert not {"authorization", "cookie", "isthmus-proxy-key"} & headers.keys()
    keys = KeySet.import_key_set(json.loads(site.caller().get("/oauth/jwks").body))
    claims = jwt.decode(headers["isthmus-identity"], keys, algorithms=["ES256"]).claims
    assert (claims["aud"], claims["workspace"]) == ("billing", workspace)
    assert '"caller"' in answer.headers["ratelimit-policy"]
    assert service.calls["echo"] == 1


def test_what_may_not_pass_is_refused_with_our_problem(
    site: Site, workspace: int, register: Add, front: int, service: Service
) -> None:
    register(permission="finance:read")
    refusals = {
        None: (401, "unauthenticated"),
        site.key(workspace, "sales.viewer"): (403, "grant-missing"),
        site.key(site.workspace(), "owner"): (404, "upstream-missing"),
    }
    for key, expected in refusals.items():
        answer = Caller(front, key).get("/up/billing/echo")
        assert (answer.status, answer.code) == expected
        assert "www-authenticate" in answer.headers or answer.status != 401
    assert not service.calls


def test_a_limit_is_told_as_a_limit(
    site: Site, workspace: int, owner: Caller, register: Add, front: int, service: Service
) -> None:
    register()
    limit: Json = {"name": "caller", "scope": "caller", "count": 3, "seconds": 3600}
    assert owner.call("PUT", "/api/v1/limits", {"limits": [limit]}).status == 200
    caller = Caller(front, site.key(workspace, "owner"))
    answers = [caller.get("/up/billing/echo") for _ in range(5)]
    assert [each.status for each in answers] == [200, 200, 200, 429, 429]
    last = answers[-1]
    assert last.code == "limit-reached"
    assert int(last.headers["retry-after"]) > 0
    assert last.headers["ratelimit"].startswith('"caller";r=0')
    assert service.calls["echo"] == 3


def test_our_own_routes_are_answered_by_ourselves_and_questions_are_for_proxies(
    site: Site, workspace: int, front: int
) -> None:
    key = site.key(workspace, "owner")
    assert Caller(front, key).get("/api/v1/me").json["kind"] == "key"
    assert Caller(front, key).get("/authz/envoy/up/billing/").status == 404
    direct = site.caller(key).get("/authz/envoy/api/v1/me")
    assert (direct.status, direct.code) == (403, "proxy-refused")
    wrong = site.caller(key).get("/authz/nginx", isthmus_proxy_key="x" * 40)
    assert (wrong.status, wrong.code) == (403, "proxy-refused")


def test_a_proxy_asks_about_our_own_routes_too(site: Site, workspace: int) -> None:
    asked = {"isthmus-proxy-key": PROXY_KEY, "x-original-method": "POST", "x-original-uri": "/api/v1/keys?x=1"}
    owner, viewer = site.caller(site.key(workspace, "owner")), site.caller(site.key(workspace, "sales.viewer"))
    assert owner.call("GET", "/authz/nginx", headers=asked).status == 200
    refused = viewer.call("GET", "/authz/nginx", headers=asked)
    assert (refused.status, refused.headers["isthmus-status"]) == (403, "403")
    assert json.loads(refused.headers["isthmus-problem"])["code"] == "grant-missing"
    envoy_asks = viewer.call("POST", "/authz/envoy/api/v1/keys", headers={"isthmus-proxy-key": PROXY_KEY})
    assert (envoy_asks.status, envoy_asks.code) == (403, "grant-missing")
    unnamed = owner.call("GET", "/authz/nginx", headers={"isthmus-proxy-key": PROXY_KEY})
    assert (unnamed.status, unnamed.code) == (400, "malformed")
