"""What a user proves themselves with, changed by themselves: the password and one-time codes."""

from typing import LiteralString
from uuid import UUID

from isthmus.auth.people.errors import FactorNeeded, SignInRefused
from isthmus.auth.people.links import set_password
from isthmus.auth.people.logins import Login, find_login, open_for, seal_for
from isthmus.auth.people.passwords import ALONE_CHARACTERS_MIN, check_password, context_of, long_enough_alone
from isthmus.auth.people.recovery import forget_codes, new_codes
from isthmus.auth.people.sign_in import CODE, PASSWORD, People, note_refused
from isthmus.auth.people.totp import new_secret, step_of
from isthmus.auth.people.visitor import Visitor
from isthmus.auth.sessions import NewSession, end_sessions, renew_session
from isthmus.auth.trace import trace
from isthmus.store.database import Scope, Transaction
from isthmus.vault import Vault

_STORED: LiteralString = "select password from person_login where workspace = current_workspace() and id = %s"
_BEGIN: LiteralString = "update person_login set totp_new = %s where workspace = current_workspace() and id = %s"
_NEW: LiteralString = """
select totp_new from person_login where workspace = current_workspace() and id = %s for update
"""
_CONFIRM: LiteralString = """
update person_login set totp = totp_new, totp_new = null, totp_step = %s
where workspace = current_workspace() and id = %s and totp_new is not null
"""
_REMOVE: LiteralString = """
update person_login set totp = null where workspace = current_workspace() and id = %s and totp is not null
"""


async def change_password(
    people: People, visitor: Visitor, scope: Scope, *, login: UUID, session: UUID, before: str, password: str
) -> NewSession:
    """Set another password: the present one must come with it. All other sessions end, this one gets a new token.

    Raises SignInRefused, SignInPaused, WeakPassword and SignInBusy.
    """
    async with people.database.transaction(scope) as tx:
        who = await find_login(tx, people.vault, login)
        row = await (await tx.connection.execute(_STORED, (login,))).fetchone()
    await people.throttle.admit(visitor, login.bytes)
    if who.has_password:
        verdict = await people.passwords.verify(row[0] if row else None, before, workspace=scope.workspace)
        if not verdict.right:
            await note_refused(people, visitor, workspace=scope.workspace, login=login, method="pwd")
            raise SignInRefused(
                "The present password is wrong.", fix="Check it, or ask for a link that sets a new one."
            )
    context = context_of(email=who.email, name=who.name)
    checked = check_password(password, alone=not who.has_second_factor, context=context)
    hashed = await people.passwords.hashed(checked, workspace=scope.workspace)
    async with people.database.transaction(scope) as tx:
        await set_password(tx, login, hashed, long=long_enough_alone(checked))
        await end_sessions(tx, login, but=session)
        renewed = await renew_session(tx, session, visitor.proof(login, PASSWORD, second_factor=False))
    await people.throttle.succeeded(visitor, login.bytes)
    return renewed


async def begin_totp(tx: Transaction, vault: Vault, login: UUID) -> str:
    """Return a new secret, which counts once a code of it was given."""
    secret = new_secret()
    sealed = await seal_for(vault, login, secret.encode(), workspace=tx.scope.workspace)
    await tx.connection.execute(_BEGIN, (sealed, login))
    return secret


async def waiting_totp(tx: Transaction, vault: Vault, login: UUID) -> str | None:
    """Return the secret that waits for its first code."""
    row = await (await tx.connection.execute(_NEW, (login,))).fetchone()
    if row is None or row[0] is None:
        return None
    plain = await open_for(vault, login, bytes(row[0]), workspace=tx.scope.workspace)
    return plain.decode() if plain else None


async def confirm_totp(
    tx: Transaction, vault: Vault, visitor: Visitor, *, login: UUID, session: UUID, code: str
) -> tuple[NewSession, list[str]]:
    """Let one-time codes count from now on, by the first of them.

    Returns the session's new token, and recovery codes where there were none. Raises SignInRefused.
    """
    secret = await waiting_totp(tx, vault, login)
    step = step_of(secret, code, after=0, now=tx.scope.now) if secret else None
    if step is None:
        raise SignInRefused("The code does not fit.", fix="Take the one that is shown now; set the clock right.")
    await tx.connection.execute(_CONFIRM, (step, login))
    await trace(tx, action="totp.added", resource="user", record_id=login, details={})
    codes = [] if (await find_login(tx, vault, login)).recovery_codes else await new_codes(tx, vault, login)
    return await renew_session(tx, session, visitor.proof(login, CODE, second_factor=True)), codes


async def remove_totp(tx: Transaction, vault: Vault, login: UUID) -> None:
    """Let one-time codes count no more; raises FactorNeeded."""
    who = await find_login(tx, vault, login)
    check_last_factor(who, left=who.passkeys)
    if (await tx.connection.execute(_REMOVE, (login,))).rowcount:
        await trace(tx, action="totp.removed", resource="user", record_id=login, details={})
    if not who.passkeys:
        await forget_codes(tx, login)


def check_last_factor(who: Login, *, left: int) -> None:
    """Raise FactorNeeded when nothing but a short password, or nothing at all, would be left."""
    if left == 0 and not (who.has_password and who.password_long):
        raise FactorNeeded(
            f"Without it a password of at least {ALONE_CHARACTERS_MIN} characters must stand alone.",
            fix="Set a longer password first, or add another second factor.",
        )
