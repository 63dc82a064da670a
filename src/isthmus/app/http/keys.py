"""Routes of API keys, and of who the caller is."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct

from isthmus.auth.accounts import ACCOUNT_PREFIX, AccountDisabled, AccountMissing
from isthmus.auth.credentials import Credentials
from isthmus.auth.keys import (
    ApiKey,
    InvalidKeyWish,
    KeyEnded,
    KeyMissing,
    KeyWish,
    create_key,
    find_key,
    list_keys,
    revoke_key,
    rotate_key,
)
from isthmus.auth.keytext import KEY_PREFIX
from isthmus.auth.roles import GrantTooWide, UnknownRole
from isthmus.gateway import ANY_CALLER, FRESH_S, Call, Page, Paging, Route, id_at
from isthmus.kernel.errors import Fault, Invalid
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
    account: Annotated[str, Meta(max_length=100, description="The service account that owns it.")] | None = None
    only: Annotated[dict[str, _Grants], Meta(description="Record types, and the ids it is limited to.")] = {}


class Rotation(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """For how many seconds the old key goes on beside the new one."""

    overlap_s: Annotated[int, Meta(ge=0, le=90 * 86_400)] = 86_400


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
    account: str | None = None
    only: dict[str, list[str]] = {}
    rotated_from: str | None = None


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
        account=None if wanted.account is None else _account_id(wanted.account),
        only=_only(call, wanted.only),
    )
    domains = sorted({each.domain for each in call.services.schema})
    async with call.services.database.transaction(call.scope) as tx:
        made, text = await create_key(tx, wish, domains=domains, giver=call.principal.permissions)
    return MadeKey(id=text_of(KEY_PREFIX, made.id), name=made.name, key=text.text)


async def rotate_api_key(call: Call) -> MadeKey:
    """Make the key that follows another."""
    overlap = timedelta(seconds=call.body(Rotation).overlap_s)
    domains = sorted({each.domain for each in call.services.schema})
    key = call.id_in_path("key_id", KEY_PREFIX)
    async with call.services.database.transaction(call.scope) as tx:
        made, text = await rotate_key(tx, key, overlap=overlap, domains=domains, giver=call.principal.permissions)
    call.services.of(Credentials).forget()
    return MadeKey(id=text_of(KEY_PREFIX, made.id), name=made.name, key=text.text)


async def list_api_keys(call: Call) -> Page[KeyView]:
    """List keys, revoked ones included."""
    paging, after = call.query(Paging), call.after()
    async with call.services.database.transaction(call.scope) as tx:
        keys = await list_keys(tx, limit=paging.limit + 1, after=None if after is None else UUID(after))
    found = call.page(keys, limit=paging.limit, after=lambda key: str(key.id))
    return Page(data=[_view(call, key) for key in found.data], next_cursor=found.next_cursor, has_more=found.has_more)


async def get_api_key(call: Call) -> KeyView:
    """Show one key."""
    async with call.services.database.transaction(call.scope) as tx:
        return _view(call, await find_key(tx, call.id_in_path("key_id", KEY_PREFIX)))


async def revoke_api_key(call: Call) -> KeyView:
    """End a key; within a second no server accepts it any more."""
    async with call.services.database.transaction(call.scope) as tx:
        revoked = await revoke_key(tx, call.id_in_path("key_id", KEY_PREFIX))
    call.services.of(Credentials).forget()
    return _view(call, revoked)


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


def _view(call: Call, key: ApiKey) -> KeyView:
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
        account=None if key.account is None else text_of(ACCOUNT_PREFIX, key.account),
        only={name: sorted(_outside(call, name, ids)) for name, ids in key.only.items()},
        rotated_from=None if key.rotated_from is None else text_of(KEY_PREFIX, key.rotated_from),
    )


def _outside(call: Call, name: str, ids: frozenset[UUID]) -> list[str]:
    """Return ids as people see them; those of a type that is no longer declared are left out."""
    record_type = call.services.schema.types.get(name)
    return [] if record_type is None else [text_of(record_type.prefix, each) for each in ids]


def _account_id(text: str) -> UUID:
    try:
        return uuid_of(ACCOUNT_PREFIX, text)
    except InvalidId as error:
        fault = Fault(pointer="/account", code=error.code, detail=error.detail)
        raise Invalid(error.detail, fix=error.fix, faults=(fault,)) from error


def _only(call: Call, wanted: Mapping[str, Sequence[str]]) -> dict[str, frozenset[UUID]]:
    """Return the records a key shall be limited to; raises Invalid for what is no record type and no id."""
    found: dict[str, frozenset[UUID]] = {}
    for name, ids in wanted.items():
        record_type = call.services.schema.types.get(name)
        if record_type is None:
            detail = f"There is no record type {name[:80]!r}."
            fault = Fault(pointer=f"/only/{name.replace('~', '~0').replace('/', '~1')}", code="invalid", detail=detail)
            raise Invalid(detail, fix=f"Use one of {', '.join(call.services.schema.types)}.", faults=(fault,))
        found[name] = frozenset(id_at(f"/only/{name}/{at}", text, record_type) for at, text in enumerate(ids))
    return found


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
        fresh_s=FRESH_S,
        request_example={"name": "Website forms", "permissions": ["sales:write"]},
        errors=(UnknownRole, GrantTooWide, InvalidKeyWish, AccountMissing, AccountDisabled),
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
        method="POST",
        path="/api/v1/keys/{key_id}:rotate",
        permission="gateway:write",
        handler=rotate_api_key,
        summary="Make the key that follows another",
        description="It has the same grants and the same length of life. The old key goes on for `overlap_s` seconds.",
        tags=_TAGS,
        body=Rotation,
        response=MadeKey,
        status=201,
        shown_once=True,
        fresh_s=FRESH_S,
        request_example={"overlap_s": 86_400},
        errors=(KeyMissing, KeyEnded, GrantTooWide, InvalidKeyWish),
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
