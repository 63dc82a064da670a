"""Routes of reconciliation: how far systems and what is held of them agree, what differs, and what becomes of that."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from isthmus.app.http.readable import is_readable, named_connection, readable_type, readable_types
from isthmus.app.reconciliation_views import DifferenceView, ReconciliationView, difference_view, result_view
from isthmus.app.scheduling.reconciling import RECONCILE, comparing, repairing
from isthmus.app.scheduling.views import JobView, job_view
from isthmus.gateway import Call, Page, Paging, Response, Route
from isthmus.kernel.errors import NotFound
from isthmus.kernel.ids import uuid_of
from isthmus.kernel.status import Status
from isthmus.store.database import Transaction
from isthmus.stream.jobs.board import start
from isthmus.stream.jobs.job import JOB_PREFIX, JobLiving, Wish
from isthmus.sync.connections import Connection, ConnectionMissing
from isthmus.sync.ingest import Store
from isthmus.sync.reconciling.comparing import DifferenceKind
from isthmus.sync.reconciling.found import (
    AGREEING_PROMISED,
    DIFFERENCE_PREFIX,
    PAGE_ROWS_MAX,
    RESULT_PREFIX,
    Difference,
    DifferenceMissing,
    ReasonMissing,
    Result,
    Which,
    decide,
    decide_many,
    difference_of,
    differences,
    exactness,
    note_repair,
    reopen,
    results,
)
from isthmus.sync.running import ConnectionPaused

_TAGS = ("reconciliations",)
_Name = Annotated[str, Meta(min_length=1, max_length=200)]
_Reason = Annotated[str, Meta(max_length=500, description="Why, in a sentence, for those who read the history.")]
_Kind = Literal["missing", "extra", "field", "duplicate", "late", "aggregate"]
_Status = Literal["open", "accepted", "ignored", "repaired", "gone", "all"]
_Agreed = Annotated[bool, Meta(description="A person has agreed to the many deletions or changes that were held back.")]


class ReconciliationMissing(NotFound):
    """There is no such reconciliation."""

    code, title = "reconciliation-missing", "There is no such reconciliation"


class ReconciliationQuery(Paging, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which ones; `connection` is an id or a name."""

    connection: _Name | None = None
    type: _Name | None = None


class Reconciliations(Struct, frozen=True, kw_only=True):
    """Comparisons, newest first. `accuracy` is the share of `compared` fields that agreed when each was compared last.

    It is null before anything was compared; `promised` is what it should not fall below.
    """

    data: list[ReconciliationView]
    accuracy: float | None
    compared: int
    differing: int
    promised: float
    next_cursor: str | None
    has_more: bool


