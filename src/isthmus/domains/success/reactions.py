"""What success does when something happened: playbooks begin by risk, escalation and new customers, and end."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import LiteralString
from uuid import UUID

from isthmus.domains.success.messages import ACTIVITY, PERSON
from isthmus.domains.success.playbooks import (
    ACCOUNT,
    ENDS,
    ESCALATED,
    HIGH_RISK,
    LOW_RISK,
    MEDIUM_RISK,
    NEW_CUSTOMER,
    REPLIED,
    WITHDRAWN,
    WON,
    cued,
)
from isthmus.domains.success.records import INTERVENTION, InterventionStatus, Risk
from isthmus.domains.success.workflows import OVER, all_done, crew_of
from isthmus.store.records import Condition, Stored, find
from isthmus.stream.event import Event
from isthmus.stream.reactions import Reaction
from isthmus.stream.workflows.runs import cancel, end, run_of
from isthmus.sync.intake import Acting, edit_many

RECENT, SETTLED = timedelta(days=2), timedelta(hours=1)
"""What is older says nothing of today; what is younger may still be arriving from systems that were just connected."""
_RISKS = {str(Risk.HIGH): HIGH_RISK, str(Risk.MEDIUM): MEDIUM_RISK}
PURPOSES = ("service", "marketing")
_INBOUND = Condition("not outbound")
_OF_PERSON: LiteralString = """
select distinct r.subject_id from workflow_run r
join success_intervention i on i.workspace = r.workspace and i.id = r.own_record
where r.workspace = current_workspace() and r.state in ('running', 'paused')
  and i.person_id in (select same_as('sales.person', %s::uuid))
"""
_OF_INTERVENTION: LiteralString = """
select id from workflow_run where workspace = current_workspace() and own_record = %s
"""


async def health_came(acting: Acting, event: Event) -> None:
    """Begin what a risk starts; what a system says of long ago starts nothing."""
    snapshot = await _record(acting, event)
    if snapshot is None:
        return
    cue, at = _RISKS.get(str(snapshot.values.get("risk"))), _moment(snapshot, "at")
    if at is None or at < acting.tx.scope.now - RECENT:
        return
    if cue is not None:
        await _cue(acting, snapshot, cue)
    elif snapshot.values.get("risk") == Risk.LOW:
        await _end(acting, snapshot, LOW_RISK, at=at)


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
        await _end(acting, deal, WON, at=event.at)
        await _cue(acting, deal, NEW_CUSTOMER)


async def inbound_among(acting: Acting, events: Sequence[Event]) -> set[int]:
    """Return the numbers of the events of activities that came from outside."""
    kind = acting.store.schema[ACTIVITY]
    found = await find(acting.tx, acting.store.vault, kind, [each.record_id for each in events], seen=_INBOUND)
    return {each.seq for each in events if each.record_id in found}


async def activity_came(acting: Acting, event: Event) -> None:
    """End what a reply ends: somebody of the account got in touch after it had begun."""
    activity = await _record(acting, event)
    if activity is None or activity.values.get("outbound") is not False:
        return
    at = _moment(activity, "at")
    if at is None:
        return
    if activity.values.get("account_id") is not None:
        await _end(acting, activity, REPLIED, at=at)
    elif isinstance(own := activity.values.get("person_id"), str):
        person = (await find(acting.tx, acting.store.vault, acting.store.schema[PERSON], [UUID(own)])).get(UUID(own))
        if person is not None:
            await _end(acting, person, REPLIED, at=at)


async def consent_moved(acting: Acting, event: Event) -> None:
    """End what a withdrawal ends: playbooks whose intervention is for the person who took consent back."""
    consent = await _record(acting, event)
    if consent is None or consent.values.get("state") != "withdrawn" or consent.values.get("purpose") not in PURPOSES:
        return
    own = consent.values.get("person_id")
    rows = await (await acting.tx.connection.execute(_OF_PERSON, (own,))).fetchall()
    await _end_of(acting, [account for (account,) in rows], WITHDRAWN, at=event.at)


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


async def _end(acting: Acting, record: Stored, cue: str, *, at: datetime) -> None:
    account = record.values.get("account_id")
    if isinstance(account, str):
        await _end_of(acting, [UUID(account)], cue, at=at)


async def _end_of(acting: Acting, accounts: list[UUID], cue: str, *, at: datetime) -> None:
    """End the runs that a cue ends, with the interventions that stand for them."""
    ended = await cancel(acting.tx, ACCOUNT, accounts, reason=ENDS[cue], cue=cue, at=at)
    await crew_of(acting).closed(acting.tx, ended, reason=ENDS[cue])


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


def _moment(record: Stored, name: str) -> datetime | None:
    value = record.values.get(name)
    return datetime.fromisoformat(value) if isinstance(value, str) else None


REACTIONS = (
    Reaction(on="isthmus.success.health_snapshot.created.v1", do=health_came),
    Reaction(on="isthmus.success.ticket.changed.v1", do=ticket_moved),
    Reaction(on="isthmus.sales.account.changed.v1", do=account_moved),
    Reaction(on="isthmus.sales.deal.changed.v1", do=deal_moved),
    Reaction(on="isthmus.sales.account.deleted.v1", do=account_gone),
    Reaction(on="isthmus.success.intervention.changed.v1", do=intervention_moved),
    Reaction(on="isthmus.sales.activity.created.v1", do=activity_came, among=inbound_among),
    Reaction(on="isthmus.sales.activity.changed.v1", do=activity_came, among=inbound_among),
    Reaction(on="isthmus.marketing.consent.created.v1", do=consent_moved),
    Reaction(on="isthmus.marketing.consent.changed.v1", do=consent_moved),
)
