"""Signing in by password, and by a second factor where the user has one; proving oneself again.

Whoever tries with an address that nobody has is answered the same, at the same cost, as with a wrong password.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import LiteralString, NoReturn
from uuid import UUID

from isthmus.auth.people.errors import SignInRefused
from isthmus.auth.people.logins import Login, email_index, find_login, open_for
from isthmus.auth.people.passwords import Passwords
from isthmus.auth.people.recovery import use_code
from isthmus.auth.people.steps import begin_step, take_step, try_step, workspace_of
from isthmus.auth.people.throttle import Throttle
from isthmus.auth.people.totp import step_of
from isthmus.auth.people.visitor import NOBODY, Visitor, network_of
from isthmus.auth.sessions import NewSession, Proof, open_login_session, renew_session
from isthmus.auth.trace import trace
from isthmus.store.database import Database, Transaction
from isthmus.vault import Vault

PASSWORD, CODE = frozenset({"pwd"}), frozenset({"otp", "mfa"})
_FIND: LiteralString = "select workspace, slug, id from find_logins(%s)"
_SECRETS: LiteralString = """
select password, totp, totp_step, email_index from person_login
where workspace = current_workspace() and id = %s and disabled_at is null
"""
_STEP: LiteralString = """
update person_login set totp_step = %(step)s
where workspace = current_workspace() and id = %(id)s and totp_step < %(step)s returning 1
"""
_REHASH: LiteralString = """
update person_login set password = %s where workspace = current_workspace() and id = %s and password = %s
"""
_SEEN: LiteralString = "update person_login set signed_in_at = %s where workspace = current_workspace() and id = %s"


@dataclass(frozen=True)
class Waiting:
    """The password was right, and a second factor is asked for; `token` goes on."""

    token: str = field(repr=False)
    has_totp: bool
    has_passkey: bool


@dataclass(frozen=True)
class People:
    """What signing in works with; one for each program."""

    database: Database
    vault: Vault
    passwords: Passwords
    domains: Sequence[str]

    @classmethod
    def over(cls, database: Database, vault: Vault, *, domains: Sequence[str]) -> "People":
        """Return it with a pool of threads for passwords."""
        return cls(database, vault, Passwords(vault), tuple(domains))

    @property
    def throttle(self) -> Throttle:
        """What counts tries."""
        return Throttle(self.database, self.vault)


@dataclass(frozen=True)
class _Secrets:
    password: str | None
    totp: bytes | None
    step: int
    index: bytes


async def sign_in(
    people: People, visitor: Visitor, *, email: str, password: str, workspace: str = ""
) -> NewSession | Waiting:
    """Check a password; `workspace` names one of several that somebody is a user of (else it is the oldest).

    Raises SignInRefused, SignInPaused and SignInBusy.
    """
    index = email_index(people.vault, email)
    await people.throttle.admit(visitor, index)
    found = await _find(people, index, workspace)
    own, login = found or (NOBODY, None)
    async with people.database.transaction(visitor.scope(own)) as tx:
        known = await _secrets(tx, login) if login is not None else None
    verdict = await people.passwords.verify(known.password if known else None, password, workspace=own)
    if login is None or known is None or not verdict.right:
        await refuse(people, visitor, workspace=own, login=login, method="pwd")
    async with people.database.transaction(visitor.scope(own, f"user:{login}")) as tx:
        if verdict.renewed is not None:
            await tx.connection.execute(_REHASH, (verdict.renewed, login, known.password))
        who = await find_login(tx, people.vault, login)
        if who.has_second_factor:
            token = await begin_step(tx, "code", login=login)
            return Waiting(token, who.has_totp, who.passkeys > 0)
        session = await _opened(tx, visitor.proof(login, PASSWORD, second_factor=False))
    await people.throttle.succeeded(visitor, known.index)
    return session


async def sign_in_code(people: People, visitor: Visitor, *, token: str, code: str) -> NewSession:
    """Take the code of an authenticator, or a recovery code, after the password.

    Raises SignInRefused (five times for one password) and SignInPaused.
    """
    workspace = workspace_of(token)
    async with people.database.transaction(visitor.scope(workspace)) as tx:
        step = await try_step(tx, "code", token)
        known = await _secrets(tx, step.login) if step.login is not None else None
    if step.login is None or known is None:
        raise refusal()
    await people.throttle.admit(visitor, known.index)
    async with people.database.transaction(visitor.scope(workspace, f"user:{step.login}")) as tx:
        session = None
        if await use_second_factor(tx, people.vault, step.login, code):
            await take_step(tx, "code", token)
            session = await _opened(tx, visitor.proof(step.login, PASSWORD | CODE, second_factor=True))
    if session is None:
        await refuse(people, visitor, workspace=workspace, login=step.login, method="otp")
    await people.throttle.succeeded(visitor, known.index)
    return session


async def step_up(
    people: People, visitor: Visitor, *, workspace: int, session: UUID, login: UUID, given: str
) -> NewSession:
    """Prove a signed-in user again: by a code where they have a second factor, else by the password.

    Raises SignInRefused, SignInPaused and SignInBusy.
    """
    async with people.database.transaction(visitor.scope(workspace)) as tx:
        known = await _secrets(tx, login)
        who = await find_login(tx, people.vault, login)
    if known is None:
        raise refusal()
    await people.throttle.admit(visitor, known.index)
    by_code = who.has_second_factor
    right = not by_code and (await people.passwords.verify(known.password, given, workspace=workspace)).right
    renewed = None
    async with people.database.transaction(visitor.scope(workspace, f"user:{login}")) as tx:
        if right or (by_code and await use_second_factor(tx, people.vault, login, given)):
            proof = visitor.proof(login, CODE if by_code else PASSWORD, second_factor=by_code)
            renewed = await renew_session(tx, session, proof)
    if renewed is None:
        await refuse(people, visitor, workspace=workspace, login=login, method="otp" if by_code else "pwd")
    await people.throttle.succeeded(visitor, known.index)
    return renewed


async def use_second_factor(tx: Transaction, vault: Vault, login: UUID, code: str) -> bool:
    """Use a code of an authenticator, or a recovery code; of many who try at once with one code one succeeds."""
    known = await _secrets(tx, login)
    if known is None:
        return False
    if known.totp is not None:
        secret = await open_for(vault, login, known.totp, workspace=tx.scope.workspace)
        step = step_of(secret.decode(), code, after=known.step, now=tx.scope.now) if secret else None
        if step is not None:
            used = await (await tx.connection.execute(_STEP, {"step": step, "id": login})).fetchone()
            return used is not None
    return await use_code(tx, vault, login, code)


async def enter(tx: Transaction, visitor: Visitor, login: UUID, methods: frozenset[str]) -> NewSession:
    """Open a session of a user who proved themselves otherwise, as by a passkey; `mfa` among the methods counts."""
    return await _opened(tx, visitor.proof(login, methods, second_factor="mfa" in methods))


async def refuse(people: People, visitor: Visitor, *, workspace: int, login: UUID | None, method: str) -> NoReturn:
    """Write the failed try down and raise SignInRefused."""
    await note_refused(people, visitor, workspace=workspace, login=login, method=method)
    raise refusal()


async def note_refused(people: People, visitor: Visitor, *, workspace: int, login: UUID | None, method: str) -> None:
    """Write a failed try down, in a transaction of its own, so that it stays whatever else is undone."""
    async with people.database.transaction(visitor.scope(workspace)) as tx:
        details = {"method": method, "network": network_of(visitor.address)}
        await trace(tx, action="sign-in.refused", resource="user", record_id=login, details=details)


def refusal() -> SignInRefused:
    """Return the one answer to whatever was wrong."""
    return SignInRefused("This does not sign you in: address, password or code is wrong.", fix="Check them, try again.")


def usable(login: Login) -> bool:
    """Tell whether somebody can come in by their own proof."""
    return login.has_password or login.passkeys > 0


async def _find(people: People, index: bytes, slug: str) -> tuple[int, UUID] | None:
    async with people.database.plain() as connection:
        rows = await (await connection.execute(_FIND, (index,))).fetchall()
    return next(((row[0], row[2]) for row in rows if slug in ("", row[1])), None)


async def _secrets(tx: Transaction, login: UUID) -> _Secrets | None:
    row = await (await tx.connection.execute(_SECRETS, (login,))).fetchone()
    if row is None:
        return None
    return _Secrets(row[0], bytes(row[1]) if row[1] is not None else None, row[2], bytes(row[3]))


async def _opened(tx: Transaction, proof: Proof) -> NewSession:
    await tx.connection.execute(_SEEN, (tx.scope.now, proof.login))
    return await open_login_session(tx, proof)
