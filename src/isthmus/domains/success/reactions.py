"""What success does when something happened: playbooks begin by risk, escalation and new customers, and end."""

from datetime import timedelta
from typing import LiteralString
from uuid import UUID

from isthmus.domains.success.playbooks import ACCOUNT, ESCALATED, HIGH_RISK, MEDIUM_RISK, NEW_CUSTOMER, cued
from isthmus.domains.success.records import INTERVENTION, InterventionStatus, Risk
from isthmus.domains.success.workflows import OVER, all_done, crew_of
from isthmus.store.records import Stored, find
from isthmus.stream.event import Event
from isthmus.stream.reactions import Reaction
from isthmus.stream.workflows.runs import cancel, end, run_of
from isthmus.sync.intake import Acting, edit_many

RECENT, SETTLED = timedelta(days=2), timedelta(hours=1)
"""What is older says nothing of today; what is younger may still be arriving from systems that were just connected."""
_RISKS = {str(Risk.HIGH): HIGH_RISK, str(Risk.MEDIUM): MEDIUM_RISK}
_OF_INTERVENTION: LiteralString = """
select id from workflow_run where workspace = current_workspace() and own_record = %s
"""


async def health_came(acting: Acting, event: Event) -> None:
    """Begin what a risk starts; what a system says of long ago starts nothing."""
    snapshot = await _record(acting, event)
    if snapshot is None:
        return
    cue, at = _RISKS.get(str(snapshot.values.get("risk"))), _moment_text(snapshot, "at")
    if cue is not None and at >= (acting.tx.scope.now - RECENT).isoformat():
        await _cue(acting, snapshot, cue)


async def ticket_moved(acting: Acting, event: Event) -> None:
    """Begin what an escalation starts: of a ticket that was there, for a desk that is connected brings old ones."""
    ticket = await _record(acting, event) if "escalated" in event.changed else None
    closed = ticket is None or ticket.values.get("status") in ("solved", "closed")
    if ticket is not None and _was_there(ticket, event) and not closed and ticket.values.get("escalated") is True:
        await _cue(acting, ticket, ESCALATED)


async def account_moved(acting: Acting, event: Event) -> None:
    """Begin what a new customer starts: an account that was there before, and is one now."""
    account = await _record(acting, event) if "kind" in event.changed else None
    if account is not None and _was_there(account, event) and account.values.get("kind") == "customer":
        await cued(acting.tx, crew_of(acting), [account.id], cue=NEW_CUSTOMER)


async def deal_moved(acting: Acting, event: Event) -> None:
    """Begin the same for the account of a deal that was won."""
    deal = await _record(acting, event) if {"stage", "won"} & set(event.changed) else None
    if deal is None or not _was_there(deal, event):
        return
    if deal.values.get("won") is True or deal.values.get("stage") == "closed_won":
        await _cue(acting, deal, NEW_CUSTOMER)


async def account_gone(acting: Acting, event: Event) -> None:
    """End the playbooks of an account that was deleted."""
    await cancel(acting.tx, ACCOUNT, [event.record_id], reason="The account was deleted.")


async def intervention_moved(acting: Acting, event: Event) -> None:
    """End the playbook of an intervention that a person closed, and close one whose last task is done at the end."""
    if not {"status", "steps"} & set(event.changed):
        return
    intervention = await _record(acting, event)
    cursor = await acting.tx.connection.execute(_OF_INTERVENTION, (event.record_id,))
    row = await cursor.fetchone()
    if intervention is None or row is None:
        return
    run = await run_of(acting.tx, row[0])
    status = intervention.values.get("status")
    if status in OVER and run.state in ("running", "paused"):
        await end(acting.tx, run.id, reason=f"The intervention is {status}.")
    if status not in OVER and run.state == "done" and all_done(intervention):
        edit = {"status": str(InterventionStatus.COMPLETED), "finished_at": acting.tx.scope.now.isoformat()}
        await edit_many(acting.tx, acting.store, INTERVENTION.name, {intervention.id: {**edit}})


def _was_there(record: Stored, event: Event) -> bool:
    """Tell whether a record is no news: what arrives now was a customer, was won, was escalated before we knew it."""
    return record.created_at <= event.at - SETTLED


async def _cue(acting: Acting, record: Stored, cue: str) -> None:
    account = record.values.get("account_id")
    if isinstance(account, str):
        await cued(acting.tx, crew_of(acting), [UUID(account)], cue=cue)


async def _record(acting: Acting, event: Event) -> Stored | None:
    record_type = acting.store.schema[event.record_type]
    found = (await find(acting.tx, acting.store.vault, record_type, [event.record_id])).get(event.record_id)
    return None if found is None or found.deleted_at is not None or found.merged_into is not None else found


def _moment_text(record: Stored, name: str) -> str:
    value = record.values.get(name)
    return value if isinstance(value, str) else ""


REACTIONS = (
    Reaction(on="isthmus.success.health_snapshot.created.v1", do=health_came),
    Reaction(on="isthmus.success.ticket.changed.v1", do=ticket_moved),
    Reaction(on="isthmus.sales.account.changed.v1", do=account_moved),
    Reaction(on="isthmus.sales.deal.changed.v1", do=deal_moved),
    Reaction(on="isthmus.sales.account.deleted.v1", do=account_gone),
    Reaction(on="isthmus.success.intervention.changed.v1", do=intervention_moved),
)
