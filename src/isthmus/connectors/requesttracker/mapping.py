"""Request Tracker's words into ours and back; pure.

A user who is not privileged is a person; a ticket is a ticket, its first requestor the person it is of. A custom field
named Channel is our channel, the others stand in `custom`, beside the queue.
"""

from collections.abc import Iterable, Mapping
from typing import cast

from isthmus.connectors.requesttracker.wire import (
    ANSWERED,
    STAFF,
    TICKETS,
    USERS,
    Row,
    custom_fields,
    rows,
    stamp,
)
from isthmus.kernel.marks import LINE_MAX, Json
from isthmus.kernel.words import Word, at_path, text

PERSON, TICKET = "sales.person", "success.ticket"
CHANNEL, QUEUE, NOBODY = "channel", "queue", "Nobody"
DELETED, NEW = "deleted", "new"
STATUSES = {
    "new": "new",
    "open": "open",
    "stalled": "pending",
    "resolved": "solved",
    "rejected": "closed",
}
STATES = {
    "new": "new",
    "open": "open",
    "pending": "stalled",
    "on_hold": "stalled",
    "solved": "resolved",
    "closed": "resolved",
}
ENDED = ("solved", "closed")
# From which number on a priority is called so; Request Tracker's own words are Low 0, Medium 50, High 100.
PRIORITIES = ((101, "urgent"), (75, "high"), (25, "normal"))
NUMBERS = {"low": 0, "normal": 50, "high": 100, "urgent": 150}
_PHONES = ("WorkPhone", "MobilePhone", "HomePhone")
_PERSON = {
    "email": "EmailAddress",
    "street": "Address1",
    "city": "City",
    "region": "State",
    "postal_code": "Zip",
    "country": "Country",
    "language": "Lang",
}
WRITABLE: dict[str, tuple[str, ...]] = {
    PERSON: (*_PERSON, "phone", "first_name", "last_name"),
    TICKET: ("subject", "body", "status", "priority", "channel", "owner_id", "person_id", "custom"),
}
# A user has one name; where its halves meet is our guess.
TOGETHER = {PERSON: (("first_name", "last_name"),)}


def words(feed: str, body: Row) -> Iterable[Word]:
    """Return what a row of a feed says."""
    if feed == TICKETS:
        yield _ticket(body)
    elif feed == USERS:
        yield Word(type=PERSON, fields=_person(body))


def status_of(body: Row) -> str:
    """Return our word for a status; one of a life cycle of its own is told by the times that go with it."""
    known = STATUSES.get(str(body.get("Status")))
    if known is not None:
        return known
    return "solved" if stamp(body.get("Resolved")) else "open" if stamp(body.get("Started")) else "new"


def priority_of(value: Json) -> str:
    """Return our word for a number."""
    try:
        held = int(str(value))
    except ValueError:
        return "normal"
    return next((word for least, word in PRIORITIES if held >= least), "low")


def _ticket(body: Row) -> Word:
    status, owner = status_of(body), body.get("Owner")
    named = custom_fields(body)
    custom: Row = {QUEUE: text(at_path(body, "Queue", "Name"))}
    custom |= {name: ", ".join(values)[:LINE_MAX] for name, values in named.items() if values and not _channel(name)}
    channel = next((values for name, values in named.items() if _channel(name)), ())
    fields: Row = {
        "subject": text(body.get("Subject")),
        "status": status,
        "priority": priority_of(body.get("Priority")),
        "channel": text(", ".join(channel)[:LINE_MAX]),
        "owner_id": owner_of(owner),
        "opened_at": stamp(body.get("Created")),
        "first_response_at": stamp(body.get(ANSWERED)),
        "solved_at": stamp(body.get("Resolved")) if status in ENDED else None,
        "custom": {name: value for name, value in custom.items() if value},
    }
    asking = requestor(body)
    if asking is None:
        return Word(type=TICKET, fields=fields | {"person_id": None})
    return Word(type=TICKET, fields=fields, links={"person_id": asking})


def _channel(name: str) -> bool:
    return name.lower() == CHANNEL


def owner_of(owner: Json) -> str | None:
    """Return who owns a ticket: the e-mail address, or the name where there is none; nobody owns what is Nobody's."""
    name = text(at_path(owner, "Name")) or text(at_path(owner, "id"))
    return None if name == NOBODY else text(at_path(owner, "EmailAddress")) or name


def requestor(body: Row) -> str | None:
    """Return the number of the user who asked, unless it is one of the staff."""
    asking = next((each for each in rows(body.get("Requestor")) if not each.get(STAFF)), None)
    return str(asking["id"]) if asking is not None else None


def _person(body: Row) -> Row:
    first, _, last = (text(body.get("RealName")) or "").partition(" ")
    phones = (text(body.get(name)) for name in _PHONES)
    return {
        **{ours: text(body.get(theirs)) for ours, theirs in _PERSON.items()},
        "phone": next((each for each in phones if each), None),
        "first_name": first or None,
        "last_name": last.strip() or None,
    }


