"""What somebody who once did something may do now, by the name under which it was written down."""

from collections.abc import Sequence
from typing import LiteralString
from uuid import UUID

from isthmus.auth.accounts import AccountMissing, find_account
from isthmus.auth.custom_roles import list_roles
from isthmus.auth.keys import ApiKey, KeyMissing, find_key, principal_of
from isthmus.auth.roles import surviving
from isthmus.store.database import Transaction

NOTHING: frozenset[str] = frozenset()
_FOLLOWER: LiteralString = """
select id from api_key where workspace = current_workspace() and rotated_from = %s order by created_at desc limit 1
"""
_SESSION: LiteralString = """
select s.login is not null, l.id is null or l.disabled_at is not null, coalesce(l.roles, s.roles)
from session s left join person_login l on l.workspace = s.workspace and l.id = s.login
where s.workspace = current_workspace() and s.id = %s
"""
_GRANT: LiteralString = """
select g.user_id is not null, c.removed_at is not null, l.id is null or l.disabled_at is not null,
       coalesce(l.roles, '{}'), g.permissions
from oauth_grant g join oauth_client c on c.workspace = g.workspace and c.id = g.client
left join person_login l on l.workspace = g.workspace and l.id = g.user_id
where g.workspace = current_workspace() and g.id = %s
"""
_ROTATIONS_MAX = 100


async def permissions_now(tx: Transaction, actor: str, *, domains: Sequence[str]) -> frozenset[str] | None:
    """Return what an actor such as `key:…`, `session:…` or `token:…` may do now; a limit to named records is nothing.

    A key answers as what it was rotated to, a session and a token as the person behind it, also after it has ended.
    None stands for whoever is held to no permissions (an operator at a terminal), or is no longer known.
    """
    kind, _, text = actor.partition(":")
    try:
        own = UUID(text)
    except ValueError:
        return None
    match kind:
        case "key":
            return await _of_key(tx, own, domains=domains)
        case "session":
            return await _of_session(tx, own, domains=domains)
        case "token":
            return await _of_grant(tx, own, domains=domains)
        case _:
            return None


async def _of_key(tx: Transaction, own: UUID, *, domains: Sequence[str]) -> frozenset[str] | None:
    try:
        key = await _newest(tx, own)
        if key.account is not None and (await find_account(tx, key.account)).disabled_at is not None:
            return NOTHING
        principal, _ = await principal_of(tx, key, domains=domains)
    except KeyMissing:
        return None
    except AccountMissing:
        return NOTHING
    ended = key.revoked_at is not None or (key.expires_at is not None and key.expires_at <= tx.scope.now)
    return NOTHING if ended or principal.only else principal.permissions


async def _newest(tx: Transaction, own: UUID) -> ApiKey:
    """Return the key that a key was rotated to in the end."""
    for _ in range(_ROTATIONS_MAX):
        row = await (await tx.connection.execute(_FOLLOWER, (own,))).fetchone()
        if row is None:
            break
        own = row[0]
    return await find_key(tx, own)


async def _of_session(tx: Transaction, own: UUID, *, domains: Sequence[str]) -> frozenset[str] | None:
    row = await (await tx.connection.execute(_SESSION, (own,))).fetchone()
    if row is None:
        return None
    of_person, gone, roles = row
    if of_person and gone:
        return NOTHING
    return surviving(roles, (), domains=domains, custom=await list_roles(tx))


async def _of_grant(tx: Transaction, own: UUID, *, domains: Sequence[str]) -> frozenset[str] | None:
    row = await (await tx.connection.execute(_GRANT, (own,))).fetchone()
    if row is None:
        return None
    of_person, client_gone, person_gone, roles, permissions = row
    if client_gone or (of_person and person_gone):
        return NOTHING
    if of_person:
        return surviving(roles, (), domains=domains, custom=await list_roles(tx))
    return frozenset(permissions)
