"""The record types of sales, in the terms of customer relationship systems (Account, Contact, Lead, Opportunity)."""

from datetime import date
from enum import StrEnum
from typing import Annotated
from uuid import UUID

from msgspec import Struct

from isthmus.domains import Count, Custom, Email, Moment, Name, Percent, Share, Tags
from isthmus.kernel.marks import (
    CRITICAL,
    NOT_NEGATIVE,
    UNPUBLISHED,
    Handle,
    Line,
    Normal,
    Personal,
    RecordType,
    Rule,
    Text,
    To,
)
from isthmus.kernel.money import Money


class AccountKind(StrEnum):
    """What a company is to us."""

    PROSPECT = "prospect"
    CUSTOMER = "customer"
    FORMER_CUSTOMER = "former_customer"
    PARTNER = "partner"
    OTHER = "other"


class Lifecycle(StrEnum):
    """How far a person has come with us; it only advances."""

    SUBSCRIBER = "subscriber"
    LEAD = "lead"
    MARKETING_QUALIFIED = "marketing_qualified"
    SALES_QUALIFIED = "sales_qualified"
    OPPORTUNITY = "opportunity"
    CUSTOMER = "customer"
    EVANGELIST = "evangelist"


class LeadStatus(StrEnum):
    """Where a lead stands; `qualified` means that its score reached the threshold (MQL)."""

    NEW = "new"
    WORKING = "working"
    QUALIFIED = "qualified"
    CONVERTED = "converted"
    DISQUALIFIED = "disqualified"


LEAD_STATUS_ORDER = (
    LeadStatus.NEW,
    LeadStatus.WORKING,
    LeadStatus.QUALIFIED,
    LeadStatus.DISQUALIFIED,
    LeadStatus.CONVERTED,
)


class CaptureKind(StrEnum):
    """How a lead reached us."""

    FORM_SUBMISSION = "form_submission"
    EMAIL_SIGNUP = "email_signup"
    WEBINAR_REGISTRATION = "webinar_registration"
    LIST_IMPORT = "list_import"
    API = "api"


class LeadStepKind(StrEnum):
    """The steps of the lead pipeline, in order."""

    VALIDATION = "validation"
    DUPLICATES = "duplicates"
    SCORING = "scoring"
    CRM = "crm"
    ASSIGNMENT = "assignment"
    FOLLOW_UP = "follow_up"


class LeadStepState(StrEnum):
    """How a step of the lead pipeline ended."""

    WAITING = "waiting"
    DONE = "done"
    SKIPPED = "skipped"
    FAILED = "failed"


class DealStage(StrEnum):
    """The stages of a deal, in order; the last two are ends."""

    QUALIFICATION = "qualification"
    NEEDS_ANALYSIS = "needs_analysis"
    PROPOSAL = "proposal"
    NEGOTIATION = "negotiation"
    CLOSED_WON = "closed_won"
    CLOSED_LOST = "closed_lost"


class ActivityKind(StrEnum):
    """What was done."""

    CALL = "call"
    EMAIL = "email"
    MEETING = "meeting"
    TASK = "task"
    NOTE = "note"


class ScoreReason(Struct, frozen=True, kw_only=True):
    """One contribution to a score; `points` is signed."""

    points: int
    reason: str


class LeadStep(Struct, frozen=True, kw_only=True):
    """One step of the pipeline as it went for a lead; `reason` names no person, `link` is where it can be undone."""

    kind: LeadStepKind
    state: LeadStepState
    at: Moment
    reason: str = ""
    link: str = ""


class Account(Struct, frozen=True, kw_only=True):
    """A company we sell to, or may sell to."""

    name: Name
    tax_id: Annotated[Line | None, Handle(), CRITICAL] = None
    domain: Annotated[Line | None, Handle(Normal.DOMAIN), CRITICAL] = None
    legal_name: Annotated[Line | None, CRITICAL] = None
    kind: AccountKind = AccountKind.PROSPECT
    owner_id: Annotated[Line | None, CRITICAL] = None
    parent_id: Annotated[UUID | None, To("sales.account")] = None
    website: Line | None = None
    phone: Line | None = None
    industry: Line | None = None
    segment: Line | None = None
    employee_count: Count | None = None
    annual_revenue: Annotated[Money | None, NOT_NEGATIVE] = None
    street: Line | None = None
    postal_code: Line | None = None
    city: Line | None = None
    region: Line | None = None
    country: Line | None = None
    description: Annotated[Text | None, UNPUBLISHED] = None
    tags: Annotated[Tags, Rule("union")] = []
    custom: Custom = {}


class Person(Struct, frozen=True, kw_only=True):
    """A human we deal with. Country and region stay open: coarse, and territories and consent law need them."""

    email: Annotated[Email | None, Handle(Normal.EMAIL), Personal("user.contact.email"), CRITICAL] = None
    phone: Annotated[Line | None, Handle(Normal.PHONE), Personal("user.contact.phone_number")] = None
    first_name: Annotated[Line | None, Personal("user.name.first")] = None
    last_name: Annotated[Line | None, Personal("user.name.last")] = None
    title: Annotated[Line | None, Personal("user.job_title")] = None
    profile_url: Annotated[Line | None, Personal("user.contact.url")] = None
    street: Annotated[Line | None, Personal("user.contact.address.street")] = None
    postal_code: Annotated[Line | None, Personal("user.contact.address.postal_code")] = None
    city: Annotated[Line | None, Personal("user.contact.address.city")] = None
    region: Line | None = None
    country: Line | None = None
    language: Line | None = None
    role: Line | None = None
    department: Line | None = None
    lifecycle: Annotated[Lifecycle | None, Rule("advance_only", order=tuple(Lifecycle))] = None
    account_id: Annotated[UUID | None, To("sales.account")] = None
    owner_id: Annotated[Line | None, CRITICAL] = None
    notes: Annotated[Text | None, Personal("user.content.private")] = None
    tags: Annotated[Tags, Rule("union")] = []
    custom: Custom = {}


