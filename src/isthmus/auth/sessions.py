"""Signing in to the console by a one-time link, and the sessions that follow from it or from a user's own proof.

A link lives 24 hours and opens once. A session ends after an hour without use and after 24 hours in any case; its use
is written once a minute, so that the hour may be up to a minute shorter. Its token is new after each proof.
"""

import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import LiteralString
from uuid import UUID

from msgspec import Struct

from isthmus.auth.trace import trace
from isthmus.kernel.clock import milliseconds
from isthmus.kernel.errors import NotFound, Unauthenticated
from isthmus.kernel.ids import mint
from isthmus.store.database import Database, Scope, Transaction
from isthmus.vault import entropy

LINK_LIFE = timedelta(hours=24)
IDLE = timedelta(hours=1)
SESSION_LIFE = timedelta(hours=24)
TOKEN_BYTES = 32
ADMIN_ROLES = ("owner",)
ADMIN_NAME = "Administrator"
_BROWSERS = (("Edg/", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"), ("Safari/", "Safari"))
_SYSTEMS = (
    *(("Android", "Android"), ("iPhone", "iPhone"), ("iPad", "iPad"), ("Windows", "Windows")),
    *(("Mac OS", "macOS"), ("CrOS", "ChromeOS"), ("Linux", "Linux")),
)
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
insert into session (workspace, id, digest, name, roles, created_at, seen_at, expires_at, proven_at)
values (current_workspace(), %(id)s, %(digest)s, %(name)s, %(roles)s, %(now)s, %(now)s, %(ends)s, %(now)s)
"""
_INSERT_LOGIN: LiteralString = """
insert into session (workspace, id, digest, name, roles, created_at, seen_at, expires_at, login, methods, proven_at,
                     mfa_at, network, agent)
values (current_workspace(), %(id)s, %(digest)s, '', '{}', %(now)s, %(now)s, %(ends)s, %(login)s, %(methods)s, %(now)s,
        %(mfa_at)s, %(network)s, %(agent)s)
"""
_RENEW: LiteralString = """
update session set digest = %(digest)s, proven_at = %(now)s, mfa_at = coalesce(%(mfa_at)s, mfa_at),
    login = coalesce(%(login)s, login), seen_at = %(now)s,
    methods = (select array_agg(distinct m) from unnest(methods || %(methods)s::text[]) m)
where workspace = current_workspace() and id = %(id)s and ended_at is null and expires_at > %(now)s
returning expires_at
"""
_LIST: LiteralString = """
select id, login, methods, network, agent, created_at, seen_at, expires_at, mfa_at from session
where workspace = current_workspace() and ended_at is null and expires_at > %(now)s and seen_at > %(idle)s
  and (%(login)s::uuid is null or login = %(login)s) and (%(after)s::uuid is null or id > %(after)s)
order by id limit %(limit)s
"""
_END_ONE: LiteralString = """
update session set ended_at = %(now)s where workspace = current_workspace() and id = %(id)s and ended_at is null
  and (%(login)s::uuid is null or login = %(login)s)
returning id
"""
_END_ALL: LiteralString = """
update session set ended_at = %(now)s where workspace = current_workspace() and login = %(login)s
  and ended_at is null and id is distinct from %(but)s
returning id
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


class SessionMissing(NotFound):
    """There is no such open session."""

    code, title = "session-missing", "There is no such session"


class OpenSession(Struct, frozen=True, kw_only=True):
    """A session as it is listed. `network` is the /24 or /48 it was opened from, `login` the user it belongs to."""

    id: UUID
    login: UUID | None
    methods: list[str]
    network: str
    agent: str
    created_at: datetime
    seen_at: datetime
    expires_at: datetime
    mfa_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Proof:
    """How a user proved themselves: methods of RFC 8176, whether a second factor was among them, and from where."""

    login: UUID
    methods: frozenset[str]
    second_factor: bool
    network: str = ""
    agent: str = ""


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
        values = {"id": session_id, "digest": session_digest(session.token), "name": ADMIN_NAME, "roles": used[0]}
        await tx.connection.execute(_INSERT_SESSION, {**values, "now": now, "ends": session.expires_at})
        await trace(tx, action="session.opened", resource="session", record_id=session_id, details={})
    return session


async def end_session(tx: Transaction, token: str) -> bool:
    """End a session; tells whether it was open."""
    row = await (await tx.connection.execute(_END, (tx.scope.now, session_digest(token)))).fetchone()
    if row is not None:
        await trace(tx, action="session.ended", resource="session", record_id=row[0], details={})
    return row is not None


async def open_login_session(tx: Transaction, proof: Proof) -> NewSession:
    """Open a session of a user, in the transaction that took their proof."""
    now = tx.scope.now
    own = mint(unix_ms=milliseconds(now), entropy=entropy(10))
    session = NewSession(tx.scope.workspace, secrets.token_urlsafe(TOKEN_BYTES), now + SESSION_LIFE)
    values = {"id": own, "digest": session_digest(session.token), "now": now, "ends": session.expires_at}
    await tx.connection.execute(_INSERT_LOGIN, {**values, **_proven(proof, now)})
    details = {"user": str(proof.login), "methods": sorted(proof.methods)}
    await trace(tx, action="session.opened", resource="session", record_id=own, details=details)
    return session


async def renew_session(tx: Transaction, session_id: UUID, proof: Proof) -> NewSession:
    """Give an open session a new token, because its user proved themselves again; raises SessionEnded."""
    token, now = secrets.token_urlsafe(TOKEN_BYTES), tx.scope.now
    values = {"id": session_id, "digest": session_digest(token), "now": now}
    row = await (await tx.connection.execute(_RENEW, {**values, **_proven(proof, now)})).fetchone()
    if row is None:
        raise SessionEnded("The session has ended.", fix="Sign in again.")
    details = {"user": str(proof.login), "methods": sorted(proof.methods)}
    await trace(tx, action="session.renewed", resource="session", record_id=session_id, details=details)
    return NewSession(tx.scope.workspace, token, row[0])


async def list_sessions(
    tx: Transaction, *, limit: int, login: UUID | None = None, after: UUID | None = None
) -> list[OpenSession]:
    """Return open sessions, of one user or of all, in the order in which they were opened."""
    now = tx.scope.now
    given = {"now": now, "idle": now - IDLE, "login": login, "after": after, "limit": limit}
    rows = await (await tx.connection.execute(_LIST, given)).fetchall()
    names = OpenSession.__struct_fields__
    return [OpenSession(**dict(zip(names, row, strict=True))) for row in rows]


async def end_open_session(tx: Transaction, session_id: UUID, *, login: UUID | None = None) -> None:
    """End a session by its id, of one user or of anybody; raises SessionMissing."""
    given = {"now": tx.scope.now, "id": session_id, "login": login}
    if await (await tx.connection.execute(_END_ONE, given)).fetchone() is None:
        raise SessionMissing("There is no open session with this id.", fix="List the sessions.")
    await trace(tx, action="session.ended", resource="session", record_id=session_id, details={})


async def end_sessions(tx: Transaction, login: UUID, *, but: UUID | None = None) -> int:
    """End the sessions of a user, all or all but one, and return how many."""
    given = {"now": tx.scope.now, "login": login, "but": but}
    rows = await (await tx.connection.execute(_END_ALL, given)).fetchall()
    for row in rows:
        await trace(tx, action="session.ended", resource="session", record_id=row[0], details={})
    return len(rows)


def agent_of(header: str) -> str:
    """Return a browser's name and system in the few words that tell two of them apart."""
    return " on ".join(filter(None, (_first(header, _BROWSERS), _first(header, _SYSTEMS)))) or "another program"


def _first(header: str, known: Iterable[tuple[str, str]]) -> str:
    return next((name for sign, name in known if sign in header), "")


def _proven(proof: Proof, now: datetime) -> dict[str, object]:
    return {
        "login": proof.login,
        "methods": sorted(proof.methods),
        "mfa_at": now if proof.second_factor else None,
        "network": proof.network,
        "agent": proof.agent,
    }


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
