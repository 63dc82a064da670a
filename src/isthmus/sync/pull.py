"""Pulling: page by page from the cursor, one or many in a transaction, with the advance of the cursor.

A program that is killed anywhere goes on after the last page that was committed: nothing is lost and nothing doubled.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias, TypeVar

from psycopg import errors

from isthmus.store.database import Scope, Transaction
from isthmus.store.put import Raced
from isthmus.stream.limits import OutgoingLimit, VendorQuotaUsedUp
from isthmus.sync.batches import ahead, points_to_itself, stored, together
from isthmus.sync.connections import Connection, Status, set_status
from isthmus.sync.connector import (
    Connector,
    ConnectorError,
    Feed,
    FeedTrouble,
    Holding,
    Leave,
    NotAsDocumented,
    Page,
    Session,
    Throttled,
    freely,
)
from isthmus.sync.drift import unexpected
from isthmus.sync.feeds import advance, compare_soon, feed_states, finish
from isthmus.sync.following import take
from isthmus.sync.fuse import FuseTripped, Guard
from isthmus.sync.grants import Access, opened
from isthmus.sync.ingest import TRIES_MAX, Interval
from isthmus.sync.landing import Landed, look_again
from isthmus.sync.oauth import ClientRefused, ConsentNeeded
from isthmus.sync.runs import Engine, Progress

T = TypeVar("T")
Mark: TypeAlias = Callable[[Transaction], Awaitable[None]]
SPOKEN = "The system said something that did not change the record."


class CursorMoved(ConnectorError):
    """Somebody else has moved the cursor of this feed."""

    status, code, title = 409, "cursor-moved", "The feed is being read by another program"


class FeedStuck(FeedTrouble):
    """The system gives page after page without getting on."""

    code, title = "feed-stuck", "The feed does not get on"


class TooLong(ConnectorError):
    """The system asks to wait longer than a run waits; `retry_at` says until when."""

    code, title = "wait-too-long", "The connected system asks to wait"

    def __init__(self, detail: str, *, retry_at: datetime, fix: str = "") -> None:
        """`retry_at` is when to try again."""
        super().__init__(detail, fix=fix)
        self.retry_at = retry_at


@dataclass(frozen=True)
class Leaving:
    """Leave within the allowances of a connection; implements `Holding`."""

    limit: OutgoingLimit

    async def __call__(self) -> float:
        """Wait until a request may be made; returns for how many seconds. Raises VendorQuotaUsedUp."""
        return await self.limit.enter()

    async def hold(self, seconds: float) -> None:
        """Have everybody wait who asks on this connection."""
        await self.limit.hold(seconds)


@dataclass(frozen=True, kw_only=True)
class Work:
    """One run on one connection."""

    engine: Engine
    workspace: int
    connection: Connection
    connector: Connector
    settings: dict[str, str]
    progress: Progress

    @property
    def actor(self) -> str:
        """In whose name the run writes."""
        return f"sync:{self.connection.name}"

    @property
    def feeds(self) -> tuple[Feed, ...]:
        """The feeds of this connection in the order of pulling."""
        return self.connector.feeds_of(self.settings)

    def scope(self) -> Scope:
        """Return a scope of this moment."""
        return self.engine.scope(workspace=self.workspace, actor=self.actor, cause=str(self.progress.id))

    @asynccontextmanager
    async def session(self) -> AsyncGenerator[Session]:
        """Open a session; what the network or the system itself raises becomes a ConnectorError."""
        with_fix = f"Check the settings of {self.connection.name!r} and that the system answers."
        leave = self._leave()
        try:
            access = self._access()
            async with opened(self.connector, self.settings, access=access, leave=leave) as session:
                self.progress.notes |= {access.note} if access.note else set()
                yield session
        except Throttled as error:
            if isinstance(leave, Holding):
                await leave.hold(error.retry_after_s)
            raise
        except VendorQuotaUsedUp as error:
            raise Throttled(error.detail, retry_after_s=error.retry_after_s, fix=error.fix) from error
        except (OSError, TimeoutError) as error:
            raise ConnectorError(
                f"{self.connector.title} does not answer ({type(error).__name__}).", fix=with_fix
            ) from error

    def _access(self) -> Access:
        store = self.engine.store
        return Access(
            database=store.database,
            vault=store.vault,
            scope=self.scope,
            connection=self.connection,
            connector=self.connector,
            settings=self.settings,
        )

    def _leave(self) -> Leave:
        """Return what the session asks before each request: the vendor's allowances, shared by all our workers."""
        if self.engine.leases is None:
            return freely
        name = f"{self.workspace}:{self.connection.id}"
        return Leaving(OutgoingLimit(self.engine.leases, connection=name, rates=self.connector.allowances))

    async def retried(self, once: Callable[[], Awaitable[T]], *, moved: Callable[[], object]) -> T:
        """Do something with the system, again after a pause when it fails; tries count anew when something moved."""
        attempt, last = 0, moved()
        while True:
            try:
                return await once()
            except (CursorMoved, FeedStuck, FuseTripped, TooLong, ConsentNeeded, ClientRefused):
                raise
            except ConnectorError as error:
                if moved() != last:
                    attempt, last = 0, moved()
                attempt += 1
                if attempt >= self.engine.retry.tries_max:
                    raise
                await self._wait(error, attempt)

    async def _wait(self, error: ConnectorError, attempt: int) -> None:
        retry = self.engine.retry
        delay = retry.delay_s(attempt, self.engine.chance)
        if isinstance(error, Throttled):
            delay = error.retry_after_s + retry.delay_s(0, self.engine.chance)
        retry_at = self.engine.clock.now() + timedelta(seconds=delay)
        if delay > retry.delay_s_max:
            raise TooLong(error.detail, fix=error.fix, retry_at=retry_at) from error
        self.progress.status = Status.RETRYING
        async with self.engine.store.database.transaction(self.scope()) as tx:
            await set_status(tx, self.connection.id, Status.RETRYING, reason=str(error), retry_at=retry_at)
        await self.engine.pause(delay)
        self.progress.status = Status.RUNNING
        async with self.engine.store.database.transaction(self.scope()) as tx:
            await set_status(tx, self.connection.id, Status.RUNNING)


