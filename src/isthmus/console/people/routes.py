"""People at `/people`, for owners: who may come in, as what, and a way back for those who are locked out."""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct

from isthmus.auth.credentials import Credentials
from isthmus.auth.custom_roles import list_roles
from isthmus.auth.people.errors import LoginMissing, OwnLogin
from isthmus.auth.people.links import create_login_link, forget_factors
from isthmus.auth.people.logins import (
    Login,
    LoginWish,
    check_above,
    create_login,
    disable_login,
    enable_login,
    find_login,
    list_logins,
    set_roles,
)
from isthmus.auth.people.sign_in import People
from isthmus.auth.roles import DOMAIN_ROLES, WORKSPACE_ROLES
from isthmus.auth.sessions import end_sessions
from isthmus.console.pages import page
from isthmus.console.visiting import place_of
from isthmus.gateway import FRESH_S, HTML, Call, Response, Route, redirect
from isthmus.kernel.errors import Conflicting, Denied, Invalid, IsthmusError
from isthmus.store.database import Transaction

BYTES_MAX = 32_768
SHOWN_MAX = 500
HERE = "/people"
ADMINISTER = "gateway:write"
Text = Annotated[str, Meta(max_length=2_000)]
Roles = Annotated[list[Annotated[str, Meta(max_length=100)]], Meta(max_length=50)]


class Invitation(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The form that invites; `more` holds roles that have no box, with spaces between."""

    email: Text
    name: Text
    roles: Roles = []
    more: Text = ""


class NewRoles(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The form of other roles."""

    roles: Roles = []
    more: Text = ""


class Pressed(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A form whose button is all it has."""


async def show(call: Call) -> Response:
    """Show everybody."""
    return await _page(call)


async def invite(call: Call) -> Response:
    """Make a user and show the link that sets their password, this once."""
    given = call.body(Invitation)
    wish = LoginWish(email=given.email, name=given.name, roles=tuple(_named(given.roles, given.more)))
    people = call.services.of(People)
    try:
        async with call.services.database.transaction(call.scope) as tx:
            login = await create_login(tx, people.vault, wish, domains=people.domains, giver=call.principal.permissions)
            token = await create_login_link(tx, login.id)
    except (Invalid, Conflicting, Denied) as refused:
        return await _page(call, refused=refused, given=given)
    return await _page(call, link=_link(call, token), who=login)


async def give_roles(call: Call) -> Response:
    """Give somebody other roles."""
    given, people = call.body(NewRoles), call.services.of(People)

    async def change(tx: Transaction, login: UUID) -> None:
        await set_roles(
            tx,
            people.vault,
            login,
            roles=_named(given.roles, given.more),
            domains=people.domains,
            giver=call.principal.permissions,
            own=call.principal.user,
        )

    return await _changed(call, change)


async def disable(call: Call) -> Response:
    """Shut somebody out."""
    people, own = call.services.of(People), call.principal

    async def change(tx: Transaction, login: UUID) -> None:
        await disable_login(tx, people.vault, login, domains=people.domains, giver=own.permissions, own=own.user)

    return await _changed(call, change)


async def enable(call: Call) -> Response:
    """Let somebody in again."""
    people = call.services.of(People)

    async def change(tx: Transaction, login: UUID) -> None:
        await enable_login(tx, people.vault, login, domains=people.domains, giver=call.principal.permissions)

    return await _changed(call, change)


async def end_all(call: Call) -> Response:
    """End all sessions of somebody."""
    people = call.services.of(People)

    async def change(tx: Transaction, login: UUID) -> None:
        found = await find_login(tx, people.vault, login)
        await check_above(tx, found, giver=call.principal.permissions, domains=people.domains)
        await end_sessions(tx, login, but=call.principal.id)

    return await _changed(call, change)


async def link(call: Call) -> Response:
    """Make a link with which somebody sets a new password."""
    return await _linked(call, forgetting=False)


async def reset(call: Call) -> Response:
    """Forget the second factors of somebody who lost them, and make a link."""
    return await _linked(call, forgetting=True)


async def _linked(call: Call, *, forgetting: bool) -> Response:
    people, login = call.services.of(People), _id(call)
    try:
        async with call.services.database.transaction(call.scope) as tx:
            found = await find_login(tx, people.vault, login)
            await check_above(tx, found, giver=call.principal.permissions, domains=people.domains)
            if forgetting and login == call.principal.user:
                raise OwnLogin("Nobody forgets their own factors here.", fix="Change them at /me.")
            if forgetting:
                await forget_factors(tx, login)
            token = await create_login_link(tx, login)
    except (Conflicting, Denied) as refused:
        return await _page(call, refused=refused)
    call.services.of(Credentials).forget()
    return await _page(call, link=_link(call, token), who=found)


async def _changed(call: Call, change: Callable[[Transaction, UUID], Coroutine[object, object, None]]) -> Response:
    login = _id(call)
    try:
        async with call.services.database.transaction(call.scope) as tx:
            await change(tx, login)
    except (Invalid, Conflicting, Denied) as refused:
        return await _page(call, refused=refused)
    call.services.of(Credentials).forget()
    return redirect(HERE)


async def _page(
    call: Call,
    *,
    refused: IsthmusError | None = None,
    given: Invitation | None = None,
    link: str = "",
    who: Login | None = None,
) -> Response:
    async with call.services.database.transaction(call.scope) as tx:
        logins = await list_logins(tx, call.services.vault, limit=SHOWN_MAX)
        custom = sorted(await list_roles(tx))
    faults = " ".join(each.detail for each in refused.faults) if refused else ""
    values: dict[str, object] = {
        "logins": logins,
        "boxes": [*WORKSPACE_ROLES, *DOMAIN_ROLES, *custom],
        "refusal": f"{faults or refused.detail} {refused.fix}" if refused else "",
        "given": given,
        "link": link,
        "who": who,
        "own": call.principal,
        "now": call.scope.now,
    }
    return page(call, "people.html", values, status=refused.status if refused else 200)


def _link(call: Call, token: str) -> str:
    return f"{place_of(call).origin}/join/{token}"


def _named(roles: list[str], more: str) -> list[str]:
    return list(dict.fromkeys((*roles, *more.replace(",", " ").split())))


def _id(call: Call) -> UUID:
    try:
        return UUID(call.path["user"])
    except ValueError as error:
        raise LoginMissing("There is no such user.", fix="Load the page again.") from error


def _form(
    path: str, handler: Callable[[Call], Awaitable[Response]], summary: str, body: type[Struct] = Pressed
) -> Route:
    return Route(
        method="POST",
        path=path,
        permission=ADMINISTER,
        handler=handler,
        summary=summary,
        body=body,
        accepts="form",
        body_bytes_max=BYTES_MAX,
        media=HTML,
        fresh_s=FRESH_S,
        listed=False,
    )


ROUTES = (
    Route(
        method="GET",
        path=HERE,
        permission=ADMINISTER,
        handler=show,
        summary="People of the workspace",
        media=HTML,
        listed=False,
    ),
    _form("/people/invite", invite, "Invite somebody", Invitation),
    _form("/people/{user}/roles", give_roles, "Give other roles", NewRoles),
    _form("/people/{user}/disable", disable, "Shut somebody out"),
    _form("/people/{user}/enable", enable, "Let somebody in again"),
    _form("/people/{user}/link", link, "Make a link that sets a password"),
    _form("/people/{user}/reset", reset, "Forget lost factors and make a link"),
    _form("/people/{user}/end", end_all, "End all sessions of somebody"),
)
