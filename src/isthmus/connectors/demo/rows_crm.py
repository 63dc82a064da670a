"""The fake customer system: accounts, contacts, leads, opportunities, their history and activities."""

from datetime import datetime, timedelta
from random import Random

from isthmus.connectors.demo.names import OWNERS
from isthmus.connectors.demo.plants import Plants, Row, Rows, external_id, in_crm
from isthmus.connectors.demo.world import Company, Human, Interest, Sale, World, stream
from isthmus.kernel.marks import Json

IMPORTED_SHARE = 0.6
ACTIVITIES_PER_SALE = 4
STAGES = {
    "qualification": ("Qualification", 10),
    "needs_analysis": ("Needs Analysis", 25),
    "proposal": ("Proposal/Price Quote", 50),
    "negotiation": ("Negotiation/Review", 75),
    "closed_won": ("Closed Won", 100),
    "closed_lost": ("Closed Lost", 0),
}
STATUSES = {
    "new": "Open - Not Contacted",
    "working": "Working - Contacted",
    "qualified": "Qualified",
    "converted": "Closed - Converted",
    "disqualified": "Closed - Not Converted",
}
SOURCES = {
    "form_submission": "Web Form",
    "email_signup": "Newsletter",
    "webinar_registration": "Webinar",
    "list_import": "Purchased List",
    "api": "API",
}
ACTIVITIES = (("Call", "Call with the buyer"), ("Email", "Follow-up"), ("Meeting", "Demo meeting"), ("Task", "Quote"))
BROKEN_LEADS: tuple[tuple[int, str, Json], ...] = (
    (80_001, "Email", "not given"),
    (80_002, "Email", "sales(at)nowhere.example"),
    (80_003, "Email", "a@@b.example"),
    (80_004, "Company", ""),
)
LOST_REASONS = ("Price", "No decision", "Competitor", "Timing")


def crm_rows(world: World, plants: Plants) -> Rows:
    """Return what the customer system holds, by feed."""
    rng = stream(world.seed, "crm")
    customers = {each.number for each in world.customers}
    return {
        "crm.accounts": _accounts(world, plants, customers=customers),
        "crm.contacts": _contacts(world, plants),
        "crm.leads": _leads(world, plants),
        "crm.opportunities": [_opportunity(sale, now=world.now, rng=rng) for sale in world.sales],
        "crm.stage_history": [row for sale in world.sales for row in _history(sale)],
        "crm.activities": [row for sale in world.sales for row in _activities(rng, sale=sale, now=world.now)],
    }


def _accounts(world: World, plants: Plants, *, customers: set[int]) -> list[Row]:
    rows: list[Row] = []
    for firm in world.companies:
        at = world.now - timedelta(days=300 - firm.number % 280, minutes=firm.number)
        body = _account(firm, customer=firm.number in customers)
        rows.append(Row(external_id("crm", "account", firm.number), body, at))
        if firm.number in plants.companies_twice:
            twin = {**body, "Website": f"https://www.{firm.domain.capitalize()}/"}
            rows.append(Row(external_id("crm", "account", 90_000 + firm.number), twin, at + timedelta(days=3)))
    return rows


def _account(firm: Company, *, customer: bool) -> dict[str, Json]:
    return {
        "Name": firm.name,
        "LegalName": firm.legal_name,
        "Website": f"www.{firm.domain}" if firm.number % 4 == 0 else firm.domain,
        "TaxId": firm.tax_id if customer else None,
        "Type": "Customer" if customer else "Prospect",
        "Industry": firm.industry,
        "NumberOfEmployees": firm.employees,
        "BillingCity": firm.city,
        "BillingState": firm.region,
        "BillingCountry": firm.place.country,
        "OwnerId": firm.owner,
        "Tier__c": "strategic" if firm.employees > 1000 else "standard",  # noqa: PLR2004 - where the fake company draws it.
    }


def _contacts(world: World, plants: Plants) -> list[Row]:
    imported_at = world.now - timedelta(days=200)
    imported = round(len(world.humans) * IMPORTED_SHARE)
    rows: list[Row] = []
    for human in world.humans:
        at = imported_at if human.number <= imported else imported_at + timedelta(hours=human.number)
        body = _contact(human)
        rows.append(Row(external_id("crm", "contact", human.number), body, at))
        if human.number in plants.contacts_twice:
            twin = {**body, "Email": human.email.upper(), "Phone": human.phone}
            rows.append(Row(external_id("crm", "contact", 90_000 + human.number), twin, at + timedelta(days=2)))
    return rows


def _contact(human: Human) -> dict[str, Json]:
    place, firm = human.company.place, human.company
    written = ".".join(part.capitalize() for part in human.email.split("@")[0].split("."))
    return {
        "Email": f"{written}@{firm.domain}" if human.number % 3 == 0 else human.email,
        "Phone": f"+{place.prefix} {human.phone[len(place.prefix) + 1 :]}",
        "FirstName": human.first,
        "LastName": human.last,
        "Title": human.title,
        "Department": human.department,
        "Role__c": human.role,
        "Language": place.language,
        "MailingCity": firm.city,
        "MailingCountry": place.country,
        "AccountId": external_id("crm", "account", firm.number),
        "OwnerId": firm.owner,
    }


