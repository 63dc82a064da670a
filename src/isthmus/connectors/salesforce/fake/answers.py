"""What a query of the fake finds: rows that fulfil its condition, in its order, with the fields that it names."""

from collections.abc import Callable, Mapping
from typing import cast

from isthmus.connectors.salesforce.fake.faults import Refused
from isthmus.connectors.salesforce.fake.fields import Field, Schema
from isthmus.connectors.salesforce.fake.records import Records
from isthmus.connectors.salesforce.fake.soql import Comparison, Condition, Literal, Order, Query
from isthmus.connectors.salesforce.wire import Row, moment, whole_id
from isthmus.kernel.marks import Json

_NUMBERS = ("double", "currency", "percent", "int")
_TIMES = {"datetime": "moment", "date": "day"}
_SHORT = 15


def answered(records: Records, query: Query, *, deleted: bool) -> list[Row]:
    """Return the rows that a query finds, with deleted and archived ones if wanted; raises Refused."""
    with records.lock:
        schema = records.schema(query.table)
        for name in query.fields:
            _field(records, schema, name)
        rows = [row for row in records.rows(schema.name) if deleted or row["IsDeleted"] is False]
        if query.where is not None:
            holds = _condition(records, schema, query.where)
            rows = [row for row in rows if holds(row)]
        for order in reversed(query.order):
            field = _field(records, schema, order.field)
            rows.sort(key=_sorting(records, schema, order.field, field, order=order), reverse=order.falling)
        last = None if query.limit is None else query.offset + query.limit
        return [shown(records, schema, row, query.fields) for row in rows[query.offset : last]]


def shown(records: Records, schema: Schema, row: Row, names: tuple[str, ...]) -> Row:
    """Return a row as answers show it."""
    of = str(row["Id"])
    found: Row = {"attributes": {"type": schema.name, "url": f"/services/data/v62.0/sobjects/{schema.name}/{of}"}}
    for name in names:
        relation, _, inner = name.partition(".")
        if not inner:
            found[_field(records, schema, name).name] = row.get(_field(records, schema, name).name)
            continue
        other = _related(records, schema, row, relation)
        if other is None:
            found[relation] = None
        else:
            told = cast("Row", found.setdefault(relation, {"attributes": {"type": "User"}}))
            told[inner] = other.get(inner)
    return found


def _related(records: Records, schema: Schema, row: Row, relation: str) -> Row | None:
    field = next(each for each in schema.fields.values() if (each.relation or "").lower() == relation.lower())
    value = row.get(field.name)
    if not isinstance(value, str):
        return None
    return next((found for table in field.to if (found := records.find(table, value)) is not None), None)


def _field(records: Records, schema: Schema, name: str) -> Field:
    """Return a field by name or path, in any case; raises Refused."""
    relation, _, inner = name.partition(".")
    if inner:
        field = next(
            (each for each in schema.fields.values() if (each.relation or "").lower() == relation.lower()), None
        )
        if field is None:
            message = f"Didn't understand relationship '{relation}' in field path."
            raise Refused(400, "INVALID_FIELD", message)
        return _field(records, records.schema(field.to[0]), inner)
    found = next((each for each in schema.fields.values() if each.name.lower() == name.lower()), None)
    if found is None:
        raise Refused(400, "INVALID_FIELD", f"No such column '{name}' on entity '{schema.name}'.")
    return found


def _value(records: Records, schema: Schema, row: Row, name: str) -> Json:
    relation, _, inner = name.partition(".")
    if not inner:
        return row.get(_field(records, schema, name).name)
    other = _related(records, schema, row, relation)
    return None if other is None else other.get(inner)


def _condition(records: Records, schema: Schema, where: Condition) -> Callable[[Row], bool]:
    if isinstance(where, Comparison):
        return _comparison(records, schema, where)
    parts = [_condition(records, schema, each) for each in where.parts]
    match where.kind:
        case "and":
            return lambda row: all(part(row) for part in parts)
        case "or":
            return lambda row: any(part(row) for part in parts)
        case _:
            return lambda row: not parts[0](row)


