"""Salesforce: accounts, contacts, leads, opportunities, campaigns, activities and cases, read and written."""

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from random import Random

from isthmus.connectors.salesforce import expressing, mapping
from isthmus.connectors.salesforce.bulk import ROWS_MAX
from isthmus.connectors.salesforce.client import session, session_in_name
from isthmus.connectors.salesforce.signing import IDENTITY, INSTANCE, TOKEN_PATH
from isthmus.connectors.salesforce.tables import ALL, BY_FEED, PAGE_ROWS_MAX, TABLES, Table
from isthmus.kernel.marks import Json
from isthmus.store.observation import Observation
from isthmus.stream.limits import Rate
from isthmus.sync.connector import (
    Authorise,
    Change,
    Connector,
    ConnectorError,
    Feed,
    Leave,
    OAuth,
    Raw,
    Session,
    Setting,
    observations,
)

__all__ = ["CONNECTOR"]

DAY_S = 86_400


def feed_of(table: Table) -> Feed:
    """Return the feed of a table; formulas and owners' addresses move no stamp, so everything is read once a day."""
    return Feed(
        name=table.feed,
        types=(table.type,),
        writes=(table.type,) if table.writes else (),
        page_rows_max=PAGE_ROWS_MAX,
        write_rows_max=ROWS_MAX,
        expects=table.expects,
        scan_s=DAY_S,
    )


FEEDS = tuple(map(feed_of, TABLES))


def feeds_for(settings: dict[str, str]) -> tuple[Feed, ...]:
    """Return the feeds that a connection is for; raises ConnectorError for a name that is none of them."""
    wanted = {name.strip() for name in (settings.get("feeds") or ALL).split(",")} - {""}
    if unknown := sorted(wanted - set(BY_FEED)):
        raise ConnectorError(f"Salesforce has no feed {unknown[0]!r} here.", fix=f"Name some of {ALL}.")
    return tuple(feed for feed in FEEDS if feed.name in wanted)


def begin(settings: dict[str, str], leave: Leave) -> AbstractAsyncContextManager[Session]:
    """Open a session; its retries are spread by a generator that is seeded with who speaks to whom."""
    feeds = [feed.name for feed in feeds_for(settings)]
    return session(settings, feeds=feeds, dice=Random(f"{settings['url']} {settings.get('client_id')}"), leave=leave)


def begin_in_name(settings: dict[str, str], leave: Leave, authorise: Authorise) -> AbstractAsyncContextManager[Session]:
    """Open a session in the name of a person who consented."""
    feeds, dice = [feed.name for feed in feeds_for(settings)], Random(f"{settings['url']} {settings['client_id']}")
    return session_in_name(settings, feeds=feeds, dice=dice, authorise=authorise, leave=leave)


def normalise(feed: str, raw: Raw) -> Iterable[Observation]:
    """Return what a row says of our records."""
    return observations("salesforce", raw, mapping.words(feed, raw.body))


def express(feed: str, change: Change) -> dict[str, Json]:
    """Return what a change means in Salesforce, by field; nothing for what is only read."""
    table = BY_FEED.get(feed)
    if table is None or change.type != table.type:
        return {}
    return expressing.express(table, change.fields, links=change.links)


CONNECTOR = Connector(
    name="salesforce",
    title="Salesforce",
    about="Accounts, contacts, leads, opportunities, campaigns, activities and cases of a Salesforce organisation.",
    proven=(
        "Our own fake of the documented REST and Bulk 2.0 interfaces, itself driven by simple-salesforce; "
        "never against Salesforce itself."
    ),
    feeds=FEEDS,
    feeds_for=feeds_for,
    settings=(
        Setting(name="url", about="My Domain address, such as https://company.my.salesforce.com."),
        Setting(name="client_id", about="Consumer key of the connected app."),
        Setting(name="client_secret", about="Consumer secret of the connected app.", secret=True, default=""),
        Setting(name="refresh_token", about="Refresh token, to sign in as who gave it.", secret=True, default=""),
        Setting(
            name="private_key", about="RSA key in PEM form, to sign in by JWT.", secret=True, default="", long=True
        ),
        Setting(name="user", about="Name of the user to sign in as, with `private_key`.", default=""),
        Setting(name="feeds", about="What to read, of what the user may read.", default=ALL),
        Setting(name="currency", about="Currency of an organisation with only one, such as EUR.", default=""),
        Setting(name="key_field", about="External id field that new records get their key in.", default=""),
        Setting(name="page_rows", about="Rows per request, at most 2000.", default="2000"),
        Setting(name="overlap_s", about="Seconds each run goes back, for transactions that ended late.", default="300"),
        Setting(name="reserve", about="Share of the day's requests that is left to others, in percent.", default="10"),
        Setting(name="bulk_rows", about="From how many changes on a bulk job is made; 0 for never.", default="2000"),
    ),
    begin=begin,
    normalise=normalise,
    express=express,
    writable={each.type: each.writes for each in TABLES if each.writes},
    allowances=(Rate(count=20, seconds=1),),
    oauth=OAuth(
        authorize_url="{url}/services/oauth2/authorize",
        token_url=f"{{url}}{TOKEN_PATH}",
        begin=begin_in_name,
        scopes=("api", "refresh_token"),
        proof="body",
        rotates=False,
        told=(INSTANCE, IDENTITY),
        unless=("client_secret", "refresh_token", "private_key"),
    ),
)
