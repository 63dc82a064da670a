"""API keys: made and shown once, listed without their secret, rotated, revoked, and checked on every call.

A key may belong to a service account, which bounds what it allows and disables all its keys together, and may be
limited to named records, as that of a partner is.

Every change writes its line in the audit log in the same transaction.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import LiteralString
from uuid import UUID

import msgspec
from msgspec import Struct
from psycopg.rows import TupleRow
from psycopg.types.json import Jsonb

from isthmus.auth.accounts import AccountDisabled, find_account
from isthmus.auth.custom_roles import list_roles
from isthmus.auth.keytext import KeyKind, KeyText, new_key_text
from isthmus.auth.principal import Principal
from isthmus.auth.roles import check_grant, permissions_of, roles_held, surviving
from isthmus.auth.trace import trace
from isthmus.kernel.clock import milliseconds
from isthmus.kernel.errors import Conflicting, Fault, Invalid, NotFound
from isthmus.kernel.ids import mint
from isthmus.store.database import Transaction
from isthmus.vault import entropy

KEYS_MAX = 1_000
LIFE_DAYS_MAX = 3_650
_ROOM: LiteralString = """
select w.kind, (select count(*) from api_key k where k.workspace = w.id and k.revoked_at is null)
from workspace w where w.id = current_workspace()
"""
_INSERT: LiteralString = """
insert into api_key (workspace, id, name, kind, digest, roles, permissions, created_at, created_by, expires_at, account,
                     only_records, rotated_from)
