"""Filters and paths of RFC 7644 (§3.4.2.2, figure 1; §3.5.2, figure 7), read into small trees.

A filter has at most 2,000 characters, 50 comparisons and 20 levels, so that no client makes us work without end.
"""

import json
import re
from dataclasses import dataclass
from typing import TypeAlias

from isthmus.auth.scim.errors import InvalidFilter, InvalidPath

CHARACTERS_MAX, TERMS_MAX, DEPTH_MAX = 2_000, 50, 20
OPERATORS = frozenset({"eq", "ne", "co", "sw", "ew", "gt", "ge", "lt", "le"})
Value: TypeAlias = "str | int | float | bool | None"
_TOKEN = re.compile(
    r'\s*(?:(?P<text>"(?:[^"\\\x00-\x1f]|\\.)*")|(?P<mark>[()\[\]])'
    r"|(?P<number>-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w.:$-]))"
    r"|(?P<word>(?:urn:[A-Za-z0-9.:_-]+:)?[A-Za-z$][A-Za-z0-9_$-]*(?:\.[A-Za-z$][A-Za-z0-9_$-]*)?))"
)
_CONSTANTS: dict[str, Value] = {"true": True, "false": False, "null": None}


@dataclass(frozen=True)
class Compare:
    """An attribute compared with a value; `pr` asks only whether it is there."""

    path: str
    operator: str
    value: Value = None


@dataclass(frozen=True)
class Within:
    """One value of an attribute for which a filter holds: `emails[type eq "work"]`."""

    path: str
    inner: "Filter"


@dataclass(frozen=True)
class Every:
    """All of these."""

    parts: "tuple[Filter, ...]"


@dataclass(frozen=True)
class Some:
    """One of these at least."""

    parts: "tuple[Filter, ...]"


@dataclass(frozen=True)
class Not:
    """Not this."""

    part: "Filter"


Filter: TypeAlias = Compare | Within | Every | Some | Not


@dataclass(frozen=True)
class Path:
    """Where a change is made: an attribute, perhaps only some of its values, perhaps a part of them."""

    attribute: str
    chosen: Filter | None = None
    part: str = ""


def read_filter(text: str) -> Filter:
    """Return the filter; raises InvalidFilter."""
    reading = _Reading(text)
    found = reading.either()
    reading.finish()
    return found


def read_path(text: str) -> Path:
    """Return the path of a change; raises InvalidPath."""
    try:
        reading = _Reading(text)
        attribute = reading.word()
        chosen, part = None, ""
        if reading.takes("["):
            chosen = reading.either()
            reading.need("]")
            if reading.rest.startswith("."):
                reading.skip(1)
                part = reading.word()
        else:
            attribute, part = split(attribute)
        reading.finish()
    except InvalidFilter as error:
        raise InvalidPath(error.detail, fix="Write it as RFC 7644 §3.5.2 does.") from error
    return Path(attribute, chosen, part)


def split(name: str) -> tuple[str, str]:
    """Return attribute and sub-attribute of a name; dots of a schema in front belong to the schema."""
    head, colon, local = name.rpartition(":")
    attribute, _, part = local.partition(".")
    return f"{head}{colon}{attribute}", part


class _Reading:
    """A filter as it is read, from left to right."""

    def __init__(self, text: str) -> None:
        if len(text) > CHARACTERS_MAX:
            raise _refused(f"It has more than {CHARACTERS_MAX} characters.")
        self._text, self._at, self._terms, self._depth = text, 0, 0, 0

    @property
    def rest(self) -> str:
        """What is not read yet."""
        return self._text[self._at :]

    def skip(self, count: int) -> None:
        self._at += count

    def finish(self) -> None:
        """Raise InvalidFilter for what stands behind the end."""
        if self.rest.strip():
            raise self._stumbled()

    def either(self) -> Filter:
        """Read alternatives."""
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise _refused(f"It is nested more than {DEPTH_MAX} deep.")
        parts = [self._every()]
        while self._takes_word("or"):
            parts.append(self._every())
        self._depth -= 1
        return parts[0] if len(parts) == 1 else Some(tuple(parts))

    def takes(self, mark: str) -> bool:
        """Read a mark if it is next."""
        match = self._next()
        if match is None or match["mark"] != mark:
            return False
        self._at = match.end()
        return True

    def need(self, mark: str) -> None:
        """Read a mark that must be next."""
        if not self.takes(mark):
            raise self._stumbled()

    def word(self) -> str:
        """Read a name."""
        match = self._next()
        if match is None or match["word"] is None:
            raise self._stumbled()
        self._at = match.end()
        return match["word"]

    def _every(self) -> Filter:
        parts = [self._single()]
        while self._takes_word("and"):
            parts.append(self._single())
        return parts[0] if len(parts) == 1 else Every(tuple(parts))

    def _single(self) -> Filter:
        place = self._at
        if self._takes_word("not"):
            if self.takes("("):
                return Not(self._closed())
            self._at = place
        if self.takes("("):
            return self._closed()
        path = self.word()
        if self.takes("["):
            inner = self.either()
            self.need("]")
            return Within(path, inner)
        return self._comparison(path)

    def _closed(self) -> Filter:
        inner = self.either()
        self.need(")")
        return inner

    def _comparison(self, path: str) -> Compare:
        self._terms += 1
        if self._terms > TERMS_MAX:
            raise _refused(f"It has more than {TERMS_MAX} comparisons.")
        operator = self.word().lower()
        if operator == "pr":
            return Compare(path, operator)
        if operator not in OPERATORS:
            raise _refused(f"There is no operator {operator[:20]!r}.")
        return Compare(path, operator, self._value())

    def _value(self) -> Value:
        match = self._next()
        if match is None or match["mark"] is not None:
            raise self._stumbled()
        self._at = match.end()
        if match["word"] is not None:
            if match["word"].lower() not in _CONSTANTS:
                raise _refused(f"{match['word'][:20]!r} is no value; texts stand in double quotes.")
            return _CONSTANTS[match["word"].lower()]
        try:
            return json.loads(match["text"] or match["number"])
        except ValueError as error:
            raise _refused("A text has an escape that JSON does not know.") from error

    def _takes_word(self, wanted: str) -> bool:
        match = self._next()
        if match is None or (match["word"] or "").lower() != wanted:
            return False
        self._at = match.end()
        return True

    def _next(self) -> re.Match[str] | None:
        return _TOKEN.match(self._text, self._at)

    def _stumbled(self) -> InvalidFilter:
        place = len(self._text) - len(self.rest.lstrip())
        return _refused(f"It cannot be read from character {place + 1} on.")


def _refused(detail: str) -> InvalidFilter:
    return InvalidFilter(f"The filter is not understood. {detail}", fix="Write it as RFC 7644 §3.4.2.2 does.")
