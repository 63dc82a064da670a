"""BottleCRM's words into ours and back; pure.

The owner of a record is its only assignee, or the first of several by address; its person is the contact that was
linked first. Of several, none is written.
"""

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import cast

from isthmus.connectors.bottlecrm.wire import (
    ACCOUNTS,
    CASES,
    CONTACTS,
    DEALS,
    LEADS,
    PIPELINE,
    TASKS,
    Row,
    rows,
    stamp,
    texts,
)
from isthmus.kernel.marks import Json
from isthmus.kernel.words import Word, at_path, text

ACCOUNT, PERSON, LEAD = "sales.account", "sales.person", "sales.lead"
DEAL, TICKET, ACTIVITY = "sales.deal", "success.ticket", "sales.activity"
# Where a contact must have a name and there is none.
NO_NAME = "-"
LEAD_STATUSES = {
    "assigned": "new",
    "in process": "working",
    "recycled": "working",
    "closed": "disqualified",
    "converted": "converted",
}
# A lead is converted there by a person: it makes an account, a contact and a deal of it.
LEAD_STATES = {
    "new": "assigned",
    "working": "in process",
    "qualified": "in process",
    "disqualified": "closed",
}
STAGES = {
    "PROSPECTING": "qualification",
    "QUALIFICATION": "qualification",
    "PROPOSAL": "proposal",
    "NEGOTIATION": "negotiation",
}
ENDS = {"won": "closed_won", "lost": "closed_lost"}
STATES = {
    "qualification": "PROSPECTING",
    "needs_analysis": "QUALIFICATION",
    "proposal": "PROPOSAL",
    "negotiation": "NEGOTIATION",
    "closed_won": "CLOSED_WON",
    "closed_lost": "CLOSED_LOST",
}
TICKET_STATUSES = {"New": "new", "Assigned": "open", "Pending": "pending", "Closed": "closed", "Rejected": "closed"}
TICKET_STATES = {
    "new": "New",
    "open": "Assigned",
    "pending": "Pending",
    "on_hold": "Pending",
    "solved": "Closed",
    "closed": "Closed",
}
KINDS = {"question": "Question", "incident": "Incident", "problem": "Problem"}
DONE, TO_DO, DOING = "Completed", "New", "In Progress"
# What a task hangs on: at most one, the most telling first.
PARENTS = {"deal_id": "opportunity", "lead_id": "lead", "account_id": "account"}
OWNER, TAGS, CUSTOM, PEOPLE, MONEY = "owner", "tags", "custom_fields", "contacts", "money"
_PLACE = {
    "street": "address_line",
    "postal_code": "postcode",
    "city": "city",
    "region": "state",
    "country": "country",
}
# Ours: theirs, for texts and numbers that are the same on both sides.
NAMES: dict[str, dict[str, str]] = {
    ACCOUNT: {
        **_PLACE,
        **{name: name for name in ("name", "phone", "website", "industry", "description")},
        "employee_count": "number_of_employees",
    },
    PERSON: {
        **_PLACE,
        **{name: name for name in ("first_name", "last_name", "email", "phone", "title", "department")},
        "profile_url": "linkedin_url",
        "notes": "description",
    },
    LEAD: {
        **{name: name for name in ("first_name", "last_name", "email", "phone", "country", "industry")},
        "company": "company_name",
        "title": "job_title",
        "message": "description",
        "region": "state",
    },
    DEAL: {"name": "name", "close_date": "closed_on"},
    TICKET: {"subject": "name", "body": "description"},
    ACTIVITY: {"subject": "title"},
}
AMOUNTS = {
    ACCOUNT: ("annual_revenue", "annual_revenue"),
    LEAD: ("expected_value", "opportunity_amount"),
    DEAL: ("amount", "amount"),
}
_SHARED = ("owner_id", "tags", "custom")
WRITABLE: dict[str, tuple[str, ...]] = {
    ACCOUNT: (*NAMES[ACCOUNT], "annual_revenue", *_SHARED),
    PERSON: (*NAMES[PERSON], "account_id", *_SHARED),
    LEAD: (*NAMES[LEAD], "status", "expected_value", "person_id", *_SHARED),
    DEAL: (*NAMES[DEAL], "stage", "amount", "probability", "account_id", "person_id", *_SHARED),
    TICKET: (*NAMES[TICKET], "status", "kind", "priority", "account_id", "person_id", *_SHARED),
    ACTIVITY: ("subject", "body", "due_at", "completed", *PARENTS, "owner_id"),
}


