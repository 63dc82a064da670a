"""Groups of a provisioning client. The role of a group is held by its members as long as they are in it."""

from collections.abc import Iterable, Mapping
from typing import LiteralString
from uuid import UUID

from psycopg.errors import UniqueViolation
from psycopg.rows import TupleRow

from isthmus.auth.custom_roles import list_roles
from isthmus.auth.people.logins import USER_PREFIX, set_roles
from isthmus.auth.roles import DOMAIN_ROLES, WORKSPACE_ROLES, UnknownRole, check_grant, permissions_of
from isthmus.auth.scim.attributes import MEMBERS_MAX, Document, Kind, groups, read_document
from isthmus.auth.scim.errors import NameTaken, ScimRefused
from isthmus.auth.scim.evaluating import listed, looked_up, meets
from isthmus.auth.scim.filters import Filter
from isthmus.auth.scim.patching import changed
from isthmus.auth.scim.shown import Found, Shown, shown
from isthmus.auth.scim.users import GROUP_PREFIX, Provisioning, missing
from isthmus.auth.trace import trace
from isthmus.kernel.clock import milliseconds
from isthmus.kernel.ids import InvalidId, mint, text_of, uuid_of
from isthmus.kernel.marks import Json
from isthmus.store.database import Transaction
from isthmus.vault import entropy

GROUPS_MAX = 1_000
NAME_CHARACTERS_MAX = 200
INDEXED = ("id", "displayName", "externalId", "members.value")
_SELECT: LiteralString = """
select g.id, g.name, g.external_id, g.role, g.created_at, g.updated_at,
       array(select m.login from provisioned_member m
             where m.workspace = g.workspace and m.group_id = g.id order by m.login)
from provisioned_group g where g.workspace = current_workspace()
"""
_COUNT: LiteralString = "select count(*) from provisioned_group where workspace = current_workspace()"
_BY: dict[str, LiteralString] = {
    "id": " and g.id = %s",
    "displayName": " and lower(g.name) = lower(%s)",
    "externalId": " and g.external_id = %s",
    "members.value": """
 and g.id in (select group_id from provisioned_member where workspace = current_workspace() and login = %s)""",
}
_LOCK: LiteralString = "select 1 from provisioned_group where workspace = current_workspace() and id = %s for update"
_INSERT: LiteralString = """
insert into provisioned_group (workspace, id, name, external_id, role, created_at, updated_at)
values (current_workspace(), %(id)s, %(name)s, %(external)s, %(role)s, %(now)s, %(now)s)
"""
_UPDATE: LiteralString = """
update provisioned_group set name = %(name)s, external_id = %(external)s, role = %(role)s, updated_at = %(now)s
where workspace = current_workspace() and id = %(id)s
"""
_DELETE: LiteralString = "delete from provisioned_group where workspace = current_workspace() and id = %s"
_JOIN: LiteralString = """
insert into provisioned_member (workspace, group_id, login)
select current_workspace(), %s, unnest(%s::uuid[]) on conflict do nothing
"""
_LEAVE: LiteralString = """
delete from provisioned_member where workspace = current_workspace() and group_id = %s and login = any(%s)
"""
_KNOWN: LiteralString = """
select l.id from person_login l left join provisioned_login p on p.workspace = l.workspace and p.login = l.id
where l.workspace = current_workspace() and l.id = any(%s) and p.removed_at is null
"""
_HOLDERS: LiteralString = """
select l.id, l.roles, coalesce(p.granted, '{}'),
       array(select distinct g.role from provisioned_member m
             join provisioned_group g on g.workspace = m.workspace and g.id = m.group_id
             where m.workspace = l.workspace and m.login = l.id and g.role <> '' order by g.role)
from person_login l left join provisioned_login p on p.workspace = l.workspace and p.login = l.id
where l.workspace = current_workspace() and l.id = any(%s) order by l.id for update of l
"""
_GRANTED: LiteralString = """
insert into provisioned_login (workspace, login, granted, updated_at) values (current_workspace(), %s, %s, %s)
on conflict (workspace, login) do update set granted = excluded.granted
"""


async def kind_of_groups(tx: Transaction, ours: Provisioning) -> Kind:
    """Return the type of groups, with the roles that there are in this workspace."""
    own = [f"{domain}.{role}" for domain in ours.domains for role in DOMAIN_ROLES]
    return groups((*WORKSPACE_ROLES, *DOMAIN_ROLES, *own, *await list_roles(tx)))


