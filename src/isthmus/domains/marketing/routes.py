"""Marketing over HTTP: campaigns, how they perform, and touches in batches."""

from collections.abc import Sequence
from datetime import date
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta, Struct

from isthmus.analytics import Catalog
from isthmus.domains import Count, Custom, Moment, Name, Tags
from isthmus.domains.marketing.metrics import CampaignPerformance, performance
from isthmus.domains.marketing.records import CAMPAIGN, TOUCH, Campaign, CampaignStatus, TouchKind
from isthmus.domains.marketing.rules import campaign_faults
from isthmus.domains.marketing.settings import MarketingSettings
from isthmus.gateway import BATCH_BODY_BYTES_MAX, Call, Response, Route
from isthmus.kernel.errors import Conflicting, Fault, NotFound
from isthmus.kernel.ids import text_of
from isthmus.kernel.marks import Json, Line, Text
from isthmus.kernel.money import Money
from isthmus.store.database import Transaction
from isthmus.store.records import find, page
from isthmus.sync.ingest import Store
from isthmus.sync.intake import Arrived, aliases, arrive_structs, committed, refusal, settings_of

BATCH_TOUCHES_MAX = 1_000
_REFERENCES = ("audience_id", "parent_id")


class CampaignMissing(NotFound):
    """There is no campaign with this id, or the caller may not see it."""

    code, title = "campaign-missing", "There is no such campaign"


class CodeTaken(Conflicting):
    """Another campaign has this code."""

    code, title = "code-taken", "The code is taken"


