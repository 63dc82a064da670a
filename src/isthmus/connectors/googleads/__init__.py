"""Google Ads: campaigns, what they cost by day, and audiences; only read."""

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from random import Random

from isthmus.connectors.googleads import mapping
from isthmus.connectors.googleads.client import API, HISTORY_DAYS_MAX, PAGE_ROWS_MAX, TOKENS, session
from isthmus.connectors.googleads.signing import TOKEN_PATH
from isthmus.connectors.googleads.wire import AUDIENCES, CAMPAIGNS, EXPECTED, SPEND
from isthmus.kernel.marks import Json
from isthmus.store.observation import Observation
from isthmus.stream.limits import Rate
from isthmus.sync.connector import Authorise, Change, Connector, Feed, Leave, OAuth, Raw, Session, Setting, observations

__all__ = ["CONNECTOR"]

LOGIN = "https://accounts.google.com"
DAY_S = 86_400
FEEDS = (
    # Audiences that are removed are no longer listed; campaigns that are removed are, and days never go.
    Feed(name=AUDIENCES, types=(mapping.AUDIENCE,), page_rows_max=PAGE_ROWS_MAX, expects=EXPECTED[AUDIENCES]),
    Feed(
        name=CAMPAIGNS,
        types=(mapping.CAMPAIGN,),
        deletes=False,
        page_rows_max=PAGE_ROWS_MAX,
        expects=EXPECTED[CAMPAIGNS],
    ),
    Feed(name=SPEND, types=(mapping.SPENT,), deletes=False, page_rows_max=PAGE_ROWS_MAX, expects=EXPECTED[SPEND]),
)
_WRITING = (
    *("new_record_is_made", "write_is_read_back", "only_named_fields_are_written", "stale_version_overwrites_nothing"),
    *("gone_record_is_told", "refusal_stops_no_other", "answers_keep_their_order", "same_key_makes_once"),
    *("record_is_deleted_there", "null_clears", "version_after_a_write_is_current", "what_we_say_is_what_it_holds"),
    *("without_leave_nothing_is_sent", "edit_here_is_written_once", "both_sides_edit", "deletion_here_is_made"),
    *("record_made_here_is_made_there_once", "plan_writes_nothing", "storm"),
    *("skewed_clock_is_survived", "expired_token"),
)


def begin(settings: dict[str, str], leave: Leave) -> AbstractAsyncContextManager[Session]:
    """Open a session with a refresh token; its retries are spread by a generator seeded with which account it is."""
    return session(settings, dice=Random(f"googleads {settings.get('customer_id')}"), leave=leave)


def begin_authorised(
    settings: dict[str, str], leave: Leave, authorise: Authorise
) -> AbstractAsyncContextManager[Session]:
    """Open a session in the name of a person who consented."""
    dice = Random(f"googleads {settings.get('customer_id')}")
    return session(settings, dice=dice, leave=leave, authorise=authorise)


def normalise(feed: str, raw: Raw) -> Iterable[Observation]:
    """Return what a row says of our records."""
    return observations("googleads", raw, mapping.words(feed, raw.body))


def express(feed: str, change: Change) -> dict[str, Json]:
    """Return nothing: the connection only reads."""
    del feed, change
    return {}


CONNECTOR = Connector(
    name="googleads",
    title="Google Ads",
    about="Campaigns, what they cost by day, and audiences of an account in Google Ads; only read.",
    proven="Our own fake of the documented REST interface, itself driven by Google's own library for Python through a"
    " bridge from gRPC that takes no field which its messages do not have. Never run against Google Ads itself.",
    feeds=FEEDS,
    settings=(
        Setting(name="customer_id", about="Number of the account, such as 123-456-7890."),
        Setting(name="login_customer_id", about="Number of the manager account that gives access.", default=""),
        Setting(name="developer_token", about="Token from the API centre of your manager account.", secret=True),
        Setting(name="client_id", about="Client id of your app at Google."),
        Setting(name="client_secret", about="Its secret.", secret=True),
        Setting(name="refresh_token", about="Refresh token, where nobody consents here.", secret=True, default=""),
        Setting(name="window_days", about="Days that each run reads again, at most 90.", default="30"),
        Setting(
            name="history_days", about="Days that the first run goes back, at most 1125.", default=str(HISTORY_DAYS_MAX)
        ),
        Setting(name="page_rows", about="Rows per request, at most 10000.", default="1000"),
        Setting(name="url", about="Another address than Google's, for tests.", default=API),
        Setting(name="token_url", about="Another address for tokens, for tests.", default=TOKENS),
        Setting(name="login_url", about="Another address for consent, for tests.", default=LOGIN),
    ),
    begin=begin,
    normalise=normalise,
    express=express,
    # What a developer token with basic access may ask for: https://developers.google.com/google-ads/api/docs/access-levels.
    allowances=(Rate(count=10, seconds=1), Rate(count=15_000, seconds=DAY_S)),
    cannot=dict.fromkeys(_WRITING, "The connection only reads, and the check writes there; see the folder's tests.")
    | {"merge_there_is_followed": "Google Ads makes no one audience or campaign of two."},
    oauth=OAuth(
        authorize_url="{login_url}/o/oauth2/v2/auth",
        token_url=f"{{token_url}}{TOKEN_PATH}",
        begin=begin_authorised,
        scopes=("https://www.googleapis.com/auth/adwords",),
        parameters={"access_type": "offline", "prompt": "consent"},
        proof="body",
        rotates=False,
        access_s=3_600,
    ),
)
