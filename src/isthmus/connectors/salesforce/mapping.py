"""Salesforce's rows in our words; pure. Fields that an organisation made stand in `custom`, under their names there."""

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import cast

import msgspec

from isthmus.connectors.salesforce import meaning
from isthmus.connectors.salesforce.tables import (
    ACCOUNT,
    ACTIVITY,
    BEFORE,
    BY_FEED,
    CAMPAIGN,
    DEAL,
    LEAD,
    MEMBER,
    PERSON,
    STAGE_CHANGE,
    STAGES,
    TICKET,
)
from isthmus.connectors.salesforce.wire import CUSTOM, OWNER, Row, amount, stamp
from isthmus.kernel.marks import LINE_MAX, TEXT_MAX, Json
from isthmus.kernel.words import Word, at_path, text

# What Salesforce wants of every person and company, and what is written where we have none; it means nothing.
UNKNOWN = "[not provided]"
# The first three characters of an id tell which table it is of.
CONTACT_IDS, LEAD_IDS, ACCOUNT_IDS, DEAL_IDS = "003", "00Q", "001", "006"
CALL, EMAIL, MEETING, TASK = "call", "email", "meeting", "task"
_PLACE = {"street": "Street", "postal_code": "PostalCode", "city": "City", "region": "State", "country": "Country"}
_MINUTE_S = 60


def words(feed: str, body: Row) -> Iterable[Word]:
    """Return what a row of a feed says."""
    plain = BY_FEED[feed].plain
    for word in _WORDS[feed](body):
        # Of a field that our user may not see nothing is said, rather than that it is empty.
        unsaid = {ours for ours, theirs in plain.items() if theirs not in body}
        unsaid |= {"owner_id"} if OWNER not in body and "owner_id" not in plain else set()
        yield msgspec.structs.replace(
            word, fields={name: value for name, value in word.fields.items() if name not in unsaid}
        )


def owner_of(body: Row) -> str | None:
    """Return who owns a row: the e-mail address, or the name of a queue."""
    owner = body.get(OWNER)
    return text(at_path(owner, "Email")) or _line(at_path(owner, "Name"))


def _line(value: Json) -> str | None:
    told = text(value)
    return told[:LINE_MAX] if told else None


def _long(value: Json) -> str | None:
    told = text(value)
    return told[:TEXT_MAX] if told else None


def _known(value: Json) -> str | None:
    told = _line(value)
    return None if told == UNKNOWN else told


def _whole(value: Json) -> int | None:
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0 else None


def _share(value: Json) -> float | None:
    return float(Decimal(str(value)) / 100) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _day(value: Json) -> str | None:
    """Return a moment for a date without a time."""
    return f"{value}T00:00:00Z" if isinstance(value, str) and value else None


def _place(body: Row, prefix: str) -> Row:
    return {ours: _line(body.get(f"{prefix}{theirs}")) for ours, theirs in _PLACE.items()}


def _custom(body: Row, *others: str) -> Row:
    """Return the fields of an organisation's own that hold something, and some of Salesforce's that we have not."""
    own = cast("Row", body.get(CUSTOM) or {})
    found = {name: value for name, value in own.items() if value is not None}
    found |= {name: said for name in others if (said := _line(body.get(name)))}
    return {"custom": {name: value[:LINE_MAX] if isinstance(value, str) else value for name, value in found.items()}}


def _word(kind: str, fields: Row, links: dict[str, Json]) -> Word:
    """Return a word whose links that lead nowhere are said to be empty."""
    told = {name: value for name, value in links.items() if isinstance(value, str) and value}
    return Word(type=kind, fields=fields | {name: None for name in links if name not in told}, links=told)


def _account(body: Row) -> Iterable[Word]:
    fields: Row = {
        "name": _line(body.get("Name")),
        "website": _line(body.get("Website")),
        "phone": _line(body.get("Phone")),
        "industry": _line(body.get("Industry")),
        "employee_count": _whole(body.get("NumberOfEmployees")),
        "annual_revenue": amount(body.get("AnnualRevenue"), body.get("CurrencyIsoCode")),
        "description": _long(body.get("Description")),
        "owner_id": owner_of(body),
        **_place(body, "Billing"),
        **_custom(body),
    }
    kind = meaning.account_kind(body.get("Type"))
    yield _word(ACCOUNT, fields | ({"kind": kind} if kind else {}), {"parent_id": body.get("ParentId")})


