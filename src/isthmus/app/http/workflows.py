"""Routes of workflows: what they say in which version, and the runs of them, which people start, rest and cancel."""

from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta, Struct

from isthmus.app.workflow_views import (
    TEXT_MAX,
    NewVersion,
    RunView,
    UnknownSubject,
    VersionView,
    WorkflowView,
    cancelled,
    definition_of,
    edited,
    known,
    paused,
    record_id,
    resumed,
    run_view,
    shown,
    sight_of,
    started,
    subject_of,
    version_view,
    workflow_view,
)
from isthmus.app.workflows import subjects
from isthmus.gateway import Call, Page, Paging, Route
from isthmus.kernel.ids import uuid_of
from isthmus.kernel.marks import Json
from isthmus.store.database import Transaction
from isthmus.stream.workflows import runs, shelf
from isthmus.stream.workflows.advance import SubjectMissing
from isthmus.stream.workflows.definition import BadWorkflow
from isthmus.stream.workflows.runs import RUN_PREFIX, AlreadyRuns, RunMissing, RunOver, State
from isthmus.stream.workflows.shelf import WorkflowMissing, WorkflowOther, WorkflowPaused, WorkflowStands
from isthmus.stream.workflows.subject import Run
from isthmus.sync.ingest import Store
from isthmus.sync.runs import Engine

_TAGS = ("workflows",)
_Text = Annotated[str, Meta(max_length=TEXT_MAX)]
_EXAMPLE: dict[str, Json] = {
    "subject": "sales.lead",
    "title": "Webinar guests",
    "steps": [
        {"kind": "task", "title": "Send the recording", "due_hours": 24},
        {"kind": "escalate", "after_hours": 24},
        {"kind": "wait", "hours": 72},
        {"kind": "condition", "where": [{"field": "status", "is": "one_of", "value": ["new", "working"]}]},
        {"kind": "notify", "text": "No answer after the webinar"},
    ],
    "note": "first draft",
}