async def list_groups(
    tx: Transaction, ours: Provisioning, kind: Kind, *, wanted: Filter | None, start: int, count: int
) -> Found:
    """Return groups from the `start`-th on (from 1), at most `count`; raises InvalidFilter."""
    if wanted is None:
        total = await (await tx.connection.execute(_COUNT)).fetchone()
        rows = await _rows(tx, " order by g.id offset %s limit %s", (start - 1, count))
        return Found(tuple(_resource(ours, kind, row) for row in rows), total[0] if total else 0)
    meets({}, wanted, kind)
    named = looked_up(wanted, kind, INDEXED)
    rows = await _rows(tx, " order by g.id", ()) if named is None else await _rows_by(tx, *named)
    found = [each for each in (_resource(ours, kind, row) for row in rows) if meets(each.document, wanted, kind)]
    return Found(tuple(found[start - 1 : start - 1 + count]), len(found))


async def find_group(tx: Transaction, ours: Provisioning, kind: Kind, group_id: str) -> Shown:
    """Return one group; raises ResourceMissing."""
    rows = await _rows(tx, _BY["id"], (_uuid(group_id),))
    if not rows:
        raise missing()
    return _resource(ours, kind, rows[0])


async def create_group(tx: Transaction, ours: Provisioning, kind: Kind, given: dict[str, Json]) -> Shown:
    """Make a group; one that is named like a role holds that role, unless it says which it holds.

    Raises ScimRefused, NameTaken and GrantTooWide.
    """
    document = _checked(read_document(given, kind))
    name, (own_role,) = str(document["displayName"]), kind.extended
    role = _role(document) or (name if name in own_role.canonical else "")
    await _check_role(tx, ours, role)
    count = await (await tx.connection.execute(_COUNT)).fetchone()
    if count is not None and count[0] >= GROUPS_MAX:
        raise ScimRefused(f"There are {GROUPS_MAX} groups.", fix="Provision fewer.")
    own = mint(unix_ms=milliseconds(tx.scope.now), entropy=entropy(10))
    await _store(tx, _INSERT, own, document, role)
    await trace(tx, action="group.created", resource="group", record_id=own, details={"name": name, "role": role})
    await _admit(tx, ours, own, _members(document))
    return await find_group(tx, ours, kind, text_of(GROUP_PREFIX, own))


async def replace_group(
    tx: Transaction, ours: Provisioning, kind: Kind, before: Shown, given: dict[str, Json]
) -> Shown:
    """Write a group anew; one that says no role keeps the one it has. Raises ScimRefused, NameTaken, GrantTooWide."""
    kept = {name: value for name, value in read_document(before.document, kind).items() if name == "role"}
    return await _write(tx, ours, kind, before, {**kept, **read_document(given, kind)})


async def patch_group(tx: Transaction, ours: Provisioning, kind: Kind, before: Shown, given: dict[str, Json]) -> Shown:
    """Change a group by operations, all or none; raises ScimRefused, NameTaken and GrantTooWide."""
    return await _write(tx, ours, kind, before, changed(read_document(before.document, kind), given, kind))


async def remove_group(tx: Transaction, ours: Provisioning, kind: Kind, group_id: str) -> None:
    """Take a group away, and what its members held by it; raises ResourceMissing and GrantTooWide."""
    own = await lock_group(tx, group_id)
    before = await find_group(tx, ours, kind, group_id)
    await _check_role(tx, ours, _role(read_document(before.document, kind)), known=True)
    members = _members(before.document)
    await tx.connection.execute(_LEAVE, (own, list(members)))
    await tx.connection.execute(_DELETE, (own,))
    await _regrant(tx, ours, members)
    await trace(tx, action="group.removed", resource="group", record_id=own, details={})


async def lock_group(tx: Transaction, group_id: str) -> UUID:
    """Let nobody else change a group until this transaction ends; raises ResourceMissing."""
    own = _uuid(group_id)
    if await (await tx.connection.execute(_LOCK, (own,))).fetchone() is None:
        raise missing()
    return own


async def _write(tx: Transaction, ours: Provisioning, kind: Kind, before: Shown, document: Document) -> Shown:
    own_id = str(before.document["id"])
    own = _uuid(own_id)
    _checked(document)
    was = read_document(before.document, kind)
    role, role_before = _role(document), _role(was)
    if role != role_before:
        await _check_role(tx, ours, role)
    await _check_role(tx, ours, role_before, known=True)
    await _store(tx, _UPDATE, own, document, role)
    members, members_before = _members(document), _members(was)
    details: dict[str, Json] = {
        "before": {"name": was["displayName"], "role": role_before},
        "after": {"name": document["displayName"], "role": role},
        "joined": [text_of(USER_PREFIX, each) for each in sorted(members - members_before)],
        "left": [text_of(USER_PREFIX, each) for each in sorted(members_before - members)],
    }
    await trace(tx, action="group.changed", resource="group", record_id=own, details=details)
    await tx.connection.execute(_LEAVE, (own, list(members_before - members)))
    await _admit(tx, ours, own, members - members_before)
    affected = (members | members_before) if role != role_before else (members_before - members)
    await _regrant(tx, ours, affected)
    return await find_group(tx, ours, kind, own_id)


