"""Users as a provisioning client sees them: every user of the workspace, with what the client told of them.

Whoever provisions can do no more than its own permissions: it neither makes nor changes users who may do more.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import LiteralString
from uuid import UUID

import msgspec
from msgspec import Struct
from psycopg.rows import TupleRow

from isthmus.auth.people.errors import LoginTaken
from isthmus.auth.people.links import forget_factors
from isthmus.auth.people.logins import (
    NAME_CHARACTERS_MAX,
    USER_PREFIX,
    LoginWish,
    check_above,
    create_login,
    disable_login,
    email_index,
    enable_login,
    find_login,
    rename_login,
    seal_for,
)
from isthmus.auth.scim.attributes import USERS, Document, read_document
from isthmus.auth.scim.errors import NameTaken, ResourceMissing, ScimRefused
from isthmus.auth.scim.evaluating import listed, looked_up, meets
from isthmus.auth.scim.filters import Filter
from isthmus.auth.scim.patching import changed
from isthmus.auth.scim.shown import Found, Shown, shown
from isthmus.auth.trace import trace
from isthmus.kernel.errors import Invalid
from isthmus.kernel.ids import InvalidId, text_of, uuid_of
from isthmus.kernel.marks import Json, Normal
from isthmus.store.database import Transaction
from isthmus.vault import Vault, blind_index, entropy, normal_form

GROUP_PREFIX = "group"
INDEXED = ("id", "userName", "emails.value", "externalId")
_NAMES, _EXTERNAL = "provisioned names", "provisioned external ids"
_SELECT: LiteralString = """
select l.id, l.sealed, p.sealed, l.disabled_at is null, l.created_at, coalesce(p.updated_at, l.created_at),
       array(select g.id::text || ' ' || g.name from provisioned_member m
             join provisioned_group g on g.workspace = m.workspace and g.id = m.group_id
             where m.workspace = l.workspace and m.login = l.id order by g.id)
from person_login l left join provisioned_login p on p.workspace = l.workspace and p.login = l.id
where l.workspace = current_workspace() and p.removed_at is null
"""
_COUNT: LiteralString = """
select count(*) from person_login l left join provisioned_login p on p.workspace = l.workspace and p.login = l.id
where l.workspace = current_workspace() and p.removed_at is null
"""
_LOCK: LiteralString = "select 1 from person_login where workspace = current_workspace() and id = %s for update"
_BY: dict[str, LiteralString] = {
    "id": " and l.id = %s",
    "userName": " and (p.name_index = %s or (p.name_index is null and l.email_index = %s))",
    "emails.value": " and l.email_index = %s",
    "externalId": " and p.external_index = %s",
}
_SAVE: LiteralString = """
insert into provisioned_login (workspace, login, name_index, external_index, sealed, updated_at)
values (current_workspace(), %(login)s, %(name)s, %(external)s, %(sealed)s, %(now)s)
on conflict (workspace, login) do update set name_index = excluded.name_index,
    external_index = excluded.external_index, sealed = excluded.sealed, updated_at = excluded.updated_at
"""
_TAKEN: LiteralString = """
select 1 from person_login l left join provisioned_login p on p.workspace = l.workspace and p.login = l.id
where l.workspace = current_workspace() and l.id is distinct from %(login)s and p.removed_at is null
  and (p.name_index = %(name)s or (p.name_index is null and l.email_index = %(email)s))
"""
_REMOVE: LiteralString = """
insert into provisioned_login (workspace, login, updated_at, removed_at)
values (current_workspace(), %(login)s, %(now)s, %(now)s)
on conflict (workspace, login) do update set name_index = null, external_index = null, sealed = null, granted = '{}',
    updated_at = excluded.updated_at, removed_at = excluded.removed_at
