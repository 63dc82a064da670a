"""The wire forms of Google Ads: what is asked for of each feed, what rows hold, and micros.

REST interface of the API, version 26: https://developers.google.com/google-ads/api/rest/overview. Queries name fields
in snake case, and answers in lowerCamelCase; 64-bit numbers are texts. A row is held here by the names of its answer,
one level deep: `{"campaign": {"id": "1"}}` as `{"campaign.id": "1"}`, so that every field of it can be expected.
"""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal

from isthmus.kernel.marks import Json

VERSION = "v26"
CAMPAIGNS, AUDIENCES, SPEND, CUSTOMER = "campaigns", "audiences", "spend", "customer"
Row = dict[str, Json]
# The fields that are asked for, and the resource that they are asked of.
SELECTED: Mapping[str, tuple[tuple[str, ...], str]] = {
    CAMPAIGNS: (
        (
            *("campaign.id", "campaign.name", "campaign.status", "campaign.serving_status"),
            *("campaign.advertising_channel_type", "campaign.start_date_time", "campaign.end_date_time"),
            *("campaign_budget.period", "campaign_budget.total_amount_micros", "customer.currency_code"),
        ),
        "campaign",
    ),
    AUDIENCES: (
        (
            *("user_list.id", "user_list.name", "user_list.description", "user_list.type"),
            *("user_list.size_for_display", "user_list.size_for_search"),
        ),
        "user_list",
    ),
    SPEND: (
        (
            *("campaign.id", "campaign.advertising_channel_type", "segments.date", "metrics.cost_micros"),
            *("metrics.impressions", "metrics.clicks", "customer.currency_code"),
        ),
        "campaign",
    ),
    CUSTOMER: (
        (
            *("customer.id", "customer.descriptive_name", "customer.currency_code", "customer.time_zone"),
            "customer.manager",
        ),
        "customer",
    ),
}
# The id of a row of a list, as queries and as answers name it.
LISTED = {CAMPAIGNS: ("campaign.id", "campaign.id"), AUDIENCES: ("user_list.id", "userList.id")}
# Of a day that is no longer told we say ourselves that it is zero, without the names of resources.
_NAMED = {
    "campaign.resourceName": "text absent",
    "customer.resourceName": "text absent",
    "customer.currencyCode": "text",
}
EXPECTED: Mapping[str, Mapping[str, str]] = {
    CAMPAIGNS: {
        **_NAMED,
        **dict.fromkeys(("campaign.id", "campaign.name", "campaign.status"), "text"),
        **dict.fromkeys(
            (
                *("campaign.servingStatus", "campaign.advertisingChannelType", "campaign.startDateTime"),
                *("campaign.endDateTime", "campaign.campaignBudget", "campaignBudget.resourceName"),
                *("campaignBudget.period", "campaignBudget.totalAmountMicros"),
            ),
            "text absent",
        ),
    },
    AUDIENCES: {
        **dict.fromkeys(("userList.resourceName", "userList.id", "userList.name"), "text"),
        **dict.fromkeys(
            ("userList.description", "userList.type", "userList.sizeForDisplay", "userList.sizeForSearch"),
            "text absent",
        ),
    },
    SPEND: {
        **_NAMED,
        **dict.fromkeys(("campaign.id", "segments.date", "metrics.costMicros"), "text"),
        **dict.fromkeys(
            ("campaign.advertisingChannelType", "metrics.impressions", "metrics.clicks"),
            "text absent",
        ),
    },
}


def query(feed: str, *where: str, order: str = "", limit: int = 0) -> str:
    """Return a query in the query language of Google Ads."""
    fields, resource = SELECTED[feed]
    parts = ["SELECT", ", ".join(fields), "FROM", resource]
    parts += [f"WHERE {' AND '.join(where)}"] if where else []
    parts += [f"ORDER BY {order}"] if order else []
    parts += [f"LIMIT {limit}"] if limit else []
    return " ".join(parts)


def money(micros: Json, currency: Json) -> Json:
    """Return an amount that is told in millionths of the currency's unit."""
    if not isinstance(micros, str) or not micros.lstrip("-").isdecimal() or not isinstance(currency, str):
        return None
    return {"amount": format(Decimal(micros).scaleb(-6), "f"), "currency": currency}


def count(value: Json) -> int | None:
    """Return a 64-bit number, which comes as text."""
    return int(value) if isinstance(value, str) and value.isdecimal() else None


def day(value: Json) -> date | None:
    """Return a date, or the date of a time such as `2026-11-02 00:00:00`."""
    try:
        return date.fromisoformat(str(value)[:10])
    except ValueError:
        return None
