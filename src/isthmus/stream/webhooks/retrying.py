"""When a delivery is tried again, and when an endpoint is left alone. Pure: chance is an argument.

The schedule is Svix's: at once, then after 5 s, 5 min, 30 min, 2 h, 5 h, 10 h and 10 h, each somewhat later by chance,
so that those that failed together do not come back together. A receiver's Retry-After counts where it is later.
"""

from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from random import Random

DELAYS_S = (5, 300, 1_800, 7_200, 18_000, 36_000, 36_000)
ATTEMPTS_MAX = len(DELAYS_S) + 1
JITTER = 0.2
RETRY_AFTER_S_MAX = 86_400
FAILURES_BEFORE_CLOSED = 5
CLOSED_S, CLOSED_S_MAX = 10, 300
DISABLED_AFTER = timedelta(days=5)
PROBED_EVERY = timedelta(hours=1)


def next_try(step: int, *, now: datetime, after_s: float | None, chance: Random) -> datetime | None:
    """Return when to try again after the attempt number `step` (from 1) failed, or None after the last one."""
    if step >= ATTEMPTS_MAX:
        return None
    delay = DELAYS_S[step - 1] * (1 + JITTER * chance.random())
    return now + timedelta(seconds=max(delay, after_s or 0.0))


def closed_for(failures: int, *, failing_for: timedelta, chance: Random) -> timedelta | None:
    """Return for how long an endpoint is left alone after so many failures in a row; None while it is not.

    It is about as long as it has been failing, so each try that fails doubles the pause.
    """
    if failures < FAILURES_BEFORE_CLOSED:
        return None
    seconds = min(max(failing_for.total_seconds(), CLOSED_S), CLOSED_S_MAX)
    return timedelta(seconds=seconds * (1 + JITTER * chance.random()))


def retry_after_s(header: str | None, *, now: datetime) -> float | None:
    """Return the seconds that a Retry-After asks for (RFC 9110: seconds, or a date), at most a day."""
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdecimal():
        seconds = float(text[:9])
    else:
        try:
            at = parsedate_to_datetime(text)
        except ValueError:
            return None
        seconds = (at - now).total_seconds() if at.tzinfo is not None else 0.0
    return min(max(seconds, 0.0), RETRY_AFTER_S_MAX)
