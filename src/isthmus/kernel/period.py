"""Periods of the calendar: `2026`, `2026-Q4`, `2026-11`."""

import re
from datetime import UTC, datetime, tzinfo

from msgspec import Struct

from isthmus.kernel.errors import Invalid

_FORM = re.compile(r"(?P<year>\d{4})(?:-(?:Q(?P<quarter>[1-4])|(?P<month>0[1-9]|1[0-2])))?")


class InvalidPeriod(Invalid):
    """The period is not a year, a quarter or a month."""

    code = "invalid-period"


class Period(Struct, frozen=True, order=True):
    """A year, quarter or month; `start` belongs to it, `end` is the first moment after it."""

    start: datetime
    end: datetime
    name: str

    def holds(self, at: datetime) -> bool:
        """Tell whether a moment lies in the period."""
        return self.start <= at < self.end


def period(name: str, *, zone: tzinfo = UTC) -> Period:
    """Return the period of that name in a time zone; raises InvalidPeriod."""
    match = _FORM.fullmatch(name)
    if match is None or match["year"] == "0000":
        raise InvalidPeriod(f"{name!r} is not a period.", fix="Use a year 2026, a quarter 2026-Q4 or a month 2026-11.")
    year = int(match["year"])
    first, months = 1, 12
    if match["quarter"]:
        first, months = int(match["quarter"]) * 3 - 2, 3
    elif match["month"]:
        first, months = int(match["month"]), 1
    last = first + months
    start = datetime(year, first, 1, tzinfo=zone)
    end = datetime(year + (last > 12), (last - 1) % 12 + 1, 1, tzinfo=zone)  # noqa: PLR2004 - a year has 12 months.
    return Period(start=start.astimezone(UTC), end=end.astimezone(UTC), name=name)
