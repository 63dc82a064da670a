"""Service accounts: named machine identities that own keys, bound what those allow, and disable them together."""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import LiteralString
from uuid import UUID

from msgspec import Struct
from psycopg.rows import TupleRow

from isthmus.auth.custom_roles import list_roles
from isthmus.auth.roles import check_grant, permissions_of
from isthmus.auth.trace import trace
from isthmus.kernel.clock import milliseconds
from isthmus.kernel.errors import Conflicting, Fault, Invalid, NotFound
from isthmus.kernel.ids import mint
from isthmus.store.database import Transaction
from isthmus.vault import entropy

ACCOUNT_PREFIX = "svc"
ACCOUNTS_MAX = 500
_NAME = re.compile(r"[a-z][a-z0-9_.-]{1,79}")
_LIST: LiteralString = """
select id, name, about, roles, permissions, created_at, created_by, disabled_at,
       (select count(*) from api_key k where k.workspace = a.workspace and k.account = a.id and k.revoked_at is null)
from service_account a
where workspace = current_workspace() and (%(only)s::uuid is null or id = %(only)s) order by id limit %(limit)s
"""
_INSERT: LiteralString = """
insert into service_account (workspace, id, name, about, roles, permissions, created_at, created_by)
values (current_workspace(), %s, %s, %s, %s, %s, %s, %s) on conflict (workspace, name) do nothing returning id
"""
_SWITCH: LiteralString = """
update service_account set disabled_at = %(at)s, disabled_by = %(by)s
where workspace = current_workspace() and id = %(id)s and (disabled_at is null) = (%(at)s::timestamptz is not null)
returning id
"""


class AccountMissing(NotFound):
    """There is no such service account."""

    code, title = "service-account-missing", "There is no such service account"


class AccountDisabled(Conflicting):
    """The service account is disabled."""

    code, title = "service-account-disabled", "The service account is disabled"


class AccountExists(Conflicting):
    """A service account has this name."""

    code, title = "service-account-exists", "A service account has this name"


class InvalidAccount(Invalid):
    """The service account cannot be made as it is described."""

    code = "invalid-service-account"


class ServiceAccount(Struct, frozen=True, kw_only=True):
    """A machine identity; `keys` counts those that are not revoked."""

    id: UUID
    name: str
    about: str
    roles: list[str]
    permissions: list[str]
    created_at: datetime
    created_by: str
    disabled_at: datetime | None = None
    keys: int = 0


class AccountWish(Struct, frozen=True, kw_only=True):
    """What a new service account shall be."""

    name: str
    about: str = ""
    roles: tuple[str, ...] = ()
    permissions: tuple[str, ...] = ()


async def create_account(
    tx: Transaction, wish: AccountWish, *, domains: Sequence[str], giver: frozenset[str] | None
) -> ServiceAccount:
    """Make a service account; raises InvalidAccount, AccountExists, UnknownRole and GrantTooWide."""
    if not _NAME.fullmatch(wish.name):
        raise _refused("/name", "The name is not fit.", fix="Use 2 to 80 of a-z, 0-9, _ . and -, a letter first.")
    bound = permissions_of(wish.roles, wish.permissions, domains=domains, custom=await list_roles(tx))
    if not bound:
        raise _refused("/roles", "The account would be allowed nothing.", fix="Name a role or a permission.")
    if giver is not None:
        check_grant(bound, giver=giver)
    if len(await list_accounts(tx)) >= ACCOUNTS_MAX:
        raise _refused("", f"There are {ACCOUNTS_MAX} service accounts.", fix="Use those that are there.")
    account_id = mint(unix_ms=milliseconds(tx.scope.now), entropy=entropy(10))
    grants = (list(wish.roles), list(wish.permissions))
    values = (account_id, wish.name, wish.about, *grants, tx.scope.now, tx.scope.actor)
    if await (await tx.connection.execute(_INSERT, values)).fetchone() is None:
        raise AccountExists(f"There is a service account {wish.name!r}.", fix="Use it, or choose another name.")
    details = {"name": wish.name, "roles": grants[0], "permissions": grants[1]}
    await trace(tx, action="service_account.created", resource="service_account", record_id=account_id, details=details)
    return await find_account(tx, account_id)


async def list_accounts(tx: Transaction) -> list[ServiceAccount]:
    """Return all service accounts in the order they were made."""
    cursor = await tx.connection.execute(_LIST, {"only": None, "limit": ACCOUNTS_MAX})
    return [_account(row) for row in await cursor.fetchall()]


async def find_account(tx: Transaction, account_id: UUID) -> ServiceAccount:
    """Return one service account; raises AccountMissing."""
    row = await (await tx.connection.execute(_LIST, {"only": account_id, "limit": 1})).fetchone()
    if row is None:
        raise AccountMissing("There is no service account with this id.", fix="List the service accounts.")
    return _account(row)


async def switch_account(tx: Transaction, account_id: UUID, *, enabled: bool) -> ServiceAccount:
    """Disable all keys of an account together, or let them in again; raises AccountMissing."""
    at, by = (None, None) if enabled else (tx.scope.now, tx.scope.actor)
    done = await (await tx.connection.execute(_SWITCH, {"at": at, "by": by, "id": account_id})).fetchone()
    found = await find_account(tx, account_id)
    if done is not None:
        action = "service_account.enabled" if enabled else "service_account.disabled"
        await trace(tx, action=action, resource="service_account", record_id=account_id, details={"name": found.name})
    return found


def _account(row: TupleRow) -> ServiceAccount:
    names = ("id", "name", "about", "roles", "permissions", "created_at", "created_by", "disabled_at", "keys")
    return ServiceAccount(**dict(zip(names, row, strict=True)))


def _refused(pointer: str, detail: str, *, fix: str) -> InvalidAccount:
    return InvalidAccount(detail, fix=fix, faults=(Fault(pointer=pointer, code=InvalidAccount.code, detail=detail),))
