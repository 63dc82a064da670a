"""Messages that a playbook has a connected tool send: to whom, how often they were reached, and whether they may be."""

from datetime import datetime, timedelta
from typing import LiteralString
from uuid import UUID

from isthmus.analytics import Catalog, Metric
from isthmus.store.database import Transaction
from isthmus.store.records import Stored, find, page
from isthmus.sync import messages
from isthmus.sync.ingest import Store
from isthmus.sync.intake import aliases
from isthmus.sync.messages import CAP_DAYS, Addressee, Reached

ACTIVITY, PERSON, ACCOUNT = "sales.activity", "sales.person", "sales.account"
NOBODY = "The intervention names no person, and the account has not just one. Say `person_id`."
_REACHED: LiteralString = """
select count(*) filter (where kind = 'sent' and at > %(since)s and at <= %(now)s),
       max(at) filter (where kind in ('unsubscribed', 'bounced'))
from "marketing.touch" where person_id_now = %(person)s
"""
_WRITTEN: LiteralString = """
select count(*) from "sales.activity"
where person_id_now = %(person)s and kind = 'email' and outbound and at > %(since)s and at <= %(now)s
"""


async def reached(tx: Transaction, catalog: Catalog, *, person: UUID) -> Reached:
    """Count the campaign touches and the messages of our own that reached a person."""
    now = tx.scope.now
    given = {"person": person, "now": now, "since": now - timedelta(days=CAP_DAYS)}
    (touched,) = await catalog.rows(tx, REACHED, _REACHED, given=given)
    (written,) = await catalog.rows(tx, REACHED, _WRITTEN, given=given)
    times = sum(each for each in (touched[0], written[0]) if isinstance(each, int))
    return Reached(times=times, turned_away_at=touched[1] if isinstance(touched[1], datetime) else None)


REACHED = Metric(
    name="success.reached",
    reads={
        "marketing.touch": ("person_id", "kind", "at"),
        "sales.activity": ("person_id", "kind", "outbound", "at"),
    },
    compute=reached,
    permission="success:read",
    meaning="How often a person was written to in the last days, and when they turned away.",
)


async def addressee(tx: Transaction, store: Store, *, account: Stored, intervention: Stored | None) -> Stored | None:
    """Return whom a playbook writes to: the person of its intervention, or the only one of the account."""
    own = None if intervention is None else intervention.values.get("person_id")
    if isinstance(own, str):
        return await _living(tx, store, UUID(own))
    found: dict[UUID, Stored] = {}
    for each in await aliases(tx, ACCOUNT, account.id):
        some = await page(tx, store.vault, store.schema[PERSON], limit=2, where={"account_id": each})
        found |= {one.id: one for one in some}
    return next(iter(found.values())) if len(found) == 1 else None


async def obstacle(tx: Transaction, store: Store, person: Stored, *, purpose: str) -> str | None:
    """Return why a person may not be written to now; None when they may: consent, suppression, frequency."""
    email = person.values.get("email")
    if not isinstance(email, str):
        return "The person has no e-mail address."
    catalog = Catalog(store.schema, metrics=(REACHED,))
    return await messages.obstacle(
        tx,
        store,
        Addressee(person=person.id, email=email),
        purpose=purpose,
        reached=lambda: reached(tx, catalog, person=person.id),
    )


async def _living(tx: Transaction, store: Store, own: UUID) -> Stored | None:
    """Return a person, or the one that it was merged into; None when they are gone."""
    found = (await find(tx, store.vault, store.schema[PERSON], [own])).get(own)
    if found is not None and found.merged_into is not None:
        found = (await find(tx, store.vault, store.schema[PERSON], [found.merged_into])).get(found.merged_into)
    return None if found is None or found.deleted_at is not None else found
