"""How one value of a vendor becomes ours and goes back: named ways, each of them pure.

A way's `read` takes what stands at a path and returns our value; its `write` takes our value and what stands there now,
and returns what to put there. A value that a way does not understand is none.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import cast

from isthmus.kernel.marks import Json
from isthmus.kernel.words import text

Row = dict[str, Json]


def _as_said(value: Json, _: Json) -> Json:
    return value


@dataclass(frozen=True)
class Way:
    """`kinds` are what may stand at the path, in the words of `Feed.expects`."""

    kinds: str
    read: Callable[[Json], Json]
    write: Callable[[Json, Json], Json] = _as_said


def number(value: Json) -> int | float | None:
    """Return a number; nothing for anything else."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def instant(value: Json) -> datetime | None:
    """Return a time in UTC from text (ISO 8601, with a blank too; without a zone UTC is meant) or seconds since 1970.

    Nothing for what is neither.
    """
    if (seconds := number(value)) is not None:
        return datetime.fromtimestamp(seconds, UTC)
    try:
        at = datetime.fromisoformat(value.strip()) if isinstance(value, str) else None
    except ValueError:
        return None
    return at and (at.astimezone(UTC) if at.tzinfo is not None else at.replace(tzinfo=UTC))


def iso(at: datetime) -> str:
    """Return a time such as `2026-11-22T09:30:00Z`, with a fraction only where there is one."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def seconds(at: datetime) -> str:
    """Return a time as whole seconds since 1970."""
    return str(int(at.timestamp()))


def _moment(value: Json) -> Json:
    at = instant(value)
    return iso(at) if at else None


def _milliseconds(value: Json) -> Json:
    found = number(value)
    return None if found is None else _moment(found / 1000)


def _day(value: Json) -> Json:
    try:
        return date.fromisoformat(value[:10]).isoformat() if isinstance(value, str) else None
    except ValueError:
        return None


def _own(value: Json) -> Json:
    """Return an id as text."""
    found = number(value)
    return text(value) if found is None else str(found)


def _own_back(value: Json, _: Json) -> Json:
    return int(value) if isinstance(value, str) and value.isdecimal() else value


def _since_1970(scale: int) -> Callable[[Json, Json], Json]:
    def write(value: Json, _: Json) -> Json:
        at = instant(value)
        return int(at.timestamp() * scale) if at else None

    return write


def _lower(value: Json) -> Json:
    found = text(value)
    return found.lower() if found else None


TEXT = Way("text null", text)
BLANK = Way("text null", text, lambda value, _: "" if value is None else value)
"""Text where the vendor says none by an empty one, and refuses null."""
LOWER = Way("text null", _lower)
NUMBER = Way("number null", number)
TRUTH = Way("truth null", lambda value: value if isinstance(value, bool) else None)
OWN_ID = Way("number text null", _own, _own_back)
MOMENT = Way("text null", _moment)
UNIX_S = Way("number null", _moment, _since_1970(1))
UNIX_MS = Way("number null", _milliseconds, _since_1970(1000))
DAY = Way("text null", _day)
TEXTS = Way(
    "list null",
    lambda value: [each for each in value if isinstance(each, str)] if isinstance(value, list) else [],
    lambda value, _: value or [],
)


def _share(value: Json) -> Json:
    found = number(value)
    return None if found is None else round(found / 100, 6)


def _percent(value: Json, _: Json) -> Json:
    found = number(value)
    return None if found is None else round(found * 100)


def _clock(value: Json) -> Json:
    hours, _, minutes = value.partition(":") if isinstance(value, str) else ("", "", "")
    return int(hours) * 3600 + int(minutes) * 60 if hours.isdecimal() and minutes.isdecimal() else None


def _clock_back(value: Json, _: Json) -> Json:
    found = number(value)
    return None if found is None else f"{int(found) // 3600:02}:{int(found) % 3600 // 60:02}"


PERCENT = Way("number null", _share, _percent)
"""A share of 1 that the vendor says in whole hundredths."""
CLOCK = Way("text null", _clock, _clock_back)
"""Seconds that the vendor says as hours and minutes, such as `01:30`."""


def alike(*names: str) -> dict[str, str]:
    """Return the table of words that are the same there and here."""
    return {each: each for each in names}


def words(table: Mapping[str, str], *, other: str | None = None, back: Mapping[str, str] | None = None) -> Way:
    """Return the way of a list of choices: theirs to ours by `table`; none, and one that is not in it, is `other`.

    `back` is ours to theirs where several of ours mean one of theirs; what it lacks is not written. A word stays there
    that already means what is wanted.
    """
    home = back if back is not None else {ours: theirs for theirs, ours in reversed(list(table.items()))}

    def read(value: Json) -> Json:
        return table.get(value, other) if isinstance(value, str) else other

    def write(value: Json, current: Json) -> Json:
        if isinstance(current, str) and read(current) == value:
            return current
        return home.get(value) if isinstance(value, str) else None

    return Way("text null", read, write)


def flags(table: Mapping[str, bool]) -> Way:
    """Return the way of words that mean yes or no; others mean neither."""
    return Way("text null", lambda value: table.get(value) if isinstance(value, str) else None)


def each(name: str) -> Way:
    """Return the way of a list of maps of which the texts under a name are read; it is not written."""

    def read(value: Json) -> Json:
        maps = [every for every in value if isinstance(every, dict)] if isinstance(value, list) else []
        return [found for every in maps if (found := text(every.get(name)))]

    return Way("list null", read)


def primary(name: str = "value", *, label: str = "work") -> Way:
    """Return the way of a list of maps of which one is the primary one, such as e-mail addresses.

    The value stands under `name`. Writing changes the primary one and keeps the others; a first one is the primary one,
    with this label.
    """

    def chosen(value: Json) -> Row | None:
        maps = [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
        return next((each for each in maps if each.get("primary") is True), maps[0] if maps else None)

    def read(value: Json) -> Json:
        found = chosen(value)
        return text(found.get(name)) if found else None

    def write(value: Json, current: Json) -> Json:
        held, found = cast("list[Json]", current or []), chosen(current)
        if value is None:
            return [each for each in held if each is not found]
        if found is None:
            return [{name: value, "primary": True, "label": label}]
        return [{**found, name: value} if each is found else each for each in held]

    return Way("list null", read, write)
