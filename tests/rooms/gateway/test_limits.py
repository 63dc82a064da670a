"""Calls are counted by caller, workspace, integration and route, and refused by the limit that fired."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from isthmus.app.engines import Engines
from isthmus.app.limiting import opened_authority
from isthmus.auth.keytext import KEY_PREFIX, read_key_text
from isthmus.gateway.limit_rules import LimitRule, LimitUnclear, check_rules, tier_rules
from isthmus.gateway.limits import metrics
from isthmus.kernel.clock import FrozenClock
from isthmus.kernel.ids import text_of
from isthmus.store.database import Scope
from isthmus.stream.lane import Lane, LaneAddress
from isthmus.stream.limits.valkey import ValkeyAuthority
from isthmus.sync.ingest import Store
from tests.conftest import NOW
from tests.rooms.gateway.limited import Limited, limited
from tests.rooms.stream.stage import OwnValkey, until

ROOMY = LimitRule(name="workspace", scope="workspace", count=1_000_000, seconds=60)


@pytest.fixture
async def gate(engines: Engines, store: Store, scope: Scope, tmp_path: Path) -> AsyncIterator[Limited]:
    """A gateway on the store of limits of the engines."""
    clock = FrozenClock(NOW)
    async with (
        opened_authority(engines.valkey, store.database) as authority,
        limited(authority, store, scope, clock, tmp_path) as gate,
    ):
        yield gate


@pytest.fixture
def valkey() -> Iterator[OwnValkey]:
    """A Valkey of the test's own, not started."""
    with OwnValkey() as own:
        yield own


async def test_the_free_tier_lets_ten_calls_in_and_the_answer_names_the_limit_that_fired(gate: Limited) -> None:
    await gate.set(tier="free")
    one, other = await gate.key(), await gate.key()
    assert await gate.statuses("/api/v1/do", 12, key=one) == [200] * 10 + [429] * 2
    refused = await gate.stage.call("GET", "/api/v1/do")
    assert refused.json["code"] == "limit-reached"
    assert "'caller'" in str(refused.json["detail"])
    assert refused.headers["retry-after"] == "4"
    assert refused.headers["ratelimit"] == '"caller";r=0;t=4'
    assert await gate.statuses("/api/v1/do", 1, key=other) == [200]


async def test_an_answer_tells_what_is_left_of_the_nearest_limit(gate: Limited) -> None:
    await gate.set(tier="professional")
    gate.stage.key = await gate.key()
    answer = await gate.stage.call("GET", "/api/v1/do")
    assert answer.headers["ratelimit-policy"] == (
        '"caller";q=10000;w=3600;burst=50, "workspace";q=100000;w=3600;burst=500'
    )
    assert answer.headers["ratelimit"] == '"caller";r=49;t=1'


async def test_all_callers_of_a_workspace_draw_from_its_limit_too(gate: Limited) -> None:
    await gate.set(LimitRule(name="workspace", scope="workspace", count=60, seconds=3600, burst=5))
    one, other = await gate.key(), await gate.key()
    assert await gate.statuses("/api/v1/do", 3, key=one) == [200] * 3
    assert await gate.statuses("/api/v1/do", 3, key=other) == [200, 200, 429]


async def test_an_integration_and_a_route_have_limits_of_their_own(gate: Limited) -> None:
    await gate.set(
        LimitRule(name="integrations", scope="integration", count=60, seconds=3600, burst=3),
        LimitRule(name="doing", scope="route", subject="GET /api/v1/do", count=60, seconds=3600, burst=2),
    )
    key = await gate.key()
    assert await gate.statuses("/api/v1/integrations/a/x", 4, key=key) == [200] * 3 + [429]
    assert await gate.statuses("/api/v1/integrations/b/x", 4, key=key) == [200] * 3 + [429]
    assert await gate.statuses("/api/v1/do", 3, key=key) == [200] * 2 + [429]
    assert await gate.statuses("/api/v1/costly", 3, key=key) == [200] * 3


