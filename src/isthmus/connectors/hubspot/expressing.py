"""Our words into HubSpot's; pure.

What needs to be looked up, such as the number of an owner or of a stage, is asked for by a name of ours with an
underscore, and the session resolves it.
"""

from collections.abc import Mapping

from isthmus.connectors.hubspot.mapping import (
    ACCOUNT,
    ACCOUNT_FIELDS,
    CONSENT,
    DEAL,
    DEAL_FIELDS,
    LEAD,
    LEAD_FIELDS,
    LIFECYCLES,
    PERSON,
    PERSON_FIELDS,
    PRIORITIES,
    TICKET,
    lead_status,
    line,
)
from isthmus.connectors.hubspot.shapes import COMPANIES, CONTACTS, DEALS, TICKETS
from isthmus.connectors.hubspot.wire import CURRENCY, CUSTOM, DAY, LINKS, OWNER, STAGE, Row, properties
from isthmus.kernel.marks import Json
from isthmus.kernel.words import at_path, text

OPTED_OUT = "hs_email_optout"
FEED_OF = {PERSON: CONTACTS, LEAD: CONTACTS, ACCOUNT: COMPANIES, DEAL: DEALS, TICKET: TICKETS}
WRITABLE: dict[str, tuple[str, ...]] = {
    PERSON: (*PERSON_FIELDS, "lifecycle", "owner_id", "account_id", "custom"),
    LEAD: (*LEAD_FIELDS, "message", "status", "owner_id", "account_id"),
    ACCOUNT: (*ACCOUNT_FIELDS, "description", "employee_count", "owner_id", "custom"),
    DEAL: (*DEAL_FIELDS, "stage", "amount", "close_date", "owner_id", "account_id", "person_id", "custom"),
    TICKET: ("subject", "body", "status", "priority", "owner_id", "account_id", "person_id", "custom"),
    CONSENT: ("purpose", "channel", "state", "person_id"),
}
_NAMES = {PERSON: PERSON_FIELDS, LEAD: LEAD_FIELDS, ACCOUNT: ACCOUNT_FIELDS, DEAL: DEAL_FIELDS}
_TARGETS = {"account_id": COMPANIES, "person_id": CONTACTS}
_STAGES = {theirs: ours for ours, theirs in LIFECYCLES.items()}
_LEAD_WORDS = {
    "new": ("hs_lead_status", "NEW"),
    "working": ("hs_lead_status", "IN_PROGRESS"),
    "qualified": ("lifecyclestage", "marketingqualifiedlead"),
    "disqualified": ("hs_lead_status", "UNQUALIFIED"),
    "converted": ("hs_lead_status", "OPEN_DEAL"),
}
_URGENCIES = {ours: theirs for theirs, ours in PRIORITIES.items()}
_TEXTS = {
    LEAD: {"message": "message"},
    ACCOUNT: {"description": "description"},
    TICKET: {"subject": "subject", "body": "content"},
}


def express(kind: str, fields: Row, *, links: Mapping[str, str], new: bool) -> Row:
    """Return what a change means in HubSpot, by property, and by names of ours where something is looked up."""
    if kind == CONSENT:
        return {OPTED_OUT: "true"} if fields.get("state") == "withdrawn" else {}
    names = {**_NAMES.get(kind, {}), **_TEXTS.get(kind, {})}
    wanted: Row = {theirs: fields[ours] for ours, theirs in names.items() if ours in fields}
    if "owner_id" in fields:
        wanted[OWNER] = fields["owner_id"]
    if "custom" in fields:
        wanted[CUSTOM] = fields["custom"]
    for name in WRITABLE[kind]:
        if name in _TARGETS and (name in links or name in fields):
            ties = wanted.setdefault(LINKS, {})
            if isinstance(ties, dict):
                ties[_TARGETS[name]] = links.get(name)
    return wanted | _told(kind, fields, new=new)


def _told(kind: str, fields: Row, *, new: bool) -> Row:
    """Return what is said in other words than ours."""
    wanted: Row = {}
    if kind == PERSON and (stage := _STAGES.get(str(fields.get("lifecycle")))):
        wanted["lifecyclestage"] = stage
    if kind == LEAD:
        wanted |= {"lifecyclestage": "lead"} if new else {}
        if (status := _LEAD_WORDS.get(str(fields.get("status")))) is not None:
            wanted[status[0]] = status[1]
    if kind == ACCOUNT and "employee_count" in fields:
        wanted["numberofemployees"] = fields["employee_count"]
    if kind == DEAL:
        wanted |= _deal(fields)
    if kind == TICKET:
        wanted |= {STAGE: fields["status"]} if text(fields.get("status")) else {}
        if urgency := _URGENCIES.get(str(fields.get("priority"))):
            wanted["hs_ticket_priority"] = urgency
    return wanted


def _deal(fields: Row) -> Row:
    wanted: Row = {STAGE: fields["stage"]} if text(fields.get("stage")) else {}
    if "amount" in fields:
        wanted["amount"] = at_path(fields["amount"], "amount")
        wanted[CURRENCY] = at_path(fields["amount"], "currency")
    if "close_date" in fields:
        wanted[DAY] = fields["close_date"]
    return wanted


def said(value: Json) -> str:
    """Return a value as HubSpot takes it: an empty text clears."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def differing(wanted: Row, *, current: Row) -> dict[str, str]:
    """Return the properties to send: those that do not stand as they are wanted (`current` is empty for a new one)."""
    there = properties(current)
    told = {name: said(value) for name, value in wanted.items() if not name.startswith("_")}
    if not current:
        return {name: value for name, value in told.items() if value}
    return {name: value for name, value in told.items() if not _stands(name, value, there)}


def _stands(name: str, value: str, there: Row) -> bool:
    if name == "hs_lead_status":
        # Several of their words mean one of ours: one that means what is wanted stays.
        return lead_status(there) == lead_status({name: value})
    held = text(there.get(name)) or ""
    if name == "email":
        return held.lower() == value.strip().lower()
    if name == "phone" and not held and value:
        return (text(there.get("mobilephone")) or "") == value
    return held == value or line(held) == value


def customs(wanted: Json, *, current: Row, named: frozenset[str]) -> dict[str, str]:
    """Return the properties of the account's own to send; those that it does not have are left out."""
    if not isinstance(wanted, dict):
        return {}
    there = properties(current)
    told = {name: said(value) for name, value in wanted.items() if name in named}
    if current:
        told |= {name: "" for name in named if name not in wanted and text(there.get(name))}
    return {name: value for name, value in told.items() if (line(there.get(name)) or "") != value}
