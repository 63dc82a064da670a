"""Routes of a person's consent at a vendor: out with an address, and back with a code.

The way back begins on another site, so the browser would not send a strict cookie along when it is only redirected: a
page of ours stands between, and leads on by itself, to a route that knows the person's session.
"""

from datetime import datetime
from typing import Annotated
from urllib.parse import urlencode

import msgspec
from msgspec import Meta, Struct

from isthmus.app.connecting import NoConnector, connector_named
from isthmus.app.connection_views import ConnectionView, connection_view
from isthmus.app.http.readable import named_connection
from isthmus.app.inbound_views import CONNECTION_PREFIX
from isthmus.console.connections.telling import HERE, address
from isthmus.console.pages import page
from isthmus.console.visiting import place_of
from isthmus.gateway import HTML, Call, Response, Route, redirect
from isthmus.gateway.routes import FRESH_S
from isthmus.kernel.ids import text_of
from isthmus.kernel.marks import Json
from isthmus.sync import consenting
from isthmus.sync.connections import ConnectionMissing
from isthmus.sync.connector import ConnectorError
from isthmus.sync.consenting import ConsentOver, NoConsentHere, Returned
from isthmus.sync.oauth import ConsentNeeded
from isthmus.sync.runs import Engine

CALLBACK, FINISH = "/connections/oauth/callback", "/api/v1/connections/oauth/finish"
_TAGS = ("connections",)
_Text = Annotated[str, Meta(max_length=4_000)]
_EXAMPLE: dict[str, Json] = {}


class Authorizing(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the vendor sends the person's browser back; without it, to this server's own callback.

    It has to stand with the program at the vendor, letter by letter, and is https or of the person's own machine.
    """

    redirect_uri: Annotated[str, Meta(max_length=2_000)] = ""


class Authorization(Struct, frozen=True, kw_only=True):
    """The address at which a person consents, until when, and the redirect address that the vendor has to know."""

    url: str
    redirect_uri: str
    expires_at: datetime


class Back(Struct, frozen=True, kw_only=True):
    """What a vendor adds to the redirect address; what else it adds is not looked at."""

    state: _Text = ""
    code: _Text = ""
    error: _Text = ""
    iss: _Text = ""


async def authorize(call: Call) -> Authorization:
    """Begin a consent."""
    redirect_uri = call.body(Authorizing).redirect_uri or f"{place_of(call).origin}{CALLBACK}"
    connectors = call.services.of(Engine).connectors
    async with call.services.database.transaction(call.scope) as tx:
        found = await named_connection(call, tx)
        connector = connector_named(connectors, found.connector)
        try:
            begun = await consenting.begin(tx, call.services.vault, connector, found, redirect_uri=redirect_uri)
        except ConnectorError as error:
            raise NoConsentHere(error.detail, fix=error.fix) from error
    return Authorization(url=begun.url, redirect_uri=redirect_uri, expires_at=begun.expires_at)


async def back(call: Call) -> Response:
    """Lead the browser on, with its session."""
    given = {name: value for name, value in msgspec.structs.asdict(call.query(Back)).items() if value}
    shown = page(call, "consented.html", {"to": f"{FINISH}?{urlencode(given)}"})
    return Response(body=shown.body, status=shown.status, media=HTML, headers=(("referrer-policy", "no-referrer"),))


async def finish(call: Call) -> Response:
    """Take what came back; a person's browser goes on to the page of the connection, or to why it was refused."""
    returned = Returned(**msgspec.structs.asdict(call.query(Back)))
    engine, person = call.services.of(Engine), call.principal.kind == "session"
    try:
        connection = await consenting.complete(engine, call.scope, returned)
    except (ConsentOver, ConnectorError) as refused:
        if not person:
            raise
        told = {"refusal": f"{refused.detail} {refused.fix}".strip()}
        return page(call, "connections/not_consented.html", told, status=refused.status)
    if person:
        return redirect(address(f"{HERE}/{text_of(CONNECTION_PREFIX, connection.id)}", "consented"))
    async with call.services.database.transaction(call.scope) as tx:
        return Response(value=await connection_view(tx, connection, connectors=engine.connectors))


ROUTES = (
    Route(
        method="POST",
        path="/api/v1/connections/{connection}:authorize",
        permission="sync:write",
        handler=authorize,
        summary="Begin a person's consent at the vendor: the address to open, for ten minutes and one use",
        tags=_TAGS,
        body=Authorizing,
        response=Authorization,
        fresh_s=FRESH_S,
        request_example=_EXAMPLE,
        errors=(ConnectionMissing, NoConnector, NoConsentHere),
    ),
    Route(
        method="GET",
        path=CALLBACK,
        permission=None,
        handler=back,
        summary="Come back from a vendor at which a person consented",
        query=Back,
        media=HTML,
        listed=False,
    ),
    Route(
        method="GET",
        path=FINISH,
        permission="sync:write",
        handler=finish,
        summary="Take what a vendor added to the redirect address; only who began the consent may, and once",
        tags=_TAGS,
        query=Back,
        response=ConnectionView,
        errors=(ConsentOver, ConsentNeeded),
    ),
)
