"""How rows of somebody's table or file become records and back, as a person has said: column by column. Pure."""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from functools import cached_property
from typing import Literal, cast
from zoneinfo import ZoneInfo, available_timezones

import msgspec
from msgspec import Struct

from isthmus.kernel.errors import Fault
from isthmus.kernel.marks import Json
from isthmus.kernel.words import Word

CUSTOM = "custom"
WHOLE_MAX = 2**63 - 1
_FALSE = frozenset({None, False, "", "0", "f", "false", "n", "no", "off"})
_MILLISECONDS = 10**11
_NUMBER = re.compile(r"-?\d+(\.\d+)?")
_CURRENCY = re.compile(r"[A-Z]{3}")
Form = Literal["text", "truth", "json", "moment", "day", "number"]


class Unfit(ValueError):
    """A value that the column, or the field, cannot hold; the sentence says why."""


class Way(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a field is told and said: in which column, in which direction and in which form.

    An amount takes its currency from `currency` or `currency_column`. With `link` the column holds the key of a row of
    another table. `values` names ours by theirs. `form` says how a column that knows no such type is meant, and
    `format` how its moments and days are written, as strptime reads them; ISO 8601 without it.
    """

    column: str
    direction: Literal["both", "in", "out"] = "both"
    link: bool = False
    currency: str | None = None
    currency_column: str | None = None
    values: dict[str, str] = {}
    form: Form | None = None
    format: str | None = None

    @property
    def money(self) -> bool:
        """Whether it is an amount."""
        return self.currency is not None or self.currency_column is not None


class Layout(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """What rows become: the record type, and our fields by name with their column.

    `updated_at` is the column that moves with every change. `deleted` is a column that marks rows as deleted. `zone`
    (IANA) is that of times which name none. With `ignored` every other column is kept as received, and new ones are
    told.
    """

    type: str
    fields: dict[str, str | Way]
    updated_at: str | None = None
    deleted: str | None = None
    zone: str = "UTC"
    ignored: tuple[str, ...] | None = None

    @cached_property
    def ways(self) -> dict[str, Way]:
        """The fields with how each is told and said."""
        return {name: each if isinstance(each, Way) else Way(column=each) for name, each in self.fields.items()}

    @cached_property
    def told(self) -> tuple[tuple[str, Way, bool], ...]:
        """The fields that a row tells, with their way, and whether the value of the column is that of the field."""
        return tuple(
            (name, way, not (way.link or way.money or way.values or way.form) and not name.startswith(f"{CUSTOM}."))
            for name, way in self.ways.items()
            if way.direction != "out"
        )

    @property
    def mapped(self) -> tuple[str, ...]:
        """The columns of the fields, of changes and of deletions, each once."""
        named = [self.updated_at, self.deleted]
        for way in self.ways.values():
            named += [way.column, way.currency_column]
        return tuple(dict.fromkeys(name for name in named if name))

    @property
    def written(self) -> tuple[str, ...]:
        """The names of our fields that may be written."""
        return tuple(dict.fromkeys(name.partition(".")[0] for name, way in self.ways.items() if way.direction != "in"))


def truth(value: Json) -> bool:
    """Tell whether a value means yes: false, 0, nothing and `no` do not, everything else does."""
    if isinstance(value, dict | list):
        return True
    return (value.strip().lower() if isinstance(value, str) else value) not in _FALSE


def moment_of(value: datetime, *, zone: ZoneInfo) -> datetime:
    """Return a moment in UTC; one that names no zone is of `zone`."""
    return (value if value.tzinfo is not None else value.replace(tzinfo=zone)).astimezone(UTC)


def stamp_moment(value: object, *, zone: ZoneInfo) -> datetime | None:
    """Return when a stamp was: a moment, a day, a text in ISO 8601, or seconds or milliseconds since 1970."""
    if isinstance(value, datetime):
        return moment_of(value, zone=zone)
    told = str(value)
    try:
        if _NUMBER.fullmatch(told):
            number = float(told)
            return datetime.fromtimestamp(number / 1000 if abs(number) >= _MILLISECONDS else number, UTC)
        return moment_of(datetime.fromisoformat(told), zone=zone)
    except (ValueError, OverflowError, OSError):
        return None


def words(layout: Layout, body: Mapping[str, Json]) -> Iterator[Word]:
    """Yield what a row says of its record; a column that the row lacks says nothing. Raises ValueError."""
    fields: dict[str, Json] = {}
    links: dict[str, str] = {}
    custom: dict[str, Json] = {}
    for name, way, plain in layout.told:
        if way.column not in body:
            continue
        value = body[way.column]
        if plain:
            fields[name] = value
            continue
        first, _, rest = name.partition(".")
        if way.link and value is not None:
            links[name] = str(value)
        elif first == CUSTOM and rest:
            custom[rest] = _ours(way, value, body, zone=ZoneInfo(layout.zone))
        else:
            fields[name] = _ours(way, value, body, zone=ZoneInfo(layout.zone))
    if custom:
        fields[CUSTOM] = custom
    yield Word(type=layout.type, fields=fields, links=links)


def columns(layout: Layout, fields: Mapping[str, Json], links: Mapping[str, str]) -> dict[str, Json]:
    """Return what a change says of the columns; fields that are only read are left out."""
    found: dict[str, Json] = {}
    custom = fields.get(CUSTOM)
    told = dict(fields)
    if isinstance(custom, dict):
        told |= {f"{CUSTOM}.{name}": each for name, each in custom.items()}
    for name, way in layout.ways.items():
        if way.direction == "in":
            continue
        if way.link and name in links:
            found[way.column] = links[name]
        elif name in told:
            found |= _theirs(way, told[name], zone=ZoneInfo(layout.zone))
    return found


def unfit(layout: Layout, fields: Mapping[str, Json]) -> str:
    """Return why a change cannot be said in these columns; nothing when it can."""
    for name, value in fields.items():
        way = layout.ways.get(name)
        if way is None or way.currency is None or way.currency_column is not None or not isinstance(value, dict):
            continue
        if value.get("currency") != way.currency:
            return f"{way.column} is in {way.currency}, and {name} is in {value.get('currency')}."
    return ""


def faults_of(name: str, layout: Layout, *, pointer: str, types: tuple[str, ...]) -> Iterator[Fault]:
    """Yield what is wrong with a layout, which a person has called `name`, at a place in what was given."""

    def fault(where: str, detail: str) -> Fault:
        return Fault(pointer=f"{pointer}/{where}", code="invalid", detail=f"{name}: {detail}")

    if layout.type not in types:
        yield fault("type", f"there is no record type {layout.type!r} for rows; there are {', '.join(types)}.")
    if layout.zone not in available_timezones():
        yield fault("zone", f"there is no zone {layout.zone!r}; write it as Europe/Brussels.")
    if not layout.fields:
        yield fault("fields", "map one column at least.")
    for field, way in layout.ways.items():
        if way.link and (way.money or way.values):
            yield fault(f"fields/{field}", f"{field} is a link, and so has neither currency nor values.")
        if way.currency is not None and not _CURRENCY.fullmatch(way.currency):
            yield fault(f"fields/{field}", f"{field} needs a currency of three letters, such as EUR.")
        if way.format is not None and way.form not in ("moment", "day"):
            yield fault(f"fields/{field}", f'{field} has a `format`, and so needs `form = "moment"` or "day".')
    told = [way.column for way in layout.ways.values() if way.direction != "in"]
    for column in sorted({each for each in told if told.count(each) > 1}):
        yield fault("fields", f'{column} is written by more than one field; give all but one `direction = "in"`.')


def twice(layouts: Mapping[str, Layout], *, pointer: str, instead: str) -> Iterator[Fault]:
    """Yield a fault for each record type that more than one layout becomes; `instead` says what to do."""
    types = [each.type for each in layouts.values()]
    for each in sorted({each for each in types if types.count(each) > 1}):
        # Ids of one type in one system are of one kind: a second would take over the rows of the first.
        yield Fault(pointer=pointer, code="invalid", detail=f"{each} comes from more than one {instead}")


def _ours(way: Way, value: Json, body: Mapping[str, Json], *, zone: ZoneInfo) -> Json:  # noqa: C901, PLR0911 - one line for each form.
    if value is None:
        return None
    if way.money:
        return {"amount": _amount(value), "currency": way.currency or body.get(cast("str", way.currency_column))}
    if way.values and isinstance(value, str | int):
        return way.values.get(str(value), value)
    match way.form:
        case "truth":
            return truth(value)
        case "json":
            return cast("Json", msgspec.json.decode(value)) if isinstance(value, str) else value
        case "text":
            return str(value)
        case "number":
            return _number(value)
        case "day":
            return _read(way, value).date().isoformat() if way.format else str(value)[:10]
        case "moment":
            return moment_of(_read(way, value), zone=zone).isoformat()
        case None:
            return value


def _read(way: Way, value: Json) -> datetime:
    told = str(value).strip()
    return datetime.strptime(told, way.format) if way.format else datetime.fromisoformat(told)  # noqa: DTZ007 - the layout's zone is added by the caller.


def _theirs(way: Way, value: Json, *, zone: ZoneInfo) -> dict[str, Json]:
    if way.money:
        said = value if isinstance(value, dict) else {}
        found: dict[str, Json] = {way.column: said.get("amount")}
        return found | ({way.currency_column: said.get("currency")} if way.currency_column and value else {})
    if way.values and isinstance(value, str):
        value = {ours: theirs for theirs, ours in way.values.items()}.get(value, value)
    if way.format and isinstance(value, str):
        at = datetime.fromisoformat(value)
        value = (at.astimezone(zone) if at.tzinfo is not None else at).strftime(way.format)
    return {way.column: value}


def _amount(value: Json) -> str:
    try:
        return format(Decimal(str(value).strip()), "f")
    except InvalidOperation as error:
        raise Unfit("an amount is no number") from error


def _number(value: Json) -> Json:
    if isinstance(value, int | float):
        return value
    told = str(value).strip()
    if not _NUMBER.fullmatch(told):
        raise Unfit("a number is none")
    whole = Decimal(told)
    return int(whole) if whole == whole.to_integral_value() and "." not in told else float(whole)
