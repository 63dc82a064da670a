"""HubSpot: companies, contacts, deals, tickets and engagements; all but engagements are written too."""

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from random import Random

from isthmus.connectors.hubspot import expressing, mapping
from isthmus.connectors.hubspot.client import session
from isthmus.connectors.hubspot.events import read
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
from isthmus.connectors.hubspot.transport import URL
from isthmus.connectors.hubspot.wire import CURRENCY, CUSTOM, DAY, LINKS, OWNER, PARTIAL, PIPELINE, STAGE
from isthmus.kernel.marks import Json
from isthmus.store.observation import Observation
from isthmus.stream.limits import Rate
from isthmus.stream.webhooks.verifying import HubSpot
from isthmus.sync.connector import (
    Authorise,
    Change,
    Connector,
    ConnectorError,
    Feed,
    Inbound,
    Leave,
    OAuth,
    Raw,
    Session,
    Setting,
    observations,
)

__all__ = ["CONNECTOR"]

_EXPECTED = {
    "id": "text",
    "properties": "map",
    "createdAt": "text absent",
    "updatedAt": "text absent",
    "archived": "truth absent",
    "url": "text null absent",
    "associations": "map absent",
    LINKS: "map absent",
    OWNER: "text null absent",
    CUSTOM: "list absent",
    PARTIAL: "truth absent",
}
_PIPED = {STAGE: "map null absent", PIPELINE: "text null absent"}
_BESIDE = {
    COMPANIES: {CURRENCY: "text absent"},
    DEALS: {**_PIPED, CURRENCY: "text absent", DAY: "text null absent"},
    TICKETS: _PIPED,
}
_TYPES = {
    COMPANIES: (mapping.ACCOUNT,),
    CONTACTS: (mapping.PERSON, mapping.LEAD, mapping.CONSENT),
    DEALS: (mapping.DEAL,),
    TICKETS: (mapping.TICKET,),
    **dict.fromkeys((CALLS, EMAILS, MEETINGS, NOTES, TASKS), (mapping.ACTIVITY,)),
}
_WRITES = {
    **{name: types for name, types in _TYPES.items() if name in (COMPANIES, DEALS, TICKETS)},
    CONTACTS: _TYPES[CONTACTS],
}
FEEDS = tuple(
    Feed(
        name=name,
        types=_TYPES[name],
        writes=_WRITES.get(name, ()),
        page_rows_max=100,
        expects=_EXPECTED | _BESIDE.get(name, {}),
        settles_s=3_600,
        scan_s=86_400,
    )
    for name in SHAPES
)
ALL = ",".join(SHAPES)
SIGNING = "client_secret"
TOKEN_URL = f"{URL}/oauth/v1/token"
SCOPES = (
    "oauth",
    *(f"crm.objects.{name}.{what}" for name in (COMPANIES, CONTACTS, DEALS) for what in ("read", "write")),
    *(f"crm.schemas.{name}.read" for name in (COMPANIES, CONTACTS, DEALS)),
    "crm.objects.owners.read",
    "tickets",
    "communication_preferences.read_write",
)


def feeds_for(settings: dict[str, str]) -> tuple[Feed, ...]:
    """Return the feeds that a connection is for; raises ConnectorError for a name that is none of them."""
    wanted = {name.strip() for name in (settings.get("feeds") or ALL).split(",")} - {""}
    if unknown := sorted(wanted - set(SHAPES)):
        raise ConnectorError(f"HubSpot has no feed {unknown[0]!r} here.", fix=f"Name some of {ALL}.")
    return tuple(feed for feed in FEEDS if feed.name in wanted)


def begin(settings: dict[str, str], leave: Leave) -> AbstractAsyncContextManager[Session]:
    """Open a session; its retries are spread by a generator that is seeded with who speaks."""
    feeds = [feed.name for feed in feeds_for(settings)]
    dice = Random(settings.get("token") or settings.get("client_id", ""))
    return session(settings, feeds=feeds, dice=dice, leave=leave)


def begin_in_name(settings: dict[str, str], leave: Leave, authorise: Authorise) -> AbstractAsyncContextManager[Session]:
    """Open a session in the name of a person who consented."""
    feeds = [feed.name for feed in feeds_for(settings)]
    return session(settings, feeds=feeds, dice=Random(settings["client_id"]), leave=leave, authorise=authorise)


def normalise(feed: str, raw: Raw) -> Iterable[Observation]:
    """Return what a row says of our records."""
    return observations("hubspot", raw, mapping.words(feed, raw.body))


def express(feed: str, change: Change) -> dict[str, Json]:
    """Return what a change means in HubSpot, by property; nothing for what is only read."""
    if change.type not in _WRITES.get(feed, ()):
        return {}
    return expressing.express(change.type, change.fields, links=change.links, new=change.external_id is None)


CONNECTOR = Connector(
    name="hubspot",
    title="HubSpot",
    about="Companies, contacts, deals, tickets and engagements of a HubSpot account.",
    proven=(
        "Run against our own fake of the documented protocol, itself driven by HubSpot's own library; "
        "never against HubSpot itself."
    ),
    feeds=FEEDS,
    feeds_for=feeds_for,
    settings=(
        Setting(name="token", about="Access token of a private app, such as pat-na1-….", secret=True, default=""),
        Setting(name="client_id", about="Client id of an app that is connected by OAuth.", default=""),
        Setting(
            name=SIGNING,
            about="Client secret of the app: for OAuth, and for proving what HubSpot sends.",
            secret=True,
            default="",
        ),
        Setting(name="refresh_token", about="Refresh token of the OAuth app.", secret=True, default=""),
        Setting(name="feeds", about="What to read, of those that the key may read.", default=ALL),
        Setting(
            name="key_property",
            about="Property with unique values that keeps the keys of what is made.",
            default="isthmus_key",
        ),
        Setting(name="overlap_s", about="Seconds each run goes back, for searches that lag.", default="300"),
        Setting(name="page_rows", about="Records per request, at most 100.", default="100"),
        Setting(name="url", about="Another address than HubSpot's, for test servers.", default=URL),
    ),
    begin=begin,
    normalise=normalise,
    express=express,
    writable=expressing.WRITABLE,
    allowances=(Rate(count=100, seconds=10),),
    inbound=Inbound(verifier=HubSpot(), secret=SIGNING, read=read),
    oauth=OAuth(
        authorize_url="https://app.hubspot.com/oauth/authorize",
        token_url=TOKEN_URL,
        begin=begin_in_name,
        scopes=SCOPES,
        proof="body",
        pkce=False,
        rotates=False,
        access_s=1_800,
    ),
    cannot={
        "rows_come_oldest_first": "A first reading goes by number, as HubSpot's lists do; later ones by time.",
    },
)