def words(feed: str, body: Row) -> Iterable[Word]:
    """Return what a row of a feed says."""
    yield _WORDS[feed](body)


def stage_of(body: Row) -> str:
    """Return our word for a deal's stage; one of a pipeline of its own is told by what kind of stage it is."""
    ended = ENDS.get(str(body.get("stage_kind")))
    return ended or STAGES.get(str(body.get("stage")), "qualification")


def owner_of(body: Row) -> str | None:
    """Return the address of who a record is assigned to."""
    return next((text(each.get("email")) for each in rows(body.get("assigned_to"))), None)


def host(website: str | None) -> str | None:
    """Return the domain that a web address belongs to: `https://www.acme.example/de` gives `acme.example`."""
    if website is None:
        return None
    name = website.partition("://")[2] or website
    name = name.partition("/")[0].partition(":")[0].rpartition("@")[2].lower().removeprefix("www.")
    return name if "." in name else None


def _fields(kind: str, body: Row) -> Row:
    fields: Row = {}
    for ours, theirs in NAMES[kind].items():
        value = body.get(theirs)
        fields[ours] = text(value) if isinstance(value, str) else value
    if kind in AMOUNTS:
        ours, theirs = AMOUNTS[kind]
        fields[ours] = _money(body.get(theirs), body.get("currency"))
    fields["owner_id"] = owner_of(body)
    if kind != ACTIVITY:
        fields["tags"] = cast("Json", texts(body.get("tags")))
        customs = body.get("custom_fields")
        found = customs if isinstance(customs, dict) else {}
        fields["custom"] = {name: value for name, value in found.items() if value is not None and value != ""}
    return fields


def _money(amount: Json, currency: Json) -> Json:
    code = text(currency)
    return {"amount": str(amount), "currency": code} if amount is not None and code is not None else None


def _linked(fields: Row, links: Mapping[str, Json], *, kind: str) -> Word:
    """Return a word with the links that there are; those that are not are said to be none."""
    there = {ours: of for ours, of in links.items() if isinstance(of, str) and of}
    none: Row = {ours: None for ours in links if ours not in there}
    return Word(type=kind, fields=fields | none, links=there)


def _person_of(body: Row) -> Json:
    return next(iter(texts(body.get("contacts"))), None)


def _account(body: Row) -> Word:
    fields = _fields(ACCOUNT, body)
    return Word(type=ACCOUNT, fields=fields | {"domain": host(text(body.get("website")))})


def _person(body: Row) -> Word:
    fields = _fields(PERSON, body)
    fields |= {name: None for name in ("first_name", "last_name") if fields[name] == NO_NAME}
    return _linked(fields, {"account_id": account_of(body)}, kind=PERSON)


def account_of(body: Row) -> Json:
    """Return the account of a contact: the primary one, or else the only one that it is linked to."""
    linked = texts(body.get("linked_accounts"))
    return body.get("account") or (linked[0] if len(linked) == 1 else None)


def _lead(body: Row) -> Word:
    fields = _fields(LEAD, body)
    fields["status"] = LEAD_STATUSES.get(str(body.get("status")), "new")
    fields["captured_at"] = stamp(body.get("created_at"))
    return _linked(fields, {"person_id": _person_of(body)}, kind=LEAD)


def _deal(body: Row) -> Word:
    ended = str(body.get("stage_kind")) in ENDS
    percent = body.get("probability")
    fields = _fields(DEAL, body) | {
        "stage": stage_of(body),
        "won": body.get("stage_kind") == "won" if ended else None,
        "probability": percent / 100 if isinstance(percent, int) else None,
        "pipeline": text(body.get(PIPELINE)),
        "opened_at": stamp(body.get("created_at")),
        "closed_at": stamp(body.get("stage_changed_at")) if ended else None,
    }
    return _linked(fields, {"account_id": body.get("account"), "person_id": _person_of(body)}, kind=DEAL)


