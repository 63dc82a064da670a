"""The record types of finance, in the terms of billing and accounting systems (subscription, invoice, payment, budget).

Tax law keeps bookings for ten years; 3650 days count from the last change, and a legal hold stands above them.
"""

from datetime import date
from enum import StrEnum
from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct

from isthmus.domains import Count, Custom, Moment, Name, Tags
from isthmus.kernel.marks import CRITICAL, NOT_NEGATIVE, Handle, Line, Normal, RecordType, Rule, To, Void
from isthmus.kernel.money import Money

PERIOD_PATTERN = r"^\d{4}(-(Q[1-4]|0[1-9]|1[0-2]))?$"
PeriodText = Annotated[
    str, Meta(pattern=PERIOD_PATTERN, description="Send a year, quarter or month, such as 2026, 2026-Q4 or 2026-11.")
]


class SpendCategory(StrEnum):
    """What money went into."""

    MEDIA_SPEND = "media_spend"
    CREATIVE_PRODUCTION = "creative_production"
    PLATFORM_FEES = "platform_fees"
    OPERATIONAL_OVERHEAD = "operational_overhead"


class BillingInterval(StrEnum):
    """How often a subscription is billed."""

    MONTH = "month"
    QUARTER = "quarter"
    YEAR = "year"


class SubscriptionStatus(StrEnum):
    """Where a subscription stands."""

    TRIALING = "trialing"
    ACTIVE = "active"
    PAST_DUE = "past_due"
    PAUSED = "paused"
    UNPAID = "unpaid"
    CANCELED = "canceled"


class InvoiceStatus(StrEnum):
    """Where an invoice stands."""

    DRAFT = "draft"
    OPEN = "open"
    PAID = "paid"
    VOID = "void"
    UNCOLLECTIBLE = "uncollectible"


class PaymentStatus(StrEnum):
    """How a payment ended."""

    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    REFUNDED = "refunded"


class Vendor(Struct, frozen=True, kw_only=True):
    """Somebody we buy from."""

    name: Name
    tax_id: Annotated[Line | None, Handle(), CRITICAL] = None
    domain: Annotated[Line | None, Handle(Normal.DOMAIN), CRITICAL] = None
    legal_name: Annotated[Line | None, CRITICAL] = None
    category: SpendCategory | None = None
    country: Line | None = None
    contract_value: Annotated[Money | None, CRITICAL, NOT_NEGATIVE] = None
    contract_starts_on: date | None = None
    contract_ends_on: date | None = None
    owner_id: Annotated[Line | None, CRITICAL] = None
    tags: Annotated[Tags, Rule("union")] = []
    custom: Custom = {}


class Budget(Struct, frozen=True, kw_only=True):
    """What may be spent in a period (`2026`, `2026-Q4`, `2026-11`), narrowed by the fields that are given."""

    period: PeriodText
    amount: Annotated[Money, CRITICAL, NOT_NEGATIVE]
    department: Line | None = None
    channel: Line | None = None
    category: SpendCategory | None = None
    campaign_id: Annotated[UUID | None, To("marketing.campaign")] = None
    owner_id: Annotated[Line | None, CRITICAL] = None
    custom: Custom = {}


class Spend(Struct, frozen=True, kw_only=True):
    """What was spent on a day. `period` is the one it is booked in, which differs from the day's when posted late."""

    amount: Annotated[Money, CRITICAL, NOT_NEGATIVE]
    day: date
    category: SpendCategory = SpendCategory.MEDIA_SPEND
    campaign_id: Annotated[UUID | None, To("marketing.campaign")] = None
    vendor_id: Annotated[UUID | None, To("finance.vendor")] = None
    channel: Line | None = None
    department: Line | None = None
    period: PeriodText | None = None
    reference: Line | None = None
    custom: Custom = {}


class Subscription(Struct, frozen=True, kw_only=True):
    """What an account has subscribed to. `recurring` is the amount of one `billing_interval`, `quantity` the seats."""

    plan: Name
    status: Annotated[SubscriptionStatus, CRITICAL] = SubscriptionStatus.ACTIVE
    account_id: Annotated[UUID | None, To("sales.account")] = None
    deal_id: Annotated[UUID | None, To("sales.deal")] = None
    recurring: Annotated[Money | None, CRITICAL, NOT_NEGATIVE] = None
    billing_interval: BillingInterval = BillingInterval.MONTH
    quantity: Count | None = None
    quantity_used: Count | None = None
    started_on: date | None = None
    period_ends_on: date | None = None
    canceled_on: date | None = None
    cancel_reason: Line | None = None
    custom: Custom = {}


class Invoice(Struct, frozen=True, kw_only=True):
    """What an account owes. `amount` is the total with tax, `paid` what has come in; credit notes are below zero."""

    amount: Annotated[Money, CRITICAL]
    invoice_number: Annotated[Line | None, Handle(), CRITICAL] = None
    status: Annotated[InvoiceStatus, Void(("draft", "void"))] = InvoiceStatus.OPEN
    account_id: Annotated[UUID | None, To("sales.account")] = None
    deal_id: Annotated[UUID | None, To("sales.deal")] = None
    subscription_id: Annotated[UUID | None, To("finance.subscription")] = None
    paid: Annotated[Money | None, CRITICAL] = None
    tax: Annotated[Money | None, CRITICAL] = None
    issued_on: date | None = None
    due_on: date | None = None
    paid_at: Moment | None = None
    custom: Custom = {}


class Payment(Struct, frozen=True, kw_only=True):
    """Money that came in, or did not. `reference` is the payment system's own number."""

    amount: Annotated[Money, CRITICAL]
    reference: Annotated[Line | None, Handle(), CRITICAL] = None
    status: Annotated[PaymentStatus, Void(("pending", "failed"))] = PaymentStatus.SUCCEEDED
    at: Moment | None = None
    account_id: Annotated[UUID | None, To("sales.account")] = None
    invoice_id: Annotated[UUID | None, To("finance.invoice")] = None
    method: Line | None = None
    failure_reason: Line | None = None
    custom: Custom = {}


VENDOR = RecordType.of(Vendor, name="finance.vendor", prefix="vend", retention_days=3650)
BUDGET = RecordType.of(Budget, name="finance.budget", prefix="budg", retention_days=3650)
SPEND = RecordType.of(Spend, name="finance.spend", prefix="spnd", retention_days=3650)
SUBSCRIPTION = RecordType.of(Subscription, name="finance.subscription", prefix="subs", retention_days=3650)
INVOICE = RecordType.of(Invoice, name="finance.invoice", prefix="inv", retention_days=3650)
PAYMENT = RecordType.of(Payment, name="finance.payment", prefix="pay", retention_days=3650)
