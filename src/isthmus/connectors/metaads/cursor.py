"""Where reading stands: for campaigns the last one by time of change and id, for spend the days and what had cost.

Meta changes what a day cost for weeks, and tells nothing of a campaign that cost nothing on a day. So the days of a
window are read again in every run, and the cursor knows which campaign had cost something on which of them: what is
told no longer is zero.
"""

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import TypeVar

import msgspec
from msgspec import Struct

from isthmus.sync.connector import ConnectorError

DAY = timedelta(days=1)
Spent = frozenset[tuple[str, date]]
_Kind = TypeVar("_Kind", bound=Struct)


class Cursor(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The last campaign read; `going` tells that a run is under way, which then does not go back a while."""

    since: datetime | None = None
    last: str = ""
    going: bool = False

    def begun(self, *, overlap: timedelta) -> "Cursor":
        """Return it at the start of a run: a while back, or as it is when a run was interrupted."""
        if self.going or self.since is None:
            return self
        return Cursor(since=self.since - overlap)

    def before(self, at: datetime, own: str) -> bool:
        """Tell whether a campaign comes after it."""
        return self.since is None or (at, own) > (self.since, self.last)


class Days(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How far spend was read: `through` by the last whole run, `done` by one under way.

    `spent` has for each campaign a bit for each day since `base` on which it had cost something.
    """

    through: date | None = None
    done: date | None = None
    base: date | None = None
    spent: dict[str, int] = {}

    def begin(self, today: date, *, window: int, first: int) -> date:
        """Return the first day to read: of the window that ended with the last run, or `first` days at the start."""
        start = today - (first - 1) * DAY if self.through is None else self.through - (window - 1) * DAY
        start = min(start, today - (min(window, first) - 1) * DAY)
        return start if self.done is None else max(start, self.done + DAY)

    def known(self) -> Spent:
        """Return what had cost something."""
        if self.base is None:
            return frozenset()
        base = self.base
        return frozenset(
            (own, base + at * DAY)
            for own, bits in self.spent.items()
            for at in range(bits.bit_length())
            if bits >> at & 1
        )


def kept(found: Iterable[tuple[str, date]], *, base: date) -> dict[str, int]:
    """Return what `Days.spent` says of these from a day on."""
    spent: dict[str, int] = {}
    for own, at in found:
        if at >= base:
            spent[own] = spent.get(own, 0) | 1 << (at - base).days
    return spent


def written(cursor: Cursor | Days) -> str:
    """Return the text form."""
    return msgspec.json.encode(cursor).decode()


def parsed(text: str | None, kind: type[_Kind]) -> _Kind:
    """Read the text form; raises ConnectorError."""
    try:
        return kind() if text is None else msgspec.json.decode(text, type=kind)
    except msgspec.DecodeError as error:
        raise ConnectorError("The cursor is not one of Meta's.", fix="Read the feed from the start.") from error
