"""Routes of users and of open sessions."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct

from isthmus.auth.credentials import Credentials
from isthmus.auth.people.errors import LoginMissing, LoginTaken, OwnLogin, PeopleOnly
from isthmus.auth.people.links import create_login_link, forget_factors
from isthmus.auth.people.logins import (
    USER_PREFIX,
    Login,
    LoginWish,
    check_above,
    create_login,
    disable_login,
    enable_login,
    find_login,
    list_logins,
    masked,
    set_roles,
)
from isthmus.auth.people.sign_in import People
from isthmus.auth.roles import GrantTooWide, UnknownRole
from isthmus.auth.sessions import OpenSession, SessionMissing, end_open_session, list_sessions
from isthmus.gateway import ANY_CALLER, FRESH_S, Call, Page, Paging, Route
from isthmus.kernel.errors import IsthmusError
from isthmus.kernel.ids import text_of
from isthmus.store.database import Transaction

_TAGS = ("people",)
_READ, _WRITE = "gateway:read", "gateway:write"
SESSION_PREFIX = "sess"
_Roles = Annotated[list[Annotated[str, Meta(max_length=100)]], Meta(max_length=50)]


class NewUser(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who shall become a user, and with which roles; at most what the caller may do."""

    email: Annotated[str, Meta(min_length=3, max_length=254)]
    name: Annotated[str, Meta(min_length=1, max_length=100)]
    roles: _Roles = []


