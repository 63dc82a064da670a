"""Mailchimp: the contacts of an audience with their consent, read and written, and campaigns, as they are described."""

from isthmus.connectors.mailchimp.events import INBOUND, place
from isthmus.stream.limits import Rate
from isthmus.sync.connector import Setting
from isthmus.sync.rest.columns import NEW, col, first_of, link, says, seen
from isthmus.sync.rest.connector import describe
from isthmus.sync.rest.described import ByPassword, Call, Check, Collection, Since, Vendor, Writes
from isthmus.sync.rest.paging import ByOffset
from isthmus.sync.rest.ways import BLANK, DAY, LOWER, MOMENT, NUMBER, Row, Way, each, words

__all__ = ["CONNECTOR"]

PERSON, CONSENT, CAMPAIGN = "sales.person", "marketing.consent", "marketing.campaign"
# Somebody who bounced, has not confirmed yet or never was asked has said nothing.
SILENT = dict.fromkeys(("cleaned", "pending", "transactional", "archived"), "unknown")
STATES = SILENT | {"subscribed": "granted", "unsubscribed": "withdrawn"}
HOME = {"granted": "subscribed", "withdrawn": "unsubscribed"}
CAMPAIGNS = {"save": "planned", "schedule": "planned", "paused": "paused", "sending": "active", "sent": "completed"}
MAKING = "new_record_is_made same_key_makes_once what_we_say_is_what_it_holds storm record_made_here_is_made_there_once"
OF_MEMBERS = (
    "id unique_email_id full_name web_id email_type unsubscribe_reason consents_to_one_to_one_messaging interests vip "
    "sms_phone_number sms_subscription_status sms_subscription_last_updated ip_signup timestamp_signup ip_opt stats "
    "member_rating email_client location marketing_permissions last_note tags_count list_id _links"
)
OF_CAMPAIGNS = (
    "web_id parent_campaign_id create_time archive_url long_archive_url content_type needs_block_refresh resendable "
    "recipients variate_settings tracking rss_opts ab_split_opts social_card report_summary delivery_status _links"
)


def number(said: Row) -> str | None:
    """Return where a new contact is put: at the MD5 of its address in small letters."""
    address = LOWER.read(said.get("email_address"))
    return place(str(address)) if address else None


def new(_: str, body: Row, current: Row | None) -> Row:
    """Return what is sent; a new contact is one whom nothing is sent, unless it consented."""
    return body if current is not None else {"status_if_new": body.get("status", "transactional"), **body}


KEY = Way(
    "text null",
    lambda value: f"{LOWER.read(value)}|marketing|email" if value else None,
    lambda value, _: str(value).partition("|")[0],
)
MEMBERS = Collection(
    name="members",
    path="/3.0/lists/{audience}/members",
    types={
        PERSON: (
            *(col("email", "email_address", LOWER), col("first_name", "merge_fields.FNAME", BLANK)),
            *(col("last_name", "merge_fields.LNAME", BLANK), col("phone", "merge_fields.PHONE", BLANK)),
            *(col("language", "language", BLANK), seen("tags", "tags", each("name"))),
        ),
        CONSENT: (
            *(says("purpose", "marketing"), says("channel", "email"), link("person_id", "contact_id", written="never")),
            *(col("state", "status", words(STATES, other="unknown", back=HOME)), seen("source", "source")),
            *(seen("given_at", "timestamp_opt", MOMENT), col("key", "email_address", KEY, written=NEW)),
        ),
    },
    paging=ByOffset(size="count"),
    rows="members",
    one="",
    id="contact_id",
    stamp="last_changed",
    since=Since(parameter="since_last_changed", inclusive=False),
    reading=(("sort_field", "last_changed"), ("sort_dir", "ASC")),
    listing=(("fields", "members.contact_id,members.status"),),
    deleted=("status", "archived"),
    page_rows_max=1000,
    writes=Writes(create=Call(method="PUT"), own_id=number, last=new, merges=True),
    writes_types=(PERSON, CONSENT),
    beside=OF_MEMBERS,
)
SENT = Collection(
    name="campaigns",
    path="/3.0/campaigns",
    types={
        CAMPAIGN: (
            first_of("name", "settings.title", "settings.subject_line", "id"),
            *(seen("code", "id"), seen("kind", "type"), says("channel", "email")),
            seen("status", "status", words(CAMPAIGNS, other="planned")),
            *(seen("starts_on", "send_time", DAY), seen("audience_size", "emails_sent", NUMBER)),
        ),
    },
    paging=ByOffset(size="count"),
    rows="campaigns",
    one="",
    query=(("list_id", "{audience}"),),
    page_rows_max=1000,
    beside=OF_CAMPAIGNS,
)
CONNECTOR = describe(
    Vendor(
        name="mailchimp",
        title="Mailchimp",
        sign_in=ByPassword(
            settings=(
                Setting(name="token", about="API key, from Account and billing, Extras, API keys.", secret=True),
                Setting(name="audience", about="Id of the audience, from its settings, such as 57afe96172."),
            ),
            pair="isthmus:{token}",
        ),
        check=Check(path="/3.0/", names=("account_name", "email")),
        feeds=(MEMBERS, SENT),
    ),
    about="Contacts of a Mailchimp audience with their consent, both ways, and its campaigns.",
    proven="Our own fake of the documented Marketing API 3.0, driven by Mailchimp's own client; never Mailchimp.",
    inbound=INBOUND,
    allowances=(Rate(count=10, seconds=1),),
    cannot={
        **dict.fromkeys(
            MAKING.split(), "A contact of Mailchimp's has an e-mail address, and what the check makes has none."
        ),
        "expired_token": "A key of Mailchimp's is no session, and does not expire while it is used.",
    },
)
