"""Signing in by a one-time link, and out again. The link only shows a page; pressing its button uses the link up."""

from html import escape
from typing import Annotated

from msgspec import Meta, Struct

from isthmus.auth.credentials import Credentials
from isthmus.auth.sessions import LinkSpent, end_session, open_session
from isthmus.gateway import ANY_CALLER, HTML, Call, Response, Route
from isthmus.gateway.cookies import own_page, signed_in, signed_out

_TEXT_MAX = 500
_Text = Annotated[str, Meta(max_length=_TEXT_MAX)]


class SignInQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`token` is that of a one-time link, `next` the page to go to."""

    token: _Text = ""
    next: _Text = "/"


class SignInForm(SignInQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the button sends."""


async def show_sign_in(call: Call) -> Response:
    """Answer the page with the button, or where a link comes from."""
    asked = call.query(SignInQuery)
    hidden = "".join(
        f'<input type="hidden" name="{name}" value="{escape(value)}">'
        for name, value in (("token", asked.token), ("next", own_page(asked.next)))
    )
    form = f'<form method="post" action="/sign-in">{hidden}<button autofocus>Sign in</button></form>'
    hint = "<p>Make a one-time sign-in link at the command line: <code>isthmus users link</code></p>"
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Sign in</title>'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="color-scheme" content="dark light">'
        f"</head><body><main><h1>Sign in</h1>{form if asked.token else hint}</main></body></html>"
    )
    return Response(body=page.encode())


async def sign_in(call: Call) -> Response:
    """Use the link up and open a session."""
    form = call.body(SignInForm)
    session = await open_session(call.services.database, form.token, request_id=call.request_id, now=call.scope.now)
    return signed_in(call, session, to=form.next)


async def sign_out(call: Call) -> Response:
    """End the session."""
    if call.session is not None:
        async with call.services.database.transaction(call.scope) as tx:
            await end_session(tx, call.session)
        call.services.of(Credentials).forget()
    return signed_out(call, to="/sign-in")


ROUTES = (
    Route(
        method="GET",
        path="/sign-in",
        permission=None,
        handler=show_sign_in,
        summary="Show the sign-in page",
        query=SignInQuery,
        media=HTML,
        listed=False,
    ),
    Route(
        method="POST",
        path="/sign-in",
        permission=None,
        handler=sign_in,
        summary="Open a session",
        accepts="form",
        body=SignInForm,
        media=HTML,
        listed=False,
        errors=(LinkSpent,),
    ),
    Route(
        method="POST",
        path="/sign-out",
        permission=ANY_CALLER,
        handler=sign_out,
        summary="End the session",
        accepts="form",
        media=HTML,
        listed=False,
    ),
)
