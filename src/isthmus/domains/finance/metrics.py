"""What finance answers: what a campaign returned on what was put into it, and budget against actual."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import LiteralString
from uuid import UUID

import numpy as np
from msgspec import Struct

from isthmus.analytics import (
    Asked,
    Attribution,
    Catalog,
    DatedCredit,
    Figure,
    Ledgers,
    Metric,
    acquisition_cost,
    credited,
    dated_credit,
    payback,
    return_on_investment,
    roi_interval,
)
from isthmus.domains.finance.rules import NONE, Cell, Line, elapsed_share, line, planned
from isthmus.gateway import Services
from isthmus.kernel.money import Money, exact
from isthmus.kernel.period import Period
from isthmus.store.database import Transaction

CREDIT = "sales.credit"
SEED = 2026
_SPEND: LiteralString = """
select category, amount_currency, sum(amount), min(day) from "finance.spend"
where campaign_id = any(%(ids)s) and day <= %(until)s
group by category, amount_currency order by amount_currency, category
"""
_BUDGETS: LiteralString = """
select period, category, department, channel, campaign_id_now::text, amount_currency, sum(amount) from "finance.budget"
where period like %(year)s group by 1, 2, 3, 4, 5, 6
"""
_ACTUAL: LiteralString = """
select category, department, channel, amount_currency, sum(amount) from "finance.spend"
where case when period is null then day >= %(first)s and day < %(after)s else period = any(%(months)s) end
group by 1, 2, 3, 4
"""


class Investment(Struct, frozen=True, kw_only=True):
    """What was put into a campaign in one category."""

    category: str
    amount: Money


class Span(Struct, frozen=True, kw_only=True):
    """The 95 % interval over deals: what chance among the deals alone would do. It says nothing about the model."""

    low: float
    high: float
    level: float


class Paid(Struct, frozen=True, kw_only=True):
    """When the credited revenue first reached the investment, in whole days from its first day; or why not."""

    days: int | None
    at: datetime | None
    undefined: str


class Number(Struct, frozen=True, kw_only=True):
    """A number, or the reason why there is none; `at_least` is what it cannot be below, where that much is known."""

    value: Decimal | None
    undefined: str = ""
    at_least: Decimal | None = None


class CurrencyReturn(Struct, frozen=True, kw_only=True):
    """The return in one currency: (attributed revenue - investment) / investment. Currencies are never added."""

    currency: str
    attributed_revenue: Money
    total_investment: Money
    roi: Number
    interval: Span | None
    payback: Paid
    acquisition_cost: Number
    deals: float


class Return(Struct, frozen=True, kw_only=True):
    """What a campaign returned, by which model, over which window, as of when, and from what it is made."""

    campaign_id: str
    model: str
    meaning: str
    grade: str
    window_days: int | None
    half_life_days: float | None
    as_of: datetime
    returns: list[CurrencyReturn]
    investment: list[Investment]


async def campaign_return(
    tx: Transaction, services: Services, *, campaign: UUID, ids: Sequence[UUID], campaign_id: str, asked: Asked
) -> Return:
    """Return the return on a campaign; `ids` are all under which spend may name it."""
    catalog = services.of(Catalog)
    found = await services.of(Ledgers).published(tx, catalog, CREDIT, asked)
    given = {"ids": list(ids), "until": asked.as_of.astimezone(UTC).date()}
    rows = await catalog.rows(tx, ROI, _SPEND, given=given)
    spent = [(str(row[0]), str(row[1]), row[2], row[3]) for row in rows]
    own = [
        Investment(category=category, amount=exact(amount, currency))
        for category, currency, amount, _ in spent
        if isinstance(amount, Decimal)
    ]
    begun: dict[str, date] = {}
    for _, currency, _, day in spent:
        if isinstance(day, date):
            begun[currency] = min(begun.get(currency, day), day)
    invested: dict[str, Decimal] = {}
    for each in own:
        invested[each.amount.currency] = invested.get(each.amount.currency, Decimal(0)) + each.amount.amount
    return Return(
        campaign_id=campaign_id,
        model=found.model,
        meaning=found.meaning,
        grade=found.grade,
        window_days=asked.window_days,
        half_life_days=asked.half_life_days if "half_life_days" in found.parameters else None,
        as_of=asked.as_of,
        returns=_returns(found, bucket=str(campaign), invested=invested, begun=begun),
        investment=own,
    )


def _returns(
    found: Attribution, *, bucket: str, invested: dict[str, Decimal], begun: dict[str, date]
) -> list[CurrencyReturn]:
    earned = {each.currency: each for each in found.totals if each.bucket == bucket}
    moved = {name for name, each in earned.items() if each.revenue} | {name for name, each in invested.items() if each}
    return [
        _return(
            found,
            bucket=bucket,
            currency=name,
            revenue=earned[name].revenue if name in earned else Decimal(0),
            deals=earned[name].outcomes if name in earned else 0.0,
            invested=invested,
            begun=begun.get(name),
            others=sorted(moved - {name}),
        )
        for name in sorted({*earned, *invested})
    ]


def _return(
    found: Attribution,
    *,
    bucket: str,
    currency: str,
    revenue: Decimal,
    deals: float,
    invested: dict[str, Decimal],
    begun: date | None,
    others: list[str],
) -> CurrencyReturn:
    investment = invested.get(currency, Decimal(0))
    mixed = f"Money moved in {', '.join(others)} too, and no rate between the currencies is known." if others else ""
    roi = return_on_investment(revenue=revenue, investment=investment)
    won = Decimal(str(round(deals, 9)))
    started = datetime.combine(begun or date.min, time(), tzinfo=UTC)
    dated = [DatedCredit(at=at, amount=each) for at, each in dated_credit(found, bucket=bucket, currency=currency)]
    paid = payback(earned=dated, investment=investment, started_at=started)
    interval: Span | None = None
    values = credited(found, bucket=bucket, currency=currency)
    if roi.value is not None and not mixed and values.size:
        span = roi_interval(credited=values, investment=investment, generator=np.random.default_rng(SEED), rounds=500)
        interval = Span(low=span.low, high=span.high, level=span.level)
    return CurrencyReturn(
        currency=currency,
        attributed_revenue=exact(revenue, currency),
        total_investment=exact(investment, currency),
        roi=_mixed(mixed, roi, bounded=not any(invested.get(other) for other in others)) if mixed else _number(roi),
        interval=interval,
        payback=Paid(days=paid.days, at=paid.at, undefined=paid.undefined),
        acquisition_cost=_number(acquisition_cost(investment=investment, won=won)),
        deals=deals,
    )


def _mixed(why: str, own: Figure, *, bounded: bool) -> Number:
    """Return what is known of a return over several currencies.

    When all was spent in this one, what was won in others, which is never below zero, can only raise the return on it.
    """
    return Number(value=None, undefined=why, at_least=own.value if bounded else None)


def _number(figure: Figure) -> Number:
    return Number(value=figure.value, undefined=figure.undefined)


class BudgetView(Struct, frozen=True, kw_only=True):
    """Budget against actual of a period, in each currency by itself.

    Spend belongs to the period it is booked in, or else to that of its day. A line stands for everything that names the
    same category, department or channel; `none` is what names none. `elapsed` is the share of the period that is over.
    """

    period: str
    as_of: datetime
    elapsed: float | None
    currencies: list["CurrencyBudget"]


class CurrencyBudget(Struct, frozen=True, kw_only=True):
    """One currency."""

    currency: str
    total: Line
    by_category: list[Line]
    by_department: list[Line]
    by_channel: list[Line]


async def budget_of(
    tx: Transaction, catalog: Catalog, *, wanted: Period, months: Sequence[str], now: datetime
) -> BudgetView:
    """Return budget against actual of a period; `months` are the names of it and of everything within it."""
    budgets: dict[str, dict[tuple[str, Cell], Decimal]] = {}
    year = wanted.name[:4]
    for row in await catalog.rows(tx, BUDGET, _BUDGETS, given={"year": f"{year}%"}):
        name, *cell, currency, amount = row
        if isinstance(amount, Decimal):
            texts = tuple(None if each is None else str(each) for each in cell)
            budgets.setdefault(str(currency), {})[str(name), texts] = amount
    actual: dict[str, dict[Cell, Decimal]] = {}
    given = {"first": wanted.start.date(), "after": wanted.end.date(), "months": list(months)}
    for category, department, channel, currency, amount in await catalog.rows(tx, BUDGET, _ACTUAL, given=given):
        if isinstance(amount, Decimal):
            texts = tuple(None if each is None else str(each) for each in (category, department, channel))
            actual.setdefault(str(currency), {})[texts] = amount
    elapsed = elapsed_share(wanted, now=now)
    return BudgetView(
        period=wanted.name,
        as_of=now,
        elapsed=elapsed,
        currencies=[
            _currency(name, _plans(budgets.get(name, {}), wanted.name), actual.get(name, {}), elapsed=elapsed)
            for name in sorted({*budgets, *actual})
            if name in actual or _plans(budgets[name], wanted.name)
        ],
    )


def _plans(budgets: dict[tuple[str, Cell], Decimal], name: str) -> dict[Cell, Decimal]:
    cells = {cell for _, cell in budgets}
    return {cell: found for cell in cells if (found := planned(budgets, name=name, cell=cell)) is not None}


def _currency(
    currency: str, plans: dict[Cell, Decimal], actual: dict[Cell, Decimal], *, elapsed: float | None
) -> CurrencyBudget:
    def of(name: str, place: int | None) -> Line:
        mine = [each for cell, each in plans.items() if place is None or (cell[place] or NONE) == name]
        spent = [each for cell, each in actual.items() if place is None or (cell[place] or NONE) == name]
        budget = sum(mine, Decimal(0)) if mine else None
        return line(name=name, currency=currency, budget=budget, actual=sum(spent, Decimal(0)), elapsed=elapsed)

    def lines(place: int) -> list[Line]:
        return [of(name, place) for name in sorted({cell[place] or NONE for cell in (*plans, *actual)})]

    return CurrencyBudget(
        currency=currency,
        total=of("total", None),
        by_category=lines(0),
        by_department=lines(1),
        by_channel=lines(2),
    )


ROI = Metric(
    name="finance.roi",
    reads={
        "sales.credit": ("campaign_id", "deal_id", "closed_at", "share", "amount", "currency"),
        "finance.spend": ("campaign_id", "category", "amount", "amount_currency", "day"),
    },
    compute=campaign_return,
    permission="finance:read",
    meaning="(attributed revenue - investment) / investment of a campaign, with model, window and interval.",
)
BUDGET = Metric(
    name="finance.budget_variance",
    reads={
        "finance.budget": ("period", "category", "department", "channel", "campaign_id", "amount", "amount_currency"),
        "finance.spend": ("category", "department", "channel", "amount", "amount_currency", "day", "period"),
    },
    compute=budget_of,
    permission="finance:read",
    meaning="Budget against actual of a period by category, department and channel.",
)
METRICS = (ROI, BUDGET)
