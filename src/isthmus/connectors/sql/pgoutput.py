"""What PostgreSQL's `pgoutput` writes of its log, decoded: protocol version 1, values in text. Pure.

Formats: https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

UNCHANGED = object()
"""Stands for a large value that did not change and is not in the log."""
Cell: TypeAlias = bytes | object | None


class NotPgoutput(ValueError):
    """Bytes that are no message of this protocol."""


@dataclass(frozen=True, slots=True)
class Begin:
    """A transaction that ended at `lsn` begins here; transactions come in the order of their ends."""

    lsn: int


@dataclass(frozen=True, slots=True)
class Commit:
    """The transaction is over; `end` is where the log goes on after it."""

    end: int


@dataclass(frozen=True, slots=True)
class Relation:
    """A table as the rows after this have it: its columns by name with their types."""

    number: int
    schema: str
    name: str
    columns: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Changed:
    """A row that was inserted, changed or deleted; `old` is its key, or the whole of it, where the log has that."""

    kind: Literal["insert", "update", "delete"]
    relation: int
    old: tuple[Cell, ...] | None
    new: tuple[Cell, ...] | None


@dataclass(frozen=True, slots=True)
class Truncated:
    """Tables that were emptied."""

    relations: tuple[int, ...]


Message: TypeAlias = Begin | Commit | Relation | Changed | Truncated


def decoded(told: bytes) -> Message | None:  # noqa: PLR0911 - one line for each message.
    """Return a message; nothing for those that say nothing of rows. Raises NotPgoutput."""
    try:
        reader = _Reader(told)
        match reader.letter():
            case "B":
                return Begin(reader.number("q"))
            case "C":
                reader.number("B")
                reader.number("q")
                return Commit(reader.number("q"))
            case "R":
                return _relation(reader)
            case "I":
                return _inserted(reader)
            case "U":
                return _updated(reader)
            case "D":
                return _deleted(reader)
            case "T":
                return _truncated(reader)
            case "O" | "Y" | "M":
                return None
            case other:
                raise NotPgoutput(f"{other!r} begins no message")
    except (struct.error, UnicodeDecodeError, IndexError) as error:
        raise NotPgoutput("the message breaks off") from error


class _Reader:
    def __init__(self, told: bytes) -> None:
        self._told, self._at = told, 0

    def number(self, form: str) -> int:
        (found,) = struct.unpack_from(f">{form}", self._told, self._at)
        self._at += struct.calcsize(form)
        return int(found)

    def letter(self) -> str:
        found = self._told[self._at : self._at + 1]
        if not found:
            raise IndexError
        self._at += 1
        return found.decode("ascii")

    def text(self) -> str:
        end = self._told.index(b"\0", self._at) if b"\0" in self._told[self._at :] else -1
        if end < 0:
            raise IndexError
        found = self._told[self._at : end].decode()
        self._at = end + 1
        return found

    def bytes(self, count: int) -> bytes:
        found = self._told[self._at : self._at + count]
        if count < 0 or len(found) != count:
            raise IndexError
        self._at += count
        return found

    def row(self) -> tuple[Cell, ...]:
        return tuple(self._cells())

    def _cells(self) -> Iterator[Cell]:
        for _ in range(self.number("h")):
            match self.letter():
                case "n":
                    yield None
                case "u":
                    yield UNCHANGED
                case "t":
                    yield self.bytes(self.number("i"))
                case other:
                    raise NotPgoutput(f"{other!r} begins no value")


def _relation(reader: _Reader) -> Relation:
    number, schema, name = reader.number("I"), reader.text(), reader.text()
    reader.letter()
    columns: list[tuple[str, int]] = []
    for _ in range(reader.number("h")):
        reader.number("B")
        columns.append((reader.text(), reader.number("I")))
        reader.number("i")
    return Relation(number, schema, name, tuple(columns))


def _inserted(reader: _Reader) -> Changed:
    relation = reader.number("I")
    _expect(reader.letter(), "N")
    return Changed("insert", relation, None, reader.row())


def _updated(reader: _Reader) -> Changed:
    relation, old = reader.number("I"), None
    letter = reader.letter()
    if letter in "KO":
        old, letter = reader.row(), reader.letter()
    _expect(letter, "N")
    return Changed("update", relation, old, reader.row())


def _deleted(reader: _Reader) -> Changed:
    relation = reader.number("I")
    _expect(reader.letter(), "KO")
    return Changed("delete", relation, reader.row(), None)


def _truncated(reader: _Reader) -> Truncated:
    count = reader.number("i")
    reader.number("B")
    return Truncated(tuple(reader.number("I") for _ in range(count)))


def _expect(letter: str, expected: str) -> None:
    if letter not in expected:
        raise NotPgoutput(f"{letter!r} stands where {expected} should")


def lsn_text(lsn: int) -> str:
    """Return a place in the log as PostgreSQL writes it: `16/B374D848`."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


def lsn_number(told: str) -> int:
    """Return a place in the log as a number; raises ValueError."""
    high, _, low = told.partition("/")
    return (int(high, 16) << 32) | int(low, 16)
