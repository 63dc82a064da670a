"""Threats over HTTP: found in real calls, listed with evidence, held back, let go, tried over stored traffic."""

from typing import cast

from isthmus.gateway.threats.keeping import Keeper
from isthmus.gateway.threats.watch import Threats
from isthmus.store.database import Scope
from isthmus.sync.ingest import Store
from tests.rooms.app.http.inside import code, key, stage
from tests.rooms.gateway.stage import Stage

THREATS = "/api/v1/threats"
HOSTILE = "/api/v1/leads?status=%27%20OR%20%271%27%3D%271"


def keeper(at: Stage) -> Keeper:
    """Return what a worker runs beside its gateway."""
    return Keeper(at.gateway.services.database, at.gateway.services.of(Threats), now=at.clock.now)


async def test_a_hostile_text_is_observed_then_enforced_and_its_sender_released(store: Store, scope: Scope) -> None:
    at = stage(store)
    owner = Stage(at.gateway, at.clock, await key(store, scope, "owner"))
    sender = Stage(at.gateway, at.clock, await key(store, scope, "sales.viewer"))
    assert code(await sender.call("GET", HOSTILE)) != "suspicious-text"
    await keeper(at).turn()
    (seen,) = cast("list[dict[str, object]]", (await owner.call("GET", THREATS)).json["data"])
    assert (seen["detector"], seen["mode"], seen["step"], seen["would"]) == ("injection", "observe", "observe", "tag")
    assert "OR" not in str(seen["counts"])
    changed = await owner.call("PUT", f"{THREATS}/modes/injection", {"mode": "enforce"})
    assert (changed.status, cast("dict[str, str]", changed.json["modes"])["injection"]) == (200, "enforce")
    await keeper(at).turn()
    assert code(await sender.call("GET", HOSTILE)) == "suspicious-text"
    for _ in range(3):
        at.move(seconds=6)
        await sender.call("GET", HOSTILE)
    assert code(await sender.call("GET", "/api/v1/me")) == "threat-blocked"
    assert (await owner.call("GET", "/api/v1/me")).status == 200
    await keeper(at).turn()
    at.move(seconds=1)
    released = await owner.call("POST", f"{THREATS}/{seen['id']}:release")
    assert (released.status, released.json["step"]) == (200, "block")
    await keeper(at).turn()
    assert (await sender.call("GET", "/api/v1/me")).status == 200
    assert (await owner.call("GET", THREATS)).json["data"] == []
    assert len(cast("list[object]", (await owner.call("GET", f"{THREATS}?all=true")).json["data"])) == 1
    assert (await owner.call("GET", f"{THREATS}/{seen['id']}")).json["released_at"] is not None


async def test_unknown_detectors_and_threats_are_not_found_and_replay_of_nothing_finds_nothing(
    store: Store, scope: Scope
) -> None:
    at = stage(store)
    owner = Stage(at.gateway, at.clock, await key(store, scope, "owner"))
    viewer = Stage(at.gateway, at.clock, await key(store, scope, "sales.viewer"))
    assert (await owner.call("PUT", f"{THREATS}/modes/luck", {"mode": "off"})).status == 404
    assert (await owner.call("GET", f"{THREATS}/thr_nothing")).status == 404
    assert (await viewer.call("GET", THREATS)).status == 403
    assert (await owner.call("POST", f"{THREATS}:replay", {"days": 1})).json["threats"] == []
