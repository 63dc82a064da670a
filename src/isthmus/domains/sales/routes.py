"""Sales over HTTP: leads and their pipeline, attribution, performance."""

from collections.abc import Sequence
from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta, Struct

from isthmus.analytics import Catalog, CreditQuery, journeys_with
from isthmus.analytics.ledger import UNATTRIBUTED
from isthmus.domains.sales import follow_up
from isthmus.domains.sales.capture import EVIDENCE, Capture, Captured, NewLead, Pipeline, faults_of
from isthmus.domains.sales.metrics import By, Credit, attribution_by, attribution_of, credit_of, with_zero
from isthmus.domains.sales.performance import Performance, performance
from isthmus.domains.sales.records import LEAD as LEAD_TYPE
from isthmus.domains.sales.splitting import MergeUndo, undo
from isthmus.domains.sales.views import (
    BatchCaptured,
    CampaignCredit,
    ItemResult,
    JourneyView,
    LeadCaptured,
    LeadMissing,
    LeadView,
    Merged,
    journey_view,
    lead_views,
    named,
)
from isthmus.gateway import BATCH_BODY_BYTES_MAX, Call, Page, Response, Route, read_value
from isthmus.gateway.routes import PAGE_ROWS, PAGE_ROWS_MAX
from isthmus.kernel.errors import Fault, Invalid, NotFound
from isthmus.kernel.ids import text_of, uuid_of
from isthmus.kernel.marks import Json
from isthmus.kernel.period import period
from isthmus.store.database import Transaction
from isthmus.store.records import find
from isthmus.sync.gathering import Gathering
from isthmus.sync.ingest import Store
from isthmus.sync.intake import Reference, committed, refusal, resolve
from isthmus.sync.merges import MergeMissing, MergeUndone
from isthmus.sync.runs import Engine

BATCH_LEADS_MAX = 1_000
BASE = "/api/v1/integrations/sales"
CAMPAIGN = "marketing.campaign"


class CampaignMissing(NotFound):
    """There is no campaign with this id, or the caller may not see it."""

    code, title = "campaign-missing", "There is no such campaign"


