"""Routes of registered programs."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct, field

from isthmus.auth.credentials import Credentials
from isthmus.auth.oauth.clients import (
    CLIENT_PREFIX,
    CODE,
    REFRESH,
    Client,
    ClientWish,
    Method,
    find_client,
    list_clients,
    register_client,
    remove_client,
    rotate_secret,
)
from isthmus.auth.oauth.errors import ClientMissing, InvalidClientWish
from isthmus.auth.oauth.provider import Provider
from isthmus.auth.roles import GrantTooWide
from isthmus.gateway import Call, Page, Paging, Route
from isthmus.kernel.marks import Json

_TAGS = ("access",)
_Uri = Annotated[str, Meta(max_length=2_000)]
_Uris = Annotated[list[_Uri], Meta(max_length=20)]
_Names = Annotated[list[Annotated[str, Meta(max_length=100)]], Meta(max_length=100)]


class NewClient(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A program to register. `scopes` are all it may ever ask for; `keys` is the JWKS for `private_key_jwt`.

    `back_channel_logout` is where it is told that the session of somebody who signed in ended.
    """

    name: Annotated[str, Meta(min_length=1, max_length=100)]
    method: Method = "secret"
    grants: _Names = field(default_factory=lambda: [CODE, REFRESH])
    scopes: _Names = []
    redirects: _Uris = []
    after_sign_out: _Uris = []
    audience: _Uri | None = None
    keys: dict[str, Json] | None = None
    pushed_only: bool = False
    bound_only: bool = False
    back_channel_logout: _Uri | None = None


class ClientView(Struct, frozen=True, kw_only=True):
    """A registered program without its secret; `bound_only` programs must prove each call by DPoP."""

    client_id: str
    name: str
    method: str
    grants: list[str]
    scopes: list[str]
    redirects: list[str]
    after_sign_out: list[str]
    pushed_only: bool
    bound_only: bool
    created_at: datetime
    created_by: str
    audience: str | None = None
    rotated_at: datetime | None = None
    removed_at: datetime | None = None
    back_channel_logout: str | None = None


class MadeClient(Struct, frozen=True, kw_only=True):
    """A program with its secret, which is shown this once; public programs and those with keys have none."""

    client_id: str
    name: str
    client_secret: str | None = None


async def create(call: Call) -> MadeClient:
    """Register a program."""
    wanted = call.body(NewClient)
    wish = ClientWish(
        name=wanted.name,
        method=wanted.method,
        grants=tuple(wanted.grants),
        scopes=tuple(wanted.scopes),
        redirects=tuple(wanted.redirects),
        after_sign_out=tuple(wanted.after_sign_out),
        audience=wanted.audience,
        keys=wanted.keys,
        pushed_only=wanted.pushed_only,
        bound_only=wanted.bound_only,
        back_channel_logout=wanted.back_channel_logout,
    )
    domains = call.services.of(Provider).domains
    async with call.services.database.transaction(call.scope) as tx:
        made, secret = await register_client(tx, wish, domains=domains, giver=call.principal.permissions)
    return MadeClient(client_id=made.client_id, name=made.name, client_secret=secret)


async def list_all(call: Call) -> Page[ClientView]:
    """List programs, removed ones included."""
    paging, after = call.query(Paging), call.after()
    async with call.services.database.transaction(call.scope) as tx:
        found = await list_clients(tx, limit=paging.limit + 1, after=None if after is None else UUID(after), every=True)
    shown = call.page(found, limit=paging.limit, after=lambda client: str(client.id))
    return Page(data=[view(each) for each in shown.data], next_cursor=shown.next_cursor, has_more=shown.has_more)


async def get(call: Call) -> ClientView:
    """Show one program."""
    async with call.services.database.transaction(call.scope) as tx:
        return view(await find_client(tx, call.id_in_path("client_id", CLIENT_PREFIX)))


async def rotate(call: Call) -> MadeClient:
    """Give a program another secret."""
    async with call.services.database.transaction(call.scope) as tx:
        found, secret = await rotate_secret(tx, call.id_in_path("client_id", CLIENT_PREFIX))
    return MadeClient(client_id=found.client_id, name=found.name, client_secret=secret)


async def remove(call: Call) -> ClientView:
    """End a program; within a second no token of it opens anything."""
    async with call.services.database.transaction(call.scope) as tx:
        removed = await remove_client(tx, call.id_in_path("client_id", CLIENT_PREFIX))
    call.services.of(Credentials).forget()
    return view(removed)


def view(client: Client) -> ClientView:
    """Return a program without what it proves itself with."""
    return ClientView(
        client_id=client.client_id,
        name=client.name,
        method=client.method,
        grants=client.grants,
        scopes=client.scopes,
        redirects=client.redirects,
        after_sign_out=client.after_sign_out,
        pushed_only=client.pushed_only,
        bound_only=client.bound_only,
        created_at=client.created_at,
        created_by=client.created_by,
        audience=client.audience,
        rotated_at=client.rotated_at,
        removed_at=client.removed_at,
        back_channel_logout=client.back_channel_logout,
    )


ROUTES = (
    Route(
        method="POST",
        path="/api/v1/clients",
        permission="gateway:write",
        handler=create,
        summary="Register a program that asks for tokens",
        description="Its secret is in the answer this once. It can ask for no more than the caller may do.",
        tags=_TAGS,
        body=NewClient,
        response=MadeClient,
        status=201,
        shown_once=True,
        request_example={
            "name": "Reporting",
            "grants": ["client_credentials"],
            "scopes": ["sales:read", "finance:read"],
        },
        errors=(GrantTooWide, InvalidClientWish),
    ),
    Route(
        method="GET",
        path="/api/v1/clients",
        permission="gateway:read",
        handler=list_all,
        summary="List registered programs",
        tags=_TAGS,
        query=Paging,
        response=Page[ClientView],
    ),
    Route(
        method="GET",
        path="/api/v1/clients/{client_id}",
        permission="gateway:read",
        handler=get,
        operation="getClient",
        summary="Read one registered program",
        tags=_TAGS,
        response=ClientView,
        errors=(ClientMissing,),
    ),
    Route(
        method="POST",
        path="/api/v1/clients/{client_id}:rotate",
        permission="gateway:write",
        handler=rotate,
        summary="Give a program another secret; the one before holds for a day longer",
        tags=_TAGS,
        response=MadeClient,
        shown_once=True,
        errors=(ClientMissing, InvalidClientWish),
    ),
    Route(
        method="POST",
        path="/api/v1/clients/{client_id}:remove",
        permission="gateway:write",
        handler=remove,
        summary="End a program and all its tokens for ever",
        tags=_TAGS,
        response=ClientView,
        errors=(ClientMissing,),
    ),
)
