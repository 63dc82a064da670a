"""Rows of a table in our words and back, as the person who connected it has said. Pure."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import cast
from zoneinfo import ZoneInfo

import msgspec

from isthmus.connectors.sql.tables import Table, Way
from isthmus.connectors.sql.values import moment_of
from isthmus.kernel.marks import Json
from isthmus.kernel.words import Word

CUSTOM = "custom"
_FALSE = frozenset({None, False, "", "0", "f", "false", "n", "no", "off"})


class Unfit(ValueError):
    """A value that the column, or the field, cannot hold; the sentence says why."""


def truth(value: Json) -> bool:
    """Tell whether a value means yes: false, 0, nothing and `no` do not, everything else does."""
    if isinstance(value, dict | list):
        return True
    return (value.lower() if isinstance(value, str) else value) not in _FALSE


def words(table: Table, body: Mapping[str, Json]) -> Iterator[Word]:
    """Yield what a row says of its record."""
    fields: dict[str, Json] = {}
    links: dict[str, str] = {}
    custom: dict[str, Json] = {}
    for name, way in table.ways.items():
        if way.direction == "out":
            continue
        value = body.get(way.column)
        first, _, rest = name.partition(".")
        if way.link and value is not None:
            links[name] = str(value)
        elif first == CUSTOM and rest:
            custom[rest] = _ours(way, value, body, zone=ZoneInfo(table.zone))
        else:
            fields[name] = _ours(way, value, body, zone=ZoneInfo(table.zone))
    if custom:
        fields[CUSTOM] = custom
    yield Word(type=table.type, fields=fields, links=links)


def columns(table: Table, fields: Mapping[str, Json], links: Mapping[str, str]) -> dict[str, Json]:
    """Return what a change says of the columns; fields that are only read are left out."""
    found: dict[str, Json] = {}
    custom = fields.get(CUSTOM)
    told = dict(fields)
    if isinstance(custom, dict):
        told |= {f"{CUSTOM}.{name}": each for name, each in custom.items()}
    for name, way in table.ways.items():
        if way.direction == "in":
            continue
        if way.link and name in links:
            found[way.column] = links[name]
        elif name in told:
            found |= _theirs(way, told[name])
    return found


def unfit(table: Table, fields: Mapping[str, Json]) -> str:
    """Return why a change cannot be said in this table; nothing when it can."""
    for name, value in fields.items():
        way = table.ways.get(name)
        if way is None or way.currency is None or way.currency_column is not None or not isinstance(value, dict):
            continue
        if value.get("currency") != way.currency:
            return f"{way.column} is in {way.currency}, and {name} is in {value.get('currency')}."
    return ""


def _ours(way: Way, value: Json, body: Mapping[str, Json], *, zone: ZoneInfo) -> Json:  # noqa: PLR0911 - one line for each form.
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
        case "day":
            return str(value)[:10]
        case "moment":
            return moment_of(datetime.fromisoformat(str(value)), zone=zone).isoformat()
        case None:
            return value


def _theirs(way: Way, value: Json) -> dict[str, Json]:
    if way.money:
        said = value if isinstance(value, dict) else {}
        found: dict[str, Json] = {way.column: said.get("amount")}
        return found | ({way.currency_column: said.get("currency")} if way.currency_column and value else {})
    if way.values and isinstance(value, str):
        value = {ours: theirs for theirs, ours in way.values.items()}.get(value, value)
    return {way.column: value}


def _amount(value: Json) -> str:
    try:
        return format(Decimal(str(value)), "f")
    except InvalidOperation as error:
        raise Unfit("an amount is no number") from error
