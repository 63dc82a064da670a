"""Meta Ads: custom audiences, campaigns, and what each campaign cost by day; nothing is written there."""

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from random import Random

from isthmus.connectors.metaads import mapping
from isthmus.connectors.metaads.client import API, session
from isthmus.connectors.metaads.wire import AUDIENCES, CAMPAIGNS, EXPECTED, SPEND
from isthmus.kernel.marks import Json
from isthmus.store.observation import Observation
from isthmus.stream.limits import Rate
from isthmus.sync.connector import Change, Connector, Feed, Leave, Raw, Session, Setting, observations

__all__ = ["CONNECTOR"]

DAY_S = 86_400
_READ_ONLY = "An ad account is only read, and so nothing of it can be written."
_WRITING = (
    *("new_record_is_made", "write_is_read_back", "only_named_fields_are_written", "stale_version_overwrites_nothing"),
    *("gone_record_is_told", "refusal_stops_no_other", "answers_keep_their_order", "same_key_makes_once"),
    *("record_is_deleted_there", "null_clears", "version_after_a_write_is_current", "what_we_say_is_what_it_holds"),
    *("without_leave_nothing_is_sent", "edit_here_is_written_once", "both_sides_edit"),
    *(
        "record_made_here_is_made_there_once",
        "deletion_here_is_made",
        "plan_writes_nothing",
        "skewed_clock_is_survived",
    ),
    "storm",
)


def begin(settings: dict[str, str], leave: Leave) -> AbstractAsyncContextManager[Session]:
    """Open a session; its retries are spread by a generator seeded with the account."""
    return session(settings, dice=Random(f"meta {settings.get('account_id')}"), leave=leave)


def normalise(feed: str, raw: Raw) -> Iterable[Observation]:
    """Return what a row says of our records."""
    return observations("metaads", raw, mapping.words(feed, raw.body))


def express(feed: str, change: Change) -> dict[str, Json]:
    """Return what a change means at Meta: nothing, since nothing is written there."""
    del feed, change
    return {}


CONNECTOR = Connector(
    name="metaads",
    title="Meta Ads",
    about="Custom audiences, campaigns and daily spend of an ad account at Meta (Facebook and Instagram); read only.",
    proven="Our own fake of the documented Marketing API v26.0, itself driven by Meta's own library facebook-business"
    " 26.0.3. Never run against Meta itself.",
    feeds=(
        Feed(name=AUDIENCES, types=(mapping.AUDIENCE,), expects=EXPECTED[AUDIENCES]),
        Feed(name=CAMPAIGNS, types=(mapping.CAMPAIGN,), expects=EXPECTED[CAMPAIGNS], scan_s=DAY_S),
        Feed(name=SPEND, types=(mapping.SPENT,), deletes=False, expects=EXPECTED[SPEND]),
    ),
    settings=(
        Setting(name="account_id", about="Number of the ad account, with or without act_ before it."),
        Setting(name="access_token", about="Token of a system user, with the permission ads_read.", secret=True),
        Setting(name="app_secret", about="Secret of the app, to prove each request.", secret=True, default=""),
        Setting(name="page_rows", about="Records per request, at most 500.", default="100"),
        Setting(name="overlap_s", about="Seconds each run goes back for campaigns.", default="60"),
        Setting(name="restated_days", about="Days of spend that each run reads again, at most 60.", default="30"),
        Setting(name="first_days", about="Days of spend that the first run reads, at most 1100.", default="365"),
        Setting(name="url", about="Another address than Meta's, for tests.", default=API),
    ),
    begin=begin,
    normalise=normalise,
    express=express,
    allowances=(Rate(count=10, seconds=1), Rate(count=1_000, seconds=3_600)),
    cannot={
        **dict.fromkeys(_WRITING, _READ_ONLY),
        "expired_token": "A token of a system user is no session: a person makes a new one when it is over.",
    },
)
