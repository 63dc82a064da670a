"""What is read of each object of HubSpot's, and how it is associated with others.

The numbers of types of associations are those that HubSpot gives to its own:
https://developers.hubspot.com/docs/guides/api/crm/associations/associations-v4
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

CONTACTS, COMPANIES, DEALS, TICKETS = "contacts", "companies", "deals", "tickets"
CALLS, EMAILS, MEETINGS, NOTES, TASKS = "calls", "emails", "meetings", "notes", "tasks"
_ANY = ("hs_merged_object_ids", "hubspot_owner_id")


@dataclass(frozen=True)
class Tie:
    """The type of an association to another object; of a `primary` one there is one, beside `plain` ones."""

    plain: int
    primary: int | None = None


@dataclass(frozen=True)
class Shape:
    """An object: the properties that are read, the one that says when it changed, and its associations by object."""

    properties: tuple[str, ...]
    ties: Mapping[str, Tie] = field(default_factory=dict[str, Tie])
    by: str = "hs_lastmodifieddate"
    piped: tuple[str, str] | None = None
    """The properties that name the pipeline and the stage."""


SHAPES: Mapping[str, Shape] = {
    COMPANIES: Shape(
        properties=(
            *("name", "domain", "website", "phone", "industry", "numberofemployees", "annualrevenue", "address"),
            *("city", "state", "zip", "country", "description", "type", "lifecyclestage", "hs_parent_company_id"),
            *_ANY,
        ),
    ),
    CONTACTS: Shape(
        properties=(
            *("email", "firstname", "lastname", "phone", "mobilephone", "jobtitle", "address", "city", "state", "zip"),
            *("country", "hs_language", "company", "industry", "message", "lifecyclestage", "hs_lead_status"),
            *("hs_lifecyclestage_lead_date", "hs_lifecyclestage_marketingqualifiedlead_date"),
            *("hs_lifecyclestage_opportunity_date", "hs_email_optout", "createdate", *_ANY),
        ),
        ties={COMPANIES: Tie(279, primary=1)},
        by="lastmodifieddate",
    ),
    DEALS: Shape(
        properties=(
            *("dealname", "amount", "deal_currency_code", "dealstage", "pipeline", "closedate", "createdate"),
            *("hs_deal_stage_probability", "closed_lost_reason", "hs_next_step", *_ANY),
        ),
        ties={COMPANIES: Tie(341, primary=5), CONTACTS: Tie(3)},
        piped=("pipeline", "dealstage"),
    ),
    TICKETS: Shape(
        properties=(
            *("subject", "content", "hs_pipeline", "hs_pipeline_stage", "hs_ticket_priority", "createdate"),
            *("closed_date", "first_agent_reply_date", "source_type", *_ANY),
        ),
        ties={COMPANIES: Tie(339, primary=26), CONTACTS: Tie(16)},
        piped=("hs_pipeline", "hs_pipeline_stage"),
    ),
    CALLS: Shape(
        properties=(
            *("hs_timestamp", "hs_call_title", "hs_call_body", "hs_call_direction", "hs_call_duration"),
            *("hs_call_status", *_ANY),
        ),
        ties={CONTACTS: Tie(194), COMPANIES: Tie(182), DEALS: Tie(206)},
    ),
    EMAILS: Shape(
        properties=(
            *("hs_timestamp", "hs_email_subject", "hs_email_text", "hs_email_direction", "hs_email_status", *_ANY),
        ),
        ties={CONTACTS: Tie(198), COMPANIES: Tie(186), DEALS: Tie(210)},
    ),
    MEETINGS: Shape(
        properties=(
            *("hs_timestamp", "hs_meeting_title", "hs_meeting_body", "hs_meeting_start_time", "hs_meeting_end_time"),
            *("hs_meeting_outcome", *_ANY),
        ),
        ties={CONTACTS: Tie(200), COMPANIES: Tie(188), DEALS: Tie(212)},
    ),
    NOTES: Shape(
        properties=("hs_timestamp", "hs_note_body", *_ANY),
        ties={CONTACTS: Tie(202), COMPANIES: Tie(190), DEALS: Tie(214)},
    ),
    TASKS: Shape(
        properties=("hs_timestamp", "hs_task_subject", "hs_task_body", "hs_task_status", *_ANY),
        ties={CONTACTS: Tie(204), COMPANIES: Tie(192), DEALS: Tie(216)},
    ),
}
WRITTEN = (COMPANIES, CONTACTS, DEALS, TICKETS)
