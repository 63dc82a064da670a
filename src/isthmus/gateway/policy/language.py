"""From a policy's text to its terms. Cedar itself reads the text; what we do not evaluate is refused by name.

@id("night-exports")
@reason("Exports run by day, when somebody is there to see them.")
@fix("Ask again between 06:00 and 22:00 UTC.")
@mode("enforced")
forbid (principal, action in Action::"sales:read", resource)
when { context.hour < 6 || context.hour >= 22 };
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from ipaddress import ip_interface
from typing import Literal, TypeAlias, cast

import cedarpy
import msgspec

from isthmus.gateway.policy.terms import (
    TRUE,
    And,
    Compare,
    Comparison,
    Const,
    Contains,
    Empty,
    Entity,
    Get,
    Has,
    If,
    In,
    Is,
    Like,
    Network,
    Not,
    Or,
    SetOf,
    Term,
    Value,
    Var,
    Variable,
    mentions,
    parts,
)
from isthmus.kernel.errors import Fault, Invalid
from isthmus.kernel.marks import Json

TEXT_MAX = 20_000
TERMS_MAX = 500
NAME = re.compile(r"[a-z][a-z0-9-]{1,79}")
ANNOTATIONS = frozenset({"id", "reason", "fix", "mode"})
Effect: TypeAlias = Literal["forbid", "permit"]
Mode: TypeAlias = Literal["enforced", "shadow"]
_Map: TypeAlias = Mapping[str, Json]
_VARIABLES = frozenset({"principal", "action", "resource", "context"})
_DECIMAL: Mapping[str, Comparison] = {
    "lessThan": "<",
    "lessThanOrEqual": "<=",
    "greaterThan": ">",
    "greaterThanOrEqual": ">=",
}
_DECIMAL_PLACES, _DECIMAL_UNITS_MAX = 4, 2**63
_INSTEAD = {
    "+": "arithmetic",
    "-": "arithmetic",
    "*": "arithmetic",
    "neg": "arithmetic",
    "Record": "a record that is written out",
    "hasTag": "tags",
    "getTag": "tags",
    "isLoopback": "isLoopback (use isInRange)",
    "isMulticast": "isMulticast (use isInRange)",
}


class PolicyUnreadable(Invalid):
    """The text is not one policy of Cedar."""

    code, title = "policy-unreadable", "The policy cannot be read"


class PolicyUnsupported(Invalid):
    """The policy uses a part of Cedar that is not evaluated here."""

    code, title = "policy-unsupported", "The policy uses what is not supported"


@dataclass(frozen=True, kw_only=True)
class Policy:
    """A policy that was read. `term` is its scope and conditions together."""

    name: str
    reason: str
    fix: str
    effect: Effect
    mode: Mode
    text: str
    term: Term

    @property
    def about_records(self) -> bool:
        """Tell whether it looks at attributes of a record."""
        return mentions(self.term, "resource")

    @property
    def about_amounts(self) -> bool:
        """Tell whether it looks at the amount in the body, which is not read yet when the gate decides."""
        return mentions(self.term, "context", "amount") or mentions(self.term, "context", "currency")


def read_policy(text: str, *, mode: Mode | None = None) -> Policy:
    """Return the one policy of a text; `mode` stands over its own. Raises PolicyUnreadable and PolicyUnsupported."""
    if len(text) > TEXT_MAX:
        raise _unreadable(f"The text is over {TEXT_MAX} characters.", fix="Write a shorter policy, or several.")
    try:
        whole = msgspec.json.decode(cedarpy.policies_to_json_str(text), type=dict[str, Json])
    except (ValueError, msgspec.DecodeError) as error:
        raise _unreadable(f"Cedar cannot read it: {error}.", fix="See docs/how-to/write-a-policy.md.") from error
    if whole.get("templates"):
        raise _unsupported("templates (?principal, ?resource)")
    found = cast("Mapping[str, _Map]", whole["staticPolicies"])
    if len(found) != 1:
        raise _unreadable(f"The text holds {len(found)} policies.", fix="Write one policy in each text.")
    return _policy(next(iter(found.values())), text, mode)


def _policy(read: _Map, text: str, mode: Mode | None) -> Policy:
    notes = cast("Mapping[str, str | None]", read.get("annotations") or {})
    if unknown := sorted(set(notes) - ANNOTATIONS):
        raise _unsupported(f"the annotation @{unknown[0]} (known are @id, @reason, @fix and @mode)")
    name, reason = notes.get("id") or "", notes.get("reason") or ""
    if not NAME.fullmatch(name):
        raise _unreadable("The policy has no fit name.", fix='Begin it with @id("name"): a-z, 0-9 and -, up to 80.')
    if not reason.strip():
        raise _unreadable("The policy gives no reason.", fix='Say why it is there: @reason("…").')
    stated = mode or notes.get("mode") or "enforced"
    if stated not in {"enforced", "shadow"}:
        raise _unreadable(f"There is no mode {stated!r}.", fix='Write @mode("enforced") or @mode("shadow").')
    term = _whole(read)
    if sum(1 for _ in parts(term)) > TERMS_MAX:
        raise _unsupported(f"policies of over {TERMS_MAX} terms")
    effect: Effect = "permit" if read["effect"] == "permit" else "forbid"
    return Policy(
        name=name,
        reason=reason,
        fix=notes.get("fix") or "",
        effect=effect,
        mode=cast("Mode", stated),
        text=text,
        term=term,
    )


def _whole(read: _Map) -> Term:
    """Return scope and conditions as one term, in Cedar's order."""
    terms: list[Term] = []
    for variable in ("principal", "action", "resource"):
        terms += _scope(cast("Variable", variable), cast("_Map", read[variable]))
    for condition in cast("Sequence[_Map]", read["conditions"]):
        body = _term(condition["body"])
        terms.append(body if condition["kind"] == "when" else Not(body))
    whole: Term = TRUE
    for term in terms:
        whole = And(whole, term)
    return whole


