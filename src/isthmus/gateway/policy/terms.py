"""What a policy says, as terms: the part of Cedar's expressions that is understood here, and nothing else.

Values are Cedar's: bool, int (Long), str, Decimal (decimal), IPv4Interface and IPv6Interface (ipaddr), Entity, and
frozenset. Attributes are read off `principal`, `resource` and `context` directly.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from decimal import Decimal
from ipaddress import IPv4Interface, IPv6Interface
from typing import Literal, TypeAlias, cast


@dataclass(frozen=True)
class Entity:
    """Who or what: `Role::"sales.viewer"`."""

    type: str
    id: str


Value: TypeAlias = bool | int | str | Decimal | IPv4Interface | IPv6Interface | Entity | frozenset["Value"]
Variable: TypeAlias = Literal["principal", "action", "resource", "context"]


@dataclass(frozen=True)
class Const:
    """A value that is known."""

    value: Value


@dataclass(frozen=True)
class Undecided:
    """What evaluates to an error: a missing attribute, or an operation on the wrong type."""

    why: str = ""


@dataclass(frozen=True)
class Var:
    """One of the four that a decision is about."""

    name: Variable


@dataclass(frozen=True)
class Get:
    """An attribute."""

    of: Variable
    name: str


@dataclass(frozen=True)
class Has:
    """Whether an attribute is there."""

    of: Variable
    name: str


@dataclass(frozen=True)
class Not:
    """`!a`."""

    a: "Term"


@dataclass(frozen=True)
class And:
    """`a && b`; b is not looked at unless a is true."""

    a: "Term"
    b: "Term"


@dataclass(frozen=True)
class Or:
    """`a || b`; b is not looked at unless a is false."""

    a: "Term"
    b: "Term"


@dataclass(frozen=True)
class If:
    """`if a then b else c`."""

    a: "Term"
    b: "Term"
    c: "Term"


Comparison: TypeAlias = Literal["==", "<", "<=", ">", ">="]


@dataclass(frozen=True)
class Compare:
    """A comparison: `==` of anything, the others of two numbers, `decimal` of two decimals."""

    op: Comparison
    a: "Term"
    b: "Term"
    decimal: bool = False


@dataclass(frozen=True)
class In:
    """Whether a variable is one of the entities, or below one of them."""

    of: Variable
    entities: frozenset[Entity]


@dataclass(frozen=True)
class Is:
    """Whether a variable is of an entity type."""

    of: Variable
    type: str


@dataclass(frozen=True)
class SetOf:
    """A set that is written out."""

    items: tuple["Term", ...]


@dataclass(frozen=True)
class Contains:
    """`a.contains(b)`, or all or any of the set b."""

    which: Literal["one", "all", "any"]
    a: "Term"
    b: "Term"


@dataclass(frozen=True)
class Empty:
    """`a.isEmpty()`."""

    a: "Term"


@dataclass(frozen=True)
class Like:
    """`a like "x*"`; None stands for the star."""

    a: "Term"
    pattern: tuple[str | None, ...]


@dataclass(frozen=True)
class Network:
    """`a.isInRange(b)`, or the family of an address."""

    which: Literal["isInRange", "isIpv4", "isIpv6"]
    a: "Term"
    b: "Term | None" = None


Term: TypeAlias = (
    Const
    | Undecided
    | Var
    | Get
    | Has
    | Not
    | And
    | Or
    | If
    | Compare
    | In
    | Is
    | SetOf
    | Contains
    | Empty
    | Like
    | Network
)
TRUE, FALSE = Const(True), Const(False)  # noqa: FBT003 - a value of the language.


def parts(term: Term) -> Iterator[Term]:
    """Return a term and all terms in it."""
    yield term
    for each in fields(term):
        inner: object = getattr(term, each.name)
        for one in cast("tuple[object, ...]", inner) if isinstance(inner, tuple) else (inner,):
            if isinstance(one, Term):
                yield from parts(one)


def mentions(term: Term, variable: Variable, attribute: str | None = None) -> bool:
    """Tell whether a term looks at a variable's attributes, or at one of them."""
    return any(
        isinstance(each, Get | Has) and each.of == variable and attribute in {None, each.name} for each in parts(term)
    )
