"""HubSpot's words into ours; pure.

A contact is a person. It is a lead as well from the day on which HubSpot says that it became one, as long as it has the
e-mail address, first name and company that a lead needs. An engagement is an activity.
"""

from collections.abc import Callable, Iterable, Mapping

from isthmus.connectors.hubspot.shapes import (
    CALLS,
    COMPANIES,
    CONTACTS,
    DEALS,
    EMAILS,
    MEETINGS,
    NOTES,
    TASKS,
    TICKETS,
)
from isthmus.connectors.hubspot.wire import (
    CURRENCY,
    CUSTOM,
    DAY,
    LINKS,
    OWNER,
    PARTIAL,
    PIPELINE,
    STAGE,
    Row,
    linked,
    moment,
    properties,
    stamp,
)
from isthmus.kernel.marks import LINE_MAX, TEXT_MAX, Json
from isthmus.kernel.words import Word, at_path, text

PERSON, LEAD, ACCOUNT, DEAL = "sales.person", "sales.lead", "sales.account", "sales.deal"
ACTIVITY, TICKET, CONSENT = "sales.activity", "success.ticket", "marketing.consent"
LIFECYCLES = {
    "subscriber": "subscriber",
    "lead": "lead",
    "marketingqualifiedlead": "marketing_qualified",
    "salesqualifiedlead": "sales_qualified",
    "opportunity": "opportunity",
    "customer": "customer",
    "evangelist": "evangelist",
}
LEAD_STATUSES = {
    "NEW": "new",
    **dict.fromkeys(("OPEN", "IN_PROGRESS", "ATTEMPTED_TO_CONTACT", "CONNECTED"), "working"),
    "OPEN_DEAL": "converted",
    **dict.fromkeys(("UNQUALIFIED", "BAD_TIMING"), "disqualified"),
}
_LEADS = ("lead", "marketingqualifiedlead", "salesqualifiedlead")
_QUALIFIED, _CONVERTED = ("marketingqualifiedlead", "salesqualifiedlead"), ("opportunity", "customer", "evangelist")
# Up to which probability a stage that is open is which of ours; HubSpot's own stages are 0.2, 0.4, 0.6, 0.8 and 0.9.
_OPEN_STAGES = ((0.3, "qualification"), (0.5, "needs_analysis"), (0.75, "proposal"), (1.0, "negotiation"))
PRIORITIES = {"LOW": "low", "MEDIUM": "normal", "HIGH": "high", "URGENT": "urgent"}
PERSON_FIELDS = {
    "email": "email",
    "phone": "phone",
    "first_name": "firstname",
    "last_name": "lastname",
    "title": "jobtitle",
    "street": "address",
    "postal_code": "zip",
    "city": "city",
    "region": "state",
    "country": "country",
    "language": "hs_language",
}
LEAD_FIELDS = {
    "email": "email",
    "first_name": "firstname",
    "last_name": "lastname",
    "company": "company",
    "phone": "phone",
    "title": "jobtitle",
    "country": "country",
    "region": "state",
    "industry": "industry",
}
ACCOUNT_FIELDS = {
    "name": "name",
    "domain": "domain",
    "website": "website",
    "phone": "phone",
    "street": "address",
    "postal_code": "zip",
    "city": "city",
    "region": "state",
    "country": "country",
}
DEAL_FIELDS = {"name": "dealname", "lost_reason": "closed_lost_reason", "next_step": "hs_next_step"}
_MEETINGS_TO_COME = ("SCHEDULED", "RESCHEDULED", "")


def words(feed: str, body: Row) -> Iterable[Word]:
    """Return what a row of a feed says; of a row that tells single properties only what these say."""
    mapped = _MAPPED.get(feed)
    found = list(mapped(body)) if mapped else []
    if body.get(PARTIAL):
        found = [each for each in map(_told_alone(feed, body), found[:1]) if each.fields]
    return found


