"""The form of a mapping: a line for each field, with how it flows and who wins; and the mapping that a form says."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import msgspec

from isthmus.console import words
from isthmus.kernel.marks import RecordType
from isthmus.sync.flows import Direction, FieldFlow, Flow, FlowUnfit, Winner

_PLAIN = FieldFlow()
DIRECTIONS: dict[Direction, str] = {
    "both": "both ways",
    "in": "only from there",
    "out": "only to there",
    "never": "never",
}


@dataclass(frozen=True, kw_only=True)
class FieldLine:
    """One field: how it flows, who wins, and what else the mapping says of it, which this form leaves as it is."""

    name: str
    label: str
    required: bool
    critical: bool
    direction: str
    winner: str
    rule: str
    more: str


@dataclass(frozen=True, kw_only=True)
class FlowForm:
    """The whole form, and the same as JSON."""

    names: str
    lines: Sequence[FieldLine]
    directions: dict[Direction, str]
    winners: Sequence[tuple[str, str]]
    custom: dict[str, str]
    whole: str


def flow_form(record_type: RecordType, flow: Flow) -> FlowForm:
    """Return the form for a record type that shows a mapping."""
    lines: list[FieldLine] = []
    for each in record_type.fields:
        own = flow.fields.get(each.name, _PLAIN)
        lines.append(
            FieldLine(
                name=each.name,
                label=words.plain(each.name),
                required=each.required,
                critical=each.critical,
                direction=own.direction,
                winner=own.winner,
                rule=words.plain(each.rule.name),
                more=_more(own),
            )
        )
    return FlowForm(
        names=",".join(each.name for each in record_type.fields),
        lines=lines,
        directions=DIRECTIONS,
        winners=[(each, words.plain(each)) for each in _named(Winner)],
        custom=flow.custom,
        whole=msgspec.json.format(msgspec.json.encode(flow), indent=2).decode(),
    )


def changed_flow(base: Flow, names: Sequence[str], directions: Sequence[str], winners: Sequence[str]) -> Flow:
    """Return a mapping with other directions and winners; fields that are as they would be without it are left out.

    Raises FlowUnfit for words that are no direction or winner.
    """
    fields = dict(base.fields)
    for name, direction, winner in zip(names, directions, winners, strict=False):
        try:
            chosen = msgspec.convert({"direction": direction, "winner": winner}, FieldFlow)
        except msgspec.ValidationError as error:
            raise FlowUnfit(f"{name!r} cannot flow so: {error}.", fix="Load the page again.") from error
        own = fields.get(name, _PLAIN)
        merged = msgspec.structs.replace(own, direction=chosen.direction, winner=chosen.winner)
        fields.pop(name, None)
        if merged != _PLAIN:
            fields[name] = merged
    return msgspec.structs.replace(base, fields=fields)


def _more(own: FieldFlow) -> str:
    told = msgspec.to_builtins(own)
    names = [name for name, value in told.items() if name not in ("direction", "winner") and value]
    return ", ".join(words.plain(name) for name in names)


def _named(alias: object) -> list[str]:
    """Return the words of a Literal, or of several that are joined."""
    found: list[str] = []
    for each in get_args(alias):
        found += [each] if isinstance(each, str) else _named(each)
    return list(dict.fromkeys(found))