class NewCampaign(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A campaign to be made."""

    name: Name
    code: Line | None = None
    kind: Line | None = None
    channel: Line | None = None
    status: CampaignStatus = CampaignStatus.PLANNED
    objective: Line | None = None
    starts_on: date | None = None
    ends_on: date | None = None
    budget: Money | None = None
    audience_id: str | None = None
    audience_size: Count | None = None
    parent_id: str | None = None
    owner_id: Line | None = None
    description: Text | None = None
    tags: Tags = []
    custom: Custom = {}


class CampaignView(Struct, frozen=True, kw_only=True):
    """A campaign."""

    id: str
    version: int
    name: str
    status: str
    code: str | None = None
    kind: str | None = None
    channel: str | None = None
    objective: str | None = None
    starts_on: date | None = None
    ends_on: date | None = None
    budget: Money | None = None
    audience_id: str | None = None
    audience_size: int | None = None
    parent_id: str | None = None
    owner_id: str | None = None
    description: str | None = None
    tags: list[str] = []
    custom: Custom = {}


class NewTouch(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A campaign reached somebody, or somebody came. `external_id` makes it the same touch when it is sent again."""

    channel: Name
    at: Moment
    external_id: Name | None = None
    campaign_id: str | None = None
    account_id: str | None = None
    person_id: str | None = None
    lead_id: str | None = None
    kind: TouchKind | None = None
    role: Line | None = None
    cost: Money | None = None
    custom: Custom = {}


class TouchBatch(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Up to 1000 touches; all of them are stored, or none."""

    touches: Annotated[list[NewTouch], Meta(min_length=1, max_length=BATCH_TOUCHES_MAX)]


class TouchesStored(Struct, frozen=True, kw_only=True):
    """The ids of the touches in the order in which they came, and how many were new or known."""

    created: int
    known: int
    ids: list[str]


async def create_campaign(call: Call) -> Response:
    """Make a campaign."""
    wanted = call.body(NewCampaign)
    said = {name: value for name, value in msgspec.to_builtins(wanted).items() if name not in _REFERENCES}
    campaign = msgspec.convert(said, Campaign)

    async def work(tx: Transaction) -> CampaignView:
        settings = await settings_of(tx, "marketing", MarketingSettings)
        faults = campaign_faults(
            campaign,
            audience_size_min=settings.audience_size_min,
            audience_size_max=settings.audience_size_max,
        )
        if faults:
            raise refusal(faults)
        await _code_free(tx, call, wanted.code)
        (arrived,) = await arrive_structs(tx, call.services.of(Store), CAMPAIGN.name, [wanted], once=str(call.once))
        return await _campaign_view(tx, call, arrived)

    view = await committed(call.services.of(Store), call.scope, work)
    return Response(value=view, version=view.version, headers=(("location", f"/api/v1/campaigns/{view.id}"),))


async def show_performance(call: Call) -> CampaignPerformance:
    """Answer how a campaign performs."""
    campaign = call.record_id("campaign_id", CAMPAIGN)
    async with call.services.database.transaction(call.scope) as tx:
        stored = (await find(tx, call.services.vault, CAMPAIGN, [campaign])).get(campaign)
        if stored is None or stored.deleted_at is not None:
            raise CampaignMissing("There is no campaign with this id.", fix="List them: GET /api/v1/campaigns")
        own = stored.merged_into or campaign
        ids = await aliases(tx, CAMPAIGN.name, own)
        return await performance(tx, call.services.of(Catalog), ids=ids, campaign_id=text_of(CAMPAIGN.prefix, own))


async def store_touches(call: Call) -> TouchesStored:
    """Store touches, all or none."""
    touches = call.body(TouchBatch).touches
    if faults := _touch_faults(touches):
        raise refusal(faults)

    async def work(tx: Transaction) -> TouchesStored:
        store = call.services.of(Store)
        arrived = await arrive_structs(tx, store, TOUCH.name, touches, once=str(call.once), at="/touches")
        known = sum(each.repeated for each in arrived)
        ids = [text_of(TOUCH.prefix, each.record_id) for each in arrived if each.record_id is not None]
        return TouchesStored(created=len(arrived) - known, known=known, ids=ids)

    return await committed(call.services.of(Store), call.scope, work)


def _touch_faults(touches: Sequence[NewTouch]) -> list[Fault]:
    detail = "A cost cannot be below zero. Leave it out when there is none."
    return [
        Fault(pointer=f"/touches/{position}/cost/amount", code="negative-money", detail=detail)
        for position, each in enumerate(touches)
        if each.cost is not None and each.cost.amount < 0
    ]


async def _code_free(tx: Transaction, call: Call, code: str | None) -> None:
    """Raise CodeTaken when another campaign has the code: put together they would be one."""
    if code is None:
        return
    store = call.services.of(Store)
    index = store.preparer(CAMPAIGN.name, call.scope.workspace).index("code", code)
    for each in await page(tx, store.vault, CAMPAIGN, limit=1, where={"code_index": index}):
        if not await _own(tx, each.id, f"{call.once}:0"):
            own = text_of(CAMPAIGN.prefix, each.id)
            raise CodeTaken(f"The campaign {own} has the code {code!r}.", fix="Use that campaign, or another code.")


async def _own(tx: Transaction, record_id: UUID, external_id: str) -> bool:
    query = """select exists (select from ref where workspace = current_workspace() and type = 'marketing.campaign'
               and external_id = %s and record_id = %s)"""
    row = await (await tx.connection.execute(query, (external_id, record_id))).fetchone()
    return bool(row and row[0])


async def _campaign_view(tx: Transaction, call: Call, arrived: Arrived) -> CampaignView:
    if arrived.record_id is None:
        raise AssertionError
    stored = (await find(tx, call.services.vault, CAMPAIGN, [arrived.record_id]))[arrived.record_id]
    schema = call.services.schema
    shown = {name: value for name, value in stored.values.items() if value is not None}
    for name in _REFERENCES:
        declared = CAMPAIGN.field(name)
        if declared and declared.to and isinstance(value := shown.get(name), str):
            shown[name] = text_of(schema[declared.to].prefix, UUID(value))
    own: dict[str, Json] = {"id": text_of(CAMPAIGN.prefix, stored.id), "version": stored.version}
    return msgspec.convert(shown | own, CampaignView)


_TAGS = ("marketing",)
_TOUCH: dict[str, Json] = {
    "channel": "email",
    "kind": "clicked",
    "at": "2026-11-20T09:30:00Z",
    "external_id": "mail-4711",
}
ROUTES = (
    Route(
        method="POST",
        path="/api/v1/campaigns",
        permission="marketing:write",
        handler=create_campaign,
        status=201,
        summary="Create a campaign",
        tags=_TAGS,
        body=NewCampaign,
        response=CampaignView,
        request_example={"name": "Autumn webinar", "channel": "webinar", "audience_size": 2400, "status": "active"},
        errors=(CodeTaken,),
    ),
    Route(
        method="GET",
        path="/api/v1/campaigns/{campaign_id}/performance",
        permission="marketing:read",
        handler=show_performance,
        shared=True,
        summary="Touches, rates and spend of a campaign",
        tags=_TAGS,
        response=CampaignPerformance,
        errors=(CampaignMissing,),
        operation="showCampaignPerformance",
    ),
    Route(
        method="POST",
        path="/api/v1/touches",
        permission="marketing:write",
        handler=store_touches,
        status=201,
        summary="Store up to 1000 touches, all or none",
        tags=_TAGS,
        body=TouchBatch,
        response=TouchesStored,
        request_example={"touches": [_TOUCH]},
        body_bytes_max=BATCH_BODY_BYTES_MAX,
    ),
)
