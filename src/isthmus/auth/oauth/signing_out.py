"""Telling programs that a person's session ended (OpenID Connect Back-Channel Logout 1.0).

What is to be told is written down by the database in the transaction that ends a session, however it ends. It is told
again, at growing intervals, until the program took it, refused it for good, or eight tries were in vain.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import LiteralString
from urllib.parse import urlencode
from uuid import UUID

from isthmus.auth.oauth.clients import CLIENT_PREFIX
from isthmus.auth.oauth.issuing import session_text
from isthmus.auth.oauth.jose import sign
from isthmus.auth.oauth.provider import Provider
from isthmus.auth.trace import trace
from isthmus.kernel.ids import text_of
from isthmus.kernel.marks import Json
from isthmus.store.database import Scope
from isthmus.stream.outbound import Outbound, OutboundFailed, OutboundRefused

EVENT = "http://schemas.openid.net/event/backchannel-logout"
TYPE = "logout+jwt"
LIFE, FIRST_PAUSE_S, TRIES_MAX, AT_ONCE_MAX = timedelta(minutes=2), 5, 8, 50
_TAKEN_BELOW, _BAD_REQUEST = 300, 400
_DUE: LiteralString = "select workspace from due_sign_outs(%s)"
_CLAIM: LiteralString = """
update oauth_sign_out o set tries = o.tries + 1,
    next_at = %(now)s + make_interval(secs => %(pause)s * power(4, least(o.tries, 6)))
from oauth_client c
where o.workspace = current_workspace() and c.workspace = o.workspace and c.id = o.client and o.id in (
    select id from oauth_sign_out where workspace = current_workspace() and next_at <= %(now)s
    order by next_at limit %(limit)s for update skip locked)
returning o.id, o.client, o.subject, o.session_id, o.tries, c.back_channel_logout
"""
_DONE: LiteralString = "delete from oauth_sign_out where workspace = current_workspace() and id = %s"


@dataclass(frozen=True)
class SignOut:
    """That a session ended, for one program; `url` is where it wants to be told."""

    id: UUID
    client: UUID
    subject: str
    session: UUID
    tries: int
    url: str | None


async def workspaces_with_sign_outs(provider: Provider, *, now: datetime) -> list[int]:
    """Return the workspaces in which programs are to be told something now."""
    async with provider.database.plain() as connection:
        return [int(row[0]) for row in await (await connection.execute(_DUE, (now,))).fetchall()]


async def tell_sign_outs(provider: Provider, outbound: Outbound, scope: Scope) -> int:
    """Tell programs of a workspace what is due, and return how many took it."""
    given = {"now": scope.now, "pause": FIRST_PAUSE_S, "limit": AT_ONCE_MAX}
    async with provider.database.transaction(scope) as tx:
        claimed = [SignOut(*row) for row in await (await tx.connection.execute(_CLAIM, given)).fetchall()]
    return sum([await _told(provider, outbound, scope, each) for each in claimed])


async def logout_token(provider: Provider, told: SignOut, *, now: datetime) -> str:
    """Return the signed token of a session's end (§2.4)."""
    signing = await provider.keyring.signing(now=now)
    claims: dict[str, Json] = {
        "iss": provider.issuer,
        "aud": text_of(CLIENT_PREFIX, told.client),
        "iat": int(now.timestamp()),
        "exp": int((now + LIFE).timestamp()),
        "jti": f"{told.id}.{told.tries}",
        "sub": told.subject,
        "sid": session_text(told.session),
        "events": {EVENT: {}},
    }
    return sign(claims, key=signing.key, kid=signing.kid, typ=TYPE)


async def _told(provider: Provider, outbound: Outbound, scope: Scope, each: SignOut) -> bool:
    status = await _sent(provider, outbound, each, now=scope.now)
    taken = status is not None and status < _TAKEN_BELOW
    if not taken and status != _BAD_REQUEST and each.tries < TRIES_MAX and each.url is not None:
        return False
    async with provider.database.transaction(scope) as tx:
        await tx.connection.execute(_DONE, (each.id,))
        if not taken:
            details: Mapping[str, object] = {"client": str(each.client), "status": status, "tries": each.tries}
            await trace(tx, action="sign-out.untold", resource="session", record_id=each.session, details=details)
    return taken


async def _sent(provider: Provider, outbound: Outbound, each: SignOut, *, now: datetime) -> int | None:
    """Return the status with which the program answered, or None when it did not."""
    if each.url is None:
        return None
    body = urlencode({"logout_token": await logout_token(provider, each, now=now)}).encode()
    headers = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
    try:
        return (await outbound.post(each.url, body, headers=headers))[0]
    except (OutboundFailed, OutboundRefused):
        return None
