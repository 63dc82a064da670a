"""Jobs of one kind are done together where the kind can, and each by itself where one of them stands in the way."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from uuid import UUID

from isthmus.kernel.marks import Json
from isthmus.kernel.status import Status
from isthmus.stream.jobs.board import cancel
from isthmus.stream.jobs.job import Kind, Wish
from isthmus.stream.jobs.work import Work, fenced_together
from isthmus.stream.jobs.worker import Worker
from tests.rooms.stream.jobs.shop import Shop

POISON = "poison"
Together = Callable[[Sequence[Work], Shop], Awaitable[None]]


async def alone(work: Work, shop: Shop) -> Json:
    """Do one job by itself."""
    if work.claim.arguments["name"] == POISON:
        raise ValueError(POISON)
    async with work.fenced():
        pass
    shop.runs.append(f"alone {work.claim.arguments['name']}")
    return None


async def together(works: Sequence[Work], shop: Shop) -> None:
    """Do many jobs, unless one of them is poison."""
    async with fenced_together(works):
        names = sorted(str(each.claim.arguments["name"]) for each in works)
        if POISON in names:
            raise ValueError(POISON)
        shop.gate.set()
        await asyncio.sleep(0)
    shop.runs.append(f"together {' '.join(names)}")


def counter(shop: Shop, many: Together = together) -> Worker[Shop]:
    """Return a worker whose jobs can be done together, and that has measured that they take next to no time."""
    worker = replace(shop.worker(slots=1), kinds=[Kind(name="note", about="A test.", run=alone, together=many)])
    worker._pace_s = 1e-4  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - as after some jobs.
    return worker


async def wanted(shop: Shop, *names: str) -> list[UUID]:
    """Want jobs that write down their names."""
    made = await shop.want(*[Wish(kind="note", arguments={"name": each}) for each in names])
    return [each for each in made if each is not None]


async def test_jobs_that_wait_are_done_together(shop: Shop) -> None:
    jobs = await wanted(shop, "a", "b", "c")
    worker = counter(shop)
    await worker.drain()
    assert shop.runs == ["together a b c"]
    assert {(await shop.job(each)).status for each in jobs} == {Status.HEALTHY}
    assert worker.done == len(jobs)


async def test_one_that_fails_holds_up_no_neighbour(shop: Shop) -> None:
    a, bad, c = await wanted(shop, "a", POISON, "c")
    await counter(shop).drain()
    assert sorted(shop.runs) == ["alone a", "alone c"]
    assert [(await shop.job(each)).status for each in (a, bad, c)] == [
        Status.HEALTHY,
        Status.RETRYING,
        Status.HEALTHY,
    ]


async def test_what_was_tried_before_is_done_by_itself(shop: Shop) -> None:
    (bad,) = await wanted(shop, POISON)
    await counter(shop).drain()
    await wanted(shop, "a", "b")
    shop.later(minutes=5)
    await counter(shop).drain()
    assert shop.runs == ["together a b"]
    assert (await shop.job(bad)).attempt == 2


async def test_one_that_is_cancelled_meanwhile_is_not_done_and_the_others_are(shop: Shop) -> None:
    a, b, c = await wanted(shop, "a", "b", "c")
    worker = counter(shop)
    await worker.turn()
    async with shop.database.transaction(shop.scope) as tx:
        await cancel(tx, b)
    await worker.beat(shop.workspace)
    await worker.drain()
    assert sorted(shop.runs) == ["alone a", "alone c"]
    assert [(await shop.job(each)).status for each in (a, b, c)] == [Status.HEALTHY, Status.PAUSED, Status.HEALTHY]


async def test_jobs_that_are_not_over_yet_are_kept_by_their_fence_until_they_are(shop: Shop) -> None:
    async def twice(works: Sequence[Work], shop: Shop) -> None:
        async with fenced_together(works) as (_, going):
            going.add(works[0].claim.id)
        shop.runs.append(str([(await shop.job(each.claim.id)).status.value for each in works]))
        async with fenced_together(works[:1]):
            pass

    jobs = await wanted(shop, "a", "b")
    await counter(shop, twice).drain()
    assert shop.runs == ["['running', 'healthy']"]
    assert {(await shop.job(each)).status for each in jobs} == {Status.HEALTHY}


async def test_jobs_of_a_worker_that_was_thought_dead_are_done_by_another_alone(shop: Shop) -> None:
    async def late(works: Sequence[Work], shop: Shop) -> None:
        async with fenced_together(works):
            await shop.gate.wait()
            shop.runs.append("in vain")

    await wanted(shop, "a", "b")
    lost, other = counter(shop, late), counter(shop)
    await lost.turn()
    shop.later(minutes=1)
    await other.mend()
    await other.drain()
    shop.gate.set()
    await lost.drain()
    assert sorted(shop.runs) == ["alone a", "alone b", "in vain"]


async def test_a_worker_that_stops_gives_all_of_them_back(shop: Shop) -> None:
    jobs = await wanted(shop, "a", "b", "c")

    async def waits(works: Sequence[Work], shop: Shop) -> None:
        async with fenced_together(works):
            shop.gate.set()
            await asyncio.Event().wait()

    running = asyncio.create_task(counter(shop, waits).run())
    await shop.gate.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    found = [await shop.job(each) for each in jobs]
    assert {(each.status, each.tries) for each in found} == {(Status.PENDING, 0)}
    assert shop.runs == []


async def test_while_an_urgent_job_is_at_work_those_that_are_done_together_gather_for_a_moment(shop: Shop) -> None:
    async def urgent(_: Work, shop: Shop) -> Json:
        await shop.gate.wait()
        shop.runs.append("urgent")
        return None

    kinds = [
        Kind(name="note", about="A test.", run=alone, together=together),
        Kind(name="urgent", about="A test.", run=urgent),
    ]
    worker = replace(shop.worker(), kinds=kinds)
    await shop.want(Wish(kind="urgent", priority=90))
    await worker.turn()
    await wanted(shop, "a", "b")
    for _ in range(3):
        await worker.turn()
        await asyncio.sleep(0)
    assert shop.runs == []
    shop.later(seconds=4)
    await worker.drain()
    assert sorted(shop.runs) == ["together a b", "urgent"]