class Stopping(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why."""

    reason: _Text = ""


class Starting(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """For which record; `owner` has what is to be done where the domain asks for one."""

    subject_id: Annotated[str, Meta(min_length=1, max_length=TEXT_MAX)]
    owner: _Text = ""


class RunQuery(Paging, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which runs."""

    workflow: _Text | None = None
    state: State | None = None
    subject_id: _Text | None = None


@dataclass(frozen=True)
class _Held:
    """What steps work with."""

    store: Store
    engine: Engine


async def list_workflows(call: Call) -> Page[WorkflowView]:
    """List workflows by name."""
    paging, after, types = call.query(Paging), call.after(), _readable(call)
    async with call.services.database.transaction(call.scope) as tx:
        found = [workflow_view(each) for each in await shown(tx) if each.subject_type in types]
    rest = [each for each in found if after is None or each.name > after]
    return call.page(rest[: paging.limit + 1], limit=paging.limit, after=lambda each: each.name)


async def show_workflow(call: Call) -> WorkflowView:
    """Show a workflow."""
    async with call.services.database.transaction(call.scope) as tx:
        found = await known(tx, call.path["name"])
    call.require(f"{_domain(found.subject_type)}:read")
    return workflow_view(found)


async def edit_workflow(call: Call) -> WorkflowView:
    """Write a new version."""
    wanted, name = call.body(NewVersion), call.path["name"]
    async with call.services.database.transaction(call.scope) as tx:
        subject = await subject_of(tx, name, wanted)
        call.require(f"{_domain(subject)}:write")
        for beyond in sorted(sight_of(call.services.schema, subject).beyond(definition_of(wanted).paths)):
            call.require(f"{_domain(beyond)}:read")
        return workflow_view(await edited(tx, call.services.schema, name, wanted))


async def list_versions(call: Call) -> Page[VersionView]:
    """List versions, newest first."""
    paging, after = call.query(Paging), call.after()
    async with call.services.database.transaction(call.scope) as tx:
        found = await known(tx, call.path["name"])
        call.require(f"{_domain(found.subject_type)}:read")
        versions = [version_view(each) for each in await shelf.versions(tx, found.name)]
    rest = [each for each in versions if after is None or each.version < int(after)]
    return call.page(rest[: paging.limit + 1], limit=paging.limit, after=lambda each: str(each.version))


async def pause_workflow(call: Call) -> WorkflowView:
    """Let a workflow rest."""
    async with call.services.database.transaction(call.scope) as tx:
        name = await _permitted(call, tx)
        return workflow_view(await paused(tx, name, reason=call.body(Stopping).reason))


async def resume_workflow(call: Call) -> WorkflowView:
    """Let a workflow go on."""
    async with call.services.database.transaction(call.scope) as tx:
        return workflow_view(await resumed(tx, await _permitted(call, tx)))


async def start_workflow(call: Call) -> RunView:
    """Start a workflow."""
    wanted = call.body(Starting)
    async with call.services.database.transaction(call.scope) as tx:
        name = await _permitted(call, tx)
        run = await started(tx, _held(call), name, wanted.subject_id, owner=wanted.owner)
    return run_view(run, call.services.schema)


async def list_runs(call: Call) -> Page[RunView]:
    """List runs, newest first."""
    wanted, after, types = call.query(RunQuery), call.after(), _readable(call)
    schema = call.services.schema
    subject = None if wanted.subject_id is None else record_id(schema, wanted.subject_id)
    async with call.services.database.transaction(call.scope) as tx:
        found = await runs.runs(
            tx,
            name=wanted.workflow,
            state=wanted.state,
            subject=subject,
            types=types,
            before=None if after is None else uuid_of(RUN_PREFIX, after),
            limit=wanted.limit + 1,
        )
    return call.page([run_view(each, schema) for each in found], limit=wanted.limit, after=lambda each: each.id)


async def show_run(call: Call) -> RunView:
    """Show a run."""
    async with call.services.database.transaction(call.scope) as tx:
        found = await runs.run_of(tx, call.id_in_path("run_id", RUN_PREFIX))
    if found.subject_type not in _readable(call):
        raise RunMissing("There is no run with this id.", fix="List them: GET /api/v1/workflow-runs")
    return run_view(found, call.services.schema)


async def cancel_run(call: Call) -> RunView:
    """Cancel a run."""
    async with call.services.database.transaction(call.scope) as tx:
        run = await _run(call, tx)
        done = await cancelled(tx, _held(call), run.id, reason=call.body(Stopping).reason)
    return run_view(done, call.services.schema)


async def pause_run(call: Call) -> RunView:
    """Let a run rest."""
    async with call.services.database.transaction(call.scope) as tx:
        return run_view(await runs.pause(tx, (await _run(call, tx)).id), call.services.schema)


async def resume_run(call: Call) -> RunView:
    """Let a run go on."""
    async with call.services.database.transaction(call.scope) as tx:
        return run_view(await runs.resume(tx, (await _run(call, tx)).id), call.services.schema)


async def _permitted(call: Call, tx: Transaction) -> str:
    """Return the name of the workflow in the path; raises Denied where its records may not be written."""
    found = await known(tx, call.path["name"])
    call.require(f"{_domain(found.subject_type)}:write")
    return found.name


async def _run(call: Call, tx: Transaction) -> Run:
    """Return the run in the path; raises Denied where its records may not be written."""
    found = await runs.run_of(tx, call.id_in_path("run_id", RUN_PREFIX))
    call.require(f"{_domain(found.subject_type)}:write")
    return found


def _readable(call: Call) -> list[str]:
    """Return the types of which the caller may read all records."""
    schema = call.services.schema
    return [
        name
        for name in sorted(subjects().by_type)
        if call.may(f"{_domain(name)}:read") and call.seen(schema[name]) is None
    ]


def _held(call: Call) -> _Held:
    return _Held(call.services.of(Store), call.services.of(Engine))


def _domain(type_name: str) -> str:
    return type_name.partition(".")[0]


_ONE, _RUN = "/api/v1/workflows/{name}", "/api/v1/workflow-runs/{run_id}"
_GONE, _NOT_NOW = (WorkflowMissing,), (RunMissing, RunOver)
ROUTES = (
    Route(
        method="GET",
        path="/api/v1/workflows",
        permission="stream:read",
        handler=list_workflows,
        summary="List workflows, with what each says now",
        tags=_TAGS,
        query=Paging,
        response=Page[WorkflowView],
    ),
    Route(
        method="GET",
        path=_ONE,
        permission="stream:read",
        handler=show_workflow,
        summary="Show a workflow",
        tags=_TAGS,
        response=WorkflowView,
        errors=_GONE,
    ),
    Route(
        method="PUT",
        path=_ONE,
        permission="stream:write",
        handler=edit_workflow,
        summary="Write a new version of a workflow, or a new workflow",
        description="What runs goes on with the version that it began with.",
        tags=_TAGS,
        body=NewVersion,
        response=WorkflowView,
        request_example=_EXAMPLE,
        errors=(UnknownSubject, BadWorkflow, WorkflowOther),
    ),
    Route(
        method="GET",
        path=f"{_ONE}/versions",
        permission="stream:read",
        handler=list_versions,
        summary="List the versions of a workflow, newest first",
        tags=_TAGS,
        query=Paging,
        response=Page[VersionView],
        errors=_GONE,
    ),
    Route(
        method="POST",
        path=f"{_ONE}:pause",
        permission="stream:write",
        handler=pause_workflow,
        summary="Let a workflow rest, with all its runs",
        tags=_TAGS,
        body=Stopping,
        response=WorkflowView,
        request_example={"reason": "the texts are rewritten"},
        errors=(WorkflowMissing, WorkflowStands),
    ),
    Route(
        method="POST",
        path=f"{_ONE}:resume",
        permission="stream:write",
        handler=resume_workflow,
        summary="Let a workflow go on: what fell due meanwhile is done at once",
        tags=_TAGS,
        response=WorkflowView,
        errors=(WorkflowMissing, WorkflowStands),
    ),
    Route(
        method="POST",
        path=f"{_ONE}:start",
        permission="stream:write",
        handler=start_workflow,
        summary="Start a workflow for a record",
        tags=_TAGS,
        body=Starting,
        response=RunView,
        status=201,
        request_example={"subject_id": "acct_01JD3Q4B8M0000000000000000", "owner": "eva"},
        errors=(WorkflowMissing, SubjectMissing, AlreadyRuns, WorkflowPaused),
    ),
    Route(
        method="GET",
        path="/api/v1/workflow-runs",
        permission="stream:read",
        handler=list_runs,
        summary="List runs of workflows, newest first",
        tags=_TAGS,
        query=RunQuery,
        response=Page[RunView],
    ),
    Route(
        method="GET",
        path=_RUN,
        permission="stream:read",
        handler=show_run,
        summary="Show a run with its log",
        tags=_TAGS,
        response=RunView,
        errors=(RunMissing,),
    ),
    Route(
        method="POST",
        path=f"{_RUN}:cancel",
        permission="stream:write",
        handler=cancel_run,
        summary="Cancel a run",
        tags=_TAGS,
        body=Stopping,
        response=RunView,
        request_example={"reason": "they called us"},
        errors=_NOT_NOW,
    ),
    Route(
        method="POST",
        path=f"{_RUN}:pause",
        permission="stream:write",
        handler=pause_run,
        summary="Let a run rest",
        tags=_TAGS,
        response=RunView,
        errors=_NOT_NOW,
    ),
    Route(
        method="POST",
        path=f"{_RUN}:resume",
        permission="stream:write",
        handler=resume_run,
        summary="Let a run go on: what fell due meanwhile is done at once",
        tags=_TAGS,
        response=RunView,
        errors=_NOT_NOW,
    ),
)