def _ticket(body: Row) -> Word:
    count = body.get("escalation_count")
    fields = _fields(TICKET, body) | {
        "status": ticket_status(body),
        "kind": next((ours for ours, theirs in KINDS.items() if theirs == body.get("case_type")), None),
        "priority": str(body.get("priority") or "normal").lower(),
        "escalated": isinstance(count, int) and count > 0,
        "opened_at": stamp(body.get("created_at")),
        "first_response_at": stamp(body.get("first_response_at")),
        "solved_at": stamp(body.get("resolved_at")),
    }
    return _linked(fields, {"account_id": body.get("account"), "person_id": _person_of(body)}, kind=TICKET)


def ticket_status(body: Row) -> str:
    """Return our word for a ticket's status."""
    return TICKET_STATUSES.get(str(body.get("status")), "closed")


def _activity(body: Row) -> Word:
    due = text(body.get("due_date"))
    fields = _fields(ACTIVITY, body) | {
        "kind": "task",
        "due_at": f"{due}T00:00:00Z" if due else None,
        "completed": body.get("status") == DONE,
    }
    links = {ours: body.get(theirs) for ours, theirs in PARENTS.items()}
    # A task hangs on one record alone: what else ours points to, it has no word for.
    some = any(links.values())
    return _linked(fields, {ours: of for ours, of in links.items() if of or not some}, kind=ACTIVITY)


_WORDS: dict[str, Callable[[Row], Word]] = {
    ACCOUNTS: _account,
    CONTACTS: _person,
    LEADS: _lead,
    DEALS: _deal,
    CASES: _ticket,
    TASKS: _activity,
}


def express(kind: str, fields: Row, *, links: Mapping[str, str], new: bool) -> Row:
    """Return what a change means in BottleCRM, by name; what it has no place for is left out.

    `owner` is an address, `tags` are names, `money` is an amount with its currency; ids are looked up later.
    """
    wanted: Row = {theirs: fields[ours] for ours, theirs in NAMES[kind].items() if ours in fields}
    if kind in AMOUNTS and AMOUNTS[kind][0] in fields:
        wanted[MONEY] = fields[AMOUNTS[kind][0]]
    if "owner_id" in fields:
        wanted[OWNER] = fields["owner_id"]
    if kind != ACTIVITY:
        for ours, theirs in (("tags", TAGS), ("custom", CUSTOM)):
            wanted |= {theirs: fields[ours]} if ours in fields else {}
    wanted |= _MEANT[kind](fields, new)
    pointed: Row = {name: None for name in ("account_id", "person_id", *PARENTS) if name in fields}
    pointed |= links
    if kind == ACTIVITY:
        return wanted | _parents(pointed)
    if "person_id" in pointed and kind != PERSON:
        wanted[PEOPLE] = pointed["person_id"]
    if "account_id" in pointed and kind in (PERSON, DEAL, TICKET):
        wanted["account"] = pointed["account_id"]
    return wanted


def _parents(pointed: Row) -> Row:
    """Return what a task is to hang on: the most telling of what is pointed to."""
    found = {theirs: pointed[ours] for ours, theirs in PARENTS.items() if ours in pointed}
    first = next(((name, of) for name, of in found.items() if of), None)
    return dict([first]) if first is not None else found


def _account_meant(fields: Row, _: bool) -> Row:  # noqa: FBT001 - all of a kind.
    website = text(fields.get("website"))
    return {"website": f"https://{website}"} if website and "://" not in website else {}


def _person_meant(fields: Row, new: bool) -> Row:  # noqa: FBT001 - all of a kind.
    wanted: Row = {}
    for name in ("first_name", "last_name"):
        if new or name in fields:
            wanted[name] = text(fields.get(name)) or NO_NAME
    return wanted


def _lead_meant(fields: Row, _: bool) -> Row:  # noqa: FBT001 - all of a kind.
    state = LEAD_STATES.get(str(fields.get("status")))
    return {"status": fields["status"]} if state is not None else {}


def _deal_meant(fields: Row, _: bool) -> Row:  # noqa: FBT001 - all of a kind.
    wanted: Row = {"stage": fields["stage"]} if text(fields.get("stage")) else {}
    if "probability" in fields:
        share = fields["probability"]
        wanted["probability"] = round(share * 100) if isinstance(share, int | float) else None
    return wanted


