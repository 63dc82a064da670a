"""What sales does when something happened: workflows end when the lead converts, replies or takes consent back."""

from collections.abc import Sequence
from typing import LiteralString
from uuid import UUID

from isthmus.domains.sales.follow_up import cancel
from isthmus.domains.sales.rules import CLOSED_LEADS
from isthmus.store.records import Stored, find
from isthmus.stream.event import Event
from isthmus.stream.reactions import Reaction
from isthmus.sync.intake import Acting

PURPOSES = ("sales", "marketing")
_OF_PERSON: LiteralString = """
select r.subject_id from workflow_run r join sales_lead l on l.workspace = r.workspace and l.id = r.subject_id
where r.workspace = current_workspace() and r.state in ('running', 'paused') and l.person_id = %s
"""
_OF_ADDRESS: LiteralString = """
select r.subject_id from workflow_run r join sales_lead l on l.workspace = r.workspace and l.id = r.subject_id
where r.workspace = current_workspace() and r.state in ('running', 'paused') and l.email_index = %s
"""
_CLOSED: LiteralString = """
select id from sales_lead where workspace = current_workspace() and id = any(%s) and status = any(%s)
"""
_INBOUND: LiteralString = """
select id from sales_activity where workspace = current_workspace() and id = any(%s) and not outbound
"""


async def closed_among(acting: Acting, events: Sequence[Event]) -> set[int]:
    """Return the numbers of the events of leads that are closed now, where that is what changed."""
    moved = [each for each in events if "status" in each.changed]
    given = ([each.record_id for each in moved], [str(each) for each in CLOSED_LEADS])
    return await _of(acting, moved, _CLOSED, given)


async def inbound_among(acting: Acting, events: Sequence[Event]) -> set[int]:
    """Return the numbers of the events of activities that came from outside."""
    return await _of(acting, events, _INBOUND, ([each.record_id for each in events],))


async def _of(acting: Acting, events: Sequence[Event], query: LiteralString, given: tuple[object, ...]) -> set[int]:
    if not events:
        return set()
    found = {own for (own,) in await (await acting.tx.connection.execute(query, given, prepare=True)).fetchall()}
    return {each.seq for each in events if each.record_id in found}


async def lead_moved(acting: Acting, event: Event) -> None:
    """End the follow-up of a lead that is converted or disqualified."""
    if "status" not in event.changed:
        return
    lead = await _record(acting, event)
    if lead is not None and lead.values.get("status") in CLOSED_LEADS:
        await cancel(acting.tx, [event.record_id], reason=f"The lead is {lead.values['status']}.")


async def lead_gone(acting: Acting, event: Event) -> None:
    """End the follow-up of a lead that was deleted."""
    await cancel(acting.tx, [event.record_id], reason="The lead was deleted.")


async def activity_came(acting: Acting, event: Event) -> None:
    """End the follow-ups of whoever got in touch with us."""
    activity = await _record(acting, event)
    if activity is None or activity.values.get("outbound") is not False:
        return
    leads = [] if activity.values.get("lead_id") is None else [UUID(str(activity.values["lead_id"]))]
    leads += await _leads_of(acting, _OF_PERSON, activity.values.get("person_id"))
    await cancel(acting.tx, leads, reason=f"The lead replied ({activity.values.get('kind')}).")


async def consent_moved(acting: Acting, event: Event) -> None:
    """End the follow-ups of whoever took consent to sales or marketing back."""
    consent = await _record(acting, event)
    if consent is None or consent.values.get("state") != "withdrawn" or consent.values.get("purpose") not in PURPOSES:
        return
    leads = await _leads_of(acting, _OF_PERSON, consent.values.get("person_id"))
    email = str(consent.values.get("key") or "").partition("|")[0]
    preparer = acting.store.preparer("sales.lead", acting.tx.scope.workspace)
    leads += await _leads_of(acting, _OF_ADDRESS, preparer.index("email", email))
    await cancel(acting.tx, leads, reason=f"Consent to {consent.values['purpose']} was withdrawn.")


async def _record(acting: Acting, event: Event) -> Stored | None:
    record_type = acting.store.schema[event.record_type]
    return (await find(acting.tx, acting.store.vault, record_type, [event.record_id])).get(event.record_id)


async def _leads_of(acting: Acting, query: LiteralString, value: object) -> list[UUID]:
    if value is None:
        return []
    rows: Sequence[tuple[UUID]] = await (await acting.tx.connection.execute(query, (value,))).fetchall()
    return [lead for (lead,) in rows]


REACTIONS = (
    Reaction(on="isthmus.sales.lead.changed.v1", do=lead_moved, among=closed_among),
    Reaction(on="isthmus.sales.lead.deleted.v1", do=lead_gone),
    Reaction(on="isthmus.sales.activity.created.v1", do=activity_came, among=inbound_among),
    Reaction(on="isthmus.sales.activity.changed.v1", do=activity_came, among=inbound_among),
    Reaction(on="isthmus.marketing.consent.created.v1", do=consent_moved),
    Reaction(on="isthmus.marketing.consent.changed.v1", do=consent_moved),
)
