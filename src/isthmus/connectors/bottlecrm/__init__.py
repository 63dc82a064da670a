"""BottleCRM: companies, people, leads, deals, tickets and tasks of a self-hosted CRM, read and written."""

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from random import Random

from isthmus.connectors.bottlecrm import mapping
from isthmus.connectors.bottlecrm.client import session
from isthmus.connectors.bottlecrm.crm import PAGE_ROWS_MAX
from isthmus.connectors.bottlecrm.wire import ACCOUNTS, CASES, CONTACTS, DEALS, FIELDS, LEADS, PIPELINE, TASKS
from isthmus.kernel.marks import Json
from isthmus.store.observation import Observation
from isthmus.stream.limits import Rate
from isthmus.sync.abreast import SETTING
from isthmus.sync.connector import Change, Connector, Feed, Leave, Raw, Session, Setting, observations

__all__ = ["CONNECTOR"]

_KINDS = {
    **dict.fromkeys(("id", "name", "created_at", "stage", "pipeline", "title"), "text"),
    **dict.fromkeys(("assigned_to", "tags", "contacts", "linked_accounts"), "list"),
    **dict.fromkeys(("is_active", "do_not_call"), "truth"),
    **dict.fromkeys(("number_of_employees", "probability"), "number null"),
    "escalation_count": "number",
    "custom_fields": "map null",
}
_LOOSE = {(CONTACTS, "title"), (LEADS, "title")}


def _expected(feed: str) -> dict[str, str]:
    found = {name: "text null" if (feed, name) in _LOOSE else _KINDS.get(name, "text null") for name in FIELDS[feed]}
    return found | {PIPELINE: "text null"} if feed == DEALS else found


def _feed(name: str, kind: str, *, deletes: bool = True) -> Feed:
    return Feed(
        name=name,
        types=(kind,),
        writes=(kind,),
        deletes=deletes,
        page_rows_max=PAGE_ROWS_MAX,
        expects=_expected(name),
    )


FEEDS = (
    _feed(ACCOUNTS, mapping.ACCOUNT),
    _feed(CONTACTS, mapping.PERSON),
    # Converted leads are in no list: what leaves it is looked at one by one, and absence says nothing.
    _feed(LEADS, mapping.LEAD, deletes=False),
    _feed(DEALS, mapping.DEAL),
    _feed(CASES, mapping.TICKET),
    _feed(TASKS, mapping.ACTIVITY),
)
_TYPES = {feed.name: feed.types for feed in FEEDS}


def begin(settings: dict[str, str], leave: Leave) -> AbstractAsyncContextManager[Session]:
    """Open a session; its retries are spread by a generator that is seeded with whom it speaks to."""
    return session(settings, dice=Random(settings["url"]), leave=leave)


def normalise(feed: str, raw: Raw) -> Iterable[Observation]:
    """Return what a row says of our records."""
    return observations("bottlecrm", raw, mapping.words(feed, raw.body))


def express(feed: str, change: Change) -> dict[str, Json]:
    """Return what a change means in BottleCRM, by name."""
    if change.type not in _TYPES.get(feed, ()):
        return {}
    return mapping.express(change.type, change.fields, links=change.links, new=change.external_id is None)


CONNECTOR = Connector(
    name="bottlecrm",
    title="BottleCRM",
    about="Companies, people, leads, deals, tickets and tasks of a BottleCRM server.",
    proven="Run against a real BottleCRM 1.35.0 server, both ways, in every test run.",
    feeds=FEEDS,
    settings=(
        Setting(name="url", about="Address of the server's API, such as https://crm.example."),
        Setting(name="token", about="API token of an admin made for isthmus alone.", secret=True),
        Setting(name="page_rows", about="Records per request, at most 1,000.", default="500"),
        SETTING,
    ),
    begin=begin,
    normalise=normalise,
    express=express,
    writable=mapping.WRITABLE,
    allowances=(Rate(count=20, seconds=1),),
    cannot={
        "expired_token": "A token of BottleCRM's is no session, and does not expire while it is used.",
        "rows_come_oldest_first": "Its lists can be neither sorted nor searched by the time of a change.",
        "read_only_feeds_refuse": "All of its feeds are read and written, so that none refuses.",
    },
)
