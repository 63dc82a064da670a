"""Versions of the interface: the header Isthmus-Version pins the newest that is not younger than its date."""

import re
from datetime import date

from isthmus.gateway.errors import VersionUnknown

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
VERSIONS = (date(2026, 11, 22),)
"""Days on which something changed that a caller could notice, oldest first."""


def _since(day: str) -> str:
    """Return the regular expression of the days since one, written as YYYY-MM-DD; it takes 2026-13-99 for one."""
    later = [
        f"{day[:place]}[{int(digit) + 1}-9]{re.sub('[0-9]', '[0-9]', day[place + 1 :])}"
        for place, digit in enumerate(day)
        if digit.isdigit() and digit != "9"
    ]
    return f"^({'|'.join([day, *later])})$"


PATTERN = _since(VERSIONS[0].isoformat())
"""What the header looks like: a day since the first version."""


def pinned(header: str | None) -> str:
    """Return the version that answers; without the header the newest. Raises VersionUnknown."""
    if header is None:
        return VERSIONS[-1].isoformat()
    if not _DAY.fullmatch(header):  # Python reads weeks, too, which the description does not promise.
        raise VersionUnknown(f"Isthmus-Version {header[:40]!r} is not a date.", fix=_fix())
    try:
        wanted = date.fromisoformat(header)
    except ValueError as error:
        raise VersionUnknown(f"Isthmus-Version {header[:40]!r} is not a date.", fix=_fix()) from error
    known = [each for each in VERSIONS if each <= wanted]
    if not known:
        raise VersionUnknown(f"There was no version on {wanted.isoformat()}.", fix=_fix())
    return known[-1].isoformat()


def _fix() -> str:
    return f"Send {VERSIONS[-1].isoformat()}, or leave it out."
