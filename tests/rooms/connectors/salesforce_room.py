"""A fake organisation of Salesforce's with what its people did on a day, and what tests need to speak with it.

python -m tests.rooms.connectors.salesforce_room        records the fixtures of the connector anew
"""

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path

from isthmus.connectors import salesforce as connector
from isthmus.connectors.salesforce import CONNECTOR
from isthmus.connectors.salesforce.conformance import given
from isthmus.connectors.salesforce.fake.server import Fake, running
from isthmus.connectors.salesforce.tables import BY_FEED
from isthmus.kernel.marks import Json
from isthmus.sync.connector import Page, Raw, Session

FIXTURES = Path(connector.__file__).parent / "fixtures"
Row = dict[str, Json]
ACCOUNT: Row = {
    "Name": "Quince & Daughters",
    "Type": "Customer - Direct",
    "Industry": "Software",
    "Tier__c": "Gold",
    "NumberOfEmployees": 120,
    "AnnualRevenue": 1_250_000.5,
    "BillingCity": "Gent",
    "BillingCountry": "BE",
    "Website": "https://quince.example",
    "Phone": "+32 9 555 01 02",
    "Description": 'Jam,\n"the best"',
}
CONTACT: Row = {
    "FirstName": "Ines",
    "LastName": "Quettier",
    "Email": "ines.q@quince.example",
    "MobilePhone": "+32 470 55 01 02",
    "Title": "Head of jam",
    "MailingCity": "Gent",
    "Score__c": 7.5,
    "Newsletter__c": True,
    "Since__c": "2025-03-01T10:00:00Z",
}
CAMPAIGN: Row = {
    "Name": "Jam days",
    "Type": "Trade Show",
    "Status": "In Progress",
    "StartDate": "2026-11-01",
    "EndDate": "2026-12-01",
    "BudgetedCost": 5000,
    "IsActive": True,
}


@dataclass(frozen=True)
class Company:
    """The ids of what the people of a company made."""

    account: str
    contact: str
    lead: str
    converted: str
    opportunity: str
    campaign: str
    member: str
    task: str
    event: str
    case: str


def company(fake: Fake) -> Company:
    """Let the people work for a day: sell, convert a lead, run a campaign, call, meet and help."""
    made, by = fake.records.create, fake.records.human
    account = made("Account", ACCOUNT, by=by)
    contact = made("Contact", {**CONTACT, "AccountId": account}, by=by)
    campaign = made("Campaign", CAMPAIGN, by=by)
    opportunity = made(
        "Opportunity",
        {
            "Name": "Ten thousand jars",
            "AccountId": account,
            "CampaignId": campaign,
            "Amount": 42_000.25,
            "StageName": "Prospecting",
            "CloseDate": "2026-12-24",
            "NextStep": "Send jars",
        },
        by=by,
    )
    fake.records.change("Opportunity", opportunity, {"StageName": "Legal Check"}, by=by)
    fake.records.change("Opportunity", opportunity, {"Amount": 43_000}, by=by)
    fake.records.change("Opportunity", opportunity, {"StageName": "Closed Won"}, by=by)
    told: Row = {"FirstName": "Tom", "LastName": "Appel", "Company": "Appel BV", "Email": "tom@appel.example"}
    lead = made("Lead", {**told, "LeadSource": "Web", "Country": "BE", "NumberOfEmployees": 12}, by=by)
    other: Row = {"FirstName": "Ines", "LastName": "Quettier", "Company": "Quince", "Email": "ines.q@quince.example"}
    converted = made("Lead", other, by=by)
    fake.records.convert(converted, account=account, contact=contact, opportunity=opportunity, by=by)
    member = made("CampaignMember", {"CampaignId": campaign, "LeadId": lead}, by=by)
    fake.records.respond(member, by=by)
    task = made(
        "Task",
        {
            "Subject": "Call back",
            "WhoId": contact,
            "WhatId": opportunity,
            "TaskSubtype": "Call",
            "CallType": "Outbound",
            "CallDurationInSeconds": 90,
            "ActivityDate": "2026-11-23",
            "Status": "Completed",
        },
        by=by,
    )
    met: Row = {"Subject": "Tasting", "WhoId": lead, "WhatId": account, "StartDateTime": "2026-11-24T13:00:00Z"}
    event = made("Event", {**met, "DurationInMinutes": 45}, by=by)
    asked: Row = {"Subject": "A jar is broken", "AccountId": account, "ContactId": contact, "Origin": "Phone"}
    case = made("Case", {**asked, "Priority": "High", "Status": "Working", "Type": "Problem"}, by=by)
    return Company(account, contact, lead, converted, opportunity, campaign, member, task, event, case)


def settings(fake: Fake, **more: str) -> dict[str, str]:
    """Return the settings of a connection to a fake, with defaults."""
    defaults = {each.name: each.default for each in CONNECTOR.settings if each.default is not None}
    return defaults | given(fake, **more)


async def pages(session: Session, feed: str, cursor: str | None = None) -> list[Page]:
    """Read a feed to its end."""
    return [page async for page in session.read(feed, cursor=cursor)]


def rows(found: list[Page]) -> list[Raw]:
    """Return the rows of pages."""
    return [row for page in found for row in page.rows]


async def _record() -> None:
    with running(Fake()) as fake:
        company(fake)
        async with CONNECTOR.open(settings(fake)) as session:
            for feed in BY_FEED:
                told = [row.body for row in rows(await pages(session, feed))]
                (FIXTURES / f"{feed}.json").write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    asyncio.run(_record())
