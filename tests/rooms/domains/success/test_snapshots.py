"""Health is written down once a day for every account, whatever stops in between, and never twice."""

from dataclasses import dataclass, field
from random import Random

import pytest

from isthmus.domains.success.jobs import DAILY_HEALTH, JOBS, score_all
from isthmus.domains.success.snapshots import BATCH_ACCOUNTS
from isthmus.kernel.ids import mint
from isthmus.kernel.marks import Json
from isthmus.kernel.status import Status
from isthmus.stream.jobs import schedules
from isthmus.stream.jobs.board import job_of, jobs
from isthmus.stream.jobs.job import Backoff
from isthmus.stream.jobs.queue import LEASE_S, Holder, claim
from isthmus.stream.jobs.schedules import Standard
from isthmus.stream.jobs.work import Work
from isthmus.stream.jobs.worker import Worker
from isthmus.sync.ingest import Store
from isthmus.vault import entropy
from tests.rooms.domains.desk import Desk, said

HEALTH = "/api/v1/health-snapshots?limit=200"
DAILY = Standard(name="daily-health", about="Health scores", kind=DAILY_HEALTH, cron="0 6 * * *")


class Died(Exception):
    """The program was killed."""


@dataclass(frozen=True)
class Dying:
    """What a job works with that is killed when it comes to its second batch."""

    own: Store
    asked: list[int] = field(default_factory=list[int])

    @property
    def store(self) -> Store:
        """The store, once."""
        self.asked.append(1)
        if len(self.asked) > 1:
            raise Died
        return self.own


@dataclass(frozen=True)
class Context:
    """What the job works with."""

    store: Store


def worker(desk: Desk) -> Worker[Context]:
    """A worker that has just been started."""
    return Worker(
        database=desk.store.database,
        clock=desk.clock,
        kinds=JOBS,
        context=Context(desk.store),
        holder=Holder(id=mint(unix_ms=0, entropy=entropy(10)), worker="test"),
        backoff=Backoff(chance=Random(1)),
        only=frozenset({desk.scope.workspace}),
    )


async def scheduled(desk: Desk) -> None:
    """Schedule the daily scores."""
    async with desk.store.database.transaction(desk.now) as tx:
        await schedules.install(tx, [DAILY], edition=1)
        await schedules.fire(tx)


async def night(desk: Desk, *, hours: float = 24) -> None:
    """Let time pass, and score what is due."""
    desk.later(hours=hours)
    async with desk.store.database.transaction(desk.now) as tx:
        await schedules.fire(tx)
    await worker(desk).drain()


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


async def test_scores_come_daily_at_their_hour(desk: Desk) -> None:
    own, *_ = await accounts(desk, 1)
    await scheduled(desk)
    await night(desk, hours=20)
    assert await kept(desk) == []
    await night(desk, hours=1)
    await night(desk, hours=2)
    await night(desk)
    assert await kept(desk) == [(own, "2026-11-03"), (own, "2026-11-04")]
    (first, _) = (await desk.get(HEALTH)).rows("data")
    health = await desk.get(f"/api/v1/integrations/success/health/{own}")
    assert (first["score"], first["support_health"]) == (health.at("score"), health.at("sub_scores.support_health"))
    assert first["reasons"] == health.at("reasons")
    assert len(health.rows("history")) == 2


async def test_what_was_missed_is_made_up_for_once(desk: Desk) -> None:
    await accounts(desk, 1)
    await scheduled(desk)
    await night(desk, hours=24 * 5)
    assert [day for _, day in await kept(desk)] == ["2026-11-07"]


async def test_what_stops_in_the_middle_is_gone_on_from_in_the_name_of_the_same_day(desk: Desk) -> None:
    own = await accounts(desk, BATCH_ACCOUNTS + 3)
    await scheduled(desk)
    desk.later(hours=37)
    async with desk.store.database.transaction(desk.now) as tx:
        (job,) = await schedules.fire(tx)
        (claimed,) = await claim(
            tx, Holder(id=mint(unix_ms=0, entropy=entropy(10)), worker="dies"), [DAILY_HEALTH], limit=1
        )
    dying = Work(claim=claimed, database=desk.store.database, clock=desk.clock)
    with pytest.raises(Died):
        await score_all(dying, Dying(desk.store))
    assert len(await kept(desk)) == BATCH_ACCOUNTS
    desk.later(seconds=LEASE_S)
    await worker(desk).mend()
    await night(desk, hours=10)
    async with desk.store.database.transaction(desk.now) as tx:
        done = await job_of(tx, job)
    assert (done.status, done.result) == (Status.HEALTHY, {"day": "2026-11-03", "batches": 2, "renewals": 0})
    assert [each for each, _ in await kept(desk)] == sorted(own)


async def test_an_account_of_which_nothing_is_known_has_no_score(desk: Desk) -> None:
    await desk.put(said("sales.account", "A1", name="One"))
    await scheduled(desk)
    await night(desk)
    async with desk.store.database.transaction(desk.now) as tx:
        (job,) = await jobs(tx)
    assert (job.status, job.result) == (Status.HEALTHY, {"day": "2026-11-03", "batches": 1, "renewals": 0})
    assert await kept(desk) == []


async def test_the_hour_and_the_day_are_those_of_the_workspace(desk: Desk) -> None:
    own, *_ = await accounts(desk, 1)
    await scheduled(desk)
    async with desk.store.database.transaction(desk.now) as tx:
        await schedules.change(tx, "daily-health", cron="30 1 * * *")
        await schedules.set_zone(tx, "Asia/Tokyo")
    # It is 18:30 there, and half past one comes in seven hours.
    await night(desk, hours=6.9)
    assert await kept(desk) == []
    await night(desk, hours=0.1)
    async with desk.store.database.transaction(desk.now) as tx:
        (job,) = await jobs(tx)
    assert job.result == {"day": "2026-11-03", "batches": 1, "renewals": 0}
    assert await kept(desk) == [(own, "2026-11-02")]


async def test_a_yearly_subscription_that_ends_soon_begins_the_renewal_once(desk: Desk) -> None:
    (own,) = await desk.put(said("sales.account", "A1", name="One"))
    await desk.put(
        said(
            "finance.subscription",
            "S1",
            plan="Team",
            billing_interval="year",
            period_ends_on="2027-01-15",
            account_id="A1",
        ),
        said("finance.subscription", "S2", plan="Seats", period_ends_on="2026-12-01", account_id="A1"),
    )
    await scheduled(desk)
    await night(desk)
    await night(desk)
    found = (await desk.get("/api/v1/interventions")).rows("data")
    assert [(each["playbook"], each["account_id"]) for each in found] == [("renewal", own)]