def _scope(variable: Variable, read: _Map) -> list[Term]:
    entities = [_entity(each) for each in cast("Sequence[Json]", read.get("entities") or [])]
    if "entity" in read:
        entities.append(_entity(read["entity"]))
    match read["op"]:
        case "All":
            return []
        case "==":
            return [Compare("==", Var(variable), Const(entities[0]))]
        case "in":
            return [In(variable, frozenset(entities))]
        case _:
            within = cast("_Map | None", read.get("in"))
            below = [In(variable, frozenset({_entity(within["entity"])}))] if within else []
            return [Is(variable, str(read["entity_type"])), *below]


def _term(read: Json) -> Term:
    if not isinstance(read, dict) or len(read) != 1:
        raise _unsupported("an expression of this form")
    (op, given), *_ = read.items()
    reader = _READERS.get(op)
    if reader is None:
        raise _unsupported(_INSTEAD.get(op, op))
    return reader(op, given)


def _const(_: str, given: Json) -> Term:
    return Const(_value(given))


def _value(given: Json) -> Value:
    if isinstance(given, dict) and "__entity" in given:
        return _entity(given["__entity"])
    if isinstance(given, bool | int | str):
        return given
    raise _unsupported("a value of this form")


def _entity(given: Json) -> Entity:
    found = cast("Mapping[str, str]", given)
    return Entity(found["type"], found["id"])


def _var(_: str, given: Json) -> Term:
    if given == "context":
        raise _unsupported("the whole context as a value")
    return Var(cast("Variable", given))


def _attribute(op: str, given: Json) -> Term:
    read = cast("_Map", given)
    return (Has if op == "has" else Get)(_variable(read["left"], "attributes of"), str(read["attr"]))


def _variable(given: Json, what: str) -> Variable:
    name = given.get("Var") if isinstance(given, dict) else None
    if name not in _VARIABLES:
        raise _unsupported(f"{what} anything but principal, action, resource and context")
    return cast("Variable", name)


def _two(given: Json) -> tuple[Term, Term]:
    read = cast("_Map", given)
    return _term(read["left"]), _term(read["right"])


def _compare(op: str, given: Json) -> Term:
    a, b = _two(given)
    return Not(Compare("==", a, b)) if op == "!=" else Compare(cast("Comparison", op), a, b)


def _decimals(op: str, given: Json) -> Term:
    a, b = (_term(each) for each in cast("Sequence[Json]", given))
    return Compare(_DECIMAL[op], a, b, decimal=True)


def _within(_: str, given: Json) -> Term:
    read = cast("_Map", given)
    right = _term(read["right"])
    items = right.items if isinstance(right, SetOf) else (right,)
    entities = [each.value for each in items if isinstance(each, Const) and isinstance(each.value, Entity)]
    if len(entities) != len(items):
        raise _unsupported("`in` with anything but named entities on its right")
    return In(_variable(read["left"], "`in` of"), frozenset(entities))