class OwnDifferenceQuery(Paging, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which differences."""

    kind: _Kind | None = None
    field: _Name | None = None
    status: _Status = "open"


class DifferenceQuery(OwnDifferenceQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which differences; `connection` is an id or a name."""

    connection: _Name | None = None
    type: _Name | None = None


class Reasoned(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why the difference may stay."""

    reason: _Reason


class Choosing(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which differences are decided, and how; a dry run only tells which they are. 500 at once at most.

    `accept` and `ignore` take open differences and need a reason; `reopen` takes those of `status`, back to open.
    """

    decision: Literal["accept", "ignore", "reopen"]
    reason: _Reason = ""
    connection: _Name | None = None
    type: _Name | None = None
    kind: _Kind | None = None
    field: _Name | None = None
    status: Literal["open", "accepted", "ignored"] = "open"
    dry_run: bool = False


class Chosen(Struct, frozen=True, kw_only=True):
    """The differences that were decided, or would be; with `has_more` there are others that fit."""

    data: list[DifferenceView]
    count: int
    dry_run: bool
    has_more: bool


class Repairing(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is repaired: everything, or the open differences of a type, a kind, a field (500 at once)."""

    reason: _Reason = ""
    type: _Name | None = None
    kind: Literal["missing", "extra", "field"] | None = None
    field: _Name | None = None
    confirmed: _Agreed = False


class RepairingOne(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why a record is taken in again."""

    reason: _Reason = ""


async def list_reconciliations(call: Call) -> Reconciliations:
    """List comparisons."""
    wanted, after = call.query(ReconciliationQuery), call.after()
    types = readable_types(call) if wanted.type is None else (readable_type(call, wanted.type).name,)
    async with call.services.database.transaction(call.scope) as tx:
        own = None if wanted.connection is None else (await named_connection(call, tx, wanted.connection)).id
        before = None if after is None else uuid_of(RESULT_PREFIX, after)
        found = await results(tx, connection_id=own, types=types, before=before, limit=wanted.limit + 1)
        exact = await exactness(tx, connection_id=own)
    page = call.page([result_view(each) for each in found], limit=wanted.limit, after=lambda each: each.id)
    return Reconciliations(
        data=page.data,
        accuracy=exact.share,
        compared=exact.compared,
        differing=exact.differing,
        promised=AGREEING_PROMISED,
        next_cursor=page.next_cursor,
        has_more=page.has_more,
    )


async def show_reconciliation(call: Call) -> ReconciliationView:
    """Show a comparison."""
    async with call.services.database.transaction(call.scope) as tx:
        return result_view(await _result(call, tx))


async def list_own_differences(call: Call) -> Page[DifferenceView]:
    """List what differs between a system and what is held of it on one type."""
    wanted = call.query(OwnDifferenceQuery)
    async with call.services.database.transaction(call.scope) as tx:
        found = await _result(call, tx)
        own = await named_connection(call, tx, found.connection)
        return await _page(call, tx, _which(wanted, types=(found.type,), own=own))


async def list_differences(call: Call) -> Page[DifferenceView]:
    """List differences."""
    wanted = call.query(DifferenceQuery)
    types = readable_types(call) if wanted.type is None else (readable_type(call, wanted.type).name,)
    async with call.services.database.transaction(call.scope) as tx:
        own = None if wanted.connection is None else await named_connection(call, tx, wanted.connection)
        return await _page(call, tx, _which(wanted, types=types, own=own))


async def show_difference(call: Call) -> DifferenceView:
    """Show a difference."""
    async with call.services.database.transaction(call.scope) as tx:
        return _view(call, await _difference(call, tx))


async def accept_difference(call: Call) -> DifferenceView:
    """Accept a difference."""
    async with call.services.database.transaction(call.scope) as tx:
        found = await _difference(call, tx)
        await decide(tx, [found.id], "accepted", reason=call.body(Reasoned).reason)
        return _view(call, await _difference(call, tx))


async def ignore_difference(call: Call) -> DifferenceView:
    """Ignore a difference."""
    async with call.services.database.transaction(call.scope) as tx:
        found = await _difference(call, tx)
        await decide(tx, [found.id], "ignored", reason=call.body(Reasoned).reason)
        return _view(call, await _difference(call, tx))


async def reopen_difference(call: Call) -> DifferenceView:
    """Take a decision back."""
    async with call.services.database.transaction(call.scope) as tx:
        found = await _difference(call, tx)
        await reopen(tx, [found.id])
        return _view(call, await _difference(call, tx))


async def repair_difference(call: Call) -> Response:
    """Want a record to be taken in again."""
    reason = call.body(RepairingOne).reason
    async with call.services.database.transaction(call.scope) as tx:
        found = await _difference(call, tx)
        own = await awake(call, tx, found.connection)
        return await _repairing(tx, own, [found], reason=reason, confirmed=False)


async def decide_differences(call: Call) -> Chosen:
    """Decide what fits a filter."""
    wanted, store = call.body(Choosing), call.services.of(Store)
    types = readable_types(call) if wanted.type is None else (readable_type(call, wanted.type).name,)
    async with call.services.database.transaction(call.scope) as tx:
        own = None if wanted.connection is None else await named_connection(call, tx, wanted.connection)
        which = Which(
            connection_id=None if own is None else own.id,
            types=types,
            kind=None if wanted.kind is None else DifferenceKind(wanted.kind),
            field=wanted.field,
            status=wanted.status,
        )
        if wanted.dry_run:
            found = await differences(tx, store, which=which, limit=PAGE_ROWS_MAX)
        else:
            before = await decide_many(tx, store, which, wanted.decision, reason=wanted.reason)
            decided = Which(status=None, ids=[each.id for each in before])
            found = await differences(tx, store, which=decided, limit=PAGE_ROWS_MAX)
    shown = [_view(call, each) for each in found]
    return Chosen(data=shown, count=len(shown), dry_run=wanted.dry_run, has_more=len(shown) == PAGE_ROWS_MAX)


async def run_reconciliation(call: Call) -> Response:
    """Want a comparison."""
    async with call.services.database.transaction(call.scope) as tx:
        found = await awake(call, tx, call.path["connection"])
        return await begun(tx, comparing(found, RECONCILE))


async def repair_reconciliation(call: Call) -> Response:
    """Want differences to be repaired."""
    wanted = call.body(Repairing)
    some = wanted.type is not None or wanted.kind is not None or wanted.field is not None
    types = readable_types(call) if wanted.type is None else (readable_type(call, wanted.type).name,)
    async with call.services.database.transaction(call.scope) as tx:
        own = await awake(call, tx, call.path["connection"])
        kind = None if wanted.kind is None else DifferenceKind(wanted.kind)
        which = Which(connection_id=own.id, types=types, kind=kind, field=wanted.field)
        found = await differences(tx, call.services.of(Store), which=which, limit=PAGE_ROWS_MAX) if some else None
        if found == []:
            raise DifferenceMissing("No open difference fits.", fix="List them: GET /api/v1/reconciliation-differences")
        return await _repairing(tx, own, found, reason=wanted.reason, confirmed=wanted.confirmed)


async def _repairing(
    tx: Transaction, own: Connection, found: list[Difference] | None, *, reason: str, confirmed: bool
) -> Response:
    """Have a repair done, and keep why it was wanted."""
    await note_repair(tx, own.name, None if found is None else len(found), reason=reason)
    return await begun(tx, repairing(own, None if found is None else [each.id for each in found], confirmed=confirmed))


async def begun(tx: Transaction, wish: Wish) -> Response:
    """Begin a job, and answer with it."""
    made = job_view(await start(tx, wish))
    return Response(value=made, status=202, headers=(("location", f"/api/v1/jobs/{made.id}"),))


async def awake(call: Call, tx: Transaction, text: str) -> Connection:
    """Return a connection by id or name; raises ConnectionMissing, and ConnectionPaused while it rests."""
    found = await named_connection(call, tx, text)
    if found.status == Status.PAUSED:
        raise ConnectionPaused(f"{found.name!r} is paused: {found.reason}", fix="Resume it first.")
    return found


async def _result(call: Call, tx: Transaction) -> Result:
    own = call.id_in_path("reconciliation_id", RESULT_PREFIX, missing=ReconciliationMissing)
    found = await results(tx, types=readable_types(call), result_id=own, limit=1)
    if not found:
        detail = "There is no reconciliation with this id."
        raise ReconciliationMissing(detail, fix="List them: GET /api/v1/reconciliations")
    return found[0]


async def _difference(call: Call, tx: Transaction) -> Difference:
    """Return the difference in the path; one on records that the caller may not read is not there for it."""
    own = call.id_in_path("difference_id", DIFFERENCE_PREFIX, missing=DifferenceMissing)
    found = await difference_of(tx, call.services.of(Store), own)
    if not is_readable(call, found.type):
        raise DifferenceMissing(
            "There is no such difference to decide.", fix="List them: GET /api/v1/reconciliation-differences"
        )
    return found


def _which(wanted: OwnDifferenceQuery, *, types: tuple[str, ...], own: Connection | None) -> Which:
    return Which(
        connection_id=None if own is None else own.id,
        types=types,
        kind=None if wanted.kind is None else DifferenceKind(wanted.kind),
        field=wanted.field,
        status=None if wanted.status == "all" else wanted.status,
    )


async def _page(call: Call, tx: Transaction, which: Which) -> Page[DifferenceView]:
    after, limit = call.after(), call.query(OwnDifferenceQuery).limit
    last = None if after is None else uuid_of(DIFFERENCE_PREFIX, after)
    found = await differences(tx, call.services.of(Store), which=which, after=last, limit=limit + 1)
    return call.page([_view(call, each) for each in found], limit=limit, after=lambda each: each.id)


def _view(call: Call, found: Difference) -> DifferenceView:
    return difference_view(found, call.services.schema, may=call.may)


_RECONCILIATIONS, _DIFFERENCES = "/api/v1/reconciliations", "/api/v1/reconciliation-differences"
_MASKED = "Personal values are masked without the permission to read them."
_ANSWER = f"Answered with 202 and the job (`{JOB_PREFIX}_…`), at `Location`."
_JOB_ERRORS = (ConnectionMissing, ConnectionPaused, JobLiving)
_ONE = f"{_DIFFERENCES}/{{difference_id}}"
ROUTES = (
    Route(
        method="GET",
        path=_RECONCILIATIONS,
        permission="sync:read",
        handler=list_reconciliations,
        summary="List how far systems and what is held of them agreed, and the share of all fields that agrees",
        tags=_TAGS,
        query=ReconciliationQuery,
        response=Reconciliations,
        errors=(ConnectionMissing,),
    ),
    Route(
        method="GET",
        path=f"{_RECONCILIATIONS}/{{reconciliation_id}}",
        permission="sync:read",
        handler=show_reconciliation,
        summary="Show one comparison of a system with what is held of it",
        tags=_TAGS,
        response=ReconciliationView,
        errors=(ReconciliationMissing,),
    ),
    Route(
        method="GET",
        path=f"{_RECONCILIATIONS}/{{reconciliation_id}}/differences",
        permission="sync:read",
        handler=list_own_differences,
        summary="List what differs between that system and what is held of it on that record type",
        description=_MASKED,
        tags=_TAGS,
        query=OwnDifferenceQuery,
        response=Page[DifferenceView],
        errors=(ReconciliationMissing,),
    ),
    Route(
        method="POST",
        path=f"{_RECONCILIATIONS}/{{connection}}:run",
        permission="sync:write",
        handler=run_reconciliation,
        summary="Compare what a system holds now with what is held of it, and change nothing",
        description=_ANSWER,
        tags=_TAGS,
        response=JobView,
        status=202,
        errors=_JOB_ERRORS,
    ),
    Route(
        method="POST",
        path=f"{_RECONCILIATIONS}/{{connection}}:repair",
        permission="sync:write",
        handler=repair_reconciliation,
        summary="Take in what a system holds now, all of it or what differs by a filter, and compare again",
        description=f"Nothing is written there. Without a filter everything is read. {_ANSWER}",
        tags=_TAGS,
        body=Repairing,
        response=JobView,
        status=202,
        request_example={"reason": "the import of March was cut short"},
        errors=(*_JOB_ERRORS, DifferenceMissing),
    ),
    Route(
        method="GET",
        path=_DIFFERENCES,
        permission="sync:read",
        handler=list_differences,
        operation="listReconciliationDifferences",
        summary="List what differs between systems and what is held of them, the oldest first",
        description=_MASKED,
        tags=_TAGS,
        query=DifferenceQuery,
        response=Page[DifferenceView],
        errors=(ConnectionMissing,),
    ),
    Route(
        method="POST",
        path=f"{_DIFFERENCES}:decide",
        permission="sync:write",
        handler=decide_differences,
        operation="decideReconciliationDifferences",
        summary="Accept, ignore or reopen all differences that fit a filter, or tell by a dry run which these are",
        description=_MASKED,
        tags=_TAGS,
        body=Choosing,
        response=Chosen,
        request_example={"decision": "ignore", "field": "city", "reason": "The branch list follows in May."},
        errors=(ReasonMissing, ConnectionMissing),
    ),
    Route(
        method="GET",
        path=_ONE,
        permission="sync:read",
        handler=show_difference,
        operation="showReconciliationDifference",
        summary="Show both values, the money at stake, since when they differ, and what would mend it",
        description=_MASKED,
        tags=_TAGS,
        response=DifferenceView,
        errors=(DifferenceMissing,),
    ),
    Route(
        method="POST",
        path=f"{_ONE}:accept",
        permission="sync:write",
        handler=accept_difference,
        operation="acceptReconciliationDifference",
        summary="Accept a difference as right while both values stay: it counts as agreeing",
        tags=_TAGS,
        body=Reasoned,
        response=DifferenceView,
        request_example={"reason": "The branch has moved; the CRM follows in May."},
        errors=(DifferenceMissing, ReasonMissing),
    ),
    Route(
        method="POST",
        path=f"{_ONE}:ignore",
        permission="sync:write",
        handler=ignore_difference,
        operation="ignoreReconciliationDifference",
        summary="Ignore a difference while both values stay: it still counts as differing",
        tags=_TAGS,
        body=Reasoned,
        response=DifferenceView,
        request_example={"reason": "A test record."},
        errors=(DifferenceMissing, ReasonMissing),
    ),
    Route(
        method="POST",
        path=f"{_ONE}:reopen",
        permission="sync:write",
        handler=reopen_difference,
        operation="reopenReconciliationDifference",
        summary="Take such a decision back",
        tags=_TAGS,
        response=DifferenceView,
        errors=(DifferenceMissing,),
    ),
    Route(
        method="POST",
        path=f"{_ONE}:repair",
        permission="sync:write",
        handler=repair_difference,
        operation="repairReconciliationDifference",
        summary="Take in that one record as the system holds it now, and compare again",
        description=_ANSWER,
        tags=_TAGS,
        body=RepairingOne,
        response=JobView,
        status=202,
        request_example={"reason": "read before the invoice was corrected"},
        errors=(*_JOB_ERRORS, DifferenceMissing),
    ),
)