def _told_alone(feed: str, body: Row) -> Callable[[Word], Word]:
    """Return what leaves of a word the fields that single properties say by themselves."""
    said, named = properties(body), ALONE.get(feed, {})
    kept = {ours for ours, theirs in named.items() if theirs in said}
    return lambda word: Word(type=word.type, fields={name: word.fields[name] for name in word.fields if name in kept})


def line(value: Json) -> str | None:
    """Return a text as long as a line may be."""
    return text((text(value) or "")[:LINE_MAX])


def block(value: Json) -> str | None:
    """Return a text as long as texts may be."""
    return text((text(value) or "")[:TEXT_MAX])


def _plain(said: Row, names: Mapping[str, str]) -> Row:
    return {ours: line(said.get(theirs)) for ours, theirs in names.items()}


def _custom(body: Row) -> Row:
    said, names = properties(body), body.get(CUSTOM)
    own = [name for name in names if isinstance(name, str)] if isinstance(names, list) else []
    found: Row = {name: line(said.get(name)) for name in own}
    return {"custom": {name: value for name, value in found.items() if value is not None}}


def _owned(body: Row) -> Row:
    return {"owner_id": line(body.get(OWNER))}


def _tied(body: Row, **fields: str) -> tuple[dict[str, str], Row]:
    """Return what a row points to, and the fields that point nowhere; nothing is said of what is not read."""
    told = body.get(LINKS)
    links: dict[str, str] = {}
    empty: Row = {}
    for ours, to in fields.items():
        if not isinstance(told, dict) or to not in told:
            continue
        if (of := linked(body, to)) is not None:
            links[ours] = of
        else:
            empty[ours] = None
    return links, empty


def _contact(body: Row) -> Iterable[Word]:
    said = properties(body)
    links, empty = _tied(body, account_id=COMPANIES)
    fields: Row = {
        **_plain(said, PERSON_FIELDS),
        "lifecycle": LIFECYCLES.get(str(said.get("lifecyclestage"))),
        **_owned(body),
        **_custom(body),
    }
    fields["phone"] = fields["phone"] or line(said.get("mobilephone"))
    yield Word(type=PERSON, fields=fields | empty, links=links)
    if is_lead(said):
        yield Word(type=LEAD, fields=_lead(body) | empty, links=links | {"person_id": str(body["id"])})
    email = text(said.get("email"))
    if email and said.get("hs_email_optout") == "true":
        told: Row = {"purpose": "marketing", "channel": "email", "state": "withdrawn", "source": "HubSpot"}
        key = f"{email.lower()}|marketing|email"
        yield Word(type=CONSENT, fields=told | {"key": key}, links={"person_id": str(body["id"])})


def is_lead(said: Row) -> bool:
    """Tell whether a contact is, or was, a lead, with all that a lead needs."""
    began = said.get("lifecyclestage") in _LEADS or text(said.get("hs_lifecyclestage_lead_date"))
    return bool(began) and all(text(said.get(name)) for name in ("email", "firstname", "company"))


def lead_status(said: Row) -> str:
    """Return our word for how far a lead has come."""
    stage, status = said.get("lifecyclestage"), LEAD_STATUSES.get(str(said.get("hs_lead_status")), "new")
    if stage in _CONVERTED or status == "converted":
        return "converted"
    if stage in _QUALIFIED and status != "disqualified":
        return "qualified"
    return status


def _lead(body: Row) -> Row:
    said = properties(body)
    status = lead_status(said)
    converted = stamp(said.get("hs_lifecyclestage_opportunity_date")) if status == "converted" else None
    return {
        **_plain(said, LEAD_FIELDS),
        "message": block(said.get("message")),
        "status": status,
        "captured_at": stamp(said.get("hs_lifecyclestage_lead_date")) or stamp(said.get("createdate")),
        "qualified_at": stamp(said.get("hs_lifecyclestage_marketingqualifiedlead_date")),
        "converted_at": converted,
        **_owned(body),
    }


