"""The pages on which a person lets a program in, or a device."""

from datetime import datetime, timedelta
from typing import Annotated, Literal
from urllib.parse import urlsplit
from uuid import UUID

from msgspec import Meta, Struct

from isthmus.auth.credentials import Credentials
from isthmus.auth.oauth.clients import CLIENT_PREFIX, Client, find_client
from isthmus.auth.oauth.codes import give_code, within
from isthmus.auth.oauth.devices import (
    Waiting,
    allow_device,
    check_guesses,
    find_waiting,
    refuse_device,
)
from isthmus.auth.oauth.errors import (
    AccessRefused,
    ConsentRequired,
    InvalidRequestUri,
    LoginRequired,
    OAuthFault,
)
from isthmus.auth.oauth.grants import allowed_before, end_grants, programs_of, subject_of
from isthmus.auth.oauth.provider import Provider
from isthmus.auth.oauth.requests import (
    Shown,
    answer_url,
    nobody,
    refusal_url,
    shown,
    use_shown,
    workspace_of,
)
from isthmus.auth.principal import Principal
from isthmus.console.consent.wording import said
from isthmus.console.pages import page
from isthmus.gateway import ANY_CALLER, HTML, Call, Response, Route, redirect
from isthmus.gateway.sending import PAGE_POLICY
from isthmus.kernel.errors import Denied, Unauthenticated
from isthmus.kernel.ids import text_of
from isthmus.store.database import Scope, Transaction

_FORM_BYTES_MAX = 4_096
_SIGN_IN, _STEP_UP = "/sign-in", "/step-up"
_FIELDS = frozenset({"http", "https"})


