"""What Stripe's events tell: which object of a feed to look at, and, when Stripe calls us, how it stood then.

Events come late, twice and in any order. Reading asks for the object itself, so the order does not matter there; a call
carries the object as it was, with the time of the event, and the engine puts each word in the place of its time.
"""

from collections.abc import Iterable
from typing import cast

import msgspec

from isthmus.connectors.stripe.mapping import (
    CHARGES,
    CREDIT_NOTES,
    CUSTOMERS,
    INVOICES,
    PARTIAL,
    REFUNDS,
    SUBSCRIPTIONS,
    version,
)
from isthmus.connectors.stripe.wire import instant, own_id
from isthmus.kernel.marks import Json
from isthmus.kernel.words import at_path
from isthmus.sync.connector import Raw

FEEDS = {
    "customer": CUSTOMERS,
    "subscription": SUBSCRIPTIONS,
    "invoice": INVOICES,
    "credit_note": CREDIT_NOTES,
    "charge": CHARGES,
    "refund": REFUNDS,
}
# Objects of other kinds that tell of a change of one of a feed, and which of their fields names it.
_TELLING = {
    (CUSTOMERS, "tax_id"): "customer",
    (CHARGES, "refund"): "charge",
    (CHARGES, "dispute"): "charge",
    (CHARGES, "payment_intent"): "latest_charge",
    (INVOICES, "credit_note"): "invoice",
    (INVOICES, "payment_intent"): "invoice",
}
_DELETED = ("customer.deleted", "invoice.deleted")


def touched(feed: str, event: dict[str, Json]) -> str | None:
    """Return the id of the object of a feed that an event tells of; nothing when it tells of none."""
    told = at_path(event, "data", "object")
    kind = at_path(told, "object")
    if not isinstance(kind, str):
        return None
    if FEEDS.get(kind) == feed:
        return own_id(told)
    name = _TELLING.get((feed, kind))
    return own_id(at_path(told, name)) if name else None


def read(body: bytes) -> Iterable[tuple[str, Raw]]:
    """Return what a call of Stripe's tells; nothing for events of what is not read. Raises for what is no event."""
    event = msgspec.json.decode(body, type=dict[str, Json])
    kind = event["type"]
    told = at_path(event, "data", "object")
    feed = FEEDS.get(str(at_path(told, "object")))
    if feed is None:
        return []
    row = dict(cast("dict[str, Json]", told))
    if feed == SUBSCRIPTIONS and kind != "customer.subscription.created":
        row[PARTIAL] = True
    at = instant(event.get("created"))
    deleted = kind in _DELETED
    return [(feed, Raw(external_id=str(row["id"]), body=row, at=at, version=version(row), deleted=deleted))]