"""
_BLANK: LiteralString = """
update person_login set email_index = %s, sealed = %s, roles = '{}', password = null
where workspace = current_workspace() and id = %s
"""
_LEAVE: LiteralString = "delete from provisioned_member where workspace = current_workspace() and login = %s"
_FORGET: tuple[LiteralString, ...] = (
    "delete from upstream_identity where workspace = current_workspace() and login = %s",
    "delete from saml_identity where workspace = current_workspace() and login = %s",
    "delete from login_link where workspace = current_workspace() and login = %s",
)


@dataclass(frozen=True, kw_only=True)
class Provisioning:
    """What provisioning works with; `giver` holds the permissions of whoever asks, `base` is the service's address."""

    vault: Vault
    domains: Sequence[str]
    base: str
    giver: frozenset[str] = field(repr=False)
    own: UUID | None = None


class _Named(Struct, frozen=True):
    email: str
    name: str


async def list_users(tx: Transaction, ours: Provisioning, *, wanted: Filter | None, start: int, count: int) -> Found:
    """Return users from the `start`-th on (from 1), at most `count`; raises InvalidFilter.

    A filter that asks for an id, a name, an address or an external id reads those users only; any other reads all.
    """
    if wanted is None:
        total = await (await tx.connection.execute(_COUNT)).fetchone()
        rows = await _rows(tx, " order by l.id offset %s limit %s", (start - 1, count))
        return Found(tuple(await _shown(tx, ours, rows)), total[0] if total else 0)
    meets({}, wanted, USERS)
    named = looked_up(wanted, USERS, INDEXED)
    if named is None:
        rows = await _rows(tx, " order by l.id", ())
    else:
        rows = await _rows_by(tx, ours, *named)
    found = [each for each in await _shown(tx, ours, rows) if meets(each.document, wanted, USERS)]
    return Found(tuple(found[start - 1 : start - 1 + count]), len(found))


async def find_user(tx: Transaction, ours: Provisioning, user_id: str) -> Shown:
    """Return one user; raises ResourceMissing."""
    rows = await _rows(tx, _BY["id"], (_uuid(user_id),))
    if not rows:
        raise missing()
    return (await _shown(tx, ours, rows))[0]


async def create_user(tx: Transaction, ours: Provisioning, given: dict[str, Json]) -> Shown:
    """Make a user, without a password and without roles; raises ScimRefused and NameTaken."""
    document = _checked(read_document(given, USERS))
    await _check_name(tx, ours, document, login=None)
    wish = LoginWish(email=_email(document), name=_name(document))
    try:
        login = await create_login(tx, ours.vault, wish, domains=ours.domains, giver=ours.giver)
    except LoginTaken as taken:
        raise _taken() from taken
    except Invalid as invalid:
        raise ScimRefused(invalid.detail, fix=invalid.fix) from invalid
    await _save(tx, ours, login.id, document)
    if document.get("active") is False:
        await disable_login(tx, ours.vault, login.id, domains=ours.domains, giver=ours.giver, own=ours.own)
    return await find_user(tx, ours, text_of(USER_PREFIX, login.id))


async def replace_user(
    tx: Transaction, ours: Provisioning, before: Shown, given: dict[str, Json], *, user_id: str
) -> Shown:
    """Write a user anew; who is not said to be active or not stays as they are. Raises ScimRefused and NameTaken."""
    document = {"active": before.document["active"], **read_document(given, USERS)}
    return await _write(tx, ours, before, document, user_id=user_id)


async def patch_user(
    tx: Transaction, ours: Provisioning, before: Shown, given: dict[str, Json], *, user_id: str
) -> Shown:
    """Change a user by operations, all or none; raises ScimRefused and NameTaken."""
    document = changed(read_document(before.document, USERS), given, USERS)
    return await _write(tx, ours, before, document, user_id=user_id)


async def remove_user(tx: Transaction, ours: Provisioning, user_id: str) -> None:
    """Shut a user out and forget who they are: address, name, factors, groups; the audit log keeps the id.

    Raises ResourceMissing, GrantTooWide and OwnLogin.
    """
    login = await lock_user(tx, user_id)
    await disable_login(tx, ours.vault, login, domains=ours.domains, giver=ours.giver, own=ours.own)
    await forget_factors(tx, login)
    blank = msgspec.json.encode(_Named("", "removed"))
    sealed = await seal_for(ours.vault, login, blank, workspace=tx.scope.workspace)
    await tx.connection.execute(_BLANK, (entropy(16), sealed, login))
    for query in (_LEAVE, *_FORGET):
        await tx.connection.execute(query, (login,))
    await tx.connection.execute(_REMOVE, {"login": login, "now": tx.scope.now})
    await trace(tx, action="user.removed", resource="user", record_id=login, details={})