async def pull(work: Work, *, confirmed: bool = False) -> list[ConnectorError]:
    """Pull every feed in the order of the manifest; raises ConnectorError when the system does not let us.

    A feed that cannot be read, or says more than the fuse lets pass, holds up no other: what is wrong with such feeds
    is returned. `confirmed` says that a person has agreed to much being changed.
    """
    troubles: list[ConnectorError] = []
    for feed in work.feeds:
        try:
            await pull_feed(work, feed, confirmed=confirmed)
        except (FeedTrouble, FuseTripped) as error:
            troubles.append(error)
    return troubles


async def pull_feed(work: Work, feed: Feed, *, confirmed: bool = False) -> None:
    """Pull one feed to its end."""
    work.progress.begin(feed.name)
    began = work.engine.clock.now()
    pages = 0
    guard: Guard | None = None

    async def once() -> None:
        nonlocal pages, guard
        async with work.engine.store.database.transaction(work.scope()) as tx:
            state = (await feed_states(tx, work.connection.id)).get(feed.name)
        cursor = state.cursor if state else None
        since = state.since if state else None
        guard = guard or Guard(system=work.connection.name, feed=feed, since=since, confirmed=confirmed)
        before = work.progress.read
        fuse = guard

        async def store(page: Page) -> None:
            nonlocal pages, cursor
            await land_page(work, feed, page, guard=fuse, mark=_advancing(work, feed, page, before=cursor))
            if page.total is not None:
                work.progress.total = max(before + page.total, work.progress.read)
            pages += 1
            cursor = page.cursor

        async with (
            work.session() as session,
            aclosing(pages_of(session.read(feed.name, cursor=cursor), feed, cursor)) as read,
            aclosing(batches_of(work, feed, read)) as batches,
        ):
            async for batch in batches:
                await stored(batch, store)

    await work.retried(once, moved=lambda: pages)
    async with work.engine.store.database.transaction(work.scope()) as tx:
        await finish(tx, work.connection.id, feed.name, since=began)


