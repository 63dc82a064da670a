"""What takes new records through the steps of their domain when a system or a file brought them, batch by batch."""

from collections.abc import Sequence

from isthmus.app.discovery import catalog, connectors
from isthmus.domains.sales.arrivals import CREATED, Arrivals
from isthmus.store.database import Transaction
from isthmus.stream.consume import Consumer
from isthmus.stream.event import Event
from isthmus.sync.ingest import Store


def arrivals(store: Store) -> Arrivals:
    """Return what takes leads through the steps."""
    return Arrivals(store=store, catalog=catalog(), connectors=connectors())


def arriving(taking: Arrivals) -> Sequence[Consumer]:
    """Return the consumers; they run beside the reactions, which are not to wait behind a long import."""

    async def together(tx: Transaction, events: Sequence[Event]) -> None:
        await taking.told(tx, list(events))

    async def one(tx: Transaction, event: Event) -> None:
        await taking.told(tx, [event])

    return [Consumer("pipeline:sales", one, types=(CREATED,), together=together)]
