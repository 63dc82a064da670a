"""Reading feeds again from the beginning, whole or a span of time, while their live cursors stay where they are.

What says nothing new changes nothing. A system gives its records as they are now, so a span chooses those that it says
changed within it; what carries no stamp is taken in any case.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from datetime import datetime

import msgspec
from msgspec import Struct

from isthmus.kernel.errors import Invalid, NotFound
from isthmus.store.database import Transaction
from isthmus.sync.batches import stored
from isthmus.sync.connector import ConnectorError, Feed, FeedTrouble, Fetching, Page, Raw, Scanning, Session
from isthmus.sync.feeds import FeedState, feed_states
from isthmus.sync.fuse import FuseTripped, Guard
from isthmus.sync.pull import Work, batches_of, in_a_known_form, land_page, pages_of


class FeedMissing(NotFound):
    """The connection has no such feed."""

    code, title = "feed-missing", "The connection has no such feed"


class SpanEmpty(Invalid):
    """A span of time ends before it begins."""

    code, title = "span-empty", "The span of time is empty"


class Span(Struct, frozen=True, kw_only=True):
    """A span of time, from `since` on and before `until`; None has no end on that side."""

    since: datetime | None = None
    until: datetime | None = None

    def __post_init__(self) -> None:
        """Raise SpanEmpty when it ends before it begins."""
        if self.since is not None and self.until is not None and self.until <= self.since:
            raise SpanEmpty("The span ends before it begins.", fix="Give an `until` after `since`.")

    @property
    def whole(self) -> bool:
        """Tell whether it is all of time."""
        return self.since is None and self.until is None

    def holds(self, at: datetime | None) -> bool:
        """Tell whether a moment lies within; one that is not known may."""
        if at is None:
            return True
        return (self.since is None or at >= self.since) and (self.until is None or at < self.until)


WHOLE = Span()


async def reread(
    work: Work, *, feed: str | None = None, span: Span = WHOLE, confirmed: bool = False
) -> list[ConnectorError]:
    """Read one feed, or all, again; returns what is wrong with single feeds. Raises FeedMissing.

    Of a span the system's own stamps are believed, so that what was missed long ago overrules nothing newer.
    """
    chosen = [each for each in work.feeds if feed in (None, each.name)]
    if not chosen:
        there = ", ".join(each.name for each in work.feeds) or "none"
        raise FeedMissing(f"{work.connection.name!r} has no feed {feed!r}.", fix=f"There are: {there}.")
    troubles: list[ConnectorError] = []
    for each in chosen:
        try:
            await _reread(work, each, span, confirmed=confirmed)
        except (FeedTrouble, FuseTripped) as error:
            troubles.append(error)
    return troubles


async def _reread(work: Work, feed: Feed, span: Span, *, confirmed: bool) -> None:
    """Read a feed to its end; a fault in the middle goes on after the last page."""
    work.progress.begin(feed.name)
    place: str | None = None
    pages = 0
    async with work.engine.store.database.transaction(work.scope()) as tx:
        state = (await feed_states(tx, work.connection.id)).get(feed.name, FeedState(feed=feed.name))
    guard = Guard(system=work.connection.name, feed=feed, since=state.since, confirmed=confirmed)

    async def store(page: Page) -> None:
        nonlocal place, pages
        within = msgspec.structs.replace(page, rows=tuple(row for row in page.rows if span.holds(row.at)))
        await land_page(work, feed, within, guard=guard, mark=_nothing, believed=not span.whole)
        place, pages = page.cursor, pages + 1

    async def once() -> None:
        async with (
            work.session() as session,
            aclosing(pages_of(_all(session, feed, place), feed, place)) as read,
            aclosing(batches_of(work, feed, read)) as batches,
        ):
            async for batch in batches:
                await stored(batch, store)

    await work.retried(once, moved=lambda: pages)


async def reread_some(
    work: Work, wanted: Mapping[str, frozenset[str]], *, confirmed: bool = False
) -> list[ConnectorError]:
    """Take in single records as they are now, by type and external id; returns what is wrong with single feeds.

    A session that can be asked by id is asked for these alone; else the whole feed is read. What is not there any more
    is deleted here, of feeds that tell all they hold.
    """
    troubles: list[ConnectorError] = []
    for feed in work.feeds:
        ids = frozenset[str]().union(*(wanted.get(name, frozenset()) for name in feed.types))
        if not ids:
            continue
        try:
            await _reread_some(work, feed, ids, confirmed=confirmed)
        except (FeedTrouble, FuseTripped) as error:
            troubles.append(error)
    return troubles


async def _reread_some(work: Work, feed: Feed, ids: frozenset[str], *, confirmed: bool) -> None:
    work.progress.begin(feed.name)

    async def once() -> dict[str, Raw]:
        async with work.session() as session:
            return {row.external_id: row async for row in _single(session, feed, ids)}

    found = await work.retried(once, moved=lambda: None)
    async with work.engine.store.database.transaction(work.scope()) as tx:
        state = (await feed_states(tx, work.connection.id)).get(feed.name, FeedState(feed=feed.name))
    guard = Guard(system=work.connection.name, feed=feed, since=state.since, confirmed=confirmed)
    gone = sorted(ids - found.keys()) if feed.deletes else []
    rows = [*found.values(), *(Raw(external_id=each, body={}, deleted=True) for each in gone)]
    for start in range(0, len(rows), feed.page_rows_max):
        page = Page(rows=tuple(rows[start : start + feed.page_rows_max]), cursor="", more=False)
        await land_page(work, feed, page, guard=guard, mark=_nothing)


async def _single(session: Session, feed: Feed, ids: frozenset[str]) -> AsyncIterator[Raw]:
    if isinstance(session, Fetching):
        with in_a_known_form(feed.name):
            for row in await session.fetch(feed.name, sorted(ids)):
                yield row
        return
    async with aclosing(pages_of(_all(session, feed, None), feed, None)) as read:
        async for page in read:
            for row in page.rows:
                if row.external_id in ids:
                    yield row


def _all(session: Session, feed: Feed, place: str | None) -> AsyncIterator[Page]:
    return (
        session.scan(feed.name, cursor=place)
        if isinstance(session, Scanning)
        else session.read(feed.name, cursor=place)
    )


async def _nothing(_: Transaction) -> None:
    """Mark nothing: the live cursor stays where it is."""
