"""The shape in which two sides are compared: the key, the fields with their kinds, the money, the moment of change."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from hashlib import md5

from isthmus.kernel.errors import Invalid


class Kind(StrEnum):
    """What a field holds; the two sides may store it differently, such as a number as text."""

    TEXT = "text"
    INTEGER = "integer"
    NUMBER = "number"
    TRUTH = "truth"
    MOMENT = "moment"
    DAY = "day"


class UnknownValue(Invalid):
    """A value does not have the kind that its field is compared as."""

    code, title = "unknown-value", "A value cannot be compared"


@dataclass(frozen=True, kw_only=True)
class Field:
    """A field by the name that both sides use for it."""

    name: str
    kind: Kind = Kind.TEXT


@dataclass(frozen=True, kw_only=True)
class MoneyFields:
    """Where a row holds money: names of the amount (a number), the currency, and the moment or day that dates it."""

    amount: str
    currency: str
    at: str


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What is compared. `changed_at` names the field (a moment) that tells when a row changed last; it is no content.

    Raises Invalid when a name stands for nothing.
    """

    key: Field
    fields: tuple[Field, ...]
    money: MoneyFields | None = None
    changed_at: str | None = None

    def __post_init__(self) -> None:
        """Refuse names that no field has, and keys that are neither a text nor an integer."""
        if self.key.kind not in {Kind.TEXT, Kind.INTEGER}:
            raise Invalid("The key is neither a text nor an integer.", fix="Compare by another field, or as text.")
        named = {each.name for each in self.fields}
        wanted = {self.money.amount, self.money.currency, self.money.at} if self.money else set[str]()
        if missing := sorted(wanted - named):
            raise Invalid(f"The fields of money {missing} are not compared.", fix="Name them among the fields.")

    @property
    def by_number(self) -> bool:
        """Tell whether the key is a number, so that its neighbours stand together in an index."""
        return self.key.kind is Kind.INTEGER

    def position(self, name: str) -> int:
        """Return where a field stands among the values of a row."""
        return next(place for place, each in enumerate(self.fields) if each.name == name)


@dataclass(frozen=True, slots=True)
class Row:
    """A row as it is compared: the key and the values as canonical texts, None where there is no value."""

    key: str
    values: tuple[str | None, ...]
    changed_at: str | None = None


def canonical(value: object, kind: Kind) -> str | None:
    """Return the one text that stands for a value of a kind on every side; None for no value. Raises UnknownValue."""
    if value is None:
        return None
    try:
        return _TEXTS[kind](value)
    except (TypeError, ValueError, ArithmeticError) as error:
        raise UnknownValue(f"{value!r} is not a {kind}.", fix="Compare the field as another kind.") from error


def row_of(shape: Shape, key: object, values: tuple[object, ...], changed_at: object = None) -> Row:
    """Return a row from values as a driver or a mapping gives them, in the order of the shape. Raises UnknownValue."""
    found = canonical(key, shape.key.kind)
    if found is None:
        raise UnknownValue("A row has no key.", fix="Compare by a field that every row has.")
    told = tuple(canonical(value, field.kind) for field, value in zip(shape.fields, values, strict=True))
    return Row(found, told, canonical(changed_at, Kind.MOMENT))


def row_text(row: Row) -> bytes:
    """Return what the portable hash of a row is taken of: lengths keep neighbours apart, `N` is no value."""
    return b"".join(_part(each) for each in (row.key, *row.values))


def portable_hash(text: bytes) -> int:
    """Return the first 64 bits of an MD5 sum, signed; every database knows it, and nothing secret rests on it."""
    return int.from_bytes(md5(text, usedforsecurity=False).digest()[:8], "big", signed=True)


def place_of(shape: Shape, key: str) -> int:
    """Return where a key stands in the order of buckets: a number at itself, a text at 63 bits of its hash."""
    return int(key) if shape.by_number else portable_hash(key.encode()) & _PLACE_MASK


def _part(text: str | None) -> bytes:
    if text is None:
        return b"N"
    raw = text.encode()
    return b"V%d:%b" % (len(raw), raw)


def _number(value: object) -> str:
    plain = format(Decimal(str(value)), "f")
    if not plain.lstrip("-").replace(".", "", 1).isdigit():
        raise ValueError(plain)
    trimmed = plain.rstrip("0").rstrip(".") if "." in plain else plain
    return "0" if trimmed in {"-0", "", "-"} else trimmed


def _truth(value: object) -> str:
    if str(value).lower() not in _TRUTHS:
        raise ValueError(value)
    return _TRUTHS[str(value).lower()]


def _moment(value: object) -> str:
    at = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    return at.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def _day(value: object) -> str:
    return (value if isinstance(value, date) else date.fromisoformat(str(value))).strftime("%Y-%m-%d").zfill(10)


_PLACE_MASK = (1 << 63) - 1
_TRUTHS = {"true": "true", "t": "true", "1": "true", "false": "false", "f": "false", "0": "false"}
_TEXTS: dict[Kind, Callable[[object], str]] = {
    Kind.TEXT: str,
    Kind.INTEGER: lambda value: str(int(str(value))),
    Kind.NUMBER: _number,
    Kind.TRUTH: _truth,
    Kind.MOMENT: _moment,
    Kind.DAY: _day,
}
