"""Hybrid logical clock: one integer that orders what happened, 48 bits of Unix milliseconds over 16 bits of counter.

Source: Kulkarni et al., "Logical Physical Clocks", 2014, with the physical part in milliseconds.
Ties between systems are broken by the caller on (hlc, system, external id), the same way everywhere.
"""

from datetime import datetime

from isthmus.kernel.clock import milliseconds, moment

COUNTER_BITS = 16
COUNTER_MAX = (1 << COUNTER_BITS) - 1


def stamp(unix_ms: int, counter: int = 0) -> int:
    """Return the stamp of a moment."""
    return (unix_ms << COUNTER_BITS) | counter


def moment_of(hlc: int) -> datetime:
    """Return the wall-clock moment in a stamp."""
    return moment(hlc >> COUNTER_BITS)


def evidence(*, claimed_at: datetime | None, since: datetime | None, until: datetime) -> int:
    """Return the stamp of an observation made in the interval `since`..`until`.

    The system's own stamp `claimed_at` is evidence and is clamped to the interval in which the change was seen here,
    so that a skewed clock can neither rewrite history nor win for ever. Without it the end of the interval counts.
    """
    at = until if claimed_at is None else min(claimed_at, until)
    if since is not None:
        at = max(at, since)
    return stamp(milliseconds(at))


class HybridClock:
    """Gives strictly growing stamps, whatever the wall clock does."""

    def __init__(self, last: int = 0) -> None:
        """Continue after `last`."""
        self._last = last

    def tick(self, now: datetime) -> int:
        """Return a stamp greater than every stamp given or witnessed before."""
        self._last = max(stamp(milliseconds(now)), self._last + 1)
        return self._last

    def witness(self, hlc: int) -> None:
        """Take note of a stamp made elsewhere."""
        self._last = max(self._last, hlc)
