"""What the console's page of work needs of the program."""

from isthmus.app.dead_letters import finder
from isthmus.app.scheduling.kinds import kinds
from isthmus.console.work.workings import KindWords, Workings
from isthmus.gateway import Services
from isthmus.store.database import Transaction
from isthmus.stream.consume import Consumer
from isthmus.sync.ingest import Store


def workings_of(services: Services) -> Workings:
    """Return the kinds of jobs, and what finds who takes an event again; both are looked up when they are needed."""

    async def find(tx: Transaction, name: str) -> Consumer | None:
        return await finder(services.of(Store))(tx, name)

    def known() -> dict[str, KindWords]:
        return {name: KindWords(about=each.about, permission=each.permission) for name, each in kinds().items()}

    return Workings(kinds=known, find=find)
