"""Versions of the interface: the header Isthmus-Version pins the newest that is not younger than its date."""

from datetime import date

from isthmus.gateway.errors import VersionUnknown

VERSIONS = (date(2026, 11, 22),)
"""Days on which something changed that a caller could notice, oldest first."""


def pinned(header: str | None) -> str:
    """Return the version that answers; without the header the newest. Raises VersionUnknown."""
    if header is None:
        return VERSIONS[-1].isoformat()
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
