"""Signing in to the console by a one-time link, and the sessions that follow from it.

A link lives 24 hours and opens once. A session ends after an hour without use and after 24 hours in any case; its use
is written once a minute, so that the hour may be up to a minute shorter.
"""

import hmac
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import LiteralString

from isthmus.auth.trace import trace
from isthmus.kernel.clock import milliseconds
from isthmus.kernel.errors import Unauthenticated
from isthmus.kernel.ids import mint
from isthmus.store.database import Database, Scope, Transaction
from isthmus.vault import entropy

LINK_LIFE = timedelta(hours=24)
IDLE = timedelta(hours=1)
SESSION_LIFE = timedelta(hours=24)
TOKEN_BYTES = 32
ADMIN_ROLES = ("owner",)
ADMIN_NAME = "Administrator"
_INSERT_LINK: LiteralString = """
insert into admin_link (workspace, id, digest, roles, created_at, created_by, expires_at)
values (current_workspace(), %s, %s, %s, %s, %s, %s)
"""
_FIND_LINK: LiteralString = "select find_admin_link(%s)"
_USE_LINK: LiteralString = """
update admin_link set used_at = %(now)s
where workspace = current_workspace() and digest = %(digest)s and used_at is null and expires_at > %(now)s
returning roles
"""
_INSERT_SESSION: LiteralString = """
insert into session (workspace, id, digest, name, roles, created_at, seen_at, expires_at)
values (current_workspace(), %s, %s, %s, %s, %s, %s, %s)
"""
_END: LiteralString = """
update session set ended_at = %s where workspace = current_workspace() and digest = %s and ended_at is null
returning id
"""


class LinkSpent(Unauthenticated):
    """The sign-in link was used, is over 24 hours old, or is not one of ours."""

    code, title = "link-spent", "The sign-in link does not open any more"


class SessionEnded(Unauthenticated):
    """The session ended."""

    code, title = "session-ended", "The session has ended"


@dataclass(frozen=True)
class NewSession:
    """A session that was opened; `token` goes into the cookie and is stored as a digest only."""

    workspace: int
    token: str = field(repr=False)
    expires_at: datetime


async def create_admin_link(tx: Transaction) -> str:
    """Return the token of a new one-time link, which is never shown again."""
    token = secrets.token_urlsafe(TOKEN_BYTES)
    now = tx.scope.now
    link_id = mint(unix_ms=milliseconds(now), entropy=entropy(10))
    values = (link_id, _digest("link", token), list(ADMIN_ROLES), now, tx.scope.actor, now + LINK_LIFE)
    await tx.connection.execute(_INSERT_LINK, values)
    await trace(tx, action="link.created", resource="admin_link", record_id=link_id, details={})
    return token


async def open_session(database: Database, token: str, *, request_id: str, now: datetime) -> NewSession:
    """Use up a one-time link and open a session; of many who try at once one gets it. Raises LinkSpent."""
    digest = _digest("link", token)
    async with database.plain() as connection:
        row = await (await connection.execute(_FIND_LINK, (digest,))).fetchone()
    if row is None or row[0] is None:
        raise _spent()
    session_id = mint(unix_ms=milliseconds(now), entropy=entropy(10))
    scope = Scope(workspace=row[0], actor=f"session:{session_id}", cause=request_id, now=now)
    session = NewSession(scope.workspace, secrets.token_urlsafe(TOKEN_BYTES), now + SESSION_LIFE)
    async with database.transaction(scope) as tx:
        used = await (await tx.connection.execute(_USE_LINK, {"now": now, "digest": digest})).fetchone()
        if used is None:
            raise _spent()
        values = (session_id, session_digest(session.token), ADMIN_NAME, used[0], now, now, session.expires_at)
        await tx.connection.execute(_INSERT_SESSION, values)
        await trace(tx, action="session.opened", resource="session", record_id=session_id, details={})
    return session


async def end_session(tx: Transaction, token: str) -> bool:
    """End a session; tells whether it was open."""
    row = await (await tx.connection.execute(_END, (tx.scope.now, session_digest(token)))).fetchone()
    if row is not None:
        await trace(tx, action="session.ended", resource="session", record_id=row[0], details={})
    return row is not None


def session_digest(token: str) -> bytes:
    """Return the digest under which a session is stored."""
    return _digest("session", token)


def csrf_token(token: str) -> str:
    """Return what forms of this session carry: nobody can make it without the cookie."""
    return hmac.digest(token.encode(), b"form", "sha256").hex()


def _digest(purpose: str, token: str) -> bytes:
    return sha256(f"{purpose}:{token}".encode()).digest()


def _spent() -> LinkSpent:
    return LinkSpent(
        "This sign-in link was used before, or is over 24 hours old.", fix="Make a new one: isthmus users link"
    )