def _is(_: str, given: Json) -> Term:
    read = cast("_Map", given)
    variable = _variable(read["left"], "`is` of")
    kind = Is(variable, str(read["entity_type"]))
    if (within := read.get("in")) is None:
        return kind
    below = _term(within)
    if not isinstance(below, Const) or not isinstance(below.value, Entity):
        raise _unsupported("`is … in` with anything but a named entity")
    return And(kind, In(variable, frozenset({below.value})))


def _set(_: str, given: Json) -> Term:
    items = tuple(_term(each) for each in cast("Sequence[Json]", given))
    if any(isinstance(each, Const) and isinstance(each.value, bool) for each in items):
        raise _unsupported("sets of booleans")
    return SetOf(items)


def _contains(op: str, given: Json) -> Term:
    which: Mapping[str, Literal["one", "all", "any"]] = {"contains": "one", "containsAll": "all", "containsAny": "any"}
    return Contains(which[op], *_two(given))


def _like(_: str, given: Json) -> Term:
    read = cast("_Map", given)
    pattern = cast("Sequence[Json]", read["pattern"])
    pieces = tuple(str(each["Literal"]) if isinstance(each, dict) else None for each in pattern)
    return Like(_term(read["left"]), pieces)


def _network(op: str, given: Json) -> Term:
    read = [_term(each) for each in cast("Sequence[Json]", given)]
    return Network(cast("Literal['isInRange', 'isIpv4', 'isIpv6']", op), read[0], read[1] if len(read) > 1 else None)


def _extension(op: str, given: Json) -> Term:
    read = [_term(each) for each in cast("Sequence[Json]", given)]
    text = read[0].value if len(read) == 1 and isinstance(read[0], Const) else None
    if not isinstance(text, str):
        raise _unsupported(f"{op}() of anything but a text that is written out")
    try:
        return Const(ip_interface(text) if op == "ip" else read_decimal(text))
    except ValueError as error:
        raise _unreadable(f"{op}({text!r}) is not of that form.", fix="Correct the text.") from error


def read_decimal(text: str) -> Decimal:
    """Return a decimal of Cedar: a point, one to four places, and at most 63 bits of ten-thousandths."""
    whole, point, places = text.removeprefix("-").partition(".")
    fit = text.isascii() and whole.isdecimal() and places.isdecimal() and point and len(places) <= _DECIMAL_PLACES
    try:
        value = Decimal(text)
    except InvalidOperation as error:
        raise ValueError(text) from error
    if not fit or not -_DECIMAL_UNITS_MAX <= value * 10**_DECIMAL_PLACES < _DECIMAL_UNITS_MAX:
        raise ValueError(text)
    return value


_Reader: TypeAlias = Callable[[str, Json], Term]
_READERS: Mapping[str, _Reader] = {
    "Value": _const,
    "Var": _var,
    ".": _attribute,
    "has": _attribute,
    "!": lambda _, given: Not(_term(cast("_Map", given)["arg"])),
    "&&": lambda _, given: And(*_two(given)),
    "||": lambda _, given: Or(*_two(given)),
    "if-then-else": lambda _, given: If(*(_term(cast("_Map", given)[each]) for each in ("if", "then", "else"))),
    **dict.fromkeys(("==", "!=", "<", "<=", ">", ">="), _compare),
    **dict.fromkeys(_DECIMAL, _decimals),
    "in": _within,
    "is": _is,
    "Set": _set,
    **dict.fromkeys(("contains", "containsAll", "containsAny"), _contains),
    "isEmpty": lambda _, given: Empty(_term(cast("_Map", given)["arg"])),
    "like": _like,
    **dict.fromkeys(("isInRange", "isIpv4", "isIpv6"), _network),
    "ip": _extension,
    "decimal": _extension,
}


def _unreadable(detail: str, *, fix: str) -> PolicyUnreadable:
    return PolicyUnreadable(
        detail, fix=fix, faults=(Fault(pointer="/text", code=PolicyUnreadable.code, detail=detail),)
    )


def _unsupported(what: str) -> PolicyUnsupported:
    detail = f"Policies here do not use {what}."
    fault = Fault(pointer="/text", code=PolicyUnsupported.code, detail=detail)
    return PolicyUnsupported(detail, fix="See docs/how-to/write-a-policy.md for what they may use.", faults=(fault,))
