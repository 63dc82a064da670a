"""Routes of roles, built in and of the workspace's own, and of service accounts."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

from msgspec import Meta, Struct

from isthmus.auth.accounts import (
    ACCOUNT_PREFIX,
    AccountExists,
    AccountMissing,
    AccountWish,
    InvalidAccount,
    ServiceAccount,
    create_account,
    find_account,
    list_accounts,
    switch_account,
)
from isthmus.auth.credentials import Credentials
from isthmus.auth.custom_roles import InvalidRole, RoleInUse, RoleMissing, list_roles, remove, save
from isthmus.auth.roles import (
    DOMAIN_ROLES,
    WORKSPACE_ROLES,
    Custom,
    CustomRole,
    GrantTooWide,
    UnknownRole,
    permissions_of,
)
from isthmus.gateway import FRESH_S, Call, Response, Route
from isthmus.kernel.ids import text_of

_TAGS = ("access",)
_Names = Annotated[list[Annotated[str, Meta(max_length=100)]], Meta(max_length=50)]
_About = Annotated[str, Meta(max_length=500)]


class NewRole(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A role: everything its parents hold, and single permissions; at most what the caller has."""

    name: Annotated[str, Meta(max_length=60)]
    about: _About = ""
    parents: _Names = []
    permissions: _Names = []


class RoleView(Struct, frozen=True, kw_only=True):
    """A role and everything it allows; one that is built in holds in every domain, or in one as `<domain>.<role>`."""

    name: str
    built_in: bool
    about: str
    parents: list[str]
    allows: list[str]


class RoleList(Struct, frozen=True, kw_only=True):
    """All roles."""

    data: list[RoleView]


