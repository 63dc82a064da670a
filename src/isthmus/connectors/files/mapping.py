"""Rows of files in our words and back, as the person who connected them has said. Pure."""

from collections.abc import Iterator, Mapping

from isthmus.connectors.files.layouts import Drop
from isthmus.kernel.errors import Invalid
from isthmus.kernel.layouts import columns, words
from isthmus.kernel.marks import Json
from isthmus.kernel.words import Word

UNREADABLE = "isthmus:unreadable"
"""The place in a row where the cause stands, for one that could not be read."""
SCALAR, ANY = "text number truth null", "text number truth list map null"


class LineUnreadable(Invalid):
    """A line of a file cannot be read; the others are."""

    code, title = "line-unreadable", "A line of a file cannot be read"


def expected(drop: Drop) -> Mapping[str, str]:
    """Return what a row must hold: its key; lists and maps only where a field is meant to take them.

    A file that lacks a column is refused as a whole, so that here only rows that name little lack one.
    """
    found = dict.fromkeys(drop.columns, f"{SCALAR} absent")
    for way in drop.ways.values():
        if way.form == "json":
            found[way.column] = f"{ANY} absent"
    return found | dict.fromkeys(drop.keys, "text number null") | {UNREADABLE: "text absent"}


def told(drop: Drop, body: Mapping[str, Json]) -> Iterator[Word]:
    """Yield what a row says of its record; raises LineUnreadable for one that could not be read."""
    cause = body.get(UNREADABLE)
    if cause is not None:
        raise LineUnreadable(f"{cause}.", fix="Mend the file; it is read again when it has changed")
    try:
        yield from words(drop, _pointed(drop, body))
    except ValueError as error:
        reason = str(error)
        raise LineUnreadable(
            f"{reason[:1].upper()}{reason[1:]}.", fix="Mend the row, or the fields in `files`"
        ) from error


def said(drop: Drop, fields: Mapping[str, Json], links: Mapping[str, str]) -> dict[str, Json]:
    """Return what a change says of the columns."""
    found = columns(drop, fields, links)
    if drop.decimal == ",":
        for name in _numeric(drop) & found.keys():
            if found[name] is not None:
                found[name] = str(found[name]).replace(".", ",")
    return found


def _pointed(drop: Drop, body: Mapping[str, Json]) -> Mapping[str, Json]:
    """Return a row whose numbers have a decimal point, and nothing between thousands."""
    if drop.decimal == ".":
        return body
    found = dict(body)
    for name in _numeric(drop) & found.keys():
        value = found[name]
        if isinstance(value, str):
            found[name] = "".join(value.replace(".", "").split()).replace(",", ".")
    return found


def _numeric(drop: Drop) -> set[str]:
    return {way.column for way in drop.ways.values() if way.money or way.form == "number"}
