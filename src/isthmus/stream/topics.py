"""The catalogue of what is told: every type of event with the schema of its data, and the topics that group them.

Types are made from the declarations of records; a domain adds others, and topics, in its `topics.py`:

    EVENTS = (Declared(type="isthmus.making.thing.notified.v1", record="making.thing", about="…"),)
    TOPICS = (Topic(name="things", about="…", on=("isthmus.making.thing.*",), read_by=("reports",)),)
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from isthmus.kernel.errors import Fault, Invalid
from isthmus.kernel.marks import Json, RecordType
from isthmus.store.schema import Schema

VERBS = {
    "created": "A {kind} came into being.",
    "changed": "Fields of a {kind} changed; `changed` names them.",
    "deleted": "A {kind} was deleted.",
}
TESTED = "isthmus.stream.endpoint.tested.v1"
"""The type of the event that tries an endpoint; it is told to that endpoint only."""
ALL = "*"
_TYPE = re.compile(r"isthmus\.(?P<domain>[a-z_]+)\.(?P<record>[a-z_]+)\.(?P<verb>[a-z_]+)\.v(?P<version>[1-9]\d*)")
_Map = dict[str, Json]


class UnknownTopic(Invalid):
    """There is no such topic or type of event, or the caller may not read what it tells of."""

    code, title = "unknown-topic", "There is no such topic or type of event"


@dataclass(frozen=True, kw_only=True)
class Declared:
    """A type of event besides created, changed and deleted, about records of a type."""

    type: str
    record: str
    about: str


@dataclass(frozen=True, kw_only=True)
class Topic:
    """A named group of event types. In `on`, `*` stands for one segment or for all that follow."""

    name: str
    about: str
    on: tuple[str, ...]
    read_by: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class EventType:
    """A type of event: `area` is what a permission to read it begins with, `fields` what `changed` may name."""

    type: str
    record: str
    area: str
    about: str
    fields: tuple[str, ...] = field(repr=False)

    @property
    def version(self) -> int:
        """The version of its data."""
        return int(self.type.rpartition(".v")[2])

    @property
    def schema(self) -> _Map:
        """The JSON Schema (2020-12) of `data`. Values never stand in an event, so nothing in it is personal."""
        changed: Json = {"type": "array", "items": {"type": "string", "enum": list(self.fields)}}
        return {
            "type": "object",
            "properties": {
                "record_type": {"const": self.record},
                "changed": changed,
                "actor": {"type": "string"},
                "cause": {"type": "string"},
            },
            "required": ["record_type", "changed", "actor", "cause"],
        }


@dataclass(frozen=True)
class Topics:
    """All types of events by name, and all topics."""

    types: Mapping[str, EventType]
    topics: tuple[Topic, ...] = ()

    @classmethod
    def of(
        cls,
        schema: Schema,
        *,
        declared: Iterable[Declared] = (),
        topics: Iterable[Topic] = (),
        areas: Mapping[str, str] | None = None,
    ) -> "Topics":
        """Make the catalogue; `areas` names by record type whose permission opens it where that is not its domain.

        Raises ValueError for a type that is not well formed or not unique, and for a topic that groups nothing.
        """
        found: dict[str, EventType] = {}
        for each in (*_of_records(schema), *declared):
            parts = _TYPE.fullmatch(each.type)
            if parts is None or each.type in found or each.record not in schema.types:
                message = f"{each.type} is no type of event, is declared twice, or tells of no record"
                raise ValueError(message)
            record = schema[each.record]
            found[each.type] = EventType(
                type=each.type,
                record=each.record,
                area=(areas or {}).get(each.record, record.domain),
                about=each.about,
                fields=tuple(sorted(one.name for one in record.fields)),
            )
        made = cls(dict(sorted(found.items())), tuple(sorted(topics, key=lambda each: each.name)))
        for topic in made.topics:
            empty = [on for on in topic.on if not any(matches(on, each) for each in made.types)]
            if empty or made.named.get(topic.name) is not topic:
                message = f"topic {topic.name} is declared twice, or {empty} group no event"
                raise ValueError(message)
        return made

    @cached_property
    def named(self) -> Mapping[str, Topic]:
        """Topics by name."""
        return {each.name: each for each in self.topics}

    def members(self, topic: Topic) -> tuple[str, ...]:
        """Return the types of a topic."""
        return tuple(each for each in self.types if any(matches(on, each) for on in topic.on))

    def chosen(self, wanted: Iterable[str], *, areas: Iterable[str]) -> frozenset[str]:
        """Return the types that names of topics and patterns of types mean, as far as the areas may be read."""
        readable = frozenset(areas)
        patterns = [on for name in wanted for on in (self.named[name].on if name in self.named else (name,))]
        return frozenset(
            each.type
            for each in self.types.values()
            if each.area in readable and any(matches(on, each.type) for on in patterns)
        )

    def check(self, wanted: Sequence[str], *, areas: Iterable[str], pointer: str) -> None:
        """Raise UnknownTopic with a fault for each that means nothing which the areas open."""
        readable = frozenset(areas)
        faults = [
            Fault(pointer=f"{pointer}/{at}", code=UnknownTopic.code, detail=f"There is no topic or event {name!r}.")
            for at, name in enumerate(wanted)
            if not self.chosen((name,), areas=readable)
        ]
        if faults:
            raise UnknownTopic(
                "A topic or type of event does not exist, or may not be read.",
                fix="List them: GET /api/v1/topics, or isthmus events topics.",
                faults=tuple(faults),
            )


def matches(pattern: str, event_type: str) -> bool:
    """Tell whether a pattern means a type: `*` stands for one segment, at the end for all that follow."""
    wanted, given = pattern.split("."), event_type.split(".")
    if wanted[-1] == ALL and len(given) >= len(wanted):
        wanted, given = wanted[:-1], given[: len(wanted) - 1]
    return len(wanted) == len(given) and all(each in (ALL, own) for each, own in zip(wanted, given, strict=True))


def _of_records(schema: Schema) -> Iterable[Declared]:
    for record in schema:
        kind = record.name.partition(".")[2].replace("_", " ")
        for verb, about in VERBS.items():
            yield Declared(type=_type(record, verb), record=record.name, about=about.format(kind=kind))


def _type(record: RecordType, verb: str) -> str:
    return f"isthmus.{record.name}.{verb}.v1"
