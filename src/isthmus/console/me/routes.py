"""Your account at `/me`: password, one-time codes, passkeys, recovery codes, open sessions."""

from collections.abc import Awaitable, Callable
from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct

from isthmus.auth.credentials import Credentials
from isthmus.auth.people.errors import SignInBusy, SignInPaused, SignInRefused, WeakPassword
from isthmus.auth.people.factors import begin_totp, change_password, confirm_totp, remove_totp
from isthmus.auth.people.passkeys import Making, PasskeyMissing, add_passkey, begin_passkey, remove_passkey
from isthmus.auth.people.recovery import new_codes
from isthmus.auth.people.setting_up import set_up
from isthmus.auth.people.sign_in import People
from isthmus.auth.sessions import SessionMissing, end_open_session, end_sessions
from isthmus.console.me.showing import account_page, codes_page, totp_page, user_of
from isthmus.console.visiting import place_of, visitor_of
from isthmus.gateway import ANY_CALLER, FRESH_S, HTML, Call, Response, Route, redirect
from isthmus.gateway.cookies import session_header, signed_in
from isthmus.kernel.errors import Conflicting, Invalid, IsthmusError

BYTES_MAX = 32_768
HERE = "/me"
Text = Annotated[str, Meta(max_length=2_000)]
Handler = Callable[[Call], Awaitable[Struct | Response | None]]


