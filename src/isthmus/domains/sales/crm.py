"""The step of the pipeline that happens elsewhere: a lead waits until the connected CRM has it."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import LiteralString
from uuid import UUID

import msgspec
from msgspec import Struct

from isthmus.domains.sales.records import LeadStep, LeadStepKind, LeadStepState
from isthmus.kernel.hlc import moment_of
from isthmus.kernel.marks import Json
from isthmus.store.database import Scope, Transaction
from isthmus.store.records import Stored, find
from isthmus.sync.connections import Connection, connections
from isthmus.sync.connector import Connector
from isthmus.sync.ingest import Store
from isthmus.sync.intake import edit_many

LEAD = "sales.lead"
LOOKS_MAX = 200
FIRST_LOOK = timedelta(seconds=2)
_BACKOFF_S_MAX = 300
_PLACES: LiteralString = """
select distinct on (record_id) record_id, external_id, hlc from claim
where workspace = current_workspace() and record_id = any(%s) and system = %s and not deleted
order by record_id, hlc desc
"""
_WAIT: LiteralString = """
insert into crm_waiting (workspace, lead_id, system, check_at)
select current_workspace(), lead_id, %s, %s from unnest(%s::uuid[]) as waiting(lead_id) order by lead_id
on conflict (workspace, lead_id) do update set system = excluded.system, tries = 0, check_at = excluded.check_at
"""
_DUE: LiteralString = """
select lead_id, system from crm_waiting where workspace = current_workspace() and check_at <= %s
order by check_at limit %s for update skip locked
"""
_REFUSED: LiteralString = """
select record_id from (
    select distinct on (record_id) record_id, outcome from write_outcome
    where workspace = current_workspace() and record_id = any(%s) order by record_id, id desc
) as last where outcome = 'refused'
"""
_SETTLED: LiteralString = "delete from crm_waiting where workspace = current_workspace() and lead_id = any(%s)"
_LATER: LiteralString = """
update crm_waiting set tries = tries + 1, check_at = %s + least(2 ^ least(tries + 1, 10), %s) * interval '1 second'
where workspace = current_workspace() and lead_id = any(%s)
"""


class Crm(Struct, frozen=True, kw_only=True):
    """The connection whose feed writes leads; `obstacle` says why it will not get new ones, if so."""

    system: str
    obstacle: str = ""


class Place(Struct, frozen=True, kw_only=True):
    """Where a lead is in the CRM, and since when we know."""

    external_id: str
    at: datetime


async def connected_crm(tx: Transaction, connectors: Mapping[str, Connector]) -> Crm | None:
    """Return the CRM that leads go to: the first connection that takes them, or one with its obstacle, or none."""
    found: list[Crm] = []
    for each in await connections(tx):
        connector = connectors.get(each.connector)
        if connector and any(LEAD in feed.writes for feed in connector.feeds_of(each.settings)):
            found.append(Crm(system=each.name, obstacle=_obstacle(each)))
    return next((each for each in found if not each.obstacle), found[0] if found else None)


def _obstacle(connection: Connection) -> str:
    if not connection.options.push:
        return f"Pushing to {connection.name} is switched off."
    if LEAD not in connection.options.create:
        return f"{connection.name} makes no new leads: its option `create` does not name {LEAD}."
    return ""


async def places(tx: Transaction, system: str, lead_ids: Sequence[UUID]) -> dict[UUID, Place]:
    """Return where leads are in a system; what it has claimed is there."""
    cursor = await tx.connection.execute(_PLACES, (list(lead_ids), system))
    rows: list[tuple[UUID, str, int]] = await cursor.fetchall()
    return {lead: Place(external_id=external_id, at=moment_of(hlc)) for lead, external_id, hlc in rows}


def crm_step(crm: Crm | None, place: Place | None, *, now: datetime) -> LeadStep:
    """Return the step as it stands now."""
    kind = LeadStepKind.CRM
    if crm is None:
        reason = "No CRM is connected. Connect one whose feed writes leads."
        return LeadStep(kind=kind, state=LeadStepState.SKIPPED, at=now, reason=reason)
    if place is not None:
        reason = f"In {crm.system} as {place.external_id}."
        return LeadStep(kind=kind, state=LeadStepState.DONE, at=place.at, reason=reason, link=place.external_id)
    if crm.obstacle:
        return LeadStep(kind=kind, state=LeadStepState.SKIPPED, at=now, reason=crm.obstacle)
    return LeadStep(kind=kind, state=LeadStepState.WAITING, at=now, reason=f"Goes to {crm.system} with its next push.")


async def wait_for(tx: Transaction, crm: Crm, lead_ids: Sequence[UUID]) -> None:
    """Note leads that wait to be in the CRM."""
    if lead_ids:
        await tx.connection.execute(_WAIT, (crm.system, tx.scope.now + FIRST_LOOK, list(dict.fromkeys(lead_ids))))


async def workspaces_waiting(store: Store, *, now: datetime) -> list[int]:
    """Return the workspaces in which a look at the CRM is due."""
    async with store.database.plain() as connection:
        cursor = await connection.execute("select workspaces_with_waiting_leads(%s)", (now,))
        return [int(row[0]) for row in await cursor.fetchall()]


async def settle(store: Store, scope: Scope, *, limit: int = LOOKS_MAX) -> int:
    """Close the step of leads that the CRM has by now, or has refused; returns how many."""
    async with store.database.transaction(scope) as tx:
        cursor = await tx.connection.execute(_DUE, (scope.now, limit))
        due: list[tuple[UUID, str]] = await cursor.fetchall()
        steps: dict[UUID, LeadStep] = {}
        for system in sorted({system for _, system in due}):
            own = [lead for lead, of in due if of == system]
            steps |= await _known(tx, Crm(system=system), own)
        leads = await find(tx, store.vault, store.schema[LEAD], list(steps))
        edits = {lead: _with(leads[lead], step) for lead, step in steps.items() if lead in leads}
        await edit_many(tx, store, LEAD, edits)
        await tx.connection.execute(_SETTLED, (list(steps),))
        later = [lead for lead, _ in due if lead not in steps]
        await tx.connection.execute(_LATER, (scope.now, _BACKOFF_S_MAX, later))
        return len(steps)


async def _known(tx: Transaction, crm: Crm, leads: Sequence[UUID]) -> dict[UUID, LeadStep]:
    now = tx.scope.now
    found = await places(tx, crm.system, leads)
    steps = {lead: crm_step(crm, place, now=now) for lead, place in found.items()}
    rest = [lead for lead in leads if lead not in found]
    cursor = await tx.connection.execute(_REFUSED, (rest,))
    reason = f"{crm.system} refused it; the run says why."
    refused = LeadStep(kind=LeadStepKind.CRM, state=LeadStepState.FAILED, at=now, reason=reason)
    return steps | {lead: refused for (lead,) in await cursor.fetchall()}


def _with(lead: Stored, step: LeadStep) -> dict[str, Json]:
    """Return the edit that puts a step in the place of the one of its kind."""
    steps = msgspec.convert(lead.values.get("steps") or [], list[LeadStep])
    changed = [step if each.kind is step.kind else each for each in steps]
    return {"steps": msgspec.to_builtins(changed)}
