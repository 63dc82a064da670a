"""Two lists of rows that are equal but for differences planted by chance, and what was planted."""

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from random import Random

from isthmus.sync.reconciling.comparing import Difference, DifferenceKind
from isthmus.sync.reconciling.shape import Field, Kind, MoneyFields, Row, Shape

WATERMARK = datetime(2026, 6, 1, tzinfo=UTC)
FIELDS = (
    Field(name="name"),
    Field(name="amount", kind=Kind.NUMBER),
    Field(name="currency"),
    Field(name="due", kind=Kind.DAY),
    Field(name="seen_at", kind=Kind.MOMENT),
    Field(name="open", kind=Kind.TRUTH),
    Field(name="size", kind=Kind.INTEGER),
)
MONEY = MoneyFields(amount="amount", currency="currency", at="due")
PLANTS = tuple(each for each in DifferenceKind if each is not DifferenceKind.AGGREGATE)


def shape(key: Kind) -> Shape:
    """Return the shape of all rows here."""
    return Shape(key=Field(name="id", kind=key), fields=FIELDS, money=MONEY, changed_at="changed_at")


@dataclass
class Planted:
    """Both lists, and the differences as (kind, key, field)."""

    one: list[Row] = field(default_factory=list[Row])
    other: list[Row] = field(default_factory=list[Row])
    differences: Counter[tuple[DifferenceKind, str, str | None]] = field(
        default_factory=Counter[tuple[DifferenceKind, str, str | None]]
    )


def planted(chance: Random, *, rows: int, differences: int, key: Kind) -> Planted:
    """Return rows with so many differences, each at a key of its own."""
    made = Planted()
    numbers = chance.sample(range(-5 * rows, 20 * rows), rows)
    struck = frozenset(chance.sample(numbers, min(differences, rows)))
    for number in numbers:
        row = _row(chance, str(number) if key is Kind.INTEGER else f"ID-{number} é")
        if number in struck:
            _plant(chance, made, row)
        else:
            twins = [row] * (1 if chance.random() < 0.95 else 2)
            made.one += twins
            made.other += twins
    chance.shuffle(made.other)
    return made


def told(found: tuple[Difference, ...]) -> Counter[tuple[DifferenceKind, str, str | None]]:
    """Return differences as they are planted."""
    return Counter((each.kind, each.key, each.field) for each in found)


def _row(chance: Random, key: str) -> Row:
    at = WATERMARK - timedelta(seconds=chance.randrange(10**7), microseconds=chance.randrange(10**6))
    values = (
        chance.choice([None, "", "N", "V1:x", f"name {chance.randrange(50)}", "ü\n\t'\"\\"]),
        chance.choice([None, "0", f"{chance.randrange(10**6)}.5", str(-chance.randrange(10**9))]),
        chance.choice([None, "EUR", "USD"]),
        chance.choice([None, f"2026-0{chance.randrange(1, 10)}-11"]),
        chance.choice([None, at.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"]),
        chance.choice([None, "true", "false"]),
        chance.choice([None, str(chance.randrange(-(2**62), 2**62))]),
    )
    return Row(key, values, at.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z")


def _plant(chance: Random, made: Planted, row: Row) -> None:
    kind = chance.choice(PLANTS)
    changed = _changed(chance, row)
    name = next(each.name for each, a, b in zip(FIELDS, row.values, changed.values, strict=True) if a != b)
    match kind:
        case DifferenceKind.MISSING:
            made.one.append(row)
        case DifferenceKind.EXTRA:
            made.other.append(row)
        case DifferenceKind.DUPLICATE:
            times = chance.randrange(2, 5)
            made.one += [row] * times
            made.other += [row] * chance.choice([1, times + 2])
        case DifferenceKind.LATE:
            made.one.append(row)
            if chance.random() < 0.7:
                made.other.append(replace(changed, changed_at="2026-06-01T00:00:00.000001Z"))
            else:
                made.one[-1] = replace(row, changed_at="2026-07-01T00:00:00.000000Z")
        case _:
            made.one.append(row)
            made.other.append(changed)
    made.differences[kind, row.key, name if kind is DifferenceKind.FIELD else None] += 1


def _changed(chance: Random, row: Row) -> Row:
    """Return a row with one value changed, to no value or to a blank among others."""
    place = chance.randrange(len(FIELDS))
    choices = {
        Kind.TEXT: [None, "", "other", "N"],
        Kind.NUMBER: [None, "0.0001", "77"],
        Kind.DAY: [None, "2025-12-31"],
        Kind.MOMENT: [None, "2025-12-31T23:59:59.999999Z"],
        Kind.TRUTH: [None, "true", "false"],
        Kind.INTEGER: [None, "5", str(2**62 + 1)],
    }[FIELDS[place].kind]
    value = chance.choice([each for each in choices if each != row.values[place]])
    return replace(row, values=(*row.values[:place], value, *row.values[place + 1 :]))
