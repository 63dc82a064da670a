"""Jobs that read connections again, or try again what was rejected from them."""

from collections.abc import Awaitable
from datetime import datetime
from typing import Annotated

from msgspec import Meta

from isthmus.app.scheduling.connections import Connected, name_or_id, told
from isthmus.app.scheduling.context import JobContext
from isthmus.kernel.marks import Json
from isthmus.stream.jobs.job import GaveUp, Kind
from isthmus.stream.jobs.work import Work
from isthmus.sync.rereading import FeedMissing, Span, SpanEmpty
from isthmus.sync.running import ConnectionPaused, backfill, map_again, resync, retry
from isthmus.sync.runs import Run

BACKFILL, RESYNC, RETRY, REMAP = "sync.backfill", "sync.resync", "sync.retry", "sync.remap"
_Moment = Annotated[datetime, Meta(tz=True)]


class OneSpan(Connected, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which feed of which connection, and what changed there in which time; None has no end on that side."""

    feed: Annotated[str, Meta(min_length=1, max_length=200)]
    since: _Moment | None = None
    until: _Moment | None = None
    confirmed: bool = False


class Everything(Connected, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which connection; `confirmed` says that a person has agreed to many changes."""

    confirmed: bool = False


class Rows(Connected, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which connection, and which reason code of rejected rows; None means all."""

    code: Annotated[str, Meta(min_length=1, max_length=200)] | None = None


async def run_backfill(work: Work, context: JobContext) -> Json:
    """Read a span of a feed again."""
    given, own = work.given(OneSpan), work.claim
    try:
        span = Span(since=given.since, until=given.until)
    except SpanEmpty as error:
        raise GaveUp(error.detail, fix=error.fix) from error
    going = backfill(
        context.engine,
        workspace=own.workspace,
        connection=name_or_id(given.connection),
        feed=given.feed,
        span=span,
        confirmed=given.confirmed,
    )
    return await told(work, await _ended(going))


async def run_resync(work: Work, context: JobContext) -> Json:
    """Read everything again."""
    given, own = work.given(Everything), work.claim
    going = resync(
        context.engine,
        workspace=own.workspace,
        connection=name_or_id(given.connection),
        confirmed=given.confirmed,
    )
    return await told(work, await _ended(going))


async def run_retry(work: Work, context: JobContext) -> Json:
    """Try again what was rejected, mapped anew."""
    given, own = work.given(Rows), work.claim
    connection = name_or_id(given.connection)
    done = await retry(context.engine, workspace=own.workspace, connection=connection, code=given.code)
    if done.left:
        work.degraded(f"{done.left:,} still rejected.")
    return {"stored": done.stored, "left": done.left}


class OneType(Connected, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which connection, and which record type."""

    type: Annotated[str, Meta(min_length=1, max_length=200)]


async def run_remap(work: Work, context: JobContext) -> Json:
    """Map again what was received of a type."""
    given, own = work.given(OneType), work.claim
    connection = name_or_id(given.connection)
    going = map_again(context.engine, workspace=own.workspace, connection=connection, type_name=given.type)
    return await told(work, await _ended(going))


async def _ended(going: Awaitable[Run]) -> Run:
    """Return how a run went; what a person has to see to first ends the job."""
    try:
        return await going
    except (ConnectionPaused, FeedMissing) as error:
        raise GaveUp(error.detail, fix=error.fix) from error


KINDS: tuple[Kind[JobContext], ...] = (
    Kind(
        name=BACKFILL,
        about="Read what changed in a time again, from one feed; its live cursor stays.",
        run=run_backfill,
        arguments=OneSpan,
        permission="sync:write",
        run_s_max=6 * 3_600.0,
    ),
    Kind(
        name=RESYNC,
        about="Read everything that a system holds again; the live cursors stay.",
        run=run_resync,
        arguments=Everything,
        permission="sync:write",
        run_s_max=6 * 3_600.0,
    ),
    Kind(
        name=RETRY,
        about="Try again what was rejected from a system, mapped anew.",
        run=run_retry,
        arguments=Rows,
        permission="sync:write",
    ),
    Kind(
        name=REMAP,
        about="Map again what was received of a record type, with the mapping that is in force.",
        run=run_remap,
        arguments=OneType,
        permission="sync:write",
        run_s_max=6 * 3_600.0,
    ),
)
