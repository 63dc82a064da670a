"""Routes of the catalogue: topics and types of events with their schemas, and the document that describes them."""

from collections.abc import Sequence
from functools import cache
from importlib.metadata import version

import msgspec

from isthmus.app.topics import TopicsView, topics, topics_view
from isthmus.gateway import Call, Response, Route
from isthmus.stream.asyncapi import asyncapi
from isthmus.stream.topics import Topics

TITLE = "isthmus"
_TAGS = ("events",)


async def show_topics(call: Call) -> TopicsView:
    """Show the catalogue."""
    return topics_view(call.services.of(Topics))


async def show_asyncapi(_: Call) -> Response:
    """Answer the description of all events."""
    return Response(body=_document())


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
        media="application/vnd.aai.asyncapi+json;version=3.0.0",
        tags=_TAGS,
    ),
)
