"""Coming in: by a password and a second factor, by a passkey, by a one-time link or by a link that sets a password.

Opening a link shows a page with one button: only pressing it uses the link up. Programs that look at links in messages
before people do would otherwise spend it.
"""

from typing import Annotated

from msgspec import Meta, Struct

from isthmus.auth.people.errors import SignInBusy, SignInPaused, SignInRefused, WeakPassword
from isthmus.auth.people.links import look_at_link, use_link
from isthmus.auth.people.sign_in import People, Waiting, sign_in, sign_in_code
from isthmus.auth.saml.providers import shown_saml_providers
from isthmus.auth.sessions import LinkSpent, NewSession, open_session
from isthmus.auth.upstream.issuers import shown_issuers
from isthmus.console.pages import page
from isthmus.console.visiting import visitor_of
from isthmus.gateway import HTML, Call, Response, Route
from isthmus.gateway.cookies import own_page, signed_in
from isthmus.kernel.errors import IsthmusError

NEXT_CHARACTERS_MAX = 2_000
FORM_BYTES_MAX = 16_384
TEXT_CHARACTERS_MAX = 2_000
Text = Annotated[str, Meta(max_length=TEXT_CHARACTERS_MAX)]
Next = Annotated[str, Meta(max_length=NEXT_CHARACTERS_MAX)]


class Coming(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where somebody wanted to go, and the workspace they name when they are in several."""

    next: Next = "/"
    workspace: Text = ""


class Password(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The form of the sign-in page."""

    email: Text
    password: Text
    next: Next = "/"
    workspace: Text = ""


class Code(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The form that asks for a second factor."""

    token: Text
    code: Text
    next: Next = "/"


class Chosen(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A password that somebody chose."""

    password: Text


class Pressed(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A form whose button is all it has."""


async def ask_password(call: Call) -> Response:
    """Ask who it is."""
    coming = call.query(Coming)
    return await _sign_in_page(call, next_page=coming.next, workspace=coming.workspace)


async def take_password(call: Call) -> Response:
    """Check a password and open a session, or ask for the second factor."""
    given = call.body(Password)
    people = call.services.of(People)
    try:
        came = await sign_in(
            people, visitor_of(call), email=given.email, password=given.password, workspace=given.workspace
        )
    except (SignInRefused, SignInPaused, SignInBusy) as refused:
        return await _sign_in_page(
            call, next_page=given.next, workspace=given.workspace, email=given.email, refused=refused
        )
    return _went_on(call, came, given.next)


async def take_code(call: Call) -> Response:
    """Take the second factor after the password."""
    given = call.body(Code)
    try:
        session = await sign_in_code(call.services.of(People), visitor_of(call), token=given.token, code=given.code)
    except (SignInRefused, SignInPaused) as refused:
        return _code_page(call, Waiting(given.token, has_totp=True, has_passkey=True), given.next, refused)
    return signed_in(call, session, to=given.next)


async def offer(call: Call) -> Response:
    """Show the button that uses a one-time link."""
    return page(call, "enter.html", {"token": call.path["token"]})


async def enter(call: Call) -> Response:
    """Use a one-time link up and open a session."""
    database, token = call.services.database, call.path["token"]
    try:
        session = await open_session(database, token, request_id=call.request_id, now=call.scope.now)
    except LinkSpent as spent:
        return await _sign_in_page(call, refused=spent)
    return signed_in(call, session, to="/")


async def offer_password(call: Call) -> Response:
    """Show the form behind a link that sets a password."""
    return await _join_page(call)


async def join(call: Call) -> Response:
    """Set a password by a link and open a session."""
    people, visitor = call.services.of(People), visitor_of(call)
    try:
        came = await use_link(people, visitor, token=call.path["token"], password=call.body(Chosen).password)
    except (WeakPassword, SignInBusy) as refused:
        return await _join_page(call, refused)
    except LinkSpent as spent:
        return await _sign_in_page(call, refused=spent)
    return _went_on(call, came, "/me" if isinstance(came, NewSession) else "/")


def _went_on(call: Call, came: NewSession | Waiting, next_page: str) -> Response:
    if isinstance(came, Waiting):
        return _code_page(call, came, next_page)
    return signed_in(call, came, to=next_page)


def _code_page(call: Call, waiting: Waiting, next_page: str, refused: IsthmusError | None = None) -> Response:
    values = {"waiting": waiting, "next": own_page(next_page), "refusal": _told(refused)}
    return page(call, "sign_in_code.html", values, status=refused.status if refused else 200)


async def _sign_in_page(
    call: Call,
    *,
    next_page: str = "/",
    workspace: str = "",
    email: str = "",
    refused: IsthmusError | None = None,
) -> Response:
    values: dict[str, object] = {
        "refusal": _told(refused),
        "next": own_page(next_page),
        "workspace": workspace,
        "email": email,
        "issuers": await shown_issuers(call.services.database),
        "saml": await shown_saml_providers(call.services.database),
    }
    return page(call, "sign_in.html", values, status=refused.status if refused else 200)


async def _join_page(call: Call, refused: IsthmusError | None = None) -> Response:
    token = call.path["token"]
    try:
        who = await look_at_link(call.services.of(People), visitor_of(call), token)
    except LinkSpent as spent:
        return await _sign_in_page(call, refused=spent)
    values = {"who": who, "token": token, "refusal": _told(refused)}
    return page(call, "join.html", values, status=refused.status if refused else 200)


def _told(refused: IsthmusError | None) -> str:
    return f"{refused.detail} {refused.fix}".strip() if refused else ""


ROUTES = (
    Route(
        method="GET",
        path="/sign-in",
        permission=None,
        handler=ask_password,
        summary="Sign in",
        query=Coming,
        media=HTML,
        listed=False,
    ),
    Route(
        method="POST",
        path="/sign-in",
        permission=None,
        handler=take_password,
        summary="Sign in by a password",
        body=Password,
        accepts="form",
        body_bytes_max=FORM_BYTES_MAX,
        media=HTML,
        listed=False,
    ),
    Route(
        method="POST",
        path="/sign-in/code",
        permission=None,
        handler=take_code,
        summary="Show the second factor",
        body=Code,
        accepts="form",
        body_bytes_max=FORM_BYTES_MAX,
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
    Route(
        method="GET",
        path="/join/{token}",
        permission=None,
        handler=offer_password,
        summary="A link that sets a password",
        media=HTML,
        listed=False,
    ),
    Route(
        method="POST",
        path="/join/{token}",
        permission=None,
        handler=join,
        summary="Set a password by a link",
        body=Chosen,
        accepts="form",
        body_bytes_max=FORM_BYTES_MAX,
        media=HTML,
        listed=False,
    ),
)
