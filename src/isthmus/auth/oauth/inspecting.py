"""Introspection (RFC 7662) and revocation (RFC 7009). A program learns of its own tokens, and of those made for it."""

from datetime import UTC, datetime
from typing import LiteralString
from uuid import UUID

from isthmus.auth.oauth.clients import Client, find_client
from isthmus.auth.oauth.errors import InvalidClient
from isthmus.auth.oauth.grants import Grant, end_grants, find_grant
from isthmus.auth.oauth.issuing import ACCESS_TYPE
from isthmus.auth.oauth.jose import NotSigned, Signed, header_of, verify
from isthmus.auth.oauth.provider import Provider
from isthmus.auth.oauth.refreshing import find_refresh
from isthmus.auth.oauth.scopes import OFFLINE
from isthmus.auth.trace import trace
from isthmus.kernel.marks import Json
from isthmus.store.database import Transaction

_REVOKE: LiteralString = """
insert into oauth_revoked (workspace, token, expires_at) values (current_workspace(), %s, %s)
on conflict do nothing returning 1
"""
_REVOKED: LiteralString = """
select exists (select from oauth_revoked where workspace = current_workspace() and token = %(token)s)
    or (not %(offline)s and exists (select from session where workspace = current_workspace() and id = %(session)s
                                    and ended_at is not null))
"""


async def own_token(provider: Provider, text: str, *, now: datetime) -> Signed | None:
    """Return an access token of ours, an expired one too, or None for anything else."""
    try:
        header = header_of(text)
        key = await provider.keyring.verifying(header.get("kid"), now=now)
        if key is None or header.get("typ") != ACCESS_TYPE:
            return None
        signed = verify(text, key, algorithms=("ES256",))
    except NotSigned:
        return None
    return signed if signed.claims.get("iss") == provider.issuer else None


async def token_is_revoked(tx: Transaction, *, grant: Grant, token: UUID) -> bool:
    """Tell whether one access token was revoked, or the session that it lives in has ended."""
    values = {"token": token, "session": grant.session_id, "offline": OFFLINE in grant.scopes}
    row = await (await tx.connection.execute(_REVOKED, values)).fetchone()
    return row is None or bool(row[0])


async def introspect(
    provider: Provider, tx: Transaction, client: Client, *, token: str, signed: Signed | None
) -> dict[str, Json]:
    """Return what a token is; `{"active": False}` for one that is not alive or none of this program's business.

    `signed` is what `own_token` says of it: that is asked before the transaction, because it may need one of its own.
    Raises InvalidClient for a public program.
    """
    if not client.is_confidential:
        raise InvalidClient("A public program may not look into tokens.", fix="Register it with a secret or keys.")
    now = tx.scope.now
    if (found := await find_refresh(tx, client, token)) is not None:
        grant_id, expires_at, usable = found
        grant = await find_grant(tx, grant_id)
        if grant is None or not usable or not grant.is_alive(now):
            return {"active": False}
        scope = " ".join(grant.scopes)
        own: dict[str, Json] = {"active": True, "client_id": client.client_id, "sub": grant.subject, "scope": scope}
        return {**own, "exp": int(expires_at.timestamp()), "iss": provider.issuer, "token_type": "refresh_token"}
    if signed is None or now.timestamp() >= signed.seconds("exp") or not _concerns(client, signed):
        return {"active": False}
    grant = await find_grant(tx, signed.id("gid"))
    if grant is None or not grant.is_alive(now) or (await find_client(tx, grant.client)).removed_at is not None:
        return {"active": False}
    if await token_is_revoked(tx, grant=grant, token=signed.id("jti")):
        return {"active": False}
    shown = {name: value for name, value in signed.claims.items() if name != "gid"}
    return {"active": True, "token_type": "DPoP" if "cnf" in signed.claims else "Bearer", **shown}


async def revoke(tx: Transaction, client: Client, *, token: str, signed: Signed | None) -> bool:
    """Revoke a program's own token: a refresh token with all of its grant, an access token alone.

    `signed` is what `own_token` says of it. Tells whether something was revoked. An unknown or foreign token is
    nobody's to revoke and no error.
    """
    if (found := await find_refresh(tx, client, token)) is not None:
        return bool(await end_grants(tx, [found[0]], why="revoked by the program"))
    if signed is None or signed.claims.get("client_id") != client.client_id:
        return False
    grant_id, own = signed.id("gid"), signed.id("jti")
    if await find_grant(tx, grant_id) is None:
        return False
    expires_at = datetime.fromtimestamp(signed.seconds("exp"), tz=UTC)
    done = await (await tx.connection.execute(_REVOKE, (own, expires_at))).fetchone()
    await end_grants(tx, [], why="the token it came from was revoked", token=own)
    if done is not None:
        details = {"client": str(client.id)}
        await trace(tx, action="token.revoked", resource="oauth_grant", record_id=grant_id, details=details)
    return done is not None


def _concerns(client: Client, signed: Signed) -> bool:
    audience = signed.claims.get("aud")
    meant = [audience] if isinstance(audience, str) else audience
    serves = client.audience is not None and isinstance(meant, list) and client.audience in meant
    return signed.claims.get("client_id") == client.client_id or serves
