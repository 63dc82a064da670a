"""Meta's wire forms: times, amounts, and the names of feeds and of what their rows hold (Graph API v26.0)."""

from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation

from isthmus.kernel.marks import Json

VERSION = "v26.0"
AUDIENCES, CAMPAIGNS, SPEND = "audiences", "campaigns", "spend"
FEEDS = (AUDIENCES, CAMPAIGNS, SPEND)
# What the client adds: the currency of the ad account, in which budgets are told without naming it.
CURRENCY = "isthmus_currency"
DELETED = "DELETED"
LIVING = ("ACTIVE", "PAUSED", "ARCHIVED", "IN_PROCESS", "WITH_ISSUES")
STATUSES = (*LIVING, DELETED)
# Budgets are told in the smallest unit; of these currencies that is the unit itself, of all others a hundredth
# (https://developers.facebook.com/docs/marketing-api/currencies).
WHOLE = frozenset(["CLP", "COP", "CRC", "HUF", "ISK", "IDR", "JPY", "KRW", "PYG", "TWD", "VND"])
Row = dict[str, Json]

_TEXT, _NUMBER = "text null absent", "number null absent"
EXPECTED: dict[str, dict[str, str]] = {
    AUDIENCES: {
        "id": "text",
        "name": "text",
        "description": _TEXT,
        "subtype": _TEXT,
        "approximate_count_lower_bound": _NUMBER,
        "approximate_count_upper_bound": _NUMBER,
        "time_content_updated": _NUMBER,
        "time_updated": _NUMBER,
    },
    CAMPAIGNS: {
        **dict.fromkeys(("id", "name", "effective_status", "updated_time", CURRENCY), "text"),
        **dict.fromkeys(("objective", "start_time", "stop_time", "daily_budget", "lifetime_budget"), _TEXT),
    },
    SPEND: dict.fromkeys(("campaign_id", "date_start", "date_stop", "spend", "account_currency"), "text"),
}
# What is asked for; the two days come with every row of insights by themselves.
FIELDS = {
    AUDIENCES: ",".join(EXPECTED[AUDIENCES]),
    CAMPAIGNS: ",".join(name for name in EXPECTED[CAMPAIGNS] if name != CURRENCY),
    SPEND: "campaign_id,spend,account_currency",
}


def moment(value: Json) -> datetime | None:
    """Return the time of `2026-11-02T09:00:00+0100`, or of seconds since 1970, in UTC."""
    if isinstance(value, int) and not isinstance(value, bool):
        return datetime.fromtimestamp(value, UTC) if value > 0 else None
    try:
        return datetime.strptime(value, "%Y-%m-%dT%H:%M:%S%z").astimezone(UTC) if isinstance(value, str) else None
    except ValueError:
        return None


def told(at: datetime) -> str:
    """Return a time as `2026-11-02T09:00:00+0100`."""
    return at.strftime("%Y-%m-%dT%H:%M:%S%z")


def day(value: Json) -> str | None:
    """Return the date that a time is of, in the zone it is told in, which is the ad account's."""
    return value[:10] if isinstance(value, str) and moment(value) else None


def money(value: Json, currency: Json) -> Json:
    """Return a decimal amount such as `12.34` in our form; nothing where the amount or the currency is not told."""
    amount = _decimal(value)
    if amount is None or not isinstance(currency, str) or not currency:
        return None
    return {"amount": format(amount, "f"), "currency": currency}


def budget(value: Json, currency: Json) -> Json:
    """Return an amount in the smallest unit in our form; none where there is no budget, which is told as 0 as well."""
    amount = _decimal(value)
    if not amount:
        return None
    return money(str(amount if currency in WHOLE else amount / 100), currency)


def rows(value: Json) -> list[Row]:
    """Return the objects of a list."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _decimal(value: Json) -> Decimal | None:
    if not isinstance(value, str):
        return None
    try:
        return Decimal(value)
    except InvalidOperation:
        return None
