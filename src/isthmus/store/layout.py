"""How a record lies in its table, and how its values are told: one layout for each record type, made once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import LiteralString, cast
from uuid import UUID

from isthmus.kernel.ids import text_of
from isthmus.kernel.marks import Field, Json, RecordType
from isthmus.store.normal import canonical_amount

OWN = ("id", "version", "hlc", "created_at", "updated_at", "deleted_at", "merged_into")
"""Columns that every record has, in the order in which they are read; the sealed part comes after them."""
_FIRST = len(OWN) + 1
_WHOLE_MAX = 1 << 53
Told = Callable[[object], Json]
"""Makes the JSON form of a value that the driver read; it never gets None."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Layout:
    """What is selected of a type, and how the values of a row are told.

    `blank` holds all fields of the type in their order, without values; `names` are those in clear in the order of
    their columns. `told` are those whose JSON form is another than what the driver reads, `money` names amounts with
    the place of their currency in a row.
    """

    columns: LiteralString
    blank: Mapping[str, Json]
    names: tuple[str, ...]
    told: tuple[tuple[str, Told], ...]
    money: tuple[tuple[str, int], ...]

    def values(self, row: Sequence[object]) -> dict[str, Json]:
        """Return the open values of a row as they are claimed, and the sealed ones as null."""
        values = dict(self.blank)
        values.update(cast("zip[tuple[str, Json]]", zip(self.names, row[_FIRST:], strict=False)))
        for name, tell in self.told:
            if (value := values[name]) is not None:
                values[name] = tell(value)
        for name, place in self.money:
            if isinstance(amount := cast("object", values[name]), Decimal):
                currency = str(row[place])
                values[name] = {"amount": canonical_amount(amount, currency), "currency": currency}
        return values


@lru_cache(maxsize=1024)
def layout_of(record_type: RecordType, *, prefixes: tuple[tuple[str, str], ...] | None = None) -> Layout:
    """Return the layout of a type, with values as they are claimed.

    With `prefixes` they are for an answer instead: ids of these fields have their outside form, and moments and days
    stay what the driver read, which the encoder of answers writes in the same form in a tenth of the time.
    """
    outside = dict(prefixes or ())
    forms = _TOLD if prefixes is None else {name: _TOLD[name] for name in _TOLD.keys() - _ENCODED}
    fields = record_type.open_fields
    amounts = [each for each in fields if each.column == "money"]
    names = [*OWN, *(each.name for each in fields), *(f"{each.name}_currency" for each in amounts)]
    return Layout(
        columns=cast("LiteralString", ", ".join([*names[: len(OWN)], "{sealed}", *names[len(OWN) :]])),
        blank=dict.fromkeys(each.name for each in record_type.fields),
        names=tuple(each.name for each in fields),
        told=tuple((each.name, tell) for each in fields if (tell := _told(each, outside.get(each.name), forms))),
        money=tuple((each.name, _FIRST + len(fields) + number) for number, each in enumerate(amounts)),
    )


def _told(declared: Field, prefix: str | None, forms: Mapping[str, Told]) -> Told | None:
    if prefix is not None:
        return lambda value: text_of(prefix, cast("UUID", value))
    return forms.get(declared.column)


def _moment(value: object) -> Json:
    """Return a moment as it stands in JSON."""
    return cast("datetime", value).astimezone(UTC).isoformat().replace("+00:00", "Z")


def _number(value: object) -> Json:
    return format(cast("Decimal", value).normalize(), "f")


def _float(value: object) -> Json:
    """Return a number without decimals where it has none, as JSON texts write it."""
    number = cast("float", value)
    return int(number) if number.is_integer() and abs(number) <= _WHOLE_MAX else number


_TOLD: Mapping[str, Told] = {
    "double precision": _float,
    "numeric": _number,
    "timestamptz": _moment,
    "date": lambda value: cast("date", value).isoformat(),
    "uuid": str,
}
_ENCODED = frozenset({"timestamptz", "date"})
