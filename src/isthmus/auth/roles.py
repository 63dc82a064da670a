"""Roles compiled to permission sets: a role is named once and asked for never, a permission is what a route asks for.

    owner                 everything in the workspace
    <domain>.admin        editor, and: administer, connections and their conflicts
    <domain>.editor       analyst, and: write, personal fields
    <domain>.analyst      viewer, and: aggregates of its own making
    <domain>.viewer       read, with personal fields masked
    <domain>.integration  read and write, personal fields masked: for machines
    auditor               the audit log and compliance reports only
    privacy_officer       privacy, the audit log, and all records with their personal fields

A domain role without its domain (`viewer`) holds in every domain. Silence denies.
"""

from collections.abc import Iterable, Sequence

from isthmus.kernel.errors import Denied, Fault, Invalid

AREAS = {
    "sync": ("read", "write"),
    "stream": ("read", "write"),
    "gateway": ("read", "write"),
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
    roles: Iterable[str], permissions: Iterable[str] = (), *, domains: Sequence[str], pointer: str = ""
) -> frozenset[str]:
    """Return what roles and single permissions (`x:read`, or `x:*` for a whole area) allow together.

    Raises UnknownRole with a fault for each that does not exist, below `pointer`/roles and `pointer`/permissions.
    """
    known = all_permissions(domains=domains)
    allowed: set[str] = set()
    faults: list[Fault] = []
    for index, role in enumerate(roles):
        granted = _role(role, domains)
        if granted is None:
            detail = f"There is no role {role!r}. Roles are {', '.join((*WORKSPACE_ROLES, *DOMAIN_ROLES))}."
            faults.append(Fault(pointer=f"{pointer}/roles/{index}", code=UnknownRole.code, detail=detail))
        allowed |= granted or set()
    for index, permission in enumerate(permissions):
        granted = {each for each in known if each == permission or f"{each.partition(':')[0]}:*" == permission}
        if not granted:
            detail = f"There is no permission {permission!r}."
            faults.append(Fault(pointer=f"{pointer}/permissions/{index}", code=UnknownRole.code, detail=detail))
        allowed |= granted
    if faults:
        raise UnknownRole("A role or permission does not exist.", fix="Mend what `errors` names.", faults=tuple(faults))
    return frozenset(allowed)


def surviving(roles: Iterable[str], permissions: Iterable[str], *, domains: Sequence[str]) -> frozenset[str]:
    """Return what a stored grant allows now; what was granted and no longer exists allows nothing."""
    known = all_permissions(domains=domains)
    allowed = {each for role in roles for each in _role(role, domains) or ()}
    for permission in permissions:
        allowed |= {each for each in known if each == permission or f"{each.partition(':')[0]}:*" == permission}
    return frozenset(allowed)


def check_grant(wanted: frozenset[str], *, giver: frozenset[str]) -> None:
    """Raise GrantTooWide unless the giver has everything that is to be granted."""
    if missing := sorted(wanted - giver):
        raise GrantTooWide(
            f"You do not have {', '.join(missing[:5])} yourself.", fix="Ask somebody who has it, or grant less."
        )


def _role(role: str, domains: Sequence[str]) -> set[str] | None:
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
