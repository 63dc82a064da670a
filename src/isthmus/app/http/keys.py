"""Routes of API keys, and of who the caller is."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct

from isthmus.auth.credentials import Credentials
from isthmus.auth.keys import (
    ApiKey,
    InvalidKeyWish,
    KeyMissing,
    KeyWish,
    create_key,
    find_key,
    list_keys,
    revoke_key,
)
from isthmus.auth.keytext import KEY_PREFIX
from isthmus.auth.roles import GrantTooWide, UnknownRole
from isthmus.gateway import ANY_CALLER, Call, Page, Paging, Route
from isthmus.kernel.errors import NotFound
from isthmus.kernel.ids import InvalidId, text_of, uuid_of

_TAGS = ("access",)
_NAME_MAX, _GRANTS_MAX = 100, 50
_Grants = Annotated[list[Annotated[str, Meta(max_length=100)]], Meta(max_length=_GRANTS_MAX)]


class NewKey(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a new key shall be allowed: roles, single permissions, or both; at most what the caller has."""

    name: Annotated[str, Meta(min_length=1, max_length=_NAME_MAX)]
    roles: _Grants = []
    permissions: _Grants = []
    expires_at: Annotated[datetime, Meta(tz=True)] | None = None


class KeyView(Struct, frozen=True, kw_only=True):
    """A key without its secret; `last_used_at` is exact to a minute."""

    id: str
    name: str
    kind: str
    roles: list[str]
    permissions: list[str]
    created_at: datetime
    created_by: str
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None


class MadeKey(Struct, frozen=True, kw_only=True):
    """A new key; `key` is shown this once and stored nowhere."""

    id: str
    name: str
    key: str


class Caller(Struct, frozen=True, kw_only=True):
    """Who the credential belongs to and what it may do."""

    kind: str
    id: str
    name: str
    permissions: list[str]


async def create_api_key(call: Call) -> MadeKey:
    """Make a key."""
    wanted = call.body(NewKey)
    wish = KeyWish(
        name=wanted.name,
        roles=tuple(wanted.roles),
        permissions=tuple(wanted.permissions),
        expires_at=wanted.expires_at,
    )
    domains = sorted({each.domain for each in call.services.schema})
    async with call.services.database.transaction(call.scope) as tx:
        made, text = await create_key(tx, wish, domains=domains, giver=call.principal.permissions)
    return MadeKey(id=text_of(KEY_PREFIX, made.id), name=made.name, key=text.text)


async def list_api_keys(call: Call) -> Page[KeyView]:
    """List keys, revoked ones included."""
    paging, after = call.query(Paging), call.after()
    async with call.services.database.transaction(call.scope) as tx:
        keys = await list_keys(tx, limit=paging.limit + 1, after=None if after is None else UUID(after))
    found = call.page(keys, limit=paging.limit, after=lambda key: str(key.id))
    return Page(data=[_view(key) for key in found.data], next_cursor=found.next_cursor, has_more=found.has_more)


async def get_api_key(call: Call) -> KeyView:
    """Show one key."""
    async with call.services.database.transaction(call.scope) as tx:
        return _view(await find_key(tx, _key_id(call)))


async def revoke_api_key(call: Call) -> KeyView:
    """End a key; within a second no server accepts it any more."""
    async with call.services.database.transaction(call.scope) as tx:
        revoked = await revoke_key(tx, _key_id(call))
    call.services.of(Credentials).forget()
    return _view(revoked)


async def get_caller(call: Call) -> Caller:
    """Show who the caller is."""
    principal = call.principal
    prefix = KEY_PREFIX if principal.kind == "key" else "sess"
    return Caller(
        kind=principal.kind,
        id=text_of(prefix, principal.id),
        name=principal.name,
        permissions=sorted(principal.permissions),
    )


def _key_id(call: Call) -> UUID:
    try:
        return uuid_of(KEY_PREFIX, call.path["key_id"])
    except InvalidId as error:
        raise NotFound(error.detail, fix=error.fix) from error


def _view(key: ApiKey) -> KeyView:
    return KeyView(
        id=text_of(KEY_PREFIX, key.id),
        name=key.name,
        kind=key.kind,
        roles=key.roles,
        permissions=key.permissions,
        created_at=key.created_at,
        created_by=key.created_by,
        expires_at=key.expires_at,
        revoked_at=key.revoked_at,
        last_used_at=key.last_used_at,
    )


ROUTES = (
    Route(
        method="POST",
        path="/api/v1/keys",
        permission="gateway:write",
        handler=create_api_key,
        summary="Make an API key",
        description="The key is in the answer this once. It can be allowed no more than the caller is.",
        tags=_TAGS,
        body=NewKey,
        response=MadeKey,
        status=201,
        shown_once=True,
        request_example={"name": "Website forms", "permissions": ["sales:write"]},
        errors=(UnknownRole, GrantTooWide, InvalidKeyWish),
    ),
    Route(
        method="GET",
        path="/api/v1/keys",
        permission="gateway:read",
        handler=list_api_keys,
        summary="List API keys",
        tags=_TAGS,
        query=Paging,
        response=Page[KeyView],
    ),
    Route(
        method="GET",
        path="/api/v1/keys/{key_id}",
        permission="gateway:read",
        handler=get_api_key,
        summary="Read one API key",
        tags=_TAGS,
        response=KeyView,
        errors=(KeyMissing,),
    ),
    Route(
        method="POST",
        path="/api/v1/keys/{key_id}:revoke",
        permission="gateway:write",
        handler=revoke_api_key,
        summary="End an API key for ever",
        tags=_TAGS,
        response=KeyView,
        errors=(KeyMissing,),
    ),
    Route(
        method="GET",
        path="/api/v1/me",
        permission=ANY_CALLER,
        narrows=True,
        handler=get_caller,
        summary="Tell who the caller is and what it may do",
        tags=_TAGS,
        response=Caller,
    ),
)
