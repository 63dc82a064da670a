"""Time is an argument: what needs it takes a `Clock` or a `now`, and only `app` holds the system's."""

from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Tells the time."""

    def now(self) -> datetime:
        """Return the present moment, aware, in UTC."""
        ...


class FrozenClock:
    """A clock that stands still until it is moved."""

    def __init__(self, at: datetime) -> None:
        """Stand at `at`, which must be aware."""
        self._at = at.astimezone(UTC)

    def now(self) -> datetime:
        """Return the moment it stands at."""
        return self._at

    def move(self, by: timedelta) -> None:
        """Move forward (or back) by `by`."""
        self._at += by


def milliseconds(at: datetime) -> int:
    """Return Unix milliseconds of an aware moment."""
    return int(at.timestamp() * 1000)


def moment(unix_ms: int) -> datetime:
    """Return the aware UTC moment of Unix milliseconds."""
    return datetime.fromtimestamp(unix_ms / 1000, tz=UTC)
