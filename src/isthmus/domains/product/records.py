"""The record types of product, in the terms of product analytics (track, feature, NPS, launch)."""

from datetime import date
from enum import StrEnum
from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct

from isthmus.domains import Count, Custom, Moment, Name, Share, Tags
from isthmus.kernel.marks import CRITICAL, UNPUBLISHED, Handle, Line, Personal, RecordType, Rule, Text, To


class FeedbackKind(StrEnum):
    """What kind of word it is: three standard scores, a wish, or free text."""

    NPS = "nps"
    CSAT = "csat"
    CES = "ces"
    FEATURE_REQUEST = "feature_request"
    TEXT = "text"


class FeedbackStatus(StrEnum):
    """How far an item is on its way to action."""

    NEW = "new"
    TRIAGED = "triaged"
    PLANNED = "planned"
    DONE = "done"
    DECLINED = "declined"


class LaunchStatus(StrEnum):
    """Where a launch stands."""

    PLANNED = "planned"
    LIVE = "live"
    COMPLETED = "completed"
    CANCELLED = "cancelled"


class Feature(Struct, frozen=True, kw_only=True):
    """Something the product does. `key` is its name in usage events; `essential` features count for adoption."""

    name: Name
    key: Annotated[Line | None, Handle(), CRITICAL] = None
    area: Line | None = None
    essential: bool = False
    paid: bool = False
    usage_limit: Count | None = None
    released_on: date | None = None
    owner_id: Annotated[Line | None, CRITICAL] = None
    custom: Custom = {}


class Event(Struct, frozen=True, kw_only=True):
    """Somebody used something. `duration_s` is in seconds; `amount_used` counts towards the feature's `usage_limit`."""

    name: Name
    at: Moment
    account_id: Annotated[UUID | None, To("sales.account")] = None
    person_id: Annotated[UUID | None, To("sales.person")] = None
    feature_id: Annotated[UUID | None, To("product.feature")] = None
    session: Line | None = None
    duration_s: Annotated[float, Meta(ge=0)] | None = None
    success: bool | None = None
    amount_used: Count | None = None
    custom: Custom = {}


class Feedback(Struct, frozen=True, kw_only=True):
    """What somebody said. `score` is on a scale of 0 to 10, whatever scale it was asked on."""

    kind: FeedbackKind
    at: Moment
    score: Annotated[float, Meta(ge=0, le=10)] | None = None
    body: Annotated[Text | None, Personal("user.content.private")] = None
    account_id: Annotated[UUID | None, To("sales.account")] = None
    person_id: Annotated[UUID | None, To("sales.person")] = None
    feature_id: Annotated[UUID | None, To("product.feature")] = None
    campaign_id: Annotated[UUID | None, To("marketing.campaign")] = None
    status: Annotated[FeedbackStatus, Rule("advance_only", order=tuple(FeedbackStatus))] = FeedbackStatus.NEW
    themes: Annotated[Tags, Rule("union")] = []
    owner_id: Annotated[Line | None, CRITICAL] = None
    custom: Custom = {}


class Launch(Struct, frozen=True, kw_only=True):
    """A plan to bring something out, measured against the days before it.

    `adoption_target` is the share of accounts that should have adopted the feature `adoption_days` after the launch.
    """

    name: Name
    status: LaunchStatus = LaunchStatus.PLANNED
    launches_on: date | None = None
    baseline_from: date | None = None
    messaging: Annotated[Text | None, UNPUBLISHED] = None
    feature_id: Annotated[UUID | None, To("product.feature")] = None
    campaign_id: Annotated[UUID | None, To("marketing.campaign")] = None
    adoption_target: Share | None = None
    adoption_days: Count | None = None
    owner_id: Annotated[Line | None, CRITICAL] = None
    custom: Custom = {}


FEATURE = RecordType.of(Feature, name="product.feature", prefix="feat", retention_days=3650)
EVENT = RecordType.of(Event, name="product.event", prefix="pevt", retention_days=730)
FEEDBACK = RecordType.of(Feedback, name="product.feedback", prefix="fdbk", retention_days=1095)
LAUNCH = RecordType.of(Launch, name="product.launch", prefix="lnch", retention_days=3650)