class NewAccount(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A service account; what its keys allow is at most what it is granted here."""

    name: Annotated[str, Meta(max_length=80)]
    about: _About = ""
    roles: _Names = []
    permissions: _Names = []


class AccountView(Struct, frozen=True, kw_only=True):
    """A service account; `keys` counts those that are not revoked."""

    id: str
    name: str
    about: str
    roles: list[str]
    permissions: list[str]
    created_at: datetime
    created_by: str
    keys: int
    disabled_at: datetime | None = None


class AccountList(Struct, frozen=True, kw_only=True):
    """All service accounts."""

    data: list[AccountView]


async def show_roles(call: Call) -> RoleList:
    """List roles."""
    async with call.services.database.transaction(call.scope) as tx:
        custom = await list_roles(tx)
    return RoleList(data=roles_of(custom, domains=_domains(call)))


async def save_role(call: Call) -> RoleView:
    """Make a role, or change it."""
    wanted = call.body(NewRole)
    role = CustomRole(
        name=wanted.name, about=wanted.about, parents=tuple(wanted.parents), permissions=tuple(wanted.permissions)
    )
    async with call.services.database.transaction(call.scope) as tx:
        await save(tx, role, domains=_domains(call), giver=call.principal.permissions)
        custom = await list_roles(tx)
    call.services.of(Credentials).forget()
    return role_view(role, custom, domains=_domains(call))


async def remove_role(call: Call) -> Response:
    """Take a role away."""
    async with call.services.database.transaction(call.scope) as tx:
        await remove(tx, call.path["name"])
    call.services.of(Credentials).forget()
    return Response(status=204)


async def add_account(call: Call) -> AccountView:
    """Make a service account."""
    wanted = call.body(NewAccount)
    wish = AccountWish(
        name=wanted.name, about=wanted.about, roles=tuple(wanted.roles), permissions=tuple(wanted.permissions)
    )
    async with call.services.database.transaction(call.scope) as tx:
        return account_view(await create_account(tx, wish, domains=_domains(call), giver=call.principal.permissions))


async def show_accounts(call: Call) -> AccountList:
    """List service accounts."""
    async with call.services.database.transaction(call.scope) as tx:
        return AccountList(data=[account_view(each) for each in await list_accounts(tx)])


async def get_account(call: Call) -> AccountView:
    """Show one service account."""
    async with call.services.database.transaction(call.scope) as tx:
        return account_view(await find_account(tx, call.id_in_path("account_id", ACCOUNT_PREFIX)))


async def disable_account(call: Call) -> AccountView:
    """Refuse all keys of an account."""
    return await _switched(call, enabled=False)


async def enable_account(call: Call) -> AccountView:
    """Let the keys of an account in again."""
    return await _switched(call, enabled=True)


async def _switched(call: Call, *, enabled: bool) -> AccountView:
    async with call.services.database.transaction(call.scope) as tx:
        switched = await switch_account(tx, call.id_in_path("account_id", ACCOUNT_PREFIX), enabled=enabled)
    call.services.of(Credentials).forget()
    return account_view(switched)


def _domains(call: Call) -> list[str]:
    return sorted({each.domain for each in call.services.schema})


def roles_of(custom: Custom, *, domains: Sequence[str]) -> list[RoleView]:
    """Return all roles, those that are built in first."""
    built_in = [CustomRole(name=each) for each in (*WORKSPACE_ROLES, *DOMAIN_ROLES)]
    return [role_view(each, custom, domains=domains) for each in (*built_in, *custom.values())]


def role_view(role: CustomRole, custom: Custom, *, domains: Sequence[str]) -> RoleView:
    """Return a role as it is shown; `custom` are the workspace's own."""
    return RoleView(
        name=role.name,
        built_in=role.name not in custom,
        about=role.about,
        parents=list(role.parents),
        allows=sorted(permissions_of((role.name,), domains=domains, custom=custom)),
    )


def account_view(account: ServiceAccount) -> AccountView:
    """Return a service account as it is shown."""
    return AccountView(
        id=text_of(ACCOUNT_PREFIX, account.id),
        name=account.name,
        about=account.about,
        roles=account.roles,
        permissions=account.permissions,
        created_at=account.created_at,
        created_by=account.created_by,
        keys=account.keys,
        disabled_at=account.disabled_at,
    )


ROUTES = (
    Route(
        method="GET",
        path="/api/v1/roles",
        permission="gateway:read",
        handler=show_roles,
        summary="List roles and what they allow",
        tags=_TAGS,
        response=RoleList,
    ),
    Route(
        method="POST",
        path="/api/v1/roles",
        permission="gateway:write",
        handler=save_role,
        summary="Make a role of the workspace's own, or change it",
        description="Whoever holds it is held to the new meaning within a second.",
        tags=_TAGS,
        body=NewRole,
        response=RoleView,
        status=201,
        fresh_s=FRESH_S,
        request_example={"name": "campaign_desk", "parents": ["marketing.editor"], "permissions": ["sales:read"]},
        errors=(InvalidRole, UnknownRole, GrantTooWide),
    ),
    Route(
        method="DELETE",
        path="/api/v1/roles/{name}",
        permission="gateway:write",
        handler=remove_role,
        summary="Take a role of the workspace's own away",
        tags=_TAGS,
        status=204,
        errors=(RoleMissing, RoleInUse),
    ),
    Route(
        method="GET",
        path="/api/v1/service-accounts",
        permission="gateway:read",
        handler=show_accounts,
        operation="listServiceAccounts",
        summary="List service accounts",
        tags=_TAGS,
        response=AccountList,
    ),
    Route(
        method="POST",
        path="/api/v1/service-accounts",
        permission="gateway:write",
        handler=add_account,
        operation="createServiceAccount",
        summary="Make a service account",
        description="Keys are made for it with `account` in POST /api/v1/keys.",
        tags=_TAGS,
        body=NewAccount,
        response=AccountView,
        status=201,
        request_example={"name": "nightly-export", "roles": ["sales.viewer"]},
        errors=(InvalidAccount, AccountExists, UnknownRole, GrantTooWide),
    ),
    Route(
        method="GET",
        path="/api/v1/service-accounts/{account_id}",
        permission="gateway:read",
        handler=get_account,
        operation="getServiceAccount",
        summary="Read one service account",
        tags=_TAGS,
        response=AccountView,
        errors=(AccountMissing,),
    ),
    Route(
        method="POST",
        path="/api/v1/service-accounts/{account_id}:disable",
        permission="gateway:write",
        handler=disable_account,
        operation="disableServiceAccount",
        summary="Refuse all keys of a service account",
        description="Within a second no server accepts them; nothing is lost, and they can be let in again.",
        tags=_TAGS,
        response=AccountView,
        errors=(AccountMissing,),
    ),
    Route(
        method="POST",
        path="/api/v1/service-accounts/{account_id}:enable",
        permission="gateway:write",
        handler=enable_account,
        operation="enableServiceAccount",
        summary="Let the keys of a service account in again",
        tags=_TAGS,
        response=AccountView,
        errors=(AccountMissing,),
    ),
)