async def lock_user(tx: Transaction, user_id: str) -> UUID:
    """Let nobody else change a user until this transaction ends; raises ResourceMissing."""
    login = _uuid(user_id)
    if await (await tx.connection.execute(_LOCK, (login,))).fetchone() is None:
        raise missing()
    if not await _rows(tx, _BY["id"], (login,)):
        raise missing()
    return login


def missing() -> ResourceMissing:
    """Return the refusal of what is not there."""
    return ResourceMissing("There is no such resource.", fix="List the resources of this type.")


async def _write(tx: Transaction, ours: Provisioning, before: Shown, document: Document, *, user_id: str) -> Shown:
    login = _uuid(user_id)
    _checked(document)
    found = await find_login(tx, ours.vault, login)
    await check_above(tx, found, giver=ours.giver, domains=ours.domains)
    await _check_name(tx, ours, document, login=login)
    email, name = _email(document), _name(document)
    if (email, name) != (found.email, found.name):
        try:
            await rename_login(tx, ours.vault, login, email=email, name=name)
        except LoginTaken as taken:
            raise _taken() from taken
        except Invalid as invalid:
            raise ScimRefused(invalid.detail, fix=invalid.fix) from invalid
    await _save(tx, ours, login, document)
    active = document.get("active", before.document["active"])
    if active != before.document["active"]:
        if active:
            await enable_login(tx, ours.vault, login, domains=ours.domains, giver=ours.giver)
        else:
            await disable_login(tx, ours.vault, login, domains=ours.domains, giver=ours.giver, own=ours.own)
    after = await find_user(tx, ours, user_id)
    names = sorted(key for key, value in after.document.items() if before.document.get(key) != value)
    gone = sorted(before.document.keys() - after.document.keys())
    changes = [each for each in (*names, *gone) if each != "meta"]
    await trace(tx, action="user.provisioned", resource="user", record_id=login, details={"changed": changes})
    return after


async def _save(tx: Transaction, ours: Provisioning, login: UUID, document: Document) -> None:
    kept = {name: value for name, value in document.items() if name != "active"}
    sealed = await seal_for(ours.vault, login, msgspec.json.encode(kept), workspace=tx.scope.workspace)
    external = document.get("externalId")
    given = {
        "login": login,
        "name": _index(tx, ours, _NAMES, str(document["userName"])),
        "external": _external(tx, ours, external) if isinstance(external, str) else None,
        "sealed": sealed,
        "now": tx.scope.now,
    }
    await tx.connection.execute(_SAVE, given)


async def _check_name(tx: Transaction, ours: Provisioning, document: Document, *, login: UUID | None) -> None:
    name = str(document["userName"])
    given = {"login": login, "name": _index(tx, ours, _NAMES, name), "email": email_index(ours.vault, name)}
    if await (await tx.connection.execute(_TAKEN, given)).fetchone() is not None:
        raise _taken()


async def _rows(tx: Transaction, more: LiteralString, values: tuple[object, ...]) -> list[TupleRow]:
    return await (await tx.connection.execute(_SELECT + more, values)).fetchall()


async def _rows_by(tx: Transaction, ours: Provisioning, name: str, text: str) -> list[TupleRow]:
    match name:
        case "id":
            try:
                values: tuple[object, ...] = (uuid_of(USER_PREFIX, text),)
            except InvalidId:
                return []
        case "userName":
            values = (_index(tx, ours, _NAMES, text), email_index(ours.vault, text))
        case "emails.value":
            return await _rows_by_email(tx, ours, text)
        case _:
            values = (_external(tx, ours, text),)
    return await _rows(tx, _BY[name] + " order by l.id", values)


async def _rows_by_email(tx: Transaction, ours: Provisioning, text: str) -> list[TupleRow]:
    """Look users up by the address they sign in with; further addresses are only in what is sealed of them."""
    rows = await _rows(tx, _BY["emails.value"], (email_index(ours.vault, text),))
    return rows or await _rows(tx, " order by l.id", ())