values (current_workspace(), %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""
_LIST: LiteralString = """
select id, name, kind, roles, permissions, created_at, created_by, expires_at, revoked_at, last_used_at, account,
       only_records, rotated_from
from api_key where workspace = current_workspace() and (%(only)s::uuid is null or id = %(only)s)
  and (%(after)s::uuid is null or id > %(after)s) and (%(account)s::uuid is null or account = %(account)s)
order by id limit %(limit)s
"""
_REVOKE: LiteralString = """
update api_key set revoked_at = %s, revoked_by = %s
where workspace = current_workspace() and id = %s and revoked_at is null returning id
"""
_END_AT: LiteralString = """
update api_key set expires_at = least(expires_at, %(end)s)
where workspace = current_workspace() and id = %(id)s and revoked_at is null
  and (expires_at is null or expires_at > %(now)s) returning id
"""
OVERLAP_MAX = timedelta(days=90)


class KeyMissing(NotFound):
    """There is no such key."""

    code, title = "key-missing", "There is no such key"


class InvalidKeyWish(Invalid):
    """The wished-for key cannot be made."""

    code = "invalid-key-wish"


class KeyEnded(Conflicting):
    """The key was revoked or has expired, so that nothing follows it."""

    code, title = "key-ended", "The key has ended"


class ApiKey(Struct, frozen=True, kw_only=True):
    """A key as it is listed, without its secret. `last_used_at` is exact to a minute."""

    id: UUID
    name: str
    kind: str
    roles: list[str]
    permissions: list[str]
    created_at: datetime
    created_by: str
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None
    account: UUID | None = None
    only: dict[str, frozenset[UUID]] = {}
    rotated_from: UUID | None = None


class KeyWish(Struct, frozen=True, kw_only=True):
    """What a new key shall be; `expires_at` None is never.

    A key of an `account` that names no roles and no permissions has those of the account. `only` limits it to the
    listed records of each record type that it names.
    """

    name: str
    roles: tuple[str, ...] = ()
    permissions: tuple[str, ...] = ()
    expires_at: datetime | None = None
    account: UUID | None = None
    only: Mapping[str, frozenset[UUID]] = {}


async def create_key(
    tx: Transaction, wish: KeyWish, *, domains: Sequence[str], giver: frozenset[str] | None
) -> tuple[ApiKey, KeyText]:
    """Make a key and return it with its text, which is never shown again.

    `giver` holds the permissions of whoever asks (None: the machine's owner at the command line). Raises UnknownRole,
    GrantTooWide and InvalidKeyWish.
    """
    wanted = await _wanted(tx, wish, domains)
    if giver is not None:
        check_grant(wanted, giver=giver)
    now = tx.scope.now
    if wish.expires_at is not None and not now < wish.expires_at <= now + timedelta(days=LIFE_DAYS_MAX):
        raise _refused("/expires_at", "The end is not in the coming ten years.", fix="Name a later end, or none.")
    text = await _insert(tx, wish, rotated_from=None)
    details = {"name": wish.name, "roles": list(wish.roles), "permissions": list(wish.permissions), **_narrowing(wish)}
    await trace(tx, action="key.created", resource="api_key", record_id=text.id, details=details)
    return await find_key(tx, text.id), text


async def rotate_key(
    tx: Transaction, key_id: UUID, *, overlap: timedelta, domains: Sequence[str], giver: frozenset[str] | None
) -> tuple[ApiKey, KeyText]:
    """Make the key that follows another, with the same grants and the same length of life; the old one goes on a while.

    The old key ends after `overlap`, or when it would have ended anyway. Raises KeyMissing, KeyEnded, GrantTooWide and
    InvalidKeyWish.
    """
    if not timedelta(0) <= overlap <= OVERLAP_MAX:
        raise _refused("/overlap_s", "The overlap is over 90 days.", fix="Name a shorter one.")
    now, old = tx.scope.now, await find_key(tx, key_id)
    if (
        await (await tx.connection.execute(_END_AT, {"end": now + overlap, "id": key_id, "now": now})).fetchone()
        is None
    ):
        raise KeyEnded("The key was revoked or has expired.", fix="Make a new key.")
    lives = None if old.expires_at is None else now + (old.expires_at - old.created_at)
    wish = KeyWish(
        name=old.name,
        roles=tuple(old.roles),
        permissions=tuple(old.permissions),
        expires_at=lives,
        account=old.account,
        only=old.only,
    )
    if giver is not None:
        check_grant(await _wanted(tx, wish, domains), giver=giver)
    text = await _insert(tx, wish, rotated_from=old.id)
    details = {"name": old.name, "from": str(old.id), "overlap_s": int(overlap.total_seconds())}
    await trace(tx, action="key.rotated", resource="api_key", record_id=text.id, details=details)
    return await find_key(tx, text.id), text


async def _wanted(tx: Transaction, wish: KeyWish, domains: Sequence[str]) -> frozenset[str]:
    """Return what the key would allow; raises UnknownRole, InvalidKeyWish and what the account is refused with."""
    custom = await list_roles(tx)
    wanted = permissions_of(wish.roles, wish.permissions, domains=domains, custom=custom)
    if wish.account is not None:
        account = await find_account(tx, wish.account)
        if account.disabled_at is not None:
            raise AccountDisabled(f"The service account {account.name} is disabled.", fix="Enable it first.")
        bound = permissions_of(account.roles, account.permissions, domains=domains, custom=custom)
        wanted = wanted & bound if wish.roles or wish.permissions else bound
    if not wanted:
        raise _refused("/roles", "The key would be allowed nothing.", fix="Name a role or a permission.")
    if any(not ids for ids in wish.only.values()):
        raise _refused("/only", "A list of records is empty.", fix="Name at least one record, or leave the type out.")
    return wanted


async def _insert(tx: Transaction, wish: KeyWish, *, rotated_from: UUID | None) -> KeyText:
    """Write a key that was checked; raises InvalidKeyWish when there are too many."""
    now = tx.scope.now
    room = await (await tx.connection.execute(_ROOM)).fetchone()
    if room is None or room[1] >= KEYS_MAX:
        raise _refused("", f"There are {KEYS_MAX} keys.", fix="Revoke those that are not used.")
    kind: KeyKind = "live" if room[0] == "live" else "test"
    text = new_key_text(mint(unix_ms=milliseconds(now), entropy=entropy(10)), kind=kind)
    grants = (list(wish.roles), list(wish.permissions))
    life = (now, tx.scope.actor, wish.expires_at)
    narrowed = (wish.account, Jsonb(_narrowing(wish).get("only", {})), rotated_from)
    await tx.connection.execute(_INSERT, (text.id, wish.name, kind, text.digest, *grants, *life, *narrowed))
    return text


def _narrowing(wish: KeyWish) -> dict[str, object]:
    narrowing: dict[str, object] = {"account": str(wish.account)} if wish.account else {}
    if wish.only:
        narrowing["only"] = {name: sorted(str(each) for each in ids) for name, ids in wish.only.items()}
    return narrowing


async def list_keys(
    tx: Transaction, *, limit: int, after: UUID | None = None, account: UUID | None = None
) -> list[ApiKey]:
    """Return keys in the order they were made, revoked ones included; those of one account, or all."""
    asked = {"only": None, "after": after, "limit": limit, "account": account}
    rows = await (await tx.connection.execute(_LIST, asked)).fetchall()
    return [_key(row) for row in rows]


async def find_key(tx: Transaction, key_id: UUID) -> ApiKey:
    """Return one key; raises KeyMissing."""
    asked = {"only": key_id, "after": None, "limit": 1, "account": None}
    row = await (await tx.connection.execute(_LIST, asked)).fetchone()
    if row is None:
        raise KeyMissing("There is no key with this id.", fix="List the keys.")
    return _key(row)


async def revoke_key(tx: Transaction, key_id: UUID) -> ApiKey:
    """End a key for ever; a key that was revoked before stays as it is. Raises KeyMissing."""
    done = await (await tx.connection.execute(_REVOKE, (tx.scope.now, tx.scope.actor, key_id))).fetchone()
    found = await find_key(tx, key_id)
    if done is not None:
        await trace(tx, action="key.revoked", resource="api_key", record_id=key_id, details={"name": found.name})
    return found


def _refused(pointer: str, detail: str, *, fix: str) -> InvalidKeyWish:
    fault = Fault(pointer=pointer, code=InvalidKeyWish.code, detail=detail)
    return InvalidKeyWish(detail, fix=fix, faults=(fault,))


def _key(row: TupleRow) -> ApiKey:
    names = ("id", "name", "kind", "roles", "permissions", "created_at", "created_by", "expires_at", "revoked_at")
    names = (*names, "last_used_at", "account", "only", "rotated_from")
    return msgspec.convert(dict(zip(names, row, strict=True)), ApiKey)


def read_only(stored: object) -> dict[str, frozenset[UUID]]:
    """Return the records a stored key is limited to."""
    return msgspec.convert(stored, dict[str, frozenset[UUID]])


async def principal_of(tx: Transaction, key: ApiKey, *, domains: Sequence[str]) -> tuple[Principal, tuple[str, ...]]:
    """Return whom a key would prove now, whether or not it has ended, and the roles that were named for it."""
    custom = await list_roles(tx)
    allowed = surviving(key.roles, key.permissions, domains=domains, custom=custom)
    roles, client = tuple(key.roles), ""
    if key.account is not None:
        account = await find_account(tx, key.account)
        bound = surviving(account.roles, account.permissions, domains=domains, custom=custom)
        allowed = allowed & bound if key.roles or key.permissions else bound
        roles, client = roles or tuple(account.roles), account.name
    principal = Principal(
        workspace=tx.scope.workspace,
        kind="key",
        id=key.id,
        name=key.name,
        permissions=allowed,
        client=client,
        roles=tuple(sorted(roles_held(roles, domains=domains, custom=custom))),
        only=key.only,
    )
    return principal, roles
