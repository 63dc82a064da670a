"""Routes of mappings: versions of what flows, tried on stored records, put in force, taken back, replayed."""

from typing import Annotated

from msgspec import Meta, Struct

from isthmus.app.http.readable import is_readable, named_connection, readable_type, readable_types
from isthmus.app.mapping_views import (
    MappingFields,
    MappingPlan,
    MappingView,
    fields_to_map,
    fitting,
    mapping_view,
    plan_view,
    planned_mapping,
)
from isthmus.app.scheduling.connections import wish_for
from isthmus.app.scheduling.rereading import REMAP
from isthmus.app.scheduling.views import JobView, job_view
from isthmus.gateway import Call, Page, Paging, Response, Route
from isthmus.kernel.ids import text_of, uuid_of
from isthmus.kernel.status import Status
from isthmus.store.database import Transaction
from isthmus.stream.jobs.board import start
from isthmus.stream.jobs.job import JOB_PREFIX, JobLiving
from isthmus.sync.connections import ConnectionMissing, connection_of
from isthmus.sync.flow_versions import (
    FLOW_PREFIX,
    FlowMissing,
    FlowVersion,
    NotInForce,
    activate_flow,
    flow_of,
    flow_versions,
    roll_back_flow,
    save_flow,
)
from isthmus.sync.flows import FieldFlow, Flow, FlowUnfit
from isthmus.sync.ingest import Store
from isthmus.sync.running import ConnectionPaused, UnknownConnector
from isthmus.sync.runs import Engine

_TAGS = ("mappings",)
_Name = Annotated[str, Meta(min_length=1, max_length=200)]
_Reason = Annotated[str, Meta(min_length=1, max_length=500, description="Why, for those who read the history.")]