def _contact(body: Row) -> Iterable[Word]:
    fields: Row = {
        "first_name": _line(body.get("FirstName")),
        "last_name": _known(body.get("LastName")),
        "email": text(body.get("Email")),
        "phone": _line(body.get("Phone")) or _line(body.get("MobilePhone")),
        "title": _line(body.get("Title")),
        "department": _line(body.get("Department")),
        "notes": _long(body.get("Description")),
        "owner_id": owner_of(body),
        **_place(body, "Mailing"),
        **_custom(body),
    }
    yield _word(PERSON, fields, {"account_id": body.get("AccountId")})


def _lead(body: Row) -> Iterable[Word]:
    converted = body.get("IsConverted") is True
    fields: Row = {
        "email": text(body.get("Email")),
        "first_name": _line(body.get("FirstName")),
        "last_name": _known(body.get("LastName")),
        "company": _known(body.get("Company")),
        "phone": _line(body.get("Phone")),
        "title": _line(body.get("Title")),
        "message": _long(body.get("Description")),
        "country": _line(body.get("Country")),
        "region": _line(body.get("State")),
        "industry": _line(body.get("Industry")),
        "company_size": _whole(body.get("NumberOfEmployees")),
        "status": meaning.lead_status(body.get("Status"), converted=converted),
        "source": meaning.SOURCES.get((text(body.get("LeadSource")) or "").lower()),
        "captured_at": stamp(body.get("CreatedDate")),
        "converted_at": _day(body.get("ConvertedDate")) if converted else None,
        "owner_id": owner_of(body),
        **_custom(body, "LeadSource", "Status"),
    }
    links = {"account_id": "Account", "person_id": "Contact", "deal_id": "Opportunity"}
    yield _word(LEAD, fields, {ours: body.get(f"Converted{theirs}Id") for ours, theirs in links.items()})


def stage_of(body: Row) -> str:
    """Return our stage of an opportunity."""
    closed, won = body.get("IsClosed") is True, body.get("IsWon") is True
    return meaning.stage(body.get("StageName"), closed=closed, won=won, likely=body.get("Probability"))


def _deal(body: Row) -> Iterable[Word]:
    closed = body.get("IsClosed") is True
    fields: Row = {
        "name": _line(body.get("Name")),
        "stage": stage_of(body),
        "amount": amount(body.get("Amount"), body.get("CurrencyIsoCode")),
        "probability": _share(body.get("Probability")),
        "close_date": text(body.get("CloseDate")),
        "next_step": _line(body.get("NextStep")),
        "opened_at": stamp(body.get("CreatedDate")),
        "closed_at": stamp(body.get("LastStageChangeDate")) if closed else None,
        "won": body.get("IsWon") is True if closed else None,
        "owner_id": owner_of(body),
        **_custom(body, "StageName", "LeadSource"),
    }
    yield _word(DEAL, fields, {"account_id": body.get("AccountId"), "campaign_id": body.get("CampaignId")})


def _stage_change(body: Row) -> Iterable[Word]:
    """Yield a change of stage; the history also has rows for changes of amount, date and probability."""
    if body.get(BEFORE) == body.get("StageName"):
        return
    fields: Row = {
        "to_stage": _stage_then(body, "StageName"),
        "from_stage": _stage_then(body, BEFORE) if text(body.get(BEFORE)) else None,
        "at": stamp(body.get("CreatedDate")),
        "amount": amount(body.get("Amount"), body.get("CurrencyIsoCode")),
        "owner_id": text(at_path(body.get("CreatedBy"), "Email")),
    }
    yield _word(STAGE_CHANGE, fields, {"deal_id": body.get("OpportunityId")})


def _stage_then(body: Row, name: str) -> str:
    said = str(body.get(name))
    known = at_path(body.get(STAGES), said)
    return meaning.stage(
        said,
        closed=at_path(known, "IsClosed") is True,
        won=at_path(known, "IsWon") is True,
        likely=at_path(known, "DefaultProbability") if known else body.get("Probability"),
    )


def _campaign(body: Row) -> Iterable[Word]:
    fields: Row = {
        "name": _line(body.get("Name")),
        "kind": _line(body.get("Type")),
        "channel": meaning.CHANNELS.get((text(body.get("Type")) or "").lower()),
        "status": meaning.campaign_status(body.get("Status"), active=body.get("IsActive") is True),
        "starts_on": text(body.get("StartDate")),
        "ends_on": text(body.get("EndDate")),
        "budget": amount(body.get("BudgetedCost"), body.get("CurrencyIsoCode")),
        "description": _long(body.get("Description")),
        "owner_id": owner_of(body),
        **_custom(body),
    }
    yield _word(CAMPAIGN, fields, {"parent_id": body.get("ParentId")})


