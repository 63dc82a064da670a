"""Dead letters: events whose effect failed, and messages that could not be landed; tried again, or given up.

Who takes an event again is an argument: the program knows its consumers.
"""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import TypeAlias
from uuid import UUID

from msgspec import Struct

from isthmus.audit.trace import trace
from isthmus.kernel.errors import Conflicting
from isthmus.kernel.ids import InvalidId, text_of, uuid_of
from isthmus.store.database import Transaction
from isthmus.stream.consume import Consumer, effect
from isthmus.stream.event import Event
from isthmus.stream.parked import NothingParked, Parked, discard, parked, parked_one, retry_parked
from isthmus.sync.inbound import Stuck, stuck, try_again
from isthmus.sync.inbound import discard as discard_message
from isthmus.vault import Vault

LETTER_PREFIX, MESSAGE_PREFIX = "dead", "whin"
Finder: TypeAlias = Callable[[Transaction, str], Awaitable[Consumer | None]]
"""Returns the consumer of a name, None when there is none any more."""
_FIX = "List them: isthmus events dlq"


class ConsumerGone(Conflicting):
    """Whoever the event waits for is no more."""

    code, title = "consumer-gone", "The consumer is gone"


class Retried(Struct, frozen=True, kw_only=True):
    """How many of a record's events had their effect, and why the next one failed again, if it did.

    A message of a connected system is `queued`: it is tried again in a moment.
    """

    done: int
    queued: int = 0
    reason: str | None = None


class LetterView(Struct, frozen=True, kw_only=True):
    """An event that waits for a consumer, or a message of a connected system that could not be landed.

    It says why, how often it was tried, since when it waits, and when it was tried last.
    """

    id: str
    consumer: str
    sequence: int | None
    reason: str
    attempts: int
    parked_at: datetime
    tried_at: datetime


async def letters(tx: Transaction, *, consumer: str | None, after: str | None, limit: int) -> list[LetterView]:
    """Return dead letters from the one after `after`: events by consumer in the order of the log, then messages."""
    found: list[LetterView] = []
    last = None if after is None else _read(after)
    if last is None or last[0] == LETTER_PREFIX:
        own = None if last is None else last[1]
        found += [_of_event(each) for each in await parked(tx, consumer=consumer, after=own, limit=limit)]
    if consumer is None and len(found) < limit:
        own = last[1] if last is not None and last[0] == MESSAGE_PREFIX else None
        found += [_of_message(each) for each in await stuck(tx, after=own, limit=limit - len(found))]
    return found


async def retry_letter(tx: Transaction, letter: str, *, find: Finder) -> Retried:
    """Try again what waits for the record of a dead letter, in order, until one fails; a message is queued.

    Raises NothingParked, MessageMissing and ConsumerGone.
    """
    prefix, own = _read(letter)
    if prefix == MESSAGE_PREFIX:
        await try_again(tx, own)
        await _trace(tx, "retried", letter, None, {})
        return Retried(done=0, queued=1)
    found = await parked_one(tx, own)
    consumer = await find(tx, found.consumer)
    if consumer is None:
        raise ConsumerGone(f"There is no consumer {found.consumer!r} any more.", fix="Discard the dead letter.")
    reason: str | None = None

    async def again(event: Event) -> str | None:
        nonlocal reason
        reason = await effect(tx, consumer.handle, event)
        return reason

    done = await retry_parked(tx, consumer.name, found.record_id, effect=again)
    told = {"consumer": found.consumer, "sequence": found.seq, "done": done}
    await _trace(tx, "retried", letter, found.record_id, told)
    return Retried(done=done, reason=reason)


async def discard_letter(tx: Transaction, letter: str, *, vault: Vault) -> None:
    """Give a dead letter up; raises NothingParked and MessageMissing."""
    prefix, own = _read(letter)
    if prefix == MESSAGE_PREFIX:
        await discard_message(tx, vault, own)
        return await _trace(tx, "discarded", letter, None, {})
    found = await parked_one(tx, own)
    await discard(tx, found)
    told = {"consumer": found.consumer, "sequence": found.seq, "reason": found.reason}
    return await _trace(tx, "discarded", letter, found.record_id, told)


def _read(letter: str) -> tuple[str, UUID]:
    prefix = MESSAGE_PREFIX if letter.startswith(f"{MESSAGE_PREFIX}_") else LETTER_PREFIX
    try:
        return prefix, uuid_of(prefix, letter)
    except InvalidId as error:
        raise NothingParked(error.detail, fix=_FIX) from error


def _of_event(found: Parked) -> LetterView:
    return LetterView(
        id=text_of(LETTER_PREFIX, found.id),
        consumer=found.consumer,
        sequence=found.seq,
        reason=found.reason,
        attempts=found.attempts,
        parked_at=found.parked_at,
        tried_at=found.tried_at,
    )


def _of_message(found: Stuck) -> LetterView:
    return LetterView(
        id=text_of(MESSAGE_PREFIX, found.id),
        consumer=f"inbound:{found.connection}",
        sequence=None,
        reason=found.reason,
        attempts=found.attempts,
        parked_at=found.received_at,
        tried_at=found.tried_at,
    )


async def _trace(tx: Transaction, what: str, letter: str, record: UUID | None, details: Mapping[str, object]) -> None:
    await trace(tx, action=f"dead-letter.{what}", resource=f"dead-letter:{letter}", record_id=record, details=details)
