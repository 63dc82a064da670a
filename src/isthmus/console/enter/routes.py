"""Signing in by the one-time link.

Opening the link shows a page with one button: only pressing it uses the link up. Programs that look at links in
messages before people do would otherwise spend it.
"""

from typing import Annotated

from msgspec import Meta, Struct

from isthmus.auth.sessions import LinkSpent, open_session
from isthmus.console.pages import page
from isthmus.gateway import HTML, Call, Response, Route
from isthmus.gateway.cookies import signed_in

NEXT_CHARACTERS_MAX = 2_000
FORM_BYTES_MAX = 4_096


class Coming(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where somebody wanted to go."""

    next: Annotated[str, Meta(max_length=NEXT_CHARACTERS_MAX)] = "/"


class Pressed(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A form whose button is all it has."""


async def tell_how(call: Call) -> Response:
    """Say how to get a sign-in link."""
    return page(call, "sign_in.html", {"refusal": ""})


async def offer(call: Call) -> Response:
    """Show the button that uses the link."""
    return page(call, "enter.html", {"token": call.path["token"]})


async def enter(call: Call) -> Response:
    """Use the link up and open a session."""
    database, token = call.services.database, call.path["token"]
    try:
        session = await open_session(database, token, request_id=call.request_id, now=call.scope.now)
    except LinkSpent as spent:
        return page(call, "sign_in.html", {"refusal": spent.detail}, status=spent.status)
    return signed_in(call, session, to="/")


ROUTES = (
    Route(
        method="GET",
        path="/sign-in",
        permission=None,
        handler=tell_how,
        summary="How to sign in",
        query=Coming,
        media=HTML,
        listed=False,
    ),
    Route(
        method="GET",
        path="/enter/{token}",
        permission=None,
        handler=offer,
        summary="A one-time link",
        media=HTML,
        listed=False,
    ),
    Route(
        method="POST",
        path="/enter/{token}",
        permission=None,
        handler=enter,
        summary="Sign in by a one-time link",
        body=Pressed,
        accepts="form",
        body_bytes_max=FORM_BYTES_MAX,
        media=HTML,
        listed=False,
    ),
)
