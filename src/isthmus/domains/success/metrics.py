"""What success answers: the health of an account with its reasons, and where it may grow."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import LiteralString
from uuid import UUID

from msgspec import Struct

from isthmus.analytics import Catalog, Metric
from isthmus.domains.success.messages import REACHED
from isthmus.domains.success.records import HealthReason, Risk
from isthmus.domains.success.renewals import RENEWING
from isthmus.domains.success.rules import FeatureUse, Growth, Inputs, Quota, Seats, Signal, Trigger, health, signals
from isthmus.kernel.money import Money, exact
from isthmus.store.database import Transaction

_YEARS = {"month": 12, "quarter": 4, "year": 1}
_USAGE: LiteralString = """
select count(*), count(distinct (at at time zone 'utc')::date) filter (where at > %(d28)s),
       count(*) filter (where at > %(d28)s), count(*) filter (where at > %(d56)s and at <= %(d28)s),
       count(*) filter (where at > %(d30)s), count(*) filter (where at > %(d60)s and at <= %(d30)s),
       count(distinct person_id_now), max(at)
from "product.event" where account_id = any(%(ids)s) and at <= %(now)s
"""
_FEATURES: LiteralString = """
, used as (
    select feature_id_now as feature, count(distinct person_id_now) as users, count(*) as uses,
           count(success) as judged, count(*) filter (where success) as successes
    from "product.event" where account_id = any(%(ids)s) and at > %(d28)s and at <= %(now)s group by feature_id_now
)
select coalesce(u.users, 0), coalesce(u.uses, 0), coalesce(u.judged, 0), coalesce(u.successes, 0)
from "product.feature" f left join used u on u.feature = f.id where f.essential
"""
_TICKETS: LiteralString = """
select exists (select from "success.ticket"),
       count(*) filter (where coalesce(status, 'new') not in ('solved', 'closed')),
       count(*) filter (where coalesce(status, 'new') not in ('solved', 'closed') and priority in ('high', 'urgent')),
       count(*) filter (where coalesce(status, 'new') not in ('solved', 'closed') and escalated), max(opened_at)
from "success.ticket" where account_id = any(%(ids)s)
"""
_INVOICES: LiteralString = """
select count(*) filter (where due_on > %(d365)s::date), count(*) filter (where due_on > %(d365)s::date and in_time),
       count(*) filter (where due_on > %(d90)s::date and not in_time), max(due_on)::timestamp at time zone 'utc'
from (select due_on, coalesce((paid_at at time zone 'utc')::date <= due_on, false) as in_time from "finance.invoice"
      where account_id = any(%(ids)s) and due_on < %(now)s::date
        and coalesce(status, 'open') not in ('draft', 'void')) i
"""
_FAILED: LiteralString = """
select count(*) from "finance.payment" where account_id = any(%(ids)s) and status = 'failed' and at > %(d90)s
"""
_TOUCHES: LiteralString = """
select count(*), count(*) filter (where channel = 'email'), count(*) filter (where engaged and at > %(d45)s),
       count(*) filter (where engaged and channel = 'email' and at > %(d45)s), max(at)
from (select channel, at, kind in ('opened', 'clicked', 'visited', 'submitted', 'registered', 'attended', 'called')
             as engaged from "marketing.touch" where account_id = any(%(ids)s) and at <= %(now)s) t
"""
_HISTORY: LiteralString = """
select at, score, risk from "success.health_snapshot" where account_id = any(%(ids)s) and at <= %(now)s
order by at desc limit 12
"""
_BEST: LiteralString = """
select max(score) from "success.health_snapshot" where account_id = any(%(ids)s) and at > %(d30)s and at <= %(now)s
"""
_SEATS: LiteralString = """
select plan, quantity, quantity_used, recurring, recurring_currency, billing_interval from "finance.subscription"
where account_id = any(%(ids)s) and coalesce(status, 'active') in ('active', 'trialing', 'past_due') order by plan
"""
_QUOTAS: LiteralString = """
select f.name, f.usage_limit, sum(e.amount_used)::bigint from "product.event" e
join "product.feature" f on f.id = e.feature_id_now
where e.account_id = any(%(ids)s) and e.at > %(d28)s and e.at <= %(now)s and f.usage_limit > 0
group by f.id, f.name, f.usage_limit having sum(e.amount_used) is not null order by f.name
"""
_DEPARTMENTS: LiteralString = """
select department from "sales.person" where account_id = any(%(ids)s) and department is not null
group by department having min(created_at) > %(d90)s
   and exists (select from "sales.person" where account_id = any(%(ids)s) and created_at <= %(d90)s)
