"""What people see of jobs and do with them: list, look, cancel, try again; and what is forgotten in the end."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import LiteralString
from uuid import UUID

import msgspec
from msgspec import Struct

from isthmus.audit.trace import trace
from isthmus.kernel.status import Status
from isthmus.store.database import Transaction
from isthmus.stream.jobs.job import LIVING, Job, JobLiving, JobMissing, JobOver, Wish
from isthmus.stream.jobs.queue import enqueue

KEPT, KEPT_FAILED = timedelta(days=7), timedelta(days=90)
GROUPED_MAX = 10_000
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
_DISCARD: LiteralString = """
update job set status = 'paused', cancelled_by = %(actor)s, reason = 'Given up by ' || %(actor)s || '. ' || reason,
       ended_at = %(now)s
where workspace = current_workspace() and id = %(id)s and status = 'needs attention'
"""
_CAUSES: LiteralString = """
with last as (
    select * from job where workspace = current_workspace() and status = 'needs attention' order by id desc limit %s
), placed as (
    select *, count(*) over same as together, min(ended_at) over same as since, max(ended_at) over same as latest,
           row_number() over (partition by kind, reason order by id desc) as place
    from last window same as (partition by kind, reason)
)
select kind, reason, together, since, latest, id from placed where place <= %s
order by together desc, kind, reason, place
"""
_ATTENTION: LiteralString = """
select count(*) from job where workspace = current_workspace() and status = 'needs attention'
"""
_WAITING: LiteralString = """
select id from job where workspace = current_workspace() and status = 'needs attention' and kind = %s and reason = %s
order by id limit %s
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


class Cause(Struct, frozen=True):
    """Jobs of a kind that need attention because of one fault: how many, since when, the latest when, and the last."""

    kind: str
    reason: str
    count: int
    since: datetime
    latest: datetime
    last: tuple[UUID, ...]


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


async def attention_count(tx: Transaction) -> int:
    """Return how many jobs need attention."""
    row = await (await tx.connection.execute(_ATTENTION)).fetchone()
    return int(row[0]) if row else 0


async def running(tx: Transaction, *, limit: int) -> list[Job]:
    """Return jobs that run, the newest first."""
    query: LiteralString = _SELECT + " and status = 'running' order by id desc limit %s"
    return [_job(row) for row in await (await tx.connection.execute(query, (limit,))).fetchall()]


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


async def discard(tx: Transaction, own: UUID) -> Job:
    """Give up a job that needs attention: it rests, and can be tried again while it is kept.

    Raises JobMissing, JobLiving for one that waits or runs, and JobOver for one that ended otherwise.
    """
    given = {"actor": tx.scope.actor, "now": tx.scope.now, "id": own}
    if (await tx.connection.execute(_DISCARD, given)).rowcount != 1:
        found = await job_of(tx, own)
        if found.status in LIVING:
            raise JobLiving("The job waits or runs.", fix="Cancel it: isthmus jobs cancel")
        raise JobOver(f"The job waits for nobody: {found.status}.", fix="There is nothing left to give up.")
    found = await job_of(tx, own)
    await trace(tx, action="job.discarded", resource="job", record_id=own, details={"kind": found.kind})
    return found


async def jobs_by_id(tx: Transaction, wanted: Sequence[UUID]) -> dict[UUID, Job]:
    """Return those of the jobs that are kept."""
    rows = await (await tx.connection.execute(_SELECT + " and id = any(%s)", (list(wanted),))).fetchall()
    return {each.id: each for each in map(_job, rows)}


async def causes(tx: Transaction, *, shown: int) -> list[Cause]:
    """Return why jobs need attention, the most frequent first, each with its last `shown` jobs.

    The last 10,000 jobs that need attention are grouped.
    """
    grouped: dict[tuple[str, str, int, datetime, datetime], list[UUID]] = {}
    rows = await (await tx.connection.execute(_CAUSES, (GROUPED_MAX, shown))).fetchall()
    for kind, reason, count, since, latest, own in rows:
        grouped.setdefault((kind, reason, count, since, latest), []).append(own)
    return [Cause(*key, last=tuple(last)) for key, last in grouped.items()]


async def waiting(tx: Transaction, *, kind: str, reason: str, limit: int) -> list[UUID]:
    """Return jobs of a kind that need attention for one reason, oldest first."""
    rows = await (await tx.connection.execute(_WAITING, (kind, reason, limit))).fetchall()
    return [row[0] for row in rows]


async def forget(tx: Transaction) -> int:
    """Delete jobs that ended long ago: after a week, those that failed after 90 days; returns how many steps went."""
    now = tx.scope.now
    gone = await tx.connection.execute(_FORGET, (now - KEPT, now - KEPT_FAILED))
    await tx.connection.execute(_FORGET_KEYS, (now - KEPT,))
    return gone.rowcount


def _job(row: tuple[object, ...]) -> Job:
    return msgspec.convert(dict(zip(Job.__struct_fields__, row, strict=True)), Job)
