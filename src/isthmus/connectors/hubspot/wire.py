"""HubSpot's wire forms: every property is a text or null, times are ISO 8601 or milliseconds, lists part at semicolons.

What stands in a row beside what HubSpot sends begins with an underscore: what other addresses tell of it.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from hashlib import blake2b
from typing import cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from isthmus.kernel.marks import Json
from isthmus.kernel.words import at_path, text

Row = dict[str, Json]
LINKS, OWNER, STAGE, PIPELINE, CURRENCY, DAY = "_links", "_owner", "_stage", "_pipeline", "_currency", "_day"
CUSTOM, PARTIAL = "_custom", "_partial"
MERGED = "hs_merged_object_ids"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
_STAMPS = ("hs_lastmodifieddate", "lastmodifieddate")
_VERSION_BYTES = 12
_NOON = time(12)


def moment(value: Json) -> datetime | None:
    """Return a time in UTC, from ISO 8601 or from milliseconds; nothing for what is none."""
    found = text(value)
    if found is None:
        return None
    try:
        if found.removeprefix("-").isdecimal():
            return EPOCH + int(found) * MILLISECOND
        at = datetime.fromisoformat(found)
    except (ValueError, OverflowError):
        return None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def stamp(value: Json) -> str | None:
    """Return a time as `2026-11-23T09:30:00.120000Z`."""
    at = moment(value)
    return at.isoformat().replace("+00:00", "Z") if at else None


def milliseconds(at: datetime) -> int:
    """Return a time in milliseconds, as filters say it."""
    return (at - EPOCH) // MILLISECOND


def zone(name: str | None) -> ZoneInfo:
    """Return the time zone of an account; UTC for one that this machine does not know."""
    try:
        return ZoneInfo(name or "UTC")
    except (ZoneInfoNotFoundError, ValueError):
        return ZoneInfo("UTC")


def day_in(value: Json, where: ZoneInfo) -> str | None:
    """Return the day of a time, as people of the account read it."""
    at = moment(value)
    return at.astimezone(where).date().isoformat() if at else None


def noon_of(value: Json, where: ZoneInfo) -> str | None:
    """Return a time of a day that is that day in the account's zone and, nearly everywhere, in others."""
    found = text(value)
    if found is None:
        return None
    at = datetime.combine(date.fromisoformat(found), _NOON, tzinfo=where).astimezone(UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def properties(row: Row) -> Row:
    """Return the properties of a row."""
    found = row.get("properties")
    return found if isinstance(found, dict) else {}


def rows(value: Json, *path: str) -> list[Row]:
    """Return the maps of a list at a path."""
    found = at_path(value, *path) if path else value
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def parts(value: Json) -> list[str]:
    """Return the parts of a text that holds several."""
    return [each.strip() for each in (text(value) or "").split(";") if each.strip()]


def linked(row: Row, to: str) -> str | None:
    """Return the record of a kind that a row is associated with: the primary one, else that of the lowest id."""
    found = at_path(row, LINKS, to)
    return str(found[0]) if isinstance(found, list) and found else None


def version(row: Row) -> str:
    """Return what tells two states of a record apart, of all that is read of it; associations move no stamp."""
    said: Row = {name: value for name, value in properties(row).items() if value and name not in _STAMPS}
    links = cast("Mapping[str, Json]", row.get(LINKS) or {})
    said[LINKS] = {name: value for name, value in links.items() if value}
    encoded = msgspec.json.encode(said, order="deterministic")
    return blake2b(encoded, digest_size=_VERSION_BYTES).hexdigest()


def chunks(found: Iterable[str], size: int) -> list[list[str]]:
    """Return ids in lists of at most a size."""
    listed = list(found)
    return [listed[start : start + size] for start in range(0, len(listed), size)]
