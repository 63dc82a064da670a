"""Filling the page of work from the log, the jobs, the schedules and the webhooks."""

from collections.abc import Sequence
from uuid import UUID

from isthmus.console import words
from isthmus.console.status import Badge, badge
from isthmus.console.work.causes import load_causes
from isthmus.console.work.present import ACT, Viewer, host_of, job_row, load_present
from isthmus.console.work.views import Filter, HookRow, JobRow, JobsView, ScheduleRow, Work
from isthmus.gateway import Services
from isthmus.kernel.ids import text_of
from isthmus.kernel.status import Status
from isthmus.store.database import Scope, Transaction
from isthmus.stream.jobs import schedules as plans
from isthmus.stream.jobs.board import counts, jobs, jobs_by_id
from isthmus.stream.jobs.job import JOB_PREFIX, Job
from isthmus.stream.jobs.schedules import Schedule
from isthmus.stream.webhooks.endpoints import Endpoint, endpoint_text, endpoints
from isthmus.stream.webhooks.standing import Standing, standings

JOBS_SHOWN, HOOKS_SHOWN, ANSWERS_SHOWN = 15, 20, 8
_FILTERS = (
    Status.RUNNING,
    Status.RETRYING,
    Status.NEEDS_ATTENTION,
    Status.PENDING,
    Status.HEALTHY,
    Status.DEGRADED,
    Status.PAUSED,
)
_WORST = ("needs attention", "retrying", "degraded", "paused", "pending", "healthy")


async def load_work(
    services: Services, scope: Scope, viewer: Viewer, *, status: Status | None, before: UUID | None
) -> Work:
    """Return the page; `status` chooses jobs, those below the id `before`."""
    present = await load_present(services, scope, viewer)
    async with services.database.transaction(scope) as tx:
        hooks = sorted(await endpoints(tx), key=lambda each: _WORST.index(each.status))
        stand = await standings(tx, [each.id for each in hooks[:HOOKS_SHOWN]], shown=ANSWERS_SHOWN)
        causes = await load_causes(tx, viewer, hooks)
        return Work(
            workspace=await _name(tx),
            present=present,
            causes=causes,
            grouped=sum(each.count for each in causes),
            schedules=await _schedules(tx, viewer),
            zone=await plans.zone(tx),
            jobs=await _jobs(tx, viewer, status, before),
            hooks=[_hook(each, stand[each.id], scope) for each in hooks[:HOOKS_SHOWN]],
            hooks_more=max(len(hooks) - HOOKS_SHOWN, 0),
            may_act=viewer.may(ACT),
        )


async def _schedules(tx: Transaction, viewer: Viewer) -> Sequence[ScheduleRow]:
    found = await plans.schedules(tx)
    last = await jobs_by_id(tx, [each.last_job for each in found if each.last_job is not None])
    return [_schedule(each, last.get(each.last_job) if each.last_job else None, viewer, tx.scope) for each in found]


def _schedule(found: Schedule, last: Job | None, viewer: Viewer, scope: Scope) -> ScheduleRow:
    status = Status.PAUSED if found.paused else Status.HEALTHY
    return ScheduleRow(
        name=found.name,
        title=found.about or viewer.title(found.kind),
        cron=found.cron,
        zone=found.zone,
        badge=badge(status, now=scope.now),
        reason=found.reason,
        paused=found.paused,
        next_at=found.next_at,
        last_at=found.last_at,
        last=_ended(last, scope) if last is not None else None,
        missed=found.missed,
        skipped=found.skipped,
        may_act=viewer.may_start(found.kind),
    )


def _ended(last: Job, scope: Scope) -> Badge:
    return badge(last.status, now=scope.now, reason=last.reason, retry_at=last.due_at)


async def _jobs(tx: Transaction, viewer: Viewer, status: Status | None, before: UUID | None) -> JobsView:
    by_status = await counts(tx)
    found = await jobs(tx, status=status, before=before, limit=JOBS_SHOWN + 1)
    rows: list[JobRow] = [job_row(each, viewer, tx.scope) for each in found[:JOBS_SHOWN]]
    total = sum(by_status.values())
    every = Filter(name="", label="all", count=total, chosen=status is None)
    own = [
        Filter(name=str(each), label=str(each), count=by_status.get(each, 0), chosen=each is status)
        for each in _FILTERS
        if by_status.get(each, 0) or each is status
    ]
    return JobsView(
        rows=rows,
        filters=[every, *own],
        total=total,
        status=status,
        before=text_of(JOB_PREFIX, before) if before is not None else "",
        next=rows[-1].id if len(found) > JOBS_SHOWN else "",
    )


def _hook(found: Endpoint, stands: Standing, scope: Scope) -> HookRow:
    status = Status(found.status)
    return HookRow(
        id=endpoint_text(found.id),
        url=found.url,
        name=host_of(found.url),
        about=found.about,
        badge=badge(status, now=scope.now, reason=found.reason, retry_at=found.closed_until),
        reason=found.reason if status is not Status.PAUSED else _paused(found, scope),
        failing_since=found.failing_since,
        succeeded_at=found.succeeded_at,
        waiting=stands.waiting,
        failed=stands.failed,
        answers=stands.answers,
        resumable=found.paused_at is not None or found.closed_until is not None or found.disabled_at is not None,
        pausable=found.paused_at is None,
    )


def _paused(found: Endpoint, scope: Scope) -> str:
    return f"Paused {words.ago(found.paused_at, now=scope.now)}; what happens meanwhile is told when it is resumed."


async def _name(tx: Transaction) -> str:
    cursor = await tx.connection.execute("select name from workspace where id = %s", (tx.scope.workspace,))
    row = await cursor.fetchone()
    return str(row[0]) if row else ""
