"""Passkeys (WebAuthn level 3): discoverable, with the user verified by the device, so that one alone is two factors.

Challenge, origin, host and the counter are checked at each use. A passkey belongs to the host it was made for.
"""

import secrets
from dataclasses import dataclass, field
from datetime import datetime
from typing import LiteralString
from uuid import UUID

from msgspec import Struct
from webauthn import (
    generate_authentication_options,
    generate_registration_options,
    options_to_json,
    verify_authentication_response,
    verify_registration_response,
)
from webauthn.helpers import parse_authentication_credential_json, parse_registration_credential_json
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    CredentialDeviceType,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from isthmus.auth.people.errors import SignInRefused
from isthmus.auth.people.factors import check_last_factor
from isthmus.auth.people.logins import find_login
from isthmus.auth.people.recovery import forget_codes
from isthmus.auth.people.sign_in import People, enter, refusal, refuse
from isthmus.auth.people.steps import begin_step, take_step
from isthmus.auth.people.visitor import NOBODY, Visitor
from isthmus.auth.sessions import NewSession, renew_session
from isthmus.auth.trace import trace
from isthmus.kernel.clock import milliseconds
from isthmus.kernel.errors import Conflicting, NotFound
from isthmus.kernel.ids import mint
from isthmus.store.database import Transaction
from isthmus.vault import Vault, entropy

PASSKEYS_MAX = 20
CHALLENGE_BYTES = 32
_COLUMNS: LiteralString = """
select id, name, host, synced, created_at, used_at from passkey where workspace = current_workspace() and login = %s
order by id
"""
_INSERT: LiteralString = """
insert into passkey (workspace, id, login, credential, public_key, sign_count, host, name, synced, created_at)
values (current_workspace(), %s, %s, %s, %s, %s, %s, %s, %s, %s) on conflict (credential) do nothing
"""
_CREDENTIALS: LiteralString = "select credential from passkey where workspace = current_workspace() and login = %s"
_FIND: LiteralString = "select workspace, login from find_passkey(%s)"
_KNOWN: LiteralString = """
select p.id, p.public_key, p.sign_count, p.host, p.synced from passkey p
join person_login l on l.workspace = p.workspace and l.id = p.login
where p.workspace = current_workspace() and p.credential = %s and l.disabled_at is null for update of p
"""
_USED: LiteralString = """
update passkey set sign_count = %s, used_at = %s where workspace = current_workspace() and id = %s
"""
_REMOVE: LiteralString = "delete from passkey where workspace = current_workspace() and login = %s and id = %s"


class PasskeyRefused(SignInRefused):
    """The passkey, or what was made with it, does not fit what was asked for."""

    code, title = "passkey-refused", "The passkey was not accepted"


class PasskeyMissing(NotFound):
    """There is no such passkey."""

    code, title = "passkey-missing", "There is no such passkey"


class PasskeysFull(Conflicting):
    """There are as many passkeys as one user may have."""

    code, title = "passkeys-full", "There are too many passkeys"


class Passkey(Struct, frozen=True, kw_only=True):
    """A passkey as it is listed; a synced one is kept by a password store and not by one device."""

    id: UUID
    name: str
    host: str
    synced: bool
    created_at: datetime
    used_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Making:
    """Who makes a passkey in which session, and what came back: the token, the browser's answer, a name for it."""

    login: UUID
    session: UUID
    token: str
    credential: str = field(repr=False)
    name: str


@dataclass(frozen=True)
class Place:
    """Where the browser is: `https://console.example.com` and its host without the port."""

    origin: str
    host: str


async def list_passkeys(tx: Transaction, login: UUID) -> list[Passkey]:
    """Return a user's passkeys, oldest first."""
    rows = await (await tx.connection.execute(_COLUMNS, (login,))).fetchall()
    return [Passkey(**dict(zip(Passkey.__struct_fields__, row, strict=True))) for row in rows]


async def begin_passkey(tx: Transaction, vault: Vault, place: Place, login: UUID) -> tuple[str, str]:
    """Return a token and the options with which a browser makes a passkey; raises PasskeysFull."""
    who = await find_login(tx, vault, login)
    if who.passkeys >= PASSKEYS_MAX:
        raise PasskeysFull(f"You have {PASSKEYS_MAX} passkeys.", fix="Remove one that you do not use.")
    rows = await (await tx.connection.execute(_CREDENTIALS, (login,))).fetchall()
    challenge = secrets.token_bytes(CHALLENGE_BYTES)
    options = generate_registration_options(
        rp_id=place.host,
        rp_name="isthmus",
        user_name=who.email,
        user_display_name=who.name,
        user_id=login.bytes,
        challenge=challenge,
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.REQUIRED, user_verification=UserVerificationRequirement.REQUIRED
        ),
        exclude_credentials=[PublicKeyCredentialDescriptor(id=bytes(row[0])) for row in rows],
    )
    return await begin_step(tx, "enrol", login=login, challenge=challenge), options_to_json(options)