def _comparison(records: Records, schema: Schema, where: Comparison) -> Callable[[Row], bool]:
    field = _field(records, schema, where.field)
    if not field.filterable:
        raise Refused(400, "INVALID_FIELD", f"field '{field.name}' can not be filtered in a query call")
    wanted = [_comparable(field, _typed(field, each)) for each in where.values]

    def holds(row: Row) -> bool:
        held = _comparable(field, _value(records, schema, row, where.field))
        return _COMPARE[where.sign](held, wanted)

    return holds


def _typed(field: Field, literal: Literal) -> Json:
    """Return the value of a literal that is of a field's kind; raises Refused for another."""
    if literal.kind == "null":
        return None
    if field.kind in _TIMES:
        expected = _TIMES[field.kind]
        shown_kind = "dateTime" if field.kind == "datetime" else field.kind
    elif field.kind in _NUMBERS:
        expected, shown_kind = "number", field.kind
    elif field.kind == "boolean":
        expected, shown_kind = "truth", field.kind
    else:
        expected, shown_kind = "text", "string"
    if literal.kind != expected:
        enclosed = "should be enclosed in quotes" if expected == "text" else "should not be enclosed in quotes"
        message = f"value of filter criterion for field '{field.name}' must be of type {shown_kind} and {enclosed}"
        raise Refused(400, "INVALID_FIELD", message)
    if field.kind in ("id", "reference") and len(str(literal.value)) not in (_SHORT, _SHORT + 3):
        message = f"invalid ID field: {literal.value}"
        raise Refused(400, "INVALID_QUERY_FILTER_OPERATOR", message)
    return literal.value


def _comparable(field: Field, value: Json) -> str | float | None:
    """Return what is compared: times as seconds, ids by their first 15 characters, texts in any case."""
    if value is None:
        return None
    if field.kind == "datetime":
        at = moment(value)
        return at.timestamp() if at is not None else None
    if field.kind in ("id", "reference"):
        return whole_id(str(value))[:_SHORT]
    if isinstance(value, bool | int | float):
        return float(value)
    return str(value).lower()


def _less(one: str | float | None, other: str | float | None) -> bool:
    if isinstance(one, str) and isinstance(other, str):
        return one < other
    return isinstance(one, float) and isinstance(other, float) and one < other


def _like(held: str | float | None, wanted: str | float | None) -> bool:
    parts = str(wanted).split("%")
    said, at = str(held or ""), 0
    for number, part in enumerate(parts):
        found = said.find(part, at)
        if found < 0 or (number == 0 and found > 0):
            return False
        at = found + len(part)
    return not parts[-1] or said.endswith(parts[-1])


_Wanted = list[str | float | None]
_COMPARE: Mapping[str, Callable[[str | float | None, _Wanted], bool]] = {
    "=": lambda held, wanted: held == wanted[0],
    "!=": lambda held, wanted: held != wanted[0],
    "<": lambda held, wanted: _less(held, wanted[0]),
    ">": lambda held, wanted: _less(wanted[0], held),
    "<=": lambda held, wanted: held is not None and (held == wanted[0] or _less(held, wanted[0])),
    ">=": lambda held, wanted: held is not None and (held == wanted[0] or _less(wanted[0], held)),
    "in": lambda held, wanted: held in wanted,
    "not in": lambda held, wanted: held not in wanted,
    "like": lambda held, wanted: _like(held, wanted[0]),
}


def _sorting(
    records: Records, schema: Schema, name: str, field: Field, *, order: Order
) -> Callable[[Row], tuple[bool, float, str]]:
    def key(row: Row) -> tuple[bool, float, str]:
        held = _comparable(field, _value(records, schema, row, name))
        # What is empty comes first, in whichever direction, unless the query says otherwise.
        place = (held is None) == (order.nulls_last != order.falling)
        return place, held if isinstance(held, float) else 0.0, held if isinstance(held, str) else ""

    return key
