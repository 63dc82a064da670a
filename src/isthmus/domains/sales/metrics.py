"""What sales answers: who gets credit for what was won, how a period went, and what a lead's touches say."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal, LiteralString, TypeAlias
from uuid import UUID

from msgspec import Struct, structs

from isthmus.analytics import (
    Asked,
    Attribution,
    Catalog,
    Credits,
    Ledgers,
    Metric,
    Relation,
)
from isthmus.analytics.attribution import HALF_LIFE_DAYS, WINDOW_DAYS
from isthmus.analytics.credits import Spans
from isthmus.domains.sales.messages import REACHED
from isthmus.domains.sales.performance import PERFORMANCE
from isthmus.gateway import Services
from isthmus.kernel.money import Money
from isthmus.store.database import Transaction

By: TypeAlias = Literal["channel", "campaign"]
NO_CAMPAIGN = "no campaign"
SEED = 2026
_STEPS: LiteralString = """
select t.id, coalesce(t.account_id_now, p.account_id_now, l.account_id_now), t.at, t.channel = 'direct',
       t.channel, coalesce(t.campaign_id_now::text, 'no campaign')
from "marketing.touch" t left join "sales.person" p on p.id = t.person_id_now
                         left join "sales.lead" l on l.id = t.lead_id_now
where coalesce(t.account_id_now, p.account_id_now, l.account_id_now) is not null
  and coalesce(t.kind, '') not in ('bounced', 'unsubscribed') and t.channel <> 'unattributed'
"""
_WON: LiteralString = """
"sales.deal" d where (d.won or (d.won is null and d.stage = 'closed_won'))
"""
_OUTCOMES: LiteralString = (
    """
select d.id, coalesce(d.account_id_now, d.id), coalesce(d.closed_at, d.close_date::timestamp at time zone 'utc'),
       d.committed_at, d.amount, d.amount_currency
from """
    + _WON
    + """ and d.amount is not null and coalesce(d.closed_at, d.close_date::timestamptz) is not null
"""
)
_LEFT_OUT: LiteralString = (
    """
select count(*) filter (where d.amount is null),
       count(*) filter (where d.amount is not null and d.closed_at is null and d.close_date is null)
