"""Definitions as they are kept: each edit is a new version, and what runs goes on with the one that it began with."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Annotated, LiteralString

import msgspec
from msgspec import Meta, Struct
from psycopg.types.json import Jsonb

from isthmus.audit.trace import trace
from isthmus.kernel.errors import Conflicting, NotFound
from isthmus.store.database import Transaction
from isthmus.stream.workflows.definition import Definition
from isthmus.stream.workflows.subject import Standard

Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,59}$")]
_SELECT: LiteralString = """
select w.name, w.subject_type, w.version, w.standard, w.paused, w.reason, w.updated_at, w.updated_by, v.definition
from workflow w join workflow_version v on v.workspace = w.workspace and v.name = w.name and v.version = w.version
where w.workspace = current_workspace()
"""
_INSERT: LiteralString = """
insert into workflow (workspace, name, subject_type, version, standard, updated_at, updated_by)
values (current_workspace(), %s, %s, %s, %s, %s, %s) on conflict do nothing
"""
_VERSION: LiteralString = """
insert into workflow_version (workspace, name, version, definition, note, made_at, made_by)
values (current_workspace(), %s, %s, %s, %s, %s, %s)
"""
_CHANGE: LiteralString = """
update workflow set version = %s, updated_at = %s, updated_by = %s where workspace = current_workspace() and name = %s
"""
_REST: LiteralString = """
update workflow set paused = %s, reason = %s, updated_at = %s, updated_by = %s
where workspace = current_workspace() and name = %s and paused <> %s
"""
_LOCK: LiteralString = "select from workflow where workspace = current_workspace() and name = %s for update"
_VERSIONS: LiteralString = """
select version, definition, note, made_at, made_by from workflow_version
where workspace = current_workspace() and name = %s order by version desc
"""
_NOTED: LiteralString = """
select version, definition, note, made_at, made_by from workflow_version
where workspace = current_workspace() and name = %s and note = any(%s) order by version desc limit 1
"""
STANDARD = "standard"
"""The note of a version that came with the product."""


class WorkflowMissing(NotFound):
    """There is no such workflow."""

    code, title = "workflow-missing", "There is no such workflow"


class WorkflowOther(Conflicting):
    """The workflow follows records of another type."""

    code, title = "workflow-other-subject", "The workflow follows other records"


class WorkflowStands(Conflicting):
    """The workflow is in the state that was asked for."""

    code, title = "workflow-stands", "The workflow is in this state already"


class WorkflowPaused(Conflicting):
    """The workflow rests, so nothing begins."""

    code, title = "workflow-paused", "The workflow rests"


class Workflow(Struct, frozen=True, kw_only=True):
    """A workflow as it stands, with its newest version. While it is paused nothing begins and nothing goes on."""

    name: str
    subject_type: str
    version: int
    standard: bool
    paused: bool
    reason: str
    updated_at: datetime
    updated_by: str
    definition: Definition


class Version(Struct, frozen=True, kw_only=True):
    """One version, and who made it."""

    version: int
    definition: Definition
    note: str
    made_at: datetime
    made_by: str


async def workflows(tx: Transaction) -> list[Workflow]:
    """Return all workflows by their names."""
    return [_workflow(row) for row in await (await tx.connection.execute(_SELECT + " order by w.name")).fetchall()]


async def workflow_of(tx: Transaction, name: str) -> Workflow:
    """Return a workflow; raises WorkflowMissing."""
    found = await known(tx, name)
    if found is None:
        raise WorkflowMissing(f"There is no workflow {name!r}.", fix="List them: isthmus workflows ls")
    return found


async def known(tx: Transaction, name: str) -> Workflow | None:
    """Return a workflow, or None."""
    row = await (await tx.connection.execute(_SELECT + " and w.name = %s", (name,), prepare=True)).fetchone()
    return None if row is None else _workflow(row)


async def versions(tx: Transaction, name: str) -> list[Version]:
    """Return all versions, the newest first; raises WorkflowMissing."""
    await workflow_of(tx, name)
    rows = await (await tx.connection.execute(_VERSIONS, (name,))).fetchall()
    return [_version(row) for row in rows]


async def noted(tx: Transaction, name: str, notes: Sequence[str]) -> Version | None:
    """Return the newest version with one of these notes, or None."""
    row = await (await tx.connection.execute(_NOTED, (name, list(notes)))).fetchone()
    return None if row is None else _version(row)


async def install(tx: Transaction, subject_type: str, standards: Iterable[Standard], *, version: int = 1) -> None:
    """See that a workspace has its standard workflows; what is there stays as it is."""
    scope = tx.scope
    for each in standards:
        row = (each.name, subject_type, version, True, scope.now, scope.actor)
        if (await tx.connection.execute(_INSERT, row)).rowcount == 1:
            await _keep(tx, each.name, version, each.definition, note=STANDARD)


async def edit(
    tx: Transaction,
    name: str,
    definition: Definition,
    *,
    subject_type: str,
    note: str = "",
    at_least: int = 1,
) -> Workflow:
    """Write a new version, of a workflow that is there or of a new one; an edit that changes nothing makes none.

    The number of the version is the next one, or `at_least`. Raises WorkflowOther.
    """
    scope = tx.scope
    # Whoever waited here for another edit reads what that one wrote, which one statement with a lock would not.
    await tx.connection.execute(_LOCK, (name,))
    before = await known(tx, name)
    if before is not None and before.subject_type != subject_type:
        raise WorkflowOther(
            f"{name!r} follows records of type {before.subject_type}.", fix="Name that type, or choose another name."
        )
    if before is not None and before.definition == definition:
        return before
    version = max(at_least, 1 if before is None else before.version + 1)
    if before is None:
        made = await tx.connection.execute(_INSERT, (name, subject_type, version, False, scope.now, scope.actor))
        if made.rowcount != 1:
            return await edit(tx, name, definition, subject_type=subject_type, note=note, at_least=at_least)
    await _keep(tx, name, version, definition, note=note)
    await tx.connection.execute(_CHANGE, (version, scope.now, scope.actor, name))
    details = {"name": name, "before": None if before is None else before.version, "after": version, "note": note}
    await trace(tx, action="workflow.edited", resource="workflow", record_id=None, details=details)
    return await workflow_of(tx, name)


async def rest(tx: Transaction, name: str, *, reason: str) -> Workflow:
    """Let nothing begin and nothing go on; raises WorkflowMissing and WorkflowStands."""
    return await _turn(tx, name, paused=True, reason=reason)


async def wake(tx: Transaction, name: str) -> Workflow:
    """Let it begin and go on again; raises WorkflowMissing and WorkflowStands."""
    return await _turn(tx, name, paused=False, reason="")


async def _turn(tx: Transaction, name: str, *, paused: bool, reason: str) -> Workflow:
    row = (paused, reason, tx.scope.now, tx.scope.actor, name, paused)
    if (await tx.connection.execute(_REST, row)).rowcount != 1:
        await workflow_of(tx, name)
        state = "rests" if paused else "goes on"
        raise WorkflowStands(f"{name!r} {state} already.", fix="See how it stands: isthmus workflows ls")
    action = "workflow.paused" if paused else "workflow.resumed"
    await trace(tx, action=action, resource="workflow", record_id=None, details={"name": name, "reason": reason})
    return await workflow_of(tx, name)


async def _keep(tx: Transaction, name: str, version: int, definition: Definition, *, note: str) -> None:
    given = Jsonb(msgspec.to_builtins(definition))
    await tx.connection.execute(_VERSION, (name, version, given, note, tx.scope.now, tx.scope.actor))


def _version(row: Sequence[object]) -> Version:
    return msgspec.convert(dict(zip(Version.__struct_fields__, row, strict=True)), Version)


def _workflow(row: Sequence[object]) -> Workflow:
    return msgspec.convert(dict(zip(Workflow.__struct_fields__, row, strict=True)), Workflow)
