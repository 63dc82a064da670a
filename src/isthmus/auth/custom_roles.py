"""Roles that a workspace makes itself: named, inherited from others, free of rings. Every change is audited."""

import re
from collections.abc import Sequence
from typing import LiteralString

from isthmus.auth.roles import (
    DOMAIN_ROLES,
    WORKSPACE_ROLES,
    CustomRole,
    GrantTooWide,
    UnknownRole,
    check_grant,
    permissions_of,
    roles_held,
)
from isthmus.auth.trace import trace
from isthmus.kernel.errors import Conflicting, Fault, Invalid, NotFound
from isthmus.store.database import Transaction

__all__ = ["GrantTooWide", "InvalidRole", "RoleInUse", "RoleMissing", "UnknownRole", "list_roles", "remove", "save"]
ROLES_MAX = 200
_NAME = re.compile(r"[a-z][a-z0-9_-]{1,59}")
_LIST: LiteralString = """
select name, about, parents, permissions from custom_role where workspace = current_workspace() order by name
"""
_LOCK: LiteralString = "select pg_advisory_xact_lock(hashtextextended('custom_role', current_workspace()))"
_SAVE: LiteralString = """
insert into custom_role (workspace, name, about, parents, permissions, created_at, created_by)
values (current_workspace(), %(name)s, %(about)s, %(parents)s, %(permissions)s, %(now)s, %(actor)s)
on conflict (workspace, name) do update set about = excluded.about, parents = excluded.parents,
    permissions = excluded.permissions
"""
_REMOVE: LiteralString = "delete from custom_role where workspace = current_workspace() and name = %s"


class RoleMissing(NotFound):
    """The workspace made no such role."""

    code, title = "role-missing", "There is no such role"


class InvalidRole(Invalid):
    """The role cannot be made as it is described."""

    code = "invalid-role"


class RoleInUse(Conflicting):
    """Another role inherits this one."""

    code, title = "role-in-use", "Another role inherits this one"


async def list_roles(tx: Transaction) -> dict[str, CustomRole]:
    """Return the workspace's own roles by name."""
    rows = await (await tx.connection.execute(_LIST)).fetchall()
    return {
        name: CustomRole(name=name, about=about, parents=tuple(parents), permissions=tuple(permissions))
        for name, about, parents, permissions in rows
    }


async def save(tx: Transaction, role: CustomRole, *, domains: Sequence[str], giver: frozenset[str] | None) -> None:
    """Make a role, or make it anew under its name; whoever holds it is held to the new meaning within a second.

    `giver` holds the permissions of whoever asks (None: the machine's owner at the command line). Raises InvalidRole,
    UnknownRole and GrantTooWide.
    """
    await tx.connection.execute(_LOCK)
    custom = await list_roles(tx)
    _check(role, custom, domains)
    allowed = permissions_of(role.parents, role.permissions, domains=domains, custom=custom)
    if not allowed:
        raise _refused("/permissions", "The role would allow nothing.", fix="Name a parent or a permission.")
    if giver is not None:
        check_grant(allowed, giver=giver)
    given = {
        "name": role.name,
        "about": role.about,
        "parents": list(role.parents),
        "permissions": list(role.permissions),
    }
    await tx.connection.execute(_SAVE, {**given, "now": tx.scope.now, "actor": tx.scope.actor})
    before = custom.get(role.name)
    was = {} if before is None else {"parents": list(before.parents), "permissions": list(before.permissions)}
    await trace(tx, action="role.saved", resource="custom_role", record_id=None, details={**given, "before": was})


async def remove(tx: Transaction, name: str) -> None:
    """Take a role away; who holds it loses what it allowed. Raises RoleMissing, and RoleInUse while one inherits it."""
    await tx.connection.execute(_LOCK)
    custom = await list_roles(tx)
    if name not in custom:
        raise RoleMissing(f"There is no role {name!r} of this workspace.", fix="List the roles.")
    heirs = sorted(each.name for each in custom.values() if name in each.parents)
    if heirs:
        raise RoleInUse(f"{', '.join(heirs)} inherits {name}.", fix="Change or remove that role first.")
    await tx.connection.execute(_REMOVE, (name,))
    await trace(tx, action="role.removed", resource="custom_role", record_id=None, details={"name": name})


def _check(role: CustomRole, custom: dict[str, CustomRole], domains: Sequence[str]) -> None:
    if not _NAME.fullmatch(role.name) or role.name in {*WORKSPACE_ROLES, *DOMAIN_ROLES}:
        raise _refused(
            "/name",
            f"{role.name[:60]!r} cannot be the name of a role.",
            fix="Use 2 to 60 of a-z, 0-9, _ and -, a letter first, and no name that a built-in role has.",
        )
    if role.name not in custom and len(custom) >= ROLES_MAX:
        raise _refused("", f"There are {ROLES_MAX} roles.", fix="Remove those that nobody holds.")
    if len(set(role.parents)) != len(role.parents):
        raise _refused("/parents", "A parent is named twice.", fix="Name each parent once.")
    for index, parent in enumerate(role.parents):
        if role.name in roles_held((parent,), domains=domains, custom={role.name: role, **custom}):
            raise _refused(
                f"/parents/{index}", f"{parent} inherits {role.name} already.", fix="A role cannot inherit itself."
            )


def _refused(pointer: str, detail: str, *, fix: str) -> InvalidRole:
    return InvalidRole(detail, fix=fix, faults=(Fault(pointer=pointer, code=InvalidRole.code, detail=detail),))