class MappingQuery(Paging, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which mappings; `connection` is an id or a name."""

    connection: _Name | None = None
    type: _Name | None = None


class NewMapping(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The next version of what flows between a connection (id or name) and the records of a type, and why.

    Fields that are not named flow both ways, unchanged. `custom` takes further values of what the system sends.
    """

    connection: _Name
    type: _Name
    reason: _Reason
    fields: Annotated[dict[_Name, FieldFlow], Meta(max_length=500)] = {}
    custom: Annotated[dict[_Name, Annotated[str, Meta(max_length=500)]], Meta(max_length=200)] = {}


class PlanningMapping(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many changes are shown at most."""

    limit: Annotated[int, Meta(ge=0, le=200)] = 20


class FieldsQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of which connection (id or name), and records of which type; with `ask` the system is asked what it knows."""

    connection: _Name
    type: _Name
    ask: bool = False


async def list_fields(call: Call) -> MappingFields:
    """List the fields that can be mapped."""
    wanted = call.query(FieldsQuery)
    record_type = readable_type(call, wanted.type)
    async with call.services.database.transaction(call.scope) as tx:
        own = await named_connection(call, tx, wanted.connection)
    engine, store = call.services.of(Engine), call.services.of(Store)
    return await fields_to_map(store, engine, call.scope, own, record_type.name, ask=wanted.ask)


async def list_mappings(call: Call) -> Page[MappingView]:
    """List versions, newest first."""
    wanted, after = call.query(MappingQuery), call.after()
    types = readable_types(call) if wanted.type is None else (readable_type(call, wanted.type).name,)
    async with call.services.database.transaction(call.scope) as tx:
        own = None if wanted.connection is None else (await named_connection(call, tx, wanted.connection)).id
        before = None if after is None else uuid_of(FLOW_PREFIX, after)
        found = await flow_versions(tx, connection_id=own, types=types, before=before, limit=wanted.limit + 1)
    return call.page([mapping_view(each) for each in found], limit=wanted.limit, after=lambda each: each.id)


async def save_mapping(call: Call) -> Response:
    """Keep the next version."""
    wanted = call.body(NewMapping)
    record_type = readable_type(call, wanted.type)
    flow = Flow(type=record_type.name, fields=wanted.fields, custom=wanted.custom)
    async with call.services.database.transaction(call.scope) as tx:
        own = await named_connection(call, tx, wanted.connection)
        schema = call.services.schema
        fit = await fitting(tx, call.services.of(Store), call.services.of(Engine), own.name, flow, schema)
        saved = mapping_view(await save_flow(tx, connection_id=own.id, flow=fit, reason=wanted.reason))
    return Response(value=saved, status=201, headers=(("location", f"/api/v1/mappings/{saved.id}"),))


async def show_mapping(call: Call) -> MappingView:
    """Show a version."""
    async with call.services.database.transaction(call.scope) as tx:
        return mapping_view(await _version(call, tx))


async def plan_mapping(call: Call) -> MappingPlan:
    """Tell what a version would change."""
    shown = call.body(PlanningMapping).limit
    async with call.services.database.transaction(call.scope) as tx:
        found = await _version(call, tx)
        plan = await planned_mapping(tx, call.services.of(Store), call.services.of(Engine), found)
    return plan_view(plan, call.services.schema[found.type], may=call.may, shown=shown)


async def activate_mapping(call: Call) -> MappingView:
    """Put a version in force; what it says is checked again, since connectors change."""
    async with call.services.database.transaction(call.scope) as tx:
        found = await _version(call, tx)
        schema = call.services.schema
        await fitting(tx, call.services.of(Store), call.services.of(Engine), found.connection, found.flow, schema)
        return mapping_view(await activate_flow(tx, found))


async def rollback_mapping(call: Call) -> MappingView:
    """Take back that a version was put in force."""
    async with call.services.database.transaction(call.scope) as tx:
        return mapping_view(await roll_back_flow(tx, await _version(call, tx)))


async def replay_mapping(call: Call) -> Response:
    """Want what was received to be mapped again."""
    async with call.services.database.transaction(call.scope) as tx:
        found = await _version(call, tx)
        if not found.in_force:
            raise NotInForce(f"Version {found.number} is not in force.", fix="Activate it first.")
        own = await connection_of(tx, found.connection_id)
        if own.status == Status.PAUSED:
            raise ConnectionPaused(f"{own.name!r} is paused: {own.reason}", fix="Resume it first.")
        made = job_view(await start(tx, wish_for(own, REMAP, type=found.type)))
    return Response(value=made, status=202, headers=(("location", f"/api/v1/jobs/{made.id}"),))


async def _version(call: Call, tx: Transaction) -> FlowVersion:
    """Return the version in the path; one on records that the caller may not read is not there for it."""
    own = call.id_in_path("mapping_id", FLOW_PREFIX, missing=FlowMissing)
    found = await flow_of(tx, own)
    if not is_readable(call, found.type):
        shown = text_of(FLOW_PREFIX, own)
        raise FlowMissing(f"There is no mapping {shown}.", fix="List them: GET /api/v1/mappings")
    return found


_ALL = "/api/v1/mappings"
_ONE = f"{_ALL}/{{mapping_id}}"
ROUTES = (
    Route(
        method="GET",
        path=_ALL,
        permission="sync:read",
        handler=list_mappings,
        summary="List versions of mappings, newest first, and which are in force",
        tags=_TAGS,
        query=MappingQuery,
        response=Page[MappingView],
        errors=(ConnectionMissing,),
    ),
    Route(
        method="POST",
        path=_ALL,
        permission="sync:write",
        handler=save_mapping,
        operation="saveFlowMapping",
        summary="Keep the next version of what flows between a connection and the records of a type",
        description="It is checked against the record type and the connector, and changes nothing until activated.",
        tags=_TAGS,
        body=NewMapping,
        response=MappingView,
        status=201,
        request_example={
            "connection": "crm",
            "type": "sales.account",
            "fields": {"owner_id": {"direction": "in"}, "city": {"transforms": ["collapse"]}},
            "custom": {"segment": "Segment__c"},
            "reason": "Owners are kept in the CRM.",
        },
        errors=(FlowUnfit, ConnectionMissing, UnknownConnector),
    ),
    Route(
        method="GET",
        path="/api/v1/mapping-fields",
        permission="sync:read",
        handler=list_fields,
        summary="List the fields of what a system sends, custom ones among them, and what becomes of each",
        description="Up to 1,000 rows are looked at, as they were received; no value is told. `ask` has the system "
        "describe its fields as well, for which it is called.",
        tags=_TAGS,
        query=FieldsQuery,
        response=MappingFields,
        errors=(ConnectionMissing, UnknownConnector),
    ),
    Route(
        method="GET",
        path=_ONE,
        permission="sync:read",
        handler=show_mapping,
        summary="Show a version of a mapping",
        tags=_TAGS,
        response=MappingView,
        errors=(FlowMissing,),
    ),
    Route(
        method="POST",
        path=f"{_ONE}:plan",
        permission="sync:read",
        handler=plan_mapping,
        summary="Tell what a version would change on the records as they were received, and on what is told of them",
        description="Nothing is changed. Up to 10,000 records are looked at as they came, and 2,000 as they would be "
        "told. Personal values are masked without the permission to read.",
        tags=_TAGS,
        body=PlanningMapping,
        response=MappingPlan,
        request_example={"limit": 50},
        errors=(FlowMissing, UnknownConnector),
    ),
    Route(
        method="POST",
        path=f"{_ONE}:activate",
        permission="sync:write",
        handler=activate_mapping,
        summary="Put a version in force: every run that begins from now on uses it",
        tags=_TAGS,
        response=MappingView,
        errors=(FlowMissing, FlowUnfit, UnknownConnector),
    ),
    Route(
        method="POST",
        path=f"{_ONE}:rollback",
        permission="sync:write",
        handler=rollback_mapping,
        summary="Take back that this version was put in force: the one before it is, or the connector's own",
        tags=_TAGS,
        response=MappingView,
        errors=(FlowMissing, NotInForce),
    ),
    Route(
        method="POST",
        path=f"{_ONE}:replay",
        permission="sync:write",
        handler=replay_mapping,
        summary="Map again what was received, with this version, which is in force; nothing is read from the system",
        description=f"Answered with 202 and the job (`{JOB_PREFIX}_…`), at `Location`.",
        tags=_TAGS,
        response=JobView,
        status=202,
        errors=(FlowMissing, NotInForce, ConnectionPaused, JobLiving),
    ),
)
