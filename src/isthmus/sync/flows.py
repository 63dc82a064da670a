"""What flows between a connection and the records of one type: which fields, in which direction, changed how.

A mapping stands between a connector's own mapping and the records. It is pure: it makes another connector of one, which
leaves out what does not flow, transforms what comes in, and takes further values of the system into `custom`.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Literal

import msgspec
from msgspec import Struct

from isthmus.kernel.errors import Fault, Invalid
from isthmus.kernel.marks import Field, Json, RecordType
from isthmus.kernel.words import at_path
from isthmus.store.observation import Observation
from isthmus.sync.connector import Change, Connector, Feed, Raw

Direction = Literal["both", "in", "out", "never"]
Winner = Literal["declared", "prefer_unless_blank", "source_of_record"]
CUSTOM = "custom"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,59}")
_SPACES = re.compile(r"\s+")
_NOT_DIGITS = re.compile(r"\D+")
_TEXT, _NUMBERS = frozenset({"text"}), frozenset({"double precision", "numeric", "bigint"})


class FlowUnfit(Invalid):
    """The mapping names what is not there, or asks for what cannot be."""

    code, title = "flow-unfit", "The mapping does not fit"


class FieldFlow(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How one field flows: `in` from the system only, `out` to it only.

    `transforms` change what comes in, in order. `winner` decides between this system and others: as the record type
    declares; `prefer_unless_blank` lets a blank here overwrite nothing; with `source_of_record` conflicts on the field
    are decided for this system.
    """

    direction: Direction = "both"
    transforms: tuple[str, ...] = ()
    winner: Winner = "declared"


