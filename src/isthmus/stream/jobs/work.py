"""What the handler of a job works with: its arguments, steps that happen once, and a way to tell how far it is."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import LiteralString, TypeVar
from uuid import UUID

import msgspec
from psycopg.types.json import Jsonb

from isthmus.kernel.clock import Clock
from isthmus.kernel.errors import Conflicting
from isthmus.kernel.marks import Json
from isthmus.store.database import Database, Scope, Transaction

T = TypeVar("T")
_MINE: LiteralString = """
select j.cancelled_by, s.name is not null, s.result
from job j left join job_step s on s.workspace = j.workspace and s.job_id = j.id and s.name = %s
where j.workspace = current_workspace() and j.id = %s and j.lease = %s and j.attempt = %s and j.status = 'running'
"""
_STILL_MINE: LiteralString = """
select cancelled_by from job
where workspace = current_workspace() and id = %s and lease = %s and attempt = %s and status = 'running' for update
"""
_ALL_MINE: LiteralString = """
select j.id from job j join unnest(%s::uuid[], %s::integer[]) as own(id, attempt) on own.id = j.id
where j.workspace = current_workspace() and j.lease = %s and j.attempt = own.attempt and j.status = 'running'
  and j.cancelled_by is null
order by j.id
"""
_ALL_OVER: LiteralString = """
update job j set status = 'healthy', lease = null, ended_at = %s
from unnest(%s::uuid[], %s::integer[]) as own(id, attempt)
where j.workspace = current_workspace() and j.id = own.id and j.lease = %s and j.attempt = own.attempt
  and j.status = 'running' and j.cancelled_by is null
returning j.id
"""
_STILL_ALL_MINE: LiteralString = f"{_ALL_MINE} for update of j"
_DONE: LiteralString = """
insert into job_step (workspace, job_id, name, result, at) values (current_workspace(), %s, %s, %s, %s)
"""


class LeaseLost(Conflicting):
    """The job was given to another worker, and nothing that this one does for it is kept any more."""

    code, title = "lease-lost", "The job belongs to another worker"


class JobCancelled(Conflicting):
    """Somebody cancelled the job."""

    code, title = "job-cancelled", "The job was cancelled"


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """A job in the hands of a worker: `lease` and `attempt` are the fence that all it does is checked against."""

    workspace: int
    id: UUID
    kind: str
    arguments: Mapping[str, Json]
    lease: UUID
    attempt: int
    tries: int
    tries_max: int
    schedule: str | None = None
    occurrence: datetime | None = None
    priority: int = 0


@dataclass(kw_only=True, slots=True)
class Work:
    """A job at work."""

    claim: Claim
    database: Database
    clock: Clock
    progress: tuple[int, int | None, str] | None = None
    trouble: str = field(default="")

    def given(self, kind: type[T]) -> T:
        """Return the arguments; raises msgspec.ValidationError where they are of another shape."""
        return msgspec.convert(self.claim.arguments, kind)

    def scope(self) -> Scope:
        """Return the scope of something that the job does now."""
        own = self.claim
        return Scope(workspace=own.workspace, actor=f"job:{own.kind}", cause=f"job:{own.id}", now=self.clock.now())

    def tell(self, *, done: int, total: int | None = None, text: str = "") -> None:
        """Say how far it is; others see it within a second."""
        self.progress = (done, total, text)

    def degraded(self, reason: str) -> None:
        """Say that not all went well; the job ends as degraded."""
        self.trouble = reason

    async def step(self, name: str, do: Callable[[Transaction], Awaitable[Json]]) -> Json:
        """Do a step once: its effect and its being done commit together, and its result is returned ever after.

        Raises LeaseLost and JobCancelled, and then nothing of the step is kept.
        """
        async with self.fenced(name) as (tx, done, kept):
            if done:
                return kept
            result = await do(tx)
            row = (self.claim.id, name, None if result is None else Jsonb(result), tx.scope.now)
            await tx.connection.execute(_DONE, row, prepare=True)
            return result

    @asynccontextmanager
    async def fenced(self, step: str = "") -> AsyncGenerator[tuple[Transaction, bool, Json]]:
        """Open a transaction that commits only while the job is ours; raises LeaseLost and JobCancelled.

        It comes with whether a step was done before, and with what result. The fence is looked at first, so that
        nothing is done in vain, and locked last, so that nobody waits for a long transaction.
        """
        own = self.claim
        async with self.database.transaction(self.scope()) as tx:
            place = (own.id, own.lease, own.attempt)
            row = await (await tx.connection.execute(_MINE, (step, *place), prepare=True)).fetchone()
            _check(row)
            yield tx, bool(row and row[1]), row[2] if row else None
            _check(await (await tx.connection.execute(_STILL_MINE, place, prepare=True)).fetchone())


@asynccontextmanager
async def fenced_together(works: Sequence[Work]) -> AsyncGenerator[tuple[Transaction, set[UUID]]]:
    """Open a transaction that ends some jobs of one worker and workspace, and commits only if it can end all of them.

    It comes with a set for the ids of jobs that are not over yet; they must be ours and wanted still. Raises LeaseLost;
    which of them it was is found out when each is done by itself.
    """
    first = works[0]
    going: set[UUID] = set()
    async with first.database.transaction(first.scope()) as tx:
        await _all_of(tx, works, _ALL_MINE)
        yield tx, going
        await _all_of(tx, [each for each in works if each.claim.id not in going], _ALL_OVER, tx.scope.now)
        await _all_of(tx, [each for each in works if each.claim.id in going], _STILL_ALL_MINE)


async def _all_of(tx: Transaction, works: Sequence[Work], query: LiteralString, *given: object) -> None:
    """Do a statement that returns a row for each job that is ours and wanted; raises LeaseLost where one is not."""
    if not works:
        return
    claims = [each.claim for each in works]
    own = ([each.id for each in claims], [each.attempt for each in claims], claims[0].lease)
    if len(await (await tx.connection.execute(query, (*given, *own), prepare=True)).fetchall()) != len(claims):
        raise LeaseLost("One of the jobs is not ours, or not wanted any more.", fix="Nothing is lost; each goes on.")


def _check(row: Sequence[object] | None) -> None:
    """Raise LeaseLost or JobCancelled unless the job is ours and wanted."""
    if row is None:
        raise LeaseLost("The job was given to another worker.", fix="Nothing is lost; it goes on there.")
    if row[0] is not None:
        raise JobCancelled(f"Cancelled by {row[0]}.", fix="")
