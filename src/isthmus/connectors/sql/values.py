"""Values of databases in JSON and back, exactly: numbers with decimals are text, moments are in UTC. Pure."""

import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import StrEnum
from math import isfinite
from typing import TypeAlias, cast
from zoneinfo import ZoneInfo

import msgspec

from isthmus.kernel.layouts import WHOLE_MAX, moment_of
from isthmus.kernel.marks import Json

Plain: TypeAlias = str | int | float | bool | None
"""What is bound to a statement."""
_MILLISECONDS = 10**11
_SHAPE = re.compile(r"(\d{4}-\d\d-\d\d)([ T])(\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d(?::?\d\d)?)?")
_NUMBER = re.compile(r"-?\d+(\.\d+)?")


class Kind(StrEnum):
    """What a column holds, as far as it matters when it is written."""

    TEXT = "text"
    NUMBER = "number"
    TRUTH = "truth"
    MOMENT = "moment"
    LOCAL = "local"
    DAY = "day"
    JSON = "json"
    LIST = "list"
    BYTES = "bytes"


def said(value: object, *, zone: ZoneInfo) -> Json:  # noqa: C901, PLR0911 - one line for each type.
    """Return what a driver gave as JSON; a time without a zone is of `zone`. Raises ValueError for bytes."""
    match value:
        case None | bool() | str():
            return value
        case int():
            return value if abs(value) <= WHOLE_MAX else str(value)
        case float():
            return value if isfinite(value) else str(value)
        case Decimal():
            return format(value, "f") if value.is_finite() else str(value)
        case datetime():
            return moment_of(value, zone=zone).isoformat()
        case date() | time():
            return value.isoformat()
        case timedelta():
            return str(value)
        case bytes() | bytearray() | memoryview():
            raise ValueError("bytes cannot be told in words")
        case dict():
            return {str(name): said(each, zone=zone) for name, each in cast("Mapping[object, object]", value).items()}
        case list() | tuple() | set():
            return [said(each, zone=zone) for each in cast("Sequence[object]", value)]
        case _:
            return str(value)


def stamp_text(value: object) -> str:
    """Return a stamp as the database compares it: as it stands there."""
    return value.isoformat(sep=" ") if isinstance(value, datetime) else str(value)


def earlier(told: str, *, overlap: timedelta) -> str:
    """Return a stamp moved back, in the same shape, so that the database compares it as it does its own."""
    if _NUMBER.fullmatch(told):
        number = Decimal(told)
        per_second = 1000 if abs(number) >= _MILLISECONDS else 1
        return str(number - Decimal(str(overlap.total_seconds())) * per_second)
    found = _SHAPE.fullmatch(told)
    if found is None or not overlap:
        return told
    day, between, clock, fraction, offset = found.groups()
    try:
        at = datetime.fromisoformat(f"{day}T{clock}") - overlap
    except (ValueError, OverflowError):
        return told
    return f"{at.date().isoformat()}{between}{at.time().isoformat('seconds')}{fraction or ''}{offset or ''}"


def held(value: Json, kind: Kind, *, zone: ZoneInfo, textual: bool) -> Plain:  # noqa: PLR0911 - one line for each kind.
    """Return what to bind for a value; with `textual` the database itself reads text as the column's type.

    Raises ValueError for what the column cannot hold.
    """
    if value is None:
        return None
    if kind is Kind.JSON:
        return msgspec.json.encode(value).decode()
    if kind is Kind.LIST and isinstance(value, list):
        return f"{{{','.join(map(_element, value))}}}"
    if isinstance(value, dict | list):
        return msgspec.json.encode(value).decode()
    if kind is Kind.LOCAL and isinstance(value, str):
        return _local(value, zone=zone)
    if kind is Kind.MOMENT and isinstance(value, str) and not textual:
        return _local(value, zone=ZoneInfo("UTC"))
    if isinstance(value, bool):
        return ("true" if value else "false") if textual and kind is not Kind.NUMBER else int(value)
    return str(value) if textual else value


def _local(told: str, *, zone: ZoneInfo) -> str:
    at = datetime.fromisoformat(told)
    if at.tzinfo is not None:
        at = at.astimezone(zone).replace(tzinfo=None)
    return at.isoformat(sep=" ")


def _element(value: Json) -> str:
    if value is None:
        return "NULL"
    told = str(value).lower() if isinstance(value, bool) else str(value)
    escaped = told.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
