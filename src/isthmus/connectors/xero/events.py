"""What Xero's calls tell: which contacts, invoices, credit notes and payments changed; these are then asked for.

A call may be about every organisation that the app is connected to: what another one holds is not found in ours.
https://developer.xero.com/documentation/guides/webhooks/overview/
"""

from collections.abc import Iterable

import msgspec
from msgspec import Struct

from isthmus.connectors.xero.wire import CONTACTS, CREDIT_NOTES, INVOICES, PAYMENTS
from isthmus.sync.connector import Raw

FEEDS = {"CONTACT": CONTACTS, "INVOICE": INVOICES, "CREDITNOTE": CREDIT_NOTES, "PAYMENT": PAYMENTS}


class Event(Struct, frozen=True, rename="camel"):
    """One change."""

    resource_id: str
    event_category: str


class Told(Struct, frozen=True):
    """A call; one that only asks whether we check signatures holds no events."""

    events: list[Event]


def read(body: bytes) -> Iterable[tuple[str, Raw | str]]:
    """Yield the records that a call tells of, each once; raises for what is no call."""
    told = msgspec.json.decode(body, type=Told)
    found = [(FEEDS.get(each.event_category, ""), each.resource_id) for each in told.events]
    yield from dict.fromkeys((feed, own) for feed, own in found if feed)
