"""Queries of the fake: SOQL as far as clients here send it, read by a parser of its own that refuses the rest.

Grammar: https://developer.salesforce.com/docs/atlas.en-us.soql_sosl.meta/soql_sosl/sforce_api_calls_soql_select.htm
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from isthmus.connectors.salesforce.fake.faults import malformed
from isthmus.kernel.marks import Json

_TOKENS = re.compile(
    r"\s*(?:(?P<text>'(?:[^'\\]|\\.)*')"
    r"|(?P<moment>\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d+)?(?:Z|[+-]\d{2}:?\d{2}))"
    r"|(?P<day>\d{4}-\d{2}-\d{2})"
    r"|(?P<number>-?\d+(?:\.\d+)?)"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*)"
    r"|(?P<sign><=|>=|!=|<>|[=<>(),]))"
)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f", "'": "'", '"': '"', "\\": "\\"}
_COMPARISONS = frozenset({"=", "!=", "<>", "<", "<=", ">", ">="})
_WORDS = frozenset({"select", "from", "where", "order", "by", "limit", "offset", "and", "or", "not", "in", "like"})


@dataclass(frozen=True, slots=True)
class Literal:
    """A value in a query; `kind` is text, moment, day, number, truth or null."""

    kind: str
    value: Json


@dataclass(frozen=True, slots=True)
class Comparison:
    """A field compared with one value, or with several."""

    field: str
    sign: str
    values: tuple[Literal, ...]


@dataclass(frozen=True, slots=True)
class Junction:
    """Conditions joined by `and`, `or`, or a single one that is turned round by `not`."""

    kind: str
    parts: tuple["Junction | Comparison", ...]


Condition = Junction | Comparison


@dataclass(frozen=True, slots=True)
class Order:
    """What rows are ordered by; where there is nothing it comes first unless `nulls_last`."""

    field: str
    falling: bool
    nulls_last: bool


@dataclass(frozen=True, slots=True)
class Query:
    """A query; without fields it counts."""

    table: str
    fields: tuple[str, ...]
    where: Condition | None
    order: tuple[Order, ...]
    limit: int | None
    offset: int


def parse(text: str) -> Query:
    """Read a query; raises Refused (MALFORMED_QUERY)."""
    return _Parser(_tokens(text)).query()


def _tokens(text: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    at = 0
    end = len(text.rstrip())
    while at < end:
        match = _TOKENS.match(text, at)
        if match is None:
            raise malformed(f"unexpected char: {text[at : at + 1]!r} at column {at}")
        found.append((str(match.lastgroup), match[str(match.lastgroup)]))
        at = match.end()
    return found


class _Parser:
    def __init__(self, tokens: Sequence[tuple[str, str]]) -> None:
        self._tokens, self._at = tokens, 0

    def query(self) -> Query:
        self._need("select")
        fields = self._fields()
        self._need("from")
        table = self._name()
        where = self._condition() if self._take("where") else None
        order: list[Order] = []
        if self._take("order"):
            self._need("by")
            order.append(self._order())
            while self._take(","):
                order.append(self._order())
        limit = self._count() if self._take("limit") else None
        offset = self._count() if self._take("offset") else 0
        if self._at < len(self._tokens):
            raise malformed(f"unexpected token: '{self._peek()[1]}'")
        return Query(table, fields, where, tuple(order), limit, offset)

    def _fields(self) -> tuple[str, ...]:
        if self._peek()[1].lower() == "count":
            self._at += 1
            self._need("(")
            self._need(")")
            return ()
        found = [self._name()]
        while self._take(","):
            found.append(self._name())
        return tuple(found)

    def _condition(self) -> Condition:
        parts = [self._unary()]
        joined = ""
        while (word := self._peek()[1].lower()) in ("and", "or"):
            # Salesforce reads no mixture of both without brackets.
            if joined not in ("", word):
                raise malformed(f"unexpected token: '{word.upper()}'")
            joined = word
            self._at += 1
            parts.append(self._unary())
        return Junction(joined, tuple(parts)) if joined else parts[0]

    def _unary(self) -> Condition:
        if self._take("not"):
            return Junction("not", (self._unary(),))
        if self._take("("):
            inner = self._condition()
            self._need(")")
            return inner
        return self._comparison()

    def _comparison(self) -> Comparison:
        field = self._name()
        if self._take("not"):
            self._need("in")
            return Comparison(field, "not in", self._values())
        if self._take("in"):
            return Comparison(field, "in", self._values())
        sign = self._peek()[1].lower()
        if sign not in _COMPARISONS and sign != "like":
            raise malformed(f"unexpected token: '{sign}'")
        self._at += 1
        return Comparison(field, "!=" if sign == "<>" else sign, (self._literal(),))

    def _values(self) -> tuple[Literal, ...]:
        self._need("(")
        found = [self._literal()]
        while self._take(","):
            found.append(self._literal())
        self._need(")")
        return tuple(found)

    def _literal(self) -> Literal:
        kind, said = self._peek()
        self._at += 1
        match kind:
            case "text":
                return Literal(kind, re.sub(r"\\(.)", _unescaped, said[1:-1], flags=re.DOTALL))
            case "moment" | "day":
                return Literal(kind, said)
            case "number":
                return Literal(kind, float(said) if "." in said else int(said))
            case "name" if said.lower() in ("true", "false"):
                return Literal("truth", said.lower() == "true")
            case "name" if said.lower() == "null":
                return Literal("null", None)
            case _:
                raise malformed(f"unexpected token: '{said}'")

    def _order(self) -> Order:
        field, falling, last = self._name(), False, False
        if self._peek()[1].lower() in ("asc", "desc"):
            falling = self._peek()[1].lower() == "desc"
            self._at += 1
        if self._take("nulls"):
            last = self._take("last")
            if not last:
                self._need("first")
        return Order(field, falling, last)

    def _count(self) -> int:
        kind, said = self._peek()
        if kind != "number" or not said.isdecimal():
            raise malformed(f"unexpected token: '{said}'")
        self._at += 1
        return int(said)

    def _name(self) -> str:
        kind, said = self._peek()
        if kind != "name" or said.lower() in _WORDS:
            raise malformed(f"unexpected token: '{said}'")
        self._at += 1
        return said

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._at] if self._at < len(self._tokens) else ("", "<EOF>")

    def _take(self, word: str) -> bool:
        taken = self._peek()[1].lower() == word and self._peek()[0] != "text"
        self._at += taken
        return taken

    def _need(self, word: str) -> None:
        if not self._take(word):
            raise malformed(f"unexpected token: '{self._peek()[1]}'")


def _unescaped(match: re.Match[str]) -> str:
    if match[1] not in _ESCAPES:
        raise malformed(f"Illegal string literal. Line breaks are not allowed in string literals: \\{match[1]}")
    return _ESCAPES[match[1]]
