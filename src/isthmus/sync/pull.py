"""Pulling: page by page from the cursor, each page in one transaction with the advance of its cursor.

A program that is killed anywhere goes on after the last page that was committed: nothing is lost and nothing doubled.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from psycopg import errors

from isthmus.store.database import Scope, Transaction
from isthmus.store.put import Raced
from isthmus.stream.limits import OutgoingLimit, VendorQuotaUsedUp
from isthmus.sync.connections import Connection, Status, set_status
from isthmus.sync.connector import Connector, ConnectorError, Feed, Leave, Page, Session, Throttled, freely
from isthmus.sync.feeds import advance, feed_states, finish
from isthmus.sync.ingest import TRIES_MAX, Interval
from isthmus.sync.landing import Landed, land_observations, look_again, observe, tombstones
from isthmus.sync.runs import Engine, Progress

T = TypeVar("T")
SPOKEN = "The system said something that did not change the record."


class CursorMoved(ConnectorError):
    """Somebody else has moved the cursor of this feed."""

    status, code, title = 409, "cursor-moved", "The feed is being read by another program"


class FeedStuck(ConnectorError):
    """The system gives page after page without getting on."""

    code, title = "feed-stuck", "The feed does not get on"


class TooLong(ConnectorError):
    """The system asks to wait longer than a run waits; `retry_at` says until when."""

    code, title = "wait-too-long", "The connected system asks to wait"

    def __init__(self, detail: str, *, retry_at: datetime, fix: str = "") -> None:
        """`retry_at` is when to try again."""
        super().__init__(detail, fix=fix)
        self.retry_at = retry_at


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
        try:
            async with self.connector.open(self.settings, leave=self._leave()) as session:
                yield session
        except VendorQuotaUsedUp as error:
            raise Throttled(error.detail, retry_after_s=error.retry_after_s, fix=error.fix) from error
        except (OSError, TimeoutError) as error:
            raise ConnectorError(
                f"{self.connector.title} does not answer ({type(error).__name__}).", fix=with_fix
            ) from error

    def _leave(self) -> Leave:
        """Return what the session asks before each request: the vendor's allowances, shared by all our workers."""
        if self.engine.leases is None:
            return freely
        name = f"{self.workspace}:{self.connection.id}"
        return OutgoingLimit(self.engine.leases, connection=name, rates=self.connector.allowances).enter

    async def retried(self, once: Callable[[], Awaitable[T]], *, moved: Callable[[], object]) -> T:
        """Do something with the system, again after a pause when it fails; tries count anew when something moved."""
        attempt, last = 0, moved()
        while True:
            try:
                return await once()
            except (CursorMoved, FeedStuck, TooLong):
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


async def pull(work: Work) -> None:
    """Pull every feed in the order of the manifest; raises ConnectorError when the system does not let us."""
    for feed in work.feeds:
        await pull_feed(work, feed)


async def pull_feed(work: Work, feed: Feed) -> None:
    """Pull one feed to its end."""
    work.progress.feed, work.progress.total = feed.name, None
    began = work.engine.clock.now()
    pages = 0

    async def once() -> None:
        nonlocal pages
        async with work.engine.store.database.transaction(work.scope()) as tx:
            state = (await feed_states(tx, work.connection.id)).get(feed.name)
        cursor = state.cursor if state else None
        since = state.since if state else None
        before = work.progress.read
        async with work.session() as session, aclosing(_pages(session, feed, cursor)) as read:
            async for page in read:
                await _land(work, feed, page, before=cursor, since=since)
                if page.total is not None:
                    work.progress.total = max(before + page.total, work.progress.read)
                pages += 1
                cursor = page.cursor

    await work.retried(once, moved=lambda: pages)
    async with work.engine.store.database.transaction(work.scope()) as tx:
        await finish(tx, work.connection.id, feed.name, since=began)


async def _pages(session: Session, feed: Feed, cursor: str | None) -> AsyncGenerator[Page]:
    """Yield pages to the end; raises FeedStuck when a page promises more and does not get on."""
    last = cursor
    async for page in session.read(feed.name, cursor=cursor):
        if page.more and page.rows and page.cursor == last:
            raise FeedStuck(
                f"{feed.name} gives the same page again.", fix="Report this to the author of the connector."
            )
        last = page.cursor
        yield page
        if not page.more:
            return


async def _land(work: Work, feed: Feed, page: Page, *, before: str | None, since: datetime | None) -> None:
    async def put(tx: Transaction) -> Landed:
        system = work.connection.name
        observations, rejects = observe(work.engine.store, work.connector, feed, system=system, rows=page.rows)
        observations += await tombstones(tx, feed, system=system, rows=page.rows)
        landed = await land_observations(
            tx,
            work.engine.store,
            connection_id=work.connection.id,
            system=system,
            observations=observations,
            rejects=rejects,
            interval=Interval(since=since, until=tx.scope.now),
            together=work.connector.together,
        )
        await spoken(tx, work, landed)
        if page.cursor != before and not await advance(
            tx, work.connection.id, feed.name, before=before, cursor=page.cursor
        ):
            raise CursorMoved(f"{feed.name} is being read elsewhere.", fix="Let that run come to its end.")
        return landed

    landed = await transacted(work, put)
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
