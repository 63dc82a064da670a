"""Messages that a connected tool delivers: which connection does, and whether somebody may be written to now.

A message is a record that one connection makes at its vendor. Who may be written to is asked at the moment of sending:
consent as record types declare it (`Agreement`), who turned away since, and how often they were reached.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from msgspec import Struct

from isthmus.kernel.marks import Agreement, Json, RecordType
from isthmus.store.database import Transaction
from isthmus.store.records import page
from isthmus.store.schema import index_column
from isthmus.sync.connections import connections
from isthmus.sync.connector import Connector
from isthmus.sync.ingest import Store
from isthmus.sync.intake import aliases

WAY = "email"
CAP_MESSAGES, CAP_DAYS = 3, 7
WORDS_MAX = 50


class Reached(Struct, frozen=True, kw_only=True):
    """How often somebody was written to within the days of the cap, and when they last turned away."""

    times: int = 0
    turned_away_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Addressee:
    """Who is written to: the record of the person, if known, and the address."""

    person: UUID | None
    email: str | None


async def obstacle(
    tx: Transaction,
    store: Store,
    to: Addressee,
    *,
    purpose: str,
    reached: Callable[[], Awaitable[Reached]],
) -> str | None:
    """Return why somebody may not be written to now; None when they may: consent, suppression, frequency."""
    declared = _declared(store)
    said = await _said(tx, store, to, purpose=purpose)
    now = tx.scope.now
    if any(each.get(declared.word) == declared.withdrawn for each in said):
        return f"Consent to {purpose} was withdrawn."
    given = [
        each for each in said if each.get(declared.word) == declared.given and not _over(each.get(declared.until), now)
    ]
    if not given:
        return f"There is no consent to {purpose} by {WAY}."
    found = await reached()
    away = found.turned_away_at
    if away is not None and not any((_moment(each.get("given_at")) or away) > away for each in given):
        return f"The address is suppressed: it unsubscribed or bounced on {away:%Y-%m-%d}."
    if found.times >= CAP_MESSAGES:
        return f"It was reached {found.times} times in {CAP_DAYS} days; at most {CAP_MESSAGES} are allowed."
    return None


async def deliverers(tx: Transaction, connectors: Mapping[str, Connector], *, message: str) -> list[str]:
    """Return the connections that deliver messages: they push, and make new records of the type `message`."""
    found: list[str] = []
    for each in await connections(tx):
        connector = connectors.get(each.connector)
        writes = connector is not None and any(message in feed.writes for feed in connector.feeds_of(each.settings))
        if writes and each.options.push and message in each.options.create:
            found.append(each.name)
    return sorted(found)


def chosen(there: Sequence[str], *, through: str, message: str) -> tuple[str | None, str]:
    """Return the connection that delivers, or None and why none does: two would send everything twice."""
    if not there:
        return None, f"No connection delivers messages: none pushes and makes {message}."
    if len(there) > 1:
        return None, f"{', '.join(there)} would each deliver it. Take {message} out of `create` of all but one."
    if through and through != there[0]:
        return None, f"{through} does not deliver messages; {there[0]} does."
    return there[0], ""


def _agreeing(store: Store) -> RecordType:
    """Return the type whose records say what somebody agreed to."""
    return next(each for each in store.schema if each.agreement is not None)


def _declared(store: Store) -> Agreement:
    declared = _agreeing(store).agreement
    assert declared is not None
    return declared


async def _said(tx: Transaction, store: Store, to: Addressee, *, purpose: str) -> list[Mapping[str, Json]]:
    """Return what the person, or whoever has the address, said on a purpose by e-mail or by every way."""
    agreeing, declared = _agreeing(store), _declared(store)
    ways, (handle, *_) = (WAY, declared.every), agreeing.handles
    whose = agreeing.field(declared.whose)
    preparer = store.preparer(agreeing.name, tx.scope.workspace)
    wheres: list[dict[str, object]] = []
    if to.person is not None and whose is not None and whose.to is not None:
        people = await aliases(tx, whose.to, to.person)
        wheres.extend({declared.whose: each, declared.purpose: purpose} for each in people)
    if to.email is not None:
        keys = [f"{to.email}|{purpose}|{way}" for way in ways]
        wheres.extend({index_column(handle): preparer.index(handle.name, key)} for key in keys)
    found: dict[UUID, Mapping[str, Json]] = {}
    for where in wheres:
        for each in await page(tx, store.vault, agreeing, limit=WORDS_MAX, where=where):
            if each.values.get(declared.way) in ways:
                found[each.id] = each.values
    return list(found.values())


def _over(until: Json, now: datetime) -> bool:
    at = _moment(until)
    return at is not None and at <= now


def _moment(value: Json) -> datetime | None:
    return datetime.fromisoformat(value) if isinstance(value, str) else None