class UserRoles(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The roles that a user shall have from now on."""

    roles: _Roles


class UserView(Struct, frozen=True, kw_only=True):
    """A user; the e-mail address is masked for callers who may not administer users."""

    id: str
    email: str
    name: str
    roles: list[str]
    status: str
    second_factor: bool
    created_at: datetime
    joined_at: datetime | None = None
    signed_in_at: datetime | None = None
    disabled_at: datetime | None = None


class UserLink(Struct, frozen=True, kw_only=True):
    """A user and the path of a link that sets their password once, shown this once."""

    id: str
    path: str


class SessionsAsked(Paging, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which sessions; `all` are those of everybody in the workspace."""

    all: bool = False


class SessionView(Struct, frozen=True, kw_only=True):
    """An open session; `user` is absent for one that was opened by a one-time link."""

    id: str
    methods: list[str]
    network: str
    agent: str
    created_at: datetime
    seen_at: datetime
    expires_at: datetime
    user: str | None = None
    current: bool = False


async def create_user(call: Call) -> UserLink:
    """Invite somebody."""
    wanted, people = call.body(NewUser), call.services.of(People)
    wish = LoginWish(email=wanted.email, name=wanted.name, roles=tuple(wanted.roles))
    async with call.services.database.transaction(call.scope) as tx:
        login = await create_login(tx, people.vault, wish, domains=people.domains, giver=call.principal.permissions)
        token = await create_login_link(tx, login.id)
    return UserLink(id=text_of(USER_PREFIX, login.id), path=f"/join/{token}")


async def list_users(call: Call) -> Page[UserView]:
    """List users."""
    paging, after = call.query(Paging), call.after()
    async with call.services.database.transaction(call.scope) as tx:
        place = None if after is None else UUID(after)
        logins = await list_logins(tx, call.services.vault, limit=paging.limit + 1, after=place)
    found = call.page(logins, limit=paging.limit, after=lambda login: str(login.id))
    views = [_view(call, each) for each in found.data]
    return Page(data=views, next_cursor=found.next_cursor, has_more=found.has_more)


async def get_user(call: Call) -> UserView:
    """Show one user."""
    async with call.services.database.transaction(call.scope) as tx:
        return _view(call, await find_login(tx, call.services.vault, _user(call)))


async def change_user(call: Call) -> UserView:
    """Give a user other roles."""
    people, own = call.services.of(People), call.principal
    async with call.services.database.transaction(call.scope) as tx:
        login = await set_roles(
            tx,
            people.vault,
            _user(call),
            roles=call.body(UserRoles).roles,
            domains=people.domains,
            giver=own.permissions,
            own=own.user,
        )
    return _changed(call, login)


async def disable_user(call: Call) -> UserView:
    """Shut a user out."""
    people, own = call.services.of(People), call.principal
    async with call.services.database.transaction(call.scope) as tx:
        login = await disable_login(
            tx, people.vault, _user(call), domains=people.domains, giver=own.permissions, own=own.user
        )
    return _changed(call, login)


async def enable_user(call: Call) -> UserView:
    """Let a user in again."""
    people = call.services.of(People)
    async with call.services.database.transaction(call.scope) as tx:
        login = await enable_login(
            tx, people.vault, _user(call), domains=people.domains, giver=call.principal.permissions
        )
    return _changed(call, login)


async def link_user(call: Call) -> UserLink:
    """Make a link that sets a new password."""
    async with call.services.database.transaction(call.scope) as tx:
        login = await _administered(call, tx)
        token = await create_login_link(tx, login.id)
    return UserLink(id=text_of(USER_PREFIX, login.id), path=f"/join/{token}")


async def reset_user(call: Call) -> UserLink:
    """Forget the second factors of a user who lost them."""
    async with call.services.database.transaction(call.scope) as tx:
        login = await _administered(call, tx)
        if login.id == call.principal.user:
            raise OwnLogin("Nobody forgets their own factors here.", fix="Change them at /me.")
        await forget_factors(tx, login.id)
        token = await create_login_link(tx, login.id)
    call.services.of(Credentials).forget()
    return UserLink(id=text_of(USER_PREFIX, login.id), path=f"/join/{token}")


async def list_open_sessions(call: Call) -> Page[SessionView]:
    """List open sessions."""
    asked, after, own = call.query(SessionsAsked), call.after(), call.principal
    login = None if asked.all else own.user
    if asked.all:
        call.require(_WRITE)
    elif login is None:
        raise PeopleOnly("The caller is no user, so no session is theirs.", fix="Ask for all=true.")
    async with call.services.database.transaction(call.scope) as tx:
        place = None if after is None else UUID(after)
        sessions = await list_sessions(tx, limit=asked.limit + 1, login=login, after=place)
    found = call.page(sessions, limit=asked.limit, after=lambda each: str(each.id))
    views = [_session(each, current=each.id == own.id) for each in found.data]
    return Page(data=views, next_cursor=found.next_cursor, has_more=found.has_more)


async def end_a_session(call: Call) -> None:
    """End a session: one's own, or anybody's for who administers users."""
    own = call.principal
    login = None if call.may(_WRITE) else own.user
    if login is None and not call.may(_WRITE):
        raise PeopleOnly("The caller is no user, so no session is theirs.", fix="Use a key that may administer users.")
    session = call.id_in_path("session_id", SESSION_PREFIX, missing=SessionMissing)
    async with call.services.database.transaction(call.scope) as tx:
        await end_open_session(tx, session, login=login)
    call.services.of(Credentials).forget()


async def _administered(call: Call, tx: Transaction) -> Login:
    people = call.services.of(People)
    login = await find_login(tx, people.vault, _user(call))
    await check_above(tx, login, giver=call.principal.permissions, domains=people.domains)
    return login


def _changed(call: Call, login: Login) -> UserView:
    call.services.of(Credentials).forget()
    return _view(call, login)


def _user(call: Call) -> UUID:
    return call.id_in_path("user_id", USER_PREFIX, missing=LoginMissing)


def _view(call: Call, login: Login) -> UserView:
    return UserView(
        id=text_of(USER_PREFIX, login.id),
        email=login.email if call.may(_WRITE) else masked(login.email),
        name=login.name,
        roles=login.roles,
        status=login.status,
        second_factor=login.has_second_factor,
        created_at=login.created_at,
        joined_at=login.joined_at,
        signed_in_at=login.signed_in_at,
        disabled_at=login.disabled_at,
    )


def _session(session: OpenSession, *, current: bool) -> SessionView:
    return SessionView(
        id=text_of(SESSION_PREFIX, session.id),
        methods=session.methods,
        network=session.network,
        agent=session.agent,
        created_at=session.created_at,
        seen_at=session.seen_at,
        expires_at=session.expires_at,
        user=None if session.login is None else text_of(USER_PREFIX, session.login),
        current=current,
    )


_REFUSALS: tuple[type[IsthmusError], ...] = (LoginMissing, GrantTooWide)
ROUTES = (
    Route(
        method="POST",
        path="/api/v1/users",
        permission=_WRITE,
        handler=create_user,
        summary="Invite a user",
        description="The answer has the path of a link that sets their password once, within three days.",
        tags=_TAGS,
        body=NewUser,
        response=UserLink,
        status=201,
        shown_once=True,
        fresh_s=FRESH_S,
        request_example={"email": "ada@example.com", "name": "Ada Byron", "roles": ["sales.editor"]},
        errors=(UnknownRole, GrantTooWide, LoginTaken),
    ),
    Route(
        method="GET",
        path="/api/v1/users",
        permission=_READ,
        handler=list_users,
        summary="List users",
        tags=_TAGS,
        query=Paging,
        response=Page[UserView],
    ),
    Route(
        method="GET",
        path="/api/v1/users/{user_id}",
        permission=_READ,
        handler=get_user,
        summary="Read one user",
        tags=_TAGS,
        response=UserView,
        errors=(LoginMissing,),
    ),
    Route(
        method="PATCH",
        path="/api/v1/users/{user_id}",
        permission=_WRITE,
        handler=change_user,
        summary="Give a user other roles",
        tags=_TAGS,
        body=UserRoles,
        response=UserView,
        fresh_s=FRESH_S,
        request_example={"roles": ["sales.viewer"]},
        errors=(*_REFUSALS, UnknownRole, OwnLogin),
    ),
    Route(
        method="POST",
        path="/api/v1/users/{user_id}:disable",
        permission=_WRITE,
        handler=disable_user,
        summary="Shut a user out and end their sessions",
        tags=_TAGS,
        response=UserView,
        fresh_s=FRESH_S,
        errors=(*_REFUSALS, OwnLogin),
    ),
    Route(
        method="POST",
        path="/api/v1/users/{user_id}:enable",
        permission=_WRITE,
        handler=enable_user,
        summary="Let a user in again",
        tags=_TAGS,
        response=UserView,
        fresh_s=FRESH_S,
        errors=_REFUSALS,
    ),
    Route(
        method="POST",
        path="/api/v1/users/{user_id}:link",
        permission=_WRITE,
        handler=link_user,
        summary="Make a link that sets a user's password once",
        tags=_TAGS,
        response=UserLink,
        shown_once=True,
        fresh_s=FRESH_S,
        errors=_REFUSALS,
    ),
    Route(
        method="POST",
        path="/api/v1/users/{user_id}:reset",
        permission=_WRITE,
        handler=reset_user,
        summary="Forget a user's lost factors and make a link",
        tags=_TAGS,
        response=UserLink,
        shown_once=True,
        fresh_s=FRESH_S,
        errors=(*_REFUSALS, OwnLogin),
    ),
    Route(
        method="GET",
        path="/api/v1/sessions",
        permission=ANY_CALLER,
        handler=list_open_sessions,
        summary="List open sessions: one's own, or all with gateway:write",
        tags=_TAGS,
        query=SessionsAsked,
        response=Page[SessionView],
        errors=(PeopleOnly,),
    ),
    Route(
        method="POST",
        path="/api/v1/sessions/{session_id}:end",
        permission=ANY_CALLER,
        handler=end_a_session,
        summary="End a session: one's own, or anybody's with gateway:write",
        tags=_TAGS,
        status=204,
        errors=(SessionMissing, PeopleOnly),
    ),
)
