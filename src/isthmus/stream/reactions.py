"""Reactions: what a domain does when an event happened, wherever it came from, once in effect.

A domain's `reactions.py` declares them, and names the events of others without importing them:

    REACTIONS = (Reaction(on="isthmus.*.subscription.changed.v1", do=grant_seats),)

`do` gets a context that is open on the transaction of the offset; what it writes through it commits with the offset.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from isthmus.store.database import Transaction
from isthmus.stream.consume import Consumer
from isthmus.stream.event import Event

Context = TypeVar("Context")


@dataclass(frozen=True, kw_only=True)
class Reaction(Generic[Context]):
    """An event type and what to do. In `on`, `*` stands for one segment between dots."""

    on: str
    do: Callable[[Context, Event], Awaitable[None]]

    def means(self, event_type: str) -> bool:
        """Tell whether an event of that type is meant."""
        wanted, given = self.on.split("."), event_type.split(".")
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

    return Consumer(name, handle)
