"""A HubSpot account as a small company has it, on our fake; and the fixtures of the connector, recorded from it.

python -m tests.rooms.connectors.hubspot_room    records the fixtures anew
"""

import asyncio
import json
from pathlib import Path
from random import Random

from isthmus.connectors import hubspot
from isthmus.connectors.hubspot.client import session
from isthmus.connectors.hubspot.conformance import account
from isthmus.connectors.hubspot.fake import Fake
from isthmus.connectors.hubspot.fake_http import TOKEN, Site, serving
from isthmus.connectors.hubspot.shapes import (
    CALLS,
    COMPANIES,
    CONTACTS,
    DEALS,
    EMAILS,
    MEETINGS,
    NOTES,
    SHAPES,
    TASKS,
    TICKETS,
)
from isthmus.kernel.marks import Json

FIXTURES = Path(hubspot.__file__).parent / "fixtures"
AT = "2026-11-02T09:30:00.000Z"


def company(fake: Fake) -> Fake:
    """Fill an account with one record of each kind, and one that has almost nothing."""
    account(fake)
    fake.definitions.add(CONTACTS, "favourite_tea")
    fake.definitions.add(DEALS, "tier", options=("gold", "silver"))
    works = fake.make(
        COMPANIES,
        {
            "name": "Harbour Works",
            "domain": "harbour.example",
            "industry": "COMPUTER_SOFTWARE",
            "numberofemployees": "120",
            "annualrevenue": "2500000",
            "city": "Kiel",
            "country": "Germany",
            "type": "PROSPECT",
            "lifecyclestage": "customer",
            "hubspot_owner_id": "71",
        },
    )
    fake.make(COMPANIES, {"name": "Harbour Yard", "hs_parent_company_id": str(works.id)})
    mara = fake.make(
        CONTACTS,
        {
            "email": "mara@harbour.example",
            "firstname": "Mara",
            "lastname": "Lind",
            "company": "Harbour Works",
            "mobilephone": "+49 431 1234567",
            "jobtitle": "Head of Yards",
            "city": "Kiel",
            "lifecyclestage": "marketingqualifiedlead",
            "hs_lead_status": "IN_PROGRESS",
            "hubspot_owner_id": "71",
            "favourite_tea": "Assam",
        },
    )
    left = fake.make(CONTACTS, {"email": "odd@elsewhere.example", "lastname": "Odd"})
    left.values["hs_email_optout"] = "true"
    fake.make(CONTACTS, {"lastname": "Nameless"})
    fake.tie(CONTACTS, mara.id, COMPANIES, works.id, [279])
    deal = fake.make(
        DEALS,
        {
            "dealname": "Cranes for Kiel",
            "amount": "12500.50",
            "dealstage": "presentationscheduled",
            "closedate": "2026-12-31T23:30:00.000Z",
            "hubspot_owner_id": "72",
            "tier": "gold",
        },
    )
    fake.tie(DEALS, deal.id, COMPANIES, works.id, [341])
    fake.tie(DEALS, deal.id, CONTACTS, mara.id, [3])
    fake.make(DEALS, {"dealname": "Lost at sea", "dealstage": "closedlost", "closed_lost_reason": "Price"})
    ticket = fake.make(
        TICKETS,
        {
            "subject": "The crane is loud",
            "content": "Very loud.",
            "hs_pipeline_stage": "2",
            "hs_ticket_priority": "HIGH",
        },
    )
    fake.tie(TICKETS, ticket.id, CONTACTS, mara.id, [16])
    _engagements(fake, mara.id, works.id, deal.id)
    return fake


def _engagements(fake: Fake, contact: int, at: int, deal: int) -> None:
    given = {
        CALLS: {"hs_call_title": "First call", "hs_call_direction": "OUTBOUND", "hs_call_duration": "90500"},
        EMAILS: {"hs_email_subject": "The offer", "hs_email_direction": "INCOMING_EMAIL", "hs_email_status": "SENT"},
        MEETINGS: {
            "hs_meeting_title": "On the quay",
            "hs_meeting_start_time": AT,
            "hs_meeting_end_time": "2026-11-02T10:15:00.000Z",
            "hs_meeting_outcome": "COMPLETED",
        },
        NOTES: {"hs_note_body": "Prefers mornings."},
        TASKS: {"hs_task_subject": "Send the drawing", "hs_task_status": "NOT_STARTED"},
    }
    for kind, said in given.items():
        made = fake.make(kind, {**said, "hs_timestamp": AT, "hubspot_owner_id": "72"})
        ties = SHAPES[kind].ties
        for to, other in ((CONTACTS, contact), (COMPANIES, at), (DEALS, deal)):
            fake.tie(kind, made.id, to, other, [ties[to].plain])


def settings(site: Site, **more: str) -> dict[str, str]:
    """Return what connects to the fake as a private app."""
    return {"token": TOKEN, "url": site.url, "overlap_s": "0", **more}


async def record(site: Site) -> dict[str, list[Json]]:
    """Return the rows of each feed as a session gives them."""
    async with session(settings(site), feeds=list(SHAPES), dice=Random(1)) as own:
        return {feed: [row.body async for page in own.read(feed, cursor=None) for row in page.rows] for feed in SHAPES}


if __name__ == "__main__":
    with serving(Site(fake=company(Fake()))) as here:
        for name, rows in asyncio.run(record(here)).items():
            (FIXTURES / f"{name}.json").write_text(json.dumps(rows, indent=2, ensure_ascii=False) + "\n", "utf-8")
