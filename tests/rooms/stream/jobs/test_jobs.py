"""Jobs are claimed in order and at a pace, done once step by step, tried again, cancelled, and never lost."""

import asyncio
from collections.abc import Callable
from datetime import timedelta

import pytest

from isthmus.kernel.errors import Invalid, Unavailable
from isthmus.kernel.marks import Json
from isthmus.kernel.status import Status
from isthmus.store.database import Scope, Transaction
from isthmus.stream.jobs.board import again, cancel, counts, forget, jobs
from isthmus.stream.jobs.job import JobLiving, JobMissing, JobOver, Pace, Wish
from isthmus.stream.jobs.queue import enqueue
from isthmus.stream.jobs.work import LeaseLost, Work
from isthmus.stream.jobs.worker import Worker
from tests.rooms.stream.jobs.shop import LEASE_S, Shop


async def name(work: Work, shop: Shop) -> Json:
    """Write down which job this is."""
    shop.runs.append(str(work.claim.arguments.get("name", "")))
    return None


class Slow(Unavailable):
    """The other side asks for patience."""

    retry_after_s = 40.0


async def slow(_: Work, shop: Shop) -> Json:
    """Fail as something does that asks for patience."""
    shop.runs.append("slow")
    raise Slow("Busy.", fix="Wait.")


async def broken(_: Work, shop: Shop) -> Json:
    """Fail in a way that nobody foresaw."""
    shop.runs.append("broken")
    raise ValueError("ada@lovelace.example")


async def hopeless(_: Work, _shop: Shop) -> Json:
    """Fail in a way that does not change."""
    raise Invalid("No such thing.", fix="Name another.")


async def waits(work: Work, shop: Shop) -> Json:
    """Wait for the gate after a first step, then do a second one."""

    async def do(_: Transaction) -> Json:
        shop.runs.append("step")
        return 1

    first = await work.step("first", do)
    work.tell(done=1, total=2, text="first")
    await shop.gate.wait()
    return [first, await work.step("second", do)]


async def test_a_job_is_done_and_keeps_its_result(shop: Shop) -> None:
    async def add(work: Work, _: Shop) -> Json:
        return {"sum": sum(each for each in work.claim.arguments.values() if isinstance(each, int))}

    own = await shop.one("add", a=2, b=3)
    assert (await shop.job(own)).status == Status.PENDING
    await shop.worker({"add": add}).drain()
    done = await shop.job(own)
    assert (done.status, done.result, done.attempt, done.ended_at) == (
        Status.HEALTHY,
        {"sum": 5},
        1,
        shop.clock.now(),
    )


async def test_a_job_that_is_rolled_back_with_its_wish_was_never_there(shop: Shop) -> None:
    async def wish(tx: Transaction) -> Json:
        await enqueue(tx, [Wish(kind="nothing")])
        raise LookupError

    with pytest.raises(LookupError):
        await shop.within(wish)
    await shop.worker().drain()
    assert shop.runs == []


async def test_a_priority_is_worth_minutes_of_waiting(shop: Shop) -> None:
    await shop.want(Wish(kind="name", arguments={"name": "early"}, priority=0))
    shop.later(minutes=20)
    await shop.want(
        Wish(kind="name", arguments={"name": "late"}, priority=0),
        Wish(kind="name", arguments={"name": "urgent"}, priority=30),
        Wish(kind="name", arguments={"name": "dear"}, priority=10),
    )
    await shop.worker({"name": name}, slots=1).drain()
    assert shop.runs == ["urgent", "early", "dear", "late"]


async def test_a_job_waits_until_it_is_due(shop: Shop) -> None:
    await shop.want(Wish(kind="nothing", due_at=shop.clock.now() + timedelta(minutes=5), priority=100))
    worker = shop.worker()
    shop.later(minutes=4, seconds=59)
    await worker.drain()
    assert shop.runs == []
    shop.later(seconds=1)
    await worker.drain()
    assert shop.runs == ["nothing"]


async def test_kinds_that_a_worker_does_not_know_are_left_for_others(shop: Shop) -> None:
    own = await shop.one("elsewhere")
    await shop.worker().drain()
    assert (await shop.job(own)).status == Status.PENDING