async def add_passkey(tx: Transaction, visitor: Visitor, place: Place, making: Making) -> NewSession:
    """Keep a passkey that was made, and renew the session by it; raises PasskeyRefused and SignInRefused."""
    step = await take_step(tx, "enrol", making.token)
    login = making.login
    if step.login != login:
        raise refusal()
    try:
        made = verify_registration_response(
            credential=parse_registration_credential_json(making.credential),
            expected_challenge=step.challenge,
            expected_rp_id=place.host,
            expected_origin=place.origin,
            require_user_verification=True,
        )
    except WebAuthnException as error:
        raise _unfit() from error
    own = mint(unix_ms=milliseconds(tx.scope.now), entropy=entropy(10))
    synced = made.credential_device_type == CredentialDeviceType.MULTI_DEVICE
    row = (own, login, made.credential_id, made.credential_public_key, made.sign_count, place.host, making.name, synced)
    if (await tx.connection.execute(_INSERT, (*row, tx.scope.now))).rowcount != 1:
        raise PasskeyRefused("This passkey is kept here already.", fix="Sign in with it.")
    await trace(tx, action="passkey.added", resource="user", record_id=login, details={"synced": synced})
    proof = visitor.proof(login, _methods(synced=synced), second_factor=True)
    return await renew_session(tx, making.session, proof)


async def remove_passkey(tx: Transaction, vault: Vault, *, login: UUID, passkey: UUID) -> None:
    """Let a passkey open nothing any more; raises PasskeyMissing and FactorNeeded."""
    who = await find_login(tx, vault, login)
    left = who.passkeys - 1 + who.has_totp
    if (await tx.connection.execute(_REMOVE, (login, passkey))).rowcount != 1:
        raise PasskeyMissing("There is no such passkey.", fix="Load the page again.")
    check_last_factor(who, left=left)
    if left == 0:
        await forget_codes(tx, login)
    await trace(tx, action="passkey.removed", resource="user", record_id=login, details={})


async def ask_passkey(people: People, visitor: Visitor, place: Place) -> tuple[str, str]:
    """Return a token and the options with which a browser shows a passkey of whoever sits before it."""
    challenge = secrets.token_bytes(CHALLENGE_BYTES)
    options = generate_authentication_options(
        rp_id=place.host, challenge=challenge, user_verification=UserVerificationRequirement.REQUIRED
    )
    async with people.database.transaction(visitor.scope(NOBODY)) as tx:
        return await begin_step(tx, "passkey", challenge=challenge), options_to_json(options)


async def sign_in_passkey(
    people: People,
    visitor: Visitor,
    place: Place,
    *,
    token: str,
    credential: str,
    again: tuple[UUID, UUID] | None = None,
) -> NewSession:
    """Sign in by a passkey, or renew a session by one of its user (`again`: both ids).

    Raises PasskeyRefused and SignInRefused.
    """
    async with people.database.transaction(visitor.scope(NOBODY)) as tx:
        step = await take_step(tx, "passkey", token)
    try:
        given = parse_authentication_credential_json(credential)
    except WebAuthnException as error:
        raise _unfit() from error
    async with people.database.plain() as connection:
        row = await (await connection.execute(_FIND, (given.raw_id,))).fetchone()
    if row is None:
        await refuse(people, visitor, workspace=NOBODY, login=None, method="hwk")
    workspace, login = row
    handle = given.response.user_handle
    opened = None
    async with people.database.transaction(visitor.scope(workspace, f"user:{login}")) as tx:
        methods = await _shown(tx, place, given.raw_id, credential, step.challenge)
        if methods is not None and handle in (None, login.bytes) and (again is None or again[1] == login):
            if again is not None:
                opened = await renew_session(tx, again[0], visitor.proof(login, methods, second_factor=True))
            else:
                opened = await enter(tx, visitor, login, methods)
    if opened is None:
        await refuse(people, visitor, workspace=workspace, login=login, method="hwk")
    return opened


async def _shown(tx: Transaction, place: Place, raw: bytes, credential: str, challenge: bytes) -> frozenset[str] | None:
    """Return the methods that a passkey proves, or None when something does not fit."""
    row = await (await tx.connection.execute(_KNOWN, (raw,))).fetchone()
    if row is None or row[3] != place.host:
        return None
    try:
        shown = verify_authentication_response(
            credential=credential,
            expected_challenge=challenge,
            expected_rp_id=place.host,
            expected_origin=place.origin,
            credential_public_key=bytes(row[1]),
            credential_current_sign_count=row[2],
            require_user_verification=True,
        )
    except WebAuthnException:
        return None
    await tx.connection.execute(_USED, (shown.new_sign_count, tx.scope.now, row[0]))
    return _methods(synced=row[4])


def _methods(*, synced: bool) -> frozenset[str]:
    return frozenset({"swk" if synced else "hwk", "user", "mfa"})


def _unfit() -> PasskeyRefused:
    return PasskeyRefused("The passkey does not fit what was asked for.", fix="Begin again, on this server's own page.")
