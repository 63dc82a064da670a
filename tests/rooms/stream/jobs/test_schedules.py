"""Schedules come in their zone, catch up once, never overlap, and survive clocks that jump."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from uuid import UUID

import pytest

from isthmus.kernel.status import Status
from isthmus.store.database import Transaction
from isthmus.stream.jobs import schedules
from isthmus.stream.jobs.board import jobs
from isthmus.stream.jobs.job import Job
from isthmus.stream.jobs.schedules import (
    BackfillTooLong,
    Schedule,
    ScheduleBusy,
    ScheduleMissing,
    ScheduleStands,
    ScheduleTaken,
    Standard,
    fire,
)
from tests.rooms.stream.jobs.shop import Shop

T = TypeVar("T")
DAILY = "daily"


async def ask(shop: Shop, do: Callable[[Transaction], Awaitable[T]]) -> T:
    """Do something in a transaction of its own."""
    async with shop.database.transaction(shop.scope) as tx:
        return await do(tx)


async def planned(shop: Shop, cron: str, *, zone: str | None = None, name: str = DAILY) -> Schedule:
    """Add a schedule of jobs that do nothing."""
    wanted = Standard(name=name, about="A test.", kind="nothing", cron=cron, zone=zone)
    return await ask(shop, lambda tx: schedules.add(tx, wanted))


async def seen(shop: Shop, name: str = DAILY) -> Schedule:
    """Return a schedule as it stands."""
    return await ask(shop, lambda tx: schedules.schedule_of(tx, name))


async def made(shop: Shop) -> list[Job]:
    """Return the jobs of schedules, the oldest first."""
    return list(reversed(await ask(shop, lambda tx: jobs(tx, limit=200))))


async def pass_time(shop: Shop, until: str, *, step: timedelta = timedelta(minutes=20)) -> list[str]:
    """Let time pass in small steps with everything running, and return when jobs came, in UTC."""
    end = datetime.fromisoformat(until).replace(tzinfo=UTC)
    came: list[str] = []
    worker = shop.worker()
    while shop.clock.now() < end:
        shop.clock.move(step)
        found: list[UUID] = await ask(shop, fire)
        came += [shop.clock.now().strftime("%m-%d %H:%M") for _ in found]
        await worker.drain()
    return came


def start(shop: Shop, at: str) -> None:
    """Set the clock."""
    shop.clock.move(datetime.fromisoformat(at).replace(tzinfo=UTC) - shop.clock.now())


async def test_the_night_that_is_an_hour_short(shop: Shop) -> None:
    start(shop, "2026-03-28T12:00")
    await planned(shop, "30 2 * * *", zone="Europe/Berlin")
    assert await pass_time(shop, "2026-03-30T12:00") == ["03-29 01:00", "03-30 00:40"]


async def test_the_night_that_is_an_hour_long(shop: Shop) -> None:
    start(shop, "2026-10-24T12:00")
    await planned(shop, "30 2 * * *", zone="Europe/Berlin")
    assert await pass_time(shop, "2026-10-26T12:00") == ["10-25 00:40", "10-26 01:40"]


async def test_a_machine_asleep_over_three_runs_catches_up_once(shop: Shop) -> None:
    start(shop, "2026-11-20T00:00")
    await planned(shop, "0 2 * * *")
    start(shop, "2026-11-22T12:00")
    assert len(await ask(shop, fire)) == 1
    assert await ask(shop, fire) == []
    found = await seen(shop)
    assert (found.missed, found.last_at, found.next_at) == (
        2,
        datetime(2026, 11, 22, 2, tzinfo=UTC),
        datetime(2026, 11, 23, 2, tzinfo=UTC),
    )
    (job,) = await made(shop)
    assert (job.schedule, job.occurrence, job.created_by) == (DAILY, found.last_at, "user:tester")


async def test_a_run_that_is_not_done_is_not_overlapped(shop: Shop) -> None:
    await planned(shop, "0 * * * *")
    for _ in range(3):
        shop.later(hours=1)
        await ask(shop, fire)
    assert len(await made(shop)) == 1
    assert ((await seen(shop)).skipped, (await seen(shop)).missed) == (2, 0)
    with pytest.raises(ScheduleBusy):
        await ask(shop, lambda tx: schedules.run_now(tx, DAILY))
    await shop.worker().drain()
    shop.later(hours=1)
    assert len(await ask(shop, fire)) == 1


async def test_a_changed_zone_moves_the_next_run_and_repeats_none(shop: Shop) -> None:
    start(shop, "2026-11-22T20:00")
    await planned(shop, "0 2 * * *")
    assert await pass_time(shop, "2026-11-23T03:00") == ["11-23 02:00"]
    await ask(shop, lambda tx: schedules.set_zone(tx, "Europe/Berlin"))
    assert (await seen(shop)).next_at == datetime(2026, 11, 24, 1, tzinfo=UTC)
    changed = await ask(shop, lambda tx: schedules.change(tx, DAILY, own_zone="America/New_York"))
    assert (changed.zone, changed.next_at) == ("America/New_York", datetime(2026, 11, 23, 7, tzinfo=UTC))
    back = await ask(shop, lambda tx: schedules.change(tx, DAILY, own_zone=""))
    assert (back.zone, back.own_zone) == ("Europe/Berlin", None)
    assert await pass_time(shop, "2026-11-25T03:00") == ["11-24 01:00", "11-25 01:00"]


async def test_a_clock_that_goes_back_an_hour_repeats_nothing(shop: Shop) -> None:
    start(shop, "2026-11-23T01:00")
    await planned(shop, "0 2 * * *")
    assert await pass_time(shop, "2026-11-23T02:20") == ["11-23 02:00"]
    shop.later(hours=-1)
    assert await pass_time(shop, "2026-11-24T02:20") == ["11-24 02:00"]


async def test_a_clock_that_was_a_year_ahead_for_a_moment_silences_nothing(shop: Shop) -> None:
    start(shop, "2026-11-23T01:00")
    await planned(shop, "0 2 * * *")
    shop.later(days=365)
    assert len(await ask(shop, fire)) == 1
    await shop.worker().drain()
    shop.later(days=-365)
    assert await pass_time(shop, "2026-11-25T02:20") == ["11-23 02:00", "11-24 02:00", "11-25 02:00"]
    assert (await seen(shop)).missed == 364


async def test_a_schedule_rests_and_what_it_rested_over_is_not_caught_up(shop: Shop) -> None:
    start(shop, "2026-11-20T00:00")
    await planned(shop, "0 2 * * *")
    paused = await ask(shop, lambda tx: schedules.pause(tx, DAILY, reason="moving"))
    assert (paused.paused, paused.reason) == (True, "moving")
    with pytest.raises(ScheduleStands):
        await ask(shop, lambda tx: schedules.pause(tx, DAILY, reason="again"))
    start(shop, "2026-11-22T12:00")
    assert await ask(shop, fire) == []
    await ask(shop, lambda tx: schedules.run_now(tx, DAILY))
    await shop.worker().drain()
    resumed = await ask(shop, lambda tx: schedules.resume(tx, DAILY))
    assert (resumed.next_at, resumed.missed) == (datetime(2026, 11, 23, 2, tzinfo=UTC), 0)
    assert await ask(shop, fire) == []
    assert shop.runs == ["nothing"]


async def test_a_backfill_runs_every_moment_in_order_and_one_at_a_time(shop: Shop) -> None:
    await planned(shop, "0 2 * * *")
    since, until = datetime(2026, 10, 1, 2, tzinfo=UTC), datetime(2026, 10, 6, 2, tzinfo=UTC)
    filled = await ask(shop, lambda tx: schedules.backfill(tx, DAILY, since=since, until=until))
    assert len(filled) == 5
    worker = shop.worker(slots=4)
    await worker.turn()
    assert [each.status for each in await made(shop)].count(Status.RUNNING) == 1
    await worker.drain()
    done = await made(shop)
    assert [each.occurrence for each in done] == [since + timedelta(days=n) for n in range(5)]
    assert {each.status for each in done} == {Status.HEALTHY}
    with pytest.raises(BackfillTooLong):
        await ask(shop, lambda tx: schedules.backfill(tx, DAILY, since=since, until=since))


async def test_two_schedulers_make_one_job(shop: Shop) -> None:
    await planned(shop, "0 * * * *")
    shop.later(hours=1)
    found = await asyncio.gather(*(ask(shop, fire) for _ in range(4)))
    assert sum(map(len, found)) == 1


async def test_standard_schedules_come_once_and_stay_as_people_changed_them(shop: Shop) -> None:
    first = [Standard(name=name, about="", kind="nothing", cron="0 2 * * *") for name in ("one", "two")]
    third = Standard(name="three", about="", kind="nothing", cron="0 3 * * *")
    assert await ask(shop, lambda tx: schedules.install(tx, first, edition=1)) == 2
    await ask(shop, lambda tx: schedules.remove(tx, "one"))
    await ask(shop, lambda tx: schedules.change(tx, "two", cron="0 9 * * *"))
    assert await ask(shop, lambda tx: schedules.install(tx, first, edition=1)) == 0
    assert await ask(shop, lambda tx: schedules.install(tx, [third, first[1]], edition=2)) == 1
    found = await ask(shop, schedules.schedules)
    assert [(each.name, each.cron) for each in found] == [("three", "0 3 * * *"), ("two", "0 9 * * *")]


async def test_names_are_taken_once_and_unknown_ones_refused(shop: Shop) -> None:
    await planned(shop, "0 2 * * *")
    with pytest.raises(ScheduleTaken):
        await planned(shop, "0 3 * * *")
    with pytest.raises(ScheduleMissing):
        await ask(shop, lambda tx: schedules.remove(tx, "weekly"))
