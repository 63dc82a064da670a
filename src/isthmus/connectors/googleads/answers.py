"""What answers of Google Ads say: rows, the day it is there, and errors (GoogleAdsFailure)."""

from datetime import date
from email.utils import parsedate_to_datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from isthmus.connectors.googleads.wire import Row
from isthmus.kernel.marks import Json
from isthmus.kernel.words import at_path, text
from isthmus.sync.calls import Answer
from isthmus.sync.connector import NotAsDocumented


def flat(row: Json) -> Row:
    """Return a row of an answer by the names of its fields; raises NotAsDocumented."""
    if not isinstance(row, dict):
        raise NotAsDocumented("A row is no object.", fix="Report it to the author of the connector.")
    found: Row = {}
    for part, fields in row.items():
        if isinstance(fields, dict):
            found |= {f"{part}.{name}": value for name, value in fields.items()}
        else:
            found[part] = fields
    return found


def today_there(answer: Answer, zone: Json) -> date:
    """Return which day it is in a time zone by the clock of who answered; raises NotAsDocumented."""
    try:
        return parsedate_to_datetime(answer.headers.get("date", "")).astimezone(ZoneInfo(str(zone))).date()
    except (ValueError, ZoneInfoNotFoundError) as error:
        raise NotAsDocumented(
            f"Google Ads does not tell which day it is in {zone!r}.", fix="Check `url`, or leave it out."
        ) from error


def failures(answer: Answer) -> tuple[tuple[str, str], ...]:
    """Return the kinds of errors with their codes, such as `queryError` and `UNRECOGNIZED_FIELD`."""
    return tuple(
        (str(kind), str(code))
        for error in _errors(answer)
        if isinstance(named := error.get("errorCode"), dict)
        for kind, code in named.items()
    )


def told(answer: Answer) -> str:
    """Return what an error says, in Google's words."""
    words = [said for error in _errors(answer) if (said := text(error.get("message")))]
    return " ".join(words) or text(at_path(_error(answer), "message")) or answer.said


def delay_s(answer: Answer) -> float | None:
    """Return how long Google asks to wait: `retryDelay` of a quota error, such as `30s`, or the header."""
    for error in _errors(answer):
        said = text(at_path(error, "details", "quotaErrorDetails", "retryDelay")) or ""
        number = said.removesuffix("s")
        if said.endswith("s") and number.replace(".", "", 1).isdecimal():
            return float(number)
    return answer.retry_after_s


def _error(answer: Answer) -> Json:
    try:
        found = answer.json()
    except NotAsDocumented:
        return None
    # What is streamed is a list, and so is its error.
    return at_path(found[0] if isinstance(found, list) and found else found, "error")


def _errors(answer: Answer) -> list[Row]:
    details = at_path(_error(answer), "details")
    each = [one for one in details if isinstance(one, dict)] if isinstance(details, list) else []
    found = [error for one in each if isinstance(several := one.get("errors"), list) for error in several]
    return [error for error in found if isinstance(error, dict)]
