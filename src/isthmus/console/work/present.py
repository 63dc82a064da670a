"""What is kept live on the page: how the log stands, what runs, and how much waits for somebody."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from isthmus.console.status import badge
from isthmus.console.work.views import JobRow, LogView, Present, ReaderRow, Waiting
from isthmus.console.work.workings import KindWords, Workings
from isthmus.gateway import Services
from isthmus.kernel.ids import text_of
from isthmus.kernel.status import Status
from isthmus.store.database import Scope, Transaction
from isthmus.stream.jobs.board import attention_count, running
from isthmus.stream.jobs.job import JOB_PREFIX, LIVING, Job
from isthmus.stream.lag import log_of
from isthmus.stream.live import Live
from isthmus.stream.parked import parked_count
from isthmus.stream.tail import TailState
from isthmus.stream.webhooks.endpoints import Endpoint, endpoints
from isthmus.sync.inbound import stuck_count

RUNNING_MAX = 12
ACT = "stream:write"


@dataclass(frozen=True)
class Viewer:
    """For whom the page is made, and the kinds of jobs there are."""

    permissions: frozenset[str]
    kinds: Mapping[str, KindWords]

    def may(self, permission: str) -> bool:
        """Tell whether the viewer has a permission."""
        return permission in self.permissions

    def may_start(self, kind: str) -> bool:
        """Tell whether the viewer may have jobs of a kind done."""
        found = self.kinds.get(kind)
        return self.may(ACT) and (found is None or self.may(found.permission))

    def title(self, kind: str) -> str:
        """Return what jobs of a kind do."""
        found = self.kinds.get(kind)
        return found.title if found is not None else kind


def viewer_of(services: Services, permissions: frozenset[str]) -> Viewer:
    """Return for whom the page is made."""
    return Viewer(permissions, services.of(Workings).kinds())


async def load_present(services: Services, scope: Scope, viewer: Viewer) -> Present:
    """Return what is kept live."""
    tail = await services.of(Live).tail(scope.workspace)
    async with services.database.transaction(scope) as tx:
        hooks = await endpoints(tx)
        waiting = Waiting(
            events=await parked_count(tx),
            messages=await stuck_count(tx),
            jobs=await attention_count(tx),
            webhooks=sum(each.status == Status.NEEDS_ATTENTION for each in hooks),
        )
        found = await running(tx, limit=RUNNING_MAX)
        return Present(
            now=scope.now,
            log=await _log(tx, tail, {each.consumer: each for each in hooks}),
            running=[job_row(each, viewer, scope) for each in found],
            waiting=waiting,
        )


async def _log(tx: Transaction, tail: TailState, hooks: Mapping[str, Endpoint]) -> LogView:
    found, now = await log_of(tx), tx.scope.now
    since = found.unstamped_since
    return LogView(
        head=found.head,
        first=found.first,
        grew_at=found.grew_at,
        unstamped=found.unstamped,
        unstamped_s=0.0 if since is None else max((now - since).total_seconds(), 0.0),
        tail=tail.place,
        tail_behind=max(found.head - tail.last, 0),
        readers=[
            ReaderRow(
                name=each.consumer,
                about=reader_title(each.consumer, hooks.get),
                behind=each.behind,
                lag_s=each.lag_s(now),
            )
            for each in found.readers
        ],
    )


def reader_title(consumer: str, hook: Callable[[str], Endpoint | None]) -> str:
    """Return what a reader of the log is called: `reactions:sales` gives `reactions of sales`."""
    sort, _, name = consumer.partition(":")
    if sort != "webhook":
        return f"{sort} of {name}" if name else sort
    endpoint = hook(consumer)
    return f"webhook {host_of(endpoint.url)}" if endpoint is not None else "a webhook that was removed"


def host_of(url: str) -> str:
    """Return the host of an address."""
    return urlsplit(url).hostname or url


def job_row(job: Job, viewer: Viewer, scope: Scope) -> JobRow:
    """Return a job as it is shown."""
    told, may = job.progress, viewer.may_start(job.kind)
    shown = badge(job.status, now=scope.now, reason=job.reason, retry_at=job.due_at)
    if job.status is Status.RUNNING and job.cancelled_by:
        shown = badge(job.status, now=scope.now, reason=f"Cancelled by {job.cancelled_by}; it stops at its next step.")
    return JobRow(
        id=text_of(JOB_PREFIX, job.id),
        title=viewer.title(job.kind),
        kind=job.kind,
        badge=shown,
        tries=f"try {job.tries} of {job.tries_max}" if job.tries else "not begun",
        created_at=job.created_at,
        created_by=job.created_by,
        tried_at=job.tried_at,
        ended_at=job.ended_at,
        schedule=job.schedule,
        share=min(told.done / told.total, 1.0) if told is not None and told.total else None,
        done=told.done if told is not None else 0,
        total=told.total if told is not None else None,
        text=told.text if told is not None else "",
        started=told is not None,
        may_retry=may and job.status in (Status.NEEDS_ATTENTION, Status.PAUSED, Status.RETRYING),
        may_cancel=may and job.status in LIVING and not job.cancelled_by,
    )
