"""Follow-ups: the workflow `follow-up` on leads, which begins with a capture."""

from collections.abc import Sequence
from uuid import UUID

from msgspec import Struct

from isthmus.domains.sales.settings import FollowUpDefinition
from isthmus.kernel.errors import Conflicting
from isthmus.store.database import Transaction
from isthmus.store.schema import Schema
from isthmus.stream.workflows import runs, shelf
from isthmus.stream.workflows.definition import BadWorkflow, check
from isthmus.stream.workflows.runs import latest as latest_runs
from isthmus.stream.workflows.shelf import Workflow
from isthmus.stream.workflows.sight import Latest, Sight
from isthmus.stream.workflows.subject import Run, Standard

NAME, LEAD, CAPTURED = "follow-up", "sales.lead", "captured"
STEPS = frozenset({"wait", "condition", "task", "send", "notify", "escalate"})
LATEST = {"health": Latest(type="success.health_snapshot", by="account_id", at="at", of="account_id")}
SETTINGS = "settings"
"""The note of a version that the settings of the workspace gave."""


class NoFollowUp(Conflicting):
    """The lead has no follow-up in the state that the change needs."""

    code, title = "no-follow-up", "There is no such follow-up"


class Following(Struct, frozen=True, kw_only=True):
    """The follow-up that a capture begins; `obstacle` says why none does."""

    workflow: Workflow
    obstacle: str = ""


async def following(tx: Transaction, schema: Schema, settings: FollowUpDefinition) -> Following:
    """Return the follow-up that begins now: what the settings say where they were edited since, or the workflow.

    What cannot be followed in the settings becomes no version, and nothing begins until it is mended.
    """
    found = await shelf.known(tx, NAME)
    if found is None or await _edited(tx, settings, found):
        why = _fault_of(schema, settings)
        if found is None:
            standard = FollowUpDefinition() if why else settings
            given = Standard(name=NAME, definition=standard.definition)
            await shelf.install(tx, LEAD, (given,), version=standard.version)
            found = await shelf.workflow_of(tx, NAME)
        if why:
            return Following(workflow=found, obstacle=f"The follow-up in the settings cannot be followed: {why}")
        found = await shelf.edit(
            tx, NAME, settings.definition, subject_type=LEAD, note=SETTINGS, at_least=settings.version
        )
    if not settings.enabled:
        return Following(workflow=found, obstacle="Follow-ups are switched off in the settings.")
    if found.paused:
        return Following(workflow=found, obstacle=f"Follow-ups rest. {found.reason}".strip())
    return Following(workflow=found)


async def _edited(tx: Transaction, settings: FollowUpDefinition, found: Workflow) -> bool:
    """Tell whether the settings say something new: a higher version, or other steps than they said last.

    Settings that were never given say nothing, so that a new standard replaces no workflow that somebody edited.
    """
    definition = settings.definition
    if definition == found.definition:
        return False
    if settings.version > found.version:
        return True
    said = await shelf.noted(tx, NAME, (shelf.STANDARD, SETTINGS))
    never = (said is None or said.note == shelf.STANDARD) and settings == FollowUpDefinition()
    return not never and (said is None or said.definition != definition)


def _fault_of(schema: Schema, settings: FollowUpDefinition) -> str:
    sight = Sight.of(schema, schema[LEAD], LATEST)
    try:
        check(settings.definition, sight=sight, can=STEPS, cues={}, ends={})
    except BadWorkflow as error:
        return f"{error.faults[0].pointer}: {error.faults[0].detail}"
    return ""


async def start(tx: Transaction, lead_ids: Sequence[UUID], workflow: Workflow) -> None:
    """Start a follow-up on each lead that has none running; its first step is due at once."""
    await runs.start(tx, workflow, lead_ids, cue=CAPTURED)


async def cancel(tx: Transaction, lead_ids: Sequence[UUID], *, reason: str) -> int:
    """End every workflow that runs or rests on these leads; returns how many those were."""
    return len(await runs.cancel(tx, LEAD, lead_ids, reason=reason))


async def latest(tx: Transaction, lead_ids: Sequence[UUID]) -> dict[UUID, Run]:
    """Return the last follow-up of each lead that ever had one."""
    return await latest_runs(tx, NAME, lead_ids)


async def pause(tx: Transaction, lead_id: UUID) -> None:
    """Let a follow-up rest; raises NoFollowUp."""
    await runs.pause(tx, await _in_state(tx, lead_id, "running"))


async def resume(tx: Transaction, lead_id: UUID) -> None:
    """Let a resting follow-up go on where it was: what fell due meanwhile is done at once. Raises NoFollowUp."""
    await runs.resume(tx, await _in_state(tx, lead_id, "paused"))


async def _in_state(tx: Transaction, lead_id: UUID, state: str) -> UUID:
    found = (await latest(tx, [lead_id])).get(lead_id)
    if found is None or found.state != state:
        raise NoFollowUp(f"No follow-up of this lead is {state}.", fix="Read the lead to see how it stands.")
    return found.id
