"""What callers see of leads and of credit."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from msgspec import Struct

from isthmus.analytics import Journey
from isthmus.analytics.ledger import UNATTRIBUTED
from isthmus.domains.sales.capture import EVIDENCE, LEAD, undo_link
from isthmus.domains.sales.crm import connected_crm, crm_step, places
from isthmus.domains.sales.follow_up import latest
from isthmus.domains.sales.metrics import NO_CAMPAIGN, Credit
from isthmus.domains.sales.records import ACCOUNT, DEAL, LeadStep, LeadStepKind, LeadStepState, ScoreReason
from isthmus.domains.sales.settings import FollowUpStep, shown
from isthmus.kernel.errors import Fault, NotFound
from isthmus.kernel.ids import text_of
from isthmus.kernel.marks import Json
from isthmus.kernel.money import Money
from isthmus.store.database import Transaction
from isthmus.store.records import Stored, find
from isthmus.store.schema import Schema
from isthmus.stream.workflows.subject import Entry, Run
from isthmus.sync.connector import Connector
from isthmus.sync.ingest import Store
from isthmus.sync.merges import Merge, merges

PERSONAL = ("email", "first_name", "last_name", "phone", "title", "message")

REFERENCES = ("campaign_id", "account_id", "person_id", "deal_id")


class LeadMissing(NotFound):
    """There is no lead with this id, or the caller may not see it."""

    code, title = "lead-missing", "There is no such lead"


class MergeView(Struct, frozen=True, kw_only=True):
    """A merge that this lead is the result of; POST to `undo` takes it apart again."""

    id: str
    by: str
    at: datetime
    undo: str


class FollowUpView(Struct, frozen=True, kw_only=True):
    """The follow-up as it stands; `next_step` is due at `due_at`. `log` tells what was done."""

    name: str
    version: int
    state: str
    started_at: datetime
    due_at: datetime | None
    ended_at: datetime | None
    reason: str
    next_step: FollowUpStep | None
    log: list[Entry]


class LeadView(Struct, frozen=True, kw_only=True):
    """A lead with its way through the pipeline. Personal fields are null without the permission to read them."""

    id: str
    version: int
    status: str
    score: float | None
    score_reasons: list[ScoreReason]
    qualified: bool
    owner_id: str
    pipeline: list[LeadStep]
    follow_up: FollowUpView | None
    merges: list[MergeView]
    company: str
    source: str | None
    campaign_id: str | None
    account_id: str | None
    person_id: str | None
    deal_id: str | None
    captured_at: datetime | None
    qualified_at: datetime | None
    converted_at: datetime | None
    created_at: datetime
    updated_at: datetime
    email: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    phone: str | None = None
    title: str | None = None
    message: str | None = None
    masked: list[str] = []


class Merged(Struct, frozen=True, kw_only=True):
    """Into which lead a capture was merged, by what, and how to undo it."""

    into: str
    by: str
    undo: str


class LeadCaptured(Struct, frozen=True, kw_only=True):
    """What became of a capture: `created` a new lead, `merged` into one, or `repeated` (it was here already)."""

    outcome: str
    lead: LeadView
    merged: Merged | None = None


class ItemResult(Struct, frozen=True, kw_only=True):
    """What became of one item of a batch, at its `position`; `errors` says why it was refused."""

    position: int
    outcome: str
    id: str | None = None
    owner_id: str | None = None
    score: float | None = None
    merged: Merged | None = None
    errors: list[Fault] = []


class BatchCaptured(Struct, frozen=True, kw_only=True):
    """One result for each item, in order, and how many ended how."""

    created: int
    merged: int
    repeated: int
    refused: int
    results: list[ItemResult]


async def lead_views(
    tx: Transaction, store: Store, connectors: Mapping[str, Connector], ids: Sequence[UUID], *, personal: bool
) -> dict[UUID, LeadView]:
    """Return leads as callers see them; the step of the CRM as it stands at this moment."""
    record_type = store.schema[LEAD]
    stored = await find(tx, store.vault, record_type, ids)
    follow_ups = await latest(tx, ids)
    crm = await connected_crm(tx, connectors)
    there = await places(tx, crm.system, ids) if crm else {}
    winners = await _winners(tx, list(stored))
    found: dict[UUID, LeadView] = {}
    for lead, each in stored.items():
        own = await merges(tx, record_id=lead) if lead in winners else []
        steps = msgspec.convert(each.values.get("steps") or [], list[LeadStep])
        if crm is not None and lead in there:
            now = crm_step(crm, there[lead], now=tx.scope.now)
            steps = [now if _waits(step) else step for step in steps]
        found[lead] = _view(each, store.schema, steps, follow_ups.get(lead), own, personal=personal)
    return found


async def _winners(tx: Transaction, leads: Sequence[UUID]) -> set[UUID]:
    """Return those that others were merged into."""
    query = "select distinct winner from merge where workspace = current_workspace() and winner = any(%s)"
    return {winner for (winner,) in await (await tx.connection.execute(query, (list(leads),))).fetchall()}


def _waits(step: LeadStep) -> bool:
    return step.kind is LeadStepKind.CRM and step.state is LeadStepState.WAITING


def _view(
    lead: Stored,
    schema: Schema,
    steps: list[LeadStep],
    follow_up: Run | None,
    own: Sequence[Merge],
    *,
    personal: bool,
) -> LeadView:
    given = lead.values
    shown: dict[str, Json] = {
        **{name: given.get(name) for name in LeadView.__struct_fields__ if name in given},
        **{name: _outside(schema, name, given.get(name)) for name in REFERENCES},
        "id": text_of(schema[LEAD].prefix, lead.id),
        "version": lead.version,
        "status": given.get("status") or "new",
        "score_reasons": given.get("score_reasons") or [],
        "qualified": given.get("status") == "qualified",
        "owner_id": given.get("owner_id") or "",
        "company": given.get("company") or "",
        **({} if personal else dict.fromkeys(PERSONAL)),
        "masked": [] if personal else list(PERSONAL),
    }
    computed = {
        "pipeline": steps,
        "follow_up": _follow_up(follow_up) if follow_up else None,
        "merges": [_merge(each) for each in own if each.winner == lead.id and each.undone_at is None],
        "created_at": lead.created_at,
        "updated_at": lead.updated_at,
    }
    return msgspec.convert({**shown, **msgspec.to_builtins(computed)}, LeadView)


def _outside(schema: Schema, field: str, value: Json) -> Json:
    declared = schema[LEAD].field(field)
    target = declared.to if declared else None
    return text_of(schema[target].prefix, UUID(value)) if target and isinstance(value, str) else None


def _merge(each: Merge) -> MergeView:
    by = EVIDENCE.get(each.evidence, each.evidence)
    return MergeView(id=text_of("merge", each.id), by=by, at=each.at, undo=undo_link(each.id))


def _follow_up(each: Run) -> FollowUpView:
    steps = each.definition.steps
    return FollowUpView(
        name=each.definition.title,
        version=each.version,
        state=each.state,
        started_at=each.started_at,
        due_at=each.due_at,
        ended_at=each.ended_at,
        reason=each.reason,
        next_step=shown(steps[each.position]) if each.position < len(steps) and each.ended_at is None else None,
        log=each.log,
    )


class CampaignCredit(Struct, frozen=True, kw_only=True):
    """What one campaign received, beside the totals: `credit.buckets` holds one row for each currency that was won."""

    campaign_id: str
    credit: Credit
    journeys_link: str
    journeys: "list[JourneyView] | None" = None


class StepView(Struct, frozen=True, kw_only=True):
    """A touch of a journey and what it received; `campaign_id` is null where the touch carried none."""

    touch_id: str
    at: datetime
    campaign_id: str | None
    share: float
    credit: Money


class JourneyView(Struct, frozen=True, kw_only=True):
    """A won deal with the touches before it; `credited` is what the campaign that was asked for received of `value`."""

    deal_id: str
    account_id: str | None
    closed_at: datetime
    value: Money
    credited: Money
    touches: list[StepView]


def named(credit: Credit, schema: Schema) -> Credit:
    """Return credit by campaign with the campaigns' ids in their outside form."""
    prefix = schema["marketing.campaign"].prefix
    plain = (UNATTRIBUTED, NO_CAMPAIGN)
    buckets = [
        each if each.bucket in plain else msgspec.structs.replace(each, bucket=text_of(prefix, UUID(each.bucket)))
        for each in credit.buckets
    ]
    return msgspec.structs.replace(credit, buckets=buckets)


def journey_view(journey: Journey, schema: Schema) -> JourneyView:
    """Return a journey by campaign as callers see it."""
    touch, campaign = schema["marketing.touch"].prefix, schema["marketing.campaign"].prefix
    account = None if journey.unit == journey.outcome else text_of(ACCOUNT.prefix, UUID(journey.unit))
    return JourneyView(
        deal_id=text_of(DEAL.prefix, UUID(journey.outcome)),
        account_id=account,
        closed_at=journey.closed_at,
        value=Money(journey.value, journey.currency),
        credited=Money(journey.credited, journey.currency),
        touches=[
            StepView(
                touch_id=text_of(touch, UUID(each.step)),
                at=each.at,
                campaign_id=None if each.bucket == NO_CAMPAIGN else text_of(campaign, UUID(each.bucket)),
                share=each.share,
                credit=Money(each.amount, journey.currency),
            )
            for each in journey.steps
        ],
    )
