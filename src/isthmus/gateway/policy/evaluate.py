"""Terms compiled to functions: one call answers whether a policy holds, as Cedar would.

Cedar skips a policy that meets an error. Here a `forbid` that meets one refuses, because silence must not open a door;
the evaluator tells the three outcomes apart, and the decision is made from them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from ipaddress import IPv4Interface, IPv6Interface
from typing import Literal, TypeAlias

from isthmus.gateway.policy.terms import (
    And,
    Compare,
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
    Undecided,
    Value,
    Var,
)

Outcome: TypeAlias = Literal["holds", "fails", "errs"]


class EvaluationError(Exception):
    """An attribute is missing, or an operation met a value of another type."""


@dataclass(frozen=True, slots=True)
class Thing:
    """An entity with its attributes and everything it is below."""

    entity: Entity
    attributes: Mapping[str, Value]
    above: frozenset[Entity] = frozenset()


@dataclass(frozen=True, slots=True)
class Facts:
    """What one decision is made from."""

    principal: Thing
    action: Thing
    resource: Thing
    context: Mapping[str, Value]


Compiled: TypeAlias = Callable[[Facts], Value]


def outcome(compiled: Compiled, facts: Facts) -> Outcome:
    """Return whether a policy holds for the facts, or errs."""
    try:
        held = compiled(facts)
    except EvaluationError:
        return "errs"
    if held is True:
        return "holds"
    return "fails" if held is False else "errs"


def compile_term(term: Term) -> Compiled:  # noqa: PLR0911 - one for each kind of term.
    """Return a function that evaluates the term; it raises EvaluationError where Cedar errs."""
    match term:
        case Const(value):
            return lambda _: value
        case Undecided(why):
            return _raising(why)
        case Var(name):
            return _variable(name)
        case Get(of, name):
            return _get(of, name)
        case Has(of, name):
            return (lambda f: name in f.context) if of == "context" else (lambda f: name in _thing(f, of).attributes)
        case Is(of, kind):
            return lambda f: _thing(f, of).entity.type == kind
        case In(of, entities):
            return _in(of, entities)
        case SetOf(items):
            made = [compile_term(each) for each in items]
            return lambda f: frozenset(each(f) for each in made)
        case And() | Or() | Not() | If():
            return _logic(term)
        case _:
            return _operation(term)


def same(a: Value, b: Value) -> bool:
    """Tell whether two values are equal; those of different types never are, and 1 is not true."""
    if isinstance(a, frozenset) and isinstance(b, frozenset):
        return len(a) == len(b) and all(_holds(b, each) for each in a)
    return type(a) is type(b) and a == b


def _holds(values: frozenset[Value], value: Value) -> bool:
    if type(value) is str:
        return value in values
    return any(same(each, value) for each in values)


def _raising(why: str) -> Compiled:
    def fail(_: Facts) -> Value:
        raise EvaluationError(why)

    return fail


def _thing(facts: Facts, name: str) -> Thing:
    return facts.principal if name == "principal" else facts.resource if name == "resource" else facts.action


def _variable(name: str) -> Compiled:
    return lambda f: _thing(f, name).entity


def _get(of: str, name: str) -> Compiled:
    def get(facts: Facts) -> Value:
        try:
            return facts.context[name] if of == "context" else _thing(facts, of).attributes[name]
        except KeyError:
            raise EvaluationError(f"{of} has no {name}") from None

    return get


def _in(of: str, entities: frozenset[Entity]) -> Compiled:
    def within(facts: Facts) -> Value:
        thing = _thing(facts, of)
        return thing.entity in entities or not entities.isdisjoint(thing.above)

    return within


def _boolean(value: Value) -> bool:
    if value is True:
        return True
    if value is False:
        return False
    raise EvaluationError("not a boolean")


def _logic(term: And | Or | Not | If) -> Compiled:
    a = compile_term(term.a)
    match term:
        case Not():
            return lambda f: not _boolean(a(f))
        case And(_, right):
            b = compile_term(right)
            return lambda f: _boolean(a(f)) and _boolean(b(f))
        case Or(_, right):
            b = compile_term(right)
            return lambda f: _boolean(a(f)) or _boolean(b(f))
        case If(_, then, otherwise):
            b, c = compile_term(then), compile_term(otherwise)
            return lambda f: b(f) if _boolean(a(f)) else c(f)


def _operation(term: Compare | Contains | Empty | Like | Network) -> Compiled:
    a = compile_term(term.a)
    match term:
        case Compare("==", _, right):
            b = compile_term(right)
            return lambda f: same(a(f), b(f))
        case Compare(op, _, right, decimal):
            b, order = compile_term(right), _ORDERS[op]
            return lambda f: order(*_numbers(a(f), b(f), decimal=decimal))
        case Contains(which, _, right):
            return _contains(which, a, compile_term(right))
        case Empty():
            return lambda f: not _set(a(f))
        case Like(_, pattern):
            pieces = _pieces(pattern)
            return lambda f: _like(_text(a(f)), pieces)
        case Network(which, _, right):
            return _network(which, a, None if right is None else compile_term(right))


def _less(a: int | Decimal, b: int | Decimal) -> bool:
    return a < b


def _at_most(a: int | Decimal, b: int | Decimal) -> bool:
    return a <= b


_ORDERS: Mapping[str, Callable[[int | Decimal, int | Decimal], bool]] = {
    "<": _less,
    "<=": _at_most,
    ">": lambda a, b: _less(b, a),
    ">=": lambda a, b: _at_most(b, a),
}


def _numbers(a: Value, b: Value, *, decimal: bool) -> tuple[int | Decimal, int | Decimal]:
    if decimal and isinstance(a, Decimal) and isinstance(b, Decimal):
        return a, b
    if not decimal and type(a) is int and type(b) is int:
        return a, b
    raise EvaluationError("not two numbers")


def _set(value: Value) -> frozenset[Value]:
    if isinstance(value, frozenset):
        return value
    raise EvaluationError("not a set")


def _text(value: Value) -> str:
    if type(value) is str:
        return value
    raise EvaluationError("not a text")


def _contains(which: Literal["one", "all", "any"], a: Compiled, b: Compiled) -> Compiled:
    def contains(facts: Facts) -> Value:
        values, wanted = _set(a(facts)), b(facts)
        if which == "one":
            return _holds(values, wanted)
        found = (_holds(values, each) for each in _set(wanted))
        return all(found) if which == "all" else any(found)

    return contains


def _pieces(pattern: tuple[str | None, ...]) -> list[str]:
    """Return the texts between the stars."""
    pieces = [""]
    for each in pattern:
        if each is None:
            pieces.append("")
        else:
            pieces[-1] += each
    return pieces


def _like(text: str, pieces: list[str]) -> bool:
    """Match from left to right, each piece between stars at its first place."""
    if len(pieces) == 1:
        return text == pieces[0]
    first, *middle, last = pieces
    if len(text) < len(first) + len(last) or not text.startswith(first) or not text.endswith(last):
        return False
    at, end = len(first), len(text) - len(last)
    for piece in middle:
        found = text.find(piece, at, end)
        if found < 0:
            return False
        at = found + len(piece)
    return True


def _network(which: Literal["isInRange", "isIpv4", "isIpv6"], a: Compiled, b: Compiled | None) -> Compiled:
    def within(facts: Facts) -> Value:
        address = _address(a(facts))
        if which == "isIpv4":
            return isinstance(address, IPv4Interface)
        if which == "isIpv6" or b is None:
            return isinstance(address, IPv6Interface)
        network = _address(b(facts)).network
        own = address.network
        if isinstance(own, type(network)):
            return own.subnet_of(network)  # pyright: ignore[reportArgumentType]  # both are of one family here.
        return False

    return within


def _address(value: Value) -> IPv4Interface | IPv6Interface:
    if isinstance(value, IPv4Interface | IPv6Interface):
        return value
    raise EvaluationError("not an address")