class NewAccount(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The form with which the bearer of a one-time link becomes a user."""

    email: Text
    name: Text
    password: Text


class NewPassword(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The form of another password; `before` is empty where there is none."""

    password: Text
    before: Text = ""


class Code(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The first code of an authenticator."""

    code: Text


class Pressed(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A form whose button is all it has, or a wish without more."""


class Asked(Struct, frozen=True, kw_only=True):
    """What a browser needs to make a passkey; `options` is JSON text."""

    token: str
    options: str


class Made(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a browser made, as JSON text, and a name for it."""

    token: Text
    credential: Annotated[str, Meta(max_length=20_000)]
    name: Annotated[str, Meta(max_length=60)] = "Passkey"


class Went(Struct, frozen=True, kw_only=True):
    """Where to go on."""

    to: str


async def show(call: Call) -> Response:
    """Show the account, or the form that sets one up."""
    return await account_page(call)


async def set_up_account(call: Call) -> Response:
    """Make a user of the bearer of a one-time link."""
    given = call.body(NewAccount)
    try:
        session = await set_up(
            call.services.of(People),
            visitor_of(call),
            call.scope,
            caller=call.principal,
            email=given.email,
            name=given.name,
            roles=("owner",),
            password=given.password,
        )
    except (Invalid, Conflicting, SignInBusy) as refused:
        return await account_page(call, refused=refused)
    return _renewed(call, signed_in(call, session, to=HERE))


async def set_password(call: Call) -> Response:
    """Set another password."""
    given, user = call.body(NewPassword), user_of(call)
    try:
        session = await change_password(
            call.services.of(People),
            visitor_of(call),
            call.scope,
            login=user,
            session=call.principal.id,
            before=given.before,
            password=given.password,
        )
    except (SignInRefused, SignInPaused, SignInBusy, WeakPassword) as refused:
        return await account_page(call, refused=refused, at="password")
    return _renewed(call, signed_in(call, session, to=HERE))


async def begin_codes(call: Call) -> Response:
    """Make a secret of one-time codes."""
    user = user_of(call)
    async with call.services.database.transaction(call.scope) as tx:
        await begin_totp(tx, call.services.vault, user)
    return redirect("/me/totp")


async def show_codes(call: Call) -> Response:
    """Show the QR code of one-time codes that wait for their first one."""
    return await totp_page(call)


async def confirm_codes(call: Call) -> Response:
    """Let one-time codes count by the first of them."""
    user, vault = user_of(call), call.services.vault
    try:
        async with call.services.database.transaction(call.scope) as tx:
            session, codes = await confirm_totp(
                tx, vault, visitor_of(call), login=user, session=call.principal.id, code=call.body(Code).code
            )
    except SignInRefused as refused:
        return await totp_page(call, refused)
    shown = codes_page(call, codes) if codes else redirect(HERE)
    headers = (*shown.headers, session_header(call, session))
    return _renewed(call, Response(body=shown.body, status=shown.status, media=shown.media, headers=headers))


async def remove_codes(call: Call) -> Response:
    """Let one-time codes count no more."""
    user = user_of(call)
    try:
        async with call.services.database.transaction(call.scope) as tx:
            await remove_totp(tx, call.services.vault, user)
    except Conflicting as refused:
        return await account_page(call, refused=refused, at="totp")
    return redirect(HERE)


async def ask_passkey(call: Call) -> Asked:
    """Give the options with which a browser makes a passkey."""
    user = user_of(call)
    async with call.services.database.transaction(call.scope) as tx:
        token, options = await begin_passkey(tx, call.services.vault, place_of(call), user)
    return Asked(token=token, options=options)


async def keep_passkey(call: Call) -> Response:
    """Keep a passkey."""
    made, user = call.body(Made), user_of(call)
    name = " ".join(made.name.split()) or "Passkey"
    making = Making(login=user, session=call.principal.id, token=made.token, credential=made.credential, name=name)
    async with call.services.database.transaction(call.scope) as tx:
        session = await add_passkey(tx, visitor_of(call), place_of(call), making)
    return _renewed(call, Response(value=Went(to=HERE), headers=(session_header(call, session),)))


async def drop_passkey(call: Call) -> Response:
    """Let a passkey open nothing any more."""
    user, passkey = user_of(call), _id(call, "passkey", PasskeyMissing("There is no such passkey."))
    try:
        async with call.services.database.transaction(call.scope) as tx:
            await remove_passkey(tx, call.services.vault, login=user, passkey=passkey)
    except Conflicting as refused:
        return await account_page(call, refused=refused, at="passkeys")
    return redirect(HERE)


async def make_recovery(call: Call) -> Response:
    """Make new recovery codes and show them once."""
    user = user_of(call)
    async with call.services.database.transaction(call.scope) as tx:
        codes = await new_codes(tx, call.services.vault, user)
    return codes_page(call, codes)


async def end_one(call: Call) -> Response:
    """End one of the own sessions."""
    user, session = user_of(call), _id(call, "session", SessionMissing("There is no such session."))
    async with call.services.database.transaction(call.scope) as tx:
        await end_open_session(tx, session, login=user)
    return _renewed(call, redirect(HERE))


async def end_others(call: Call) -> Response:
    """End all own sessions but this one."""
    user = user_of(call)
    async with call.services.database.transaction(call.scope) as tx:
        await end_sessions(tx, user, but=call.principal.id)
    return _renewed(call, redirect(HERE))


def _renewed(call: Call, answer: Response) -> Response:
    """Forget what was known of sessions, because one has another token or has ended."""
    call.services.of(Credentials).forget()
    return answer


def _id(call: Call, name: str, missing: IsthmusError) -> UUID:
    try:
        return UUID(call.path[name])
    except ValueError as error:
        raise missing from error


def _form(
    path: str, handler: Handler, summary: str, body: type[Struct] = Pressed, fresh_s: int | None = FRESH_S
) -> Route:
    return Route(
        method="POST",
        path=path,
        permission=ANY_CALLER,
        handler=handler,
        summary=summary,
        body=body,
        accepts="form",
        body_bytes_max=BYTES_MAX,
        media=HTML,
        fresh_s=fresh_s,
        listed=False,
    )


def _page(path: str, handler: Handler, summary: str, fresh_s: int | None = None) -> Route:
    return Route(
        method="GET",
        path=path,
        permission=ANY_CALLER,
        handler=handler,
        summary=summary,
        media=HTML,
        fresh_s=fresh_s,
        listed=False,
    )


def _json(path: str, handler: Handler, summary: str, body: type[Struct], response: type[Struct]) -> Route:
    return Route(
        method="POST",
        path=path,
        permission=ANY_CALLER,
        handler=handler,
        summary=summary,
        body=body,
        response=response,
        body_bytes_max=BYTES_MAX,
        fresh_s=FRESH_S,
        listed=False,
    )


ROUTES = (
    _page(HERE, show, "Your account"),
    _form("/me/set-up", set_up_account, "Become a named user", NewAccount),
    _form("/me/password", set_password, "Set another password", NewPassword),
    _form("/me/totp", begin_codes, "Begin with one-time codes"),
    _page("/me/totp", show_codes, "The QR code of one-time codes", FRESH_S),
    _form("/me/totp/confirm", confirm_codes, "Let one-time codes count", Code),
    _form("/me/totp/remove", remove_codes, "Remove one-time codes"),
    _json("/me/passkeys/options", ask_passkey, "Ask for a new passkey", Pressed, Asked),
    _json("/me/passkeys", keep_passkey, "Keep a new passkey", Made, Went),
    _form("/me/passkeys/{passkey}/remove", drop_passkey, "Remove a passkey"),
    _form("/me/recovery", make_recovery, "Make recovery codes"),
    _form("/me/sessions/end-others", end_others, "End all other sessions", fresh_s=None),
    _form("/me/sessions/{session}/end", end_one, "End a session", fresh_s=None),
)
