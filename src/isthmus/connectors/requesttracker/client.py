"""A session with one Request Tracker: pages of what changed, the numbers there are, and conditional writes."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from random import Random

from isthmus.connectors.requesttracker.cursor import EPOCH, Cursor, Place
from isthmus.connectors.requesttracker.desk import PAGE_ROWS_MAX, Desk, Found, proof
from isthmus.connectors.requesttracker.wire import SECOND, TICKETS, USERS, Row, after, number, numbered, place, told_at
from isthmus.connectors.requesttracker.writing import Writer, raw
from isthmus.sync.calls import calling
from isthmus.sync.connector import Change, ConnectorError, Leave, Page, Raw, Written, freely

FEEDS = (USERS, TICKETS)
# Numbers of transactions are given before they are committed: so many are looked through again.
LOG_OVERLAP = 50
# Stands for every number that a second can hold.
WHOLE = 2**62
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
        await self._desk.users({}, limit=1)
        await self._desk.transactions("id = 1", fields=("Type",))
        await self._desk.staff()
        return f"{name} at {self._desk.calls.base} (Request Tracker {release.partition('+')[0]})"

    async def read(self, feed: str, *, cursor: str | None) -> AsyncIterator[Page]:
        """Yield what changed, oldest first; then tickets that were merged or deleted."""
        if feed not in FEEDS:
            raise ConnectorError(f"There is no feed {feed!r}.", fix=f"There are: {', '.join(FEEDS)}.")
        position = Cursor() if cursor is None else Cursor.parse(cursor)
        if position.reached is None and position.place == Place() and feed == TICKETS:
            position = Cursor(log=(await self._log(0))[1])
        position = position.begun(overlap=self._overlap)
        total: int | None = None
        more = True
        while more:
            found = await self._after(feed, position.place)
            total = found.total if total is None else total
            more = len(found.items) >= self._page_rows
            if not more and feed == USERS and 0 < position.place.number < WHOLE:
                # What shares the last second was read; what came later has still to be.
                more, position = True, position.moved(Place(position.place.at, WHOLE))
            elif found.items:
                position = position.moved(place(found.items[-1]))
            if found.items:
                rows = await self._desk.told(feed, found.items)
                yield Page(rows=tuple(raw(feed, each) for each in rows), cursor=position.text(), more=True, total=total)
        ended, log = await self._log(position.log) if feed == TICKETS else ((), 0)
        for start in range(0, len(ended), self._page_rows):
            some = ended[start : start + self._page_rows]
            yield Page(rows=tuple(some), cursor=position.text(), more=True, total=total)
        yield Page(rows=(), cursor=position.ended(log=log).text(), more=False, total=total)

    async def ids(self, feed: str) -> AsyncIterator[Sequence[str]]:
        """Yield the numbers of all records that are there."""
        last = 0
        staff = await self._desk.staff() if feed == USERS else frozenset[int]()
        while True:
            if feed == USERS:
                found = await self._desk.users({}, after=last, limit=PAGE_ROWS_MAX)
            else:
                found = await self._desk.tickets(f"id > {last}", limit=PAGE_ROWS_MAX, bare=True)
            numbers = [number(each) for each in found.items]
            if some := [str(each) for each in numbers if each not in staff]:
                yield some
            if len(numbers) < PAGE_ROWS_MAX:
                return
            last = numbers[-1]

    async def write(self, feed: str, changes: Sequence[Change]) -> list[Written]:
        """Write changes one after the other, each under its condition; one answer for each."""
        return await self._writer.write(feed, changes)

    async def _after(self, feed: str, where: Place) -> Found:
        """Return the next page of what changed after a place."""
        if feed == TICKETS:
            return await self._desk.tickets(after(where), limit=self._page_rows)
        if where.number == WHOLE:
            return await self._desk.users({}, since=told_at(where.at), limit=self._page_rows)
        if where.number:
            return await self._desk.users({"LastUpdated": told_at(where.at)}, after=where.number, limit=self._page_rows)
        since = told_at(where.at - SECOND) if where.at > EPOCH else told_at(EPOCH)
        return await self._desk.users({}, since=since, limit=self._page_rows)

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
