"""How a period went in sales: pipeline sourced and influenced, what was won and lost, how long it took."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from statistics import median
from typing import LiteralString

from msgspec import Struct

from isthmus.analytics import Catalog, Metric
from isthmus.kernel.money import Money, exact, total
from isthmus.kernel.period import Period
from isthmus.store.database import Transaction

INFLUENCE_DAYS = 90
_DAY_S = 86_400
_OPENED: LiteralString = """
, opened as (
    select d.id, d.account_id_now as account, d.campaign_id, d.amount, d.amount_currency,
           coalesce(d.opened_at, d.created_at) as at, coalesce(d.closed_at, 'infinity'::timestamptz) as until
    from "sales.deal" d
    where coalesce(d.opened_at, d.created_at) >= %(start)s and coalesce(d.opened_at, d.created_at) < %(end)s
), reached as (
    select o.id, bool_or(t.campaign_id is not null and t.at >= o.at - make_interval(days => %(days)s)) as influenced,
           (array_agg(t.campaign_id is not null order by t.at, t.id) filter (where t.at <= o.at))[1] as sourced
    from opened o join "marketing.touch" t on t.account_id_now = o.account and t.at <= o.until
    where coalesce(t.kind, '') not in ('bounced', 'unsubscribed') group by o.id
)
select o.amount, o.amount_currency, o.campaign_id is not null or coalesce(r.sourced, false),
       o.campaign_id is not null or coalesce(r.influenced, false)
from opened o left join reached r on r.id = o.id
"""
_CLOSED: LiteralString = """
select amount, amount_currency, coalesce(won, stage = 'closed_won'),
       extract(epoch from closed - coalesce(opened_at, created_at))::float8
from (select *, coalesce(closed_at, close_date::timestamp at time zone 'utc') as closed from "sales.deal") d
where (won is not null or stage in ('closed_won', 'closed_lost')) and closed >= %(start)s and closed < %(end)s
"""
_QUALIFIED: LiteralString = """
select count(*) filter (where qualified_at >= %(start)s), count(*) filter (where qualified_at < %(start)s)
from "sales.lead" where qualified_at >= %(before)s and qualified_at < %(end)s
"""


class Sums(Struct, frozen=True, kw_only=True):
    """A number of deals and what they are worth, per currency; deals without an amount count and add nothing."""

    deals: int
    amounts: list[Money]


class Performance(Struct, frozen=True, kw_only=True):
    """How a period went.

    `opened` deals were opened in it; `sourced` of them began with a campaign (the first touch of the account before the
    deal, or the deal's own campaign), `influenced` ones had a campaign touch from 90 days before they were opened until
    they closed. `win_rate` is won / (won + lost) among deals closed in the period; `cycle_days_median` is from opening
    to close of the won ones. `qualified_leads` reached the threshold in the period, `lead_velocity` is their growth
    over the time of the same length before it; absent when there is nothing to divide by.
    """

    period: str
    opened: Sums
    sourced: Sums
    influenced: Sums
    won: Sums
    lost: Sums
    win_rate: float | None
    cycle_days_median: float | None
    qualified_leads: int
    lead_velocity: float | None


async def performance(tx: Transaction, catalog: Catalog, *, period: Period) -> Performance:
    """Return how a period went."""
    given = {"start": period.start, "end": period.end, "days": INFLUENCE_DAYS}
    opened = await catalog.rows(tx, PERFORMANCE, _OPENED, given=given, whole=True)
    closed = await catalog.rows(tx, PERFORMANCE, _CLOSED, given=given)
    before = period.start - (period.end - period.start)
    rows = await catalog.rows(tx, PERFORMANCE, _QUALIFIED, given={**given, "before": before})
    now, earlier = (each if isinstance(each, int) else 0 for each in rows[0])
    won, lost = [row for row in closed if row[2]], [row for row in closed if not row[2]]
    days = [row[3] / _DAY_S for row in won if isinstance(row[3], float)]
    return Performance(
        period=period.name,
        opened=_sums(opened),
        sourced=_sums(row for row in opened if row[2]),
        influenced=_sums(row for row in opened if row[3]),
        won=_sums(won),
        lost=_sums(lost),
        win_rate=len(won) / len(closed) if closed else None,
        cycle_days_median=median(days) if days else None,
        qualified_leads=now,
        lead_velocity=now / earlier - 1 if earlier else None,
    )


def _sums(rows: Iterable[Sequence[object]]) -> Sums:
    found = list(rows)
    money = [Money(row[0], str(row[1])) for row in found if isinstance(row[0], Decimal)]
    sums = sorted(total(money).items())
    return Sums(deals=len(found), amounts=[exact(amount, currency) for currency, amount in sums])


PERFORMANCE = Metric(
    name="sales.performance",
    reads={
        "sales.deal": (
            *("account_id", "campaign_id", "stage", "won", "amount", "amount_currency"),
            *("opened_at", "created_at", "closed_at", "close_date"),
        ),
        "sales.lead": ("qualified_at",),
        "marketing.touch": ("account_id", "campaign_id", "kind", "at"),
    },
    compute=performance,
    permission="sales:read",
    meaning="Pipeline sourced and influenced by campaigns, win rate, cycle length and lead velocity of a period.",
)
