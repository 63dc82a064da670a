"""An open connection to a database of any kind: statements go in a thread, errors come out in our words."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from threading import Lock
from typing import Protocol, TypeAlias, TypeVar

from isthmus.connectors.sql import mariadb, postgresql, sqlite
from isthmus.connectors.sql.dialects import Dialect
from isthmus.connectors.sql.places import Where, reached
from isthmus.connectors.sql.values import Plain
from isthmus.sync.connector import ConnectorError, Leave

T = TypeVar("T")
Row: TypeAlias = tuple[object, ...]


class Driven(Protocol):
    """What the drivers have in common."""

    def run(self, query: str, given: Sequence[Plain]) -> tuple[list[Row], int]:
        """Run a statement; returns its rows and how many it concerned."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


class Door:
    """One connection: one statement at a time, each by leave. `given` are bound by the driver, never written in."""

    def __init__(self, dialect: Dialect, driven: Driven, leave: Leave) -> None:
        """Speak over a connection that is open."""
        self.dialect, self.driven = dialect, driven
        self._leave, self._lock = leave, Lock()

    async def rows(self, query: str, given: Sequence[Plain] = ()) -> list[Row]:
        """Return the rows of a statement."""
        await self._leave()
        return (await asyncio.to_thread(self._run, query, given))[0]

    async def count(self, query: str, given: Sequence[Plain] = ()) -> int:
        """Run a statement; returns how many rows it concerned."""
        await self._leave()
        return (await asyncio.to_thread(self._run, query, given))[1]

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[None]:
        """Do something wholly or not at all."""
        await self._leave()
        await asyncio.to_thread(self._run, self.dialect.begin, ())
        try:
            yield
        except BaseException:
            await asyncio.to_thread(self._rolled_back)
            raise
        await asyncio.to_thread(self._run, "commit", ())

    async def close(self) -> None:
        """Close it, when the statement that goes on has ended."""
        await asyncio.to_thread(self._locked, self.driven.close)

    def _run(self, query: str, given: Sequence[Plain]) -> tuple[list[Row], int]:
        return self._locked(lambda: self.driven.run(query, given))

    def _rolled_back(self) -> None:
        try:
            self._run("rollback", ())
        except ConnectorError:
            # A connection that was lost has rolled back by itself.
            return

    def _locked(self, act: Callable[[], T]) -> T:
        with self._lock:
            return act()


async def opened(place: Where, *, password: str, authority: str, leave: Leave, writes: bool) -> Door:
    """Connect; raises KeyRefused and ConnectorError. `authority` is a certificate in PEM that servers are tried by."""
    await leave()
    if place.path is not None:
        return Door(place.dialect, await asyncio.to_thread(sqlite.connected, place.path, writes=writes), leave)
    address = await reached(place)
    connect = postgresql.connected if place.dialect.name == "postgresql" else mariadb.connected
    driven = await asyncio.to_thread(connect, place, address=address, password=password, authority=authority)
    return Door(place.dialect, driven, leave)
