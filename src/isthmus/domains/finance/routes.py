"""Finance over HTTP: spend, closed periods, return on campaigns, budget against actual."""

from collections.abc import Sequence
from datetime import date
from typing import LiteralString
from uuid import UUID

import msgspec
from msgspec import Struct

from isthmus.analytics import Catalog, CreditQuery
from isthmus.audit.trace import trace
from isthmus.domains import Custom, Name
from isthmus.domains.finance.metrics import BudgetView, Return, budget_of, campaign_return
from isthmus.domains.finance.records import SPEND, SpendCategory
from isthmus.domains.finance.rules import closing, month_of, open_month, parts_of, spend_faults
from isthmus.gateway import Call, Route
from isthmus.kernel.errors import Conflicting, NotFound
from isthmus.kernel.ids import text_of
from isthmus.kernel.marks import Json, Line
from isthmus.kernel.money import Money
from isthmus.kernel.period import InvalidPeriod, period
from isthmus.store.database import Transaction
from isthmus.store.records import find
from isthmus.sync.ingest import Store
from isthmus.sync.intake import aliases, arrive_structs, committed, refusal

BASE = "/api/v1/integrations/finance"
CAMPAIGN = "marketing.campaign"
_CLOSED: LiteralString = "select period from closed_period where workspace = current_workspace() order by period"
_CLOSE: LiteralString = """
insert into closed_period (workspace, period, closed_at, closed_by) values (current_workspace(), %s, %s, %s)
on conflict do nothing
"""
_REOPEN: LiteralString = "delete from closed_period where workspace = current_workspace() and period = %s"
# Closing waits for bookings under way, and these for each other's locks not at all.
_BOOKING: LiteralString = "select pg_advisory_xact_lock_shared(7022, current_workspace())"
_CLOSING: LiteralString = "select pg_advisory_xact_lock(7022, current_workspace())"


class CampaignMissing(NotFound):
    """There is no campaign with this id, or the caller may not see it."""

    code, title = "campaign-missing", "There is no such campaign"


class PeriodClosed(Conflicting):
    """The period is closed. Book to the open one, or ask finance to reopen this one."""

    code, title = "period-closed", "The period is closed"


