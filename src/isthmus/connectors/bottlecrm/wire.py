"""BottleCRM's wire forms: rows of a list and a record alone brought into one form, without what changes by itself.

Times come in the time zone of the company and are brought into UTC. What depends on the day or on other records (ages,
deadlines, sums) is left out: it would make a record look changed that nobody touched.
"""

from datetime import UTC, datetime
from hashlib import blake2b
from typing import cast

import msgspec

from isthmus.kernel.marks import Json
from isthmus.kernel.words import at_path, text

Row = dict[str, Json]
ACCOUNTS, CONTACTS, LEADS = "accounts", "contacts", "leads"
DEALS, CASES, TASKS = "opportunities", "cases", "tasks"
# A merged ticket; nothing else may have this status.
DUPLICATE = "Duplicate"
PIPELINE = "_pipeline"
_PLACE = ("address_line", "city", "state", "postcode", "country")
_COMMON = ("id", "assigned_to", "tags", "created_at")
FIELDS: dict[str, tuple[str, ...]] = {
    ACCOUNTS: (
        *(*_COMMON, "name", "email", "phone", "website", "industry", "number_of_employees", "annual_revenue"),
        *("currency", *_PLACE, "description", "is_active", "created_by", "custom_fields"),
    ),
    CONTACTS: (
        *(*_COMMON, "first_name", "last_name", "email", "phone", "organization", "title", "department"),
        *("do_not_call", "linkedin_url", *_PLACE, "description", "source", "source_detail", "source_ref"),
        *("is_active", "account", "linked_accounts", "created_by", "updated_at", "custom_fields"),
    ),
    LEADS: (
        *(*_COMMON, "title", "first_name", "last_name", "email", "phone", "job_title", "website", "linkedin_url"),
        *("status", "source", "source_detail", "source_ref", "industry", "rating", "opportunity_amount", "currency"),
        *("probability", "close_date", *_PLACE, "description", "contacts", "company_name", "last_contacted"),
        *("next_follow_up", "is_active", "first_response_at", "created_by", "updated_at", "custom_fields"),
    ),
    DEALS: (
        *(*_COMMON, "name", "account", "pipeline", "stage", "stage_label", "stage_kind", "opportunity_type"),
        *("currency", "amount", "amount_source", "probability", "closed_on", "lead_source", "source_detail"),
        *("source_ref", "contacts", "description", "is_active", "stage_changed_at", "created_by", "custom_fields"),
    ),
    CASES: (
        *(*_COMMON, "name", "status", "priority", "case_type", "closed_on", "description", "is_active", "account"),
        *("contacts", "escalation_count", "first_response_at", "resolved_at", "parent", "created_by", "custom_fields"),
    ),
    TASKS: (
        *(*_COMMON, "title", "status", "priority", "due_date", "account", "opportunity", "case", "lead", "project"),
    ),
}
_PARENTS = ("account", "opportunity", "case", "lead", "created_by")


def pruned(feed: str, row: Row) -> Row:
    """Return a row with the fields that we read, in one form; one that it lacks stays absent."""
    return {name: _plain(name, row[name]) for name in FIELDS[feed] if name in row}


def _plain(name: str, value: Json) -> Json:
    if value is None:
        return None
    if name == "assigned_to":
        people: list[Row] = [
            {"id": at_path(each, "id"), "email": text(at_path(each, "user_details", "email"))} for each in rows(value)
        ]
        return cast("Json", sorted(people, key=lambda who: (str(who["email"]), str(who["id"]))))
    if name == "tags":
        return cast("Json", sorted(str(each.get("name")) for each in rows(value)))
    if name in ("contacts", "linked_accounts"):
        # Both come with the newest first; the first to be linked is the one that a record is of.
        return cast("Json", [str(each.get("id")) for each in rows(value)][::-1])
    if name in _PARENTS and isinstance(value, dict):
        return value.get("id")
    return stamp(value) or value if name.endswith("_at") else value


def moment(value: Json) -> datetime | None:
    """Return a time in UTC; nothing for one that is not set."""
    if not isinstance(value, str) or not value:
        return None
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        return None
    return at.astimezone(UTC) if at.tzinfo is not None else None


def stamp(value: Json) -> str | None:
    """Return a time in our form; nothing for one that is not set."""
    at = moment(value)
    return at.isoformat().replace("+00:00", "Z") if at else None


def rows(value: Json) -> list[Row]:
    """Return the maps of a list."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def texts(value: Json) -> list[str]:
    """Return the texts of a list."""
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def version(row: Row) -> str:
    """Return what tells two states of a record apart.

    Most kinds of records show no time of change, and what is linked moves none: so it is a digest of all we read.
    """
    said = {name: value for name, value in row.items() if name != "updated_at"}
    return blake2b(msgspec.json.encode(said, order="sorted"), digest_size=12).hexdigest()
