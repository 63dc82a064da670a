"""Workflows and their runs as they are shown and changed, over HTTP and at the terminal alike."""

import re
from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta, Struct

from isthmus.app.workflows import Holding, crew_of, installed, subjects
from isthmus.kernel.errors import Invalid
from isthmus.kernel.ids import text_of, uuid_of
from isthmus.kernel.marks import Json
from isthmus.store.database import Transaction
from isthmus.store.schema import Schema
from isthmus.stream.workflows import runs, shelf
from isthmus.stream.workflows.definition import STEPS_MAX, Definition, Step, check
from isthmus.stream.workflows.runs import RUN_PREFIX
from isthmus.stream.workflows.shelf import Version, Workflow
from isthmus.stream.workflows.sight import Sight
from isthmus.stream.workflows.subject import Entry, Run

TEXT_MAX = 200
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,59}")
_NOT_GIVEN = frozenset({"name", "version", "status", "reason", "standard", "updated_at", "updated_by"})
"""What is shown of a workflow and not given with an edit."""


class UnknownSubject(Invalid):
    """No workflow can follow records of that type."""

    code, title = "unknown-subject", "No workflow follows such records"


class WorkflowView(Struct, frozen=True, kw_only=True):
    """A workflow with its newest version; `subject` is the type of the records it follows."""

    name: str
    subject: str
    title: str
    about: str
    version: int
    status: str
    reason: str
    standard: bool
    cues: list[str]
    again_after_days: int
    ends_on: list[str]
    steps: list[Step]
    updated_at: datetime
    updated_by: str


class VersionView(Struct, frozen=True, kw_only=True):
    """A version as it was written, for ever; `note` says why."""

    version: int
    title: str
    note: str
    made_at: datetime
    made_by: str
    cues: list[str]
    ends_on: list[str]
    steps: list[Step]


class RunView(Struct, frozen=True, kw_only=True):
    """A run with the version that it follows to its end: `next_step` is due at `due_at`, `log` tells what was done.

    `record` stands for the run, such as the intervention of a playbook.
    """

    id: str
    workflow: str
    version: int
    subject: str
    subject_id: str
    state: str
    reason: str
    cue: str
    position: int
    next_step: Step | None
    due_at: datetime | None
    started_at: datetime
    started_by: str
    ended_at: datetime | None
    record: str | None
    log: list[Entry]


