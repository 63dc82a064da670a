"""Users of a workspace: their sealed names, their roles, and whether they may come in.

E-mail address and name are sealed under the user's own id. The address is found by a keyed digest; its key is that of
the whole server, because whoever signs in names no workspace.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import LiteralString
from uuid import UUID

import msgspec
from msgspec import Struct
from psycopg.rows import TupleRow

from isthmus.auth.custom_roles import list_roles
from isthmus.auth.people.errors import LoginMissing, LoginTaken, OwnLogin
from isthmus.auth.people.visitor import NOBODY
from isthmus.auth.roles import check_grant, permissions_of, surviving
from isthmus.auth.sessions import end_sessions
from isthmus.auth.trace import trace
from isthmus.kernel.clock import milliseconds
from isthmus.kernel.errors import Fault, Invalid
from isthmus.kernel.ids import mint
from isthmus.kernel.marks import Normal
from isthmus.store.database import Transaction
from isthmus.vault import Vault, blind_index, entropy, normal_form

USER_PREFIX = "user"
EMAIL_CHARACTERS_MAX, NAME_CHARACTERS_MAX, LOGINS_MAX = 254, 100, 10_000
_INDEX = "sign-in e-mail"
_COLUMNS: LiteralString = """
select l.id, l.sealed, l.roles, l.password is not null, l.password_long, l.totp is not null, l.created_at, l.joined_at,
       l.signed_in_at, l.disabled_at,
       (select count(*) from passkey p where p.workspace = l.workspace and p.login = l.id),
       (select count(*) from recovery_code c where c.workspace = l.workspace and c.login = l.id and c.used_at is null),
       l.external_id
from person_login l where l.workspace = current_workspace()
"""
_INSERT: LiteralString = """
insert into person_login (workspace, id, email_index, sealed, roles, external_id, created_at, created_by)
select current_workspace(), %s, %s, %s, %s, %s, %s, %s
where (select count(*) from person_login where workspace = current_workspace()) < %s
on conflict (workspace, email_index) do nothing
"""
_ROLES: LiteralString = "update person_login set roles = %s where workspace = current_workspace() and id = %s"
_SEALED: LiteralString = """
update person_login set sealed = %s, email_index = %s where workspace = current_workspace() and id = %s
"""
_DISABLE: LiteralString = """
update person_login set disabled_at = %s where workspace = current_workspace() and id = %s and disabled_at is null
"""
_ENABLE: LiteralString = """
update person_login set disabled_at = null where workspace = current_workspace() and id = %s
  and disabled_at is not null