class Decision(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The button that was pressed."""

    choice: Literal["allow", "refuse"]


class Typed(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A code from a device, perhaps already in the address."""

    user_code: Annotated[str, Meta(max_length=40)] = ""


class DeviceForm(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A typed code, and what is done with it."""

    user_code: Annotated[str, Meta(max_length=40)]
    choice: Literal["look", "allow", "refuse"] = "look"


class Pressed(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A form whose button is all it has."""


class NotAPerson(Denied):
    """Programs are let in by people who are signed in."""

    code, title = "not-a-person", "Only a person who is signed in decides this"


async def ask(call: Call) -> Response:
    """Show what a program asks for, or answer it at once where nobody has to be asked."""
    handle = call.path["handle"]
    scope = await _waiting_scope(call, handle)
    person = await _person(call)
    async with call.services.database.transaction(scope) as tx:
        found, client = await _found(tx, handle)
        quiet = "none" in found.asked.prompt
        if person is None or person.workspace != scope.workspace or _must_prove(found, person, scope.now):
            if quiet:
                return await _refused(call, tx, handle, LoginRequired("Nobody is signed in, or too long ago."))
            return _to_prove(scope, handle, person)
        try:
            scopes = within(found.asked.scopes, person=person, domains=call.services.of(Provider).domains)
        except AccessRefused as fault:
            return await _refused(call, tx, handle, fault)
        if await _knows(tx, client, found, person, scopes):
            return await _allowed(call, tx, handle, client, person)
        if quiet:
            return await _refused(call, tx, handle, ConsentRequired("The person has not allowed this yet."))
    return _consent_page(call, handle, found, client, person=person, scopes=scopes)


def _to_prove(scope: Scope, handle: str, person: Principal | None) -> Response:
    """Send somebody to sign in, or to prove themselves again; raises AccessRefused for one of another workspace."""
    if person is not None and person.workspace != scope.workspace:
        raise AccessRefused("The program belongs to another workspace.", fix="Sign in to that one.")
    where = _STEP_UP if person is not None and person.user is not None else _SIGN_IN
    return redirect(f"{where}?next=/oauth/consent/{handle}")


def _consent_page(
    call: Call, handle: str, found: Shown, client: Client, *, person: Principal, scopes: tuple[str, ...]
) -> Response:
    values = {"client": client, "scopes": said(scopes), "handle": handle, "to": _host(found.asked.redirect)}
    own = {"csrf": person.csrf, "person": person.name, "signed_in": person.name}
    made = page(call, "consent.html", {**values, **own})
    # Browsers hold the redirect behind a form against form-action, so the place it leads to is named there.
    policy = PAGE_POLICY.replace("form-action 'self'", f"form-action 'self' {_source(found.asked.redirect)}")
    return Response(body=made.body, media=HTML, headers=(*made.headers, ("content-security-policy", policy)))


async def decide(call: Call) -> Response:
    """Do what the person decided."""
    person, handle = _signed_in(call), call.path["handle"]
    async with call.services.database.transaction(call.scope) as tx:
        found, client = await _found(tx, handle)
        if _must_prove(found, person, call.scope.now):
            raise Unauthenticated("The program wants a fresh proof that it is you.", fix="Sign in again.")
        if call.body(Decision).choice == "allow":
            return await _allowed(call, tx, handle, client, person)
        return await _refused(call, tx, handle, AccessRefused("The person said no."))


async def ask_for_code(call: Call) -> Response:
    """Show the form for a device's code."""
    _signed_in(call)
    return _device_page(call, user_code=call.query(Typed).user_code)


async def take_code(call: Call) -> Response:
    """Look at a device's code, or do what the person decided about it."""
    person, given = _signed_in(call), call.body(DeviceForm)
    provider = call.services.of(Provider)
    async with call.services.database.transaction(call.scope) as tx:
        await check_guesses(tx, person)
        waiting = await find_waiting(tx, person, given.user_code)
        if waiting is None:
            return _device_page(call, refusal="There is no such code, or it is over ten minutes old.", status=404)
        client = await find_client(tx, waiting.client)
        if given.choice == "look":
            scopes = within(waiting.scopes, person=person, domains=provider.domains)
            return _device_page(call, user_code=given.user_code, client=client, scopes=scopes)
        return await _settled(call, tx, client, waiting, person, allow=given.choice == "allow")


async def list_programs(call: Call) -> Response:
    """Show the programs that the person let in."""
    person = _signed_in(call)
    async with call.services.database.transaction(call.scope) as tx:
        found = await programs_of(tx, subject_of(person))
    rows = [
        {"id": text_of(CLIENT_PREFIX, each.client), "name": each.name, "scopes": said(each.scopes), "since": each.since}
        for each in found
    ]
    return page(call, "programs.html", {"programs": rows})


async def end_program(call: Call) -> Response:
    """End what the person allowed a program."""
    person = _signed_in(call)
    client = call.id_in_path("client_id", CLIENT_PREFIX)
    async with call.services.database.transaction(call.scope) as tx:
        grants: list[UUID] = []
        for each in await programs_of(tx, subject_of(person)):
            grants += each.grants if each.client == client else []
        await end_grants(tx, grants, why="revoked by the person")
    call.services.of(Credentials).forget()
    return redirect("/programs")


async def _settled(
    call: Call, tx: Transaction, client: Client, waiting: Waiting, person: Principal, *, allow: bool
) -> Response:
    if allow:
        provider, proven_at = call.services.of(Provider), person.proven_at or call.scope.now
        done = await allow_device(provider, tx, client, waiting, person=person, proven_at=proven_at)
        word = "The device is let in. You may close this page."
    else:
        done = await refuse_device(tx, client, waiting)
        word = "The device is refused. You may close this page."
    return _device_page(call, done=word if done else "Somebody decided this already.")


async def _allowed(call: Call, tx: Transaction, handle: str, client: Client, person: Principal) -> Response:
    """Use the request up and send the browser back with a code."""
    used = await use_shown(tx, handle)
    if used is None:
        raise _gone()
    provider, asked = call.services.of(Provider), used.asked
    proven_at = person.proven_at or tx.scope.now
    try:
        code = await give_code(provider, tx, client, asked, person=person, proven_at=proven_at)
    except AccessRefused as fault:
        return redirect(refusal_url(provider, fault, redirect=asked.redirect, state=asked.state))
    return redirect(answer_url(asked.redirect, {"code": code, "state": asked.state, "iss": provider.issuer}))


async def _refused(call: Call, tx: Transaction, handle: str, fault: OAuthFault) -> Response:
    """Use the request up and send the browser back with a refusal."""
    used = await use_shown(tx, handle)
    if used is None:
        raise _gone()
    provider = call.services.of(Provider)
    return redirect(refusal_url(provider, fault, redirect=used.asked.redirect, state=used.asked.state))


async def _waiting_scope(call: Call, handle: str) -> Scope:
    workspace = await workspace_of(call.services.database, handle)
    if workspace is None:
        raise _gone()
    return nobody(workspace=workspace, cause=call.request_id, now=call.scope.now)


async def _found(tx: Transaction, handle: str) -> tuple[Shown, Client]:
    found = await shown(tx, handle)
    if found is None:
        raise _gone()
    client = await find_client(tx, found.client)
    if client.removed_at is not None:
        raise _gone()
    return found, client


async def _person(call: Call) -> Principal | None:
    """Return who is signed in on this browser, or None."""
    if call.session is None:
        return None
    try:
        return await call.services.of(Credentials).session(call.session, now=call.scope.now)
    except Unauthenticated:
        return None


def _signed_in(call: Call) -> Principal:
    if call.principal.kind != "session":
        raise NotAPerson("Only a person who is signed in decides this.", fix="Open the page in a browser.")
    return call.principal


def _must_prove(found: Shown, person: Principal, now: datetime) -> bool:
    """Tell whether the person must prove themselves again (OpenID Connect Core §3.1.2.1)."""
    proven = person.proven_at
    if proven is None:
        return "login" in found.asked.prompt or found.asked.max_age is not None
    if "login" in found.asked.prompt and proven < found.since:
        return True
    age = found.asked.max_age
    return age is not None and now - proven > timedelta(seconds=age) and proven < found.since


async def _knows(tx: Transaction, client: Client, found: Shown, person: Principal, scopes: tuple[str, ...]) -> bool:
    """Tell whether the person need not be asked again. Whoever could be any program on the machine is always asked."""
    asked = found.asked
    if "consent" in asked.prompt or not (client.is_confidential or asked.redirect.startswith("https://")):
        return False
    return await allowed_before(tx, client, subject_of(person), scopes=scopes, resources=asked.resources)


def _device_page(
    call: Call,
    *,
    user_code: str = "",
    client: Client | None = None,
    scopes: tuple[str, ...] = (),
    refusal: str = "",
    done: str = "",
    status: int = 200,
) -> Response:
    values = {"user_code": user_code, "client": client, "scopes": said(scopes), "refusal": refusal, "done": done}
    return page(call, "device.html", values, status=status)


def _host(uri: str) -> str:
    parts = urlsplit(uri)
    return parts.netloc if parts.scheme in _FIELDS else f"a program on this device ({parts.scheme})"


def _source(uri: str) -> str:
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.netloc}" if parts.scheme in _FIELDS else f"{parts.scheme}:"


def _gone() -> InvalidRequestUri:
    return InvalidRequestUri("This was decided before, or is over ten minutes old.", fix="Begin again in the program.")


ROUTES = (
    Route(
        method="GET",
        path="/oauth/consent/{handle}",
        permission=None,
        handler=ask,
        summary="What a program asks for",
        media=HTML,
        listed=False,
    ),
    Route(
        method="POST",
        path="/oauth/consent/{handle}",
        permission=ANY_CALLER,
        handler=decide,
        summary="Let a program in or not",
        body=Decision,
        accepts="form",
        body_bytes_max=_FORM_BYTES_MAX,
        media=HTML,
        listed=False,
    ),
    Route(
        method="GET",
        path="/device",
        permission=ANY_CALLER,
        handler=ask_for_code,
        summary="Let a device in by its code",
        query=Typed,
        media=HTML,
        listed=False,
    ),
    Route(
        method="POST",
        path="/device",
        permission=ANY_CALLER,
        handler=take_code,
        summary="Look at a device's code and decide",
        body=DeviceForm,
        accepts="form",
        body_bytes_max=_FORM_BYTES_MAX,
        media=HTML,
        listed=False,
    ),
    Route(
        method="GET",
        path="/programs",
        permission=ANY_CALLER,
        handler=list_programs,
        summary="Programs that you let in",
        media=HTML,
        listed=False,
    ),
    Route(
        method="POST",
        path="/programs/{client_id}",
        permission=ANY_CALLER,
        handler=end_program,
        summary="End what you allowed a program",
        body=Pressed,
        accepts="form",
        body_bytes_max=_FORM_BYTES_MAX,
        media=HTML,
        listed=False,
    ),
)