async def test_a_limit_for_one_key_goes_before_that_for_each(gate: Limited) -> None:
    key, other = await gate.key(), await gate.key()
    own = text_of(KEY_PREFIX, read_key_text(key).id)
    await gate.set(LimitRule(name="busy", scope="caller", subject=own, count=60, seconds=3600, burst=20), tier="free")
    assert await gate.statuses("/api/v1/do", 21, key=key) == [200] * 20 + [429]
    assert await gate.statuses("/api/v1/do", 11, key=other) == [200] * 10 + [429]


async def test_a_costly_route_counts_more_than_once(gate: Limited) -> None:
    await gate.set(ROOMY, LimitRule(name="caller", scope="caller", count=60, seconds=3600, burst=10))
    key = await gate.key()
    assert await gate.statuses("/api/v1/costly", 3, key=key) == [200, 200, 429]
    assert await gate.statuses("/api/v1/do", 3, key=key) == [200, 200, 429]


async def test_a_dry_run_refuses_nothing_and_counts_what_it_would_refuse(gate: Limited) -> None:
    await gate.set(LimitRule(name="trial", scope="caller", count=60, seconds=3600, burst=3, dry_run=True))
    assert await gate.statuses("/api/v1/do", 8, key=await gate.key()) == [200] * 8
    assert gate.limits.tally.totals()["dry_run"] == 5
    assert "isthmus_limits_dry_run_total 5" in list(metrics(gate.limits.tally))


async def test_a_quota_holds_to_the_call_and_ends_with_its_day(gate: Limited) -> None:
    await gate.set(LimitRule(name="daily", scope="caller", quota_day=7, quota_month=9))
    key = await gate.key()
    assert await gate.statuses("/api/v1/do", 9, key=key) == [200] * 7 + [429] * 2
    refused = await gate.stage.call("GET", "/api/v1/do")
    assert refused.json["code"] == "quota-used-up"
    assert int(refused.headers["retry-after"]) == 14 * 3600 + 30 * 60
    gate.stage.move(days=1)
    assert await gate.statuses("/api/v1/do", 4, key=key) == [200] * 2 + [429] * 2
    month = await gate.stage.call("GET", "/api/v1/do")
    assert int(month.headers["retry-after"]) == 27 * 86_400 + 14 * 3600 + 30 * 60
    assert gate.stage.clock.now() < datetime(2026, 12, 1, tzinfo=UTC)


async def test_calls_at_the_same_time_are_capped_and_one_that_ended_makes_room(gate: Limited) -> None:
    await gate.set(LimitRule(name="at-once", scope="caller", concurrency=2))
    gate.stage.key = await gate.key()
    first = [asyncio.create_task(gate.stage.call("GET", "/api/v1/wait")) for _ in range(2)]
    await until(lambda: gate.work.inside == 2)
    third = await gate.stage.call("GET", "/api/v1/wait")
    assert (third.status, third.json["code"]) == (429, "too-many-at-once")
    gate.work.gate.set()
    assert [each.status for each in await asyncio.gather(*first)] == [200, 200]
    assert (await gate.stage.call("GET", "/api/v1/wait")).status == 200


async def test_limits_that_were_changed_elsewhere_hold_within_a_second(gate: Limited) -> None:
    key = await gate.key()
    assert await gate.statuses("/api/v1/do", 20, key=key) == [200] * 20
    await gate.set(LimitRule(name="caller", scope="caller", count=60, seconds=3600, burst=1))
    await asyncio.sleep(0.6)
    await gate.statuses("/api/v1/do", 1, key=key)
    await asyncio.sleep(0.3)
    assert (await gate.statuses("/api/v1/do", 3, key=key))[-1] == 429


