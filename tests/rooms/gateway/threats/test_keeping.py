"""What one worker found holds on every worker, is written down, and is let go everywhere."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import LiteralString

import pytest

from isthmus.auth.keys import KeyWish, create_key, find_key
from isthmus.auth.keytext import KEY_PREFIX
from isthmus.auth.principal import Principal
from isthmus.gateway.decide import Asked
from isthmus.gateway.threats.keeping import Keeper
from isthmus.gateway.threats.ladder import Finding, Threat, ThreatBlocked
from isthmus.gateway.threats.networks import NOBODY
from isthmus.gateway.threats.replay import read_traffic, replay
from isthmus.gateway.threats.rows import (
    THREAT_PREFIX,
    KeptThreat,
    ThreatMissing,
    drop_honey,
    list_honey,
    list_threats,
    read_modes,
    release_threat,
    save_threat,
    set_honey,
    set_mode,
)
from isthmus.gateway.threats.watch import Threats
from isthmus.kernel.ids import mint, text_of, uuid_of
from isthmus.store.database import Database, Scope
from tests.conftest import NOW
from tests.factories.traffic import PUT, SECRETS, THINGS

DOMAINS = ("making",)
_AUDIT: LiteralString = "select action, details from audit where workspace = current_workspace() order by id"


def keeper(database: Database) -> tuple[Keeper, Threats]:
    """Return a worker's stage and what keeps it."""
    stage = Threats()
    return Keeper(database, stage, now=lambda: NOW), stage


async def made(database: Database, scope: Scope) -> Principal:
    """Return the principal of a new key."""
    async with database.transaction(scope) as tx:
        key, _ = await create_key(tx, KeyWish(name="x", roles=("making.viewer",)), domains=DOMAINS, giver=None)
    allowed = frozenset({"making:read"})
    return Principal(workspace=scope.workspace, kind="key", id=key.id, name="x", permissions=allowed)


def asked(principal: Principal, *, client: str = "192.0.2.7") -> Asked:
    return Asked(route=THINGS, now=NOW, path=THINGS.path, request_id="req_9", client=client, principal=principal)


async def listed(database: Database, scope: Scope) -> list[KeptThreat]:
    async with database.transaction(scope) as tx:
        return await list_threats(tx, limit=50)


async def test_honey_used_at_one_worker_is_blocked_at_all_written_down_and_let_go(
    database: Database, scope: Scope
) -> None:
    principal = await made(database, scope)
    async with database.transaction(scope) as tx:
        await set_honey(tx, kind="key", value=text_of(KEY_PREFIX, principal.id), note="in an old script")
    (one, here), (two, there) = keeper(database), keeper(database)
    await one.turn()
    with pytest.raises(ThreatBlocked):
        here.admit(asked(principal))
    await one.turn()
    await two.turn(settings=False)
    with pytest.raises(ThreatBlocked):
        there.admit(asked(principal))
    found = await listed(database, scope)
    assert {(each.detector, each.step, each.subject.partition(":")[0]) for each in found} == {
        ("honey", "block", "key"),
        ("honey", "block", "network"),
    }
    assert found[0].requests == ["req_9"]
    assert "192.0.2.7" not in repr(found)
    async with database.transaction(scope) as tx:
        await drop_honey(tx, kind="key", value=text_of(KEY_PREFIX, principal.id))
        assert await list_honey(tx) == []
        for each in found:
            assert (await release_threat(tx, uuid_of(THREAT_PREFIX, each.id))).released_at == scope.now
    for each, stage in ((one, here), (two, there)):
        await each.turn()
        stage.admit(asked(principal))
    async with database.transaction(scope) as tx:
        actions = [row[0] for row in await (await tx.connection.execute(_AUDIT)).fetchall()]
    assert actions.count("threat.found") == 2
    assert actions.count("threat.released") == 2
    assert {"threat.honey_set", "threat.honey_dropped"} <= {*actions}


