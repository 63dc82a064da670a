"""Who takes dead letters again: every consumer that the program knows."""

from isthmus.app.arriving import arrivals, arriving
from isthmus.app.reacting import consumers
from isthmus.app.topics import topics
from isthmus.store.database import Transaction
from isthmus.stream.consume import Consumer
from isthmus.stream.webhooks.deliveries import delivering
from isthmus.stream.webhooks.endpoints import endpoints
from isthmus.sync.ingest import Store
from isthmus.sync.letters import Finder


def finder(store: Store) -> Finder:
    """Return what finds a consumer by its name: of reactions, of arriving records, and of webhooks."""

    async def find(tx: Transaction, name: str) -> Consumer | None:
        found = next((each for each in (*consumers(store), *arriving(arrivals(store))) if each.name == name), None)
        if found is not None:
            return found
        for endpoint in await endpoints(tx):
            if endpoint.consumer == name:
                types = topics().chosen(endpoint.chosen, areas=endpoint.areas)
                return delivering(endpoint, types, vault=store.vault, schema=store.schema)
        return None

    return find
