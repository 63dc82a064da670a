"""The reactions of all domains, each domain a consumer of its own."""

import pkgutil
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import cast

import isthmus.domains
from isthmus.store.database import Transaction
from isthmus.stream.consume import Consumer
from isthmus.stream.reactions import Reaction, reacting
from isthmus.sync.ingest import Store


@dataclass(frozen=True)
class Reacting:
    """What a reaction works with: the transaction that its offset commits in, and the store."""

    tx: Transaction
    store: Store


def reactions() -> dict[str, tuple[Reaction[Reacting], ...]]:
    """Return `REACTIONS` of every domain that has `reactions.py`; raises TypeError where it is no tuple of them."""
    found: dict[str, tuple[Reaction[Reacting], ...]] = {}
    for module in pkgutil.walk_packages(isthmus.domains.__path__, "isthmus.domains."):
        if not module.name.endswith(".reactions"):
            continue
        declared: object = getattr(import_module(module.name), "REACTIONS", None)
        if not isinstance(declared, tuple):
            message = f"{module.name} must define REACTIONS: tuple[Reaction, ...]"
            raise TypeError(message)
        found[module.name.split(".")[2]] = cast("tuple[Reaction[Reacting], ...]", declared)
    return found


def consumers(store: Store) -> Sequence[Consumer]:
    """Return a consumer for each domain that reacts."""

    def context(tx: Transaction) -> Reacting:
        return Reacting(tx, store)

    return [reacting(f"reactions:{domain}", each, context=context) for domain, each in reactions().items()]
