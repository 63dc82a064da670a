"""Jobs that run connections: one of them, or all that feed some domains."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta, Struct

from isthmus.app.scheduling.context import JobContext
from isthmus.app.sync_views import RUN_PREFIX
from isthmus.kernel.ids import text_of
from isthmus.kernel.marks import Json
from isthmus.kernel.status import Status
from isthmus.store.database import Transaction
from isthmus.stream.jobs.job import GaveUp, Kind, Wish
from isthmus.stream.jobs.queue import enqueue
from isthmus.stream.jobs.work import Work
from isthmus.sync.connections import Connection, connection_of, connections
from isthmus.sync.connector import Throttled
from isthmus.sync.running import EVERYTHING, ConnectionPaused, Part, synchronise
from isthmus.sync.runs import Run, runs

CONNECTION, STREAMS = "sync.connection", "sync.streams"
NEWEST_RUNS = 200
SAME_CHARACTERS_MAX = 40


class Connected(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which connection, by name or id."""

    connection: Annotated[str, Meta(min_length=1, max_length=100)]


class OneConnection(Connected, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which connection, by name or id, and what of a run is to be done."""

    parts: tuple[Part, ...] = EVERYTHING
    confirmed: bool = False


class SomeStreams(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The domains whose records the connections bring; none means all."""

    domains: tuple[str, ...] = ()


async def run_connection(work: Work, context: JobContext) -> Json:
    """Run a connection; what its system asks to wait for is waited for, and what needs a person ends the job."""
    given, own = work.given(OneConnection), work.claim
    try:
        run = await synchronise(
            context.engine,
            workspace=own.workspace,
            connection=name_or_id(given.connection),
            parts=given.parts,
            confirmed=given.confirmed,
        )
    except ConnectionPaused as error:
        raise GaveUp(error.detail, fix=error.fix) from error
    return await told(work, run)


async def told(work: Work, run: Run) -> Json:
    """Return what a run did, as the result of its job.

    What its system asks to wait for is waited for (Throttled), and what needs a person ends the job (GaveUp).
    """
    if run.status == Status.RETRYING:
        await _come_again(work, run)
    if run.status == Status.NEEDS_ATTENTION:
        raise GaveUp(run.error or "The connection needs attention.", fix=f"isthmus connect show {run.about}")
    if run.status == Status.DEGRADED:
        work.degraded(run.error or f"{run.rejected:,} rejected")
    names = ("read", "created", "changed", "unchanged", "rejected", "written", "conflicts")
    return {"run": text_of(RUN_PREFIX, run.id), **{name: getattr(run, name) for name in names}}


async def run_streams(work: Work, context: JobContext) -> Json:
    """Want a run of every connection that brings records of some domains."""
    given = work.given(SomeStreams)

    async def want(tx: Transaction) -> Json:
        wanted = [each for each in await connections(tx) if _brings(each, given.domains, context)]
        made = await enqueue(tx, [wish_for(each) for each in wanted])
        return {"connections": [each.name for each in wanted], "begun": sum(each is not None for each in made)}

    return await work.step("want", want)


def wish_for(connection: Connection, kind: str = CONNECTION, /, **more: Json) -> Wish:
    """Return the wish for a run of a connection, or for another job on it; two on one connection never overlap.

    While one of a kind, and of one feed and span or one reason code, waits or runs, no other is made.
    """
    own = f"connection:{connection.id}"
    told: dict[str, Json] = {"connection": str(connection.id), **more}
    parted = [str(more[name])[:SAME_CHARACTERS_MAX] for name in ("feed", "since", "until", "code") if name in more]
    return Wish(kind=kind, arguments=told, dedupe=" ".join([own, *parted]), key=own)


async def want_due(tx: Transaction) -> list[UUID]:
    """Want a run of every connection whose time has come again; returns the jobs that are new."""
    newest = {run.about: run for run in reversed(await runs(tx, limit=NEWEST_RUNS))}
    due = [each for each in await connections(tx) if _is_due(each, newest.get(each.name), tx.scope.now)]
    return [own for own in await enqueue(tx, [wish_for(each) for each in due]) if own is not None]


def _is_due(connection: Connection, last: Run | None, now: datetime) -> bool:
    if connection.status == Status.PAUSED:
        return False
    if connection.retry_at is not None and connection.status == Status.RETRYING:
        return connection.retry_at <= now
    if connection.every_s is None:
        return False
    return last is None or last.started_at + timedelta(seconds=connection.every_s) <= now


def _brings(connection: Connection, domains: Sequence[str], context: JobContext) -> bool:
    connector = context.engine.connectors.get(connection.connector)
    if connector is None or connection.status == Status.PAUSED:
        return False
    return not domains or bool(
        set(domains) & set(_domains(each.types for each in connector.feeds_of(connection.settings)))
    )


def _domains(feeds: Iterable[Iterable[str]]) -> Iterable[str]:
    return (name.partition(".")[0] for types in feeds for name in types)


async def _come_again(work: Work, run: Run) -> None:
    """Raise Throttled with the time that the connection is to wait."""
    async with work.database.transaction(work.scope()) as tx:
        connection = await connection_of(tx, run.about)
        wait = (connection.retry_at or tx.scope.now) - tx.scope.now
    raise Throttled(run.error or "The system asks to wait.", retry_after_s=max(0.0, wait.total_seconds()))


def name_or_id(text: str) -> str | UUID:
    """Return the id that a text is, or else the name."""
    try:
        return msgspec.convert(text, UUID)
    except msgspec.ValidationError:
        return text


KINDS: tuple[Kind[JobContext], ...] = (
    Kind(
        name=CONNECTION,
        about="Run a connection: pull, compare, push.",
        run=run_connection,
        arguments=OneConnection,
        permission="sync:write",
        run_s_max=6 * 3_600.0,
    ),
    Kind(
        name=STREAMS,
        about="Run every connection that brings records of some domains.",
        run=run_streams,
        arguments=SomeStreams,
        permission="sync:write",
    ),
)
