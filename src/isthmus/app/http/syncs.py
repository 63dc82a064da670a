"""Routes of runs: what connections did, what a push would write, and running, reading again and trying again."""

from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct

from isthmus.app.http.readable import id_or_name, is_readable, named_connection, readable_types
from isthmus.app.scheduling.connections import wish_for
from isthmus.app.scheduling.rereading import BACKFILL, RESYNC, RETRY
from isthmus.app.scheduling.views import JobView, job_view
from isthmus.app.sync_views import (
    RUN_PREFIX,
    CauseView,
    OutcomeView,
    SyncRunDetail,
    SyncRunView,
    WriteView,
    cause_view,
    outcome_view,
    refusal_view,
    run_view,
    write_view,
)
from isthmus.gateway import Call, Page, Paging, Response, Route
from isthmus.kernel.errors import NotFound
from isthmus.kernel.ids import uuid_of
from isthmus.kernel.marks import Json
from isthmus.kernel.status import Status
from isthmus.store.database import Transaction
from isthmus.stream.jobs.board import start
from isthmus.stream.jobs.job import JOB_PREFIX, JobLiving, Wish
from isthmus.sync.connections import Connection, ConnectionMissing
from isthmus.sync.mending import rejects_by_cause
from isthmus.sync.outcomes import Outcome, Place, Search, Source, outcomes, refusals
from isthmus.sync.rereading import FeedMissing, Span, SpanEmpty
from isthmus.sync.running import EVERYTHING, ConnectionPaused, Part, UnknownConnector, planned
from isthmus.sync.runs import Engine, as_of, run_of, runs

_TAGS = ("syncs",)
PLANNED_MAX = 1_000
_Name = Annotated[str, Meta(min_length=1, max_length=200)]
_Moment = Annotated[datetime, Meta(tz=True)]
_Agreed = Annotated[bool, Meta(description="A person has agreed to the many deletions or changes that were held back.")]


class RunMissing(NotFound):
    """There is no such run."""

    code, title = "run-missing", "There is no such run"


