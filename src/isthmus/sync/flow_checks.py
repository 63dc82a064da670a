"""Whether a mapping fits its record type and its connection; told with every fault, each by its place."""

import re
from collections.abc import Iterable, Sequence

import msgspec

from isthmus.kernel.errors import Fault
from isthmus.kernel.marks import Field, Json, RecordType
from isthmus.sync.connector import Connector, Feed
from isthmus.sync.flows import CUSTOM, TRANSFORMS, FieldFlow, Flow, FlowUnfit

_NAME = re.compile(r"[a-z][a-z0-9_]{0,59}")
_ORDERED = frozenset({"most_restrictive", "advance_only"})
_KEEPS_STRICT = frozenset({"declared", "most_restrictive", "manual"})


def checked(flow: Flow, record_type: RecordType, connector: Connector, feeds: Sequence[Feed]) -> Flow:
    """Return a mapping that fits a record type and a connection, with the order of values where that is declared.

    Raises FlowUnfit with every fault.
    """
    faults: list[Fault] = []
    if not any(record_type.name in feed.types for feed in feeds):
        there = ", ".join(sorted({name for feed in feeds for name in feed.types})) or "none"
        detail = f"The connection brings no {record_type.name}; it brings {there}."
        faults.append(Fault(pointer="/type", code="unknown-type", detail=detail))
    fields: dict[str, FieldFlow] = {}
    for name, given in flow.fields.items():
        declared = record_type.field(name)
        fields[name] = each = given if declared is None else _ordered(given, declared)
        if declared is None:
            there = ", ".join(own.name for own in record_type.fields)
            detail = f"{record_type.name} has no field {name!r}; it has {there}."
            faults.append(Fault(pointer=f"/fields/{name}", code="unknown-field", detail=detail))
        else:
            faults += _direction_faults(each, declared, record_type, connector)
            faults += _path_faults(each, declared)
            faults += _transform_faults(each, declared)
            faults += _value_faults(each, declared, record_type)
            faults += _winner_faults(each, declared, record_type)
    faults += _custom_faults(flow, record_type)
    if faults:
        raise FlowUnfit(" ".join(each.detail for each in faults), fix="Mend what `errors` names.", faults=tuple(faults))
    return msgspec.structs.replace(flow, fields=fields)


def _ordered(each: FieldFlow, declared: Field) -> FieldFlow:
    if each.winner in _ORDERED and not each.order:
        return msgspec.structs.replace(each, order=declared.rule.order)
    return each


def _direction_faults(
    each: FieldFlow, declared: Field, record_type: RecordType, connector: Connector
) -> Iterable[Fault]:
    at, name = f"/fields/{declared.name}/direction", declared.name
    if declared.required and each.direction in {"out", "never"}:
        detail = f"{name!r} is required: a record without it cannot be stored, so it has to come in."
        yield Fault(pointer=at, code="required", detail=detail)
    writable = connector.writable.get(record_type.name)
    if each.direction == "out" and writable is not None and name not in writable:
        detail = f"{connector.title} cannot write {name!r}; it writes {', '.join(writable)}."
        yield Fault(pointer=at, code="not-writable", detail=detail)


def _path_faults(each: FieldFlow, declared: Field) -> Iterable[Fault]:
    at, name = f"/fields/{declared.name}/path", declared.name
    if not each.path:
        return
    if each.direction != "in":
        detail = f"{name!r} is read from a place of your own, which nothing is written to: let it only come in."
        yield Fault(pointer=at, code="path-comes-in", detail=detail)
    if declared.to is not None:
        yield Fault(pointer=at, code="path-of-link", detail=f"{name!r} points to a record; a value cannot.")
    if not all(each.path.split(".")):
        detail = f"Say where {name!r} stands in what the system sends, such as `address.kind`."
        yield Fault(pointer=at, code="no-path", detail=detail)


