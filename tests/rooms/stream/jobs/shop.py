"""Workers on a clock that stands still until it is moved, and kinds of jobs that write down what they did."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random
from uuid import UUID

from isthmus.kernel.clock import FrozenClock
from isthmus.kernel.marks import Json
from isthmus.store.database import Database, Scope, Transaction
from isthmus.stream.jobs.board import job_of
from isthmus.stream.jobs.job import Backoff, Job, Kind, Wish
from isthmus.stream.jobs.queue import Holder, enqueue
from isthmus.stream.jobs.work import Work
from isthmus.stream.jobs.worker import Worker

LEASE_S = 15.0
Run = Callable[[Work, "Shop"], Awaitable[Json]]


async def nothing(_: Work, shop: "Shop") -> Json:
    """Do nothing, and count that."""
    shop.runs.append("nothing")
    return None


@dataclass
class Shop:
    """A workspace with workers; `runs` is what handlers write down in memory, outside of any transaction."""

    database: Database
    workspace: int
    clock: FrozenClock
    runs: list[str] = field(default_factory=list[str])
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    made: int = 0

    @property
    def scope(self) -> Scope:
        """The workspace at this moment."""
        return Scope(workspace=self.workspace, actor="user:tester", cause="test", now=self.clock.now())

    def worker(self, kinds: Mapping[str, Run] | None = None, *, slots: int = 4, **given: int) -> "Worker[Shop]":
        """Return a new worker for some kinds of jobs."""
        self.made += 1
        declared: Sequence[Kind[Shop]] = [
            Kind(name=name, about="A test.", run=run, tries_max=given.get("tries_max", 8))
            for name, run in (kinds or {"nothing": nothing}).items()
        ]
        return Worker(
            database=self.database,
            clock=self.clock,
            kinds=declared,
            context=self,
            holder=Holder(id=UUID(int=self.workspace << 64 | self.made), worker=f"w{self.made}", lease_s=LEASE_S),
            backoff=Backoff(chance=Random(7)),
            slots=slots,
            only=frozenset({self.workspace}),
        )

    async def want(self, *wishes: Wish) -> list[UUID | None]:
        """Enqueue jobs."""
        async with self.database.transaction(self.scope) as tx:
            return await enqueue(tx, wishes)

    async def one(self, kind: str, **arguments: Json) -> UUID:
        """Enqueue one job."""
        (made,) = await self.want(Wish(kind=kind, arguments=arguments))
        assert made is not None
        return made

    async def job(self, own: UUID) -> Job:
        """Return a job as it stands."""
        async with self.database.transaction(self.scope) as tx:
            return await job_of(tx, own)

    async def within(self, do: Callable[[Transaction], Awaitable[Json]]) -> Json:
        """Do something in a transaction of its own."""
        async with self.database.transaction(self.scope) as tx:
            return await do(tx)

    def later(self, **by: float) -> None:
        """Move the clock."""
        self.clock.move(timedelta(**by))
