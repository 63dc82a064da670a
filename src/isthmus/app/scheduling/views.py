"""Jobs and schedules as they are shown, over HTTP and at the terminal alike."""

from datetime import datetime

from msgspec import Struct

from isthmus.kernel.ids import text_of
from isthmus.kernel.marks import Json
from isthmus.stream.jobs.job import JOB_PREFIX, Job, Told
from isthmus.stream.jobs.schedules import Schedule


class JobView(Struct, frozen=True, kw_only=True):
    """A job as it stands. A cancelled one is paused: it rests until somebody tries it again.

    The result is shown to those who have the permission of its kind.
    """

    id: str
    kind: str
    status: str
    reason: str
    arguments: dict[str, Json]
    priority: int
    due_at: datetime
    attempt: int
    tries: int
    tries_max: int
    created_at: datetime
    created_by: str
    schedule: str | None = None
    occurrence: datetime | None = None
    progress: Told | None = None
    result: Json = None
    cancelled_by: str | None = None
    tried_at: datetime | None = None
    ended_at: datetime | None = None


class ScheduleView(Struct, frozen=True, kw_only=True):
    """A schedule as it stands; `zone` is the one it is read in. `missed` and `skipped` moments made no job."""

    name: str
    about: str
    kind: str
    arguments: dict[str, Json]
    cron: str
    zone: str
    status: str
    reason: str
    standard: bool
    missed: int
    skipped: int
    next_at: datetime | None = None
    last_at: datetime | None = None
    last_job: str | None = None


def job_view(job: Job) -> JobView:
    """Return a job as it is shown."""
    same = {name: getattr(job, name) for name in JobView.__struct_fields__ if name not in {"id", "status"}}
    return JobView(id=text_of(JOB_PREFIX, job.id), status=str(job.status), **same)


def schedule_view(found: Schedule) -> ScheduleView:
    """Return a schedule as it is shown."""
    other = {"status", "last_job"}
    same = {name: getattr(found, name) for name in ScheduleView.__struct_fields__ if name not in other}
    last = None if found.last_job is None else text_of(JOB_PREFIX, found.last_job)
    return ScheduleView(status="paused" if found.paused else "healthy", last_job=last, **same)