def _ticket_meant(fields: Row, new: bool) -> Row:  # noqa: FBT001 - all of a kind.
    status = text(fields.get("status")) or ("new" if new else None)
    wanted: Row = {} if status is None else {"status": status}
    if "kind" in fields and (fields["kind"] is None or fields["kind"] in KINDS):
        wanted["case_type"] = KINDS.get(str(fields["kind"]))
    if text(fields.get("priority")) or new:
        wanted["priority"] = str(fields.get("priority") or "normal").title()
    return wanted


def _activity_meant(fields: Row, new: bool) -> Row:  # noqa: FBT001 - all of a kind.
    wanted: Row = {}
    if "due_at" in fields:
        due = stamp(fields["due_at"])
        wanted["due_date"] = due[:10] if due else None
    if new:
        wanted["priority"], wanted["description"] = "Medium", text(fields.get("body"))
    completed = fields.get("completed", True if new else None)
    if isinstance(completed, bool):
        wanted["status"] = DONE if completed else TO_DO
    return wanted


_MEANT: dict[str, Callable[[Row, bool], Row]] = {
    ACCOUNT: _account_meant,
    PERSON: _person_meant,
    LEAD: _lead_meant,
    DEAL: _deal_meant,
    TICKET: _ticket_meant,
    ACTIVITY: _activity_meant,
}


def stands(kind: str, name: str, value: Json, row: Row) -> bool:
    """Tell whether a record there already is as it is wanted, also in BottleCRM's coarser words."""
    special = _STANDS.get(name)
    if special is not None:
        return special(kind, value, row)
    if name == "account" and kind == PERSON:
        return value == account_of(row)
    return (None if value == "" else value) == (None if row.get(name) == "" else row.get(name))


def _owner_stands(_: str, value: Json, row: Row) -> bool:
    return (text(value) or "").lower() == (owner_of(row) or "").lower()


def _tags_stand(_: str, value: Json, row: Row) -> bool:
    wanted, held = ({each.lower() for each in texts(names)} for names in (value, row.get(TAGS)))
    return wanted == held


def _customs_stand(_: str, value: Json, row: Row) -> bool:
    held, given = cast("Row", row.get(CUSTOM) or {}), cast("Row", value or {})
    return all((given.get(each) or None) == (held.get(each) or None) for each in {*given, *held})


def _money_stands(kind: str, value: Json, row: Row) -> bool:
    return _worth(value) == _worth(_money(row.get(AMOUNTS[kind][1]), row.get("currency")))


def _stage_stands(_: str, value: Json, row: Row) -> bool:
    return stage_of(row) == value or row.get("stage") == STATES[str(value)]


def _status_stands(kind: str, value: Json, row: Row) -> bool:
    if kind == ACTIVITY:
        return value == row.get("status") or (value == TO_DO and row.get("status") == DOING)
    statuses, states = (LEAD_STATUSES, LEAD_STATES) if kind == LEAD else (TICKET_STATUSES, TICKET_STATES)
    held = statuses.get(str(row.get("status")), "new" if kind == LEAD else "closed")
    return held in (value, statuses[states[str(value)]])


def _country_stands(_: str, value: Json, row: Row) -> bool:
    return str(value or "").lower() == str(row.get("country") or "").lower()


def _industry_stands(_: str, value: Json, row: Row) -> bool:
    return str(value or "").lower() == str(row.get("industry") or "").lower()


def _worth(value: Json) -> tuple[Decimal, str] | None:
    amount, currency = at_path(value, "amount"), at_path(value, "currency")
    return (Decimal(str(amount)), str(currency)) if amount is not None else None


_STANDS: dict[str, Callable[[str, Json, Row], bool]] = {
    OWNER: _owner_stands,
    TAGS: _tags_stand,
    CUSTOM: _customs_stand,
    PEOPLE: lambda _, value, row: value == _person_of(row),
    MONEY: _money_stands,
    "stage": _stage_stands,
    "status": _status_stands,
    "country": _country_stands,
    "industry": _industry_stands,
}
