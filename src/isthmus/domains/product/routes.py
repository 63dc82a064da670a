"""Product over HTTP: usage events, feedback, launches, and how an account has adopted the product."""

from datetime import date
from typing import Annotated

from msgspec import Meta, Struct, structs

from isthmus.analytics import Catalog
from isthmus.domains import Count, Custom, Moment, Name, Share, Tags
from isthmus.domains.product.metrics import ProductAnalytics, analytics
from isthmus.domains.product.records import EVENT, FEEDBACK, LAUNCH, FeedbackKind, LaunchStatus
from isthmus.domains.product.rules import CASE_STUDY_FROM, feedback_faults
from isthmus.gateway import BATCH_BODY_BYTES_MAX, Call, Route
from isthmus.kernel.errors import Fault, NotFound
from isthmus.kernel.ids import text_of
from isthmus.kernel.marks import Line, RecordType, Text
from isthmus.store.database import Transaction
from isthmus.store.records import find
from isthmus.sync.ingest import Store
from isthmus.sync.intake import Arrived, aliases, arrive_structs, committed, refusal

BASE = "/api/v1/integrations/product"
BATCH_EVENTS_MAX = 1_000
ACCOUNT = "sales.account"


class AccountMissing(NotFound):
    """There is no account with this id, or the caller may not see it."""

    code, title = "account-missing", "There is no such account"


