"""Routes of the catalogue: topics and types of events with their schemas, and the document that describes them."""

from collections.abc import Sequence
from functools import cache
from importlib.metadata import version

import msgspec
from msgspec import Struct

from isthmus.app.topics import topics
from isthmus.gateway import Call, Response, Route
from isthmus.kernel.marks import Json
from isthmus.stream.asyncapi import asyncapi
from isthmus.stream.topics import Topics

TITLE = "isthmus"
_TAGS = ("events",)


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


async def show_topics(call: Call) -> TopicsView:
    """Show the catalogue."""
    return topics_view(call.services.of(Topics))


async def show_asyncapi(_: Call) -> Response:
    """Answer the description of all events."""
    return Response(body=_document())


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


@cache
def _document() -> bytes:
    return msgspec.json.encode(asyncapi(topics(), title=TITLE, version=version("isthmus")))


ROUTES: Sequence[Route] = (
    Route(
        method="GET",
        path="/api/v1/topics",
        permission="stream:read",
        handler=show_topics,
        summary="Show topics and types of events, with their schemas",
        tags=_TAGS,
        response=TopicsView,
    ),
    Route(
        method="GET",
        path="/asyncapi.json",
        permission=None,
        handler=show_asyncapi,
        summary="The description of all events (AsyncAPI 3)",
        media="application/json",
        tags=_TAGS,
    ),
)
