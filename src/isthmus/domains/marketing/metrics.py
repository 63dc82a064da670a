"""What marketing answers: how a campaign performs, channel by channel, with the denominator of every rate."""

from collections.abc import Sequence
from decimal import Decimal
from typing import LiteralString
from uuid import UUID

from msgspec import Struct

from isthmus.analytics import Catalog, Metric
from isthmus.kernel.money import Money, exact
from isthmus.store.database import Transaction

_TOUCHES: LiteralString = """
select channel, coalesce(kind, 'unspecified'), count(*) from "marketing.touch"
where campaign_id = any(%(ids)s) group by channel, coalesce(kind, 'unspecified')
"""
_SPEND: LiteralString = """
select category, amount_currency, sum(amount) from "finance.spend"
where campaign_id = any(%(ids)s) group by category, amount_currency order by category, amount_currency
"""
_REACHED: LiteralString = """
select count(distinct account_id_now), count(distinct person_id_now) from "marketing.touch"
where campaign_id = any(%(ids)s)
"""
RATES = (
    ("delivery_rate", "delivered", "sent"),
    ("bounce_rate", "bounced", "sent"),
    ("open_rate", "opened", "delivered"),
    ("click_rate", "clicked", "delivered"),
    ("click_to_open_rate", "clicked", "opened"),
    ("click_through_rate", "clicked", "impression"),
    ("unsubscribe_rate", "unsubscribed", "delivered"),
    ("attendance_rate", "attended", "registered"),
    ("conversion_rate", "converted", "clicked"),
)


class Rate(Struct, frozen=True, kw_only=True):
    """`value` is touches of kind `of` divided by those of kind `per`; `count` and `base` are the two numbers."""

    name: str
    value: float
    of: str
    per: str
    count: int
    base: int


class ChannelFigures(Struct, frozen=True, kw_only=True):
    """Touches by kind in one channel, and the rates that have a denominator there."""

    channel: str
    touches: dict[str, int]
    rates: list[Rate]


class CategorySpend(Struct, frozen=True, kw_only=True):
    """What was spent in one category."""

    category: str
    amount: Money


class CampaignPerformance(Struct, frozen=True, kw_only=True):
    """How a campaign performs until now. Touches are counted, not people, save in `accounts` and `people`."""

    campaign_id: str
    touches: dict[str, int]
    rates: list[Rate]
    channels: list[ChannelFigures]
    accounts: int
    people: int
    spend: list[CategorySpend]


def rates_of(touches: dict[str, int]) -> list[Rate]:
    """Return the rates whose denominator is there; a numerator that is absent counts as zero."""
    return [
        Rate(
            name=name,
            value=touches.get(of, 0) / touches[per],
            of=of,
            per=per,
            count=touches.get(of, 0),
            base=touches[per],
        )
        for name, of, per in RATES
        if touches.get(per)
    ]


async def performance(
    tx: Transaction, catalog: Catalog, *, ids: Sequence[UUID], campaign_id: str
) -> CampaignPerformance:
    """Return the figures of a campaign; `ids` are all under which touches may name it."""
    given = {"ids": list(ids)}
    by_channel: dict[str, dict[str, int]] = {}
    for channel, kind, count in await catalog.rows(tx, PERFORMANCE, _TOUCHES, given=given):
        by_channel.setdefault(str(channel), {})[str(kind)] = count if isinstance(count, int) else 0
    whole: dict[str, int] = {}
    for own in by_channel.values():
        for kind, count in own.items():
            whole[kind] = whole.get(kind, 0) + count
    reached = [
        each for each in (await catalog.rows(tx, PERFORMANCE, _REACHED, given=given))[0] if isinstance(each, int)
    ]
    spend = await catalog.rows(tx, PERFORMANCE, _SPEND, given=given)
    return CampaignPerformance(
        campaign_id=campaign_id,
        touches=dict(sorted(whole.items())),
        rates=rates_of(whole),
        channels=[
            ChannelFigures(channel=name, touches=dict(sorted(own.items())), rates=rates_of(own))
            for name, own in sorted(by_channel.items())
        ],
        accounts=reached[0],
        people=reached[1],
        spend=[
            CategorySpend(category=str(category), amount=exact(amount, str(currency)))
            for category, currency, amount in spend
            if isinstance(amount, Decimal)
        ],
    )


PERFORMANCE = Metric(
    name="marketing.performance",
    reads={
        "marketing.touch": ("campaign_id", "channel", "kind", "account_id", "person_id"),
        "finance.spend": ("campaign_id", "category", "amount", "amount_currency"),
    },
    compute=performance,
    permission="marketing:read",
    meaning="Touches by kind and channel, rates with their denominators, and spend of a campaign.",
)
METRICS = (PERFORMANCE,)