def _company(body: Row) -> Iterable[Word]:
    said = properties(body)
    parent = text(said.get("hs_parent_company_id"))
    fields: Row = {
        **_plain(said, ACCOUNT_FIELDS),
        "kind": kind_of(said),
        "industry": spoken(said.get("industry")),
        "employee_count": whole(said.get("numberofemployees")),
        "annual_revenue": money(said.get("annualrevenue"), body.get(CURRENCY)),
        "description": block(said.get("description")),
        **_owned(body),
        **_custom(body),
    }
    if parent:
        yield Word(type=ACCOUNT, fields=fields, links={"parent_id": parent})
    else:
        yield Word(type=ACCOUNT, fields=fields | {"parent_id": None})


def kind_of(said: Row) -> str:
    """Return what a company is to us."""
    if said.get("type") in ("PARTNER", "RESELLER"):
        return "partner"
    return "customer" if said.get("lifecyclestage") in ("customer", "evangelist") else "prospect"


def spoken(value: Json) -> str | None:
    """Return a name of HubSpot's such as COMPUTER_SOFTWARE as people write it."""
    found = line(value)
    return found.replace("_", " ").capitalize() if found and found.isupper() else found


def whole(value: Json) -> int | None:
    """Return a number that is no fraction and not below zero."""
    found = text(value)
    try:
        return max(0, int(float(found))) if found else None
    except (ValueError, OverflowError):
        return None


def money(amount: Json, currency: Json) -> Json:
    """Return an amount in our form; nothing for one that is not told, or that is below zero."""
    found, code = text(amount), text(currency)
    if found is None or code is None or found.startswith("-"):
        return None
    return {"amount": found, "currency": code.upper()}


def share(value: Json) -> float | None:
    """Return a share between 0 and 1."""
    try:
        found = float(text(value) or "")
    except ValueError:
        return None
    return found if 0 <= found <= 1 else None


def stage_of(stage: Json) -> str:
    """Return our word for a stage of a deal's pipeline: by whether it is an end, and how likely the deal is in it."""
    probability = share(at_path(stage, "probability")) or 0.0
    if at_path(stage, "closed") is True:
        return "closed_won" if probability >= 1 else "closed_lost"
    return next(word for most, word in _OPEN_STAGES if probability <= most)


def _deal(body: Row) -> Iterable[Word]:
    said, stage = properties(body), body.get(STAGE)
    word = stage_of(stage)
    closed = word in ("closed_won", "closed_lost")
    fields: Row = {
        **_plain(said, DEAL_FIELDS),
        "stage": word,
        "amount": money(said.get("amount"), body.get(CURRENCY)),
        "probability": share(said.get("hs_deal_stage_probability")),
        "pipeline": line(body.get(PIPELINE)),
        "close_date": body.get(DAY),
        "opened_at": stamp(said.get("createdate")),
        "closed_at": stamp(said.get("closedate")) if closed else None,
        "won": word == "closed_won" if closed else None,
        **_owned(body),
        **_custom(body),
    }
    links, empty = _tied(body, account_id=COMPANIES, person_id=CONTACTS)
    yield Word(type=DEAL, fields=fields | empty, links=links)


def status_of(stage: Json) -> str:
    """Return our word for a stage of a ticket's pipeline: by whether it is an end, by its name, and by its place."""
    label = (text(at_path(stage, "label")) or "").lower()
    if at_path(stage, "closed") is True:
        return "solved" if "solved" in label else "closed"
    if "hold" in label:
        return "on_hold"
    if any(each in label for each in ("waiting on contact", "waiting on customer", "pending")):
        return "pending"
    return "new" if at_path(stage, "first") is True else "open"