def _transform_faults(each: FieldFlow, declared: Field) -> Iterable[Fault]:
    name = declared.name
    if each.out_transforms and each.direction in {"in", "never"}:
        detail = f"{name!r} does not go out, so nothing of it can be changed on the way."
        yield Fault(pointer=f"/fields/{name}/out_transforms", code="does-not-go-out", detail=detail)
    for way, names in (("transforms", each.transforms), ("out_transforms", each.out_transforms)):
        for n, transform in enumerate(names):
            known, at = TRANSFORMS.get(transform), f"/fields/{name}/{way}/{n}"
            if known is None:
                detail = f"There is no transform {transform!r}; there are {', '.join(TRANSFORMS)}."
                yield Fault(pointer=at, code="unknown-transform", detail=detail)
            elif declared.column not in known[0]:
                detail = f"{transform!r} changes {' or '.join(sorted(known[0]))}, and {name!r} holds {declared.column}."
                yield Fault(pointer=at, code="transform-unfit", detail=detail)


def _value_faults(each: FieldFlow, declared: Field, record_type: RecordType) -> Iterable[Fault]:
    name = declared.name
    for theirs, ours in each.values.items():
        if not _fits(record_type, name, ours):
            detail = f"{name!r} cannot hold {ours!r}."
            yield Fault(pointer=f"/fields/{name}/values/{theirs}", code="invalid-value", detail=detail)
    if each.direction in {"both", "out"} and len(set(each.values.values())) < len(each.values):
        detail = f"Two values there are one of {name!r}, so none of them can be written: let it only come in."
        yield Fault(pointer=f"/fields/{name}/values", code="not-one-to-one", detail=detail)


def _winner_faults(each: FieldFlow, declared: Field, record_type: RecordType) -> Iterable[Fault]:
    at, name = f"/fields/{declared.name}/winner", declared.name
    if each.winner != "declared" and each.direction in {"out", "never"}:
        yield Fault(pointer=at, code="does-not-come-in", detail=f"{name!r} does not come in, so it cannot win.")
    if declared.rule.name == "most_restrictive" and each.winner not in _KEEPS_STRICT:
        detail = f"{name!r} is never loosened by a rule: leave it as declared, or choose most_restrictive or manual."
        yield Fault(pointer=at, code="loosens", detail=detail)
    if each.winner == "union" and (declared.column != "jsonb" or not _fits(record_type, name, [])):
        yield Fault(pointer=at, code="no-list", detail=f"{name!r} holds no list that could be united.")
    if each.order and each.winner not in _ORDERED:
        detail = f"{each.winner!r} asks for no order of values."
        yield Fault(pointer=f"/fields/{name}/order", code="order-unused", detail=detail)
    if each.winner in _ORDERED and not each.order:
        detail = f"Give `order`, the values of {name!r} from the weakest to the strongest."
        yield Fault(pointer=f"/fields/{name}/order", code="no-order", detail=detail)
    for n, value in enumerate(each.order):
        if not _fits(record_type, name, value):
            detail = f"{name!r} cannot hold {value!r}."
            yield Fault(pointer=f"/fields/{name}/order/{n}", code="invalid-value", detail=detail)


def _custom_faults(flow: Flow, record_type: RecordType) -> Iterable[Fault]:
    if flow.custom and record_type.field(CUSTOM) is None:
        yield Fault(pointer="/custom", code="no-custom", detail=f"{record_type.name} has no custom fields.")
    for name, path in flow.custom.items():
        if _NAME.fullmatch(name) is None:
            detail = f"{name!r} is no name: use small letters, digits and underscores, a letter first, at most 60."
            yield Fault(pointer=f"/custom/{name}", code="invalid-name", detail=detail)
        if not all(path.split(".")):
            detail = f"Say where {name!r} stands in what the system sends, such as `address.kind`."
            yield Fault(pointer=f"/custom/{name}", code="no-path", detail=detail)


def _fits(record_type: RecordType, name: str, value: Json) -> bool:
    """Tell whether a field of a record type can hold a value."""
    declared = record_type.field(name)
    part = record_type.personal_part if declared and declared.personal else record_type.open_part
    try:
        msgspec.convert({name: value}, part)
    except msgspec.ValidationError:
        return False
    return True
