"""Reactions: what a domain does when an event happened, wherever it came from, once in effect.

A domain's `reactions.py` declares them, and names the events of others without importing them:

    REACTIONS = (Reaction(on="isthmus.*.subscription.changed.v1", do=grant_seats),)

`do` gets a context that is open on the transaction of the offset; what it writes through it commits with the offset.
"""

from collections.abc import Awaitable, Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import lru_cache
from typing import Generic, TypeVar

from isthmus.store.database import Transaction
from isthmus.stream.consume import Consumer, caused_by
from isthmus.stream.event import Event

Context = TypeVar("Context")


@dataclass(frozen=True, kw_only=True)
class Reaction(Generic[Context]):
    """An event type and what to do. In `on`, `*` stands for one segment between dots.

    `among` tells, of many events that are meant, the numbers of those that there is anything to do for, by a look at
    how records are now; `do` is not asked for the others.
    """

    on: str
    do: Callable[[Context, Event], Awaitable[None]]
    among: Callable[[Context, Sequence[Event]], Awaitable[AbstractSet[int]]] | None = None

    def means(self, event_type: str) -> bool:
        """Tell whether an event of that type is meant."""
        return _means(self.on, event_type)


@lru_cache(maxsize=4096)
def _means(on: str, event_type: str) -> bool:
    wanted, given = on.split("."), event_type.split(".")
    return len(wanted) == len(given) and all(each in ("*", own) for each, own in zip(wanted, given, strict=True))


def reacting(
    name: str, reactions: Sequence[Reaction[Context]], *, context: Callable[[Transaction], Context]
) -> Consumer:
    """Return a consumer that runs the reactions to each event in the order of their declaration.

    When one of them fails, none of them has happened for that event, and it is parked.
    """

    async def handle(tx: Transaction, event: Event) -> None:
        for reaction in reactions:
            if reaction.means(event.type):
                await reaction.do(context(tx), event)

    async def together(tx: Transaction, events: Sequence[Event]) -> None:
        meant = [await _meant(reaction, context(tx), events) for reaction in reactions]
        for event in events:
            for reaction, seqs in zip(reactions, meant, strict=True):
                if event.seq in seqs:
                    await reaction.do(context(caused_by(tx, event)), event)

    # A type with a star may be any: then every event is read.
    types = {each.on for each in reactions}
    named = not any("*" in each for each in types)
    return Consumer(name, handle, types=tuple(sorted(types)) if named else (), together=together)


async def _meant(reaction: Reaction[Context], context: Context, events: Sequence[Event]) -> AbstractSet[int]:
    """Return the numbers of the events that a reaction is to be done for."""
    meant = [each for each in events if reaction.means(each.type)]
    if reaction.among is None or not meant:
        return {each.seq for each in meant}
    return await reaction.among(context, meant)
