"""The record types of marketing, in the terms of campaign tools (Campaign, CampaignMember, Touchpoint, Audience)."""

from datetime import date
from enum import StrEnum
from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct

from isthmus.domains import Count, Custom, CustomValue, Moment, Name, Tags
from isthmus.kernel.marks import (
    CRITICAL,
    NOT_NEGATIVE,
    UNPUBLISHED,
    Agreement,
    Handle,
    Line,
    Personal,
    RecordType,
    Rule,
    Text,
    To,
)
from isthmus.kernel.money import Money

AUDIENCE_RULES_MAX = 50


class Channel(StrEnum):
    """The usual channels. A channel field takes any other name as well; `direct` is an organic or unknown visit."""

    PAID_SEARCH = "paid_search"
    PAID_SOCIAL = "paid_social"
    DISPLAY = "display"
    ORGANIC_SEARCH = "organic_search"
    EMAIL = "email"
    WEBINAR = "webinar"
    EVENT = "event"
    CONTENT = "content"
    REFERRAL = "referral"
    PARTNER = "partner"
    SALES_OUTREACH = "sales_outreach"
    DIRECT = "direct"


class CampaignStatus(StrEnum):
    """Where a campaign stands."""

    PLANNED = "planned"
    ACTIVE = "active"
    PAUSED = "paused"
    COMPLETED = "completed"
    CANCELLED = "cancelled"


class MemberStatus(StrEnum):
    """How far a member of a campaign has come."""

    TARGETED = "targeted"
    SENT = "sent"
    RESPONDED = "responded"
    CONVERTED = "converted"
    UNSUBSCRIBED = "unsubscribed"


class TouchKind(StrEnum):
    """What happened when a campaign reached somebody."""

    IMPRESSION = "impression"
    SENT = "sent"
    DELIVERED = "delivered"
    OPENED = "opened"
    CLICKED = "clicked"
    VISITED = "visited"
    SUBMITTED = "submitted"
    REGISTERED = "registered"
    ATTENDED = "attended"
    CALLED = "called"
    CONVERTED = "converted"
    BOUNCED = "bounced"
    UNSUBSCRIBED = "unsubscribed"


class ConsentPurpose(StrEnum):
    """What somebody agrees to."""

    MARKETING = "marketing"
    SALES = "sales"
    SERVICE = "service"
    ANALYTICS = "analytics"
    PROFILING = "profiling"


class ConsentChannel(StrEnum):
    """By which way; `any` stands for all of them."""

    EMAIL = "email"
    PHONE = "phone"
    SMS = "sms"
    POST = "post"
    ADS = "ads"
    ANY = "any"


class ConsentState(StrEnum):
    """The word given, from the least restrictive to the most."""

    GRANTED = "granted"
    UNKNOWN = "unknown"
    WITHDRAWN = "withdrawn"


class Operator(StrEnum):
    """How a rule of an audience compares."""

    IS = "is"
    IS_NOT = "is_not"
    AT_LEAST = "at_least"
    AT_MOST = "at_most"
    CONTAINS = "contains"
    IN_LAST_DAYS = "in_last_days"


class AudienceRule(Struct, frozen=True, kw_only=True):
    """One condition on a published column, such as `sales.account`, `industry`, `is`, `Software`."""

    relation: str
    column: str
    operator: Operator
    value: CustomValue


class Campaign(Struct, frozen=True, kw_only=True):
    """An effort to reach people. `code` is what links and ad platforms carry; programmes are parents of campaigns."""

    name: Name
    code: Annotated[Line | None, Handle(), CRITICAL] = None
    kind: Line | None = None
    channel: Line | None = None
    status: CampaignStatus = CampaignStatus.PLANNED
    objective: Line | None = None
    starts_on: date | None = None
    ends_on: date | None = None
    budget: Annotated[Money | None, CRITICAL, NOT_NEGATIVE] = None
    audience_id: Annotated[UUID | None, To("marketing.audience")] = None
    audience_size: Count | None = None
    parent_id: Annotated[UUID | None, To("marketing.campaign")] = None
    owner_id: Annotated[Line | None, CRITICAL] = None
    description: Annotated[Text | None, UNPUBLISHED] = None
    tags: Annotated[Tags, Rule("union")] = []
    custom: Custom = {}


class CampaignMember(Struct, frozen=True, kw_only=True):
    """Somebody in a campaign; the status only advances."""

    campaign_id: Annotated[UUID | None, To("marketing.campaign")] = None
    person_id: Annotated[UUID | None, To("sales.person")] = None
    lead_id: Annotated[UUID | None, To("sales.lead")] = None
    status: Annotated[MemberStatus, Rule("advance_only", order=tuple(MemberStatus))] = MemberStatus.TARGETED
    joined_at: Moment | None = None
    responded_at: Moment | None = None
    custom: Custom = {}


class Touch(Struct, frozen=True, kw_only=True):
    """A campaign reached somebody, or somebody came. `role` is the person's part in the buying group."""

    channel: Name
    at: Moment
    account_id: Annotated[UUID | None, To("sales.account")] = None
    person_id: Annotated[UUID | None, To("sales.person")] = None
    lead_id: Annotated[UUID | None, To("sales.lead")] = None
    campaign_id: Annotated[UUID | None, To("marketing.campaign")] = None
    kind: TouchKind | None = None
    role: Line | None = None
    cost: Annotated[Money | None, NOT_NEGATIVE] = None
    custom: Custom = {}


class Audience(Struct, frozen=True, kw_only=True):
    """People chosen by rules over published columns; `match_all` says whether every rule must hold or any."""

    name: Name
    description: Annotated[Text | None, UNPUBLISHED] = None
    rules: Annotated[list[AudienceRule], Meta(max_length=AUDIENCE_RULES_MAX)] = []
    match_all: bool = True
    size: Count | None = None
    destinations: Annotated[Tags, Rule("union")] = []
    refreshed_at: Moment | None = None
    owner_id: Annotated[Line | None, CRITICAL] = None
    custom: Custom = {}


class Consent(Struct, frozen=True, kw_only=True):
    """What somebody agreed to, for one purpose on one channel.

    `key` is the person's e-mail address, the purpose and the channel joined by `|`, so that the words of two systems on
    one consent meet. `text_version` names the wording that was shown.
    """

    purpose: ConsentPurpose
    channel: ConsentChannel
    state: Annotated[ConsentState, CRITICAL, Rule("most_restrictive", order=tuple(ConsentState))]
    key: Annotated[Line | None, Handle(), Personal("user.contact.email")] = None
    person_id: Annotated[UUID | None, To("sales.person")] = None
    source: Line | None = None
    text_version: Line | None = None
    given_at: Moment | None = None
    expires_at: Moment | None = None
    custom: Custom = {}


CAMPAIGN = RecordType.of(Campaign, name="marketing.campaign", prefix="camp", retention_days=3650)
CAMPAIGN_MEMBER = RecordType.of(CampaignMember, name="marketing.campaign_member", prefix="cmem", retention_days=1095)
TOUCH = RecordType.of(Touch, name="marketing.touch", prefix="tch", retention_days=1095)
AUDIENCE = RecordType.of(Audience, name="marketing.audience", prefix="aud", retention_days=1095)
CONSENT = RecordType.of(
    Consent,
    name="marketing.consent",
    prefix="cons",
    retention_days=3650,
    agreement=Agreement(
        purpose="purpose",
        way="channel",
        word="state",
        whose="person_id",
        until="expires_at",
        given=ConsentState.GRANTED,
        withdrawn=ConsentState.WITHDRAWN,
        every=ConsentChannel.ANY,
    ),
)