def _leads(world: World, plants: Plants) -> list[Row]:
    rows: list[Row] = []
    for interest in (each for each in world.interests if in_crm(each)):
        at = min(interest.captured_at + timedelta(hours=30), world.now - timedelta(hours=1))
        body = _lead(interest)
        rows.append(Row(external_id("crm", "lead", interest.number), body, at))
        if interest.number in plants.leads_twice:
            twin = {**body, "Email": f" {interest.email.upper()}"}
            rows.append(Row(external_id("crm", "lead", 90_000 + interest.number), twin, at + timedelta(minutes=7)))
    model = _lead(world.interests[-1])
    for age, (number, column, value) in enumerate(BROKEN_LEADS, start=1):
        body = {**model, "Email": f"broken.{age}@bad-rows.example", "Phone": None, column: value}
        rows.append(Row(external_id("crm", "lead", number), body, world.now - timedelta(days=age)))
    return rows


def _lead(interest: Interest) -> dict[str, Json]:
    body: dict[str, Json] = {
        "Email": interest.email.capitalize() if interest.number % 5 == 0 else interest.email,
        "FirstName": interest.first,
        "LastName": interest.last,
        "Company": interest.company_name,
        "Phone": interest.phone,
        "Title": interest.title,
        "Country": interest.place.country,
        "Industry": interest.industry,
        "NumberOfEmployees": interest.size,
        "Status": STATUSES[interest.status],
        "LeadSource": SOURCES[interest.kind],
        "OwnerId": OWNERS[interest.number % len(OWNERS)] if interest.status != "new" else None,
        "CreatedDate": _iso(interest.captured_at),
    }
    if interest.human is not None:
        body["ConvertedContactId"] = external_id("crm", "contact", interest.human.number)
        body["ConvertedAccountId"] = external_id("crm", "account", interest.human.company.number)
        body["ConvertedDate"] = _iso(interest.captured_at + timedelta(hours=20))
    return body


def _opportunity(sale: Sale, *, now: datetime, rng: Random) -> Row:
    label, probability = STAGES[sale.stage]
    close = sale.closed_at or now + timedelta(days=rng.randrange(10, 90))
    body: dict[str, Json] = {
        "Name": deal_name(sale),
        "OrderNumber__c": sale.order_number,
        "AccountId": external_id("crm", "account", sale.company.number),
        "ContactId": external_id("crm", "contact", sale.human.number),
        "StageName": label,
        "Amount": float(sale.amount),
        "CurrencyIsoCode": sale.company.place.currency,
        "Probability": probability,
        "CloseDate": f"{close:%Y-%m-%d}",
        "OwnerId": sale.company.owner,
        "Pipeline": "New business",
        "CreatedDate": _iso(sale.opened_at),
        "CommittedDate__c": _iso(sale.committed_at),
        "ClosedDate": _iso(sale.closed_at),
        "LossReason": LOST_REASONS[sale.number % 4] if sale.stage == "closed_lost" else None,
        "PrimaryCampaign__c": sale.campaign.code if sale.campaign else None,
    }
    at = sale.closed_at or sale.path[-1][1]
    return Row(external_id("crm", "opportunity", sale.number), body, min(at, now))


def deal_name(sale: Sale) -> str:
    """Return the name of a deal, which sales and billing both use."""
    return f"{sale.company.name} – {sale.opened_at:%Y-%m}"


def _history(sale: Sale) -> list[Row]:
    rows: list[Row] = []
    before: str | None = None
    for step, (stage, at) in enumerate(sale.path):
        body: dict[str, Json] = {
            "OpportunityId": external_id("crm", "opportunity", sale.number),
            "FromStage": before,
            "ToStage": STAGES[stage][0],
            "Amount": float(sale.amount),
            "CurrencyIsoCode": sale.company.place.currency,
            "CreatedDate": _iso(at),
            "CreatedById": sale.company.owner,
        }
        rows.append(Row(external_id("crm", "history", sale.number * 10 + step), body, at))
        before = STAGES[stage][0]
    return rows


def _activities(rng: Random, *, sale: Sale, now: datetime) -> list[Row]:
    until = sale.closed_at or now
    rows: list[Row] = []
    for step in range(rng.randrange(2, ACTIVITIES_PER_SALE * 2 - 1)):
        at = sale.opened_at + (until - sale.opened_at) * rng.random()
        at = at.replace(microsecond=0)
        kind, subject = rng.choice(ACTIVITIES)
        body: dict[str, Json] = {
            "Type": kind,
            "Subject": f"{subject} ({sale.human.first} {sale.human.last})",
            "ActivityDate": _iso(at),
            "DurationInSeconds": rng.randrange(120, 3600) if kind in {"Call", "Meeting"} else None,
            "Outbound": rng.random() < 0.7,  # noqa: PLR2004 - most activity goes out.
            "WhatId": external_id("crm", "opportunity", sale.number),
            "WhoId": external_id("crm", "contact", sale.human.number),
            "AccountId": external_id("crm", "account", sale.company.number),
            "OwnerId": sale.company.owner,
        }
        rows.append(Row(external_id("crm", "task", sale.number * 10 + step), body, at))
    return rows


def _iso(at: datetime | None) -> str | None:
    return at.isoformat() if at else None
