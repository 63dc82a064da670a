"""Cells of files into values of fields, a column at a time: what a file says, in the form in which it is claimed.

A cell that cannot be read becomes a `Bad` with its reason; the other cells of its column are not slowed down by it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from isthmus.kernel.errors import Invalid
from isthmus.kernel.marks import Field, Json
from isthmus.sync.mappings import Source

_READY: dict[str, type] = {"bigint": int, "boolean": bool}
_TRUE = frozenset({"true", "t", "yes", "y", "1"})
_FALSE = frozenset({"false", "f", "no", "n", "0"})


class Absent:
    """Stands for a cell that says nothing, which is not the same as null."""


ABSENT = Absent()


@dataclass(frozen=True, slots=True)
class Bad:
    """A cell that cannot be read, as it is in the file, and why."""

    value: Json
    reason: str


Cell = Json | Absent | Bad
Convert = Callable[[object], Cell]


class UnknownZone(Invalid):
    """The mapping names a time zone that does not exist."""

    code, title = "unknown-zone", "The time zone is not known"


def column_of(
    declared: Field | None, source: Source, columns: Mapping[str, Sequence[object]], *, count: int, blank_is_null: bool
) -> Sequence[Cell]:
    """Return the values of a field for `count` rows."""
    if source.column is None:
        return [source.constant] * count
    blank: Cell = None if blank_is_null else ABSENT
    kind = declared.column if declared is not None else "text"
    cells = columns[source.column]
    if kind == "money":
        return _money(source, cells, columns, blank)
    convert = _converter(kind, source)

    read: dict[str, str] = {}

    def slow(cell: object) -> Cell:
        if cell.__class__ is not str:
            return blank if _is_blank(cell) else _tried(convert, cell)
        told = cast("str", cell)
        if (again := read.get(told)) is not None:
            return again
        found = blank if _is_blank(cell) else _tried(convert, cell)
        if found.__class__ is str:
            read[told] = cast("str", found)
        return found

    # What already is of the right class needs no call, which is most of a file.
    plain_text = kind == "text" and set(source.transforms) <= {"trim"}
    if plain_text:
        return [cell if cell.__class__ is str and cell and not cell.isspace() else slow(cell) for cell in _texts(cells)]
    ready = _READY.get(kind)
    return [cast("Json", cell) if cell.__class__ is ready else slow(cell) for cell in cells]


def _texts(cells: Sequence[object]) -> Sequence[str]:
    """Return cells as if all were text; the caller looks at the class of each."""
    return cast("Sequence[str]", cells)


def moments(source: Source, cells: Sequence[object]) -> list[datetime | None]:
    """Return moments; None where a cell is blank or cannot be read."""
    read = _moment(source)
    return [datetime.fromisoformat(at) if isinstance(at := _tried(read, cell), str) else None for cell in cells]


def plain(value: object) -> Json:
    """Return a value of a file as JSON."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return cast("Json", msgspec.to_builtins(value, str_keys=True))


def _is_blank(cell: object) -> bool:
    return cell is None or (cell.__class__ is str and not cast("str", cell).strip())


def _tried(convert: Convert, cell: object) -> Cell:
    try:
        return convert(cell)
    except ValueError as error:
        return Bad(plain(cell), str(error))


def _converter(kind: str, source: Source) -> Convert:
    if kind in _BY_KIND:
        return _BY_KIND[kind]
    return _MADE.get(kind, _text)(source)


def _text(source: Source) -> Convert:
    def convert(cell: object) -> Cell:
        text = cell if isinstance(cell, str) else _shown(cell)
        for each in source.transforms:
            text = text.strip() if each == "trim" else text.lower() if each == "lower" else text.upper()
        return text

    if not source.transforms:
        return lambda cell: cell if isinstance(cell, str) else _shown(cell)
    return convert


def _shown(cell: object) -> str:
    if isinstance(cell, bytes | list | dict):
        message = "it is not text"
        raise ValueError(message)  # noqa: TRY004 - every fault of a cell is of its value.
    return format(cell, "f") if isinstance(cell, Decimal) else str(cell)


def _integer(cell: object) -> Cell:
    if isinstance(cell, bool):
        return int(cell)
    if isinstance(cell, int):
        return cell
    number = _decimal(cell)
    if number is None or number != number.to_integral_value():
        message = f"{cell!r} is not a whole number"
        raise ValueError(message)
    return int(number)


