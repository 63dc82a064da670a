"""Reading beside the feed: a second time what may have been told late, and everything, for changes that move no stamp.

Vendors tell of a change after they have told of later ones: their search lags, or a transaction ended late. What was
read is therefore read once more when that can have happened no more. Other changes are never told of, since they move
no stamp: for them everything is read now and then. What says nothing new changes nothing.
"""

from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import datetime, timedelta
from typing import Literal, LiteralString

import msgspec
from msgspec import Struct

from isthmus.store.database import Transaction
from isthmus.sync.batches import stored
from isthmus.sync.connector import ConnectorError, Feed, FeedTrouble, Page, Scanning, Session
from isthmus.sync.feeds import FeedState, feed_states
from isthmus.sync.fuse import FuseTripped, Guard
from isthmus.sync.pull import Mark, Work, batches_of, land_page, pages_of

LaneName = Literal["trail", "scan"]
_LANES: LiteralString = """
select feed, lane, cursor, place, going, next_cursor, next_at, ended_at from feed_lane
where workspace = current_workspace() and connection_id = %s
"""
_KEEP: LiteralString = """
insert into feed_lane (workspace, connection_id, feed, lane, cursor, place, going, next_cursor, next_at, ended_at)
values (current_workspace(), %(connection)s, %(feed)s, %(lane)s, %(cursor)s, %(place)s, %(going)s, %(next_cursor)s,
        %(next_at)s, %(ended_at)s)
on conflict (workspace, connection_id, feed, lane) do update
set cursor = excluded.cursor, place = excluded.place, going = excluded.going, next_cursor = excluded.next_cursor,
    next_at = excluded.next_at, ended_at = excluded.ended_at
"""


class Lane(Struct, frozen=True, kw_only=True):
    """A reading beside the feed: it begins at `cursor` (None: the beginning) and, while it is going, is at `place`.

    The next trail begins at `next_cursor`, where the feed stood at `next_at`. `ended_at` is when the last one ended.
    """

    feed: str
    lane: LaneName
    cursor: str | None = None
    place: str | None = None
    going: bool = False
    next_cursor: str | None = None
    next_at: datetime | None = None
    ended_at: datetime | None = None


async def read_again(work: Work, *, confirmed: bool = False) -> list[ConnectorError]:
    """Read what is due to be read again, after the feeds were pulled; returns what is wrong with single feeds."""
    troubles: list[ConnectorError] = []
    for feed in work.feeds:
        if feed.settles_s is None and feed.scan_s is None:
            continue
        try:
            for lane in await _due(work, feed):
                await _read(work, feed, lane, confirmed=confirmed)
        except (FeedTrouble, FuseTripped) as error:
            troubles.append(error)
    return troubles


async def _due(work: Work, feed: Feed) -> list[Lane]:
    """Return the readings of a feed that are due; of a feed that was just begun the first ones are only noted."""
    now = work.engine.clock.now()
    async with work.engine.store.database.transaction(work.scope()) as tx:
        rows = await (await tx.connection.execute(_LANES, (work.connection.id,))).fetchall()
        kept = [msgspec.convert(dict(zip(Lane.__struct_fields__, row, strict=True)), Lane) for row in rows]
        lanes = {each.lane: each for each in kept if each.feed == feed.name}
        state = (await feed_states(tx, work.connection.id)).get(feed.name, FeedState(feed=feed.name))
        due: list[Lane] = []
        if feed.settles_s is not None:
            first = Lane(feed=feed.name, lane="trail", next_cursor=state.cursor, next_at=now)
            trail = lanes.get("trail")
            if trail is None:
                await _keep(tx, work, first)
            elif trail.going or _over(trail.next_at, feed.settles_s, now=now):
                due.append(trail)
        if feed.scan_s is not None:
            scan = lanes.get("scan")
            if scan is None:
                await _keep(tx, work, Lane(feed=feed.name, lane="scan", ended_at=now))
            elif scan.going or _over(scan.ended_at, feed.scan_s, now=now):
                due.append(scan)
    return due


def _over(at: datetime | None, after_s: int, *, now: datetime) -> bool:
    return at is None or now - at >= timedelta(seconds=after_s)


async def _read(work: Work, feed: Feed, lane: Lane, *, confirmed: bool) -> None:
    """Read a lane to its end, from where an earlier run left it; each page keeps its place with it."""
    work.progress.begin(feed.name)
    now = work.engine.clock.now()
    place = lane.place if lane.going else lane.cursor
    pages = 0
    async with work.engine.store.database.transaction(work.scope()) as tx:
        state = (await feed_states(tx, work.connection.id))[feed.name]
    guard = Guard(system=work.connection.name, feed=feed, since=state.since, confirmed=confirmed)

    async def store(page: Page) -> None:
        nonlocal place, pages
        going = msgspec.structs.replace(lane, going=True, place=page.cursor)
        await land_page(work, feed, page, guard=guard, mark=_keeping(work, going))
        place, pages = page.cursor, pages + 1

    async def once() -> None:
        async with (
            work.session() as session,
            aclosing(pages_of(_told(session, feed, lane, place=place), feed, place)) as read,
            aclosing(batches_of(work, feed, read)) as batches,
        ):
            async for batch in batches:
                await stored(batch, store)

    await work.retried(once, moved=lambda: pages)
    ended = Lane(feed=feed.name, lane=lane.lane, ended_at=now)
    if lane.lane == "trail":
        # What stood before the feed's place of then has been read a second time, so that the next begins there.
        ended = msgspec.structs.replace(ended, cursor=lane.next_cursor, next_cursor=state.cursor, next_at=now)
    async with work.engine.store.database.transaction(work.scope()) as tx:
        await _keep(tx, work, ended)


def _told(session: Session, feed: Feed, lane: Lane, *, place: str | None) -> AsyncIterator[Page]:
    if lane.lane == "scan" and isinstance(session, Scanning):
        return session.scan(feed.name, cursor=place)
    return session.read(feed.name, cursor=place)


def _keeping(work: Work, lane: Lane) -> Mark:
    async def mark(tx: Transaction) -> None:
        await _keep(tx, work, lane)

    return mark


async def _keep(tx: Transaction, work: Work, lane: Lane) -> None:
    row = msgspec.structs.asdict(lane)
    await tx.connection.execute(_KEEP, {**row, "connection": work.connection.id})
