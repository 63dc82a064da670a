"""What flows between a connection and the records of one type: which fields, in which direction, changed how.

A mapping stands between a connector's own mapping and the records. It is pure: it makes another connector of one, which
leaves out what does not flow, transforms what comes in, and takes further values of the system into `custom`.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Literal, cast

import msgspec
from msgspec import Struct

from isthmus.kernel.errors import Invalid
from isthmus.kernel.marks import Json, Rule, RuleName
from isthmus.store.observation import Observation
from isthmus.sync.connector import Change, Connector, Raw

Direction = Literal["both", "in", "out", "never"]
Winner = Literal["declared"] | RuleName
CUSTOM = "custom"
_SPACES = re.compile(r"\s+")
_NOT_DIGITS = re.compile(r"\D+")
_TEXT, _NUMBERS = frozenset({"text"}), frozenset({"double precision", "numeric", "bigint"})


class FlowUnfit(Invalid):
    """The mapping names what is not there, or asks for what cannot be."""

    code, title = "flow-unfit", "The mapping does not fit"


class FieldFlow(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How one field flows: `in` from the system only, `out` to it only.

    `path` takes its value from there in what the system sends, and not from where the connector does; nothing there
    says nothing, and null that there is no value. `values` turns values of theirs into ours, and back. `transforms`
    change what comes in, after that, and `out_transforms` what goes out, before it, each in order.

    `winner` decides between this system and others, as `docs/how-to/map-fields.md` tells; `order` lists values from
    the weakest to the strongest, for `most_restrictive` and `advance_only`.
    """

    direction: Direction = "both"
    path: str = ""
    values: dict[str, str] = {}
    transforms: tuple[str, ...] = ()
    out_transforms: tuple[str, ...] = ()
    winner: Winner = "declared"
    order: tuple[str, ...] = ()

    @property
    def rule(self) -> Rule | None:
        """The rule by which the system meets others, where that is not as declared."""
        return None if self.winner == "declared" else Rule(self.winner, order=self.order)


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
        return connector.express(feed, change if flow is None else _let_out(change, flow))

    def outgoing(change: Change) -> Change:
        flow = flows.get(change.type)
        return change if flow is None else _told(_let_out(change, flow), flow)

    writable = {
        name: tuple(each for each in own if name not in flows or flows[name].goes_out(each))
        for name, own in connector.writable.items()
    }
    return replace(connector, normalise=normalise, express=express, outgoing=outgoing, writable=writable)


def withheld(flows: Mapping[str, Flow]) -> list[str]:
    """Return the fields that mappings keep from a system, each as `<type>.<field>`."""
    return [f"{flow.type}.{name}" for flow in flows.values() for name in flow.fields if not flow.goes_out(name)]


def _heard(said: Observation, flow: Flow, raw: Raw) -> Observation:
    fields = {name: value for name, value in said.fields.items() if flow.comes_in(name)}
    links = {name: link for name, link in said.links.items() if flow.comes_in(name)}
    for name, own in flow.fields.items():
        if own.path and not said.deleted and flow.comes_in(name):
            found = _at(raw.body, own.path)
            fields = {key: value for key, value in fields.items() if key != name}
            fields |= {} if found is _ABSENT else {name: cast("Json", found)}
        if name in fields:
            fields[name] = _transformed(_valued(fields[name], own.values), own.transforms)
    if flow.custom and not said.deleted and flow.comes_in(CUSTOM):
        before = fields.get(CUSTOM)
        there = {name: _at(raw.body, path) for name, path in flow.custom.items()}
        found = {name: cast("Json", value) for name, value in there.items() if value not in (None, _ABSENT)}
        fields[CUSTOM] = {**(before if isinstance(before, dict) else {}), **found}
    named = {name: rule for name, own in flow.fields.items() if (rule := own.rule) is not None}
    rules = {name: rule for name, rule in named.items() if name in fields or name in links}
    return msgspec.structs.replace(said, fields=fields, links=links, rules=rules)


def _at(body: Mapping[str, Json], path: str) -> object:
    """Return what stands at a path with dots, null included, or `_ABSENT`."""
    here: object = body
    for part in path.split("."):
        here = _step(here, part)
    return here


def _step(here: object, part: str) -> object:
    """Return what a map holds under a name, or a list of maps as the one with that `id`."""
    if isinstance(here, list):
        listed = cast("list[object]", here)
        return next((each for each in listed if str(_step(each, "id")) == part), _ABSENT)
    return cast("Mapping[str, object]", here).get(part, _ABSENT) if isinstance(here, Mapping) else _ABSENT


def _valued(value: Json, values: Mapping[str, str]) -> Json:
    return values.get(value, value) if isinstance(value, str) else value


def _transformed(value: Json, names: Sequence[str]) -> Json:
    for each in names:
        value = TRANSFORMS[each][1](value)
    return value


def _let_out(change: Change, flow: Flow) -> Change:
    """Leave out what does not go there."""
    return msgspec.structs.replace(
        change,
        fields={name: value for name, value in change.fields.items() if flow.goes_out(name)},
        links={name: value for name, value in change.links.items() if flow.goes_out(name)},
    )


def _told(change: Change, flow: Flow) -> Change:
    """Change what goes there into what the system is told."""
    told = dict(change.fields)
    for name, own in flow.fields.items():
        if name in told:
            theirs = {ours: word for word, ours in own.values.items()}
            told[name] = _valued(_transformed(told[name], own.out_transforms), theirs)
    return msgspec.structs.replace(change, fields=told)


class _Absent:
    """Marks that nothing stands at a path, which is neither null nor blank."""


_ABSENT = _Absent()