async def test_a_living_job_stands_for_another_with_the_same_dedupe_key(shop: Shop) -> None:
    wish = Wish(kind="nothing", dedupe="daily")
    first, second = await shop.want(wish, wish)
    assert first is not None
    assert (second, (await shop.want(wish))[0]) == (None, None)
    await shop.worker().drain()
    assert (await shop.want(wish))[0] is not None


async def test_jobs_of_one_key_run_as_many_at_once_as_its_pace_says(shop: Shop) -> None:
    most, now = 0, 0

    async def count(_: Work, _shop: Shop) -> Json:
        nonlocal most, now
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.001)
        now -= 1
        return None

    await shop.want(*[Wish(kind="count", key="crm", pace=Pace(at_once=2)) for _ in range(9)])
    workers = [shop.worker({"count": count}, slots=4) for _ in range(3)]
    await asyncio.gather(*(each.drain() for each in workers))
    while sum(each.done for each in workers) < 9:
        await asyncio.gather(*(each.drain() for each in workers))
    assert most == 2


async def test_a_flood_of_jobs_of_one_sort_does_not_starve_the_other(shop: Shop) -> None:
    plain = [Wish(kind="name", arguments={"name": "plain"}, priority=90) for _ in range(9)]
    keyed = [Wish(kind="name", arguments={"name": "keyed"}, key="crm", priority=0) for _ in range(2)]
    await shop.want(*plain, *keyed)
    worker = shop.worker({"name": name}, slots=1)
    while len(shop.runs) < 4:
        await worker.turn()
        await asyncio.sleep(0.001)
    assert sorted(shop.runs[:4]) == ["keyed", "keyed", "plain", "plain"]


async def test_jobs_that_were_claimed_together_begin_in_the_order_of_their_urgency(shop: Shop) -> None:
    worker = shop.worker({"name": name}, slots=1)
    await shop.want(*[Wish(kind="name", arguments={"name": "quick"})] * 30)
    await worker.drain()
    order = [3, 9, 0, 7, 1, 8, 2, 6, 4, 5]
    await shop.want(*[Wish(kind="name", arguments={"name": str(each)}, priority=each) for each in order])
    await worker.drain()
    assert shop.runs[30:] == [str(each) for each in range(9, -1, -1)]


async def test_jobs_of_a_key_with_a_rate_begin_as_it_allows(shop: Shop) -> None:
    await shop.want(*[Wish(kind="nothing", key="crm", pace=Pace(at_once=100, count=3, seconds=60)) for _ in range(8)])
    worker = shop.worker()
    await worker.drain()
    assert len(shop.runs) == 3
    shop.later(seconds=20)
    await worker.drain()
    assert len(shop.runs) == 4
    shop.later(hours=1)
    await worker.drain()
    assert len(shop.runs) == 7


async def test_what_fails_is_tried_again_with_growing_delays_and_then_needs_attention(shop: Shop) -> None:
    own = await shop.one("broken")
    worker = shop.worker({"broken": broken})
    for tries in range(1, 8):
        await worker.drain()
        failed = await shop.job(own)
        assert (failed.status, failed.tries) == (Status.RETRYING, tries)
        assert timedelta(0) <= failed.due_at - shop.clock.now() <= timedelta(seconds=2 ** (tries - 1))
        shop.later(seconds=2 ** (tries - 1))
    await worker.drain()
    dead = await shop.job(own)
    assert (dead.status, dead.reason) == (Status.NEEDS_ATTENTION, "It ended with an unforeseen ValueError.")
    assert len(shop.runs) == 8


async def test_the_other_side_says_when_to_come_again(shop: Shop) -> None:
    own = await shop.one("slow")
    await shop.worker({"slow": slow}).drain()
    wait = (await shop.job(own)).due_at - shop.clock.now()
    assert timedelta(seconds=40) <= wait <= timedelta(seconds=41)


async def test_what_cannot_succeed_is_not_tried_again_until_a_person_says_so(shop: Shop) -> None:
    own = await shop.one("hopeless")
    await shop.worker({"hopeless": hopeless}).drain()
    failed = await shop.job(own)
    assert (failed.status, failed.reason, failed.tries) == (
        Status.NEEDS_ATTENTION,
        "No such thing. Name another.",
        1,
    )
    async with shop.database.transaction(shop.scope) as tx:
        assert (await again(tx, own)).status == Status.PENDING
    await shop.worker({"hopeless": name}).drain()
    assert (await shop.job(own)).status == Status.HEALTHY


