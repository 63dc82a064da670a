"""Tryton 8.2: companies, people, deals, customer invoices and payments of a self-hosted ERP, read and written."""

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from random import Random

from isthmus.connectors.tryton import mapping
from isthmus.connectors.tryton.client import session
from isthmus.kernel.marks import Json
from isthmus.store.observation import Observation
from isthmus.stream.limits import Rate
from isthmus.sync.connector import Change, Connector, Feed, Leave, Raw, Session, Setting, observations

__all__ = ["CONNECTOR"]

_EVERY = {"id": "number", "__name__": "text", "_timestamp": "text", "last_modified_at": "map"}
_PARTY = {
    **_EVERY,
    "name": "text null",
    "code": "text null",
    "active": "truth number",
    "lang": "map null",
    "tax_identifier": "map null",
    "categories": "list",
    "contact_mechanisms": "list",
    "addresses": "list",
}
_OPPORTUNITY = {
    **_EVERY,
    "number": "text null",
    "reference": "text null",
    "description": "text null",
    "state": "text",
    "amount": "map null",
    "currency": "map null",
    "conversion_probability": "number null",
    "party": "map null",
    "employee": "map null",
    "start_date": "map null",
    "end_date": "map null",
    "lost_reason": "text null",
}
_INVOICE = {
    **_EVERY,
    "number": "text null",
    "type": "text",
    "state": "text",
    "party": "map null",
    "currency": "map null",
    "total_amount": "map null",
    "tax_amount": "map null",
    "amount_to_pay": "map null",
    "invoice_date": "map null",
    "lines_to_pay": "list",
    "reconciled": "map null",
}
_PAYMENT = {
    **_EVERY,
    "number": "text null",
    "date": "map",
    "description": "text null",
    "company": "map",
    "lines": "list",
}
FEEDS = (
    Feed(
        name=mapping.PARTIES,
        types=("sales.account", "sales.person"),
        writes=("sales.account", "sales.person"),
        expects=_PARTY,
    ),
    Feed(name=mapping.OPPORTUNITIES, types=("sales.deal",), writes=("sales.deal",), expects=_OPPORTUNITY),
    Feed(name=mapping.INVOICES, types=("finance.invoice",), deletes=False, expects=_INVOICE),
    Feed(name=mapping.PAYMENTS, types=("finance.payment",), expects=_PAYMENT),
)
_TYPES = {feed.name: feed.types for feed in FEEDS}


def begin(settings: dict[str, str], leave: Leave) -> AbstractAsyncContextManager[Session]:
    """Open a session; its retries are spread by a generator that is seeded with who speaks to whom."""
    dice = Random(f"{settings['url']} {settings['database']} {settings.get('user')}")
    return session(settings, dice=dice, leave=leave)


def normalise(feed: str, raw: Raw) -> Iterable[Observation]:
    """Return what a row says of our records."""
    return observations("tryton", raw, mapping.words(feed, raw.body))


def express(feed: str, change: Change) -> dict[str, Json]:
    """Return what a change means in Tryton, by path; nothing for feeds that are only read."""
    if change.type not in _TYPES.get(feed, ()) or feed in (mapping.INVOICES, mapping.PAYMENTS):
        return {}
    return mapping.express(change.type, change.fields, links=change.links, new=change.external_id is None)


CONNECTOR = Connector(
    name="tryton",
    title="Tryton",
    about="Companies, people, opportunities, customer invoices and payments of a Tryton 8.2 server.",
    proven="Run against a real Tryton 8.2.1 server, both ways, in every test run.",
    feeds=FEEDS,
    settings=(
        Setting(name="url", about="Address of the server, such as https://tryton.example."),
        Setting(name="database", about="Name of the database on that server."),
        Setting(name="key", about="Key of a user application for the REST API; opens reading.", secret=True),
        Setting(name="user", about="User that writes; best one made for isthmus alone.", default=""),
        Setting(
            name="password", about="Password of that user; without it nothing is written.", secret=True, default=""
        ),
        Setting(name="page_rows", about="Records per request.", default="500"),
        Setting(name="overlap_s", about="Seconds each run goes back, for transactions that ended late.", default="60"),
    ),
    begin=begin,
    normalise=normalise,
    express=express,
    writable=mapping.WRITABLE,
    together=mapping.TOGETHER,
    allowances=(Rate(count=20, seconds=1),),
    cannot={
        "rows_come_oldest_first": "A part of a record has a time of its own, by which its record comes once more.",
    },
)
