"""Values in what libraries send: moments by clocks that may be wrong, ids that may be numbers. Pure."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import msgspec

from isthmus.kernel.marks import Json

_MILLISECONDS_FROM = 100_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def moment(value: Json) -> datetime | None:
    """Return a moment from ISO 8601, or from seconds or milliseconds since 1970; nothing for what is none."""
    if isinstance(value, str) and not value.replace(".", "", 1).isdecimal():
        try:
            read = datetime.fromisoformat(value.strip())
        except ValueError:
            return None
        return read.astimezone(UTC) if read.tzinfo is not None else read.replace(tzinfo=UTC)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    number = float(value)
    try:
        return _EPOCH + timedelta(seconds=number / 1_000 if abs(number) >= _MILLISECONDS_FROM else number)
    except (OverflowError, ValueError):
        return None


def happened(said: datetime | None, *, sent: datetime | None, received: datetime) -> datetime:
    """Return when something happened, by our clock.

    A sender whose clock is wrong says both moments by it, so only the time between them counts; nothing happens after
    it was received.
    """
    try:
        at = said or received
        return min(at if sent is None else received - (sent - at), received)
    except OverflowError:
        return received


def own_id(event: Json) -> str:
    """Return an id for an event that came without: the same for what is the same."""
    return f"sha256:{sha256(msgspec.json.encode(event, order='deterministic')).hexdigest()}"


def first_of(values: Iterable[Json], read: Callable[[Json], str | None]) -> str | None:
    """Return the first of some values that can be read."""
    return next((found for each in values if (found := read(each)) is not None), None)


def identifier(value: Json) -> str | None:
    """Return an id, which some send as a number; nothing for an empty one."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    return str(value).strip() or None


def mapping(value: Json) -> dict[str, Json]:
    """Return an object; an empty one for what is none."""
    return value if isinstance(value, dict) else {}
