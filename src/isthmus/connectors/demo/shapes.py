"""How every feed of the fake systems is shaped: its columns, its amounts, its references."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from isthmus.connectors.demo.words import (
    CRM_ACTIVITIES,
    CRM_KINDS,
    CRM_SOURCES,
    CRM_STAGES,
    CRM_STATUSES,
    MARKETING_CONSENTS,
    MARKETING_SOURCES,
    MARKETING_STATES,
    Amount,
    Column,
    Words,
    first,
    first_word,
    other_words,
    percent_read,
    percent_write,
    rating,
    seconds_day,
    seconds_moment,
    thousandths,
    won,
)
from isthmus.kernel.marks import Json

CUSTOM_SUFFIX = "__c"
_INNER_CAPITAL = re.compile(r"(?<!^)(?=[A-Z])")


def custom_read(theirs: str) -> str:
    """Return our name of a custom column: `PrimaryCampaign__c` is `primary_campaign`."""
    return _INNER_CAPITAL.sub("_", theirs.removesuffix(CUSTOM_SUFFIX)).lower()


def custom_write(ours: str) -> str:
    """Return their name of a custom field."""
    return "".join(part.capitalize() for part in ours.split("_")) + CUSTOM_SUFFIX


def same(*names: str) -> tuple[Column, ...]:
    """Return columns that have the same name on both sides."""
    return tuple(Column(name, name) for name in names)


def renamed(**names: str) -> tuple[Column, ...]:
    """Return columns by our name, with theirs."""
    return tuple(Column(ours, theirs) for ours, theirs in names.items())


def spoken(ours: str, theirs: str, words: Words) -> Column:
    """Return a column whose values are words on both sides."""
    return Column(ours, theirs, read=words.read, write=words.write)


@dataclass(frozen=True)
class Shape:
    """A feed: the type that it becomes, and where every field stands.

    `joined` fields are made of several columns. `custom` says that `…__c` columns without a place are custom fields.
    """

    type: str
    columns: tuple[Column, ...]
    amounts: tuple[Amount, ...] = ()
    references: tuple[tuple[str, str], ...] = ()
    joined: tuple[tuple[str, tuple[str, ...]], ...] = ()
    custom: bool = False

    @property
    def writable(self) -> tuple[str, ...]:
        """The fields of ours that can be written."""
        columns = tuple(each.ours for each in self.columns if each.write is not None)
        rest = (*(each.ours for each in self.amounts), *(ours for ours, _ in self.references))
        return (*columns, *rest, "custom") if self.custom else (*columns, *rest)

    def fields(self, body: dict[str, Json]) -> dict[str, Json]:
        """Return our fields of a body, without the references."""
        fields = {each.ours: each.read(body[each.theirs]) for each in self.columns if each.theirs in body}
        for amount in self.amounts:
            if amount.theirs in body:
                fields[amount.ours] = amount.read(body)
        for ours, parts in self.joined:
            if all(body.get(part) for part in parts):
                fields[ours] = "|".join(str(body[part]).strip().lower() for part in parts)
        known = {each.theirs for each in self.columns}
        extra = {
            custom_read(name): value
            for name, value in body.items()
            if self.custom and name.endswith(CUSTOM_SUFFIX) and name not in known
        }
        return {**fields, "custom": dict(extra)} if extra else fields

    def links(self, body: dict[str, Json]) -> dict[str, str]:
        """Return the ids of the records that a body points to."""
        return {ours: str(body[theirs]) for ours, theirs in self.references if body.get(theirs)}

    def express(self, fields: Mapping[str, Json], *, links: Mapping[str, str]) -> dict[str, Json]:
        """Return a body that holds these fields and references."""
        body: dict[str, Json] = {}
        for each in self.columns:
            if each.ours in fields and each.write is not None:
                body[each.theirs] = each.write(fields[each.ours])
        for amount in self.amounts:
            if amount.ours in fields:
                body |= amount.write(fields[amount.ours])
        for ours, theirs in self.references:
            if ours in links:
                body[theirs] = links[ours]
            elif ours in fields and fields[ours] is None:
                body[theirs] = None
        custom = fields.get("custom")
        if self.custom and isinstance(custom, dict):
            body |= {custom_write(name): value for name, value in custom.items()}
        return body


CRM = {
    "crm.accounts": Shape(
        "sales.account",
        (
            *renamed(name="Name", legal_name="LegalName", tax_id="TaxId", domain="Website", industry="Industry"),
            *renamed(employee_count="NumberOfEmployees", city="BillingCity", region="BillingState"),
            *renamed(country="BillingCountry", owner_id="OwnerId"),
            spoken("kind", "Type", CRM_KINDS),
        ),
        custom=True,
    ),
    "crm.contacts": Shape(
        "sales.person",
        (
            *renamed(email="Email", phone="Phone", first_name="FirstName", last_name="LastName", title="Title"),
            *renamed(department="Department", role="Role__c", language="Language", city="MailingCity"),
            *renamed(country="MailingCountry", owner_id="OwnerId"),
        ),
        references=(("account_id", "AccountId"),),
    ),
    "crm.leads": Shape(
        "sales.lead",
        (
            *renamed(email="Email", first_name="FirstName", last_name="LastName", company="Company", phone="Phone"),
            *renamed(title="Title", country="Country", industry="Industry", company_size="NumberOfEmployees"),
            *renamed(owner_id="OwnerId", captured_at="CreatedDate", converted_at="ConvertedDate", score="LeadScore"),
            spoken("status", "Status", CRM_STATUSES),
            spoken("source", "LeadSource", CRM_SOURCES),
        ),
        references=(("person_id", "ConvertedContactId"), ("account_id", "ConvertedAccountId")),
        custom=True,
    ),
    "crm.opportunities": Shape(
        "sales.deal",
        (
            *renamed(name="Name", deal_number="OrderNumber__c", owner_id="OwnerId", pipeline="Pipeline"),
            *renamed(close_date="CloseDate", opened_at="CreatedDate", committed_at="CommittedDate__c"),
            *renamed(closed_at="ClosedDate", lost_reason="LossReason", next_step="NextStep"),
            spoken("stage", "StageName", CRM_STAGES),
            Column("won", "StageName", read=won, write=None),
            Column("probability", "Probability", read=percent_read, write=percent_write),
        ),
        amounts=(Amount("amount", "Amount", "CurrencyIsoCode", number=True),),
        references=(("account_id", "AccountId"), ("person_id", "ContactId")),
        custom=True,
    ),
    "crm.stage_history": Shape(
        "sales.stage_change",
        (
            spoken("to_stage", "ToStage", CRM_STAGES),
            spoken("from_stage", "FromStage", CRM_STAGES),
            *renamed(at="CreatedDate", owner_id="CreatedById"),
        ),
        amounts=(Amount("amount", "Amount", "CurrencyIsoCode", number=True),),
        references=(("deal_id", "OpportunityId"),),
    ),
    "crm.activities": Shape(
        "sales.activity",
        (
            spoken("kind", "Type", CRM_ACTIVITIES),
            *renamed(subject="Subject", at="ActivityDate", duration_s="DurationInSeconds", outbound="Outbound"),
            *renamed(owner_id="OwnerId"),
        ),
        references=(("deal_id", "WhatId"), ("person_id", "WhoId"), ("account_id", "AccountId")),
    ),
}
_CAMPAIGN, _CONTACT, _COMPANY = ("campaign_id", "campaign"), ("person_id", "contact"), ("account_id", "company")
MARKETING = {
    "marketing.audiences": Shape("marketing.audience", (*same("name", "size"), *renamed(rules="filters"))),
    "marketing.campaigns": Shape(
        "marketing.campaign",
        (
            *same("name", "channel"),
            *renamed(code="utm_campaign", starts_on="start", audience_size="list_size"),
            spoken("status", "state", MARKETING_STATES),
        ),
        amounts=(Amount("budget", "budget", "currency"),),
        references=(("audience_id", "list"),),
    ),
    "marketing.companies": Shape(
        "sales.account", (*same("name", "domain", "industry"), *renamed(employee_count="size"))
    ),
    "marketing.contacts": Shape(
        "sales.person",
        (
            *same("email", "phone", "language", "country"),
            *renamed(first_name="firstname", last_name="lastname", title="jobtitle", lifecycle="lifecyclestage"),
        ),
        references=(_COMPANY,),
    ),
    "marketing.submissions": Shape(
        "sales.lead",
        (
            *same("email", "company", "phone", "country"),
            *renamed(first_name="firstname", last_name="lastname", title="jobtitle", captured_at="submitted_at"),
            spoken("source", "kind", MARKETING_SOURCES),
        ),
        references=(_CAMPAIGN, _CONTACT),
    ),
    "marketing.members": Shape(
        "marketing.campaign_member",
        (*same("responded_at"), *renamed(status="state", joined_at="added_at")),
        references=(_CAMPAIGN, _CONTACT),
    ),
    "marketing.touches": Shape(
        "marketing.touch",
        (*same("channel", "kind", "role"), *renamed(at="occurred_at")),
        amounts=(Amount("cost", "cost", "currency"),),
        references=(_CAMPAIGN, _CONTACT, _COMPANY),
    ),
    "marketing.spend": Shape(
        "finance.spend",
        (
            *same("channel"),
            *renamed(day="date"),
            spoken("category", "category", Words({"media": "media_spend", "creative": "creative_production"})),
        ),
        amounts=(Amount("amount", "amount", "currency"),),
        references=(_CAMPAIGN,),
    ),
    "marketing.consents": Shape(
        "marketing.consent",
        (
            *same("purpose", "channel", "source"),
            *renamed(text_version="text", given_at="at"),
            spoken("state", "state", MARKETING_CONSENTS),
        ),
        references=(_CONTACT,),
        joined=(("key", ("email", "purpose", "channel")),),
    ),
}
_CUSTOMER = ("account_id", "customer")
BILLING = {
    "billing.customers": Shape(
        "sales.account", (*same("name", "legal_name", "tax_id", "city", "country"), *renamed(domain="website"))
    ),
    "billing.orders": Shape(
        "sales.deal",
        renamed(deal_number="number", name="description"),
        amounts=(Amount("amount", "amount", "currency", cents=True),),
        references=(_CUSTOMER,),
    ),
    "billing.subscriptions": Shape(
        "finance.subscription",
        (
            *same("plan", "status", "quantity", "quantity_used"),
            *renamed(billing_interval="interval"),
            Column("started_on", "start_date", read=seconds_day, write=None),
            Column("period_ends_on", "current_period_end", read=seconds_day, write=None),
            Column("canceled_on", "canceled_at", read=seconds_day, write=None),
        ),
        amounts=(Amount("recurring", "amount", "currency", cents=True),),
        references=(_CUSTOMER, ("deal_id", "order")),
    ),
    "billing.invoices": Shape(
        "finance.invoice",
        (
            *same("status"),
            *renamed(invoice_number="number"),
            Column("issued_on", "created", read=seconds_day, write=None),
            Column("due_on", "due_date", read=seconds_day, write=None),
            Column("paid_at", "paid_at", read=seconds_moment, write=None),
        ),
        amounts=(
            Amount("amount", "amount", "currency", cents=True),
            Amount("paid", "amount_paid", "currency", cents=True),
            Amount("tax", "tax", "currency", cents=True),
        ),
        references=(_CUSTOMER, ("deal_id", "order"), ("subscription_id", "subscription")),
    ),
    "billing.payments": Shape(
        "finance.payment",
        (
            *same("reference", "status", "method"),
            *renamed(failure_reason="failure_message"),
            Column("at", "created", read=seconds_moment, write=None),
        ),
        amounts=(Amount("amount", "amount", "currency", cents=True),),
        references=(_CUSTOMER, ("invoice_id", "invoice")),
    ),
    "billing.vendors": Shape(
        "finance.vendor",
        (
            *same("name", "legal_name", "tax_id", "category", "country"),
            *renamed(domain="website"),
            Column("contract_starts_on", "contract_start", read=seconds_day, write=None),
            Column("contract_ends_on", "contract_end", read=seconds_day, write=None),
        ),
        amounts=(Amount("contract_value", "contract_amount", "currency", cents=True),),
    ),
    "billing.budgets": Shape(
        "finance.budget",
        same("period", "department", "channel", "category"),
        amounts=(Amount("amount", "amount", "currency", cents=True),),
    ),
}
_USER, _GROUP, _FEATURE = ("person_id", "userId"), ("account_id", "groupId"), ("feature_id", "featureId")
PRODUCT = {
    "product.groups": Shape("sales.account", same("name", "domain")),
    "product.users": Shape("sales.person", same("email"), references=(("account_id", "group"),)),
    "product.features": Shape("product.feature", same("name", "key", "area", "essential", "paid")),
    "product.events": Shape(
        "product.event",
        (
            *renamed(name="event", at="timestamp", session="sessionId", success="ok"),
            Column("duration_s", "durationMs", read=thousandths, write=None),
        ),
        references=(_USER, _GROUP, _FEATURE),
    ),
    "product.feedback": Shape(
        "product.feedback",
        (*same("kind", "score", "themes"), *renamed(at="submittedAt", body="comment")),
        references=(_USER, _GROUP, _FEATURE),
    ),
    "product.launches": Shape(
        "product.launch",
        (
            *same("name"),
            *renamed(status="state", launches_on="date", adoption_target="targetShare", adoption_days="targetDays"),
        ),
        references=(_FEATURE,),
    ),
}
_ORGANISATION = ("account_id", "organization_id")
DESK = {
    "desk.organisations": Shape("sales.account", (*same("name"), Column("domain", "domain_names", first, write=None))),
    "desk.users": Shape(
        "sales.person",
        (
            *same("email", "phone"),
            Column("first_name", "name", read=first_word, write=None),
            Column("last_name", "name", read=other_words, write=None),
        ),
        references=(_ORGANISATION,),
    ),
    "desk.tickets": Shape(
        "success.ticket",
        (
            *same("subject", "status", "priority", "escalated", "solved_at"),
            *renamed(ticket_number="ticket", kind="type", body="description", channel="via", owner_id="assignee"),
            *renamed(opened_at="created_at", first_response_at="replied_at"),
            Column("satisfaction", "rating", read=rating, write=None),
        ),
        references=(_ORGANISATION, ("person_id", "requester_id")),
    ),
}
SHAPES: dict[str, Shape] = {**CRM, **MARKETING, **BILLING, **PRODUCT, **DESK}
