"""What policies may speak of: callers, routes, records and circumstances, as a schema that Cedar checks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import cedarpy
import msgspec

from isthmus.gateway.policy.agreements import CONSENTS, behind
from isthmus.gateway.policy.language import Policy, PolicyUnreadable, PolicyUnsupported
from isthmus.gateway.policy.partial import refuse_unfit
from isthmus.gateway.policy.terms import (
    And,
    Compare,
    Const,
    Entity,
    Get,
    Has,
    In,
    Is,
    Like,
    Not,
    Term,
    Undecided,
    Var,
    parts,
)
from isthmus.gateway.routes import ANY_CALLER, Route
from isthmus.kernel.errors import Fault
from isthmus.kernel.marks import Field, Json, RecordType

CALLER, ROUTE, ROLE, ACTION = "Caller", "Route", "Role", "Action"
NEVER_S = 1_000_000_000
"""How long ago something was that never happened, in seconds: over 31 years."""
_STRING: Mapping[str, Json] = {"type": "String"}
_LONG: Mapping[str, Json] = {"type": "Long"}
_BOOLEAN: Mapping[str, Json] = {"type": "Boolean"}
_STRINGS: Mapping[str, Json] = {"type": "Set", "element": {"type": "String"}}
_DECIMAL: Mapping[str, Json] = {"type": "Extension", "name": "decimal"}
_ADDRESS: Mapping[str, Json] = {"type": "Extension", "name": "ipaddr"}
_OPTIONAL: Mapping[str, Json] = {"required": False}
CALLER_ATTRIBUTES: Mapping[str, Mapping[str, Json]] = {
    **dict.fromkeys(("id", "kind", "name", "user", "client", "behind"), _STRING),
    **dict.fromkeys(("roles", "permissions", "methods"), _STRINGS),
    "narrowed": _BOOLEAN,
}
ROUTE_ATTRIBUTES: Mapping[str, Mapping[str, Json]] = {"path": _STRING, "area": _STRING}
CONTEXT: Mapping[str, Mapping[str, Json]] = {
    **dict.fromkeys(("hour", "weekday", "mfa_age_s", "proven_age_s"), _LONG),
    **dict.fromkeys(("date", "method", "purpose", "upstream"), _STRING),
    **dict.fromkeys(("local", "personal"), _BOOLEAN),
    "client": _ADDRESS,
    "amount": {**_DECIMAL, **_OPTIONAL},
    "currency": {**_STRING, **_OPTIONAL},
}
_COLUMNS: Mapping[str, Mapping[str, Json]] = {
    "text": _STRING,
    "uuid": _STRING,
    "bigint": _LONG,
    "boolean": _BOOLEAN,
    "money": _DECIMAL,
    "numeric": _DECIMAL,
}


def entity_type(record_type: RecordType) -> str:
    """Return how policies call a record type: `making.thing` is `making::thing`."""
    return record_type.name.replace(".", "::")


def readable(declared: Field) -> bool:
    """Tell whether policies may read a field: stored in clear, and of a type that they have."""
    return declared.personal is None and declared.column in _COLUMNS


def action_of(route: Route) -> Entity:
    """Return a route as an action: `Action::"GET /api/v1/things"`."""
    return Entity(ACTION, f"{route.method} {route.path}")


def groups_of(route: Route) -> frozenset[Entity]:
    """Return what a route is below: its permission, everything of its area, and its verb in every area."""
    return groups_of_permission(route.permission or "")


def groups_of_permission(permission: str) -> frozenset[Entity]:
    """Return what the routes of a permission are below."""
    if permission in {"", ANY_CALLER}:
        return frozenset()
    area, _, verb = permission.partition(":")
    return frozenset(Entity(ACTION, each) for each in (f"{area}:{verb}", f"{area}:*", f"*:{verb}"))


@dataclass(frozen=True)
class Vocabulary:
    """The routes and record types of a program, made ready for checking policies."""

    routes: Sequence[Route]
    types: Mapping[str, RecordType] = field(default_factory=dict[str, RecordType])

    @cached_property
    def by_name(self) -> Mapping[str, Route]:
        """Routes by the name of their action."""
        return {action_of(each).id: each for each in self.routes}

    @cached_property
    def records_of(self) -> Mapping[str, tuple[RecordType, ...]]:
        """Record types by the area whose routes show them."""
        found: dict[str, dict[str, RecordType]] = {}
        for route in self.routes:
            if route.record:
                area = (route.permission or "").partition(":")[0]
                found.setdefault(area, {})[route.record] = self.types[route.record]
        return {area: tuple(each.values()) for area, each in found.items()}

    @cached_property
    def cedar(self) -> cedarpy.Schema:
        """The schema as Cedar reads it."""
        return cedarpy.Schema.from_json_str(msgspec.json.encode(self._schema()).decode())

    def check(self, policy: Policy) -> None:
        """Raise PolicyUnreadable for what no call can meet or no type allows, PolicyUnsupported for what no list can.

        A record's attributes count as present: where one is empty, a policy that looks at it errs, and refuses.
        """
        found = cedarpy.validate_policies(policy.text, self.cedar)  # pyright: ignore[reportUnknownMemberType]  # Cedar types its arguments loosely.
        if not found.validation_passed:
            faults = tuple(
                Fault(pointer="/text", code=PolicyUnreadable.code, detail=_told(each)) for each in found.errors[:5]
            )
            raise PolicyUnreadable(faults[0].detail, fix="See docs/reference/policies.md.", faults=faults)
        if policy.effect == "permit" and self.names_records(policy):
            raise PolicyUnsupported(
                "A permit grants a route and cannot look at a record.", fix="Write a forbid, or leave the record away."
            )
        refuse_unfit(policy.term)
        self._refuse_ids_as_text(policy)

    def _refuse_ids_as_text(self, policy: Policy) -> None:
        """Ids are kept as numbers, and a list cannot look at their letters."""
        for each in parts(policy.term):
            match each:
                case Like(Get("resource", name)) if self._is_id(name):
                    raise PolicyUnsupported("Ids are not compared with like.", fix="Compare them with ==.")
                case Compare(_, Get("resource", a), Get("resource", b)) if self._is_id(a) != self._is_id(b):
                    raise PolicyUnsupported("An id is not compared with a text.", fix="Compare ids with ids.")
                case _:
                    pass

    def names_records(self, policy: Policy) -> bool:
        """Tell whether a policy speaks of records, rather than of routes alone."""
        return any(
            (isinstance(each, Get | Has) and each.of == "resource" and each.name not in ROUTE_ATTRIBUTES)
            or (isinstance(each, Is) and each.of == "resource" and each.type != ROUTE)
            or (isinstance(each, Const) and isinstance(each.value, Entity) and "::" in each.value.type)
            for each in parts(policy.term)
        )

    def _is_id(self, name: str) -> bool:
        """Tell whether an attribute of records holds ids, in any type that has it."""
        fields = (each.field(name) for each in self.types.values())
        return name == "id" or any(each is not None and each.column == "uuid" for each in fields)

    def applies(self, policy: Policy, route: Route, *, record: str | None) -> bool:
        """Tell whether a policy can hold on a route, as its scope says; `record` is the record's entity type."""
        return not _excluded(policy.term, route, record or ROUTE)

    def _schema(self) -> dict[str, Json]:
        shown = {name: dict(kind) for name, kind in CALLER_ATTRIBUTES.items()}
        kinds: dict[str, Json] = {
            ROLE: {},
            CALLER: {"memberOfTypes": [ROLE], "shape": _record(shown)},
            ROUTE: {"shape": _record({name: dict(kind) for name, kind in ROUTE_ATTRIBUTES.items()})},
        }
        spaces: dict[str, Json] = {"": {"entityTypes": kinds, "actions": self._actions()}}
        for each in self.types.values():
            space = spaces.setdefault(each.domain, {"entityTypes": {}, "actions": {}})
            assert isinstance(space, dict)
            held = space["entityTypes"]
            assert isinstance(held, dict)
            shape = _attributes(each)
            if behind(each, self.types.values()) is not None:
                shape[CONSENTS] = dict(_STRINGS)
            held[each.name.partition(".")[2]] = {"shape": _record(shape)}
        return spaces

    def _actions(self) -> dict[str, Json]:
        actions: dict[str, Json] = {}
        for route in self.routes:
            groups = sorted(each.id for each in groups_of(route))
            actions |= {each: {} for each in groups if each not in actions}
            if route.permission is not None:
                resources: list[Json] = [ROUTE]
                if route.record:
                    resources.append(entity_type(self.types[route.record]))
                context = _record({name: dict(kind) for name, kind in CONTEXT.items()})
                actions[action_of(route).id] = {
                    "memberOf": [{"id": each} for each in groups],
                    "appliesTo": {"principalTypes": [CALLER], "resourceTypes": resources, "context": context},
                }
        return actions


def _told(error: cedarpy.ValidationError) -> str:
    return str(error.error).partition(", ")[2] or str(error.error)


def _record(attributes: dict[str, dict[str, Json]]) -> dict[str, Json]:
    return {"type": "Record", "attributes": dict[str, Json](attributes)}


def _attributes(record_type: RecordType) -> dict[str, dict[str, Json]]:
    shown: dict[str, dict[str, Json]] = {"id": dict(_STRING)}
    for each in record_type.open_fields:
        if readable(each):
            shown[each.name] = dict(_COLUMNS[each.column])
        if each.column == "money":
            shown[f"{each.name}_currency"] = dict(_STRING)
    return shown


def _excluded(term: Term, route: Route, resource: str) -> bool:
    """Tell whether the part of a policy that looks at action and resource types alone is false."""
    match term:
        case And(a, b):
            return _excluded(a, route, resource) or (not isinstance(a, Undecided) and _excluded(b, route, resource))
        case In("action", entities):
            return entities.isdisjoint({action_of(route), *groups_of(route)})
        case Compare("==", Var("action"), Const(value)):
            return value != action_of(route)
        case Is("resource", kind):
            return kind != resource
        case Not(Is("resource", kind)):
            return kind == resource
        case _:
            return False
