"""Salesforce's wire forms: times of whole seconds, ids of 15 or 18 characters, texts in queries, and numbers.

SOQL and its literals: https://developer.salesforce.com/docs/atlas.en-us.soql_sosl.meta/soql_sosl/
"""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from email.utils import format_datetime
from hashlib import blake2b

import msgspec

from isthmus.kernel.marks import Json

Row = dict[str, Json]
STAMP, CUSTOM, OWNER = "SystemModstamp", "_custom", "Owner"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ID = re.compile(r"[0-9A-Za-z]{15}([0-9A-Z]{3})?")
_SUFFIX = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
_SHORT, _PART = 15, 5
_VERSION_BYTES = 12


def moment(value: Json) -> datetime | None:
    """Return a time in UTC; rows say `2026-11-23T10:00:00.000+0000`, files of bulk jobs end in Z."""
    if not isinstance(value, str) or "T" not in value:
        return None
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        return None
    return at.astimezone(UTC) if at.tzinfo is not None else None


def stamp(value: Json) -> str | None:
    """Return a time in our form."""
    at = moment(value)
    return at.isoformat().replace("+00:00", "Z") if at else None


def literal(at: datetime) -> str:
    """Return a time as queries say it."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def http_date(value: Json) -> str | None:
    """Return a time as headers of HTTP say it."""
    at = moment(value)
    return format_datetime(at.replace(microsecond=0), usegmt=True) if at else None


def quoted(value: str) -> str:
    """Return a text as queries say it."""
    said = value.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\r", "\\r")
    return f"'{said}'"


def among(name: str, values: Iterable[str]) -> str:
    """Return the condition that a field holds one of these texts."""
    return f"{name} IN ({', '.join(quoted(each) for each in values)})"


def select(names: Iterable[str], table: str, *, where: str = "", order: str = "", limit: int = 0) -> str:
    """Return a query; texts of others stand in it as `quoted` says them."""
    parts = ["SELECT", ", ".join(names), "FROM", table]
    parts += ["WHERE", where] if where else []
    parts += ["ORDER BY", order] if order else []
    return " ".join(parts + (["LIMIT", str(limit)] if limit else []))


def is_id(value: str) -> bool:
    """Tell whether a text has the form of an id, so that it may stand in a path."""
    return _ID.fullmatch(value) is not None


def whole_id(value: str) -> str:
    """Return an id in 18 characters: the last three tell which of the others are capitals."""
    if len(value) != _SHORT:
        return value
    parts = (value[at : at + _PART] for at in range(0, _SHORT, _PART))
    return value + "".join(_SUFFIX[sum(1 << bit for bit, each in enumerate(part) if each.isupper())] for part in parts)


def amount(value: Json, currency: Json) -> Json:
    """Return money in our form; nothing where the amount or the currency is not told."""
    if not isinstance(currency, str) or not currency or isinstance(value, bool) or not isinstance(value, int | float):
        return None
    said = Decimal(str(value))
    return {"amount": format(said.normalize() if said else said, "f"), "currency": currency}


def number(value: Json) -> Decimal | None:
    """Return the amount of money of ours."""
    told = value.get("amount") if isinstance(value, dict) else None
    try:
        return Decimal(str(told)) if told is not None else None
    except InvalidOperation:
        return None


def digest(value: Json) -> str:
    """Return what tells a value from others."""
    encoded = msgspec.json.encode(value, order="deterministic")
    return blake2b(encoded, digest_size=_VERSION_BYTES).hexdigest()


def first(found: Sequence[Row]) -> Row:
    """Return the first of some maps; an empty one where there is none."""
    return found[0] if found else {}


def rows(value: Json) -> list[Row]:
    """Return the maps of a list."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def in_parts(values: Sequence[str], size: int) -> list[Sequence[str]]:
    """Return a list in parts of at most that size."""
    return [values[at : at + size] for at in range(0, len(values), size)]
