"""API keys: made and shown once, listed without their secret, revoked, and checked on every call.

Every change writes its line in the audit log in the same transaction.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import LiteralString
from uuid import UUID

from msgspec import Struct
from psycopg.rows import TupleRow

from isthmus.auth.keytext import KeyKind, KeyText, new_key_text
from isthmus.auth.roles import check_grant, permissions_of
from isthmus.auth.trace import trace
from isthmus.kernel.clock import milliseconds
from isthmus.kernel.errors import Fault, Invalid, NotFound
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
insert into api_key (workspace, id, name, kind, digest, roles, permissions, created_at, created_by, expires_at)
values (current_workspace(), %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""
_LIST: LiteralString = """
select id, name, kind, roles, permissions, created_at, created_by, expires_at, revoked_at, last_used_at from api_key
where workspace = current_workspace() and (%(only)s::uuid is null or id = %(only)s)
  and (%(after)s::uuid is null or id > %(after)s)
order by id limit %(limit)s
"""
_REVOKE: LiteralString = """
update api_key set revoked_at = %s, revoked_by = %s
where workspace = current_workspace() and id = %s and revoked_at is null returning id
"""


class KeyMissing(NotFound):
    """There is no such key."""

    code, title = "key-missing", "There is no such key"


class InvalidKeyWish(Invalid):
    """The wished-for key cannot be made."""

    code = "invalid-key-wish"


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


class KeyWish(Struct, frozen=True, kw_only=True):
    """What a new key shall be; `expires_at` None is never."""

    name: str
    roles: tuple[str, ...] = ()
    permissions: tuple[str, ...] = ()
    expires_at: datetime | None = None


async def create_key(
    tx: Transaction, wish: KeyWish, *, domains: Sequence[str], giver: frozenset[str] | None
) -> tuple[ApiKey, KeyText]:
    """Make a key and return it with its text, which is never shown again.

    `giver` holds the permissions of whoever asks (None: the machine's owner at the command line). Raises UnknownRole,
    GrantTooWide and InvalidKeyWish.
    """
    wanted = permissions_of(wish.roles, wish.permissions, domains=domains)
    if not wanted:
        raise _refused("/roles", "The key would be allowed nothing.", fix="Name a role or a permission.")
    if giver is not None:
        check_grant(wanted, giver=giver)
    now = tx.scope.now
    if wish.expires_at is not None and not now < wish.expires_at <= now + timedelta(days=LIFE_DAYS_MAX):
        raise _refused("/expires_at", "The end is not in the coming ten years.", fix="Name a later end, or none.")
    room = await (await tx.connection.execute(_ROOM)).fetchone()
    if room is None or room[1] >= KEYS_MAX:
        raise _refused("", f"There are {KEYS_MAX} keys.", fix="Revoke those that are not used.")
    kind: KeyKind = "live" if room[0] == "live" else "test"
    text = new_key_text(mint(unix_ms=milliseconds(now), entropy=entropy(10)), kind=kind)
    roles, permissions = list(wish.roles), list(wish.permissions)
    values = (text.id, wish.name, kind, text.digest, roles, permissions, now, tx.scope.actor, wish.expires_at)
    await tx.connection.execute(_INSERT, values)
    details = {"name": wish.name, "roles": roles, "permissions": permissions}
    await trace(tx, action="key.created", resource="api_key", record_id=text.id, details=details)
    return await find_key(tx, text.id), text


async def list_keys(tx: Transaction, *, limit: int, after: UUID | None = None) -> list[ApiKey]:
    """Return keys in the order they were made, revoked ones included."""
    rows = await (await tx.connection.execute(_LIST, {"only": None, "after": after, "limit": limit})).fetchall()
    return [_key(row) for row in rows]


async def find_key(tx: Transaction, key_id: UUID) -> ApiKey:
    """Return one key; raises KeyMissing."""
    row = await (await tx.connection.execute(_LIST, {"only": key_id, "after": None, "limit": 1})).fetchone()
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
    return ApiKey(**dict(zip((*names, "last_used_at"), row, strict=True)))
