"""Whether a resource meets a filter, and by which indexed value the resources that may meet it are looked up."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TypeAlias, cast

from isthmus.auth.scim.attributes import Attribute, Document, Kind, read_attribute
from isthmus.auth.scim.errors import InvalidFilter
from isthmus.auth.scim.filters import Compare, Every, Filter, Not, Some, Value, Within, split
from isthmus.kernel.marks import Json

_ORDERED = frozenset({"gt", "ge", "lt", "le"})
_Comparable: TypeAlias = str | float | datetime


def meets(document: Document, wanted: Filter, kind: Kind) -> bool:
    """Tell whether a resource meets a filter; raises InvalidFilter for attributes that there are not."""
    match wanted:
        case Every(parts):
            held = [meets(document, each, kind) for each in parts]  # All are looked at, so that each is checked.
            return all(held)
        case Some(parts):
            held = [meets(document, each, kind) for each in parts]  # All are looked at, so that each is checked.
            return any(held)
        case Not(part):
            return not meets(document, part, kind)
        case Within(path, inner):
            attribute, _ = _found(kind, path)
            return attribute is not None and any(
                value_meets(each, inner, attribute) for each in listed(document.get(attribute.name))
            )
        case Compare(path):
            attribute, part = _found(kind, path)
            if attribute is None:
                return wanted.operator == "ne"
            return _compared(_values(attribute, part, document.get(attribute.name)), wanted)


def value_meets(value: Json, wanted: Filter, attribute: Attribute) -> bool:
    """Tell whether one value of an attribute meets a filter on its parts; raises InvalidFilter."""
    match wanted:
        case Every(parts):
            held = [
                value_meets(value, each, attribute) for each in parts
            ]  # All are looked at, so that each is checked.
            return all(held)
        case Some(parts):
            held = [
                value_meets(value, each, attribute) for each in parts
            ]  # All are looked at, so that each is checked.
            return any(held)
        case Not(part):
            return not value_meets(value, part, attribute)
        case Within():
            raise InvalidFilter("A filter in brackets has none within.", fix="Write it as RFC 7644 §3.4.2.2 does.")
        case Compare(path):
            if not attribute.parts and path.lower() == "value":
                return _compared([(attribute, value)], wanted)
            return _compared(_values(attribute, path, value), wanted)


def looked_up(wanted: Filter, kind: Kind, indexed: Sequence[str]) -> tuple[str, str] | None:
    """Return one `attribute.part` among `indexed` with the text that every resource must have there, if there is one.

    Only what must hold in any case counts: an alternative or a negation narrows nothing.
    """
    match wanted:
        case Every(parts):
            return next(filter(None, (looked_up(each, kind, indexed) for each in parts)), None)
        case Within(path, inner):
            attribute = kind.find(kind.local(path))
            found = _equal_value(inner)
            name = f"{attribute.name}.value" if attribute is not None else ""
            return (name, found) if found is not None and name in indexed else None
        case Compare(path, "eq", str(value)):
            name = _full_name(kind, path)
            return (name, value) if name in indexed else None
        case _:
            return None


def conditions_of(wanted: Filter, attribute: Attribute) -> Document | None:
    """Return the parts that a value must have to meet a filter made of equalities only; None for any other filter."""
    match wanted:
        case Every(parts):
            whole: Document = {}
            for each in parts:
                if (own := conditions_of(each, attribute)) is None:
                    return None
                whole |= own
            return whole
        case Compare(path, "eq", value):
            part = attribute.part(path)
            return {part.name: value} if part is not None else None
        case _:
            return None


def listed(value: Json) -> list[Json]:
    """Return the values of an attribute, none where there is none."""
    return value if isinstance(value, list) else [] if value is None else [value]


def _equal_value(wanted: Filter) -> str | None:
    match wanted:
        case Every(parts):
            return next(filter(None, (_equal_value(each) for each in parts)), None)
        case Compare(path, "eq", str(value)) if path.lower() == "value":
            return value
        case _:
            return None


def _full_name(kind: Kind, path: str) -> str:
    name, part = split(kind.local(path))
    attribute = kind.find(name)
    if attribute is None:
        return ""
    if not attribute.parts:
        return attribute.name
    own = attribute.part(part or "value")
    return f"{attribute.name}.{own.name}" if own is not None else ""


def _found(kind: Kind, path: str) -> tuple[Attribute | None, str]:
    name, part = split(kind.local(path))
    if name.lower() == "schemas":
        return Attribute(name="schemas", about="", multi=True), ""
    attribute = kind.find(name)
    if attribute is None and not (kind.leaves_out(name) or kind.leaves_out(path)):
        raise InvalidFilter(f"There is no attribute {path[:100]!r} of a {kind.name}.", fix="See /Schemas.")
    return attribute, part


def _values(attribute: Attribute, part: str, value: Json) -> list[tuple[Attribute, Json]]:
    if not attribute.parts:
        return [(attribute, each) for each in listed(value)]
    own = attribute.part(part or "value")
    if own is None:
        if part:
            raise InvalidFilter(f"`{attribute.name}` has no part {part[:100]!r}.", fix="See /Schemas.")
        return [(attribute, each) for each in listed(value)]
    mappings = [cast("Mapping[str, Json]", each) for each in listed(value) if isinstance(each, dict)]
    return [(own, each[own.name]) for each in mappings if own.name in each]


def _compared(values: list[tuple[Attribute, Json]], wanted: Compare) -> bool:
    if wanted.operator == "pr":
        return bool(values)
    if wanted.value is None:
        if wanted.operator not in {"eq", "ne"}:
            raise InvalidFilter("null is only compared by eq and ne.", fix="Use pr to ask whether it is there.")
        return (wanted.operator == "eq") == (not values)
    if wanted.operator == "ne":
        return not any(_holds(attribute, each, "eq", wanted.value) for attribute, each in values)
    return any(_holds(attribute, each, wanted.operator, wanted.value) for attribute, each in values)


def _holds(attribute: Attribute, given: Json, operator: str, value: Value) -> bool:
    if attribute.kind == "boolean":
        if operator != "eq":
            raise InvalidFilter(f"`{attribute.name}` is true or false and has no order.", fix="Compare it by eq.")
        return given == read_attribute(attribute, value)
    left, right = _comparable(attribute, given), _comparable(attribute, value)
    if operator == "eq":
        return left == right
    if operator in _ORDERED:
        return _ordered(left, right, operator)
    if not isinstance(left, str) or not isinstance(right, str):
        return False
    return {"co": right in left, "sw": left.startswith(right), "ew": left.endswith(right)}[operator]


def _ordered(left: _Comparable | None, right: _Comparable | None, operator: str) -> bool:
    if isinstance(left, str) and isinstance(right, str):
        order = (left > right) - (left < right)
    else:
        if not isinstance(left, datetime) or not isinstance(right, datetime):
            return False
        order = (left > right) - (left < right)
    return {"gt": order > 0, "ge": order >= 0, "lt": order < 0, "le": order <= 0}[operator]


def _comparable(attribute: Attribute, value: Json) -> _Comparable | None:
    if not isinstance(value, str):
        return float(value) if isinstance(value, int | float) else None
    if attribute.kind == "dateTime":
        try:
            moment = datetime.fromisoformat(value)
        except ValueError as error:
            raise InvalidFilter(f"{value[:40]!r} is no moment.", fix="Write it as 2026-11-23T08:00:00Z.") from error
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return value if attribute.case_exact or attribute.kind == "reference" else value.casefold()
