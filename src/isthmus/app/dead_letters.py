"""Dead letters: events whose effect failed. Tried again by the consumer that they wait for, or given up."""

from datetime import datetime
from uuid import UUID

from msgspec import Struct

from isthmus.app.arriving import arrivals, arriving
from isthmus.app.reacting import consumers
from isthmus.app.topics import topics
from isthmus.audit.trace import trace
from isthmus.kernel.errors import Conflicting
from isthmus.kernel.ids import text_of
from isthmus.store.database import Transaction
from isthmus.stream.consume import Consumer, effect
from isthmus.stream.event import Event
from isthmus.stream.parked import Parked, discard, parked_one, retry_parked
from isthmus.stream.webhooks.deliveries import delivering
from isthmus.stream.webhooks.endpoints import endpoints
from isthmus.sync.ingest import Store

LETTER_PREFIX = "dead"


class ConsumerGone(Conflicting):
    """Whoever the event waits for is no more."""

    code, title = "consumer-gone", "The consumer is gone"


class Retried(Struct, frozen=True, kw_only=True):
    """How many of a record's events had their effect, and why the next one failed again, if it did."""

    done: int
    reason: str | None = None


class LetterView(Struct, frozen=True, kw_only=True):
    """An event that waits for a consumer: why, how often it was tried, since when, and when last."""

    id: str
    consumer: str
    sequence: int
    reason: str
    attempts: int
    parked_at: datetime
    tried_at: datetime


def letter_view(found: Parked) -> LetterView:
    """Return a dead letter as it is shown."""
    return LetterView(
        id=text_of(LETTER_PREFIX, found.id),
        consumer=found.consumer,
        sequence=found.seq,
        reason=found.reason,
        attempts=found.attempts,
        parked_at=found.parked_at,
        tried_at=found.tried_at,
    )


async def retry_letter(tx: Transaction, store: Store, own: UUID) -> Retried:
    """Try what waits for the record of a dead letter, in order, until one fails; raises NothingParked, ConsumerGone."""
    found = await parked_one(tx, own)
    consumer = await _consumer(tx, store, found.consumer)
    reason: str | None = None

    async def again(event: Event) -> str | None:
        nonlocal reason
        reason = await effect(tx, consumer.handle, event)
        return reason

    done = await retry_parked(tx, consumer.name, found.record_id, effect=again)
    await _trace(tx, "retried", found, {"done": done})
    return Retried(done=done, reason=reason)


async def discard_letter(tx: Transaction, own: UUID) -> None:
    """Give a dead letter up; raises NothingParked."""
    found = await parked_one(tx, own)
    await discard(tx, found)
    await _trace(tx, "discarded", found, {"reason": found.reason})


async def _consumer(tx: Transaction, store: Store, name: str) -> Consumer:
    found = next((each for each in (*consumers(store), *arriving(arrivals(store))) if each.name == name), None)
    if found is not None:
        return found
    for endpoint in await endpoints(tx):
        if endpoint.consumer == name:
            return delivering(endpoint, topics().chosen(endpoint.chosen, areas=endpoint.areas))
    raise ConsumerGone(f"There is no consumer {name!r} any more.", fix="Discard the dead letter.")


async def _trace(tx: Transaction, what: str, found: Parked, details: dict[str, object]) -> None:
    resource = f"dead-letter:{text_of(LETTER_PREFIX, found.id)}"
    told = {"consumer": found.consumer, "sequence": found.seq, **details}
    await trace(tx, action=f"dead-letter.{what}", resource=resource, record_id=found.record_id, details=told)
