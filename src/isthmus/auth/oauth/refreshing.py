"""Refresh tokens: each is used once and gives its successor; one that is used again ends everything of its grant.

An answer can get lost. So within 20 seconds the same token from the same program gives the same successor again, if the
program is bound by its own proof (its credentials, or its DPoP key). The successor is kept sealed under a key that only
the token before it gives.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import LiteralString
from uuid import UUID

from msgspec.structs import replace

from isthmus.auth.oauth.clients import REFRESH, Client
from isthmus.auth.oauth.errors import InvalidGrant, InvalidTarget
from isthmus.auth.oauth.grants import Grant, find_grant
from isthmus.auth.oauth.issuing import Issue, TokenAnswer, issue
from isthmus.auth.oauth.minting import digest, new_secret
from isthmus.auth.oauth.provider import Provider, check_may
from isthmus.auth.oauth.scopes import OFFLINE, narrowed
from isthmus.store.database import Transaction
from isthmus.vault import WorkspaceKeys, entropy, open_sealed, seal

RETRY = timedelta(seconds=20)
IDLE_LIFE = timedelta(days=14)
_PREFIX = "isrt"
_NONCE_BYTES = 12
_INSERT: LiteralString = """
insert into oauth_refresh (workspace, digest, client, grant_id, bound_to, created_at, expires_at)
values (current_workspace(), %s, %s, %s, %s, %s, %s)
"""
_FIND: LiteralString = """
select digest, grant_id, bound_to, expires_at, used_at, successor from oauth_refresh
where workspace = current_workspace() and digest = %s and client = %s
"""
_USE: LiteralString = """
update oauth_refresh set used_at = %s, successor = %s
where workspace = current_workspace() and digest = %s and used_at is null returning grant_id
"""


@dataclass(frozen=True)
class _Kept:
    """A refresh token as it is stored."""

    digest: bytes
    grant_id: UUID
    bound_to: str | None
    expires_at: datetime
    used_at: datetime | None
    successor: bytes | None


async def first_refresh(tx: Transaction, client: Client, grant: Grant, *, bound_to: str | None) -> str | None:
    """Return a refresh token for what was allowed offline, or None."""
    if OFFLINE not in grant.scopes or REFRESH not in client.grants:
        return None
    text = new_secret(_PREFIX)
    await _store(tx, client, grant, text=text, bound_to=bound_to)
    return text


async def refresh(
    provider: Provider,
    tx: Transaction,
    client: Client,
    *,
    token: str,
    scopes: Sequence[str],
    resources: Sequence[str],
    bound_to: str | None,
) -> TokenAnswer:
    """Exchange a refresh token for an access token and a successor; the scope never grows.

    Raises InvalidGrant; for a token that was used before it names the grant that must end.
    """
    check_may(client, REFRESH)
    now, kept = tx.scope.now, await _find(tx, client, token)
    if kept is None:
        raise InvalidGrant("The refresh token is not known for this program.")
    _check_binding(client, kept, bound_to)
    if now >= kept.expires_at:
        raise InvalidGrant("The refresh token has expired.")
    grant = await find_grant(tx, kept.grant_id)
    if grant is None or not grant.is_alive(now):
        raise InvalidGrant("What was allowed has ended.")
    wanted = Issue(
        scopes=narrowed(scopes, to=grant.scopes, domains=provider.domains),
        resources=aimed(provider, grant, resources),
        bound_to=bound_to,
    )
    successor = await _rotated(tx, client, grant, kept, token)
    answer = await issue(provider, client, grant, wanted, now=now)
    return replace(answer, refresh_token=successor)


async def find_refresh(tx: Transaction, client: Client, token: str) -> tuple[UUID, datetime, bool] | None:
    """Return the grant of a program's refresh token, its end, and whether it can be used; None for an unknown one."""
    kept = await _find(tx, client, token)
    if kept is None:
        return None
    return kept.grant_id, kept.expires_at, kept.used_at is None and tx.scope.now < kept.expires_at


async def _rotated(tx: Transaction, client: Client, grant: Grant, kept: _Kept, token: str) -> str:
    successor = new_secret(_PREFIX)
    sealed = seal(successor.encode(), key=_key(token), nonce=entropy(_NONCE_BYTES), bound=grant.id.bytes)
    done = await (await tx.connection.execute(_USE, (tx.scope.now, sealed, kept.digest))).fetchone()
    if done is None:
        return await _again(tx, client, grant, token)
    await _store(tx, client, grant, text=successor, bound_to=kept.bound_to)
    return successor


async def _again(tx: Transaction, client: Client, grant: Grant, token: str) -> str:
    """Return the successor that was given before, if the same program may only have missed the answer."""
    reused = InvalidGrant("The refresh token was used before; what it stood for is revoked.", ends=grant.id)
    kept = await _find(tx, client, token)
    if kept is None or kept.used_at is None or kept.successor is None:
        raise reused
    is_bound = client.is_confidential or kept.bound_to is not None
    if not is_bound or tx.scope.now - kept.used_at > RETRY:
        raise reused
    successor = open_sealed(kept.successor, key=_key(token), bound=grant.id.bytes).decode()
    following = await _find(tx, client, successor)
    if following is None or following.used_at is not None:
        raise reused
    return successor


def _check_binding(client: Client, kept: _Kept, bound_to: str | None) -> None:
    """A public program's token is bound to its key; another proves itself, and must not fall back to bearer tokens."""
    if kept.bound_to is None:
        return
    if bound_to is None or (not client.is_confidential and bound_to != kept.bound_to):
        raise InvalidGrant("The refresh token is bound to a DPoP key.", fix="Send a proof with that key.")


def aimed(provider: Provider, grant: Grant, resources: Sequence[str]) -> tuple[str, ...]:
    """Return the resources of a token on a grant, at most the grant's own; raises InvalidTarget."""
    if not {*resources} <= ({*grant.resources} or {provider.issuer}):
        raise InvalidTarget("The grant is for other resources.", fix="Leave resource out, or name one of the grant's.")
    return tuple(resources) or tuple(grant.resources)


async def _store(tx: Transaction, client: Client, grant: Grant, *, text: str, bound_to: str | None) -> None:
    now = tx.scope.now
    ends = min(now + IDLE_LIFE, grant.expires_at or now + IDLE_LIFE)
    await tx.connection.execute(_INSERT, (digest("refresh", text), client.id, grant.id, bound_to, now, ends))


async def _find(tx: Transaction, client: Client, token: str) -> _Kept | None:
    row = await (await tx.connection.execute(_FIND, (digest("refresh", token), client.id))).fetchone()
    return None if row is None else _Kept(*row)


def _key(token: str) -> bytes:
    return WorkspaceKeys(sha256(token.encode()).digest()).derived("oauth successor")
