"""Where reading stands. Lists go on after an id; days go on after a campaign of a day, and keep which days had rows.

Google Ads tells no time of change, and restates what a day cost for weeks: each run reads the last days again. A day
without cost is not told at all, so that the cursor keeps which campaigns had a row on which of these days, as a number
in base 16 whose bits are days; what is not told again is zero.
"""

from collections.abc import Iterator
from datetime import date, timedelta

import msgspec
from msgspec import Struct

from isthmus.sync.connector import ConnectorError

DAY = timedelta(days=1)


class Listed(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a list stands: what has a greater id comes next."""

    after: int = 0


class Days(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where days stand. While a run is under way `until` is its last day, and `day` with `after` what was read last.

    `ended` is the last day of the last whole run. The bits of `known` (of the run before) and `seen` (of this one)
    count the days from `base` on.
    """

    ended: date | None = None
    base: date | None = None
    known: dict[str, str] = {}
    until: date | None = None
    day: date | None = None
    after: int = 0
    seen: dict[str, str] = {}

    def begun(self, *, today: date, window: int, history: int) -> "Days":
        """Return it at the start of a run, or as it is when one was interrupted; `window` and `history` are in days."""
        if self.until is not None:
            return self
        if self.ended is None or self.base is None:
            base, first = today - (window - 1) * DAY, today - (history - 1) * DAY
            return Days(base=base, until=today, day=min(base, first))
        first = min(self.base, self.ended - (window - 1) * DAY)
        return Days(
            ended=self.ended, base=self.base, known=self.known, until=max(today, self.ended), day=first, after=0
        )

    def moved(self, read: list[tuple[date, int]], *, whole: bool) -> "Days":
        """Return it after rows, each a day and a campaign; `whole` tells that no more is left of what was asked for."""
        seen = self.seen
        if (base := self.base) is not None:
            marks: dict[str, int] = {}
            for at, campaign in read:
                if at >= base:
                    marks[str(campaign)] = marks.get(str(campaign), 0) | 1 << (at - base).days
            seen = seen | {own: format(int(seen.get(own, "0"), 16) | bits, "x") for own, bits in marks.items()}
        last = self.day if self.after else self.until
        day, after = read[-1] if not whole else (last + DAY if last else None, 0)
        return msgspec.structs.replace(self, day=day, after=after, seen=seen)

    @property
    def left(self) -> bool:
        """Tell whether days are left to be read."""
        return self.until is not None and self.day is not None and self.day <= self.until

    def gone(self) -> Iterator[tuple[str, date]]:
        """Yield the campaigns and days that had a row in the run before, and had none in this one."""
        if (base := self.base) is None:
            return
        for own, bits in self.known.items():
            missing = int(bits, 16) & ~int(self.seen.get(own, "0"), 16)
            yield from ((own, base + at * DAY) for at in range(missing.bit_length()) if missing >> at & 1)

    def done(self, *, window: int) -> "Days":
        """Return it at the end of a run."""
        if self.until is None or self.base is None:
            return self
        base = max(self.base, self.until - (window - 1) * DAY)
        by = (base - self.base).days
        known = {own: format(int(bits, 16) >> by, "x") for own, bits in self.seen.items() if int(bits, 16) >> by}
        return Days(ended=self.until, base=base, known=known)


def text_of(cursor: Listed | Days) -> str:
    """Return the text form."""
    return msgspec.json.encode(cursor).decode()


def listed(text: str | None) -> Listed:
    """Read where a list stands; raises ConnectorError."""
    try:
        return Listed() if text is None else msgspec.json.decode(text, type=Listed)
    except msgspec.DecodeError as error:
        raise _foreign() from error


def days(text: str | None) -> Days:
    """Read where days stand; raises ConnectorError."""
    try:
        return Days() if text is None else msgspec.json.decode(text, type=Days)
    except msgspec.DecodeError as error:
        raise _foreign() from error


def _foreign() -> ConnectorError:
    return ConnectorError("The cursor is not one of Google Ads'.", fix="Read the feed from the start.")
