"""Jobs that answer the business's questions at their time and keep the answers as results, to be read and compared."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, cast

import msgspec

from isthmus.app.scheduling.context import JobContext
from isthmus.gateway import Services
from isthmus.kernel.ids import text_of
from isthmus.kernel.marks import Json
from isthmus.kernel.period import period
from isthmus.store.database import Transaction
from isthmus.store.records import PAGE_ROWS_MAX, page
from isthmus.stream.jobs.job import Kind
from isthmus.stream.jobs.work import Work
from isthmus.sync.ingest import Store
from isthmus.sync.intake import aliases

if TYPE_CHECKING:
    from isthmus.domains.finance.metrics import CurrencyReturn, Return

FULL, ATTRIBUTION, EXECUTIVE = "analytics.full", "analytics.attribution", "report.executive"
CAMPAIGN, MODEL = "marketing.campaign", "position"


async def returns_of(tx: Transaction, store: Store, services: Services) -> list[dict[str, Json]]:
    """Return what each campaign returned in each currency: the figures of `GET .../finance/roi/{campaign_id}`."""
    from isthmus.analytics.questions import CreditQuery
    from isthmus.domains.finance.metrics import campaign_return

    campaign_type = store.schema[CAMPAIGN]
    asked = CreditQuery(model=MODEL).asked(by="campaign_id", now=tx.scope.now)
    rows: list[dict[str, Json]] = []
    for campaign in await page(tx, store.vault, campaign_type, limit=PAGE_ROWS_MAX):
        text = text_of(campaign_type.prefix, campaign.id)
        ids = await aliases(tx, CAMPAIGN, campaign.id)
        found = await campaign_return(tx, services, campaign=campaign.id, ids=ids, campaign_id=text, asked=asked)
        rows += [_return_row(found, each, name=str(campaign.values["name"])) for each in found.returns]
    return rows


async def full(work: Work, context: JobContext) -> Json:
    """Work out credit by channel and by campaign, and the return on every campaign."""
    services = context.services()
    async with context.store.database.transaction(work.scope()) as tx:
        credit = {by: await _credit(tx, services, by=by, model=MODEL) for by in ("channel", "campaign")}
        work.tell(done=1, total=2, text="returns")
        return {
            "as_of": _text(tx.scope.now),
            "credit": credit,
            "returns": _json(await returns_of(tx, context.store, services)),
        }


async def attribution(work: Work, context: JobContext) -> Json:
    """Work out credit by channel under every rule there is, so that they can be held against each other."""
    from isthmus.analytics import MODELS

    services = context.services()
    answers: dict[str, Json] = {}
    async with context.store.database.transaction(work.scope()) as tx:
        for number, model in enumerate(MODELS):
            work.tell(done=number, total=len(MODELS), text=model)
            answers[model] = await _credit(tx, services, by="channel", model=model)
        return {"as_of": _text(tx.scope.now), "models": answers}


async def executive(work: Work, context: JobContext) -> Json:
    """Work out the month that has ended: sales, budgets, credit by channel and the return on every campaign."""
    from isthmus.analytics import Catalog
    from isthmus.domains.finance.metrics import budget_of
    from isthmus.domains.sales.performance import performance

    services = context.services()
    month = period(month_before(work.claim.occurrence or work.clock.now()))
    catalog = services.of(Catalog)
    async with context.store.database.transaction(work.scope()) as tx:
        now = tx.scope.now
        return {
            "month": month.name,
            "sales": _json(await performance(tx, catalog, period=month)),
            "budget": _json(await budget_of(tx, catalog, wanted=month, months=[month.name], now=now)),
            "credit": await _credit(tx, services, by="channel", model=MODEL),
            "returns": _json(await returns_of(tx, context.store, services)),
        }


def month_before(at: datetime) -> str:
    """Return the name of the month before that of a moment, such as `2026-10`."""
    year, month = (at.year, at.month - 1) if at.month > 1 else (at.year - 1, 12)
    return f"{year:04}-{month:02}"


async def _credit(tx: Transaction, services: Services, *, by: str, model: str) -> Json:
    from isthmus.domains.sales.metrics import By, attribution_by

    found = await attribution_by(tx, services, by=cast("By", by), model=model, as_of=tx.scope.now)
    return [
        {
            "bucket": each.bucket,
            "revenue": str(each.revenue.amount),
            "currency": each.revenue.currency,
            "share": round(each.share, 4),
        }
        for each in found.buckets
    ]


def _return_row(found: Return, each: CurrencyReturn, *, name: str) -> dict[str, Json]:
    return {
        "campaign": name,
        "campaign_id": found.campaign_id,
        "currency": each.currency,
        "attributed_revenue": str(each.attributed_revenue.amount),
        "total_investment": str(each.total_investment.amount),
        "roi": None if each.roi.value is None else str(each.roi.value),
        "at_least": None if each.roi.at_least is None else str(each.roi.at_least),
        "low": None if each.interval is None else each.interval.low,
        "high": None if each.interval is None else each.interval.high,
        "undefined": each.roi.undefined,
        "model": found.model,
        "window_days": found.window_days,
    }


def _json(value: object) -> Json:
    return msgspec.json.decode(msgspec.json.encode(value))


def _text(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


KINDS: tuple[Kind[JobContext], ...] = (
    Kind(name=FULL, about="Credit by channel and campaign, and returns.", run=full, permission="sales:analyse"),
    Kind(name=ATTRIBUTION, about="Credit by channel under every rule.", run=attribution, permission="sales:analyse"),
    Kind(
        name=EXECUTIVE,
        about="The month that has ended: sales, budgets, credit, returns.",
        run=executive,
        permission="finance:analyse",
    ),
)