@contextmanager
def in_a_known_form(feed: str) -> Generator[None]:
    """Turn what a connector trips over, in an answer it does not understand, into NotAsDocumented."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise NotAsDocumented(
            f"{feed} answered in a form that the connector does not know ({type(error).__name__}).",
            fix="Nothing was lost. Has the vendor changed its interface? Update the connector and run again.",
        ) from error


async def pages_of(told: AsyncIterator[Page], feed: Feed, cursor: str | None) -> AsyncGenerator[Page]:
    """Yield pages to the end; raises FeedStuck when a page promises more and does not get on, and NotAsDocumented."""
    last = cursor
    with in_a_known_form(feed.name):
        async for page in told:
            if page.more and page.rows and page.cursor == last:
                raise FeedStuck(
                    f"{feed.name} gives the same page again.", fix="Report this to the author of the connector."
                )
            last = page.cursor
            yield page
            if not page.more:
                return


def batches_of(work: Work, feed: Feed, pages: AsyncIterator[Page]) -> AsyncGenerator[Sequence[Page]]:
    """Return the pages of a feed in batches to be stored together."""
    apart = points_to_itself(work.engine.store.schema, feed)
    return ahead(together(pages, apart=apart, now=work.engine.clock.now))


def _advancing(work: Work, feed: Feed, page: Page, *, before: str | None) -> Mark:
    async def mark(tx: Transaction) -> None:
        if page.cursor != before and not await advance(
            tx, work.connection.id, feed.name, before=before, cursor=page.cursor
        ):
            raise CursorMoved(f"{feed.name} is being read elsewhere.", fix="Let that run come to its end.")
        if page.emptied:
            await compare_soon(tx, work.connection.id, feed.name)

    return mark


async def land_page(work: Work, feed: Feed, page: Page, *, guard: Guard, mark: Mark, believed: bool = False) -> None:
    """Put a page, and mark how far the reading is, in one transaction; raises FuseTripped and then put nothing.

    With `believed` the system's own stamps say when it was, however long ago; else it was since the last pull.
    """

    async def put(tx: Transaction) -> tuple[Landed, int]:
        landed, gone = await take(
            tx,
            work.engine.store,
            work.connector,
            feed,
            connection_id=work.connection.id,
            system=work.connection.name,
            rows=page.rows,
            interval=Interval(since=None if believed else guard.since, until=tx.scope.now),
        )
        await guard.check(tx, gone=gone, changed=landed.result.changed)
        await spoken(tx, work, landed)
        await mark(tx)
        return landed, gone

    landed, gone = await transacted(work, put)
    guard.took(gone=gone, changed=landed.result.changed)
    work.progress.news |= unexpected(feed, page.rows)
    work.progress.notes |= {page.note} if page.note else set()
    work.progress.read += len(page.rows)
    work.progress.add(landed.result)


async def spoken(tx: Transaction, work: Work, landed: Landed) -> None:
    """Have the next push look at records on which the system was overruled."""
    if work.connection.options.push:
        writes = {name for feed in work.feeds for name in feed.writes}
        for name, records in landed.spoken.items():
            if name in writes:
                await look_again(tx, connection_id=work.connection.id, type_name=name, records=records, reason=SPOKEN)


async def transacted(work: Work, act: Callable[[Transaction], Awaitable[T]]) -> T:
    """Run something in a transaction, again when another writer was faster."""
    for attempt in range(TRIES_MAX):
        try:
            async with work.engine.store.database.transaction(work.scope()) as tx:
                return await act(tx)
        except (Raced, errors.DeadlockDetected, errors.SerializationFailure, errors.UniqueViolation):
            if attempt == TRIES_MAX - 1:
                raise
    raise AssertionError