def express(kind: str, fields: Row, *, links: Mapping[str, str], new: bool) -> Row:
    """Return what a change means in Request Tracker, by path; what it has no place for is left out."""
    if kind == PERSON:
        wanted: Row = {theirs: fields[ours] or "" for ours, theirs in _PERSON.items() if ours in fields}
        wanted |= {name: fields[name] for name in ("phone", "first_name", "last_name") if name in fields}
        return wanted
    wanted = {"Subject": fields["subject"] or ""} if "subject" in fields else {}
    if new and text(fields.get("body")):
        wanted["Content"] = fields["body"]
    if status := text(fields.get("status")):
        wanted["Status"] = status
    if priority := text(fields.get("priority")):
        wanted["Priority"] = priority
    if "owner_id" in fields:
        wanted["Owner"] = text(fields["owner_id"]) or NOBODY
    wanted |= {name: fields[name] for name in (CHANNEL, "custom") if name in fields}
    if "person_id" in links:
        wanted["Requestor"] = links["person_id"]
    elif "person_id" in fields:
        wanted["Requestor"] = None
    return wanted


def values(feed: str, wanted: Row, *, current: Row) -> Row:
    """Return what to send for what is wanted of a record that stands as `current` says (empty for a new one).

    The owner is already a user's name. What stands as it is wanted is left out.
    """
    sent = _user_values(wanted, current) if feed == USERS else _ticket_values(wanted, current)
    return sent if not current else {name: value for name, value in sent.items() if not _stands(name, value, current)}


def _stands(name: str, value: Json, current: Row) -> bool:
    match name:
        case "Queue":
            return value in (at_path(current, "Queue", "Name"), at_path(current, "Queue", "id"))
        case "Owner":
            return value == at_path(current, "Owner", "id")
        case "Requestor" | "CustomFields":
            return False
        case _:
            return (value or "") == (current.get(name) or "")


def _user_values(wanted: Row, current: Row) -> Row:
    sent = {name: value for name, value in wanted.items() if name in _PERSON.values()}
    if "first_name" in wanted or "last_name" in wanted:
        first, _, last = (text(current.get("RealName")) or "").partition(" ")
        halves = (wanted.get("first_name", first), wanted.get("last_name", last))
        sent["RealName"] = " ".join(half for each in halves if (half := text(each)))
    if "phone" in wanted:
        there = next((name for name in _PHONES if text(current.get(name))), _PHONES[0])
        sent[there] = wanted["phone"] or ""
    return sent


def _ticket_values(wanted: Row, current: Row) -> Row:
    sent = {name: wanted[name] for name in ("Subject", "Content", "Owner") if name in wanted}
    state = STATES.get(str(wanted.get("Status")))
    # A status stays that already means what is wanted, in coarser words or those of a life cycle of its own.
    if state is not None and (not current or status_of(current) not in (wanted["Status"], STATUSES[state])):
        sent["Status"] = state
    priority = wanted.get("Priority")
    if isinstance(priority, str) and (not current or priority_of(current.get("Priority")) != priority):
        sent["Priority"] = str(NUMBERS[priority])
    if "Requestor" in wanted and (not current or "Requestor" in current):
        sent["Requestor"] = [wanted["Requestor"]] if wanted["Requestor"] is not None else []
    custom = {name: value for name, value in _customs(wanted, current).items() if name != QUEUE}
    if custom:
        sent["CustomFields"] = custom
    if queue := text(at_path(wanted, "custom", QUEUE)):
        sent["Queue"] = queue
    return sent


def _customs(wanted: Row, current: Row) -> Row:
    """Return the custom fields to write: those that the ticket has, with at most one value, that differ."""
    named = custom_fields(current)
    given = {name: value for name, value in cast("Row", wanted.get("custom") or {}).items() if name != QUEUE}
    if isinstance(wanted.get("custom"), dict):
        given |= {name: None for name in named if name not in given and not _channel(name)}
    if CHANNEL in wanted:
        given[next((name for name in named if _channel(name)), CHANNEL.title())] = wanted[CHANNEL]
    texts: Row = {name: None if value is None else _said(value) for name, value in given.items()}
    if not current:
        return {name: value for name, value in texts.items() if value}
    return {
        name: value or None
        for name, value in texts.items()
        if name in named and len(named[name]) <= 1 and (value or "") != "".join(named[name])
    }


def _said(value: Json) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def unmet(feed: str, sent: Row, *, row: Row) -> list[str]:
    """Return what was sent and does not stand: the server says yes to a change of which it took nothing."""
    missed = [
        name
        for name, value in sent.items()
        if name not in ("Content", "Requestor", "CustomFields") and not _stands(name, value, row)
    ]
    if feed == TICKETS:
        named = custom_fields(row)
        customs = cast("Row", sent.get("CustomFields") or {})
        missed += [name for name, value in customs.items() if (value or "") != ", ".join(named.get(name, ()))]
        if "Requestor" in sent:
            asking = [str(each.get("id")) for each in rows(row.get("Requestor"))]
            missed += [] if asking == sent["Requestor"] else ["Requestor"]
    return missed