class NewEvent(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Somebody used something. `external_id` makes it the same event when it is sent again."""

    name: Name
    at: Moment
    external_id: Name | None = None
    account_id: str | None = None
    person_id: str | None = None
    feature_id: str | None = None
    session: Line | None = None
    duration_s: Annotated[float, Meta(ge=0)] | None = None
    success: bool | None = None
    amount_used: Count | None = None
    custom: Custom = {}


class EventBatch(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Up to 1000 usage events; all of them are stored, or none."""

    events: Annotated[list[NewEvent], Meta(min_length=1, max_length=BATCH_EVENTS_MAX)]


class EventsStored(Struct, frozen=True, kw_only=True):
    """The ids of the events in the order in which they came, and how many were new or known."""

    created: int
    known: int
    ids: list[str]


class NewFeedback(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What somebody said; `score` is on a scale of 0 to 10, whatever scale it was asked on."""

    kind: FeedbackKind
    at: Moment | None = None
    external_id: Name | None = None
    score: Annotated[float, Meta(ge=0, le=10)] | None = None
    body: Text | None = None
    account_id: str | None = None
    person_id: str | None = None
    feature_id: str | None = None
    campaign_id: str | None = None
    themes: Tags = []
    owner_id: Line | None = None
    custom: Custom = {}


class FeedbackStored(Struct, frozen=True, kw_only=True):
    """Where the item is; from a score of 8 on the account is proposed for a case study."""

    id: str
    link: str
    created: bool
    case_study_proposed: bool


class NewLaunch(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A plan to bring something out; the days from `baseline_from` to the launch are what it is measured against."""

    name: Name
    external_id: Name | None = None
    status: LaunchStatus = LaunchStatus.PLANNED
    launches_on: date | None = None
    baseline_from: date | None = None
    messaging: Text | None = None
    feature_id: str | None = None
    campaign_id: str | None = None
    adoption_target: Share | None = None
    adoption_days: Count | None = None
    owner_id: Line | None = None
    custom: Custom = {}


class LaunchStored(Struct, frozen=True, kw_only=True):
    """Where the launch is."""

    id: str
    link: str
    created: bool


async def store_events(call: Call) -> EventsStored:
    """Store usage events, all or none."""
    events = call.body(EventBatch).events

    async def work(tx: Transaction) -> EventsStored:
        store = call.services.of(Store)
        arrived = await arrive_structs(tx, store, EVENT.name, events, once=str(call.once), at="/events")
        known = sum(each.repeated for each in arrived)
        ids = [_id(EVENT, each) for each in arrived]
        return EventsStored(created=len(ids) - known, known=known, ids=ids)

    return await committed(call.services.of(Store), call.scope, work)


async def store_feedback(call: Call) -> FeedbackStored:
    """Store one item of feedback."""
    given = call.body(NewFeedback)
    if faults := feedback_faults(kind=given.kind, score=given.score, body=given.body):
        raise refusal(faults)
    item = given if given.at else _dated(given, call)

    async def work(tx: Transaction) -> FeedbackStored:
        store = call.services.of(Store)
        (arrived,) = await arrive_structs(tx, store, FEEDBACK.name, [item], once=str(call.once))
        own = _id(FEEDBACK, arrived)
        return FeedbackStored(
            id=own,
            link=f"/api/v1/feedback/{own}",
            created=not arrived.repeated,
            case_study_proposed=item.account_id is not None and (item.score or 0.0) >= CASE_STUDY_FROM,
        )

    return await committed(call.services.of(Store), call.scope, work)


async def store_launch(call: Call) -> LaunchStored:
    """Store a launch."""
    launch = call.body(NewLaunch)
    if launch.launches_on and launch.baseline_from and launch.baseline_from >= launch.launches_on:
        detail = f"The baseline begins on {launch.baseline_from}, which is not before {launch.launches_on}."
        raise refusal([Fault(pointer="/baseline_from", code="baseline-after-launch", detail=detail)])

    async def work(tx: Transaction) -> LaunchStored:
        store = call.services.of(Store)
        (arrived,) = await arrive_structs(tx, store, LAUNCH.name, [launch], once=str(call.once))
        own = _id(LAUNCH, arrived)
        return LaunchStored(id=own, link=f"/api/v1/launches/{own}", created=not arrived.repeated)

    return await committed(call.services.of(Store), call.scope, work)


async def show_analytics(call: Call) -> ProductAnalytics:
    """Answer how an account has adopted the product."""
    account_type = call.services.schema[ACCOUNT]
    account = call.record_id("tenant_id", account_type)
    async with call.services.database.transaction(call.scope) as tx:
        stored = (await find(tx, call.services.vault, account_type, [account])).get(account)
        if stored is None or stored.deleted_at is not None:
            raise AccountMissing("There is no account with this id.", fix="List them: GET /api/v1/accounts")
        own = stored.merged_into or account
        return await analytics(
            tx,
            call.services.of(Catalog),
            ids=await aliases(tx, ACCOUNT, own),
            account_id=text_of(account_type.prefix, own),
            now=call.scope.now,
        )


def _dated(item: NewFeedback, call: Call) -> NewFeedback:
    return structs.replace(item, at=call.scope.now)


def _id(record_type: RecordType, arrived: Arrived) -> str:
    if arrived.record_id is None:
        raise AssertionError
    return text_of(record_type.prefix, arrived.record_id)


_TAGS = ("product",)
ROUTES = (
    Route(
        method="POST",
        path=f"{BASE}/events",
        permission="product:write",
        handler=store_events,
        status=201,
        summary="Store up to 1000 usage events, all or none",
        tags=_TAGS,
        body=EventBatch,
        response=EventsStored,
        request_example={"events": [{"name": "report.exported", "at": "2026-11-20T09:30:00Z", "success": True}]},
        body_bytes_max=BATCH_BODY_BYTES_MAX,
    ),
    Route(
        method="POST",
        path=f"{BASE}/feedback",
        permission="product:write",
        handler=store_feedback,
        status=201,
        summary="Store feedback",
        tags=_TAGS,
        body=NewFeedback,
        response=FeedbackStored,
        request_example={"kind": "nps", "score": 9, "body": "It saves us a day a week."},
    ),
    Route(
        method="POST",
        path=f"{BASE}/launches",
        permission="product:write",
        handler=store_launch,
        status=201,
        summary="Plan a launch",
        tags=_TAGS,
        body=NewLaunch,
        response=LaunchStored,
        request_example={"name": "Exports", "launches_on": "2026-12-01", "adoption_target": 0.3, "adoption_days": 90},
    ),
    Route(
        method="GET",
        path=f"{BASE}/analytics/{{tenant_id}}",
        permission="product:read",
        handler=show_analytics,
        shared=True,
        summary="Which features an account has adopted",
        description="Adopted: at least 70 % of users, 5 uses a week and 80 % success within 28 days. Under-used: less "
        "than 30 % of the essential features are adopted.",
        tags=_TAGS,
        response=ProductAnalytics,
        errors=(AccountMissing,),
    ),
)