class SyncQuery(Paging, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which runs; `connection` is an id or a name, also of a system that is connected no more, or of a file."""

    connection: _Name | None = None
    status: Literal["running", "retrying", "healthy", "degraded", "needs attention"] | None = None


class OutcomeQuery(Paging, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which outcomes; `record` is the id of a record here, `external_id` its id there."""

    connection: _Name | None = None
    run: _Name | None = None
    record: _Name | None = None
    external_id: Annotated[str, Meta(min_length=1, max_length=500)] | None = None
    outcome: Literal["written", "moved", "refused", "failed", "rejected"] | None = None
    code: _Name | None = None


class CauseQuery(Paging, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which rejected rows."""

    system: _Name | None = None
    code: _Name | None = None


class Running(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What of a run is to be done; all three parts by default."""

    parts: Annotated[tuple[Part, ...], Meta(min_length=1, max_length=3)] = EVERYTHING
    confirmed: _Agreed = False


class Planning(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many writes at most."""

    limit: Annotated[int, Meta(ge=1, le=PLANNED_MAX)] = 100


class Backfilling(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which feed, and what changed there from `since` on and before `until`; absent has no end on that side."""

    feed: _Name
    since: _Moment | None = None
    until: _Moment | None = None
    confirmed: _Agreed = False


class Resyncing(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whether a person has agreed to many changes."""

    confirmed: _Agreed = False


class Retrying(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which reason code of rejected rows; all without it."""

    code: _Name | None = None


class SyncPlan(Struct, frozen=True, kw_only=True):
    """What a push would write now, of the types that the caller may read; with `has_more` there is more than shown."""

    data: list[WriteView]
    has_more: bool


async def list_syncs(call: Call) -> Page[SyncRunView]:
    """List runs, newest first."""
    wanted, after = call.query(SyncQuery), call.after()
    named = None if wanted.connection is None else id_or_name(wanted.connection)
    async with call.services.database.transaction(call.scope) as tx:
        found = await runs(
            tx,
            connection_id=None if isinstance(named, str) else named,
            about=named if isinstance(named, str) else None,
            status=None if wanted.status is None else Status(wanted.status),
            before=None if after is None else uuid_of(RUN_PREFIX, after),
            limit=wanted.limit + 1,
        )
        shown = [run_view(as_of(each, tx.scope.now)) for each in found]
    return call.page(shown, limit=wanted.limit, after=lambda each: each.id)


async def show_sync(call: Call) -> SyncRunDetail:
    """Show a run."""
    own = call.id_in_path("sync_id", RUN_PREFIX, missing=RunMissing)
    types = readable_types(call)
    async with call.services.database.transaction(call.scope) as tx:
        found = await run_of(tx, own)
        if found is None:
            raise RunMissing("There is no run with this id.", fix="List them: GET /api/v1/syncs")
        return SyncRunDetail(
            run=run_view(as_of(found, tx.scope.now)),
            causes=[cause_view(each) for each in await rejects_by_cause(tx, run_id=own) if each.type in types],
            refusals=[refusal_view(each) for each in await refusals(tx, own) if each.type in types],
        )


async def run_sync(call: Call) -> Response:
    """Want a run."""
    wanted = call.body(Running)
    async with call.services.database.transaction(call.scope) as tx:
        found = await _awake(call, tx)
        return await _begun(tx, wish_for(found, parts=list(wanted.parts), confirmed=wanted.confirmed))


async def plan_sync(call: Call) -> SyncPlan:
    """Tell what a push would write."""
    limit = call.body(Planning).limit
    async with call.services.database.transaction(call.scope) as tx:
        found = await named_connection(call, tx)
    writes = await planned(
        call.services.of(Engine), workspace=call.scope.workspace, connection=found.id, limit=PLANNED_MAX + 1
    )
    seen = [each for each in writes if is_readable(call, each.change.type)]
    shown = [write_view(each, call.services.schema, may=call.may) for each in seen[:limit]]
    return SyncPlan(data=shown, has_more=len(seen) > limit or len(writes) > PLANNED_MAX)


async def backfill_sync(call: Call) -> Response:
    """Want a span of a feed to be read again."""
    wanted = call.body(Backfilling)
    Span(since=wanted.since, until=wanted.until)
    connectors = call.services.of(Engine).connectors
    async with call.services.database.transaction(call.scope) as tx:
        found = await _awake(call, tx)
        connector = connectors.get(found.connector)
        feeds = [each.name for each in connector.feeds_of(found.settings)] if connector else []
        if wanted.feed not in feeds:
            there = ", ".join(feeds) or "none"
            raise FeedMissing(f"{found.name!r} has no feed {wanted.feed!r}.", fix=f"There are: {there}.")
        span: dict[str, Json] = {"since": _text(wanted.since), "until": _text(wanted.until)}
        return await _begun(tx, wish_for(found, BACKFILL, feed=wanted.feed, confirmed=wanted.confirmed, **span))


async def resync_sync(call: Call) -> Response:
    """Want everything to be read again."""
    async with call.services.database.transaction(call.scope) as tx:
        found = await _awake(call, tx)
        return await _begun(tx, wish_for(found, RESYNC, confirmed=call.body(Resyncing).confirmed))


async def retry_sync(call: Call) -> Response:
    """Want rejected rows to be tried again."""
    async with call.services.database.transaction(call.scope) as tx:
        found = await named_connection(call, tx)
        return await _begun(tx, wish_for(found, RETRY, code=call.body(Retrying).code))


async def list_rejected(call: Call) -> Page[CauseView]:
    """List causes, the most frequent first."""
    wanted, after, types = call.query(CauseQuery), call.after(), readable_types(call)
    async with call.services.database.transaction(call.scope) as tx:
        found = await rejects_by_cause(tx, system=wanted.system)
    shown = [cause_view(each) for each in found if each.type in types and wanted.code in (None, each.code)]
    begun = 0 if after is None else next((n for n, each in enumerate(shown, 1) if _cause(each) == after), len(shown))
    return call.page(shown[begun:], limit=wanted.limit, after=_cause)


async def list_outcomes(call: Call) -> Page[OutcomeView]:
    """List outcomes, newest first."""
    wanted, after, types = call.query(OutcomeQuery), call.after(), readable_types(call)
    schema = call.services.schema
    async with call.services.database.transaction(call.scope) as tx:
        named = None if wanted.connection is None else id_or_name(wanted.connection)
        known = None if named is None or isinstance(named, str) else await named_connection(call, tx, wanted.connection)
        search = Search(
            types=types,
            connection_id=None if known is None else known.id,
            system=named if isinstance(named, str) else None if known is None else known.name,
            run_id=None if wanted.run is None else uuid_of(RUN_PREFIX, wanted.run),
            record_id=None if wanted.record is None else uuid_of(_prefix(call, wanted.record), wanted.record),
            external_id=wanted.external_id,
            outcome=wanted.outcome,
            code=wanted.code,
        )
        found = await outcomes(tx, search, after=_place(after), limit=wanted.limit + 1)
    rows = {f"{each.source}-{each.id}": each for each in found}
    shown = [outcome_view(each, schema) for each in found]
    return call.page(shown, limit=wanted.limit, after=lambda each: _written(rows[each.id]))


async def _awake(call: Call, tx: Transaction) -> Connection:
    """Return the connection in the path; raises ConnectionPaused for one that rests."""
    found = await named_connection(call, tx)
    if found.status == Status.PAUSED:
        raise ConnectionPaused(f"{found.name!r} is paused: {found.reason}", fix="Resume it first.")
    return found


async def _begun(tx: Transaction, wish: Wish) -> Response:
    """Have a job done, and say where it can be looked at."""
    made = job_view(await start(tx, wish))
    return Response(value=made, status=202, headers=(("location", f"/api/v1/jobs/{made.id}"),))


def _text(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


def _cause(each: CauseView) -> str:
    return f"{each.system}\n{each.type}\n{each.code}"


def _written(each: Outcome) -> str:
    return f"{each.at.isoformat()} {each.source} {each.id}"


def _place(after: str | None) -> Place | None:
    if after is None:
        return None
    at, source, own = after.split(" ")
    kinds: dict[str, Source] = {"write": "write", "row": "row"}
    return datetime.fromisoformat(at), kinds[source], int(own)


def _prefix(call: Call, text: str) -> str:
    """Return the prefix of a record id if it is that of any type; else one that no id has."""
    head = text.rpartition("_")[0]
    return head if any(each.prefix == head for each in call.services.schema) else "record"


_RUN = "/api/v1/syncs/{connection}"
_JOB_ERRORS = (ConnectionMissing, ConnectionPaused, JobLiving)
_ANSWER = f"Answered with 202 and the job (`{JOB_PREFIX}_…`), at `Location`; its result names the run."
ROUTES = (
    Route(
        method="GET",
        path="/api/v1/syncs",
        permission="sync:read",
        handler=list_syncs,
        summary="List runs, newest first",
        tags=_TAGS,
        query=SyncQuery,
        response=Page[SyncRunView],
    ),
    Route(
        method="GET",
        path="/api/v1/syncs/{sync_id}",
        permission="sync:read",
        handler=show_sync,
        summary="Show a run: counts by feed, why rows were rejected here, why writes failed there",
        tags=_TAGS,
        response=SyncRunDetail,
        errors=(RunMissing,),
    ),
    Route(
        method="POST",
        path=f"{_RUN}:run",
        permission="sync:write",
        handler=run_sync,
        summary="Run a connection, by its id or its name",
        description=_ANSWER,
        tags=_TAGS,
        body=Running,
        response=JobView,
        status=202,
        request_example={"parts": ["pull"]},
        errors=_JOB_ERRORS,
    ),
    Route(
        method="POST",
        path=f"{_RUN}:plan",
        permission="sync:read",
        handler=plan_sync,
        summary="Tell what a push would write now, field by field, and write nothing",
        description="Personal values are masked without the permission to read them.",
        tags=_TAGS,
        body=Planning,
        response=SyncPlan,
        request_example={"limit": 50},
        errors=(ConnectionMissing, UnknownConnector),
    ),
    Route(
        method="POST",
        path=f"{_RUN}:backfill",
        permission="sync:write",
        handler=backfill_sync,
        summary="Read what changed in a time again, from one feed; its live cursor stays where it is",
        description=_ANSWER,
        tags=_TAGS,
        body=Backfilling,
        response=JobView,
        status=202,
        request_example={"feed": "crm.leads", "since": "2026-11-01T00:00:00Z", "until": "2026-11-08T00:00:00Z"},
        errors=(*_JOB_ERRORS, FeedMissing, SpanEmpty),
    ),
    Route(
        method="POST",
        path=f"{_RUN}:resync",
        permission="sync:write",
        handler=resync_sync,
        summary="Read everything that a system holds again, and see what is gone; the live cursors stay where they are",
        description=_ANSWER,
        tags=_TAGS,
        body=Resyncing,
        response=JobView,
        status=202,
        request_example={"confirmed": False},
        errors=_JOB_ERRORS,
    ),
    Route(
        method="POST",
        path=f"{_RUN}:retry",
        permission="sync:write",
        handler=retry_sync,
        summary="Try rejected rows again, mapped anew with the connector as it is now",
        description=_ANSWER,
        tags=_TAGS,
        body=Retrying,
        response=JobView,
        status=202,
        request_example={"code": "unknown-link"},
        errors=(ConnectionMissing, JobLiving),
    ),
    Route(
        method="GET",
        path="/api/v1/rejected-rows",
        permission="sync:read",
        handler=list_rejected,
        operation="listRejectedRows",
        summary="List what could not be stored, grouped by cause, the most frequent first",
        tags=_TAGS,
        query=CauseQuery,
        response=Page[CauseView],
    ),
    Route(
        method="GET",
        path="/api/v1/sync-outcomes",
        permission="sync:read",
        handler=list_outcomes,
        operation="listSyncOutcomes",
        summary="Search what became of single records across runs: written, moved, refused, failed or rejected",
        tags=_TAGS,
        query=OutcomeQuery,
        response=Page[OutcomeView],
        errors=(ConnectionMissing,),
    ),
)
