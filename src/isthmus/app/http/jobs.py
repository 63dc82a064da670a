"""Routes of jobs: what waits, runs and has ended; starting, cancelling and trying again."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta, Struct, structs

from isthmus.app.scheduling.kinds import BadArguments, KindView, checked, kind_of, kind_views, kinds
from isthmus.app.scheduling.views import JobView, job_view
from isthmus.gateway import Call, Page, Paging, Route
from isthmus.kernel.ids import uuid_of
from isthmus.kernel.marks import Json
from isthmus.kernel.status import Status
from isthmus.store.database import Transaction
from isthmus.stream.jobs.board import again, cancel, discard, job_of, jobs, start
from isthmus.stream.jobs.job import JOB_PREFIX, ORDINARY, Job, JobLiving, JobMissing, JobOver, UnknownKind, Wish

_TAGS = ("jobs",)
_Name = Annotated[str, Meta(min_length=1, max_length=200)]


class JobQuery(Paging, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which jobs."""

    status: Literal["pending", "running", "retrying", "healthy", "degraded", "needs attention", "paused"] | None = None
    kind: _Name | None = None
    schedule: _Name | None = None


class NewJob(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A job to be done: one point of `priority` is worth a minute of waiting; without `due_at` it is due now."""

    kind: _Name
    arguments: dict[str, Json] = {}
    priority: Annotated[int, Meta(ge=0, le=100)] = ORDINARY
    due_at: Annotated[datetime, Meta(tz=True)] | None = None


async def list_jobs(call: Call) -> Page[JobView]:
    """List jobs, newest first."""
    wanted, after = call.query(JobQuery), call.after()
    before = None if after is None else uuid_of(JOB_PREFIX, after)
    status = None if wanted.status is None else Status(wanted.status)
    async with call.services.database.transaction(call.scope) as tx:
        found = await jobs(
            tx, status=status, kind=wanted.kind, schedule=wanted.schedule, before=before, limit=wanted.limit + 1
        )
    return call.page([shown(call, each) for each in found], limit=wanted.limit, after=lambda each: each.id)


async def show_job(call: Call) -> JobView:
    """Show a job."""
    async with call.services.database.transaction(call.scope) as tx:
        return shown(call, await job_of(tx, call.id_in_path("job_id", JOB_PREFIX)))


async def start_job(call: Call) -> JobView:
    """Start a job."""
    wanted = call.body(NewJob)
    kind = kind_of(wanted.kind)
    call.require(kind.permission)
    wish = Wish(
        kind=kind.name,
        arguments=checked(kind, wanted.arguments),
        priority=wanted.priority,
        due_at=wanted.due_at,
        tries_max=kind.tries_max,
    )
    async with call.services.database.transaction(call.scope) as tx:
        return job_view(await start(tx, wish))


async def cancel_job(call: Call) -> JobView:
    """Cancel a job."""
    async with call.services.database.transaction(call.scope) as tx:
        return job_view(await cancel(tx, await _permitted(call, tx)))


async def retry_job(call: Call) -> JobView:
    """Try a job again."""
    async with call.services.database.transaction(call.scope) as tx:
        return job_view(await again(tx, await _permitted(call, tx)))


async def discard_job(call: Call) -> JobView:
    """Give a job up."""
    async with call.services.database.transaction(call.scope) as tx:
        return job_view(await discard(tx, await _permitted(call, tx)))


async def list_kinds(call: Call) -> Page[KindView]:
    """List kinds of jobs."""
    paging, after = call.query(Paging), call.after()
    found = [each for each in kind_views() if after is None or each.name > after]
    return call.page(found, limit=paging.limit, after=lambda each: each.name)


def shown(call: Call, job: Job) -> JobView:
    """Return a job as a caller may see it: the result is for those who may start such jobs."""
    kind = kinds().get(job.kind)
    view = job_view(job)
    return view if kind is None or call.may(kind.permission) else structs.replace(view, result=None)


async def _permitted(call: Call, tx: Transaction) -> UUID:
    """Return the id of the job in the path; raises Denied for a kind that the caller may not start."""
    found = await job_of(tx, call.id_in_path("job_id", JOB_PREFIX))
    if (kind := kinds().get(found.kind)) is not None:
        call.require(kind.permission)
    return found.id


ROUTES = (
    Route(
        method="GET",
        path="/api/v1/jobs",
        permission="stream:read",
        handler=list_jobs,
        summary="List jobs, newest first",
        tags=_TAGS,
        query=JobQuery,
        response=Page[JobView],
    ),
    Route(
        method="POST",
        path="/api/v1/jobs",
        permission="stream:write",
        handler=start_job,
        summary="Start a job; its kind says which further permission that takes",
        tags=_TAGS,
        body=NewJob,
        response=JobView,
        status=201,
        request_example={"kind": "success.health"},
        errors=(UnknownKind, BadArguments),
    ),
    Route(
        method="GET",
        path="/api/v1/job-kinds",
        permission="stream:read",
        handler=list_kinds,
        summary="List the kinds of jobs that people may start",
        tags=_TAGS,
        query=Paging,
        response=Page[KindView],
    ),
    Route(
        method="GET",
        path="/api/v1/jobs/{job_id}",
        permission="stream:read",
        handler=show_job,
        summary="Show a job, how far it is, and its result",
        tags=_TAGS,
        response=JobView,
        errors=(JobMissing,),
    ),
    Route(
        method="POST",
        path="/api/v1/jobs/{job_id}:cancel",
        permission="stream:write",
        handler=cancel_job,
        summary="Cancel a job: at once when it waits, at its next step when it runs",
        tags=_TAGS,
        response=JobView,
        errors=(JobMissing, JobOver),
    ),
    Route(
        method="POST",
        path="/api/v1/jobs/{job_id}:retry",
        permission="stream:write",
        handler=retry_job,
        summary="Try a job again from the first step that is not done",
        tags=_TAGS,
        response=JobView,
        errors=(JobMissing, JobOver, JobLiving),
    ),
    Route(
        method="POST",
        path="/api/v1/jobs/{job_id}:discard",
        permission="stream:write",
        handler=discard_job,
        summary="Give up a job that needs attention; it can be tried again while it is kept",
        tags=_TAGS,
        response=JobView,
        errors=(JobMissing, JobOver, JobLiving),
    ),
)
