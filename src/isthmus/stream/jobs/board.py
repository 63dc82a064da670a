"""What people see of jobs and do with them: list, look, cancel, try again; and what is forgotten in the end."""

from datetime import timedelta
from typing import LiteralString
from uuid import UUID

import msgspec

from isthmus.audit.trace import trace
from isthmus.kernel.status import Status
from isthmus.store.database import Transaction
from isthmus.stream.jobs.job import LIVING, Job, JobLiving, JobMissing, JobOver, Wish
from isthmus.stream.jobs.queue import enqueue

KEPT, KEPT_FAILED = timedelta(days=7), timedelta(days=90)
_SELECT: LiteralString = """
select id, kind, status, reason, arguments, priority, due_at, dedupe, key, schedule, occurrence, attempt, tries,
       tries_max, progress, result, cancelled_by, created_at, created_by, tried_at, ended_at
from job where workspace = current_workspace()
"""
_LIST: LiteralString = (
    _SELECT
    + """
and (%(status)s::text is null or status = %(status)s) and (%(kind)s::text is null or kind = %(kind)s)
and (%(schedule)s::text is null or schedule = %(schedule)s) and (%(before)s::uuid is null or id < %(before)s)
order by id desc limit %(limit)s
"""
)
_CANCEL: LiteralString = """
update job set cancelled_by = %(actor)s,
       status = case when status = 'running' then status else 'paused' end,
       reason = case when status = 'running' then reason else 'Cancelled by ' || %(actor)s || '.' end,
       ended_at = case when status = 'running' then null else %(now)s end
where workspace = current_workspace() and id = %(id)s and status in ('pending', 'running', 'retrying')
"""
_RETRY: LiteralString = """
update job set status = 'pending', reason = '', due_at = %(now)s,
       rank = %(now)s - priority * interval '1 minute', tries = 0, cancelled_by = null, ended_at = null
where workspace = current_workspace() and id = %(id)s and status in ('needs attention', 'paused', 'retrying')
  and not exists (
      select from job other where other.workspace = job.workspace and other.kind = job.kind
         and other.dedupe = job.dedupe and other.id <> job.id and other.status in ('pending', 'running', 'retrying')
  )
"""
_FORGET: LiteralString = """
with gone as (
    delete from job where workspace = current_workspace()
       and (status in ('healthy', 'degraded') and ended_at < %s
            or status in ('needs attention', 'paused') and ended_at < %s)
    returning id
)
delete from job_step s using gone where s.workspace = current_workspace() and s.job_id = gone.id
"""
_FORGET_KEYS: LiteralString = """
delete from job_key k where k.workspace = current_workspace() and not exists (
    select from job j where j.workspace = k.workspace and j.key = k.key
       and j.status in ('pending', 'running', 'retrying')
) and (k.filled_at is null or k.filled_at < %s)
"""
_COUNTS: LiteralString = """
select status, count(*) from job where workspace = current_workspace() group by status
"""


async def jobs(
    tx: Transaction,
    *,
    status: Status | None = None,
    kind: str | None = None,
    schedule: str | None = None,
    before: UUID | None = None,
    limit: int = 50,
) -> list[Job]:
    """Return jobs, the newest first, below the id `before`."""
    given = {"status": status, "kind": kind, "schedule": schedule, "before": before, "limit": limit}
    return [_job(row) for row in await (await tx.connection.execute(_LIST, given)).fetchall()]


async def job_of(tx: Transaction, own: UUID) -> Job:
    """Return a job; raises JobMissing."""
    row = await (await tx.connection.execute(_SELECT + " and id = %s", (own,))).fetchone()
    if row is None:
        raise JobMissing("There is no job with this id.", fix="List them: isthmus jobs ls")
    return _job(row)


async def counts(tx: Transaction) -> dict[Status, int]:
    """Return how many jobs are in each status."""
    rows = await (await tx.connection.execute(_COUNTS)).fetchall()
    return {Status(status): int(count) for status, count in rows}


async def start(tx: Transaction, wish: Wish) -> Job:
    """Have a job done because somebody asks for it; raises JobLiving when one with its dedupe key waits or runs."""
    (own,) = await enqueue(tx, [wish])
    if own is None:
        raise JobLiving("A job for the same waits or runs.", fix="Wait for it: isthmus jobs ls")
    await trace(tx, action="job.started", resource="job", record_id=own, details={"kind": wish.kind})
    return await job_of(tx, own)


async def cancel(tx: Transaction, own: UUID) -> Job:
    """Cancel a job: at once when it waits, at its next step or within a second when it runs.

    Raises JobMissing and JobOver.
    """
    given = {"actor": tx.scope.actor, "now": tx.scope.now, "id": own}
    if (await tx.connection.execute(_CANCEL, given)).rowcount != 1:
        found = await job_of(tx, own)
        raise JobOver(f"The job has ended: {found.status}.", fix="There is nothing left to cancel.")
    found = await job_of(tx, own)
    await trace(tx, action="job.cancelled", resource="job", record_id=own, details={"kind": found.kind})
    return found


async def again(tx: Transaction, own: UUID) -> Job:
    """Try a job again, from its first step that is not done; raises JobMissing, JobOver and JobLiving."""
    given = {"now": tx.scope.now, "id": own}
    if (await tx.connection.execute(_RETRY, given)).rowcount != 1:
        found = await job_of(tx, own)
        if found.status in LIVING:
            raise JobLiving("The job waits or runs already.", fix="Wait for it, or cancel it: isthmus jobs cancel")
        if found.status in (Status.HEALTHY, Status.DEGRADED):
            raise JobOver("The job is done.", fix="Start a new one: isthmus jobs run")
        raise JobLiving("Another job for the same waits or runs.", fix="Wait for that one: isthmus jobs ls")
    found = await job_of(tx, own)
    await trace(tx, action="job.retried", resource="job", record_id=own, details={"kind": found.kind})
    return found


async def forget(tx: Transaction) -> int:
    """Delete jobs that ended long ago: after a week, those that failed after 90 days; returns how many steps went."""
    now = tx.scope.now
    gone = await tx.connection.execute(_FORGET, (now - KEPT, now - KEPT_FAILED))
    await tx.connection.execute(_FORGET_KEYS, (now - KEPT,))
    return gone.rowcount


def _job(row: tuple[object, ...]) -> Job:
    return msgspec.convert(dict(zip(Job.__struct_fields__, row, strict=True)), Job)
