"""PostHog: the persons and the events of a project, asked for in HogQL; nothing is written there."""

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from random import Random

from isthmus.connectors.posthog import mapping
from isthmus.connectors.posthog.client import US, session
from isthmus.connectors.posthog.wire import EVENTS, EXPECTED, PERSONS
from isthmus.kernel.marks import Json
from isthmus.store.observation import Observation
from isthmus.stream.limits import Rate
from isthmus.sync.connector import Change, Connector, Feed, Leave, Raw, Session, Setting, observations

__all__ = ["CONNECTOR"]

HOUR_S = 3_600
_READ_ONLY = "What PostHog holds was sent by a product, so nothing of ours is ever written there."
_WRITING = (
    *("new_record_is_made", "write_is_read_back", "only_named_fields_are_written", "stale_version_overwrites_nothing"),
    *("gone_record_is_told", "refusal_stops_no_other", "answers_keep_their_order", "same_key_makes_once"),
    *("record_is_deleted_there", "null_clears", "version_after_a_write_is_current", "what_we_say_is_what_it_holds"),
    *("without_leave_nothing_is_sent", "edit_here_is_written_once", "both_sides_edit"),
    *("record_made_here_is_made_there_once", "deletion_here_is_made", "plan_writes_nothing"),
    *("skewed_clock_is_survived", "storm"),
)


def begin(settings: dict[str, str], leave: Leave) -> AbstractAsyncContextManager[Session]:
    """Open a session; its retries are spread by a generator seeded with the project."""
    return session(settings, dice=Random(f"posthog {settings.get('project_id')}"), leave=leave)


def normalise(feed: str, raw: Raw) -> Iterable[Observation]:
    """Return what a row says of our records."""
    return observations("posthog", raw, mapping.words(feed, raw.body))


def express(feed: str, change: Change) -> dict[str, Json]:
    """Return what a change means at PostHog: nothing, since nothing is written there."""
    del feed, change
    return {}


CONNECTOR = Connector(
    name="posthog",
    title="PostHog",
    about="The persons and the events of a project of PostHog, hosted in the US or the EU or by yourself; read only.",
    proven="Only our own fake of the documented API for queries: its own library posthog captures, and cannot read."
    " Never run against PostHog itself.",
    feeds=(
        Feed(name=PERSONS, types=(mapping.PERSON,), page_rows_max=10_000, expects=EXPECTED[PERSONS]),
        Feed(
            name=EVENTS,
            types=(mapping.EVENT,),
            deletes=False,
            page_rows_max=10_000,
            expects=EXPECTED[EVENTS],
            settles_s=HOUR_S,
        ),
    ),
    settings=(
        Setting(name="project_id", about="Number of the project, from its settings."),
        Setting(name="api_key", about="Personal API key with the scope Query: Read.", secret=True),
        Setting(name="url", about="Address of the app: of the US, of the EU, or your own.", default=US),
        Setting(name="since", about="Day of the first events to read; all without it.", default=""),
        Setting(name="visitors", about="Whether nameless visitors are read as persons, yes or no.", default="no"),
        Setting(name="page_rows", about="Rows per question, at most 10000.", default="1000"),
        Setting(name="overlap_s", about="Seconds each run goes back for events.", default="3600"),
    ),
    begin=begin,
    normalise=normalise,
    express=express,
    allowances=(Rate(count=240, seconds=60), Rate(count=1_200, seconds=HOUR_S)),
    cannot={
        **dict.fromkeys(_WRITING, _READ_ONLY),
        "expired_token": "A personal key is no session: a person makes a new one when it is withdrawn.",
    },
)