order by department
"""
_REQUESTS: LiteralString = """
select f.name, count(*) from "product.feedback" b join "product.feature" f on f.id = b.feature_id_now
where b.account_id = any(%(ids)s) and b.kind = 'feature_request' and f.paid group by f.id, f.name order by f.name
"""


class Snapshot(Struct, frozen=True, kw_only=True):
    """A score as it was stored."""

    at: datetime
    score: float
    risk: str | None


class HealthView(Struct, frozen=True, kw_only=True):
    """The health of an account at a moment, 0 to 100, with everything it is made of.

    `missing` sub-scores had no input and gave their weight to the others; `weights` are those that counted. `reasons`
    are points against a neutral 50. `inputs_until` tells how fresh each kind of input is.
    """

    account_id: str
    as_of: datetime
    score: float | None
    risk: Risk
    sub_scores: dict[str, float]
    weights: dict[str, float]
    missing: list[str]
    reasons: list[HealthReason]
    triggers: list[Trigger]
    inputs_until: dict[str, datetime | None]
    history: list[Snapshot]


class ExpansionView(Struct, frozen=True, kw_only=True):
    """Signs that an account may want more, strongest first."""

    account_id: str
    as_of: datetime
    signals: list[Signal]


async def account_health(
    tx: Transaction, catalog: Catalog, *, ids: Sequence[UUID], account_id: str, now: datetime
) -> HealthView:
    """Return the health of an account; `ids` are all under which records may name it."""
    inputs, until = await _inputs(tx, catalog, given=_given(ids, now))
    found = health(inputs)
    rows = await catalog.rows(tx, HEALTH, _HISTORY, given=_given(ids, now))
    return HealthView(
        account_id=account_id,
        as_of=now,
        score=found.score,
        risk=found.risk,
        sub_scores=found.sub_scores,
        weights=found.weights,
        missing=found.missing,
        reasons=found.reasons,
        triggers=found.triggers,
        inputs_until=until,
        history=[
            Snapshot(at=at, score=score, risk=None if risk is None else str(risk))
            for at, score, risk in rows
            if isinstance(at, datetime) and isinstance(score, float)
        ],
    )


def _given(ids: Sequence[UUID], now: datetime) -> dict[str, object]:
    days = {f"d{days}": now - timedelta(days=days) for days in (28, 30, 45, 56, 60, 90, 365)}
    return {"ids": list(ids), "now": now, **days}


async def _inputs(
    tx: Transaction, catalog: Catalog, *, given: Mapping[str, object]
) -> tuple[Inputs, dict[str, datetime | None]]:
    async def one(query: LiteralString) -> Sequence[object]:
        return (await catalog.rows(tx, HEALTH, query, given=given))[0]

    usage, tickets, touches = await one(_USAGE), await one(_TICKETS), await one(_TOUCHES)
    invoices, failed, best = await one(_INVOICES), await one(_FAILED), (await one(_BEST))[0]
    users = _count(usage[6])
    features = [
        FeatureUse(users_share=own / users if users else 0.0, uses=uses, judged=judged, successes=successes)
        for row in await catalog.rows(tx, HEALTH, _FEATURES, given=given)
        for own, uses, judged, successes in (tuple(map(_count, row)),)
    ]
    inputs = Inputs(
        used=_count(usage[0]) > 0,
        active_days=_count(usage[1]),
        uses=_count(usage[2]),
        uses_before=_count(usage[3]),
        recent_30=_count(usage[4]),
        earlier_30=_count(usage[5]),
        features=tuple(features),
        open_tickets=_count(tickets[1]) if tickets[0] else None,
        urgent_tickets=_count(tickets[2]),
        escalated_tickets=_count(tickets[3]),
        invoices_due=_count(invoices[0]),
        invoices_on_time=_count(invoices[1]),
        late_90=_count(invoices[2]),
        failed_90=_count(failed[0]),
        touched=_count(touches[0]) > 0,
        emailed=_count(touches[1]) > 0,
        engaged_45=_count(touches[2]),
        email_45=_count(touches[3]),
        best_score_30=best if isinstance(best, float) else None,
    )
    newest = {"usage": usage[7], "support": tickets[4], "payments": invoices[3], "marketing": touches[4]}
    return inputs, {name: at if isinstance(at, datetime) else None for name, at in newest.items()}


async def expansion(
    tx: Transaction, catalog: Catalog, *, ids: Sequence[UUID], account_id: str, now: datetime
) -> ExpansionView:
    """Return where an account may grow; `ids` are all under which records may name it."""
    given = _given(ids, now)

    async def rows(query: LiteralString) -> Sequence[Sequence[object]]:
        return await catalog.rows(tx, EXPANSION, query, given=given)

    growth = Growth(
        seats=tuple(
            Seats(plan=str(plan), quantity=quantity, used=used, yearly=_yearly(recurring, currency, interval))
            for plan, quantity, used, recurring, currency, interval in await rows(_SEATS)
            if isinstance(quantity, int) and isinstance(used, int)
        ),
        quotas=tuple(
            Quota(feature=str(name), limit=_count(limit), used=_count(used))
            for name, limit, used in await rows(_QUOTAS)
        ),
        new_departments=tuple(str(row[0]) for row in await rows(_DEPARTMENTS)),
        paid_requests=tuple((str(name), _count(count)) for name, count in await rows(_REQUESTS)),
    )
    return ExpansionView(account_id=account_id, as_of=now, signals=signals(growth))


def _yearly(recurring: object, currency: object, interval: object) -> Money | None:
    if not isinstance(recurring, Decimal):
        return None
    return exact(recurring * _YEARS.get(str(interval or "month"), 12), str(currency))


def _count(value: object) -> int:
    return value if isinstance(value, int) else 0


_EVENT = ("account_id", "person_id", "feature_id", "at", "success")
HEALTH = Metric(
    name="success.health",
    reads={
        "product.event": _EVENT,
        "product.feature": ("essential",),
        "success.ticket": ("account_id", "status", "priority", "escalated", "opened_at"),
        "success.health_snapshot": ("account_id", "at", "score", "risk"),
        "finance.invoice": ("account_id", "status", "due_on", "paid_at"),
        "finance.payment": ("account_id", "status", "at"),
        "marketing.touch": ("account_id", "channel", "kind", "at"),
    },
    compute=account_health,
    permission="success:read",
    meaning="The health score of an account: a weighted mean of six sub-scores, with reasons and risk triggers.",
)
EXPANSION = Metric(
    name="success.expansion",
    reads={
        "product.event": (*_EVENT, "amount_used"),
        "product.feature": ("name", "usage_limit", "paid"),
        "product.feedback": ("account_id", "kind", "feature_id"),
        "sales.person": ("account_id", "department", "created_at"),
        "finance.subscription": (
            *("account_id", "plan", "status", "quantity", "quantity_used"),
            *("recurring", "recurring_currency", "billing_interval"),
        ),
    },
    compute=expansion,
    permission="success:read",
    meaning="Signs that an account may want more: seats, quotas, limits, departments, requests for paid features.",
)
DAILY = Metric(
    name="success.health_daily",
    reads={"sales.account": ("name",)},
    compute=account_health,
    permission="success:read",
    meaning="Whose health is written down once a day: every account.",
)
METRICS = (HEALTH, DAILY, EXPANSION, RENEWING, REACHED)
