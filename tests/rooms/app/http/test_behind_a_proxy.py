"""Behind the operator's proxies policies, the audit log and threats see the caller's address; strangers fool nobody."""

from pathlib import Path

import pytest

from isthmus.app.settings import BadSetting, read_settings
from isthmus.app.upstreams.reach import Reach, reach_of
from isthmus.gateway.hops import Hops
from isthmus.gateway.threats.watch import Threats
from isthmus.store.database import Scope
from isthmus.sync.ingest import Store
from tests.rooms.app.http.inside import code, key, rows, stage
from tests.rooms.gateway.stage import Stage

LEADS, HOSTILE = "/api/v1/leads", "/healthz?status=%27%20OR%20%271%27%3D%271"
PEER_NETWORK, OFFICE, ELSEWHERE = "192.0.2.0/24", "203.0.113.9", "198.51.100.77"
AT_HOME = """@id("office") @reason("Only from the office.")
forbid (principal, action in Action::"sales:read", resource)
unless { context.client.isInRange(ip("203.0.113.0/24")) };"""


def behind(*networks: str, store: Store) -> Stage:
    """Return a gateway whose every call comes from 192.0.2.7, with these networks of proxies."""
    return stage(store, more={Reach: Reach(hops=Hops.through(networks))})


async def test_behind_a_trusted_proxy_policies_audit_and_threats_see_the_caller(store: Store, scope: Scope) -> None:
    at = behind(PEER_NETWORK, store=store)
    owner = Stage(at.gateway, at.clock, await key(store, scope, "owner"))
    reader = Stage(at.gateway, at.clock, await key(store, scope, "sales.viewer"))
    assert (await owner.call("POST", "/api/v1/policies", {"text": AT_HOME})).status == 201
    told = {"x-forwarded-for": f"{ELSEWHERE}, {OFFICE}"}
    assert (await reader.call("GET", LEADS, headers=told)).status == 200
    swapped = {"x-forwarded-for": f"{OFFICE}, {ELSEWHERE}"}
    assert code(await reader.call("GET", LEADS, headers=swapped)) == "policy-refused"
    assert code(await reader.call("GET", LEADS)) == "policy-refused"
    await Stage(at.gateway, at.clock).call("GET", HOSTILE, headers=told)
    found = {subject for _, detector, subject in at.gateway.services.of(Threats).pending if detector == "injection"}
    assert found == {"network:203.0.113.0/24"}
    await at.gateway.close()
    denied = rows(await owner.call("GET", "/api/v1/audit?q=decision:denied"))
    assert {str(each["network"]) for each in denied} >= {"198.51.100.0/24", PEER_NETWORK}


async def test_what_somebody_else_than_a_proxy_says_of_its_address_is_ignored(store: Store, scope: Scope) -> None:
    at = behind("10.0.0.0/8", store=store)
    owner = Stage(at.gateway, at.clock, await key(store, scope, "owner"))
    reader = Stage(at.gateway, at.clock, await key(store, scope, "sales.viewer"))
    assert (await owner.call("POST", "/api/v1/policies", {"text": AT_HOME})).status == 201
    told = {"x-forwarded-for": OFFICE, "forwarded": f"for={OFFICE}", "x-real-ip": OFFICE}
    assert code(await reader.call("GET", LEADS, headers=told)) == "policy-refused"


def test_the_settings_name_the_networks_of_proxies_and_their_header(tmp_path: Path) -> None:
    environ = {"ISTHMUS_DATA_DIR": str(tmp_path), "ISTHMUS_TRUSTED_PROXIES": "10.1.0.0/16, fd00::/8"}
    assert reach_of(read_settings(environ=environ)).hops == Hops.through(["10.1.0.0/16", "fd00::/8"])
    named = read_settings(environ={**environ, "ISTHMUS_PROXY_HEADER": "Forwarded"})
    assert reach_of(named).hops.header == "forwarded"
    for name, value in (("TRUSTED_PROXIES", "everybody"), ("PROXY_HEADER", "x-real-ip")):
        wrong = read_settings(environ={**environ, f"ISTHMUS_{name}": value})
        with pytest.raises(BadSetting, match=name.lower()):
            reach_of(wrong)
