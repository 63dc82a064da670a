"""Campaigns, user lists and costs of Google Ads in our words. Pure; nothing is written back."""

from collections.abc import Iterable, Mapping

from isthmus.connectors.googleads.wire import AUDIENCES, CAMPAIGNS, Row, count, day, money
from isthmus.kernel.marks import LINE_MAX, Json
from isthmus.kernel.words import Word, text

CAMPAIGN, AUDIENCE, SPENT = "marketing.campaign", "marketing.audience", "finance.spend"
CHANNELS: Mapping[str, str] = {
    "SEARCH": "paid_search",
    "SHOPPING": "paid_search",
    "DISPLAY": "display",
    "DEMAND_GEN": "display",
}
# What of a campaign that is switched on decides where it stands.
_SERVED = {"ENDED": "completed", "PENDING": "planned"}
_STATUSES = {"PAUSED": "paused", "REMOVED": "cancelled"}
_TOTAL = "CUSTOM_PERIOD"


def words(feed: str, body: Row) -> Iterable[Word]:
    """Return what a row of a feed says."""
    if feed == CAMPAIGNS:
        yield _campaign(body)
    elif feed == AUDIENCES:
        yield _audience(body)
    else:
        yield _spent(body)


def _campaign(body: Row) -> Word:
    kind = body.get("campaign.advertisingChannelType")
    starts, ends = day(body.get("campaign.startDateTime")), day(body.get("campaign.endDateTime"))
    total = body.get("campaignBudget.totalAmountMicros") if body.get("campaignBudget.period") == _TOTAL else None
    fields: Row = {
        "name": _line(body.get("campaign.name")),
        "kind": kind.lower() if isinstance(kind, str) else None,
        "channel": _channel(kind),
        "status": _status(body),
        "starts_on": starts.isoformat() if starts else None,
        "ends_on": ends.isoformat() if ends else None,
        "budget": money(total, body.get("customer.currencyCode")),
    }
    return Word(type=CAMPAIGN, fields=fields)


def _status(body: Row) -> Json:
    """Return where a campaign stands; an unknown word stays as it is, so that it is refused with a reason."""
    status = str(body.get("campaign.status"))
    if status == "ENABLED":
        return _SERVED.get(str(body.get("campaign.servingStatus")), "active")
    return _STATUSES.get(status, status)


def _audience(body: Row) -> Word:
    sizes = [count(body.get(f"userList.sizeFor{network}")) for network in ("Display", "Search")]
    fields: Row = {
        "name": _line(body.get("userList.name")),
        "description": text(body.get("userList.description")),
        # A list that is closed to one network has no size there.
        "size": max((size for size in sizes if size is not None), default=None),
    }
    return Word(type=AUDIENCE, fields=fields)


def _spent(body: Row) -> Word:
    fields: Row = {
        "amount": money(body.get("metrics.costMicros"), body.get("customer.currencyCode")),
        "day": body.get("segments.date"),
        "category": "media_spend",
        "custom": {name: count(body.get(f"metrics.{name}")) or 0 for name in ("impressions", "clicks")},
    }
    if (kind := body.get("campaign.advertisingChannelType")) is not None:
        fields["channel"] = _channel(kind)
    return Word(type=SPENT, fields=fields, links={"campaign_id": str(body["campaign.id"])})


def _channel(kind: Json) -> str | None:
    return CHANNELS.get(kind, kind.lower()) if isinstance(kind, str) else None


def _line(value: Json) -> str | None:
    found = text(value)
    return found[:LINE_MAX] if found else None