"""


class Login(Struct, frozen=True, kw_only=True):
    """A user. `passkeys` and `recovery_codes` are how many are left to use."""

    id: UUID
    email: str
    name: str
    roles: list[str]
    has_password: bool
    password_long: bool
    has_totp: bool
    created_at: datetime
    joined_at: datetime | None
    signed_in_at: datetime | None
    disabled_at: datetime | None
    passkeys: int
    recovery_codes: int
    external_id: str | None = None

    @property
    def status(self) -> str:
        """The state in one word: invited, active or disabled."""
        return "disabled" if self.disabled_at else "active" if self.joined_at else "invited"

    @property
    def has_second_factor(self) -> bool:
        """Tell whether a password alone does not sign this user in."""
        return self.has_totp or self.passkeys > 0


class LoginWish(Struct, frozen=True, kw_only=True):
    """Who shall become a user."""

    email: str
    name: str
    roles: tuple[str, ...] = ()
    external_id: str | None = None


class _Sealed(Struct, frozen=True):
    email: str
    name: str


def email_index(vault: Vault, email: str) -> bytes:
    """Return the keyed digest under which an address is found; one of nothing where it says nothing."""
    key = vault.workspace(NOBODY).derived(_INDEX)
    return blind_index(normal_form(email, Normal.EMAIL) or " ", key=key) or b""


async def create_login(
    tx: Transaction, vault: Vault, wish: LoginWish, *, domains: Sequence[str], giver: frozenset[str] | None
) -> Login:
    """Make a user who is invited and cannot come in yet.

    `giver` holds the permissions of whoever asks (None: the machine's owner, or a provider that was set up by one).
    Raises UnknownRole, GrantTooWide, LoginTaken, and Invalid for an address that is none.
    """
    wanted = permissions_of(wish.roles, domains=domains, custom=await list_roles(tx))
    if giver is not None:
        check_grant(wanted, giver=giver)
    email, name = _checked(wish)
    own = mint(unix_ms=milliseconds(tx.scope.now), entropy=entropy(10))
    sealed = await seal_for(vault, own, msgspec.json.encode(_Sealed(email, name)), workspace=tx.scope.workspace)
    now = tx.scope.now
    row = (own, email_index(vault, email), sealed, list(wish.roles), wish.external_id, now, tx.scope.actor, LOGINS_MAX)
    if (await tx.connection.execute(_INSERT, row)).rowcount != 1:
        raise LoginTaken("Somebody with this e-mail address is a user here.", fix="Look for them in the list.")
    await trace(tx, action="user.invited", resource="user", record_id=own, details={"roles": list(wish.roles)})
    return await find_login(tx, vault, own)


async def list_logins(tx: Transaction, vault: Vault, *, limit: int, after: UUID | None = None) -> list[Login]:
    """Return users in the order in which they were made."""
    query = _COLUMNS + " and (%(after)s::uuid is null or l.id > %(after)s) order by l.id limit %(limit)s"
    rows = await (await tx.connection.execute(query, {"after": after, "limit": limit})).fetchall()
    return await _logins(tx, vault, rows)


async def find_login(tx: Transaction, vault: Vault, login: UUID) -> Login:
    """Return one user; raises LoginMissing."""
    rows = await (await tx.connection.execute(_COLUMNS + " and l.id = %s", (login,))).fetchall()
    return await _one(tx, vault, rows)


async def login_of(tx: Transaction, vault: Vault, email: str) -> Login:
    """Return the user with an e-mail address; raises LoginMissing."""
    query = _COLUMNS + " and l.email_index = %s"
    rows = await (await tx.connection.execute(query, (email_index(vault, email),))).fetchall()
    return await _one(tx, vault, rows)


async def set_roles(
    tx: Transaction,
    vault: Vault,
    login: UUID,
    *,
    roles: Sequence[str],
    domains: Sequence[str],
    giver: frozenset[str] | None,
    own: UUID | None = None,
) -> Login:
    """Give a user other roles, which hold in open sessions within a second.

    The giver must have all that is granted and all that is taken. Raises UnknownRole, GrantTooWide, LoginMissing, and
    OwnLogin for oneself (`own`).
    """
    before = await find_login(tx, vault, login)
    custom = await list_roles(tx)
    wanted = permissions_of(roles, domains=domains, custom=custom)
    _not_oneself(login, own, "Nobody changes their own roles.")
    if giver is not None:
        check_grant(wanted | surviving(before.roles, (), domains=domains, custom=custom), giver=giver)
    await tx.connection.execute(_ROLES, (list(roles), login))
    details = {"before": before.roles, "after": list(roles)}
    await trace(tx, action="user.roles", resource="user", record_id=login, details=details)
    return await find_login(tx, vault, login)


async def rename_login(tx: Transaction, vault: Vault, login: UUID, *, email: str, name: str) -> Login:
    """Write another name and address of a user; raises LoginMissing, LoginTaken and Invalid."""
    await find_login(tx, vault, login)
    checked = _Sealed(*_checked(LoginWish(email=email, name=name)))
    index = email_index(vault, checked.email)
    query: LiteralString = """
    select 1 from person_login where workspace = current_workspace() and email_index = %s and id <> %s
    """
    if await (await tx.connection.execute(query, (index, login))).fetchone():
        raise LoginTaken("Somebody with this e-mail address is a user here.", fix="Look for them in the list.")
    sealed = await seal_for(vault, login, msgspec.json.encode(checked), workspace=tx.scope.workspace)
    await tx.connection.execute(_SEALED, (sealed, index, login))
    await trace(tx, action="user.renamed", resource="user", record_id=login, details={})
    return await find_login(tx, vault, login)


async def disable_login(
    tx: Transaction,
    vault: Vault,
    login: UUID,
    *,
    domains: Sequence[str],
    giver: frozenset[str] | None,
    own: UUID | None = None,
) -> Login:
    """Shut a user out and end their sessions; raises LoginMissing, GrantTooWide, and OwnLogin for oneself."""
    found = await find_login(tx, vault, login)
    _not_oneself(login, own, "Nobody shuts themselves out.")
    await check_above(tx, found, giver=giver, domains=domains)
    if (await tx.connection.execute(_DISABLE, (tx.scope.now, login))).rowcount:
        ended = await end_sessions(tx, login)
        await trace(tx, action="user.disabled", resource="user", record_id=login, details={"sessions": ended})
    return await find_login(tx, vault, login)


async def enable_login(
    tx: Transaction, vault: Vault, login: UUID, *, domains: Sequence[str], giver: frozenset[str] | None
) -> Login:
    """Let a user in again; raises LoginMissing and GrantTooWide."""
    await check_above(tx, await find_login(tx, vault, login), giver=giver, domains=domains)
    if (await tx.connection.execute(_ENABLE, (login,))).rowcount:
        await trace(tx, action="user.enabled", resource="user", record_id=login, details={})
    return await find_login(tx, vault, login)


async def check_above(tx: Transaction, login: Login, *, giver: frozenset[str] | None, domains: Sequence[str]) -> None:
    """Raise GrantTooWide when a user may do more than whoever acts on them."""
    if giver is not None:
        check_grant(surviving(login.roles, (), domains=domains, custom=await list_roles(tx)), giver=giver)


def masked(email: str) -> str:
    """Return an address of which only the first letter and the domain are shown."""
    local, at, domain = email.rpartition("@")
    return f"{local[:1]}…{at}{domain}"


def name_in(plain: bytes) -> str:
    """Return the name in what is sealed of a user."""
    return msgspec.json.decode(plain, type=_Sealed).name


async def seal_for(vault: Vault, subject: UUID, plain: bytes, *, workspace: int) -> bytes:
    """Seal something under a subject, which gets a key where it has none."""

    def seal() -> bytes:
        vault.ensure(workspace=workspace, subjects=[subject])
        return vault.seal_many(workspace=workspace, values=[(subject, plain)])[0]

    return await asyncio.to_thread(seal)


async def open_for(vault: Vault, subject: UUID, sealed: bytes, *, workspace: int) -> bytes | None:
    """Open what was sealed under a subject; None when it was erased."""
    return (await asyncio.to_thread(vault.open_many, workspace=workspace, values=[(subject, sealed)]))[0]


def _not_oneself(login: UUID, own: UUID | None, sentence: str) -> None:
    if login == own:
        raise OwnLogin(sentence, fix="Ask somebody else who may.")


def _checked(wish: LoginWish) -> tuple[str, str]:
    email, name = wish.email.strip(), " ".join(wish.name.split())
    local, at, domain = email.rpartition("@")
    faults: list[Fault] = []
    clean = email.isprintable() and not any(each.isspace() for each in email)
    if not (local and at and domain and clean) or len(email) > EMAIL_CHARACTERS_MAX:
        faults.append(Fault(pointer="/email", code="invalid-email", detail="This is no e-mail address."))
    if not name or not name.isprintable() or len(name) > NAME_CHARACTERS_MAX:
        detail = f"A name has 1 to {NAME_CHARACTERS_MAX} characters."
        faults.append(Fault(pointer="/name", code="invalid-name", detail=detail))
    if faults:
        raise Invalid(" ".join(each.detail for each in faults), fix="Mend it.", faults=tuple(faults))
    return email, name


async def _one(tx: Transaction, vault: Vault, rows: list[TupleRow]) -> Login:
    if not rows:
        raise LoginMissing("There is no such user.", fix="List the users.")
    return (await _logins(tx, vault, rows))[0]


async def _logins(tx: Transaction, vault: Vault, rows: list[TupleRow]) -> list[Login]:
    sealed = [(row[0], bytes(row[1])) for row in rows]
    opened = await asyncio.to_thread(vault.open_many, workspace=tx.scope.workspace, values=sealed)
    return [_login(row, plain) for row, plain in zip(rows, opened, strict=True)]


def _login(row: TupleRow, plain: bytes | None) -> Login:
    known = msgspec.json.decode(plain, type=_Sealed) if plain else _Sealed("", "erased")
    names = ("has_password", "password_long", "has_totp", "created_at", "joined_at", "signed_in_at", "disabled_at")
    values = dict(zip((*names, "passkeys", "recovery_codes", "external_id"), row[3:], strict=True))
    return Login(id=row[0], email=known.email, name=known.name, roles=row[2], **values)