def _ticket(body: Row) -> Iterable[Word]:
    said = properties(body)
    status = status_of(body.get(STAGE))
    fields: Row = {
        "subject": line(said.get("subject")),
        "body": block(said.get("content")),
        "status": status,
        "priority": PRIORITIES.get(str(said.get("hs_ticket_priority")), "normal"),
        "channel": line((text(said.get("source_type")) or "").lower()),
        "opened_at": stamp(said.get("createdate")),
        "first_response_at": stamp(said.get("first_agent_reply_date")),
        "solved_at": stamp(said.get("closed_date")) if status in ("solved", "closed") else None,
        **_owned(body),
        **_custom(body),
    }
    links, empty = _tied(body, account_id=COMPANIES, person_id=CONTACTS)
    yield Word(type=TICKET, fields=fields | empty, links=links)


def _activity(body: Row, fields: Row) -> Iterable[Word]:
    links, empty = _tied(body, account_id=COMPANIES, person_id=CONTACTS, deal_id=DEALS)
    told = {"at": stamp(properties(body).get("hs_timestamp")), **_owned(body)}
    yield Word(type=ACTIVITY, fields=told | fields | empty, links=links)


def _call(body: Row) -> Iterable[Word]:
    said = properties(body)
    spent, way = whole(said.get("hs_call_duration")), said.get("hs_call_direction")
    fields: Row = {
        "kind": "call",
        "subject": line(said.get("hs_call_title")),
        "body": block(said.get("hs_call_body")),
        "outbound": {"OUTBOUND": True, "INBOUND": False}.get(str(way)),
        "duration_s": None if spent is None else spent // 1000,
        "outcome": spoken(said.get("hs_call_status")),
    }
    return _activity(body, fields)


def _email(body: Row) -> Iterable[Word]:
    said = properties(body)
    fields: Row = {
        "kind": "email",
        "subject": line(said.get("hs_email_subject")),
        "body": block(said.get("hs_email_text")),
        "outbound": {"EMAIL": True, "INCOMING_EMAIL": False}.get(str(said.get("hs_email_direction"))),
        "outcome": spoken(said.get("hs_email_status")),
    }
    return _activity(body, fields)


def _meeting(body: Row) -> Iterable[Word]:
    said = properties(body)
    began, ended = moment(said.get("hs_meeting_start_time")), moment(said.get("hs_meeting_end_time"))
    outcome = text(said.get("hs_meeting_outcome")) or ""
    fields: Row = {
        "kind": "meeting",
        "at": stamp(said.get("hs_meeting_start_time")) or stamp(said.get("hs_timestamp")),
        "subject": line(said.get("hs_meeting_title")),
        "body": block(said.get("hs_meeting_body")),
        "duration_s": max(0, int((ended - began).total_seconds())) if began and ended else None,
        "completed": outcome not in _MEETINGS_TO_COME,
        "outcome": spoken(outcome),
    }
    return _activity(body, fields)


def _note(body: Row) -> Iterable[Word]:
    return _activity(body, {"kind": "note", "body": block(properties(body).get("hs_note_body"))})


def _task(body: Row) -> Iterable[Word]:
    said = properties(body)
    fields: Row = {
        "kind": "task",
        "due_at": stamp(said.get("hs_timestamp")),
        "completed": said.get("hs_task_status") == "COMPLETED",
        "subject": line(said.get("hs_task_subject")),
        "body": block(said.get("hs_task_body")),
        "outcome": spoken(said.get("hs_task_status")),
    }
    return _activity(body, fields)


_MAPPED: Mapping[str, Callable[[Row], Iterable[Word]]] = {
    CONTACTS: _contact,
    COMPANIES: _company,
    DEALS: _deal,
    TICKETS: _ticket,
    CALLS: _call,
    EMAILS: _email,
    MEETINGS: _meeting,
    NOTES: _note,
    TASKS: _task,
}
# What a single property says by itself, without what other addresses tell, by field.
ALONE: Mapping[str, Mapping[str, str]] = {
    CONTACTS: {**PERSON_FIELDS, "lifecycle": "lifecyclestage"},
    COMPANIES: {**ACCOUNT_FIELDS, "description": "description"},
    DEALS: DEAL_FIELDS,
    TICKETS: {"subject": "subject", "body": "content", "priority": "hs_ticket_priority"},
}