async def test_a_step_that_is_done_is_not_done_again_by_the_next_worker(shop: Shop) -> None:
    own = await shop.one("waits")
    lost, next_one = shop.worker({"waits": waits}), shop.worker({"waits": waits})
    await lost.turn()
    await until(lambda: shop.runs == ["step"])
    shop.later(seconds=LEASE_S)
    await taken_back(next_one)
    assert (await shop.job(own)).reason == "The worker that had it is gone."
    shop.gate.set()
    await next_one.drain()
    await lost.drain()
    done = await shop.job(own)
    assert (done.status, done.result, done.tries, shop.runs) == (Status.HEALTHY, [1, 1], 2, ["step", "step"])


async def test_what_a_worker_does_that_lost_its_lease_is_rolled_back(shop: Shop) -> None:
    refused: list[type[Exception]] = []

    async def stale(work: Work, shop: Shop) -> Json:
        await shop.gate.wait()
        try:
            async with work.fenced() as (tx, *_):
                await tx.connection.execute("update schedule_setting set zone = 'Never'")
        except LeaseLost as error:
            refused.append(type(error))
            raise
        return None

    own = await shop.one("stale")
    lost, next_one = shop.worker({"stale": stale}), shop.worker({"stale": name})
    await lost.turn()
    shop.later(seconds=LEASE_S)
    await taken_back(next_one)
    await next_one.drain()
    shop.gate.set()
    await lost.drain()
    assert (refused, (await shop.job(own)).attempt) == ([LeaseLost], 3)


async def test_a_heartbeat_keeps_the_lease_and_tells_how_far_it_is(shop: Shop) -> None:
    own = await shop.one("waits")
    worker = shop.worker({"waits": waits})
    await worker.turn()
    await until(lambda: shop.runs == ["step"])
    for _ in range(5):
        shop.later(seconds=LEASE_S / 2)
        await worker.beat(shop.workspace)
        assert await shop.worker().mend() == 0
    progress = (await shop.job(own)).progress
    assert progress is not None
    assert (progress.done, progress.total, progress.text) == (1, 2, "first")
    shop.gate.set()
    await worker.drain()
    assert (await shop.job(own)).status == Status.HEALTHY


async def test_a_waiting_job_is_cancelled_at_once_and_can_be_tried_again(shop: Shop) -> None:
    own = await shop.one("nothing")
    async with shop.database.transaction(shop.scope) as tx:
        assert (await cancel(tx, own)).status == Status.PAUSED
    await shop.worker().drain()
    assert (shop.runs, (await shop.job(own)).reason) == ([], "Cancelled by user:tester.")
    async with shop.database.transaction(shop.scope) as tx:
        with pytest.raises(JobOver):
            await cancel(tx, own)
        await again(tx, own)
        with pytest.raises(JobLiving):
            await again(tx, own)
    await shop.worker().drain()
    assert (await shop.job(own)).status == Status.HEALTHY
    async with shop.database.transaction(shop.scope) as tx:
        with pytest.raises(JobOver):
            await again(tx, own)


@pytest.mark.parametrize("how", ["heartbeat", "step", "lost"])
async def test_a_running_job_is_cancelled_where_it_is(shop: Shop, how: str) -> None:
    own = await shop.one("waits")
    worker = shop.worker({"waits": waits})
    await worker.turn()
    await until(lambda: shop.runs == ["step"])
    async with shop.database.transaction(shop.scope) as tx:
        assert (await cancel(tx, own)).status == Status.RUNNING
    match how:
        case "heartbeat":
            await worker.beat(shop.workspace)
        case "step":
            shop.gate.set()
        case _:
            shop.later(seconds=LEASE_S)
            await taken_back(shop.worker())
            shop.gate.set()
    await worker.drain()
    ended = await shop.job(own)
    assert (ended.status, ended.cancelled_by, shop.runs) == (Status.PAUSED, "user:tester", ["step"])


