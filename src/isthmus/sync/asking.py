"""Asking for records that a message only names: one session for all messages that are worked on together.

The system is asked only when a message names something, and within its allowances like every run.
"""

from collections.abc import Iterable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from isthmus.sync.connections import Connection
from isthmus.sync.connector import Connector, ConnectorError, Fetching, Raw, Session
from isthmus.sync.pull import Work, in_a_known_form
from isthmus.sync.runs import Engine, Progress


class Asking:
    """A session that is opened when it is needed first; `async with` it, so that it is closed."""

    def __init__(
        self, engine: Engine, workspace: int, connection: Connection, connector: Connector, settings: dict[str, str]
    ) -> None:
        """Nothing is opened yet."""
        self._work = Work(
            engine=engine,
            workspace=workspace,
            connection=connection,
            connector=connector,
            settings=settings,
            progress=Progress(id=connection.id, kind="pull"),
        )
        self._open = AsyncExitStack()
        self._session: Session | None = None

    async def __aenter__(self) -> Self:
        """Begin."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the session, if there is one."""
        await self._open.__aexit__(kind, error, trace)

    async def answered(self, told: Iterable[tuple[str, Raw | str]]) -> list[tuple[str, Raw]]:
        """Return rows by feed, with those in the place of ids that the system has under them; raises ConnectorError.

        What is not there is left out: reading tells what became of it.
        """
        found: list[tuple[str, Raw]] = []
        wanted: dict[str, dict[str, None]] = {}
        for feed, each in told:
            if isinstance(each, Raw):
                found.append((feed, each))
            else:
                wanted.setdefault(feed, {})[each] = None
        for feed, ids in wanted.items():
            session = await self._opened()
            if not isinstance(session, Fetching):
                raise ConnectorError("The system cannot be asked for single records.", fix="Report this.")
            with in_a_known_form(feed):
                found += [(feed, raw) for raw in await session.fetch(feed, list(ids))]
        return found

    async def _opened(self) -> Session:
        if self._session is None:
            self._session = await self._open.enter_async_context(self._work.session())
        return self._session
