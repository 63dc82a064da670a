"""What the handler of a job works with: its arguments, steps that happen once, and a way to tell how far it is."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
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
for update of j
"""
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
        async with self.database.transaction(self.scope()) as tx:
            done, result = await self._hold(tx, name)
            if done:
                return result
            result = await do(tx)
            row = (self.claim.id, name, None if result is None else Jsonb(result), tx.scope.now)
            await tx.connection.execute(_DONE, row, prepare=True)
            return result

    @asynccontextmanager
    async def fenced(self) -> AsyncGenerator[Transaction]:
        """Open a transaction that commits only while the job is ours; raises LeaseLost and JobCancelled."""
        async with self.database.transaction(self.scope()) as tx:
            await self._hold(tx, "")
            yield tx

    async def _hold(self, tx: Transaction, name: str) -> tuple[bool, Json]:
        own = self.claim
        row = await (
            await tx.connection.execute(_MINE, (name, own.id, own.lease, own.attempt), prepare=True)
        ).fetchone()
        if row is None:
            raise LeaseLost("The job was given to another worker.", fix="Nothing is lost; it goes on there.")
        cancelled_by, done, result = row
        if cancelled_by is not None:
            raise JobCancelled(f"{cancelled_by} cancelled the job.", fix="Start it again: isthmus jobs retry")
        return bool(done), result
