"""A decision told step by step: credential, grant and by which role, limits to records, what each policy says."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from msgspec import Struct

from isthmus.auth.roles import Custom, granting
from isthmus.gateway.policy.book import Book, OnRoute, PolicyRefused, Ready, refuse_unfiltered, residuals, sight
from isthmus.gateway.policy.evaluate import Facts
from isthmus.gateway.policy.facts import Situation, caller_id, facts_of
from isthmus.gateway.routes import ANY_CALLER, Route
from isthmus.kernel.errors import NotFound
from isthmus.store.records import limited
from isthmus.store.schema import Schema

_SAYS: Mapping[str, str] = {
    "": "does not apply",
    "refused": "forbids",
    "would refuse": "would forbid (shadow)",
    "permitted": "permits",
    "would permit": "would permit (shadow)",
}


class RouteUnknown(NotFound):
    """There is no route of that name."""

    code, title = "route-unknown", "There is no such route"


class Step(Struct, frozen=True, kw_only=True):
    """One step: what was looked at, whether it lets the call pass, and why."""

    step: str
    passes: bool
    detail: str


class Explained(Struct, frozen=True, kw_only=True):
    """A decision and how it came about."""

    allowed: bool
    caller: str
    route: str
    at: datetime
    steps: list[Step]


def find_route(routes: Mapping[str, Route], wanted: str) -> Route:
    """Return the route of `GET /api/v1/things`; a path that a template fits is found too. Raises RouteUnknown."""
    method, _, path = wanted.strip().partition(" ")
    exact = routes.get(f"{method.upper()} {path}")
    if exact is not None:
        return exact
    pieces = path.split("/")
    for route in routes.values():
        own = route.path.split("/")
        fits = len(own) == len(pieces) and all(a.startswith("{") or a == b for a, b in zip(own, pieces, strict=True))
        if route.method == method.upper() and fits:
            return route
    raise RouteUnknown(f"There is no route {wanted[:200]!r}.", fix='Name method and path: "GET /api/v1/leads".')


def explain(
    situation: Situation, *, credential: Step, roles: Sequence[str], custom: Custom, domains: Sequence[str], book: Book,
    schema: Schema,
) -> Explained:  # fmt: skip
    """Return every step of a decision. `roles` are those the credential names, before inheritance."""
    on, facts = book.on(situation.route), facts_of(situation)
    steps = [
        credential,
        _limit(situation, schema),
        _grant(situation, roles=roles, custom=custom, domains=domains, permits=_permits(on.permits, facts)),
        *(_policy(each, facts) for each in (*on.gate, *on.weighed)),
        *_records(on, facts, situation, schema),
    ]
    passed = all(each.passes for each in steps)
    return Explained(
        allowed=passed,
        caller=caller_id(situation.principal),
        route=f"{situation.route.method} {situation.route.path}",
        at=situation.now,
        steps=steps,
    )


def _permits(ready: Sequence[Ready], facts: Facts) -> str:
    return next((each.policy.name for each in ready if each.verdict(facts) == "permitted"), "")


def _grant(situation: Situation, *, roles: Sequence[str], custom: Custom, domains: Sequence[str], permits: str) -> Step:
    permission = situation.route.permission
    if permission is None or permission == ANY_CALLER:
        return Step(step="grant", passes=True, detail="The route asks for no permission.")
    if situation.principal.may(permission):
        by = granting(permission, roles, domains=domains, custom=custom)
        how = f"the role {by[0]}" if by else "a permission of its own, or its service account"
        return Step(step="grant", passes=True, detail=f"{permission} is granted by {how}.")
    if permits:
        return Step(step="grant", passes=True, detail=f"No role grants {permission}; the policy {permits} permits it.")
    return Step(step="grant", passes=False, detail=f"Nothing grants {permission}: grant-missing.")


def _limit(situation: Situation, schema: Schema) -> Step:
    route, only = situation.route, situation.principal.only
    if not only:
        return Step(step="limit", passes=True, detail="The credential is not limited to named records.")
    if not route.record:
        detail = "The credential is limited to named records, and the route shows more: grant-limited."
        return Step(step="limit", passes=route.narrows, detail="It shows no records." if route.narrows else detail)
    condition = limited(schema[route.record], only)
    said = condition.sql if condition is not None else "every row"
    return Step(step="limit", passes=True, detail=f"Records are shown where: {said}")


def _policy(ready: Ready, facts: Facts) -> Step:
    policy, verdict = ready.policy, ready.verdict(facts)
    errs = " because it meets an attribute that is missing" if ready.about(facts) == "errs" else ""
    detail = f"{_SAYS[verdict]}{errs}: {policy.reason}"
    return Step(step=f"policy {policy.name}", passes=verdict != "refused", detail=detail)


def _records(on: OnRoute, facts: Facts, situation: Situation, schema: Schema) -> list[Step]:
    route = situation.route
    if not on.lists:
        return []
    if not route.record:
        try:
            refuse_unfiltered(on, facts)
        except PolicyRefused as refusal:
            return [Step(step=f"policy {refusal.policy.name}", passes=False, detail=refusal.detail)]
        return []
    steps: list[Step] = []
    for record_type, ready in on.lists:
        if record_type.name == route.record:
            named = ", ".join(each.policy.name for each, _ in residuals(ready, record_type, facts))
            condition = sight(on, facts, schema, record_type, now=situation.now)
            if condition is not None:
                steps.append(
                    Step(step=f"policy {named}", passes=True, detail=f"Records are shown where: {condition.sql}")
                )
    return steps
