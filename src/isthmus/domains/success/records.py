"""The record types of customer success, in the terms of support desks and success platforms."""

from enum import StrEnum
from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct

from isthmus.domains import Count, Custom, Moment, Name, Percent, Share, Tags
from isthmus.kernel.marks import CRITICAL, UNPUBLISHED, Handle, Line, Personal, RecordType, Rule, Text, To
from isthmus.kernel.money import Money


class TicketStatus(StrEnum):
    """Where a ticket stands."""

    NEW = "new"
    OPEN = "open"
    PENDING = "pending"
    ON_HOLD = "on_hold"
    SOLVED = "solved"
    CLOSED = "closed"


class TicketKind(StrEnum):
    """What a ticket is about."""

    QUESTION = "question"
    INCIDENT = "incident"
    PROBLEM = "problem"
    TASK = "task"


class Priority(StrEnum):
    """How urgent it is."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"
    URGENT = "urgent"


class Risk(StrEnum):
    """How likely it is that we lose the account."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


class InterventionStatus(StrEnum):
    """Where an intervention stands."""

    PROPOSED = "proposed"
    ACTIVE = "active"
    COMPLETED = "completed"
    CANCELLED = "cancelled"


class HealthReason(Struct, frozen=True, kw_only=True):
    """One contribution to a health score; `points` is signed, against a neutral 50."""

    points: float
    reason: str


class InterventionStep(Struct, frozen=True, kw_only=True):
    """One step of an intervention; without an `owner_id` it is that of the intervention."""

    title: str
    due_at: Moment | None = None
    completed_at: Moment | None = None
    owner_id: Line | None = None


class Ticket(Struct, frozen=True, kw_only=True):
    """Somebody asked the desk for something."""

    ticket_number: Annotated[Line | None, Handle()] = None
    subject: Annotated[Line | None, Personal("user.content.private")] = None
    body: Annotated[Text | None, Personal("user.content.private")] = None
    status: TicketStatus = TicketStatus.NEW
    kind: TicketKind | None = None
    priority: Priority = Priority.NORMAL
    escalated: bool = False
    channel: Line | None = None
    account_id: Annotated[UUID | None, To("sales.account")] = None
    person_id: Annotated[UUID | None, To("sales.person")] = None
    owner_id: Annotated[Line | None, CRITICAL] = None
    opened_at: Moment | None = None
    first_response_at: Moment | None = None
    solved_at: Moment | None = None
    satisfaction: Annotated[float, Meta(ge=0, le=10)] | None = None
    tags: Annotated[Tags, Rule("union")] = []
    custom: Custom = {}


class HealthSnapshot(Struct, frozen=True, kw_only=True):
    """The health of an account at one moment. Score and sub-scores are 0 to 100; an absent sub-score had no input.

    `oldest_input_s` is the age in seconds of the stalest input.
    """

    score: Percent
    at: Moment
    account_id: Annotated[UUID | None, To("sales.account")] = None
    usage_frequency: Percent | None = None
    feature_adoption: Percent | None = None
    engagement_trend: Percent | None = None
    support_health: Percent | None = None
    payment_stability: Percent | None = None
    marketing_engagement: Percent | None = None
    churn_probability: Share | None = None
    risk: Risk | None = None
    reasons: list[HealthReason] = []
    oldest_input_s: Count | None = None
    custom: Custom = {}


class Intervention(Struct, frozen=True, kw_only=True):
    """What is done for an account at risk or to grow one. `effect` is in points of health against similar accounts."""

    playbook: Name
    status: InterventionStatus = InterventionStatus.PROPOSED
    trigger: Line | None = None
    account_id: Annotated[UUID | None, To("sales.account")] = None
    person_id: Annotated[UUID | None, To("sales.person")] = None
    owner_id: Annotated[Line | None, CRITICAL] = None
    steps: list[InterventionStep] = []
    started_at: Moment | None = None
    due_at: Moment | None = None
    escalated_at: Moment | None = None
    finished_at: Moment | None = None
    expected_value: Money | None = None
    outcome: Annotated[Line | None, UNPUBLISHED] = None
    effect: float | None = None
    custom: Custom = {}


TICKET = RecordType.of(Ticket, name="success.ticket", prefix="tick", retention_days=1095)
HEALTH_SNAPSHOT = RecordType.of(HealthSnapshot, name="success.health_snapshot", prefix="hlth", retention_days=1095)
INTERVENTION = RecordType.of(Intervention, name="success.intervention", prefix="intv", retention_days=1825)
