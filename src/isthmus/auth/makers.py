"""What somebody who once did something may do now, by the name under which it was written down."""

from collections.abc import Sequence
from dataclasses import replace
from typing import LiteralString
from uuid import UUID

from isthmus.auth.accounts import AccountMissing, find_account
from isthmus.auth.custom_roles import list_roles
from isthmus.auth.keys import ApiKey, KeyMissing, find_key, principal_of
from isthmus.auth.oauth.clients import CLIENT_PREFIX
from isthmus.auth.principal import Principal
from isthmus.auth.roles import roles_held, surviving
from isthmus.kernel.ids import text_of
from isthmus.store.database import Transaction

NOTHING: frozenset[str] = frozenset()
_FOLLOWER: LiteralString = """
select id from api_key where workspace = current_workspace() and rotated_from = %s order by created_at desc limit 1
"""
_SESSION: LiteralString = """
select s.login is not null, l.id is null or l.disabled_at is not null, coalesce(l.roles, s.roles), s.login, s.name
from session s left join person_login l on l.workspace = s.workspace and l.id = s.login
where s.workspace = current_workspace() and s.id = %s
"""
_GRANT: LiteralString = """
select g.user_id is not null, c.removed_at is not null, l.id is null or l.disabled_at is not null,
       coalesce(l.roles, '{}'), g.permissions, g.user_id, g.client, c.name
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
    found = await principal_now(tx, actor, domains=domains)
    return None if found is None else found.permissions


async def principal_now(tx: Transaction, actor: str, *, domains: Sequence[str]) -> Principal | None:
    """Return whom an actor would prove now, without a call: no factor, nothing proven lately, and no name of a person.

    Its permissions are as of `permissions_now`, and None stands for the same.
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


async def _of_key(tx: Transaction, own: UUID, *, domains: Sequence[str]) -> Principal | None:
    try:
        key = await _newest(tx, own)
    except KeyMissing:
        return None
    gone = Principal(workspace=tx.scope.workspace, kind="key", id=key.id, name=key.name, permissions=NOTHING)
    try:
        if key.account is not None and (await find_account(tx, key.account)).disabled_at is not None:
            return gone
        principal, _ = await principal_of(tx, key, domains=domains)
    except AccountMissing:
        return gone
    ended = key.revoked_at is not None or (key.expires_at is not None and key.expires_at <= tx.scope.now)
    return replace(principal, permissions=NOTHING) if ended or principal.only else principal


async def _newest(tx: Transaction, own: UUID) -> ApiKey:
    """Return the key that a key was rotated to in the end."""
    for _ in range(_ROTATIONS_MAX):
        row = await (await tx.connection.execute(_FOLLOWER, (own,))).fetchone()
        if row is None:
            break
        own = row[0]
    return await find_key(tx, own)


async def _of_session(tx: Transaction, own: UUID, *, domains: Sequence[str]) -> Principal | None:
    row = await (await tx.connection.execute(_SESSION, (own,))).fetchone()
    if row is None:
        return None
    of_person, gone, roles, login, name = row
    custom = await list_roles(tx)
    return Principal(
        workspace=tx.scope.workspace,
        kind="session",
        id=own,
        name="" if of_person else name,
        permissions=NOTHING if of_person and gone else surviving(roles, (), domains=domains, custom=custom),
        user=login,
        roles=tuple(sorted(roles_held(roles or (), domains=domains, custom=custom))),
    )


async def _of_grant(tx: Transaction, own: UUID, *, domains: Sequence[str]) -> Principal | None:
    row = await (await tx.connection.execute(_GRANT, (own,))).fetchone()
    if row is None:
        return None
    of_person, client_gone, person_gone, roles, permissions, user, client, name = row
    custom = await list_roles(tx)
    allowed = surviving(roles, (), domains=domains, custom=custom) if of_person else frozenset(permissions)
    return Principal(
        workspace=tx.scope.workspace,
        kind="token",
        id=own,
        name="" if of_person else name,
        permissions=NOTHING if client_gone or (of_person and person_gone) else allowed,
        user=user,
        client=text_of(CLIENT_PREFIX, client),
        roles=tuple(sorted(roles_held(roles or (), domains=domains, custom=custom))),
    )