class LeadBatch(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Up to 1000 leads. Each is judged by itself: a wrong one is refused, the others are stored."""

    leads: Annotated[list[dict[str, Json]], Meta(min_length=1, max_length=BATCH_LEADS_MAX)]


class CampaignQuery(CreditQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`expand=journeys` adds the first journeys behind the numbers."""

    expand: Literal["journeys"] | None = None


class JourneyQuery(CreditQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The same question, page by page."""

    limit: Annotated[int, Meta(ge=1, le=PAGE_ROWS_MAX, description="How many at most.")] = PAGE_ROWS
    cursor: Annotated[str, Meta(max_length=2000, description="Where to go on, as `next_cursor` said.")] | None = None


class AllQuery(CreditQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Credit of all channels or all campaigns."""

    by: By = "channel"


class PeriodQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A year `2026`, a quarter `2026-Q4` or a month `2026-11`."""

    period: str


async def capture_lead(call: Call) -> LeadCaptured:
    """Take one lead through the pipeline, all of it or nothing.

    Leads that the same caller sends at the same moment share a transaction; each is answered and traced by itself.
    """
    lead = call.body(NewLead)
    if faults := faults_of(lead):
        raise refusal(faults)
    scope = call.scope
    alike = ("sales.lead", scope.workspace, scope.actor, scope.circumstances, call.may("sales:read_personal"))
    done = await call.services.of(Gathering).ask(alike, (call, lead), _capture_together)
    if isinstance(done, Invalid):
        raise done
    return done


async def _capture_together(asked: Sequence[tuple[Call, NewLead]]) -> list[LeadCaptured | Invalid]:
    """Take leads of one caller through the pipeline, with a result for each call, in their order."""
    last = max((call for call, _ in asked), key=lambda each: each.scope.now)

    async def work(tx: Transaction) -> list[LeadCaptured | Invalid]:
        tx.causes.update({str(call.once): call.scope.cause for call, _ in asked})
        placed = [(lead, f"/leads/{position}") for position, (_, lead) in enumerate(asked)]
        campaigns, unknown = await _known_campaigns(tx, last, placed)
        captures = {
            position: Capture(str(call.once), lead, campaigns.get(lead.campaign_id or ""))
            for position, (call, lead) in enumerate(asked)
            if position not in unknown
        }
        done = dict(zip(captures, await _pipeline(tx, last).capture(list(captures.values())), strict=True))
        views = await _views(tx, last, list({each.lead for each in done.values() if each.lead}))
        return [
            _captured(done[position], views) if position in done else refusal(_whole(unknown[position], position))
            for position in range(len(asked))
        ]

    return await committed(last.services.of(Store), last.scope, work)


def _captured(done: Captured, views: dict[UUID, LeadView]) -> LeadCaptured | Invalid:
    if done.lead is None:
        return refusal(done.arrived.faults)
    return LeadCaptured(outcome=_outcome(done), lead=views[done.lead], merged=_merged(done, done.lead))


def _whole(faults: Sequence[Fault], position: int) -> list[Fault]:
    """Return faults of a lead that was looked at among others, as they are of a body that is this lead alone."""
    at = f"/leads/{position}"
    return [Fault(pointer=each.pointer.removeprefix(at), code=each.code, detail=each.detail) for each in faults]


async def capture_leads(call: Call) -> BatchCaptured:
    """Take up to 1000 leads through the pipeline, with a result for each."""
    given = call.body(LeadBatch).leads
    read = [_read(each, position) for position, each in enumerate(given)]
    good = [(each, f"/leads/{position}") for position, each in enumerate(read) if isinstance(each, NewLead)]

    async def work(tx: Transaction) -> BatchCaptured:
        campaigns, unknown = await _known_campaigns(tx, call, good)
        captures = {
            position: Capture(f"{call.once}:{position}", each, campaigns.get(each.campaign_id or ""))
            for position, each in enumerate(read)
            if isinstance(each, NewLead) and position not in unknown
        }
        done = dict(zip(captures, await _pipeline(tx, call).capture(list(captures.values())), strict=True))
        views = await _views(tx, call, list({each.lead for each in done.values() if each.lead}))
        refused = {
            position: list(each) for position, each in enumerate(read) if not isinstance(each, NewLead)
        } | unknown
        results = [_item(position, done.get(position), views, refused) for position in range(len(read))]
        ended = [each.outcome for each in results]
        return BatchCaptured(
            created=ended.count("created"),
            merged=ended.count("merged"),
            repeated=ended.count("repeated"),
            refused=ended.count("refused"),
            results=results,
        )

    return await committed(call.services.of(Store), call.scope, work)


async def show_lead(call: Call) -> Response:
    """Answer a lead with its steps and its follow-up."""
    lead = call.record_id("lead_id", LEAD_TYPE)
    async with call.services.database.transaction(call.scope) as tx:
        view = await _one(tx, call, lead)
    return Response(value=view, version=view.version)


async def pause_follow_up(call: Call) -> LeadView:
    """Let the follow-up of a lead rest."""
    lead = call.record_id("lead_id", LEAD_TYPE)
    async with call.services.database.transaction(call.scope) as tx:
        await follow_up.pause(tx, lead)
        return await _one(tx, call, lead)


async def resume_follow_up(call: Call) -> LeadView:
    """Let it go on."""
    lead = call.record_id("lead_id", LEAD_TYPE)
    async with call.services.database.transaction(call.scope) as tx:
        await follow_up.resume(tx, lead)
        return await _one(tx, call, lead)


async def undo_merge(call: Call) -> MergeUndo:
    """Take a merge apart."""
    try:
        merge = uuid_of("merge", call.path["merge_id"])
    except Invalid as error:
        raise MergeMissing(error.detail, fix=error.fix) from error
    return await undo(call, merge)


async def show_campaign(call: Call) -> CampaignCredit:
    """Answer what one campaign received."""
    query = call.query(CampaignQuery)
    asked = query.asked(by="campaign_id", now=call.scope.now)
    async with call.services.database.transaction(call.scope) as tx:
        campaign = await _campaign(tx, call)
        found = await attribution_of(tx, call.services, asked=asked)
        credit = await credit_of(tx, call.services, found, by="campaign", asked=asked, only=str(campaign))
    journeys = journeys_with(found, bucket=str(campaign), limit=50) if query.expand else None
    schema = call.services.schema
    own = text_of(schema[CAMPAIGN].prefix, campaign)
    window = query.window
    return CampaignCredit(
        campaign_id=own,
        credit=named(with_zero(credit, bucket=str(campaign)), schema),
        journeys_link=f"{BASE}/attribution/{own}/journeys?model={query.model}&window={window}",
        journeys=None if journeys is None else [journey_view(each, schema) for each in journeys],
    )


async def list_journeys(call: Call) -> Page[JourneyView]:
    """Answer the journeys behind a campaign's credit."""
    query = call.query(JourneyQuery)
    asked = query.asked(by="campaign_id", now=call.scope.now)
    async with call.services.database.transaction(call.scope) as tx:
        bucket = UNATTRIBUTED if call.path["campaign_id"] == UNATTRIBUTED else str(await _campaign(tx, call))
        found = await attribution_of(tx, call.services, asked=asked)
    rows = journeys_with(found, bucket=bucket, limit=query.limit + 1, after=call.after())
    page = call.page(rows, limit=query.limit, after=lambda each: each.outcome)
    shown = [journey_view(each, call.services.schema) for each in page.data]
    return Page(data=shown, next_cursor=page.next_cursor, has_more=page.has_more)


async def show_attribution(call: Call) -> Credit:
    """Answer the credit of all channels or campaigns."""
    query = call.query(AllQuery)
    asked = query.asked(by=query.by, now=call.scope.now)
    async with call.services.database.transaction(call.scope) as tx:
        credit = await attribution_by(
            tx,
            call.services,
            by=query.by,
            model=asked.model,
            as_of=asked.as_of,
            window_days=asked.window_days,
            half_life_days=asked.half_life_days,
        )
    return named(credit, call.services.schema) if query.by == "campaign" else credit


async def show_performance(call: Call) -> Performance:
    """Answer how a period went."""
    wanted = period(call.query(PeriodQuery).period)
    async with call.services.database.transaction(call.scope) as tx:
        return await performance(tx, call.services.of(Catalog), period=wanted)


def _pipeline(tx: Transaction, call: Call) -> Pipeline:
    services = call.services
    connectors = services.of(Engine).connectors
    return Pipeline(tx=tx, store=services.of(Store), catalog=services.of(Catalog), connectors=connectors)


async def _views(tx: Transaction, call: Call, leads: Sequence[UUID]) -> dict[UUID, LeadView]:
    personal = call.may("sales:read_personal")
    connectors = call.services.of(Engine).connectors
    return await lead_views(tx, call.services.of(Store), connectors, leads, personal=personal)


async def _one(tx: Transaction, call: Call, lead: UUID) -> LeadView:
    stored = (await find(tx, call.services.vault, LEAD_TYPE, [lead])).get(lead)
    if stored is None or stored.deleted_at is not None:
        raise LeadMissing("There is no lead with this id.", fix="Check the id.")
    return (await _views(tx, call, [stored.merged_into or lead]))[stored.merged_into or lead]


async def _campaigns(tx: Transaction, call: Call, leads: Sequence[tuple[NewLead, str]]) -> dict[str, UUID]:
    wanted = [Reference(f"{at}/campaign_id", CAMPAIGN, each.campaign_id) for each, at in leads if each.campaign_id]
    return {text: found for (_, text), found in (await resolve(tx, call.services.schema, wanted)).items()}


async def _known_campaigns(
    tx: Transaction, call: Call, leads: Sequence[tuple[NewLead, str]]
) -> tuple[dict[str, UUID], dict[int, list[Fault]]]:
    """Return the campaigns that are there, and by position the leads that name others."""
    try:
        return await _campaigns(tx, call, leads), {}
    except Invalid as error:
        unknown: dict[int, list[Fault]] = {}
        for fault in error.faults:
            unknown.setdefault(int(fault.pointer.split("/")[2]), []).append(fault)
        rest = [(each, at) for each, at in leads if int(at.split("/")[2]) not in unknown]
        return await _campaigns(tx, call, rest), unknown


async def _campaign(tx: Transaction, call: Call) -> UUID:
    campaign_type = call.services.schema[CAMPAIGN]
    campaign = call.record_id("campaign_id", campaign_type)
    stored = (await find(tx, call.services.vault, campaign_type, [campaign])).get(campaign)
    if stored is None or stored.deleted_at is not None:
        raise CampaignMissing("There is no campaign with this id.", fix="List them: GET /api/v1/campaigns")
    return stored.merged_into or campaign


def _read(raw: dict[str, Json], position: int) -> NewLead | tuple[Fault, ...]:
    at = f"/leads/{position}"
    try:
        lead = read_value(raw, NewLead, at=at)
    except Invalid as error:
        return error.faults
    return tuple(_placed(faults_of(lead), at)) or lead


def _placed(faults: Sequence[Fault], at: str) -> list[Fault]:
    return [Fault(pointer=at + each.pointer, code=each.code, detail=each.detail) for each in faults]


def _outcome(done: Captured) -> str:
    if done.arrived.repeated:
        return "repeated"
    return "created" if done.arrived.fresh else "merged"


def _merged(done: Captured, lead: UUID) -> Merged | None:
    arrived = done.arrived
    if arrived.merge is None:
        return None
    by, into = EVIDENCE.get(arrived.evidence, arrived.evidence), text_of(LEAD_TYPE.prefix, lead)
    return Merged(into=into, by=by, undo=f"/api/v1/merges/{text_of('merge', arrived.merge)}:undo")


def _item(
    position: int, done: Captured | None, views: dict[UUID, LeadView], refused: dict[int, list[Fault]]
) -> ItemResult:
    if done is None:
        return ItemResult(position=position, outcome="refused", errors=refused[position])
    if done.lead is None:
        return ItemResult(
            position=position, outcome="refused", errors=_placed(done.arrived.faults, f"/leads/{position}")
        )
    view = views[done.lead]
    return ItemResult(
        position=position,
        outcome=_outcome(done),
        id=view.id,
        owner_id=view.owner_id,
        score=view.score,
        merged=_merged(done, done.lead),
    )


_EXAMPLE: dict[str, Json] = {
    "email": "ada@lovelace.example",
    "first_name": "Ada",
    "last_name": "Lovelace",
    "company": "Analytical Engines",
    "title": "Head of Engineering",
    "country": "GB",
    "company_size": 240,
    "source": "webinar_registration",
}
_TAGS = ("sales",)
ROUTES = (
    Route(
        method="POST",
        path=f"{BASE}/leads",
        permission="sales:write",
        handler=capture_lead,
        status=201,
        summary="Capture a lead and take it through the pipeline",
        description="Validation, duplicates, score, CRM, assignment and follow-up; each step is on the lead.",
        tags=_TAGS,
        body=NewLead,
        response=LeadCaptured,
        request_example=_EXAMPLE,
    ),
    Route(
        method="POST",
        path=f"{BASE}/leads:batch",
        permission="sales:write",
        handler=capture_leads,
        summary="Capture up to 1000 leads, with a result for each",
        tags=_TAGS,
        body=LeadBatch,
        response=BatchCaptured,
        request_example={"leads": [_EXAMPLE]},
        body_bytes_max=BATCH_BODY_BYTES_MAX,
    ),
    Route(
        method="GET",
        path=f"{BASE}/leads/{{lead_id}}",
        permission="sales:read",
        handler=show_lead,
        summary="Read a lead with its pipeline steps and its follow-up",
        tags=_TAGS,
        response=LeadView,
        errors=(LeadMissing,),
        operation="showLeadPipeline",
    ),
    Route(
        method="POST",
        path=f"{BASE}/leads/{{lead_id}}/follow-up:pause",
        permission="sales:write",
        handler=pause_follow_up,
        summary="Pause the follow-up of a lead",
        tags=_TAGS,
        response=LeadView,
        errors=(LeadMissing, follow_up.NoFollowUp),
    ),
    Route(
        method="POST",
        path=f"{BASE}/leads/{{lead_id}}/follow-up:resume",
        permission="sales:write",
        handler=resume_follow_up,
        summary="Let a paused follow-up go on",
        tags=_TAGS,
        response=LeadView,
        errors=(LeadMissing, follow_up.NoFollowUp),
    ),
    Route(
        method="POST",
        path="/api/v1/merges/{merge_id}:undo",
        permission="sales:write",
        handler=undo_merge,
        summary="Undo a merge",
        description="Each record gets back what its systems said of it. A split lead goes through the pipeline.",
        tags=_TAGS,
        response=MergeUndo,
        errors=(MergeMissing, MergeUndone),
    ),
    Route(
        method="GET",
        path=f"{BASE}/attribution",
        permission="sales:read",
        handler=show_attribution,
        shared=True,
        summary="Attribution of all channels or campaigns",
        tags=_TAGS,
        query=AllQuery,
        response=Credit,
    ),
    Route(
        method="GET",
        path=f"{BASE}/attribution/{{campaign_id}}",
        permission="sales:read",
        handler=show_campaign,
        shared=True,
        summary="Attribution of one campaign",
        tags=_TAGS,
        query=CampaignQuery,
        response=CampaignCredit,
        errors=(CampaignMissing,),
    ),
    Route(
        method="GET",
        path=f"{BASE}/attribution/{{campaign_id}}/journeys",
        permission="sales:read",
        handler=list_journeys,
        shared=True,
        summary="The journeys behind a campaign's credit",
        description="`unattributed` in the place of a campaign lists the deals that no touch led to.",
        tags=_TAGS,
        query=JourneyQuery,
        response=Page[JourneyView],
        errors=(CampaignMissing,),
    ),
    Route(
        method="GET",
        path=f"{BASE}/performance",
        permission="sales:read",
        handler=show_performance,
        held_s=0.5,
        summary="Pipeline, win rate, cycle length and lead velocity of a period",
        tags=_TAGS,
        query=PeriodQuery,
        response=Performance,
    ),
)