class Flow(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What flows for one record type: fields that are not named flow both ways, unchanged.

    `custom` takes further values of what the system sends: our name, and the path there, such as `address.kind`.
    """

    type: str
    fields: dict[str, FieldFlow] = {}
    custom: dict[str, str] = {}

    def comes_in(self, name: str) -> bool:
        """Tell whether what the system says of a field is heard."""
        return self.fields.get(name, _PLAIN).direction in {"both", "in"}

    def goes_out(self, name: str) -> bool:
        """Tell whether a field is written there."""
        return self.fields.get(name, _PLAIN).direction in {"both", "out"}


_PLAIN = FieldFlow()


def _text(change: Callable[[str], str]) -> Callable[[Json], Json]:
    return lambda value: change(value) if isinstance(value, str) else value


def _whole(value: Json) -> Json:
    return round(value) if isinstance(value, float) else value


TRANSFORMS: Mapping[str, tuple[frozenset[str], Callable[[Json], Json]]] = {
    "trim": (_TEXT, _text(str.strip)),
    "lower": (_TEXT, _text(str.lower)),
    "upper": (_TEXT, _text(str.upper)),
    "collapse": (_TEXT, _text(lambda text: _SPACES.sub(" ", text).strip())),
    "digits": (_TEXT, _text(lambda text: _NOT_DIGITS.sub("", text))),
    "whole": (_NUMBERS, _whole),
}
"""Transforms by name: the columns that they fit, and the function. A value of another kind is left as it is."""


def checked(flow: Flow, record_type: RecordType, connector: Connector, feeds: Sequence[Feed]) -> Flow:
    """Return a mapping that fits a record type and a connection; raises FlowUnfit with every fault."""
    faults: list[Fault] = []
    if not any(record_type.name in feed.types for feed in feeds):
        there = ", ".join(sorted({name for feed in feeds for name in feed.types})) or "none"
        detail = f"The connection brings no {record_type.name}; it brings {there}."
        faults.append(Fault(pointer="/type", code="unknown-type", detail=detail))
    for name, each in flow.fields.items():
        declared = record_type.field(name)
        if declared is None:
            there = ", ".join(own.name for own in record_type.fields)
            detail = f"{record_type.name} has no field {name!r}; it has {there}."
            faults.append(Fault(pointer=f"/fields/{name}", code="unknown-field", detail=detail))
        else:
            faults += _faults(name, each, declared, record_type, connector)
    faults += _custom_faults(flow, record_type)
    if faults:
        raise FlowUnfit(" ".join(each.detail for each in faults), fix="Mend what `errors` names.", faults=tuple(faults))
    return flow


def _faults(
    name: str, each: FieldFlow, declared: Field, record_type: RecordType, connector: Connector
) -> Iterable[Fault]:
    at = f"/fields/{name}"
    if declared.required and each.direction in {"out", "never"}:
        detail = f"{name!r} is required: a record without it cannot be stored, so it has to come in."
        yield Fault(pointer=f"{at}/direction", code="required", detail=detail)
    writable = connector.writable.get(record_type.name)
    if each.direction == "out" and writable is not None and name not in writable:
        detail = f"{connector.title} cannot write {name!r}; it writes {', '.join(writable)}."
        yield Fault(pointer=f"{at}/direction", code="not-writable", detail=detail)
    for n, transform in enumerate(each.transforms):
        known = TRANSFORMS.get(transform)
        if known is None:
            detail = f"There is no transform {transform!r}; there are {', '.join(TRANSFORMS)}."
            yield Fault(pointer=f"{at}/transforms/{n}", code="unknown-transform", detail=detail)
        elif declared.column not in known[0]:
            detail = f"{transform!r} changes {' or '.join(sorted(known[0]))}, and {name!r} holds {declared.column}."
            yield Fault(pointer=f"{at}/transforms/{n}", code="transform-unfit", detail=detail)
    if each.winner == "source_of_record" and not declared.critical:
        detail = f"{name!r} waits for nobody: it is decided by {declared.rule.name!r}, as its record type declares."
        yield Fault(pointer=f"{at}/winner", code="not-critical", detail=detail)
    if each.winner != "declared" and each.direction in {"out", "never"}:
        detail = f"{name!r} does not come in, so it cannot win."
        yield Fault(pointer=f"{at}/winner", code="does-not-come-in", detail=detail)


def _custom_faults(flow: Flow, record_type: RecordType) -> Iterable[Fault]:
    if flow.custom and record_type.field(CUSTOM) is None:
        yield Fault(pointer="/custom", code="no-custom", detail=f"{record_type.name} has no custom fields.")
    for name, path in flow.custom.items():
        if _NAME.fullmatch(name) is None:
            detail = f"{name!r} is no name: use small letters, digits and underscores, a letter first, at most 60."
            yield Fault(pointer=f"/custom/{name}", code="invalid-name", detail=detail)
        if not path or any(not part for part in path.split(".")):
            detail = f"Say where {name!r} stands in what the system sends, such as `address.kind`."
            yield Fault(pointer=f"/custom/{name}", code="no-path", detail=detail)


def flowing(connector: Connector, flows: Mapping[str, Flow]) -> Connector:
    """Return the connector as mappings by record type make it; without any it is itself."""
    if not flows:
        return connector

    def normalise(feed: str, raw: Raw) -> Iterable[Observation]:
        for each in connector.normalise(feed, raw):
            flow = flows.get(each.type)
            yield each if flow is None else _heard(each, flow, raw)

    def express(feed: str, change: Change) -> dict[str, Json]:
        flow = flows.get(change.type)
        return connector.express(feed, change if flow is None else _told(change, flow))

    writable = {
        name: tuple(each for each in own if name not in flows or flows[name].goes_out(each))
        for name, own in connector.writable.items()
    }
    return replace(connector, normalise=normalise, express=express, writable=writable)


def _heard(said: Observation, flow: Flow, raw: Raw) -> Observation:
    fields: dict[str, Json] = {}
    for name, value in said.fields.items():
        own = flow.fields.get(name, _PLAIN)
        if not flow.comes_in(name) or (own.winner == "prefer_unless_blank" and value in (None, "", [], {})):
            continue
        fields[name] = _transformed(value, own.transforms)
    if flow.custom and not said.deleted and flow.comes_in(CUSTOM):
        before = fields.get(CUSTOM)
        found = {
            name: value
            for name, path in flow.custom.items()
            if (value := at_path(raw.body, *path.split("."))) is not None
        }
        fields[CUSTOM] = {**(before if isinstance(before, dict) else {}), **found}
    links = {name: link for name, link in said.links.items() if flow.comes_in(name)}
    return msgspec.structs.replace(said, fields=fields, links=links)


def _transformed(value: Json, names: Sequence[str]) -> Json:
    for each in names:
        value = TRANSFORMS[each][1](value)
    return value


def _told(change: Change, flow: Flow) -> Change:
    return msgspec.structs.replace(
        change,
        fields={name: value for name, value in change.fields.items() if flow.goes_out(name)},
        links={name: value for name, value in change.links.items() if flow.goes_out(name)},
    )
