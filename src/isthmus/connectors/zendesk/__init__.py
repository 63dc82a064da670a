"""Zendesk: organizations, end users and tickets, read and written, as its interface v2 is described."""

from isthmus.connectors.zendesk.events import INBOUND
from isthmus.kernel.marks import Json
from isthmus.stream.limits import Rate
from isthmus.sync.connector import Setting
from isthmus.sync.rest.columns import NEW, Column, col, link, names, seen
from isthmus.sync.rest.connector import describe
from isthmus.sync.rest.described import ByPassword, Call, Check, Collection, Since, Vendor, Writes
from isthmus.sync.rest.paging import ByCursor
from isthmus.sync.rest.ways import MOMENT, OWN_ID, TEXTS, Row, alike, seconds, words

__all__ = ["CONNECTOR"]

ACCOUNT, PERSON, TICKET = "sales.account", "sales.person", "success.ticket"
STATUSES = {**alike("new", "open", "pending", "solved", "closed"), "hold": "on_hold"}
PRIORITIES, KINDS = alike("low", "normal", "high", "urgent"), alike("question", "incident", "problem", "task")
OF_ORGANIZATIONS = "shared_tickets shared_comments domain_names group_id organization_fields notes"
OF_USERS = (
    "time_zone iana_time_zone shared_phone_number photo locale_id locale role verified active alias last_login_at "
    "two_factor_auth_enabled signature details role_type custom_role_id moderator ticket_restriction suspended shared "
    "only_private_comments restricted_agent default_group_id report_csv shared_agent user_fields"
)
OF_TICKETS = (
    "raw_subject recipient submitter_id group_id collaborator_ids follower_ids email_cc_ids forum_topic_id problem_id "
    "has_incidents is_public due_at satisfaction_rating sharing_agreement_ids custom_fields fields brand_id encoded_id "
    "allow_channelback allow_attachments from_messaging_channel generated_timestamp custom_status_id followup_ids "
    "ticket_form_id support_type"
)


def comment(_: str, body: Row, current: Row | None) -> Row:
    """Return what is sent for a ticket: its first comment says what it is about, and later ones are not ours."""
    if current is not None:
        return body
    said = body.pop("description", None) or body.get("subject") or "Made in isthmus."
    return {**body, "comment": {"body": said}}


def feed(name: str, kind: str, columns: tuple[Column, ...], deleted: tuple[str, Json], beside: str) -> Collection:
    """Return a feed that is exported by what changed; of tickets Zendesk holds the condition of a write as well."""
    timed, held = name == "organizations", name == "tickets"
    parameter, path, way = ("start_time", "end_time", "") if timed else ("cursor", "after_cursor", "/cursor")
    return Collection(
        name=name,
        path=f"/api/v2/incremental/{name}{way}.json",
        home=f"/api/v2/{name}",
        types={kind: columns},
        paging=ByCursor(
            parameter=parameter, path=path, lasting=True, end="end_of_stream", alone=True, size="per_page", timed=timed
        ),
        rows=name,
        one=name[:-1],
        stamp="updated_at",
        since=Since(parameter="start_time", of=seconds),
        deleted=deleted,
        hidden=(lambda row: row.get("role") != "end-user") if name == "users" else None,
        page_rows_max=1000,
        writes=Writes(
            update=Call(method="PUT"),
            wrap=name[:-1],
            key_header="Idempotency-Key",
            in_body={"updated_stamp": "updated_at"} if held else {},
            beside={"safe_update": True},
            last=comment if held else None,
        ),
        writes_types=(kind,),
        beside=f"url external_id created_at {beside}",
    )


ORGANIZATION = (col("name", "name"), col("description", "details"), col("tags", "tags", TEXTS))
USER = (
    *(names("first_name", "last_name", "name"), col("email", "email", written=NEW), col("phone", "phone")),
    *(link("account_id", "organization_id"), col("notes", "notes"), col("tags", "tags", TEXTS)),
)
TICKETS = (
    *(seen("ticket_number", "id", OWN_ID), col("subject", "subject"), col("body", "description", written=NEW)),
    *(col("status", "status", words(STATUSES, other="open")), col("kind", "type", words(KINDS))),
    *(col("priority", "priority", words(PRIORITIES, other="normal")), col("owner_id", "assignee_id", OWN_ID)),
    *(link("person_id", "requester_id"), link("account_id", "organization_id"), col("tags", "tags", TEXTS)),
    *(seen("opened_at", "created_at", MOMENT), seen("channel", "via.channel")),
)
CONNECTOR = describe(
    Vendor(
        name="zendesk",
        title="Zendesk",
        sign_in=ByPassword(
            settings=(
                Setting(name="email", about="E-mail address of an administrator made for isthmus alone."),
                Setting(name="token", about="API token of Admin Center, Apps and integrations.", secret=True),
            ),
            pair="{email}/token:{token}",
        ),
        check=Check(path="/api/v2/users/me.json", names=("user.email", "user.name")),
        feeds=(
            feed("organizations", ACCOUNT, ORGANIZATION, ("deleted_at", "any"), OF_ORGANIZATIONS),
            feed("users", PERSON, USER, ("active", False), OF_USERS),
            feed("tickets", TICKET, TICKETS, ("status", "deleted"), OF_TICKETS),
        ),
    ),
    about="Organizations, end users and tickets of a Zendesk account, both ways.",
    proven="Our own fake of the documented interface v2, itself driven by zenpy; never Zendesk.",
    inbound=INBOUND,
    allowances=(Rate(count=200, seconds=60),),
    together={PERSON: (("first_name", "last_name"),)},
    cannot={
        "leave_is_asked": "Organizations of one second come in one answer, which several pages are made of.",
        "refusal_stops_no_other": "Names of organizations are unique there, and the check gives two the same one.",
        "read_only_feeds_refuse": "All of its feeds are read and written, so that none refuses.",
        "expired_token": "An API token of Zendesk's is no session, and does not expire while it is used.",
    },
)
