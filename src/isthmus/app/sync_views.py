"""Runs, plans, outcomes and rejected rows as they are shown, over HTTP and at the terminal alike."""

from collections.abc import Callable
from datetime import datetime

from msgspec import Struct

from isthmus.app.inbound_views import CONNECTION_PREFIX
from isthmus.app.veiling import veiled
from isthmus.kernel.ids import text_of
from isthmus.kernel.marks import Json
from isthmus.store.schema import Schema
from isthmus.sync.mending import Cause
from isthmus.sync.outcomes import Outcome, Refusal
from isthmus.sync.planning import Planned, writes
from isthmus.sync.runs import Run

RUN_PREFIX = "run"


class RowCounts(Struct, frozen=True, kw_only=True):
    """What was done, in rows: read there, new, changed and unchanged here, rejected, written there."""

    read: int = 0
    created: int = 0
    changed: int = 0
    unchanged: int = 0
    rejected: int = 0
    written: int = 0
    conflicts: int = 0


class FeedCounts(RowCounts, frozen=True, kw_only=True):
    """What a run did for one feed."""

    feed: str


class SyncRunView(Struct, frozen=True, kw_only=True):
    """A run; counts are of rows, `total` how many are expected, if that is known. `error` says in words what is wrong.

    `connection` names the system; of one that was connected `connection_id` is there. `feed` is the last one.
    """

    id: str
    connection: str
    connection_id: str | None
    kind: str
    status: str
    feed: str | None
    started_at: datetime
    updated_at: datetime
    finished_at: datetime | None
    seconds: float
    read: int
    created: int
    changed: int
    unchanged: int
    rejected: int
    written: int
    conflicts: int
    total: int | None
    error: str | None
    feeds: list[FeedCounts]


class CauseView(Struct, frozen=True, kw_only=True):
    """Rejected rows with one reason code; `example` is one of the reasons in words."""

    system: str
    type: str
    code: str
    rows: int
    oldest_at: datetime
    example: str


class RefusalView(Struct, frozen=True, kw_only=True):
    """Writes that the system refused, or that failed there, for one reason."""

    type: str
    outcome: str
    reason: str
    writes: int


class SyncRunDetail(Struct, frozen=True, kw_only=True):
    """A run with why rows were rejected here (`causes`), and why writes failed there (`refusals`)."""

    run: SyncRunView
    causes: list[CauseView]
    refusals: list[RefusalView]


class PlannedField(Struct, frozen=True, kw_only=True):
    """One field of a write: what the system holds, and what it would be told."""

    field: str
    there: Json
    here: Json


class WriteView(Struct, frozen=True, kw_only=True):
    """One write; `waits` names links whose record is not known there yet, or `~deleted` for a person's word."""

    feed: str
    kind: str
    type: str
    record: str
    external_id: str | None
    fields: list[PlannedField]
    waits: list[str]


class OutcomeView(Struct, frozen=True, kw_only=True):
    """What became of one record in one run: written, moved, refused or failed there, or rejected here, with the reason.

    `fields` names what was written; of a row that was rejected there is no record yet.
    """

    id: str
    connection: str
    run: str | None
    type: str
    record: str | None
    external_id: str | None
    kind: str
    outcome: str
    code: str
    reason: str
    fields: list[str]
    at: datetime


def run_view(run: Run) -> SyncRunView:
    """Return a run as it is shown."""
    until = run.finished_at or run.updated_at
    return SyncRunView(
        id=text_of(RUN_PREFIX, run.id),
        connection=run.about,
        connection_id=None if run.connection_id is None else text_of(CONNECTION_PREFIX, run.connection_id),
        kind=run.kind,
        status=str(run.status),
        feed=run.feed,
        started_at=run.started_at,
        updated_at=run.updated_at,
        finished_at=run.finished_at,
        seconds=round((until - run.started_at).total_seconds(), 3),
        read=run.read,
        created=run.created,
        changed=run.changed,
        unchanged=run.unchanged,
        rejected=run.rejected,
        written=run.written,
        conflicts=run.conflicts,
        total=run.total,
        error=run.error,
        feeds=[FeedCounts(feed=name, **counts) for name, counts in run.feeds.items()],
    )


def cause_view(cause: Cause) -> CauseView:
    """Return a cause as it is shown."""
    return CauseView(**{name: getattr(cause, name) for name in CauseView.__struct_fields__})


def refusal_view(found: Refusal) -> RefusalView:
    """Return a reason for which writes failed as it is shown."""
    return RefusalView(type=found.type, outcome=found.outcome, reason=found.reason, writes=found.writes)


def write_view(each: Planned, schema: Schema, *, may: Callable[[str], bool]) -> WriteView:
    """Return a planned write; personal values are masked without the permission of their domain."""
    record_type = schema[each.change.type]
    told: dict[str, Json] = {**each.change.fields, **each.change.links}
    sealed = {field.name for field in record_type.personal_fields}
    personal = not sealed.isdisjoint(told) and may(f"{record_type.domain}:read_personal")

    def veil(name: str, value: Json) -> Json:
        return veiled(record_type, name, value, personal=personal)

    return WriteView(
        feed=each.feed,
        kind=each.kind,
        type=each.change.type,
        record=text_of(record_type.prefix, each.change.record_id),
        external_id=each.change.external_id,
        fields=[
            PlannedField(field=name, there=veil(name, each.there.get(name)), here=veil(name, value))
            for name, value in sorted(told.items())
        ]
        if writes(each)
        else [],
        waits=list(each.waits),
    )


def outcome_view(each: Outcome, schema: Schema) -> OutcomeView:
    """Return an outcome as it is shown."""
    return OutcomeView(
        id=f"{each.source}-{each.id}",
        connection=each.system,
        run=None if each.run_id is None else text_of(RUN_PREFIX, each.run_id),
        type=each.type,
        record=None if each.record_id is None else text_of(schema[each.type].prefix, each.record_id),
        external_id=each.external_id,
        kind=each.kind,
        outcome=each.outcome,
        code=each.code,
        reason=each.reason,
        fields=list(each.fields),
        at=each.at,
    )
