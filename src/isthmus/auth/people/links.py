"""Links that set a password once: an invitation, or a way back. Looking at one does not use it up."""

from datetime import timedelta
from typing import LiteralString
from uuid import UUID

from isthmus.auth.people.errors import SignInRefused
from isthmus.auth.people.logins import Login, find_login
from isthmus.auth.people.passwords import check_password, context_of, long_enough_alone
from isthmus.auth.people.recovery import forget_codes
from isthmus.auth.people.sign_in import PASSWORD, People, Waiting, enter
from isthmus.auth.people.steps import begin_step, new_token, token_digest, workspace_of
from isthmus.auth.people.visitor import Visitor
from isthmus.auth.sessions import LinkSpent, NewSession, end_sessions
from isthmus.auth.trace import trace
from isthmus.kernel.clock import milliseconds
from isthmus.kernel.ids import mint
from isthmus.store.database import Transaction
from isthmus.vault import entropy

LINK_LIFE = timedelta(days=3)
_END_BEFORE: LiteralString = """
update login_link set expires_at = %s where workspace = current_workspace() and login = %s and used_at is null
  and expires_at > %s
"""
_INSERT: LiteralString = """
insert into login_link (workspace, id, digest, login, created_at, created_by, expires_at)
values (current_workspace(), %s, %s, %s, %s, %s, %s)
"""
_LOOK: LiteralString = """
select k.login from login_link k join person_login l on l.workspace = k.workspace and l.id = k.login
where k.workspace = current_workspace() and k.digest = %s and k.used_at is null and k.expires_at > %s
  and l.disabled_at is null
"""
_USE: LiteralString = """
update login_link set used_at = %(now)s
where workspace = current_workspace() and digest = %(digest)s and used_at is null and expires_at > %(now)s
returning login
"""
_SET: LiteralString = """
update person_login set password = %(hash)s, password_long = %(long)s, joined_at = coalesce(joined_at, %(now)s)
where workspace = current_workspace() and id = %(id)s and disabled_at is null returning 1
"""
_FORGET: LiteralString = """
update person_login set totp = null, totp_new = null where workspace = current_workspace() and id = %s
"""
_FORGET_KEYS: LiteralString = "delete from passkey where workspace = current_workspace() and login = %s"


async def create_login_link(tx: Transaction, login: UUID) -> str:
    """Return the token of a new link, which is never shown again; those before end."""
    token, now = new_token(tx.scope.workspace), tx.scope.now
    own = mint(unix_ms=milliseconds(now), entropy=entropy(10))
    await tx.connection.execute(_END_BEFORE, (now, login, now))
    await tx.connection.execute(_INSERT, (own, token_digest(token), login, now, tx.scope.actor, now + LINK_LIFE))
    await trace(tx, action="user.link", resource="user", record_id=login, details={})
    return token


async def look_at_link(people: People, visitor: Visitor, token: str) -> Login:
    """Return whose link it is; raises LinkSpent."""
    async with people.database.transaction(visitor.scope(_workspace(token))) as tx:
        row = await (await tx.connection.execute(_LOOK, (token_digest(token), visitor.now))).fetchone()
        if row is None:
            raise spent()
        return await find_login(tx, people.vault, row[0])


async def use_link(people: People, visitor: Visitor, *, token: str, password: str) -> NewSession | Waiting:
    """Set a password by a link, end what was open, and sign in; a second factor is asked for where there is one.

    Of many who try at once one succeeds. Raises LinkSpent, WeakPassword and SignInBusy.
    """
    who = await look_at_link(people, visitor, token)
    context = context_of(email=who.email, name=who.name)
    checked = check_password(password, alone=not who.has_second_factor, context=context)
    workspace = _workspace(token)
    hashed = await people.passwords.hashed(checked, workspace=workspace)
    async with people.database.transaction(visitor.scope(workspace, f"user:{who.id}")) as tx:
        given = {"now": visitor.now, "digest": token_digest(token)}
        if await (await tx.connection.execute(_USE, given)).fetchone() is None:
            raise spent()
        await set_password(tx, who.id, hashed, long=long_enough_alone(checked))
        await end_sessions(tx, who.id)
        if who.has_second_factor:
            return Waiting(await begin_step(tx, "code", login=who.id), who.has_totp, who.passkeys > 0)
        return await enter(tx, visitor, who.id, PASSWORD)


async def set_password(tx: Transaction, login: UUID, hashed: str, *, long: bool) -> None:
    """Store a password that was checked and hashed; raises LinkSpent for a user who is disabled."""
    given = {"hash": hashed, "long": long, "now": tx.scope.now, "id": login}
    if await (await tx.connection.execute(_SET, given)).fetchone() is None:
        raise spent()
    await trace(tx, action="password.set", resource="user", record_id=login, details={})


async def forget_factors(tx: Transaction, login: UUID) -> None:
    """Let no second factor of a user count any more, because all are lost; their sessions end."""
    await tx.connection.execute(_FORGET, (login,))
    await tx.connection.execute(_FORGET_KEYS, (login,))
    await forget_codes(tx, login)
    await end_sessions(tx, login)
    await trace(tx, action="factors.forgotten", resource="user", record_id=login, details={})


def spent() -> LinkSpent:
    """Return the refusal of a link."""
    days = LINK_LIFE.days
    return LinkSpent(
        f"This link was used before, was replaced, or is over {days} days old.",
        fix="Ask whoever sent it for a new one.",
    )


def _workspace(token: str) -> int:
    try:
        return workspace_of(token)
    except SignInRefused as error:
        raise spent() from error
