"""Xero: contacts, invoices, bills, credit notes and payments of an organisation; contacts are written too."""

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from random import Random

from isthmus.connectors.xero import mapping
from isthmus.connectors.xero.client import API, IDENTITY, SCOPES, session
from isthmus.connectors.xero.events import read
from isthmus.connectors.xero.wire import CONTACTS, CREDIT_NOTES, EXPECTED, INVOICES, PAYMENTS
from isthmus.kernel.marks import Json
from isthmus.store.observation import Observation
from isthmus.stream.limits import Rate
from isthmus.stream.webhooks.verifying import HmacHeader
from isthmus.sync.connector import (
    Authorise,
    Change,
    Connector,
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

LOGIN = "https://login.xero.com"
SIGNING = "webhook_secret"
DAY_S = 86_400
# A refresh token dies when it was not used for 60 days, and is used once.
REFRESH_S = 60 * DAY_S
FEEDS = (
    Feed(
        name=CONTACTS,
        types=(mapping.ACCOUNT, mapping.PERSON, mapping.VENDOR),
        writes=(mapping.ACCOUNT, mapping.PERSON),
        page_rows_max=1_000,
        expects=EXPECTED[CONTACTS],
        scan_s=7 * DAY_S,
    ),
    Feed(name=INVOICES, types=(mapping.INVOICE, mapping.SPEND), page_rows_max=1_000, expects=EXPECTED[INVOICES]),
    Feed(name=CREDIT_NOTES, types=(mapping.INVOICE,), page_rows_max=1_000, expects=EXPECTED[CREDIT_NOTES]),
    Feed(name=PAYMENTS, types=(mapping.PAYMENT,), page_rows_max=1_000, expects=EXPECTED[PAYMENTS]),
)


def begin(settings: dict[str, str], leave: Leave) -> AbstractAsyncContextManager[Session]:
    """Open a session as a custom connection; its retries are spread by a generator seeded with who speaks."""
    return session(settings, dice=Random(f"xero {settings.get('custom_id')}"), leave=leave)


def begin_authorised(
    settings: dict[str, str], leave: Leave, authorise: Authorise
) -> AbstractAsyncContextManager[Session]:
    """Open a session in the name of a person who consented."""
    dice = Random(f"xero {settings.get('client_id')}")
    return session(settings, dice=dice, leave=leave, authorise=authorise)


def normalise(feed: str, raw: Raw) -> Iterable[Observation]:
    """Return what a row says of our records."""
    return observations("xero", raw, mapping.words(feed, raw.body))


def express(feed: str, change: Change) -> dict[str, Json]:
    """Return what a change means in Xero."""
    return mapping.express(change.type, change.fields, links=change.links) if feed == CONTACTS else {}


CONNECTOR = Connector(
    name="xero",
    title="Xero",
    about="Contacts, invoices, bills, credit notes and payments of an organisation in Xero.",
    proven="Our own fake of the documented protocol, itself driven by xero-python; every request validated by Prism"
    " against Xero's published OpenAPI file; read and written at localstack-xero. Never run against Xero itself.",
    feeds=FEEDS,
    settings=(
        Setting(name="client_id", about="Client id of your app in Xero, to connect by consent.", default=""),
        Setting(
            name="client_secret", about="Its secret; without one the app is of the PKCE kind.", secret=True, default=""
        ),
        Setting(name="custom_id", about="Client id of a custom connection, which needs no consent.", default=""),
        Setting(name="custom_secret", about="Its secret.", secret=True, default=""),
        Setting(name="tenant_id", about="Id of the organisation, where the consent is for several.", default=""),
        Setting(name=SIGNING, about="Key of the app's webhooks.", secret=True, default=""),
        Setting(name="page_rows", about="Records per request, at most 1000.", default="100"),
        Setting(name="overlap_s", about="Seconds each run goes back.", default="60"),
        Setting(name="url", about="Another address than Xero's, for tests.", default=API),
        Setting(name="identity_url", about="Another address for tokens, for tests.", default=IDENTITY),
        Setting(name="login_url", about="Another address for consent, for tests.", default=LOGIN),
    ),
    inbound=Inbound(
        verifier=HmacHeader(header="x-xero-signature", encoding="base64"), secret=SIGNING, read=read, silent=True
    ),
    begin=begin,
    normalise=normalise,
    express=express,
    writable=mapping.WRITABLE,
    together={mapping.ACCOUNT: (("street", "postal_code", "city", "region", "country"),)},
    allowances=(Rate(count=60, seconds=60), Rate(count=5_000, seconds=DAY_S)),
    oauth=OAuth(
        authorize_url="{login_url}/identity/connect/authorize",
        token_url="{identity_url}/connect/token",  # noqa: S106 - an address.
        begin=begin_authorised,
        scopes=("offline_access", *SCOPES),
        rotates=True,
        refresh_s=REFRESH_S,
    ),
)