async def test_jobs_that_were_claimed_ahead_do_not_wait_behind_a_long_one(shop: Shop) -> None:
    kinds = {"waits": waits, "name": name}
    busy = shop.worker(kinds, slots=1)
    await shop.want(*[Wish(kind="name", arguments={"name": "quick"})] * 30)
    await busy.drain()
    own = await shop.one("waits")
    await shop.want(*[Wish(kind="name", arguments={"name": "late"})] * 5)
    await busy.turn()
    await until(lambda: shop.runs[-1] == "step")
    for _ in range(2):
        busy.relieve()
    await busy.turn()
    await shop.worker(kinds).drain()
    assert shop.runs.count("late") == 5
    assert (await shop.job(own)).status == Status.RUNNING
    shop.gate.set()
    await busy.drain()


async def test_a_cancelled_job_leaves_the_one_that_follows_it_alone(shop: Shop) -> None:
    kinds = {"waits": waits, "name": name}
    worker = shop.worker(kinds, slots=1)
    await shop.want(*[Wish(kind="name", arguments={"name": "quick"})] * 30)
    await worker.drain()
    own = await shop.one("waits")
    await shop.want(Wish(kind="name", arguments={"name": "follows"}, priority=0))
    await worker.turn()
    await until(lambda: shop.runs[-1] == "step")
    async with shop.database.transaction(shop.scope) as tx:
        await cancel(tx, own)
    await worker.beat(shop.workspace)
    await worker.drain()
    assert ((await shop.job(own)).status, shop.runs[-1]) == (Status.PAUSED, "follows")


async def test_a_worker_that_is_told_to_end_gives_its_jobs_back_untried(shop: Shop) -> None:
    own = await shop.one("waits")
    worker = shop.worker({"waits": waits})
    running = asyncio.create_task(worker.run())
    await until(lambda: shop.runs == ["step"])
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    back = await shop.job(own)
    assert (back.status, back.tries) == (Status.PENDING, 0)


async def test_a_job_that_kills_its_workers_needs_attention_in_the_end(shop: Shop) -> None:
    own = await shop.one("waits")
    lost: list[object] = []
    while (await shop.job(own)).status != Status.NEEDS_ATTENTION:
        worker = shop.worker({"waits": waits})
        lost.append(worker)
        await worker.turn()
        shop.later(seconds=LEASE_S)
        await taken_back(shop.worker())
    assert ((await shop.job(own)).tries, len(lost)) == (8, 8)


async def test_a_clock_that_was_ahead_holds_nothing_up(shop: Shop) -> None:
    held, failed = await shop.one("waits"), await shop.one("broken")
    shop.later(days=400)
    ahead = shop.worker({"waits": waits, "broken": broken})
    await ahead.turn()
    await until(lambda: sorted(shop.runs) == ["broken", "step"])
    await ahead.turn()
    shop.later(days=-400)
    shop.gate.set()
    worker = shop.worker({"waits": name, "broken": name})
    await taken_back(worker)
    await worker.drain()
    assert {(await shop.job(each)).status for each in (held, failed)} == {Status.HEALTHY}
    await ahead.drain()


async def test_jobs_of_other_workspaces_are_not_seen(shop: Shop, second: Scope) -> None:
    own = await shop.one("nothing")
    async with shop.database.transaction(second) as tx:
        assert await jobs(tx) == []
        with pytest.raises(JobMissing):
            await cancel(tx, own)


async def test_old_jobs_are_forgotten_and_failed_ones_later(shop: Shop) -> None:
    await shop.one("nothing")
    await shop.one("hopeless")
    await shop.worker({"nothing": name, "hopeless": hopeless}).drain()
    seen: list[list[str]] = []
    for days in (0, 8, 83):
        shop.later(days=days)
        async with shop.database.transaction(shop.scope) as tx:
            await forget(tx)
            seen.append(sorted(each.kind for each in await jobs(tx)))
            assert sum((await counts(tx)).values()) == len(seen[-1])
    assert seen == [["hopeless", "nothing"], ["hopeless"], []]


async def until(holds: Callable[[], bool]) -> None:
    """Let others go on until something holds."""
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 - what is waited for is seen in the database and in memory alike.
            await asyncio.sleep(0.001)


async def taken_back(worker: Worker[Shop]) -> None:
    """Let a worker look until it took a job back: one whose row is being written is left for its next look."""
    async with asyncio.timeout(20):
        while not await worker.mend():  # noqa: ASYNC110 - the other one writes into the database.
            await asyncio.sleep(0.001)
