"""What is left of policies as a condition in SQL, bound and exact: a row on which a `forbid` errs is not shown.

A boolean is compiled to SQL's three values, where null stands for Cedar's error. `case a when true then b when false
then false end` is `a && b`: null and not a value where a errs, which SQL's own `and` is not.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Literal, LiteralString, TypeAlias, TypeGuard, cast
from uuid import UUID

from isthmus.gateway.policy.agreements import CONSENTS, behind
from isthmus.gateway.policy.terms import (
    FALSE,
    TRUE,
    And,
    Compare,
    Const,
    Contains,
    Entity,
    Get,
    Has,
    If,
    Like,
    Not,
    Or,
    Term,
    Undecided,
    Value,
    Var,
)
from isthmus.gateway.policy.vocabulary import entity_type
from isthmus.kernel.ids import InvalidId, text_of, uuid_of
from isthmus.kernel.marks import RecordType
from isthmus.store.records import Condition
from isthmus.store.schema import Schema

_ERROR = "null::boolean"
_NEVER = Condition("false")
_Sql: TypeAlias = str
_EMPTY = {"one": "false", "any": "false", "all": "true"}


def seen(residuals: Iterable[Term], record_type: RecordType, schema: Schema, *, now: datetime) -> Condition | None:
    """Return the condition under which no policy refuses a row, or None when all rows may be seen."""
    writer = _Writer(record_type, schema, now)
    conditions: list[str] = []
    for residual in residuals:
        if residual == FALSE:
            continue
        if isinstance(residual, Const | Undecided):
            return _NEVER
        conditions.append(writer.is_false(residual))
    if not conditions:
        return None
    return Condition(cast("LiteralString", " and ".join(conditions)), tuple(writer.bound))


@dataclass
class _Writer:
    """Writes conditions on one table; values are bound, and names come from declarations."""

    record_type: RecordType
    schema: Schema
    now: datetime
    bound: list[object] = field(default_factory=list[object])

    def is_true(self, term: Term) -> _Sql:
        """Write that a term is true; plain conditions stay plain, so that an index can serve them."""
        match term:
            case And(a, b):
                return f"({self.is_true(a)} and {self.is_true(b)})"
            case Not(a):
                return self.is_false(a)
            case Compare() | Contains() | Like() | Has():
                return f"({self.boolean(term)})"
            case _:
                return f"({self.boolean(term)}) is true"

    def is_false(self, term: Term) -> _Sql:
        """Write that a term is false, which is more than not true."""
        match term:
            case Or(a, b):
                return f"({self.is_false(a)} and {self.is_false(b)})"
            case Not(a):
                return self.is_true(a)
            case _:
                return f"({self.boolean(term)}) is false"

    def boolean(self, term: Term) -> _Sql:
        """Write a term of three values."""
        match term:
            case Const():
                return "true" if term == TRUE else "false" if term == FALSE else _ERROR
            case Not(a):
                return f"not ({self.boolean(a)})"
            case And(a, b):
                return f"case ({self.boolean(a)}) when true then ({self.boolean(b)}) when false then false end"
            case Or(a, b):
                return f"case ({self.boolean(a)}) when true then true when false then ({self.boolean(b)}) end"
            case If(a, b, c):
                test, then = self.boolean(a), self.boolean(b)
                return f"case ({test}) when true then ({then}) when false then ({self.boolean(c)}) end"
            case _:
                return self._leaf(term)

    def _leaf(self, term: Term) -> _Sql:  # noqa: PLR0911 - one for each kind of term.
        match term:
            case Get(_, name):
                column, kind, _ = self._column(name)
                return column if kind == "boolean" else _ERROR
            case Contains(which, Get(_, name), wanted) if name == CONSENTS:
                return self._agreed(which, wanted)
            case Has(_, name):
                return "true" if name in {"id", CONSENTS} else f"({self._column(name)[0]} is not null)"
            case Compare("==", a, b):
                return self._equal(a, b)
            case Compare(op, a, b, decimal):
                return self._ordered(op, a, b, decimal=decimal)
            case Contains(_, Const(frozenset() as values), item):
                return self._among(values, item)
            case Like(Get(_, name), pattern):
                column, kind, target = self._column(name)
                if kind != "text" or target:
                    return _ERROR
                return f"{column} like {self._bind(''.join(_escaped(each) for each in pattern))}"
            case _:
                return _ERROR

    def _agreed(self, which: Literal["one", "all", "any"], wanted: Term) -> _Sql:
        """Write that somebody agreed to something, to all or to any of several things."""
        where = behind(self.record_type, self.schema)
        if not isinstance(wanted, Const) or where is None:
            return _ERROR
        many = wanted.value if isinstance(wanted.value, frozenset) else frozenset({wanted.value})
        if which != "one" and not isinstance(wanted.value, frozenset):
            return _ERROR
        conditions: list[str] = []
        for each in sorted(many, key=str):
            text, bound = where.condition(each, now=self.now) if _sayable(each) else ("false", [])
            conditions.append(text)
            self.bound += bound
        return f"({(' or ' if which == 'any' else ' and ').join(conditions)})" if conditions else _EMPTY[which]

    def _equal(self, a: Term, b: Term) -> _Sql:  # noqa: PLR0911 - one for each pair of kinds.
        left, right = (a, b) if isinstance(a, Get | Var) else (b, a)
        if isinstance(right, Undecided) or isinstance(left, Undecided):
            return _ERROR
        if isinstance(left, Var) and isinstance(right, Var):
            return "true"
        if isinstance(left, Var) or isinstance(right, Var):
            other = right if isinstance(left, Var) else left
            if isinstance(other, Const) and isinstance(own := other.value, Entity) and own.type == self._type:
                return self._is_one_of("id", frozenset({own.id}))
            return self._no(other)
        if isinstance(left, Get) and isinstance(right, Get):
            (one, kind, to), (two, other_kind, other_to) = self._column(left.name), self._column(right.name)
            alike = kind == other_kind and to == other_to
            return f"{one} = {two}" if alike else f"case when {one} is null or {two} is null then null else false end"
        if isinstance(left, Get) and isinstance(right, Const):
            return self._is_one_of(left.name, frozenset({right.value}))
        return _ERROR

    def _no(self, other: Term) -> _Sql:
        """Write that the record is not what is compared with it; an attribute that is missing errs first."""
        return (
            f"case when {self._column(other.name)[0]} is not null then false end" if isinstance(other, Get) else "false"
        )

    def _among(self, values: frozenset[Value], item: Term) -> _Sql:
        if isinstance(item, Get):
            return self._is_one_of(item.name, values)
        if isinstance(item, Var):
            own = frozenset(each.id for each in values if isinstance(each, Entity) and each.type == self._type)
            return self._is_one_of("id", own)
        return _ERROR

    def _is_one_of(self, name: str, values: frozenset[Value]) -> _Sql:
        column, kind, target = self._column(name)
        fit = [fitted for each in values if (fitted := _fitted(each, kind, target)) is not None]
        if not fit:
            return f"case when {column} is not null then false end"
        if len(fit) == 1:
            return f"{column} = {self._bind(fit[0])}"
        return f"{column} = any({self._bind(fit)})"

    def _ordered(self, op: str, a: Term, b: Term, *, decimal: bool) -> _Sql:
        kinds = {"numeric"} if decimal else {"bigint"}
        sides: list[str] = []
        for term in (a, b):
            if isinstance(term, Get):
                column, kind, _ = self._column(term.name)
                sides.append(column if kind in kinds else _ERROR)
            else:
                value = term.value if isinstance(term, Const) else None
                fit = isinstance(value, Decimal) if decimal else type(value) is int
                sides.append(f"{self._bind(value)}::{'numeric' if decimal else 'bigint'}" if fit else _ERROR)
        return _ERROR if _ERROR in sides else f"{sides[0]} {op} {sides[1]}"

    def _column(self, name: str) -> tuple[str, str, str]:
        """Return a column, the type it compares as, and for ids the prefix of their outside form."""
        if name == "id":
            return "id", "uuid", self.record_type.prefix
        declared = self.record_type.field(name)
        if declared is None and name.endswith("_currency"):
            money = self.record_type.field(name.removesuffix("_currency"))
            if money is not None and money.column == "money" and money.personal is None:
                return name, "text", ""
        if declared is None or declared.personal is not None:
            raise KeyError(name)
        kind = "numeric" if declared.column == "money" else declared.column
        return name, kind, self.schema[declared.to].prefix if declared.to else ""

    @property
    def _type(self) -> str:
        return entity_type(self.record_type)

    def _bind(self, value: object) -> _Sql:
        self.bound.append(value)
        return "%s"


def _sayable(value: Value) -> TypeGuard[str]:
    return isinstance(value, str) and "\0" not in value


def _fitted(value: Value, kind: str, prefix: str) -> object | None:
    """Return a value in the form in which a column holds it, or None when no row can equal it."""
    match kind:
        case "uuid":
            return _uuid(prefix, value)
        case "text":
            return value if isinstance(value, str) and "\0" not in value else None
        case "bigint":
            return value if type(value) is int else None
        case "boolean":
            return value if isinstance(value, bool) else None
        case "numeric":
            return value if isinstance(value, Decimal) else None
        case _:
            return None


def _uuid(prefix: str, value: Value) -> UUID | None:
    if not isinstance(value, str):
        return None
    try:
        found = uuid_of(prefix, value) if prefix else UUID(value)
    except (InvalidId, ValueError):
        return None
    return found if (text_of(prefix, found) if prefix else str(found)) == value else None


def _escaped(piece: str | None) -> str:
    if piece is None:
        return "%"
    return piece.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
