"""The overview at `/` and its live stream."""

from typing import Annotated

from msgspec import Meta, Struct

from isthmus.analytics.questions import ModelName
from isthmus.console.live import Panel, Sight, had
from isthmus.console.overview.board import draw, shared
from isthmus.console.overview.loading import Viewer, load_overview
from isthmus.console.pages import page
from isthmus.gateway import ANY_CALLER, HTML, Call, Response, Route
from isthmus.gateway.routes import PERSONAL
from isthmus.store.database import Scope

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
    overview = await load_overview(call.services, shared(call.services).shelf, viewer, call.scope)
    panels = draw(overview, origin=_origin(call))
    return page(call, "overview.html", {"it": overview, "panels": panels, "chosen": call.query(Choice)})


async def watch(call: Call) -> Response:
    """Keep an open page up to date."""
    asked, services, origin = call.query(Watching), call.services, _origin(call)
    viewer, same = _viewer(call, asked), shared(call.services)

    async def drawing(scope: Scope) -> dict[str, Panel]:
        return draw(await load_overview(services, same.shelf, viewer, scope), origin=origin)

    sight = Sight(viewer.workspace, (viewer, origin), drawing)
    return Response(body=same.board.frames(services, sight, have=had(asked.have)))


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
