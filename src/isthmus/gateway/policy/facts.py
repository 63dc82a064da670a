"""From a call to the facts that policies look at, and only those that one of them looks at."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from ipaddress import IPv4Interface, IPv6Interface, ip_interface
from typing import TypeAlias
from uuid import UUID

from isthmus.auth.principal import Principal
from isthmus.gateway.policy.evaluate import Facts, Thing
from isthmus.gateway.policy.terms import Entity, Get, Has, Term, Value, parts
from isthmus.gateway.policy.vocabulary import (
    ACTION,
    CALLER,
    CONTEXT,
    NEVER_S,
    ROLE,
    ROUTE,
    groups_of_permission,
)
from isthmus.gateway.routes import Route
from isthmus.kernel.ids import text_of
from isthmus.kernel.money import Money

_PREFIXES = {"key": "key", "session": "sess", "token": "token"}
_UNKNOWN = ip_interface("::")
CALLERS_MAX = 10_000
_callers: dict[UUID, tuple[Principal, Thing]] = {}


@dataclass(frozen=True, kw_only=True)
class Situation:
    """A call as a decision sees it. `amount` is the largest in the body, once that is read."""

    principal: Principal
    route: Route
    now: datetime
    client: str = ""
    local: bool = False
    purpose: str = ""
    upstream: str = ""
    amount: Money | None = None


@dataclass(frozen=True)
class Wanted:
    """The names of circumstances that some policies look at."""

    context: frozenset[str]

    @classmethod
    def of(cls, terms: Iterable[Term]) -> "Wanted":
        """Return what these terms look at."""
        looked = [each for term in terms for each in parts(term) if isinstance(each, Get | Has)]
        return cls(
            frozenset(each.name for each in looked if each.of == "context") & CONTEXT.keys(),
        )


EVERYTHING = Wanted(frozenset(CONTEXT))


def facts_of(situation: Situation, wanted: Wanted = EVERYTHING) -> Facts:
    """Return the facts of a call, about its route."""
    route = situation.route
    context: dict[str, Value] = {}
    for name in wanted.context:
        value = _CONTEXT[name](situation)
        if value is not None:
            context[name] = value
    permission = route.permission or ""
    action, resource = _action_of(route.method, route.path, permission), _thing_of(route.path, permission)
    return Facts(caller_thing(situation.principal), action, resource, context)


def caller_thing(principal: Principal) -> Thing:
    """Return a caller with all its attributes, made once for as long as it is remembered as the same."""
    found = _callers.get(principal.id)
    if found is not None and found[0] is principal:
        return found[1]
    if len(_callers) >= CALLERS_MAX:
        _callers.clear()
    thing = Thing(
        Entity(CALLER, caller_id(principal)),
        {name: read(principal) for name, read in _CALLER.items()},
        frozenset(Entity(ROLE, each) for each in principal.roles),
    )
    _callers[principal.id] = (principal, thing)
    return thing


@lru_cache(maxsize=4096)
def _action_of(method: str, path: str, permission: str) -> Thing:
    return Thing(Entity(ACTION, f"{method} {path}"), {}, groups_of_permission(permission))


@lru_cache(maxsize=4096)
def _thing_of(path: str, permission: str) -> Thing:
    return Thing(Entity(ROUTE, path), {"path": path, "area": permission.partition(":")[0]})


def caller_id(principal: Principal) -> str:
    """Return how policies and people name a caller: `key_…`, `user_…` for a person, `sess_…`, `token_…`."""
    if principal.kind == "session" and principal.user is not None:
        return text_of("user", principal.user)
    return text_of(_PREFIXES[principal.kind], principal.id)


@lru_cache(maxsize=4096)
def _address(client: str) -> IPv4Interface | IPv6Interface:
    try:
        return ip_interface(client)
    except ValueError:
        return _UNKNOWN


def _age_s(at: datetime | None, now: datetime) -> int:
    return NEVER_S if at is None else max(0, int((now - at).total_seconds()))


def _personal(situation: Situation) -> bool:
    opened_by = situation.route.personal
    return bool(opened_by) and situation.principal.may(opened_by)


_CALLER: Mapping[str, Callable[[Principal], Value]] = {
    "id": caller_id,
    "kind": lambda principal: principal.kind,
    "name": lambda principal: principal.name,
    "user": lambda principal: "" if principal.user is None else text_of("user", principal.user),
    "client": lambda principal: principal.client,
    "behind": lambda principal: principal.behind,
    "roles": lambda principal: frozenset(principal.roles),
    "permissions": lambda principal: frozenset(principal.permissions),
    "methods": lambda principal: frozenset(principal.methods),
    "narrowed": lambda principal: bool(principal.only),
}
_Read: TypeAlias = Callable[[Situation], Value | None]
_CONTEXT: Mapping[str, _Read] = {
    "hour": lambda call: call.now.hour,
    "weekday": lambda call: call.now.isoweekday(),
    "date": lambda call: call.now.date().isoformat(),
    "method": lambda call: call.route.method,
    "purpose": lambda call: call.purpose,
    "upstream": lambda call: call.upstream,
    "client": lambda call: _address(call.client),
    "local": lambda call: call.local,
    "personal": _personal,
    "mfa_age_s": lambda call: _age_s(call.principal.mfa_at, call.now),
    "proven_age_s": lambda call: _age_s(call.principal.proven_at, call.now),
    "amount": lambda call: None if call.amount is None else call.amount.amount,
    "currency": lambda call: None if call.amount is None else call.amount.currency,
}
