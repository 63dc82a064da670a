"""The catalogue of events of this program, put together from the records and the `topics.py` of all domains."""

from collections.abc import Iterator
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import TypeVar, cast

from msgspec import Struct

from isthmus.app.areas import AREAS
from isthmus.app.discovery import domains, schema
from isthmus.kernel.marks import Json
from isthmus.stream.topics import Declared, Topic, Topics

T = TypeVar("T")


class TopicView(Struct, frozen=True, kw_only=True):
    """A named group of types, and who reads it within the program."""

    name: str
    about: str
    types: list[str]
    read_by: list[str]


class EventTypeView(Struct, frozen=True, kw_only=True):
    """A type of event: `permission` opens it, `schema` (JSON Schema 2020-12) describes its `data`."""

    type: str
    version: int
    about: str
    record_type: str
    permission: str
    schema: dict[str, Json]


class TopicsView(Struct, frozen=True, kw_only=True):
    """The catalogue."""

    topics: list[TopicView]
    types: list[EventTypeView]


@cache
def topics() -> Topics:
    """Return the catalogue; raises TypeError or ValueError for a declaration that does not fit."""
    return Topics.of(schema(), declared=_declared("EVENTS", Declared), topics=_declared("TOPICS", Topic), areas=AREAS)


def _declared(name: str, kind: type[T]) -> Iterator[T]:
    for domain in domains():
        path = f"isthmus.domains.{domain.name}.topics"
        if find_spec(path) is None:
            continue
        for each in cast("tuple[object, ...]", getattr(import_module(path), name, ())):
            if not isinstance(each, kind):
                message = f"{path}: {name} holds {each!r}, which is no {kind.__name__}"
                raise TypeError(message)
            yield each


def topics_view(catalogue: Topics) -> TopicsView:
    """Return the catalogue as it is shown."""
    groups = [
        TopicView(name=each.name, about=each.about, types=list(catalogue.members(each)), read_by=list(each.read_by))
        for each in catalogue.topics
    ]
    return TopicsView(topics=groups, types=_types(catalogue))


def _types(catalogue: Topics) -> list[EventTypeView]:
    return [
        EventTypeView(
            type=each.type,
            version=each.version,
            about=each.about,
            record_type=each.record,
            permission=f"{each.area}:read",
            schema=each.schema,
        )
        for each in catalogue.types.values()
    ]