async def _admit(tx: Transaction, ours: Provisioning, own: UUID, members: set[UUID]) -> None:
    rows = await (await tx.connection.execute(_KNOWN, (list(members),))).fetchall()
    if strangers := members - {row[0] for row in rows}:
        stranger = text_of(USER_PREFIX, min(strangers))
        raise ScimRefused(f"There is no user {stranger}.", fix="Make the user first, then the member.")
    await tx.connection.execute(_JOIN, (own, list(members)))
    await _regrant(tx, ours, members)


async def _regrant(tx: Transaction, ours: Provisioning, logins: Iterable[UUID]) -> None:
    """Give users the roles of their groups, beside those that they were given otherwise."""
    rows = await (await tx.connection.execute(_HOLDERS, (list(logins),))).fetchall()
    for login, held, granted, by_groups in rows:
        direct = [each for each in held if each not in granted]
        new = [each for each in by_groups if each not in direct]
        if new == list(granted) and direct + new == held:
            continue
        if sorted(direct + new) != sorted(held):
            await set_roles(
                tx, ours.vault, login, roles=direct + new, domains=ours.domains, giver=ours.giver, own=ours.own
            )
        await tx.connection.execute(_GRANTED, (login, new, tx.scope.now))


async def _check_role(tx: Transaction, ours: Provisioning, role: str, *, known: bool = False) -> None:
    """Raise GrantTooWide for a role beyond the giver's own; a `known` one may be gone meanwhile."""
    custom = await list_roles(tx)
    try:
        wanted = permissions_of((role,) if role else (), domains=ours.domains, custom=custom)
    except UnknownRole as unknown:
        if known:
            return
        raise ScimRefused(unknown.faults[0].detail, fix="Name a role that there is.") from unknown
    check_grant(wanted, giver=ours.giver)


async def _store(tx: Transaction, query: LiteralString, own: UUID, document: Document, role: str) -> None:
    name, external = str(document["displayName"]), document.get("externalId")
    given: Mapping[str, object] = {
        "id": own,
        "name": name,
        "external": external,
        "role": role,
        "now": tx.scope.now,
    }
    try:
        async with tx.connection.transaction():
            await tx.connection.execute(query, given)
    except UniqueViolation as violation:
        raise NameTaken("A group has this name.", fix="Find it by a filter, and change it.") from violation


async def _rows(tx: Transaction, more: LiteralString, values: tuple[object, ...]) -> list[TupleRow]:
    return await (await tx.connection.execute(_SELECT + more, values)).fetchall()


async def _rows_by(tx: Transaction, name: str, text: str) -> list[TupleRow]:
    value: object = text
    if name in {"id", "members.value"}:
        try:
            value = uuid_of(GROUP_PREFIX if name == "id" else USER_PREFIX, text)
        except InvalidId:
            return []
    return await _rows(tx, _BY[name] + " order by g.id", (value,))


def _resource(ours: Provisioning, kind: Kind, row: TupleRow) -> Shown:
    own, name, external, role, made, updated, members = row
    document: Document = {"displayName": name}
    if external:
        document["externalId"] = external
    if members:
        document["members"] = [_member(ours, each) for each in members]
    if role:
        document["role"] = role
    own_id = text_of(GROUP_PREFIX, own)
    return shown(kind, document, own_id=own_id, base=ours.base, made=made, changed=updated)


def _member(ours: Provisioning, login: UUID) -> Json:
    own_id = text_of(USER_PREFIX, login)
    return {"value": own_id, "$ref": f"{ours.base}/Users/{own_id}", "type": "User"}


def _checked(document: Document) -> Document:
    name = document.get("displayName")
    if not isinstance(name, str) or not name.strip() or len(name) > NAME_CHARACTERS_MAX:
        raise ScimRefused(f"`displayName` has 1 to {NAME_CHARACTERS_MAX} characters.", fix="Send such a name.")
    return document


def _role(document: Document) -> str:
    return str(document.get("role") or "")


def _members(document: Document) -> set[UUID]:
    """Return the ids of members; raises ScimRefused for what is no user's id."""
    found: set[UUID] = set()
    for each in listed(document.get("members")):
        text = str(each.get("value") or "") if isinstance(each, dict) else ""
        try:
            found.add(uuid_of(USER_PREFIX, text))
        except InvalidId as error:
            raise ScimRefused(f"{text[:60]!r} is no id of a user.", fix="Groups hold users only.") from error
    if len(found) > MEMBERS_MAX:
        raise ScimRefused(f"There are over {MEMBERS_MAX} members.", fix="Use several groups.")
    return found


def _uuid(group_id: str) -> UUID:
    try:
        return uuid_of(GROUP_PREFIX, group_id)
    except InvalidId as error:
        raise missing() from error
