"""Pipedrive: organizations, persons, deals and activities, read and written, as its interface v2 is described."""

from dataclasses import replace
from functools import partial

from isthmus.connectors.pipedrive.events import INBOUND
from isthmus.stream.limits import Rate
from isthmus.sync.connector import Connector, OAuth, Setting
from isthmus.sync.rest.columns import NEVER, Column, col, either, link, money, names, seen, when
from isthmus.sync.rest.connector import describe, table
from isthmus.sync.rest.described import ByHeader, Check, Collection, Find, Since, Vendor, Writes
from isthmus.sync.rest.paging import ByCursor
from isthmus.sync.rest.ways import CLOCK, DAY, MOMENT, NUMBER, OWN_ID, PERCENT, TRUTH, flags, primary, words

__all__ = ["CONNECTOR"]

ACCOUNT, PERSON, DEAL, ACTIVITY = "sales.account", "sales.person", "sales.deal", "sales.activity"
STAGES = ("qualification", "needs_analysis", "proposal", "negotiation")
ENDS = {"won": "closed_won", "lost": "closed_lost"}
KINDS = {"call": "call", "meeting": "meeting", "lunch": "meeting", "email": "email", "task": "task", "deadline": "task"}
NEWEST = Find(query=(("sort_by", "add_time"), ("sort_direction", "desc"), ("limit", "100")))
TOKEN = Setting(name="token", about="API token of a user, from Personal preferences, API.", secret=True, default="")
SIGN, DOMAIN = "https://oauth.pipedrive.com/oauth", "api_domain"
# What stands in rows and becomes nothing here.
BESIDE = "add_time is_deleted visible_to label_ids custom_fields"
OF_DEALS = "is_archived archive_time stage_change_time won_time lost_time origin origin_id channel channel_id arr mrr"
OF_ACTIVITIES = (
    "creator_user_id lead_id project_id busy marked_as_done_time location participants attendees"
    " conference_meeting_client conference_meeting_url conference_meeting_id public_description priority outcome"
)
ADDRESS = (("postal_code",) * 2, ("city", "locality"), ("region", "admin_area_level_1"), ("country",) * 2)


def feed(name: str, kind: str, columns: tuple[Column, ...], *, beside: str, archived: bool = False) -> Collection:
    """Return a feed of the interface v2, whose lists are all alike."""
    path = f"/api/v2/{name}"
    return Collection(
        name=name,
        path=path,
        types={kind: (*columns, col("owner_id", "owner_id", OWN_ID))},
        paging=ByCursor(parameter="cursor", path="additional_data.next_cursor"),
        stamp="update_time",
        since=Since(parameter="updated_since"),
        reading=(("sort_by", "update_time"), ("sort_direction", "asc")),
        listed=(path, f"{path}/archived") if archived else (),
        deleted=("is_deleted", True),
        page_rows_max=500,
        writes=Writes(find=NEWEST),
        writes_types=(kind,),
        beside=f"{BESIDE} {beside}",
    )


def vendor(settings: dict[str, str]) -> Vendor:
    """Return the interface, with the company's own stages by their numbers; raises ConnectorError."""
    stages = table(settings, "stages", allowed=STAGES)
    company = (
        *(col("name", "name"), col("website", "website"), col("employee_count", "employee_count", NUMBER)),
        *(seen(ours, f"address.{theirs}") for ours, theirs in ADDRESS),
    )
    person = (
        names("first_name", "last_name", "name", halves=("first_name", "last_name")),
        *(col("email", "emails", primary()), col("phone", "phones", primary())),
        *(link("account_id", "org_id"), col("title", "job_title"), col("notes", "notes")),
        *(seen(ours, f"postal_address.{theirs}") for ours, theirs in ADDRESS),
    )
    deal = (
        either("stage", "status", ENDS, open_="open", place="stage_id", table=stages),
        *(col("name", "title"), money("amount", "value", "currency")),
        *(link("account_id", "org_id"), link("person_id", "person_id"), col("lost_reason", "lost_reason")),
        *(col("probability", "probability", PERCENT), col("close_date", "expected_close_date", DAY)),
        *(seen("opened_at", "add_time", MOMENT), seen("closed_at", "close_time", MOMENT)),
        *(seen("pipeline", "pipeline_id", OWN_ID), seen("won", "status", flags({"won": True, "lost": False}))),
    )
    activity = (
        *(col("kind", "type", words(KINDS, other="task")), col("subject", "subject"), col("body", "note")),
        *(
            when("due_at", "due_date", "due_time"),
            col("duration_s", "duration", CLOCK),
            col("completed", "done", TRUTH),
        ),
        *(link("deal_id", "deal_id"), link("account_id", "org_id"), link("person_id", "person_id", written=NEVER)),
    )
    return Vendor(
        name="pipedrive",
        title="Pipedrive",
        sign_in=ByHeader(settings=(TOKEN,), name="x-api-token", value="{token}"),
        check=Check(path="/api/v1/users/me", names=("data.company_name", "data.name")),
        feeds=(
            feed("organizations", ACCOUNT, company, beside="linkedin industry annual_revenue"),
            feed("persons", PERSON, person, beside="picture_id im birthday"),
            feed("deals", DEAL, deal, beside=f"{OF_DEALS} acv source_lead_id", archived=True),
            feed("activities", ACTIVITY, activity, beside=OF_ACTIVITIES),
        ),
        url="https://api.pipedrive.com",
        waits="x-ratelimit-reset",
        oauth=partial(OAuth, authorize_url=f"{SIGN}/authorize", token_url=f"{SIGN}/token", pkce=False, told=(DOMAIN,)),
        domain=DOMAIN,
    )


def described(settings: dict[str, str]) -> Connector:
    """Return the connector as a company's own stages make it; raises ConnectorError."""
    return describe(
        vendor(settings),
        about="Organizations, persons, deals and activities of a Pipedrive company, both ways.",
        proven="Our own fake of the documented interface v2, itself driven by Pipedrive's own client; never Pipedrive.",
        settings=(Setting(name="stages", about="Open stages, such as 1=qualification,2=proposal.", default=""),),
        inbound=INBOUND,
        allowances=(Rate(count=10, seconds=2),),
        together={PERSON: (("first_name", "last_name"),)},
        cannot={
            "read_only_feeds_refuse": "All of its feeds are read and written, so that none refuses.",
            "expired_token": "An API token of Pipedrive's is no session, and does not expire while it is used.",
        },
    )


CONNECTOR = replace(described({}), adapt=described)
