"""The overview at `/` and its live stream."""

from typing import Annotated

from msgspec import Meta, Struct

from isthmus.analytics.questions import ModelName
from isthmus.console.overview.board import board_of, draw
from isthmus.console.overview.loading import Viewer, load_overview
from isthmus.console.pages import page
from isthmus.gateway import ANY_CALLER, HTML, Call, Response, Route
from isthmus.gateway.routes import PERSONAL

HAVE_CHARACTERS_MAX = 400


class Choice(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What can be chosen on the page."""

    model: ModelName = "linear"
    currency: Annotated[str, Meta(pattern="^[A-Z]{3}$")] | None = None


class Watching(Choice, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a page shows that wants to stay live: `have` lists its panels as `name.digest`, joined by commas."""

    have: Annotated[str, Meta(max_length=HAVE_CHARACTERS_MAX)] = ""


async def show(call: Call) -> Response:
    """Show the overview."""
    viewer = _viewer(call, call.query(Choice))
    overview = await load_overview(call.services, board_of(call.services).shelf, viewer, call.scope)
    panels = draw(overview, origin=_origin(call))
    return page(call, "overview.html", {"it": overview, "panels": panels, "chosen": call.query(Choice)})


async def watch(call: Call) -> Response:
    """Keep an open page up to date."""
    asked = call.query(Watching)
    have = dict(each.split(".", 1) for each in asked.have.split(",") if "." in each)
    frames = board_of(call.services).frames(call.services, _viewer(call, asked), origin=_origin(call), have=have)
    return Response(body=frames)


def _viewer(call: Call, choice: Choice) -> Viewer:
    # The page names records by their personal fields where that is permitted, so opening it is traced.
    for permission in call.principal.permissions:
        if permission.endswith(PERSONAL):
            call.may(permission)
    return Viewer(call.principal.workspace, call.principal.permissions, choice.model, choice.currency)


def _origin(call: Call) -> str:
    scheme = "https" if call.secure else "http"
    return f"{scheme}://{call.headers.get('host', 'localhost')}"


ROUTES = (
    Route(
        method="GET",
        path="/",
        permission=ANY_CALLER,
        handler=show,
        summary="Overview",
        query=Choice,
        media=HTML,
        listed=False,
    ),
    Route(
        method="GET",
        path="/overview/live",
        permission=ANY_CALLER,
        handler=watch,
        summary="Live overview",
        query=Watching,
        media="text/event-stream",
        listed=False,
    ),
)
