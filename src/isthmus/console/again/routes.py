"""Signing in by a passkey, and proving oneself again (a new token for the session) before something that matters."""

from typing import Annotated

from msgspec import Meta, Struct

from isthmus.auth.credentials import Credentials
from isthmus.auth.people.errors import PeopleOnly, SignInBusy, SignInPaused, SignInRefused
from isthmus.auth.people.logins import find_login
from isthmus.auth.people.passkeys import ask_passkey, sign_in_passkey
from isthmus.auth.people.sign_in import People, step_up
from isthmus.auth.upstream.issuers import shown_issuers
from isthmus.console.pages import page
from isthmus.console.visiting import place_of, visitor_of
from isthmus.gateway import ANY_CALLER, HTML, Call, Response, Route
from isthmus.gateway.cookies import own_page, session_header, signed_in
from isthmus.kernel.errors import IsthmusError

BYTES_MAX = 32_768
Text = Annotated[str, Meta(max_length=2_000)]


class Back(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where somebody goes on afterwards."""

    next: Text = "/"


class Given(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A code, or a password where there is no second factor."""

    given: Text
    next: Text = "/"


class Nothing(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Nothing but that something is wanted."""


class AskedPasskey(Struct, frozen=True, kw_only=True):
    """What a browser needs to show a passkey; `options` is JSON text."""

    token: str
    options: str


class ShownPasskey(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a browser showed, as JSON text."""

    token: Text
    credential: Annotated[str, Meta(max_length=20_000)]
    next: Text = "/"


class Went(Struct, frozen=True, kw_only=True):
    """Where to go on."""

    to: str


async def ask(call: Call) -> AskedPasskey:
    """Give the options with which a browser shows a passkey."""
    token, options = await ask_passkey(call.services.of(People), visitor_of(call), place_of(call))
    return AskedPasskey(token=token, options=options)


async def take(call: Call) -> Response:
    """Sign in by a passkey."""
    shown = call.body(ShownPasskey)
    session = await sign_in_passkey(
        call.services.of(People), visitor_of(call), place_of(call), token=shown.token, credential=shown.credential
    )
    return Response(value=Went(to=own_page(shown.next)), headers=(session_header(call, session),))


async def take_again(call: Call) -> Response:
    """Prove oneself again by a passkey."""
    shown, own = call.body(ShownPasskey), call.principal
    if own.user is None:
        raise _without_account()
    session = await sign_in_passkey(
        call.services.of(People),
        visitor_of(call),
        place_of(call),
        token=shown.token,
        credential=shown.credential,
        again=(own.id, own.user),
    )
    call.services.of(Credentials).forget()
    return Response(value=Went(to=own_page(shown.next)), headers=(session_header(call, session),))


async def show(call: Call) -> Response:
    """Ask for a proof."""
    return await _page(call, call.query(Back).next)


async def prove(call: Call) -> Response:
    """Take a proof and give the session a new token."""
    given, own = call.body(Given), call.principal
    if own.user is None:
        raise _without_account()
    try:
        session = await step_up(
            call.services.of(People),
            visitor_of(call),
            workspace=own.workspace,
            session=own.id,
            login=own.user,
            given=given.given,
        )
    except (SignInRefused, SignInPaused, SignInBusy) as refused:
        return await _page(call, given.next, refused)
    call.services.of(Credentials).forget()
    return signed_in(call, session, to=given.next)


async def _page(call: Call, next_page: str, refused: IsthmusError | None = None) -> Response:
    own = call.principal
    who = None
    if own.user is not None:
        async with call.services.database.transaction(call.scope) as tx:
            who = await find_login(tx, call.services.vault, own.user)
    told = f"{refused.detail} {refused.fix}" if refused else ""
    issuers = await shown_issuers(call.services.database)
    values: dict[str, object] = {"who": who, "next": own_page(next_page), "refusal": told, "issuers": issuers}
    values["methods"] = own.methods
    return page(call, "step_up.html", values, status=refused.status if refused else 200)


def _without_account() -> PeopleOnly:
    return PeopleOnly("You came in by a one-time link, which proves nothing twice.", fix="Set up your account at /me.")


ROUTES = (
    Route(
        method="POST",
        path="/sign-in/passkey/options",
        permission=None,
        handler=ask,
        summary="Ask for a passkey",
        body=Nothing,
        response=AskedPasskey,
        listed=False,
    ),
    Route(
        method="POST",
        path="/sign-in/passkey",
        permission=None,
        handler=take,
        summary="Sign in by a passkey",
        body=ShownPasskey,
        response=Went,
        body_bytes_max=BYTES_MAX,
        listed=False,
    ),
    Route(
        method="GET",
        path="/step-up",
        permission=ANY_CALLER,
        handler=show,
        summary="Prove yourself again",
        query=Back,
        media=HTML,
        listed=False,
    ),
    Route(
        method="POST",
        path="/step-up",
        permission=ANY_CALLER,
        handler=prove,
        summary="Prove yourself again by a code or the password",
        body=Given,
        accepts="form",
        body_bytes_max=BYTES_MAX,
        media=HTML,
        listed=False,
    ),
    Route(
        method="POST",
        path="/step-up/passkey/options",
        permission=ANY_CALLER,
        handler=ask,
        summary="Ask for a passkey again",
        body=Nothing,
        response=AskedPasskey,
        listed=False,
    ),
    Route(
        method="POST",
        path="/step-up/passkey",
        permission=ANY_CALLER,
        handler=take_again,
        summary="Prove yourself again by a passkey",
        body=ShownPasskey,
        response=Went,
        body_bytes_max=BYTES_MAX,
        listed=False,
    ),
)
