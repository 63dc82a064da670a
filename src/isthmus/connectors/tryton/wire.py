"""Tryton's wire forms of dates, times and decimals, and reading them out of a record as it was sent.

Times are naive and mean UTC; JSON has no decimals, so they travel as `{"__class__": "Decimal", "decimal": "12.30"}`.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import cast

from isthmus.kernel.marks import Json

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def moment(value: Json) -> datetime | None:
    """Return the time that a wire form says, in UTC; nothing for anything else."""
    if not isinstance(value, dict) or value.get("__class__") != "datetime":
        return None
    year, month, day, *rest = (
        cast("int", value[part]) for part in ("year", "month", "day", "hour", "minute", "second", "microsecond")
    )
    return datetime(year, month, day, *rest, tzinfo=UTC)


def moment_form(at: datetime) -> Json:
    """Return the wire form of a time."""
    at = at.astimezone(UTC)
    parts: dict[str, Json] = {"__class__": "datetime", "year": at.year, "month": at.month, "day": at.day}
    return parts | {"hour": at.hour, "minute": at.minute, "second": at.second, "microsecond": at.microsecond}


def day(value: Json) -> str | None:
    """Return the date that a wire form says, as `2026-11-22`."""
    if not isinstance(value, dict) or value.get("__class__") != "date":
        return None
    return date(cast("int", value["year"]), cast("int", value["month"]), cast("int", value["day"])).isoformat()


def day_form(text: str) -> Json:
    """Return the wire form of a date given as `2026-11-22`, or of the date of a time given in that way."""
    on = date.fromisoformat(text[:10])
    return {"__class__": "date", "year": on.year, "month": on.month, "day": on.day}


def decimal(value: Json) -> str | None:
    """Return the digits of a decimal."""
    if not isinstance(value, dict) or value.get("__class__") != "Decimal":
        return None
    return cast("str", value["decimal"])


def decimal_form(digits: str) -> Json:
    """Return the wire form of a decimal."""
    return {"__class__": "Decimal", "decimal": digits}


def rows(value: Json) -> list[dict[str, Json]]:
    """Return the records of a list field."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def last_change(body: dict[str, Json]) -> datetime | None:
    """Return when the record, or a part that came with it, was last changed."""
    return max(_changes(body), default=None)


def _changes(value: Json) -> Iterator[datetime]:
    if isinstance(value, dict):
        if (at := moment(value.get("last_modified_at"))) is not None:
            yield at
        for inner in value.values():
            yield from _changes(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _changes(inner)
