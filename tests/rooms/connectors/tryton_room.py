"""Sessions with a real Tryton, and what it says when it is asked beside the connector.

python -m tests.rooms.connectors.tryton_room        records the fixtures of the connector anew
"""

import asyncio
import json
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast
from uuid import UUID

from isthmus.app.counterparts.tryton import TrytonServer, tryton
from isthmus.app.counterparts.tryton_rpc import TrytonLogin
from isthmus.connectors import tryton as connector
from isthmus.connectors.tryton import CONNECTOR
from isthmus.kernel.marks import Json
from isthmus.sync.connector import Change, Page, Raw, Session

PARTIES, OPPORTUNITIES, INVOICES = "party.party", "sale.opportunity", "account.invoice"
FIXTURES = Path(connector.__file__).parent / "fixtures"
RECORD = UUID(int=1)


def opened(server: TrytonServer, **settings: str) -> AbstractAsyncContextManager[Session]:
    """Open a session as a person would connect it; without overlap unless one is given."""
    given = {"url": server.url, "database": server.database, "key": server.key}
    given |= {"user": server.user, "password": server.password, "overlap_s": "0"}
    return CONNECTOR.open(given | settings)


async def pages(session: Session, feed: str, cursor: str | None = None) -> list[Page]:
    """Read a feed to its end."""
    return [page async for page in session.read(feed, cursor=cursor)]


async def rows(session: Session, feed: str, cursor: str | None = None) -> list[Raw]:
    """Read the rows of a feed."""
    return [row for page in await pages(session, feed, cursor) for row in page.rows]


class Reader:
    """Reads a feed run by run; each run goes back to the last instant, and what was read there before is left out."""

    def __init__(self, session: Session, feed: str) -> None:
        """Begin before everything."""
        self.session, self.feed = session, feed
        self.cursor: str | None = None
        self.last: list[Page] = []
        self._known: set[tuple[str, datetime | None]] = set()

    async def news(self) -> list[Raw]:
        """Return what this run brings that no run brought before."""
        self.last = await pages(self.session, self.feed, self.cursor)
        self.cursor = self.last[-1].cursor
        fresh = [row for page in self.last for row in page.rows if (row.external_id, row.at) not in self._known]
        self._known |= {(row.external_id, row.at) for row in fresh}
        return fresh


async def ids(session: Session, feed: str) -> set[str]:
    """Return every id of a feed."""
    return {each async for some in session.ids(feed) for each in some}


def change(
    kind: str,
    fields: dict[str, Json] | None = None,
    *,
    of: str | None = None,
    version: str | None = None,
    links: dict[str, str] | None = None,
    deleted: bool = False,
) -> Change:
    """Return a change of a record, or a new one."""
    return Change(
        record_id=RECORD,
        type=kind,
        fields=fields or {},
        links=links or {},
        external_id=of,
        version=version,
        deleted=deleted,
    )


def party(login: TrytonLogin, name: str, **more: Json) -> str:
    """Make a party in Tryton itself and return its id."""
    return str(login.create(PARTIES, {"name": name, **more})[0])


def opportunity(login: TrytonLogin, name: str, **more: Json) -> str:
    """Make an opportunity in Tryton itself, of its first customer, and return its id."""
    customer = login.find(PARTIES, ["name", "=", "Harbour Lantern Freight"])[0]
    values: dict[str, Json] = {"description": name, "party": customer, **more}
    return str(login.create(OPPORTUNITIES, values)[0])


async def recorded(session: Session) -> dict[str, list[dict[str, Json]]]:
    """Return the rows of every feed as they are sent."""
    return {feed.name: [row.body for row in await rows(session, feed.name)] for feed in CONNECTOR.feeds}


def fixture(feed: str) -> list[dict[str, Json]]:
    """Return the recorded rows of a feed."""
    return cast("list[dict[str, Json]]", json.loads((FIXTURES / f"{feed}.json").read_text("utf-8")))


async def _record() -> None:
    with TemporaryDirectory() as home, tryton(Path(home), report=print) as server:
        async with opened(server) as session:
            for feed, bodies in (await recorded(session)).items():
                written = json.dumps(bodies, indent=1, ensure_ascii=False, sort_keys=True)
                (FIXTURES / f"{feed}.json").write_text(f"{written}\n", "utf-8")


if __name__ == "__main__":
    asyncio.run(_record())
