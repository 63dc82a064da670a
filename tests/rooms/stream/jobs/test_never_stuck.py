"""Whatever happens to workers, clocks and people's minds, a job ends, or can be claimed within two leases."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Literal
from uuid import UUID

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from isthmus.kernel.clock import FrozenClock
from isthmus.kernel.errors import IsthmusError
from isthmus.kernel.status import Status
from isthmus.store.database import Scope, Transaction
from isthmus.stream.jobs.board import again, cancel, jobs
from isthmus.stream.jobs.job import ENDED, Outcome, Pace, Wish
from isthmus.stream.jobs.queue import Holder, claim, end, enqueue, mend, renew
from isthmus.stream.jobs.work import Claim, JobCancelled, LeaseLost, Work
from tests.conftest import NOW
from tests.rooms.stream.jobs.shop import LEASE_S, Shop, nothing

KIND = "nothing"
WORKERS = 3
Act = Literal["want", "claim", "step", "done", "fail", "beat", "die", "mend", "cancel", "again", "forward", "back"]
ACTS: Sequence[Act] = ("want", "claim", "claim", "step", "done", "fail", "beat", "die", "mend", "cancel", "again")
CLOCKS: Sequence[Act] = ("forward", "forward", "back")
steps = st.lists(st.tuples(st.sampled_from([*ACTS, *CLOCKS]), st.integers(0, 1_000)), min_size=5, max_size=40)


@dataclass
class Chaos:
    """Workers that forget what they hold when they die; `done` counts what a step did to each job."""

    shop: Shop
    lives: list[int] = field(default_factory=lambda: [0] * WORKERS)
    hands: list[list[Claim]] = field(default_factory=lambda: [[] for _ in range(WORKERS)])
    zombies: list[Claim] = field(default_factory=list[Claim])

    def holder(self, place: int) -> Holder:
        """Return a worker as the queue knows it; after each death it is another."""
        own = UUID(int=self.shop.workspace << 64 | (place + 1) << 32 | self.lives[place])
        return Holder(id=own, worker=f"w{place}", lease_s=LEASE_S)

    async def act(self, act: Act, number: int) -> None:
        """Do one thing."""
        place = number % WORKERS
        hand = self.hands[place]
        match act:
            case "forward" | "back":
                length = (1.0, LEASE_S, 90.0, 86_400.0 * 3)[number % 4]
                self.shop.clock.move(timedelta(seconds=length if act == "forward" else -length))
            case "step":
                await self._step(self.zombies if number % 2 else hand, number)
            case "die":
                self.zombies += hand
                hand.clear()
                self.lives[place] += 1
            case _:
                async with self.shop.database.transaction(self.shop.scope) as tx:
                    await self._within(tx, act, number)

    async def _within(self, tx: Transaction, act: Act, number: int) -> None:
        place = number % WORKERS
        hand = self.hands[place]
        match act:
            case "want":
                key = "key" if number % 3 == 0 else None
                dedupe = f"d{number % 5}" if number % 4 == 0 else None
                await enqueue(tx, [Wish(kind=KIND, key=key, dedupe=dedupe, pace=Pace(), tries_max=3)])
            case "claim":
                hand += await claim(tx, self.holder(place), [KIND], limit=1 + number % 3)
            case "beat":
                ours = await renew(tx, self.holder(place), [])
                hand[:] = [each for each in hand if (each.id, each.attempt) in ours]
            case "mend":
                await mend(tx, lease_s=LEASE_S)
            case "done" | "fail" if hand:
                own = hand.pop(number % len(hand))
                await end(tx, self.holder(place), [self._outcome(own, well=act == "done", number=number)])
            case "cancel" | "again" if found := await jobs(tx, limit=200):
                await self._mind(found[number % len(found)].id, tx.scope, away=act == "cancel")
            case _:
                pass

    async def _mind(self, own: UUID, scope: Scope, *, away: bool) -> None:
        try:
            async with self.shop.database.transaction(scope) as tx:
                await (cancel(tx, own) if away else again(tx, own))
        except IsthmusError as refused:
            assert refused.status == 409  # noqa: PT017 - it may be refused, and only so.

    async def _step(self, hand: Sequence[Claim], number: int) -> None:
        """Do the job's one step, also as a worker that was taken for dead."""
        if not hand:
            return
        own = hand[number % len(hand)]
        work = Work(claim=own, database=self.shop.database, clock=self.shop.clock)

        async def count(tx: object) -> int:
            del tx
            return number

        try:
            first = await work.step("once", count)
            assert first == await work.step("once", count)
        except (LeaseLost, JobCancelled):
            pass

    def _outcome(self, own: Claim, *, well: bool, number: int) -> Outcome:
        if well:
            return Outcome(id=own.id, attempt=own.attempt, status=Status.HEALTHY)
        if own.tries >= own.tries_max:
            return Outcome(id=own.id, attempt=own.attempt, status=Status.NEEDS_ATTENTION)
        due_at = self.shop.clock.now() + timedelta(seconds=number % 20)
        return Outcome(id=own.id, attempt=own.attempt, status=Status.RETRYING, due_at=due_at)


@given(acts=steps)
@example(acts=[("want", 0), ("want", 0), ("want", 0), ("want", 0), ("back", 2)])
@example(acts=[("want", 0), ("want", 0), ("want", 0), ("claim", 0), ("back", 1)])
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_every_job_ends_or_can_be_claimed_within_two_leases(shop: Shop, acts: list[tuple[Act, int]]) -> None:
    # Each example begins in an empty workspace, at the same moment.
    shop = replace(shop, clock=FrozenClock(NOW))
    async with shop.database.transaction(shop.scope) as tx:
        for table in ("job", "job_step", "job_lease", "job_key"):
            await tx.connection.execute(f"delete from {table}".encode())  # noqa: S608 - names of our tables.
    chaos = Chaos(shop)
    for act, number in acts:
        await chaos.act(act, number)
    # Everybody is dead now, and a new worker comes. It looks each quarter of a lease.
    worker = shop.worker({KIND: nothing})
    began, ended = shop.clock.now(), timedelta(seconds=2 * LEASE_S)
    while shop.clock.now() - began <= ended:
        await worker.mend()
        shop.later(seconds=LEASE_S / 4)
    async with shop.database.transaction(shop.scope) as tx:
        left = await jobs(tx, limit=1_000)
    assert [each for each in left if each.status == Status.RUNNING] == []
    assert [each for each in left if each.status not in ENDED and each.due_at > shop.clock.now()] == []
    await worker.drain()
    async with shop.database.transaction(shop.scope) as tx:
        left = await jobs(tx, limit=1_000)
    assert {each.status for each in left} <= set(ENDED)
