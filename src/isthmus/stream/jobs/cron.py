"""When a schedule comes: cron expressions read in a time zone of the IANA database.

What stands at a fixed hour comes once on every day: when clocks go forward over it, right after the gap; when they go
back over it, the first time only. What comes every so often (`*` in minutes or hours) follows elapsed time instead.
That is how cron of Debian does it, and `cronsim`, which reads the expressions, after it.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from isthmus.kernel.errors import Invalid

FIELDS = 5
COUNTED_MAX = 2_000


class BadCron(Invalid):
    """The expression is none, or never comes."""

    code, title = "bad-cron", "The cron expression cannot be read"


class BadZone(Invalid):
    """There is no such time zone."""

    code, title = "bad-zone", "There is no such time zone"


@lru_cache(maxsize=256)
def zone_of(name: str) -> ZoneInfo:
    """Return a time zone by its name; raises BadZone."""
    try:
        return ZoneInfo(name)
    except (OSError, KeyError, ValueError) as error:
        raise BadZone(f"There is no time zone {name!r}.", fix="Name one such as Europe/Brussels, or UTC.") from error


def check_cron(cron: str) -> str:
    """Return an expression with single blanks; raises BadCron."""
    parts = cron.split()
    if len(parts) != FIELDS:
        raise BadCron(
            f"{cron!r} has {len(parts)} fields.",
            fix="Give minute, hour, day of the month, month and day of the week, such as '0 6 * * 1-5'.",
        )
    plain = " ".join(parts)
    following(plain, ZoneInfo("UTC"), after=datetime(2026, 1, 1, tzinfo=UTC))
    return plain


def moments(cron: str, zone: ZoneInfo, *, after: datetime) -> Iterator[datetime]:
    """Yield the moments after one, in UTC, each later than the one before; raises BadCron."""
    last = after
    try:
        for local in CronSim(cron, after.astimezone(zone)):
            at = local.astimezone(UTC)
            # In the hour that comes twice, what stands at a fixed time is found in the first one again.
            if at > last:
                last = at
                yield at
    except CronSimError as error:
        raise BadCron(f"{cron!r} is no cron expression: {error}.", fix="Give one such as '0 6 * * 1-5'.") from error


def following(cron: str, zone: ZoneInfo, *, after: datetime) -> datetime:
    """Return the next moment after one, in UTC; raises BadCron for an expression that never comes."""
    for at in moments(cron, zone, after=after):
        return at
    raise BadCron(f"{cron!r} never comes.", fix="Give one such as '0 6 * * 1-5'.")


def newest_since(cron: str, zone: ZoneInfo, *, since: datetime, now: datetime) -> tuple[datetime, int]:
    """Return the newest moment from `since` (a moment itself) to `now`, and how many there were before it.

    Beyond `COUNTED_MAX` they are no longer counted one by one.
    """
    newest, count = _last(cron, zone, since=since, now=now)
    if count == COUNTED_MAX:
        near = max(newest, now - (newest - since))
        newest, further = _last(cron, zone, since=near, now=now)
        count += further
    return newest, count


def _last(cron: str, zone: ZoneInfo, *, since: datetime, now: datetime) -> tuple[datetime, int]:
    newest, count = since, 0
    for at in moments(cron, zone, after=since):
        if at > now or count == COUNTED_MAX:
            break
        newest, count = at, count + 1
    return newest, count
