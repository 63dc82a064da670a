"""Request Tracker 5: tickets and the customers who ask, of a self-hosted desk, read and written."""

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from random import Random

from isthmus.connectors.requesttracker import mapping
from isthmus.connectors.requesttracker.client import session
from isthmus.connectors.requesttracker.wire import ANSWERED, TICKETS, USER_TEXTS, USERS
from isthmus.kernel.marks import Json
from isthmus.store.observation import Observation
from isthmus.stream.limits import Rate
from isthmus.sync.connector import Change, Connector, Feed, Leave, Raw, Session, Setting, observations

__all__ = ["CONNECTOR"]

_TICKET = {
    "id": "number",
    **dict.fromkeys(("Subject", "Status", "Created", "LastUpdated", "Started", "Resolved", "Told"), "text"),
    "Priority": "text number",
    "Queue": "map",
    "Owner": "map",
    "Requestor": "list",
    "CustomFields": "list text",
    ANSWERED: "text null",
}
_USER = {
    "id": "number",
    **dict.fromkeys(USER_TEXTS, "text"),
    "Created": "text",
    "LastUpdated": "text",
}
FEEDS = (
    Feed(
        name=USERS,
        types=(mapping.PERSON,),
        writes=(mapping.PERSON,),
        page_rows_max=100,
        expects=_USER,
        scan_s=86_400,
    ),
    Feed(name=TICKETS, types=(mapping.TICKET,), writes=(mapping.TICKET,), page_rows_max=100, expects=_TICKET),
)
_TYPES = {feed.name: feed.types for feed in FEEDS}


def begin(settings: dict[str, str], leave: Leave) -> AbstractAsyncContextManager[Session]:
    """Open a session; its retries are spread by a generator that is seeded with who speaks to whom."""
    return session(settings, dice=Random(f"{settings['url']} {settings.get('user')}"), leave=leave)


def normalise(feed: str, raw: Raw) -> Iterable[Observation]:
    """Return what a row says of our records."""
    return observations("requesttracker", raw, mapping.words(feed, raw.body))


def express(feed: str, change: Change) -> dict[str, Json]:
    """Return what a change means in Request Tracker, by path."""
    if change.type not in _TYPES.get(feed, ()):
        return {}
    return mapping.express(change.type, change.fields, links=change.links, new=change.external_id is None)


CONNECTOR = Connector(
    name="requesttracker",
    title="Request Tracker",
    about="Tickets and the customers who ask, of a Request Tracker 5 server.",
    proven="Run against a real Request Tracker 5.0.3 server, both ways, in every test run.",
    feeds=FEEDS,
    settings=(
        Setting(name="url", about="Address of the server, such as https://desk.example."),
        Setting(name="token", about="Auth token of a user made for isthmus alone.", secret=True, default=""),
        Setting(name="user", about="User, where the server takes no tokens.", default=""),
        Setting(name="password", about="Password of that user.", secret=True, default=""),
        Setting(name="queue", about="Queue of new tickets that name none.", default="General"),
        Setting(name="page_rows", about="Records per request, at most 100.", default="100"),
        Setting(name="overlap_s", about="Seconds each run goes back, for transactions that ended late.", default="60"),
    ),
    begin=begin,
    normalise=normalise,
    express=express,
    writable=mapping.WRITABLE,
    together=mapping.TOGETHER,
    allowances=(Rate(count=20, seconds=1),),
    cannot={
        "expired_token": "A token of Request Tracker's is no session, and does not expire while it is used.",
        "read_only_feeds_refuse": "Both of its feeds are read and written, so that none refuses.",
    },
)
