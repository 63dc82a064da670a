"""Messages that a workflow has a connected tool send to leads: how often a lead was reached, and whether it may be."""

from datetime import datetime, timedelta
from typing import LiteralString
from uuid import UUID

from isthmus.analytics import Catalog, Metric
from isthmus.store.database import Transaction
from isthmus.store.records import Stored
from isthmus.sync import messages
from isthmus.sync.ingest import Store
from isthmus.sync.messages import CAP_DAYS, Addressee, Reached

ACTIVITY = "sales.activity"
_REACHED: LiteralString = """
select count(*) filter (where kind = 'sent' and at > %(since)s and at <= %(now)s),
       max(at) filter (where kind in ('unsubscribed', 'bounced'))
from "marketing.touch" where lead_id = %(lead)s or person_id = %(person)s
"""
_WRITTEN: LiteralString = """
select count(*) from "sales.activity"
where (lead_id = %(lead)s or person_id = %(person)s) and kind = 'email' and outbound
  and at > %(since)s and at <= %(now)s
"""


async def reached(tx: Transaction, catalog: Catalog, *, lead: UUID, person: UUID | None) -> Reached:
    """Count the campaign touches and the messages of our own that reached a lead, or the person it is."""
    now = tx.scope.now
    given = {"lead": lead, "person": person, "now": now, "since": now - timedelta(days=CAP_DAYS)}
    (touched,) = await catalog.rows(tx, REACHED, _REACHED, given=given)
    (written,) = await catalog.rows(tx, REACHED, _WRITTEN, given=given)
    times = sum(each for each in (touched[0], written[0]) if isinstance(each, int))
    return Reached(times=times, turned_away_at=touched[1] if isinstance(touched[1], datetime) else None)


REACHED = Metric(
    name="sales.reached",
    reads={
        "marketing.touch": ("lead_id", "person_id", "kind", "at"),
        "sales.activity": ("lead_id", "person_id", "kind", "outbound", "at"),
    },
    compute=reached,
    permission="sales:read",
    meaning="How often a lead was written to in the last days, and when it turned away.",
)


async def obstacle(tx: Transaction, store: Store, lead: Stored, *, purpose: str) -> str | None:
    """Return why a lead may not be written to now; None when it may: consent, suppression, frequency."""
    person, email = lead.values.get("person_id"), lead.values.get("email")
    own = UUID(person) if isinstance(person, str) else None
    catalog = Catalog(store.schema, metrics=(REACHED,))
    return await messages.obstacle(
        tx,
        store,
        Addressee(person=own, email=email if isinstance(email, str) else None),
        purpose=purpose,
        reached=lambda: reached(tx, catalog, lead=lead.id, person=own),
    )