class NewVersion(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a workflow says from now on; `subject` is needed for a new one. Runs keep the version they began with."""

    title: Annotated[str, Meta(min_length=1, max_length=TEXT_MAX)]
    steps: Annotated[tuple[Step, ...], Meta(max_length=STEPS_MAX)]
    about: Annotated[str, Meta(max_length=500)] = ""
    cues: Annotated[tuple[str, ...], Meta(max_length=20)] = ()
    again_after_days: Annotated[int, Meta(ge=0, le=3650)] = 30
    ends_on: Annotated[tuple[str, ...], Meta(max_length=20)] = ()
    subject: Annotated[str, Meta(max_length=TEXT_MAX)] = ""
    note: Annotated[str, Meta(max_length=TEXT_MAX)] = ""


def workflow_view(found: Workflow) -> WorkflowView:
    """Return a workflow as it is shown."""
    said = found.definition
    return WorkflowView(
        name=found.name,
        subject=found.subject_type,
        title=said.title,
        about=said.about,
        version=found.version,
        status="paused" if found.paused else "healthy",
        reason=found.reason,
        standard=found.standard,
        cues=list(said.cues),
        again_after_days=said.again_after_days,
        ends_on=list(said.ends_on),
        steps=list(said.steps),
        updated_at=found.updated_at,
        updated_by=found.updated_by,
    )


def version_view(found: Version) -> VersionView:
    """Return a version as it is shown."""
    said = found.definition
    return VersionView(
        version=found.version,
        title=said.title,
        note=found.note,
        made_at=found.made_at,
        made_by=found.made_by,
        cues=list(said.cues),
        ends_on=list(said.ends_on),
        steps=list(said.steps),
    )


def run_view(run: Run, schema: Schema) -> RunView:
    """Return a run as it is shown."""
    steps = run.definition.steps
    going = run.ended_at is None and run.position < len(steps)
    kept = subjects().by_type[run.subject_type].keeps
    own = text_of(schema[kept].prefix, run.own_record) if kept and run.own_record is not None else None
    return RunView(
        id=text_of(RUN_PREFIX, run.id),
        workflow=run.name,
        version=run.version,
        subject=run.subject_type,
        subject_id=text_of(schema[run.subject_type].prefix, run.subject_id),
        state=run.state,
        reason=run.reason,
        cue=run.cue,
        position=run.position,
        next_step=steps[run.position] if going else None,
        due_at=run.due_at,
        started_at=run.started_at,
        started_by=run.started_by,
        ended_at=run.ended_at,
        record=own,
        log=run.log,
    )


async def shown(tx: Transaction) -> list[Workflow]:
    """Return all workflows, with the standard ones."""
    await installed(tx)
    return await shelf.workflows(tx)


async def known(tx: Transaction, name: str) -> Workflow:
    """Return a workflow, also a standard one that nobody looked at yet; raises WorkflowMissing."""
    await installed(tx)
    return await shelf.workflow_of(tx, name)


async def subject_of(tx: Transaction, name: str, wanted: NewVersion) -> str:
    """Return the type of records that an edit is about; raises UnknownSubject for a new workflow without one."""
    await installed(tx)
    before = await shelf.known(tx, name)
    subject = wanted.subject or ("" if before is None else before.subject_type)
    if subject not in subjects().by_type:
        there = ", ".join(sorted(subjects().by_type))
        raise UnknownSubject(f"No workflow follows {subject or 'nothing'!r}.", fix=f"Say `subject`: {there}.")
    return subject


def definition_of(wanted: NewVersion) -> Definition:
    """Return what an edit says."""
    return Definition(
        title=wanted.title,
        steps=wanted.steps,
        about=wanted.about,
        cues=wanted.cues,
        again_after_days=wanted.again_after_days,
        ends_on=wanted.ends_on,
    )


def sight_of(schema: Schema, subject: str) -> Sight:
    """Return what conditions on records of a type may look at."""
    return Sight.of(schema, schema[subject], subjects().by_type[subject].latest)


async def edited(tx: Transaction, schema: Schema, name: str, wanted: NewVersion) -> Workflow:
    """Write a new version; raises UnknownSubject, BadWorkflow and WorkflowOther."""
    subject = await subject_of(tx, name, wanted)
    if not NAME.fullmatch(name):
        raise Invalid(f"{name!r} is no name of a workflow.", fix="Use small letters, digits and hyphens, at most 60.")
    definition = definition_of(wanted)
    declared = subjects().by_type[subject]
    check(definition, sight=sight_of(schema, subject), can=declared.can, cues=declared.cues, ends=declared.ends)
    return await shelf.edit(tx, name, definition, subject_type=subject, note=wanted.note)


async def resumed(tx: Transaction, name: str) -> Workflow:
    """Let a workflow go on, with all its runs: what fell due meanwhile is done at once."""
    await installed(tx)
    found = await shelf.wake(tx, name)
    await runs.wake_all(tx, name)
    return found


async def paused(tx: Transaction, name: str, *, reason: str) -> Workflow:
    """Let a workflow rest, with all its runs."""
    await installed(tx)
    return await shelf.rest(tx, name, reason=reason)


async def started(tx: Transaction, holding: Holding, name: str, subject_id: str, *, owner: str = "") -> Run:
    """Begin a workflow for a record because somebody says so.

    Raises WorkflowMissing, WorkflowPaused, AlreadyRuns, SubjectMissing and InvalidId.
    """
    workflow = await known(tx, name)
    subject = uuid_of(holding.store.schema[workflow.subject_type].prefix, subject_id)
    run = await crew_of(holding).begin(tx, workflow, subject, cue="", owner=owner, by_hand=True)
    if run is None:
        raise AssertionError
    return run


async def cancelled(tx: Transaction, holding: Holding, own: UUID, *, reason: str) -> Run:
    """Cancel a run, and close what stands for it; raises RunMissing and RunOver."""
    run = await runs.end(tx, own, reason=reason or f"Cancelled by {tx.scope.actor}.")
    await crew_of(holding).closed(tx, [own], reason=run.reason)
    return run


def record_id(schema: Schema, text: str) -> UUID:
    """Return the id of a record of any type from its outside form; raises InvalidId."""
    prefix = text.partition("_")[0]
    named = next((each.prefix for each in schema if each.prefix == prefix), RUN_PREFIX)
    return uuid_of(named, text)


def read_version(text: str) -> NewVersion:
    """Read a definition out of JSON, such as what a workflow is shown as; raises Invalid."""
    try:
        given = msgspec.json.decode(text, type=dict[str, Json])
        return msgspec.convert({name: value for name, value in given.items() if name not in _NOT_GIVEN}, NewVersion)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise Invalid(f"The definition cannot be read: {error}.", fix="Start from: isthmus workflows show") from error
