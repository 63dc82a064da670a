"""Bad days between a connector and the engine, by a script: what any vendor does sooner or later, in process.

The connector itself and its counterpart stay as they are; only what a session says is bent on its way.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from random import Random

import msgspec

from isthmus.sync.connector import Change, Connector, Feed, Leave, Page, Raw, Session, Written


class Killed(BaseException):
    """Stands for `kill -9`: nothing catches it."""


@dataclass
class Bends:
    """The script. `raising` is raised before pages, one by one (None: a page comes); `hidden` ids are not told.

    `rows` changes what rows say; `ids` what the list of ids says; `killed_after_write` ends the program after a write.
    """

    raising: list[BaseException | None] = field(default_factory=list[BaseException | None])
    hidden: set[str] = field(default_factory=set[str])
    rows: Callable[[Raw], Raw] | None = None
    ids: Callable[[list[str]], list[str]] | None = None
    ids_raising: list[BaseException] = field(default_factory=list[BaseException])
    killed_after_write: bool = False
    shuffled: Random | None = None
    skew: timedelta = timedelta()
    told: list[Raw] = field(default_factory=list[Raw])
    writes: int = 0


@dataclass(frozen=True)
class BentSession:
    """A session whose words are bent."""

    inner: Session
    bends: Bends

    async def check(self) -> str:
        """Return who we are there."""
        return await self.inner.check()

    async def read(self, feed: str, *, cursor: str | None) -> AsyncIterator[Page]:
        """Yield bent pages."""
        async for page in self.inner.read(feed, cursor=cursor):
            if self.bends.raising and (due := self.bends.raising.pop(0)) is not None:
                raise due
            yield msgspec.structs.replace(page, rows=tuple(self._bent(page)))

    def _bent(self, page: Page) -> list[Raw]:
        bends = self.bends
        rows = [row for row in page.rows if row.external_id not in bends.hidden]
        if not page.more:
            rows += bends.told
        if bends.rows is not None:
            rows = [bends.rows(row) for row in rows]
        rows = [msgspec.structs.replace(row, at=row.at + bends.skew) if row.at else row for row in rows]
        if bends.shuffled is not None:
            rows = bends.shuffled.sample([*rows, *rows[:2]], k=len(rows) + len(rows[:2]))
        return rows

    async def ids(self, feed: str) -> AsyncIterator[Sequence[str]]:
        """Yield bent ids."""
        found: list[str] = []
        async for some in self.inner.ids(feed):
            found += some
            if self.bends.ids_raising:
                yield some
                raise self.bends.ids_raising.pop(0)
        yield self.bends.ids(found) if self.bends.ids is not None else found

    async def write(self, feed: str, changes: Sequence[Change]) -> list[Written]:
        """Write, and be killed after it when that is due."""
        answers = await self.inner.write(feed, changes)
        self.bends.writes += len(changes)
        if self.bends.killed_after_write:
            self.bends.killed_after_write = False
            raise Killed
        return answers


def bent(connector: Connector, bends: Bends, *, feed: Feed) -> Connector:
    """Return the connector with one feed, whose sessions are bent."""

    @asynccontextmanager
    async def begin(settings: dict[str, str], leave: Leave) -> AsyncGenerator[Session]:
        async with connector.open(settings, leave=leave) as session:
            yield BentSession(session, bends)

    return replace(connector, begin=begin, feeds=(feed,), feeds_for=None)


@dataclass
class Counting:
    """A leave that counts how often it was asked, and can be refused."""

    asked: int = 0
    refusing: BaseException | None = None

    def leave(self) -> Callable[[], Awaitable[None]]:
        """Return the leave."""

        async def ask() -> None:
            self.asked += 1
            if self.refusing is not None:
                raise self.refusing

        return ask
