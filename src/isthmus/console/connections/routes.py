"""The list of connections, the page of one, and what its buttons do."""

from collections.abc import Awaitable, Callable
from typing import Annotated

from msgspec import Meta, Struct

from isthmus.console.connections.acting import BUTTONS
from isthmus.console.connections.adding import FORMS
from isthmus.console.connections.agreeing import AGREEMENT
from isthmus.console.connections.at import READ, opened, shown, viewer_of
from isthmus.console.connections.board import board_of, draw_listing, draw_present
from isthmus.console.connections.deciding import DECISIONS
from isthmus.console.connections.loading import Wanted, load_listing, load_present
from isthmus.console.connections.mapping import MAPPINGS
from isthmus.console.connections.one import one_page
from isthmus.console.connections.rows import ROWS
from isthmus.console.connections.telling import HERE, Choice, Sifting, told
from isthmus.console.live import Panel, Sight, had
from isthmus.gateway import HTML, Call, Response, Route
from isthmus.store.database import Scope

HAVE_CHARACTERS_MAX = 200
_Have = Annotated[str, Meta(max_length=HAVE_CHARACTERS_MAX)]
_Text = Annotated[str, Meta(max_length=100)]


class Watching(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a page shows that wants to stay live: its panels as `name.digest`, joined by commas."""

    have: _Have = ""


class WatchingAll(Watching, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which connections the list shows."""

    q: _Text = ""
    status: _Text = ""
    after: _Text = ""


async def show(call: Call) -> Response:
    """Show the connections."""
    asked = call.query(Sifting)
    wanted = Wanted(asked.q, asked.status, asked.after)
    it = await load_listing(call.services, call.scope, viewer_of(call), wanted)
    return shown(call, "list", {"it": it, "panels": draw_listing(it), "told": told(asked.did)})


async def watch(call: Call) -> Response:
    """Keep an open list up to date."""
    services, asked, viewer = call.services, call.query(WatchingAll), viewer_of(call)
    wanted = Wanted(asked.q, asked.status, asked.after)

    async def drawing(scope: Scope) -> dict[str, Panel]:
        return draw_listing(await load_listing(services, scope, viewer, wanted))

    sight = Sight(call.principal.workspace, (viewer, wanted), drawing)
    return Response(body=board_of(services).frames(services, sight, have=had(asked.have)))


async def show_one(call: Call) -> Response:
    """Show a connection."""
    return await one_page(call, call.query(Choice))


async def watch_one(call: Call) -> Response:
    """Keep the open page of a connection up to date."""
    services, own = call.services, (await opened(call)).id

    async def drawing(scope: Scope) -> dict[str, Panel]:
        return draw_present(await load_present(services, scope, own))

    sight = Sight(call.principal.workspace, own, drawing)
    return Response(body=board_of(services).frames(services, sight, have=had(call.query(Watching).have)))


def _page(path: str, handler: Callable[[Call], Awaitable[Response]], summary: str, query: type[Struct]) -> Route:
    return Route(
        method="GET",
        path=path,
        permission=READ,
        handler=handler,
        summary=summary,
        query=query,
        media=HTML,
        listed=False,
    )


def _feed(path: str, handler: Callable[[Call], Awaitable[Response]], summary: str, query: type[Struct]) -> Route:
    return Route(
        method="GET",
        path=path,
        permission=READ,
        handler=handler,
        summary=summary,
        query=query,
        media="text/event-stream",
        listed=False,
    )


ONE = f"{HERE}/{{connection}}"
ROUTES = (
    _page(HERE, show, "Connections", Sifting),
    _feed(f"{HERE}/live", watch, "Live connections", WatchingAll),
    *FORMS,
    *AGREEMENT,
    _page(ONE, show_one, "A connection", Choice),
    _feed(f"{ONE}/live", watch_one, "A live connection", Watching),
    *BUTTONS,
    *DECISIONS,
    *ROWS,
    *MAPPINGS,
)