from """
    + _WON
)
_TOUCHES: LiteralString = """
select lead, kind, count(*) from (
    select t.lead_id as lead, t.kind, t.id from "marketing.touch" t where t.lead_id = any(%(leads)s)
    union
    select l.id, t.kind, t.id from "sales.lead" l join "marketing.touch" t on t.person_id = l.person_id
    where l.id = any(%(leads)s)
) as reached where kind is not null group by lead, kind
"""


async def touches_by_lead(tx: Transaction, catalog: Catalog, leads: Sequence[UUID]) -> dict[UUID, dict[str, int]]:
    """Return how many touches of each kind reached each lead, or the person it is."""
    rows = await catalog.rows(tx, LEAD_TOUCHES, _TOUCHES, given={"leads": list(leads)})
    found: dict[UUID, dict[str, int]] = {}
    for lead, kind, count in rows:
        if isinstance(lead, UUID) and isinstance(count, int):
            found.setdefault(lead, {})[str(kind)] = count
    return found


class Bucket(Struct, frozen=True, kw_only=True):
    """What one channel or campaign received in one currency.

    `share` is its part of that currency's total, `deals` the fractional number of deals, `low` and `high` the 95 %
    bootstrap interval of the revenue over deals. `unattributed` is what was won without a touch in the window.
    """

    bucket: str
    revenue: Money
    share: float
    deals: float
    low: float
    high: float


class Credit(Struct, frozen=True, kw_only=True):
    """Attribution of all that was won until `as_of`, by one model; the buckets of a currency sum to its total exactly.

    `journeys` of the `deals` have a touch in the window. Deals without amount or date are counted, not credited.
    """

    by: By
    model: str
    meaning: str
    grade: str
    window_days: int | None
    half_life_days: float | None
    as_of: datetime
    deals: int
    journeys: int
    without_amount: int
    without_date: int
    totals: list[Money]
    unattributed: list[Money]
    buckets: list[Bucket]


async def attribution_of(tx: Transaction, services: Services, *, asked: Asked) -> Attribution:
    """Return the credit that a question gives, open down to every touch."""
    return await services.of(Ledgers).credit(tx, services.of(Catalog), ATTRIBUTION, asked)


async def attribution_by(
    tx: Transaction,
    services: Services,
    *,
    by: By,
    model: str,
    as_of: datetime,
    window_days: int | None = WINDOW_DAYS,
    half_life_days: float = HALF_LIFE_DAYS,
) -> Credit:
    """Return attribution for all channels or campaigns. Campaigns are named by their UUID as text.

    Raises UnknownModel, InvalidWindow and InvalidHalfLife.
    """
    column = "channel" if by == "channel" else "campaign_id"
    asked = Asked(by=column, model=model, as_of=as_of, window_days=window_days, half_life_days=half_life_days)
    found = await attribution_of(tx, services, asked=asked)
    return await credit_of(tx, services, found, by=by, asked=asked)


async def credit_of(
    tx: Transaction, services: Services, found: Attribution, *, by: By, asked: Asked, only: str | None = None
) -> Credit:
    """Return the frozen figures of an attribution; `only` narrows the buckets to one, the totals stay whole."""
    rows = await services.of(Catalog).rows(tx, ATTRIBUTION.metric, _LEFT_OUT)
    without = [each for each in rows[0] if isinstance(each, int)]
    ledgers = services.of(Ledgers)
    spans = {name: await ledgers.intervals(found, currency=name, seed=SEED, only=only) for name in found.digits}
    return Credit(
        by=by,
        model=found.model,
        meaning=found.meaning,
        grade=found.grade,
        window_days=asked.window_days,
        half_life_days=asked.half_life_days if "half_life_days" in found.parameters else None,
        as_of=asked.as_of,
        deals=found.outcomes,
        journeys=found.journeys,
        without_amount=without[0],
        without_date=without[1],
        totals=[Money(amount, currency) for currency, amount in found.revenue.items()],
        unattributed=[Money(amount, currency) for currency, amount in found.unattributed.items()],
        buckets=_buckets(found, spans=spans, only=only),
    )


def with_zero(credit: Credit, *, bucket: str) -> Credit:
    """Return credit with a row for a bucket in every currency that was won, zero where it received nothing."""
    there = {each.revenue.currency for each in credit.buckets if each.bucket == bucket}
    zeros = [
        Bucket(bucket=bucket, revenue=Money(each.amount * 0, each.currency), share=0.0, deals=0.0, low=0.0, high=0.0)
        for each in credit.totals
        if each.currency not in there
    ]
    return structs.replace(credit, buckets=[*credit.buckets, *zeros])


def _buckets(found: Attribution, *, spans: Mapping[str, Spans], only: str | None) -> list[Bucket]:
    buckets = [
        Bucket(
            bucket=each.bucket,
            revenue=Money(each.revenue, each.currency),
            share=each.share,
            deals=each.outcomes,
            low=spans[each.currency][each.bucket].low,
            high=spans[each.currency][each.bucket].high,
        )
        for each in found.totals
        if only is None or each.bucket == only
    ]
    return sorted(buckets, key=lambda each: (each.revenue.currency, -each.revenue.amount, each.bucket))


ATTRIBUTION = Credits(
    metric=Metric(
        name="sales.attribution",
        reads={
            "marketing.touch": ("account_id", "person_id", "lead_id", "campaign_id", "channel", "kind", "at"),
            "sales.person": ("account_id",),
            "sales.lead": ("account_id",),
            "sales.deal": (
                *("account_id", "stage", "won", "amount", "amount_currency"),
                *("closed_at", "close_date", "committed_at"),
            ),
        },
        compute=attribution_by,
        permission="sales:read",
        meaning="What channels and campaigns did for the deals that were won, by a rule model over account journeys.",
    ),
    buckets=("channel", "campaign_id"),
    steps=_STEPS,
    outcomes=_OUTCOMES,
    publishes=Relation(
        name="sales.credit",
        columns=("campaign_id", "channel", "deal_id", "closed_at", "share", "amount", "currency"),
        meaning="What each campaign and channel received of each won deal.",
    ),
)
LEAD_TOUCHES = Metric(
    name="sales.lead_touches",
    reads={"marketing.touch": ("lead_id", "person_id", "kind"), "sales.lead": ("person_id",)},
    compute=touches_by_lead,
    permission="sales:read",
    meaning="How many touches of each kind reached a lead.",
)
METRICS = (LEAD_TOUCHES, PERFORMANCE, REACHED)
CREDITS = (ATTRIBUTION,)
