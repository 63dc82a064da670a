"""Request Tracker's wire forms: times of whole seconds in UTC, empty texts for what is not set, and its query language.

A time that is not set is 1970-01-01T00:00:00Z. In queries a time is meant in the time zone of the user who asks, so
the session holds that this is UTC.
"""

from datetime import UTC, datetime
from hashlib import blake2b
from typing import cast

import msgspec

from isthmus.kernel.marks import Json

Row = dict[str, Json]
TICKETS, USERS = "tickets", "users"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# What a user row holds, as the server names it, and we read.
USER_TEXTS = (
    *("Name", "EmailAddress", "RealName", "WorkPhone", "MobilePhone", "HomePhone"),
    *("Address1", "City", "State", "Zip", "Country", "Lang"),
)
USER_FIELDS = ("id", *USER_TEXTS, "Created", "LastUpdated")
TICKET_FIELDS = (
    *("Subject", "Status", "Priority", "Queue", "Owner", "Requestor", "Created", "Started", "Resolved", "Told"),
    *("LastUpdated", "CustomFields"),
)
# What stands in a row beside the fields that were asked for: links, and who is of the staff and answered first.
STAFF, ANSWERED = "_staff", "_answered"


def moment(value: Json) -> datetime | None:
    """Return a time in UTC; nothing for one that is not set."""
    if not isinstance(value, str) or not value:
        return None
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        return None
    return at.astimezone(UTC) if at.tzinfo is not None and at > EPOCH else None


def stamp(value: Json) -> str | None:
    """Return a time in our form; nothing for one that is not set."""
    at = moment(value)
    return at.isoformat().replace("+00:00", "Z") if at else None


def rows(value: Json) -> list[Row]:
    """Return the maps of a list; nothing for the empty text that stands for an empty list."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def custom_fields(row: Row) -> dict[str, tuple[str, ...]]:
    """Return the texts of each custom field that a ticket can have, by its name; those of files are left out."""
    found: dict[str, tuple[str, ...]] = {}
    for each in rows(row.get("CustomFields")):
        values = cast("list[Json]", each.get("values") or [])
        if isinstance(name := each.get("name"), str) and all(isinstance(value, str) for value in values):
            found[name] = tuple(cast("list[str]", values))
    return found


def version(feed: str, row: Row) -> str:
    """Return what tells two states of a record apart, from a row of a search and from the record alone alike.

    The time of change has whole seconds, so a digest of what may be written stands beside it.
    """
    if feed == USERS:
        said = [str(row.get(name) or "") for name in USER_TEXTS]
    else:
        said = [str(row.get(name) or "") for name in ("Subject", "Status", "Priority")]
        said += [_told(row.get("Queue"), "id"), _told(row.get("Owner"), "Name", "id"), "of"]
        # Alone a record names its people by name, in a search by number and by name.
        said += sorted(_told(each, "Name", "id") for each in rows(row.get("Requestor")))
        for name, values in sorted(custom_fields(row).items()):
            said += [name, "is", *sorted(values)]
    digest = blake2b(msgspec.json.encode(said), digest_size=8).hexdigest()
    return f"{row.get('LastUpdated')} {digest}"


def _told(value: Json, *names: str) -> str:
    return next((str(value[name]) for name in names if value.get(name)), "") if isinstance(value, dict) else ""
