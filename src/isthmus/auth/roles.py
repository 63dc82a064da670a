"""Roles compiled to permission sets: a role is named once and asked for never, a permission is what a route asks for.

    owner                 everything in the workspace
    <domain>.admin        editor, and: administer, connections and their conflicts
    <domain>.editor       analyst, and: write, personal fields
    <domain>.analyst      viewer, and: aggregates of its own making
    <domain>.viewer       read, with personal fields masked
    <domain>.integration  read and write, personal fields masked: for machines
    auditor               the audit log and compliance reports only
    privacy_officer       privacy, the audit log, and all records with their personal fields

A domain role without its domain (`viewer`) holds in every domain. A workspace adds roles of its own, which hold what
their parents hold and more. Silence denies.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from isthmus.kernel.errors import Denied, Fault, Invalid

AREAS = {
    "sync": ("read", "write"),
    "stream": ("read", "write"),
    "gateway": ("read", "write", "use"),
    "audit": ("read",),
    "privacy": ("read", "write"),
}
DOMAIN_VERBS = ("read", "analyse", "read_personal", "write", "administer")
_LADDER = {
    "viewer": ("read",),
    "analyst": ("read", "analyse"),
    "editor": ("read", "analyse", "read_personal", "write"),
    "admin": DOMAIN_VERBS,
    "integration": ("read", "write"),
}
_ALONGSIDE = {"editor": ("sync:read",), "admin": ("sync:read", "sync:write", "stream:read", "gateway:read")}
DOMAIN_ROLES = tuple(_LADDER)
WORKSPACE_ROLES = ("owner", "auditor", "privacy_officer")


@dataclass(frozen=True, kw_only=True)
class CustomRole:
    """A role that a workspace made: everything its parents hold, and single permissions."""

    name: str
    about: str = ""
    parents: tuple[str, ...] = ()
    permissions: tuple[str, ...] = ()


Custom: TypeAlias = Mapping[str, CustomRole]
NO_CUSTOM: Custom = {}


class UnknownRole(Invalid):
    """There is no such role or permission."""

    code, title = "unknown-role", "There is no such role or permission"


class GrantTooWide(Denied):
    """Nobody grants what they do not have."""

    code, title = "grant-too-wide", "The grant is wider than that of its giver"


def all_permissions(*, domains: Sequence[str]) -> frozenset[str]:
    """Return every permission there is."""
    own = {f"{domain}:{verb}" for domain in domains for verb in DOMAIN_VERBS}
    return frozenset(own | {f"{area}:{verb}" for area, verbs in AREAS.items() for verb in verbs})


def permissions_of(
    roles: Iterable[str],
    permissions: Iterable[str] = (),
    *,
    domains: Sequence[str],
    pointer: str = "",
    custom: Custom = NO_CUSTOM,
) -> frozenset[str]:
    """Return what roles and single permissions (`x:read`, or `x:*` for a whole area) allow together.

    Raises UnknownRole with a fault for each that does not exist, below `pointer`/roles and `pointer`/permissions.
    """
    known = all_permissions(domains=domains)
    allowed: set[str] = set()
    faults: list[Fault] = []
    for index, role in enumerate(roles):
        granted = _role(role, domains, custom)
        if granted is None:
            names = ", ".join((*WORKSPACE_ROLES, *DOMAIN_ROLES, *custom))
            detail = f"There is no role {role!r}. Roles are {names}."
            faults.append(Fault(pointer=f"{pointer}/roles/{index}", code=UnknownRole.code, detail=detail))
        allowed |= granted or set()
    for index, permission in enumerate(permissions):
        granted = _permitted(permission, known)
        if not granted:
            detail = f"There is no permission {permission!r}."
            faults.append(Fault(pointer=f"{pointer}/permissions/{index}", code=UnknownRole.code, detail=detail))
        allowed |= granted
    if faults:
        raise UnknownRole("A role or permission does not exist.", fix="Mend what `errors` names.", faults=tuple(faults))
    return frozenset(allowed)


def surviving(
    roles: Iterable[str], permissions: Iterable[str], *, domains: Sequence[str], custom: Custom = NO_CUSTOM
) -> frozenset[str]:
    """Return what a stored grant allows now; what was granted and no longer exists allows nothing."""
    known = all_permissions(domains=domains)
    allowed = {each for role in roles for each in _role(role, domains, custom) or ()}
    for permission in permissions:
        allowed |= _permitted(permission, known)
    return frozenset(allowed)


def is_built_in(role: str, *, domains: Sequence[str]) -> bool:
    """Tell whether a role is there in every workspace."""
    return _built_in(role, domains) is not None


def roles_held(roles: Iterable[str], *, domains: Sequence[str], custom: Custom = NO_CUSTOM) -> frozenset[str]:
    """Return these roles and every role they inherit: `sales.editor` holds `sales.analyst` and `sales.viewer` too.

    A role without its domain is told apart from the same in each domain, and holds those. What is no role is left out.
    """
    held: set[str] = set()
    waiting = list(roles)
    while waiting:
        role = waiting.pop()
        if role not in held and (role in custom or is_built_in(role, domains=domains)):
            held.add(role)
            waiting += custom[role].parents if role in custom else _inherited(role, domains)
    return frozenset(held)


def granting(
    permission: str, roles: Iterable[str], *, domains: Sequence[str], custom: Custom = NO_CUSTOM
) -> tuple[str, ...]:
    """Return those of the roles that hold a permission, in their order."""
    return tuple(role for role in roles if permission in (_role(role, domains, custom) or ()))


def check_grant(wanted: frozenset[str], *, giver: frozenset[str]) -> None:
    """Raise GrantTooWide unless the giver has everything that is to be granted."""
    if missing := sorted(wanted - giver):
        raise GrantTooWide(
            f"You do not have {', '.join(missing[:5])} yourself.", fix="Ask somebody who has it, or grant less."
        )


def _permitted(permission: str, known: frozenset[str]) -> set[str]:
    return {each for each in known if each == permission or f"{each.partition(':')[0]}:*" == permission}


def _role(role: str, domains: Sequence[str], custom: Custom) -> set[str] | None:
    """Return what a role allows, or None when there is no such role; a role within itself adds nothing."""
    if role not in custom:
        return _built_in(role, domains)
    known = all_permissions(domains=domains)
    allowed: set[str] = set()
    for each in roles_held((role,), domains=domains, custom=custom):
        if each in custom:
            allowed = allowed.union(*(_permitted(one, known) for one in custom[each].permissions))
        else:
            allowed |= _built_in(each, domains) or set()
    return allowed


def _inherited(role: str, domains: Sequence[str]) -> list[str]:
    """Return the roles that a built-in role holds directly."""
    domain, dot, name = role.rpartition(".")
    if name not in _LADDER:
        return list(DOMAIN_ROLES) if role == "owner" else []
    below = [other for other, verbs in _LADDER.items() if other != name and set(verbs) < set(_LADDER[name])]
    if dot:
        return [f"{domain}.{each}" for each in below]
    return [*below, *(f"{each}.{name}" for each in domains)]


def _built_in(role: str, domains: Sequence[str]) -> set[str] | None:
    domain, dot, name = role.rpartition(".")
    if not dot and role in WORKSPACE_ROLES:
        return _workspace_role(role, domains)
    verbs = _LADDER.get(name)
    if verbs is None or (dot and domain not in domains):
        return None
    own = (domain,) if dot else domains
    return {f"{each}:{verb}" for each in own for verb in verbs} | set(_ALONGSIDE.get(name, ()))


def _workspace_role(role: str, domains: Sequence[str]) -> set[str]:
    if role == "owner":
        return set(all_permissions(domains=domains))
    if role == "auditor":
        return {"audit:read", "privacy:read"}
    personal = {f"{domain}:{verb}" for domain in domains for verb in ("read", "read_personal")}
    return personal | {"privacy:read", "privacy:write", "audit:read"}