class NewSpend(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Money that was spent on a day.

    `external_id` makes it the same spend when it is sent again. With `post_late`, spend of a day in a closed period is
    booked in the first open month; without, it is refused.
    """

    amount: Money
    day: date
    category: SpendCategory = SpendCategory.MEDIA_SPEND
    external_id: Name | None = None
    campaign_id: str | None = None
    vendor_id: str | None = None
    channel: Line | None = None
    department: Line | None = None
    reference: Line | None = None
    post_late: bool = False
    custom: Custom = {}


class SpendView(Struct, frozen=True, kw_only=True):
    """Spend as it is booked: `late` tells that `period` is not that of the day."""

    id: str
    version: int
    amount: Money
    day: date
    period: str
    late: bool
    category: str
    campaign_id: str | None = None
    vendor_id: str | None = None
    channel: str | None = None
    department: str | None = None
    reference: str | None = None


class PeriodView(Struct, frozen=True, kw_only=True):
    """A period, and all that are closed."""

    period: str
    closed: bool
    closed_periods: list[str]


async def book_spend(call: Call) -> SpendView:
    """Book spend, in the period of its day or, when that is closed and late posting is asked for, in the open one."""
    wanted = call.body(NewSpend)
    if faults := spend_faults(wanted.amount):
        raise refusal(faults)

    async def work(tx: Transaction) -> SpendView:
        await tx.connection.execute(_BOOKING)
        also: dict[str, Json] = {"period": await _period(tx, wanted)}
        (arrived,) = await arrive_structs(
            tx, call.services.of(Store), SPEND.name, [wanted], once=str(call.once), also=also, left=("post_late",)
        )
        return await _view(tx, call, arrived.record_id)

    return await committed(call.services.of(Store), call.scope, work)


async def close_period(call: Call) -> PeriodView:
    """Close a period: nothing is booked in it any more."""
    name = _named(call)
    async with call.services.database.transaction(call.scope) as tx:
        await tx.connection.execute(_CLOSING)
        await tx.connection.execute(_CLOSE, (name, call.scope.now, call.scope.actor))
        await trace(tx, action="period.closed", resource="finance.period", record_id=None, details={"period": name})
        return PeriodView(period=name, closed=True, closed_periods=await _closed(tx))


async def reopen_period(call: Call) -> PeriodView:
    """Reopen a period that was closed under this name."""
    name = _named(call)
    async with call.services.database.transaction(call.scope) as tx:
        await tx.connection.execute(_CLOSING)
        await tx.connection.execute(_REOPEN, (name,))
        await trace(tx, action="period.reopened", resource="finance.period", record_id=None, details={"period": name})
        return PeriodView(period=name, closed=False, closed_periods=await _closed(tx))


async def show_roi(call: Call) -> Return:
    """Answer what a campaign returned."""
    query = call.query(CreditQuery)
    campaign_type = call.services.schema[CAMPAIGN]
    campaign = call.record_id("campaign_id", campaign_type)
    async with call.services.database.transaction(call.scope) as tx:
        stored = (await find(tx, call.services.vault, campaign_type, [campaign])).get(campaign)
        if stored is None or stored.deleted_at is not None:
            raise CampaignMissing("There is no campaign with this id.", fix="List them: GET /api/v1/campaigns")
        own = stored.merged_into or campaign
        return await campaign_return(
            tx,
            call.services,
            campaign=own,
            ids=await aliases(tx, CAMPAIGN, own),
            campaign_id=text_of(campaign_type.prefix, own),
            asked=query.asked(by="campaign_id", now=call.scope.now),
        )


async def show_budget(call: Call) -> BudgetView:
    """Answer budget against actual of a period."""
    wanted = period(_named(call))
    async with call.services.database.transaction(call.scope) as tx:
        return await budget_of(
            tx, call.services.of(Catalog), wanted=wanted, months=_within(wanted.name), now=call.scope.now
        )


def _named(call: Call) -> str:
    """Return the period in the path; one that is none is not found."""
    try:
        return period(call.path["period"]).name
    except InvalidPeriod as error:
        raise NotFound(error.detail, fix=error.fix) from error


def _within(name: str) -> list[str]:
    return [name, *(inner for part in parts_of(name) for inner in _within(part))]


async def _closed(tx: Transaction) -> list[str]:
    rows: Sequence[tuple[str]] = await (await tx.connection.execute(_CLOSED)).fetchall()
    return [name for (name,) in rows]


async def _period(tx: Transaction, wanted: NewSpend) -> str:
    """Return the month that spend is booked in; raises PeriodClosed."""
    closed = await _closed(tx)
    held = closing(closed, day=wanted.day)
    if held is None:
        return month_of(wanted.day)
    following = open_month(closed, day=wanted.day)
    if wanted.post_late:
        return following
    raise PeriodClosed(
        f"{wanted.day} lies in {held.name}, which is closed.",
        fix=f'Send "post_late": true to book it in {following}, or ask finance to reopen {held.name}.',
    )


async def _view(tx: Transaction, call: Call, record_id: UUID | None) -> SpendView:
    if record_id is None:
        raise AssertionError
    stored = (await find(tx, call.services.vault, SPEND, [record_id]))[record_id]
    shown = {name: value for name, value in stored.values.items() if value is not None}
    for name in ("campaign_id", "vendor_id"):
        declared = SPEND.field(name)
        if declared and declared.to and isinstance(value := shown.get(name), str):
            shown[name] = text_of(call.services.schema[declared.to].prefix, UUID(value))
    month = month_of(date.fromisoformat(str(shown["day"])))
    own: dict[str, Json] = {
        "id": text_of(SPEND.prefix, stored.id),
        "version": stored.version,
        "period": shown.get("period") or month,
        "late": shown.get("period") not in (None, month),
    }
    return msgspec.convert(shown | own, SpendView)


_TAGS = ("finance",)
ROUTES = (
    Route(
        method="POST",
        path=f"{BASE}/spend",
        permission="finance:write",
        handler=book_spend,
        status=201,
        summary="Book spend",
        tags=_TAGS,
        body=NewSpend,
        response=SpendView,
        request_example={"amount": {"amount": "1200.00", "currency": "EUR"}, "day": "2026-11-20", "channel": "webinar"},
        errors=(PeriodClosed,),
    ),
    Route(
        method="GET",
        path=f"{BASE}/roi/{{campaign_id}}",
        permission="finance:read",
        handler=show_roi,
        shared=True,
        summary="Return on a campaign",
        tags=_TAGS,
        query=CreditQuery,
        response=Return,
        errors=(CampaignMissing,),
    ),
    Route(
        method="GET",
        path=f"{BASE}/budget/{{period}}",
        permission="finance:read",
        handler=show_budget,
        held_s=0.5,
        summary="Budget against actual of a period",
        tags=_TAGS,
        response=BudgetView,
        operation="showBudgetOfPeriod",
    ),
    Route(
        method="POST",
        path=f"{BASE}/periods/{{period}}:close",
        permission="finance:administer",
        handler=close_period,
        summary="Close a period: nothing is booked in it any more",
        tags=_TAGS,
        response=PeriodView,
    ),
    Route(
        method="POST",
        path=f"{BASE}/periods/{{period}}:reopen",
        permission="finance:administer",
        handler=reopen_period,
        summary="Reopen a closed period",
        tags=_TAGS,
        response=PeriodView,
    ),
)