async def test_a_network_that_guesses_is_shut_out_of_every_worker_within_a_second(database: Database) -> None:
    stages = [Threats(), Threats()]
    keepers = [Keeper(database, stage, now=lambda: datetime.now(UTC)) for stage in stages]
    running = [asyncio.create_task(each.run()) for each in keepers]
    network = f"198.51.{datetime.now(UTC).microsecond % 250}"
    try:
        await asyncio.sleep(0.3)
        for number in range(12):
            call = Asked(route=THINGS, now=datetime.now(UTC), client=f"{network}.9", authorization=f"Bearer {number}")
            stages[0].ended(call, status=401, micros=1)
        async with asyncio.timeout(1):
            while stages[1].standing(NOBODY, f"network:{network}.0/24") is None:  # noqa: ASYNC110 - another's commit.
                await asyncio.sleep(0.01)
    finally:
        for each in running:
            each.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def test_modes_hold_after_the_next_turn_and_are_traced(database: Database, scope: Scope) -> None:
    principal = await made(database, scope)
    async with database.transaction(scope) as tx:
        assert (await read_modes(tx))["volume"] == "observe"
        assert (await set_mode(tx, "volume", "enforce"))["volume"] == "enforce"
    one, stage = keeper(database)
    await one.turn()
    for _ in range(501):
        stage.ended(Asked(route=PUT, now=NOW, client="192.0.2.7", principal=principal), status=200, micros=1)
    await one.turn()
    assert [(each.detector, each.mode, each.step) for each in await listed(database, scope)] == [
        ("volume", "enforce", "slow")
    ]


async def test_hits_of_two_workers_add_up_and_the_last_step_revokes_the_key(database: Database, scope: Scope) -> None:
    principal = await made(database, scope)
    subject = f"key:{principal.id}"
    finding = Finding(
        workspace=scope.workspace, detector="leakage", subject=subject, reason="Elsewhere.", at=NOW, since=NOW
    )
    threat = Threat.begun(finding, "enforce")
    async with database.transaction(scope) as tx:
        await save_threat(tx, threat, hits=1)
        await save_threat(tx, Threat.begun(finding, "enforce"), hits=2)
        assert (await find_key(tx, principal.id)).revoked_at is None
    for minute in (1, 2):
        at = NOW + timedelta(minutes=minute)
        threat.strike(
            Finding(workspace=scope.workspace, detector="leakage", subject=subject, reason="Again.", at=at, since=at),
            "enforce",
        )
    async with database.transaction(scope) as tx:
        await save_threat(tx, threat, hits=2)
        assert (await find_key(tx, principal.id)).revoked_at is not None
    assert [(each.step, each.hits, each.reason) for each in await listed(database, scope)] == [("revoke", 5, "Again.")]


async def test_what_is_usual_outlives_a_worker(database: Database, scope: Scope) -> None:
    principal = await made(database, scope)
    one, stage = keeper(database)
    for second in range(60):
        at = NOW + timedelta(seconds=second)
        call = Asked(route=PUT, now=at, client="192.0.2.7", agent="acme/1", principal=principal)
        stage.ended(call, status=200, micros=1)
    await one.learn()
    two, there = keeper(database)
    await two.remember()
    kept = there.profiles[scope.workspace, f"key:{principal.id}"]
    assert kept.networks == ["192.0.2.0/24"]
    assert kept.agents == ["acme"]
    assert kept.usual(f"POST {PUT.path}", NOW.hour) == 10


async def test_stored_traffic_is_played_again_as_if_enforced(database: Database, scope: Scope) -> None:
    principal = await made(database, scope)
    one, stage = keeper(database)
    for number in range(101):
        route = SECRETS[number % 12]
        at = NOW + timedelta(seconds=number)
        call = Asked(route=route, now=at, path=route.path, client="192.0.2.7", agent="a", principal=principal)
        stage.ended(call, status=403, micros=1)
    await one.store()
    async with database.transaction(scope) as tx:
        windows = await read_traffic(tx, since=NOW - timedelta(days=1))
    assert sum(each.count for window in windows for each in window.failures) == 100
    found = replay(windows, workspace=scope.workspace)
    assert [(each.detector, each.subject) for each in found.threats] == [("probing", f"key:{principal.id}")]
    assert found.held > 0
    assert replay(windows, workspace=scope.workspace, detectors=["volume"]).threats == []


async def test_a_threat_of_another_workspace_is_not_there(database: Database, scope: Scope) -> None:
    async with database.transaction(scope) as tx:
        finding = Finding(workspace=scope.workspace, detector="volume", subject="key:x", reason="", at=NOW, since=NOW)
        own = await save_threat(tx, Threat.begun(finding, "observe"), hits=1)
    other = Scope(workspace=NOBODY, actor="user:other", cause="test", now=NOW)
    async with database.transaction(other) as tx:
        with pytest.raises(ThreatMissing):
            await release_threat(tx, own)
        with pytest.raises(ThreatMissing):
            await release_threat(tx, mint(unix_ms=1, entropy=bytes(10)))
    assert [each.released_at for each in await listed(database, scope)] == [None]
