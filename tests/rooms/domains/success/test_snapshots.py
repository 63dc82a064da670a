"""Health is written down once a day for every account, whatever stops in between, and never twice."""

import pytest

from isthmus.domains.success.snapshots import BATCH_ACCOUNTS, score_due, workspaces_due
from isthmus.kernel.marks import Json
from isthmus.sync.intake import SettingsBroken
from tests.rooms.domains.desk import Desk, said

HEALTH = "/api/v1/health-snapshots?limit=200"


async def night(desk: Desk, *, hours: float = 24) -> int:
    """Let time pass, and score what is due; returns how many accounts were looked at."""
    desk.later(hours=hours)
    total = 0
    while done := await score_due(desk.store, desk.now):
        total += done
    return total


async def accounts(desk: Desk, count: int) -> list[str]:
    """Accounts with a ticket each, so that there is something to score."""
    names = [f"A{n}" for n in range(count)]
    own = await desk.put(*(said("sales.account", name, name=name) for name in names))
    await desk.put(
        *(
            said("success.ticket", name, status="open", account_id=name, opened_at="2026-11-01T00:00:00Z")
            for name in names
        )
    )
    return own


async def kept(desk: Desk) -> list[tuple[Json, str]]:
    """Which accounts were scored, and on which day."""
    rows = (await desk.get(HEALTH)).rows("data")
    return sorted((str(each["account_id"]), str(each["at"])[:10]) for each in rows)


async def test_the_first_scores_come_at_the_next_hour_and_then_daily(desk: Desk) -> None:
    own, *_ = await accounts(desk, 1)
    assert await night(desk, hours=0) == 0
    assert desk.scope.workspace not in await workspaces_due(desk.store, now=desk.clock.now())
    assert await night(desk, hours=20) == 0
    assert await night(desk, hours=1) == 1
    assert await night(desk, hours=2) == 0
    assert await night(desk) == 1
    assert await kept(desk) == [(own, "2026-11-03"), (own, "2026-11-04")]
    (first, _) = (await desk.get(HEALTH)).rows("data")
    health = await desk.get(f"/api/v1/integrations/success/health/{own}")
    assert (first["score"], first["support_health"]) == (health.at("score"), health.at("sub_scores.support_health"))
    assert first["reasons"] == health.at("reasons")
    assert len(health.rows("history")) == 2


async def test_what_was_missed_is_made_up_for_once(desk: Desk) -> None:
    await accounts(desk, 1)
    await night(desk, hours=0)
    assert await night(desk, hours=24 * 5) == 1
    assert [day for _, day in await kept(desk)] == ["2026-11-07"]


async def test_a_stop_in_the_middle_is_gone_on_from(desk: Desk) -> None:
    own = await accounts(desk, BATCH_ACCOUNTS + 3)
    await night(desk, hours=0)
    desk.later(hours=24)
    assert await score_due(desk.store, desk.now) == BATCH_ACCOUNTS
    desk.later(hours=1)
    assert await night(desk, hours=0) == 3
    assert await kept(desk) == sorted((each, "2026-11-03") for each in own)


async def test_an_account_of_which_nothing_is_known_has_no_score(desk: Desk) -> None:
    await desk.put(said("sales.account", "A1", name="One"))
    await night(desk, hours=0)
    assert await night(desk) == 1
    assert await kept(desk) == []


async def test_the_hour_and_the_zone_are_those_of_the_workspace(desk: Desk) -> None:
    await accounts(desk, 1)
    await desk.set("success", {"health_hour": 20, "time_zone": "Asia/Tokyo"})
    # It is 18:30 there.
    await night(desk, hours=0)
    assert [await night(desk, hours=1), await night(desk, hours=1)] == [0, 1]
    await desk.set("success", {"health_daily": False})
    assert await night(desk) == 0
    await desk.set("success", {"time_zone": "Mars/Olympus"})
    with pytest.raises(SettingsBroken):
        await night(desk)
