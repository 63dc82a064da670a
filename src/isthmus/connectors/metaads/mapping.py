"""Meta's custom audiences, campaigns and what they cost by day, in our words. Pure; nothing is written to Meta."""

from collections.abc import Iterable

from isthmus.connectors.metaads.wire import AUDIENCES, CAMPAIGNS, CURRENCY, SPEND, Row, budget, day, moment, money
from isthmus.kernel.marks import LINE_MAX, Json
from isthmus.kernel.words import Word, text

AUDIENCE, CAMPAIGN, SPENT = "marketing.audience", "marketing.campaign", "finance.spend"
CHANNEL = "paid_social"
_STATUSES = {
    "ACTIVE": "active",
    "WITH_ISSUES": "active",
    "IN_PROCESS": "planned",
    "PAUSED": "paused",
    "ARCHIVED": "completed",
}


def words(feed: str, body: Row) -> Iterable[Word]:
    """Return what a row of a feed says."""
    yield _WORDS[feed](body)


def _audience(body: Row) -> Word:
    size = body.get("approximate_count_lower_bound")
    at = moment(body.get("time_content_updated")) or moment(body.get("time_updated"))
    fields: Row = {
        "name": _line(body.get("name")),
        "description": text(body.get("description")),
        # Meta says -1 of an audience that it does not count.
        "size": size if isinstance(size, int) and size >= 0 else None,
        "refreshed_at": at.strftime("%Y-%m-%dT%H:%M:%SZ") if at else None,
    }
    return Word(type=AUDIENCE, fields=fields)


def _campaign(body: Row) -> Word:
    status = _STATUSES.get(str(body["effective_status"]))
    fields: Row = {
        "name": _line(body.get("name")),
        "channel": CHANNEL,
        "objective": _line(body.get("objective")),
        "starts_on": day(body.get("start_time")),
        "ends_on": day(body.get("stop_time")),
        "budget": budget(body.get("lifetime_budget"), body.get(CURRENCY)),
        # Of a status that did not exist when this was written nothing is said.
        **({"status": status} if status else {}),
    }
    return Word(type=CAMPAIGN, fields=fields)


def _spent(body: Row) -> Word:
    fields: Row = {
        "amount": money(body.get("spend"), body.get("account_currency")),
        "day": body.get("date_start"),
        "category": "media_spend",
        "channel": CHANNEL,
    }
    return Word(type=SPENT, fields=fields, links={"campaign_id": str(body["campaign_id"])})


_WORDS = {AUDIENCES: _audience, CAMPAIGNS: _campaign, SPEND: _spent}


def _line(value: Json) -> str | None:
    found = text(value)
    return found[:LINE_MAX] if found else None