async def _shown(tx: Transaction, ours: Provisioning, rows: Sequence[TupleRow]) -> list[Shown]:
    sealed = [(row[0], bytes(row[1])) for row in rows] + [(row[0], bytes(row[2])) for row in rows if row[2]]
    opened = await asyncio.to_thread(ours.vault.open_many, workspace=tx.scope.workspace, values=sealed)
    told = iter(opened[len(rows) :])
    return [
        _resource(ours, row, plain, next(told) if row[2] else None)
        for row, plain in zip(rows, opened[: len(rows)], strict=True)
    ]


def _resource(ours: Provisioning, row: TupleRow, plain: bytes | None, told: bytes | None) -> Shown:
    own, _, _, active, made, updated, groups = row
    login = msgspec.json.decode(plain, type=_Named) if plain else _Named("", "erased")
    document: Document = msgspec.json.decode(told, type=dict[str, Json]) if told else {"userName": login.email}
    document = {**document, "emails": _emails(document, login.email), "active": bool(active)}
    if _name(document) != login.name:
        document["displayName"] = login.name  # It was changed here since the client told it.
    if groups:
        document["groups"] = [_group(ours, *str(each).split(" ", 1)) for each in groups]
    updated_at: datetime = updated
    own_id = text_of(USER_PREFIX, own)
    return shown(USERS, document, own_id=own_id, base=ours.base, made=made, changed=updated_at)


def _group(ours: Provisioning, own: str, name: str) -> Json:
    own_id = text_of(GROUP_PREFIX, UUID(own))
    return {"value": own_id, "$ref": f"{ours.base}/Groups/{own_id}", "display": name}


def _emails(document: Document, email: str) -> list[Json]:
    """Return the addresses that were told, with the one for signing in among them."""
    told = listed(document.get("emails"))
    if any(isinstance(each, dict) and str(each.get("value")).casefold() == email.casefold() for each in told):
        return told
    others = [each for each in told if isinstance(each, dict) and each.get("primary") is not True]
    return [{"value": email, "primary": True}, *others]


def _checked(document: Document) -> Document:
    if not document.get("userName"):
        raise ScimRefused("`userName` is missing.", fix="Send it.")
    if not _email(document):
        raise ScimRefused(
            "There is no e-mail address.", fix="Send one in `emails`, or an address as `userName`: one signs in by it."
        )
    return document


def _email(document: Document) -> str:
    """Return the address for signing in: the primary one, else that for work, else the first, else the user name."""
    told = [each for each in listed(document.get("emails")) if isinstance(each, dict) and each.get("value")]
    ranked = sorted(told, key=lambda each: (each.get("primary") is not True, each.get("type") != "work"))
    if ranked:
        return str(ranked[0]["value"]).strip()
    name = str(document.get("userName", ""))
    return name.strip() if "@" in name else ""


def _name(document: Document) -> str:
    """Return the name as it is shown."""
    own = document.get("name")
    parts = own if isinstance(own, dict) else {}
    whole = " ".join(str(parts[each]) for each in ("givenName", "familyName") if each in parts)
    text = document.get("displayName") or parts.get("formatted") or whole or document.get("userName") or ""
    return " ".join(str(text).split())[:NAME_CHARACTERS_MAX].strip()


def _index(tx: Transaction, ours: Provisioning, purpose: str, text: str) -> bytes:
    key = ours.vault.workspace(tx.scope.workspace).derived(purpose)
    return blind_index(normal_form(text, Normal.EMAIL) or " ", key=key) or b""


def _external(tx: Transaction, ours: Provisioning, text: str) -> bytes:
    return blind_index(text or " ", key=ours.vault.workspace(tx.scope.workspace).derived(_EXTERNAL)) or b""


def _uuid(user_id: str) -> UUID:
    try:
        return uuid_of(USER_PREFIX, user_id)
    except InvalidId as error:
        raise missing() from error


def _taken() -> NameTaken:
    return NameTaken("A user has this name or this e-mail address.", fix="Find them by a filter, and change them.")
