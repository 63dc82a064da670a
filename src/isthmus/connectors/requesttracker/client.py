"""A session with one Request Tracker: pages of what changed, the numbers there are, and conditional writes."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from random import Random

from isthmus.connectors.requesttracker.cursor import EPOCH, Cursor, Place, after, number, numbered, place
from isthmus.connectors.requesttracker.desk import PAGE_ROWS_MAX, Desk, proof
from isthmus.connectors.requesttracker.wire import TICKETS, USERS, Row
from isthmus.connectors.requesttracker.writing import Writer, raw
from isthmus.sync.calls import calling
from isthmus.sync.connector import Change, ConnectorError, FeedTrouble, Leave, Page, Raw, Written, freely

FEEDS = (USERS, TICKETS)
# Numbers of transactions are given before they are committed: so many are looked through again.
LOG_OVERLAP = 50
COUNTS_MAX = 3
_ENDS = ("ObjectType", "ObjectId", "Type", "Field", "NewValue")
_ENDING = "( ( Type = 'AddLink' AND Field = 'MergedInto' ) OR ( Type = 'Status' AND NewValue = 'deleted' ) )"


class RequestTrackerSession:
    """Implements `isthmus.sync.connector.Session`."""

    def __init__(self, desk: Desk, *, page_rows: int, overlap: timedelta, queue: str) -> None:
        """`overlap` is how far each run goes back; `queue` is where new tickets go that name none."""
        self._desk, self._page_rows, self._overlap = desk, page_rows, overlap
        self._writer = Writer(desk, queue=queue)

    async def check(self) -> str:
        """Return who we are, where; every feed can be read, or ConnectorError says why not."""
        release = await self._desk.version()
        name = await self._desk.whoami()
        await self._desk.tickets("id > 0", limit=1)
        await self._desk.everybody(page=1, limit=1)
        await self._desk.transactions("id = 1", fields=("Type",))
        await self._desk.staff()
        return f"{name} at {self._desk.calls.base} (Request Tracker {release.partition('+')[0]})"

    async def read(self, feed: str, *, cursor: str | None) -> AsyncIterator[Page]:
        """Yield what changed, oldest first; then tickets that were merged or deleted."""
        if feed not in FEEDS:
            raise ConnectorError(f"There is no feed {feed!r}.", fix=f"There are: {', '.join(FEEDS)}.")
        position = Cursor() if cursor is None else Cursor.parse(cursor)
        if position == Cursor():
            position = await self._start(feed)
        position = position.begun(overlap=self._overlap)
        async for page in self._tickets(position) if feed == TICKETS else self._users(position):
            yield page

    async def _start(self, feed: str) -> Cursor:
        """Return what a first reading begins with: how far the log was, or when a user was last changed."""
        if feed == TICKETS:
            return Cursor(log=(await self._log(0))[1])
        newest = (await self._desk.everybody(page=1, limit=1, latest=True)).items
        return Cursor(reached=Place(place(newest[0]).at) if newest else Place())

    async def _tickets(self, position: Cursor) -> AsyncIterator[Page]:
        total: int | None = None
        more = True
        while more:
            found = await self._desk.tickets(after(position.place), limit=self._page_rows)
            total = found.total if total is None else total
            more = len(found.items) >= self._page_rows
            if found.items:
                position = position.moved(place(found.items[-1]))
                yield await self._page(TICKETS, found.items, position, total)
        ended, log = await self._log(position.log)
        while len(ended) > self._page_rows:
            some, ended = ended[: self._page_rows], ended[self._page_rows :]
            position = position.told(len(some))
            yield Page(rows=tuple(some), cursor=position.text(), more=True, total=total)
        yield Page(rows=tuple(ended), cursor=position.ended(log=log).text(), more=False, total=total)

    async def _users(self, position: Cursor) -> AsyncIterator[Page]:
        """Yield all users at first, by number; later those that changed, who are the first when the latest come first.

        While all are read, the place holds the number of the page.
        """
        total: int | None = None
        while position.place.at == EPOCH:
            found = await self._desk.everybody(page=position.place.number + 1, limit=self._page_rows)
            if not found.items:
                break
            total = found.total if total is None else total
            position = position.moved(Place(EPOCH, position.place.number + 1))
            yield await self._page(USERS, found.items, position, total)
        else:
            changed = await self._changed(position.place)
            for start in range(0, len(changed), self._page_rows):
                some = changed[start : start + self._page_rows]
                position = position.moved(place(some[-1]))
                yield await self._page(USERS, some, position, len(changed))
        yield Page(rows=(), cursor=position.ended(log=0).text(), more=False, total=total)

    async def _page(self, feed: str, found: list[Row], position: Cursor, total: int | None) -> Page:
        rows = await self._desk.told(feed, found)
        return Page(rows=tuple(raw(feed, each) for each in rows), cursor=position.text(), more=True, total=total)

    async def _changed(self, where: Place) -> list[Row]:
        """Return the users that changed after a place or within its second, oldest first."""
        changed: dict[int, Row] = {}
        page = 1
        while True:
            found = (await self._desk.everybody(page=page, limit=PAGE_ROWS_MAX, latest=True)).items
            # One that changes while pages are read comes to the front; those that it moves come twice.
            changed = {number(each): each for each in found if place(each) > where} | changed
            if len(found) < PAGE_ROWS_MAX or place(found[-1]) < where:
                return sorted(changed.values(), key=place)
            page += 1

    async def ids(self, feed: str) -> AsyncIterator[Sequence[str]]:
        """Yield the numbers of all records that are there."""
        if feed == USERS:
            yield [str(each) for each in sorted(await self._everybody() - await self._desk.staff())]
            return
        last, more = 0, True
        while more:
            found = await self._desk.tickets(f"id > {last}", limit=PAGE_ROWS_MAX, bare=True)
            numbers = [number(each) for each in found.items]
            more = len(numbers) >= PAGE_ROWS_MAX
            last = max(numbers, default=last)
            yield [str(each) for each in numbers]

    async def _everybody(self) -> set[int]:
        """Return the numbers of all users; raises FeedTrouble when they go while they are counted."""
        for _ in range(COUNTS_MAX):
            known: set[int] = set()
            page, more, total = 0, True, None
            while more:
                page += 1
                found = await self._desk.everybody(page=page, limit=PAGE_ROWS_MAX)
                known |= {number(each) for each in found.items}
                more, total = len(found.items) >= PAGE_ROWS_MAX, found.total
            # One who goes moves the next ones forward, over the edge of a page: somebody would seem to be gone.
            if total is None or len(known) == total:
                return known
        raise FeedTrouble("Users go while they are counted.", fix="It is tried again with the next run.")

    async def write(self, feed: str, changes: Sequence[Change]) -> list[Written]:
        """Write changes one after the other, each under its condition; one answer for each."""
        return await self._writer.write(feed, changes)

    async def _log(self, last: int) -> tuple[list[Raw], int]:
        """Return the tickets that were merged or deleted after a transaction, and the number of the newest one.

        Searches leave both kinds out, and neither moves the time of the ticket that goes.
        """
        begin = max(0, last - LOG_OVERLAP)
        newest = await self._desk.transactions(f"id > {begin}", fields=_ENDS, latest=True)
        if not newest.items or not last:
            return [], max((number(each) for each in newest.items), default=0)
        reached = number(newest.items[0])
        found = newest.items[::-1]
        if len(found) >= PAGE_ROWS_MAX:
            found = await self._ends(begin, reached)
        gone: dict[int, int | None] = {}
        for each in found:
            if each.get("ObjectType") == "RT::Ticket":
                gone |= _end(each)
        alive: set[int] = set()
        numbers = sorted(each for each, winner in gone.items() if winner is None)
        for start in range(0, len(numbers), PAGE_ROWS_MAX):
            some = numbers[start : start + PAGE_ROWS_MAX]
            there = await self._desk.tickets(numbered(some), limit=PAGE_ROWS_MAX, bare=True)
            alive |= {number(each) for each in there.items}
        rows = [
            Raw(external_id=str(each), body={}, deleted=True, merged_into=str(winner) if winner else None)
            for each, winner in gone.items()
            if each not in alive
        ]
        return rows, reached

    async def _ends(self, begin: int, reached: int) -> list[Row]:
        found: list[Row] = []
        while True:
            query = f"id > {begin} AND id <= {reached} AND ObjectType = 'RT::Ticket' AND {_ENDING}"
            page = await self._desk.transactions(query, fields=_ENDS)
            found += page.items
            if len(page.items) < PAGE_ROWS_MAX:
                return found
            begin = number(page.items[-1])


def _end(row: Row) -> dict[int, int | None]:
    """Return the ticket that a transaction ended, with the one that it became part of."""
    of, value = int(str(row.get("ObjectId"))), str(row.get("NewValue"))
    if (row.get("Type"), row.get("Field")) == ("AddLink", "MergedInto"):
        winner = value.rpartition("/")[2]
        # Both tickets of a merge tell of it, in the same words.
        return {of: int(winner)} if winner.isdecimal() and int(winner) != of else {}
    return {of: None} if (row.get("Type"), value) == ("Status", "deleted") else {}


@asynccontextmanager
async def session(
    settings: Mapping[str, str], *, dice: Random, leave: Leave = freely
) -> AsyncGenerator[RequestTrackerSession]:
    """Open a session; raises ConnectorError when the settings cannot be right."""
    try:
        page_rows = min(PAGE_ROWS_MAX, int(settings.get("page_rows", "100")))
        overlap = timedelta(seconds=float(settings.get("overlap_s", "60")))
    except ValueError as error:
        raise ConnectorError(
            "`page_rows` and `overlap_s` are numbers.", fix="Give 100 and 60, or leave them out."
        ) from error
    header, me = proof(settings)

    async def authorise(_: bool) -> dict[str, str]:  # noqa: FBT001 - as Calls asks it.
        return {"Authorization": header}

    async with calling(settings["url"], title="Request Tracker", dice=dice, leave=leave, authorise=authorise) as calls:
        yield RequestTrackerSession(
            Desk(calls, me=me), page_rows=page_rows, overlap=overlap, queue=settings.get("queue", "General")
        )
