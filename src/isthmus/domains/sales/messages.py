"""Messages that a workflow has a connected tool send: whether one may go now, and by which connection."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import LiteralString
from uuid import UUID

from msgspec import Struct

from isthmus.analytics import Catalog, Metric
from isthmus.kernel.marks import Json
from isthmus.store.database import Transaction
from isthmus.store.records import Stored, page
from isthmus.sync.connections import connections
from isthmus.sync.connector import Connector
from isthmus.sync.ingest import Store

ACTIVITY, CONSENT = "sales.activity", "marketing.consent"
WAY, EVERY_WAY = "email", "any"
CAP_TOUCHES, CAP_DAYS = 3, 7
CONSENTS_MAX = 50
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


class Reached(Struct, frozen=True, kw_only=True):
    """How often somebody was written to within the days of the cap, and when they last turned away."""

    times: int = 0
    turned_away_at: datetime | None = None


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
    person = lead.values.get("person_id")
    own = UUID(person) if isinstance(person, str) else None
    said = await _consents(tx, store, lead, person=own, purpose=purpose)
    now = tx.scope.now
    if any(each.get("state") == "withdrawn" for each in said):
        return f"Consent to {purpose} was withdrawn."
    given = [each for each in said if each.get("state") == "granted" and not _over(each, now)]
    if not given:
        return f"There is no consent to {purpose} by {WAY}."
    found = await reached(tx, Catalog(store.schema, metrics=(REACHED,)), lead=lead.id, person=own)
    away = found.turned_away_at
    if away is not None and not any((_moment(each.get("given_at")) or away) > away for each in given):
        return f"The address is suppressed: it unsubscribed or bounced on {away:%Y-%m-%d}."
    if found.times >= CAP_TOUCHES:
        return f"It was reached {found.times} times in {CAP_DAYS} days; at most {CAP_TOUCHES} are allowed."
    return None


async def _consents(
    tx: Transaction, store: Store, lead: Stored, *, person: UUID | None, purpose: str
) -> list[Mapping[str, Json]]:
    """Return what the person, or whoever has the address, said on a purpose by e-mail or by every way."""
    consent_type, ways = store.schema[CONSENT], (WAY, EVERY_WAY)
    preparer = store.preparer(CONSENT, tx.scope.workspace)
    wheres: list[dict[str, object]] = [] if person is None else [{"person_id": person, "purpose": purpose}]
    email = lead.values.get("email")
    keys = [f"{email}|{purpose}|{way}" for way in ways] if isinstance(email, str) else []
    wheres.extend({"key_index": preparer.index("key", key)} for key in keys)
    found: dict[UUID, Mapping[str, Json]] = {}
    for where in wheres:
        for each in await page(tx, store.vault, consent_type, limit=CONSENTS_MAX, where=where):
            if each.values.get("channel") in ways:
                found[each.id] = each.values
    return list(found.values())


async def deliverers(tx: Transaction, connectors: Mapping[str, Connector]) -> list[str]:
    """Return the connections that deliver messages: they push, and make new activities."""
    found: list[str] = []
    for each in await connections(tx):
        connector = connectors.get(each.connector)
        writes = connector is not None and any(ACTIVITY in feed.writes for feed in connector.feeds_of(each.settings))
        if writes and each.options.push and ACTIVITY in each.options.create:
            found.append(each.name)
    return sorted(found)


def chosen(there: Sequence[str], *, through: str) -> tuple[str | None, str]:
    """Return the connection that delivers, or None and why none does: two would send everything twice."""
    if not there:
        return None, f"No connection delivers messages: none pushes and makes {ACTIVITY}."
    if len(there) > 1:
        return None, f"{', '.join(there)} would each deliver it. Take {ACTIVITY} out of `create` of all but one."
    if through and through != there[0]:
        return None, f"{through} does not deliver messages; {there[0]} does."
    return there[0], ""


def _over(consent: Mapping[str, Json], now: datetime) -> bool:
    until = _moment(consent.get("expires_at"))
    return until is not None and until <= now


def _moment(value: Json) -> datetime | None:
    return datetime.fromisoformat(value) if isinstance(value, str) else None