def _member(body: Row) -> Iterable[Word]:
    sent = (text(body.get("Status")) or "").lower() == "sent"
    fields: Row = {
        "status": "responded" if body.get("HasResponded") is True else "sent" if sent else "targeted",
        "joined_at": stamp(body.get("CreatedDate")),
        "responded_at": _day(body.get("FirstRespondedDate")),
        **_custom(body, "Status"),
    }
    links = {"campaign_id": "CampaignId", "person_id": "ContactId", "lead_id": "LeadId"}
    yield _word(MEMBER, fields, {ours: body.get(theirs) for ours, theirs in links.items()})


def _with_whom(body: Row) -> dict[str, Json]:
    """Return whom an activity was with: one field of Salesforce's leads to a contact or lead, one to anything else."""
    who, what = text(body.get("WhoId")) or "", text(body.get("WhatId")) or ""
    return {
        "person_id": who if who.startswith(CONTACT_IDS) else None,
        "lead_id": who if who.startswith(LEAD_IDS) else None,
        "deal_id": what if what.startswith(DEAL_IDS) else None,
        "account_id": what if what.startswith(ACCOUNT_IDS) else body.get("AccountId"),
    }


def _task(body: Row) -> Iterable[Word]:
    done = body.get("IsClosed") is True
    said = (text(body.get("TaskSubtype")) or text(body.get("Type")) or "").lower()
    said = said if said != TASK else (text(body.get("Type")) or "").lower()
    kind = next((each for each in (CALL, EMAIL, MEETING) if each in said), TASK)
    way = (text(body.get("CallType")) or "").lower()
    fields: Row = {
        "kind": kind,
        "at": (stamp(body.get("CompletedDateTime")) or _day(body.get("ActivityDate"))) if done else None,
        "due_at": _day(body.get("ActivityDate")),
        "completed": done,
        "outbound": {"outbound": True, "inbound": False}.get(way),
        "duration_s": _whole(body.get("CallDurationInSeconds")),
        "subject": _line(body.get("Subject")),
        "body": _long(body.get("Description")),
        "outcome": _line(body.get("CallDisposition")),
        "owner_id": owner_of(body),
        **_custom(body),
    }
    yield _word(ACTIVITY, fields, _with_whom(body))


def _event(body: Row) -> Iterable[Word]:
    minutes = _whole(body.get("DurationInMinutes"))
    fields: Row = {
        "kind": CALL if CALL in (text(body.get("Type")) or "").lower() else MEETING,
        "at": stamp(body.get("StartDateTime")),
        "duration_s": None if minutes is None else minutes * _MINUTE_S,
        "subject": _line(body.get("Subject")),
        "body": _long(body.get("Description")),
        "owner_id": owner_of(body),
        **_custom(body),
    }
    yield _word(ACTIVITY, fields, _with_whom(body))


def _case(body: Row) -> Iterable[Word]:
    closed = body.get("IsClosed") is True
    fields: Row = {
        "subject": _line(body.get("Subject")),
        "body": _long(body.get("Description")),
        "status": meaning.case_status(body.get("Status"), closed=closed),
        "kind": meaning.KINDS.get((text(body.get("Type")) or "").lower()),
        "priority": meaning.priority(body.get("Priority")),
        "escalated": body.get("IsEscalated") is True,
        "channel": _line(body.get("Origin")),
        "opened_at": stamp(body.get("CreatedDate")),
        "solved_at": stamp(body.get("ClosedDate")) if closed else None,
        "owner_id": owner_of(body),
        **_custom(body, "CaseNumber"),
    }
    yield _word(TICKET, fields, {"account_id": body.get("AccountId"), "person_id": body.get("ContactId")})


_WORDS: dict[str, Callable[[Row], Iterable[Word]]] = {
    "accounts": _account,
    "contacts": _contact,
    "campaigns": _campaign,
    "opportunities": _deal,
    "opportunity_history": _stage_change,
    "leads": _lead,
    "campaign_members": _member,
    "tasks": _task,
    "events": _event,
    "cases": _case,
}