async def test_the_ledger_holds_every_call_that_was_let_in_and_no_other(gate: Limited) -> None:
    await gate.set(tier="free")
    key = await gate.key()
    statuses = await gate.statuses("/api/v1/do", 14, key=key)
    await gate.ledger.flush()
    assert await gate.used() == statuses.count(200) == 10


async def test_while_the_store_is_away_calls_go_on_and_the_audit_log_tells_of_it(
    valkey: OwnValkey, store: Store, scope: Scope, tmp_path: Path
) -> None:
    valkey.start()
    lane = Lane(LaneAddress(socket_path=valkey.socket))
    await lane.open()
    async with limited(ValkeyAuthority(lane), store, scope, FrozenClock(NOW), tmp_path) as gate:
        rule = LimitRule(name="caller", scope="caller", count=60, seconds=1, burst=60)
        costly = "GET /api/v1/costly"
        strict = LimitRule(name="strict", scope="route", subject=costly, count=9, seconds=9, away="fail_closed")
        await gate.set(rule, strict)
        key = await gate.key()
        assert await gate.statuses("/api/v1/do", 3, key=key) == [200] * 3
        valkey.kill()
        answered: list[int] = []
        for _ in range(40):
            answered += await gate.statuses("/api/v1/do", 1, key=key)
            await asyncio.sleep(0.03)
        assert 200 in answered[-20:]
        assert await gate.statuses("/api/v1/costly", 1, key=key) == [503]
        gate.stage.key = ""
        assert (await gate.stage.call("GET", "/prove")).status == 503
        assert "limits.away" in await gate.audited()
        assert gate.limits.tally.totals()["alone"] > 0
        valkey.start()
        while "limits.back" not in await gate.audited():
            await gate.statuses("/api/v1/do", 1, key=key)
            await asyncio.sleep(0.05)
    await lane.close()


async def test_without_valkey_postgresql_keeps_the_same_limits(store: Store, scope: Scope, tmp_path: Path) -> None:
    async with (
        opened_authority(None, store.database) as authority,
        limited(authority, store, scope, FrozenClock(NOW), tmp_path) as gate,
    ):
        await gate.set(tier="free")
        assert await gate.statuses("/api/v1/do", 12, key=await gate.key()) == [200] * 10 + [429] * 2


def shape(rule: LimitRule) -> tuple[int | None, int | None, int | None]:
    """Return a limit's count, window and burst."""
    return rule.count, rule.seconds, rule.burst


def test_the_tiers_are_what_is_promised_and_a_sandbox_has_a_tenth() -> None:
    assert shape(tier_rules("free")[0]) == (1_000, 3600, 10)
    assert shape(tier_rules("professional")[0]) == (10_000, 3600, 50)
    assert shape(tier_rules("enterprise")[0]) == (100_000, 3600, None)
    assert tier_rules("enterprise", sandbox=True)[0].count == 10_000
    assert tier_rules("free", sandbox=True)[0].burst == 5


@pytest.mark.parametrize(
    "rule",
    [
        LimitRule(name="nothing", scope="caller"),
        LimitRule(name="half", scope="caller", count=5),
        LimitRule(name="burst", scope="caller", burst=5, quota_day=4),
        LimitRule(name="whole", scope="workspace", subject="x", quota_day=4),
    ],
)
def test_a_limit_that_is_not_clear_is_refused(rule: LimitRule) -> None:
    with pytest.raises(LimitUnclear):
        check_rules([rule])


async def test_a_call_that_is_given_up_counts_as_in_flight_no_more(gate: Limited) -> None:
    await gate.set(LimitRule(name="at-once", scope="caller", concurrency=1))
    gate.stage.key = await gate.key()
    given_up = asyncio.create_task(gate.stage.call("GET", "/api/v1/wait"))
    await until(lambda: gate.work.inside == 1)
    given_up.cancel()
    await asyncio.gather(given_up, return_exceptions=True)
    gate.work.gate.set()
    assert (await gate.stage.call("GET", "/api/v1/wait")).status == 200
