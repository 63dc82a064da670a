"""Columns: which fields of ours stand where in a vendor's row, both ways. Pure.

A path is names joined by dots. A path that the row lacks says nothing of our field; null there clears it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from hashlib import blake2b
from typing import cast

import msgspec

from isthmus.kernel.errors import IsthmusError
from isthmus.kernel.marks import Json
from isthmus.kernel.money import exact, minor_digits
from isthmus.kernel.words import Word, text
from isthmus.sync.rest.ways import MOMENT, OWN_ID, TEXT, Row, Way

_DIGEST_BYTES = 8
_MISSING: Json = "\0missing"
UNSAID: Json = "\0unsaid"
"""What `read` returns for a field of which the row says nothing after all."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """Fields of ours that stand at paths of theirs.

    `read` takes the values at the paths; `write` takes ours as wanted, the rest as they stand, and the values at the
    paths now. `kinds` are what may stand at each path. A `link` names another row of the system. `written` tells
    whether the vendor takes it: at a change, only with a new record (`NEW`), or never.
    """

    ours: tuple[str, ...]
    theirs: tuple[str, ...]
    read: Callable[[Sequence[Json]], Sequence[Json]]
    write: Callable[[Sequence[Json], Sequence[Json]], Sequence[Json]]
    kinds: tuple[str, ...]
    link: bool = False
    written: str = "always"


ALWAYS, NEW, NEVER = "always", "new", "never"


def col(ours: str, path: str, way: Way = TEXT, *, written: str = ALWAYS) -> Column:
    """Return the column of one field at one path."""
    return Column(
        ours=(ours,),
        theirs=(path,),
        read=lambda at: (way.read(at[0]),),
        write=lambda wanted, now: (way.write(wanted[0], now[0]),),
        kinds=(way.kinds,),
        written=written,
    )


def seen(ours: str, path: str, way: Way = TEXT) -> Column:
    """Return the column of a field that is read and never written."""
    return col(ours, path, way, written=NEVER)


def first_of(ours: str, *paths: str) -> Column:
    """Return the column of a text that is the first one at several paths; it is never written."""
    return Column(
        ours=(ours,),
        theirs=paths,
        read=lambda at: (next((found for each in at if (found := text(each))), None),),
        write=lambda _, now: now,
        kinds=("text null",) * len(paths),
        written=NEVER,
    )


def either(
    ours: str, path: str, ended: Mapping[str, str], *, open_: str, place: str, table: Mapping[str, str]
) -> Column:
    """Return the column of a field told by a word at `path` where `ended` knows it, else a number at `place`.

    Both tables are theirs to ours; one that neither knows says nothing. `open_` is the word beside a number.
    """
    home = {ours: int(theirs) for theirs, ours in reversed(list(table.items()))}
    ends = {ours: theirs for theirs, ours in ended.items()}

    def read(at: Sequence[Json]) -> Sequence[Json]:
        return (ended.get(str(at[0])) or table.get(str(at[1]), UNSAID),)

    def write(wanted: Sequence[Json], now: Sequence[Json]) -> Sequence[Json]:
        said = str(wanted[0])
        return ends.get(said, open_), now[1] if said in ends else home.get(said, now[1])

    return Column(ours=(ours,), theirs=(path, place), read=read, write=write, kinds=("text", "number null"))


def link(ours: str, path: str, *, written: str = ALWAYS) -> Column:
    """Return the column of a field that names another row of the system by its id."""
    return Column(
        ours=(ours,),
        theirs=(path,),
        read=lambda at: (OWN_ID.read(at[0]),),
        write=lambda wanted, now: (OWN_ID.write(wanted[0], now[0]),),
        kinds=(OWN_ID.kinds,),
        link=True,
        written=written,
    )


def names(first: str, last: str, path: str, *, halves: tuple[str, str] | None = None) -> Column:
    """Return the column of two halves of a name that the vendor holds as one text; put both into `together`.

    Where it tells the `halves` as well, they are read at their own paths, and written as one.
    """

    def read(at: Sequence[Json]) -> Sequence[Json]:
        if halves:
            return text(at[1]), text(at[2])
        head, _, rest = (text(at[0]) or "").partition(" ")
        return head or None, rest.strip() or None

    def write(wanted: Sequence[Json], now: Sequence[Json]) -> Sequence[Json]:
        return (" ".join(half for each in wanted if (half := text(each))), *now[1:])

    theirs = (path, *(halves or ()))
    return Column(ours=(first, last), theirs=theirs, read=read, write=write, kinds=("text null",) * len(theirs))


def when(ours: str, day: str, clock: str) -> Column:
    """Return the column of a moment in UTC that the vendor holds as a day and hours and minutes, which may lack."""

    def read(at: Sequence[Json]) -> Sequence[Json]:
        date, time = text(at[0]), text(at[1])
        return (MOMENT.read(f"{date}T{(time or '00:00')[:5]}") if date else None,)

    def write(wanted: Sequence[Json], _: Sequence[Json]) -> Sequence[Json]:
        said = MOMENT.read(wanted[0])
        return (said[:10], said[11:16]) if isinstance(said, str) else (None, None)

    return Column(ours=(ours,), theirs=(day, clock), read=read, write=write, kinds=("text null",) * 2)


def money(ours: str, amount: str, currency: str, *, minor: bool = False, written: str = ALWAYS) -> Column:
    """Return the column of an amount and its currency; `minor` ones are counted in the smallest unit of ISO 4217."""

    def read(at: Sequence[Json]) -> Sequence[Json]:
        code, said = text(at[1]), at[0]
        if code is None or said is None or isinstance(said, bool) or not isinstance(said, int | float | str):
            return (None,)
        code = code.upper()
        try:
            whole = Decimal(str(said))
            found = exact(whole.scaleb(-minor_digits(code)) if minor else whole, code)
        except (InvalidOperation, IsthmusError):
            return (None,)
        return ({"amount": format(found.amount, "f"), "currency": found.currency},)

    def write(wanted: Sequence[Json], now: Sequence[Json]) -> Sequence[Json]:
        said = wanted[0]
        if not isinstance(said, dict):
            return (None, now[1])
        value, code = Decimal(str(said["amount"])), str(said["currency"])
        # JSON has no decimals; the shortest float that reads the same keeps every amount under 10^15 with its cents.
        return (int(value.scaleb(minor_digits(code))) if minor else float(value), code)

    kinds = ("number text null", "text null")
    return Column(ours=(ours,), theirs=(amount, currency), read=read, write=write, kinds=kinds, written=written)


def says(ours: str, value: Json) -> Column:
    """Return the column of a field that every row of the feed says alike."""
    return Column(ours=(ours,), theirs=(), read=lambda _: (value,), write=lambda _, __: (), kinds=(), written=NEVER)


def at(row: Mapping[str, Json], path: str) -> Json:
    """Return what stands at a path; null where it breaks off."""
    found = _at(row, path)
    return None if found is _MISSING else found


def put(row: Row, path: str, value: Json) -> None:
    """Set what stands at a path, making the maps on the way."""
    *way, last = path.split(".")
    for name in way:
        inner = row.get(name)
        row[name] = inner = dict(inner) if isinstance(inner, dict) else {}
        row = inner
    row[last] = value


def _at(row: Mapping[str, Json], path: str) -> Json:
    found: Json = cast("Row", row)
    for name in path.split("."):
        if found is None:
            return None
        if not isinstance(found, dict) or name not in found:
            return _MISSING
        found = found[name]
    return found


def word(kind: str, columns: Iterable[Column], row: Mapping[str, Json]) -> Word:
    """Return what a row says of a record type."""
    fields: Row = {}
    links: dict[str, str] = {}
    for column in columns:
        held = [_at(row, path) for path in column.theirs]
        if any(each is _MISSING for each in held):
            continue
        for name, value in zip(column.ours, column.read(held), strict=True):
            if column.link and isinstance(value, str):
                links[name] = value
            elif value is not UNSAID:
                fields[name] = value
    return Word(type=kind, fields=fields, links=links)


def express(columns: Iterable[Column], said: Mapping[str, Json], *, current: Row | None, merges: bool = False) -> Row:
    """Return what to write for fields of ours, links among them by id, to a row that stands so (none: a new one).

    What stands as it is wanted is left out, and so is what the vendor has no place or no word for. `merges` tells that
    the vendor keeps what a map that it is sent does not name.
    """
    body: Row = {}
    for column in columns:
        allowed = column.written == ALWAYS or (column.written == NEW and current is None)
        if not allowed or not any(name in said for name in column.ours):
            continue
        now = [at(current or {}, path) for path in column.theirs]
        stands = column.read(now)
        wanted = [said.get(name, old) for name, old in zip(column.ours, stands, strict=True)]
        if current is not None and list(stands) == wanted:
            continue
        for path, old, new in zip(column.theirs, now, column.write(wanted, now), strict=True):
            if new == old or (new is None and (current is None or wanted[0] is not None)):
                continue
            # A map that is written in part is written whole, as vendors replace what they are sent.
            if current is not None and not merges and "." in path and path.partition(".")[0] not in body:
                top = path.partition(".")[0]
                body[top] = cast("Json", dict(cast("Row", current.get(top) or {})))
            put(body, path, new)
    return body


def writable(columns: Iterable[Column]) -> tuple[str, ...]:
    """Return the fields that can be written."""
    return tuple(name for column in columns if column.written != NEVER for name in column.ours)


def expected(columns: Iterable[Column]) -> Iterator[tuple[str, str]]:
    """Yield what must stand in a row, by its name and the kinds that it may have."""
    for column in columns:
        for path, kinds in zip(column.theirs, column.kinds, strict=True):
            top, _, inner = path.partition(".")
            yield (top, "map null") if inner else (top, kinds)


def digest(columns: Iterable[Column], row: Mapping[str, Json]) -> str:
    """Return what tells two states of a row apart in what the columns read, whichever request told it."""
    said = [at(row, path) for path in sorted({path for column in columns for path in column.theirs})]
    return blake2b(msgspec.json.encode(said, order="deterministic"), digest_size=_DIGEST_BYTES).hexdigest()