class Lead(Struct, frozen=True, kw_only=True):
    """Somebody who showed interest. `score` is 0 to 100; `owner_id` is a user's handle."""

    email: Annotated[Email, Handle(Normal.EMAIL), Personal("user.contact.email"), CRITICAL]
    first_name: Annotated[Name, Personal("user.name.first")]
    company: Name
    phone: Annotated[Line | None, Handle(Normal.PHONE), Personal("user.contact.phone_number")] = None
    last_name: Annotated[Line | None, Personal("user.name.last")] = None
    title: Annotated[Line | None, Personal("user.job_title")] = None
    message: Annotated[Text | None, Personal("user.content.private")] = None
    country: Line | None = None
    region: Line | None = None
    industry: Line | None = None
    company_size: Count | None = None
    status: Annotated[LeadStatus, Rule("advance_only", order=LEAD_STATUS_ORDER)] = LeadStatus.NEW
    source: CaptureKind | None = None
    score: Percent | None = None
    score_reasons: list[ScoreReason] = []
    owner_id: Annotated[Line | None, CRITICAL] = None
    person_id: Annotated[UUID | None, To("sales.person")] = None
    account_id: Annotated[UUID | None, To("sales.account")] = None
    deal_id: Annotated[UUID | None, To("sales.deal")] = None
    campaign_id: Annotated[UUID | None, To("marketing.campaign")] = None
    captured_at: Moment | None = None
    qualified_at: Moment | None = None
    converted_at: Moment | None = None
    expected_value: Annotated[Money | None, NOT_NEGATIVE] = None
    steps: list[LeadStep] = []
    tags: Annotated[Tags, Rule("union")] = []
    custom: Custom = {}


class Deal(Struct, frozen=True, kw_only=True):
    """A possible sale. `committed_at` is when the buyer decided, `closed_at` when it was signed or lost."""

    name: Name
    deal_number: Annotated[Line | None, Handle(), CRITICAL] = None
    account_id: Annotated[UUID | None, To("sales.account")] = None
    person_id: Annotated[UUID | None, To("sales.person")] = None
    lead_id: Annotated[UUID | None, To("sales.lead")] = None
    campaign_id: Annotated[UUID | None, To("marketing.campaign")] = None
    stage: Annotated[DealStage, CRITICAL] = DealStage.QUALIFICATION
    amount: Annotated[Money | None, CRITICAL, NOT_NEGATIVE] = None
    probability: Share | None = None
    owner_id: Annotated[Line | None, CRITICAL] = None
    pipeline: Line | None = None
    close_date: date | None = None
    opened_at: Moment | None = None
    committed_at: Moment | None = None
    closed_at: Moment | None = None
    won: Annotated[bool | None, CRITICAL] = None
    lost_reason: Line | None = None
    next_step: Annotated[Line | None, UNPUBLISHED] = None
    tags: Annotated[Tags, Rule("union")] = []
    custom: Custom = {}


class StageChange(Struct, frozen=True, kw_only=True):
    """A deal moved to another stage; `from_stage` is absent when it was opened."""

    to_stage: DealStage
    at: Moment
    deal_id: Annotated[UUID | None, To("sales.deal")] = None
    from_stage: DealStage | None = None
    amount: Money | None = None
    owner_id: Line | None = None
    custom: Custom = {}


class Activity(Struct, frozen=True, kw_only=True):
    """Something done, or to be done, with somebody. `duration_s` is in seconds."""

    kind: ActivityKind
    at: Moment | None = None
    due_at: Moment | None = None
    completed: bool = True
    outbound: bool | None = None
    duration_s: Count | None = None
    subject: Annotated[Line | None, Personal("user.content.private")] = None
    body: Annotated[Text | None, Personal("user.content.private")] = None
    outcome: Line | None = None
    owner_id: Annotated[Line | None, CRITICAL] = None
    account_id: Annotated[UUID | None, To("sales.account")] = None
    person_id: Annotated[UUID | None, To("sales.person")] = None
    lead_id: Annotated[UUID | None, To("sales.lead")] = None
    deal_id: Annotated[UUID | None, To("sales.deal")] = None
    custom: Custom = {}


ACCOUNT = RecordType.of(Account, name="sales.account", prefix="acct", retention_days=3650)
PERSON = RecordType.of(Person, name="sales.person", prefix="pers", retention_days=1095)
LEAD = RecordType.of(Lead, name="sales.lead", prefix="lead", retention_days=730)
DEAL = RecordType.of(Deal, name="sales.deal", prefix="deal", retention_days=3650)
STAGE_CHANGE = RecordType.of(StageChange, name="sales.stage_change", prefix="stch", retention_days=3650)
ACTIVITY = RecordType.of(Activity, name="sales.activity", prefix="actv", retention_days=1095)