def _decimal(cell: object) -> Decimal | None:
    """Return a number; None for what is none, or is not finite."""
    try:
        number = Decimal(format(cell, "f") if isinstance(cell, Decimal) else str(cell).strip())
    except ArithmeticError:
        return None
    return number if number.is_finite() else None


def _float(cell: object) -> Cell:
    number = _decimal(cell)
    if number is None:
        message = f"{cell!r} is not a number such as 0.25"
        raise ValueError(message)
    return float(number)


def _boolean(cell: object) -> Cell:
    if isinstance(cell, bool):
        return cell
    word = str(cell).strip().lower()
    if word in _TRUE or word in _FALSE:
        return word in _TRUE
    message = f"{cell!r} is neither true nor false"
    raise ValueError(message)


def _amount(cell: object) -> Cell:
    if _decimal(cell) is None:
        message = f"{cell!r} is not an amount such as 1234.50"
        raise ValueError(message)
    return str(cell).strip() if not isinstance(cell, Decimal) else format(cell, "f")


def _money(source: Source, cells: Sequence[object], columns: Mapping[str, Sequence[object]], blank: Cell) -> list[Cell]:
    currencies = columns[source.currency_column] if source.currency_column else None

    def one(n: int, cell: object) -> Cell:
        given = currencies[n] if currencies else None
        currency = source.currency if _is_blank(given) else str(given).strip().upper()
        if not currency:
            return Bad(
                plain(cell),
                "the amount has no currency; name its column in the mapping, or one for all, as in --currency EUR",
            )
        amount = _tried(_amount, cell)
        return amount if isinstance(amount, Bad) else cast("Json", {"amount": amount, "currency": currency})

    return [blank if _is_blank(cell) else one(n, cell) for n, cell in enumerate(cells)]


def _zone(source: Source) -> ZoneInfo | None:
    if source.zone is None:
        return None
    try:
        return ZoneInfo(source.zone)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise UnknownZone(
            f"There is no time zone {source.zone!r}.", fix="Use a name such as Europe/Brussels."
        ) from error


def _moment(source: Source) -> Convert:
    zone = _zone(source)

    def convert(cell: object) -> Cell:
        at = cell
        if isinstance(at, str):
            at = _written(at, source, such_as="2026-11-22T09:30:00Z")
        if not isinstance(at, datetime):
            if not isinstance(at, date):
                message = f"{cell!r} is not a moment"
                raise ValueError(message)  # noqa: TRY004 - every fault of a cell is of its value.
            at = datetime(at.year, at.month, at.day)  # noqa: DTZ001 - the zone is added below.
        if at.tzinfo is None:
            if zone is None:
                message = (
                    f"{cell!r} names no time zone; end it in Z or an offset such as +01:00, or give the mapping a zone"
                )
                raise ValueError(message)
            at = at.replace(tzinfo=zone)
        return at.astimezone(UTC).isoformat().replace("+00:00", "Z")

    return convert


def _written(cell: str, source: Source, *, such_as: str) -> datetime:
    text = cell.strip()
    try:
        return datetime.strptime(text, source.format) if source.format else datetime.fromisoformat(text)  # noqa: DTZ007 - the caller looks at the zone.
    except ValueError as error:
        way = f"in the mapping's format {source.format!r}" if source.format else f"written as {such_as}"
        message = f"{text!r} is not {way}"
        raise ValueError(message) from error


def _day(source: Source) -> Convert:
    def convert(cell: object) -> Cell:
        if isinstance(cell, datetime):
            return cell.date().isoformat()
        if isinstance(cell, date):
            return cell.isoformat()
        return _written(str(cell), source, such_as="2026-11-22").date().isoformat()

    return convert


def _decoded(text: str) -> Json:
    try:
        return cast("Json", msgspec.json.decode(text))
    except msgspec.DecodeError as error:
        message = "it begins like JSON and is none"
        raise ValueError(message) from error


def _list(source: Source) -> Convert:
    def convert(cell: object) -> Cell:
        if not isinstance(cell, str):
            return plain(cell)
        text = cell.strip()
        if text[:1] in ("[", "{"):
            return _decoded(text)
        return [each.strip() for each in text.split(source.separator) if each.strip()]

    return convert


_BY_KIND: dict[str, Convert] = {
    "bigint": _integer,
    "double precision": _float,
    "boolean": _boolean,
    "numeric": _amount,
}
_MADE: dict[str, Callable[[Source], Convert]] = {"timestamptz": _moment, "date": _day, "jsonb": _list}
