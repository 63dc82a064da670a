"""A session with one database: pages by (time of change, key), by key, or from its log; checks; conditional writes."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

import msgspec

from isthmus.connectors.sql.capture import Capture
from isthmus.connectors.sql.checking import checked
from isthmus.connectors.sql.cursor import Place
from isthmus.connectors.sql.doors import Door, opened
from isthmus.connectors.sql.places import Where, where
from isthmus.connectors.sql.sheet import Sheet
from isthmus.connectors.sql.tables import Table, tables_of
from isthmus.connectors.sql.writing import Writer
from isthmus.sync.connector import Change, ConnectorError, Described, Leave, Page, Written

IDS_PER_PAGE = 5_000
PAGE_ROWS_MAX = 10_000


@dataclass(frozen=True, kw_only=True)
class Wish:
    """The settings of a connection, read."""

    place: Where
    tables: Mapping[str, Table]
    password: str
    authority: str
    page_rows: int
    overlap: timedelta
    publication: str
    slot: str

    @classmethod
    def of(cls, settings: Mapping[str, str]) -> "Wish":
        """Read settings; raises ConnectorError with the fix."""
        try:
            page_rows, overlap = int(settings.get("page_rows", "500")), float(settings.get("overlap_s", "60"))
        except ValueError as error:
            raise ConnectorError("`page_rows` and `overlap_s` are numbers.", fix="Give 500 and 60.") from error
        if not 0 < page_rows <= PAGE_ROWS_MAX or not 0 <= overlap <= timedelta(days=30).total_seconds():
            raise ConnectorError("`page_rows` or `overlap_s` is too small or too large.", fix="Give 500 and 60.")
        place = where(settings.get("url", ""), file=settings.get("file", ""), tls=settings.get("tls", "verify"))
        publication = settings.get("publication", "")
        if publication and place.dialect.name != "postgresql":
            raise ConnectorError(
                f"{place.dialect.title} has no publications.", fix="Leave `publication` empty; it is PostgreSQL's."
            )
        return cls(
            place=place,
            tables=tables_of(settings.get("tables", "{}")),
            password=settings.get("password", ""),
            authority=settings.get("ca", ""),
            page_rows=page_rows,
            overlap=timedelta(seconds=overlap),
            publication=publication,
            slot=settings.get("slot") or "isthmus",
        )


class SqlSession:
    """Implements `Session`, `Scanning`, `Describing` and `Parting`; connects when it is first needed."""

    def __init__(self, wish: Wish, leave: Leave) -> None:
        """Speak with the database of the settings."""
        self._wish, self._leave = wish, leave
        self._door: Door | None = None
        self._sheets: dict[str, Sheet] = {}

    async def check(self) -> str:
        """Return who we are there, and each table with what it becomes; raises ConnectorError with what is missing."""
        told = await checked(await self._opened(), self._wish.place, self._wish.tables)
        if self._wish.publication:
            told += await self._capture().told(list(self._wish.tables))
        return told

    async def read(self, feed: str, *, cursor: str | None) -> AsyncIterator[Page]:
        """Yield what changed, oldest first; rows without a stamp come first, and once."""
        sheet = await self._sheet(feed)
        place = Place.parse(cursor) if cursor is not None else None
        lost = place is not None and place.phase == "log" and not await self._keeps(feed, place)
        if place is None or lost or not self._fits(place, sheet):
            place = await self._start(sheet)
        async for page in self._all(sheet, place):
            # What was deleted while the log was not kept is found in the list of ids.
            yield msgspec.structs.replace(page, cursor=sheet.marked(page.cursor), emptied=page.emptied or lost)

    async def _all(self, sheet: Sheet, place: Place) -> AsyncIterator[Page]:
        """Yield the table from a place on, and then the log, where there is one."""
        async for page in self._tables(sheet, place):
            place = Place.parse(page.cursor)
            yield page
        if place.begun is not None or place.phase == "log":
            log = place if place.phase == "log" else Place(phase="log", lsn=place.begun)
            async for page in self._capture().read(sheet, log, rows=self._wish.page_rows):
                yield page

    async def scan(self, feed: str, *, cursor: str | None) -> AsyncIterator[Page]:
        """Yield everything there is, by key."""
        sheet = await self._sheet(feed)
        place = Place(phase="keys") if cursor is None else Place.parse(cursor)
        async for page in self._tables(sheet, place):
            yield page

    async def ids(self, feed: str) -> AsyncIterator[Sequence[str]]:
        """Yield the keys of all rows that are not marked as deleted."""
        sheet = await self._sheet(feed)
        after: str | None = None
        while True:
            found = await sheet.keys(after=after, rows=IDS_PER_PAGE)
            living = [key for key, gone in found if not gone]
            if living:
                yield living
            if len(found) < IDS_PER_PAGE:
                return
            after = found[-1][0]

    async def fields(self, feed: str) -> Sequence[Described]:
        """Return the columns that may be read; those that `tables` does not name are the database's own."""
        sheet = await self._sheet(feed)
        named = sheet.table.columns
        return [
            Described(path=each.name, label=each.name, kind=each.type, own=each.name not in named)
            for each in sheet.columns.values()
            if each.readable
        ]

    async def write(self, feed: str, changes: Sequence[Change]) -> list[Written]:
        """Write changes one after the other, each in a transaction of its own; one answer for each."""
        self._known(feed)
        writer = Writer(sheet=lambda: self._sheet(feed), feed=feed, table=self._wish.tables[feed])
        return await writer.write(changes)

    async def part(self) -> None:
        """Drop the places in the log that are kept for us."""
        if self._wish.publication:
            await self._opened()
            await self._capture().drop(list(self._wish.tables))

    async def close(self) -> None:
        """Close the connection, if there is one."""
        if self._door is not None:
            await self._door.close()

    async def _tables(self, sheet: Sheet, place: Place) -> AsyncIterator[Page]:
        """Yield pages of what stands in the table; the last one says so, unless the log is read after it."""
        rows, kept = self._wish.page_rows, place
        place = place.opened(overlap=self._wish.overlap)
        while place.phase != "log":
            found = await sheet.page(place, rows=rows)
            place = sheet.after(found[-1], place) if found else place
            over = len(found) < rows
            if over and place.phase == "blank":
                place = Place(phase="stamped", going=True)
                over = False
            elif over:
                # Where nothing was found, nobody stands a while back of where the last run ended.
                ended = kept if place.key is None else place
                place = Place(phase=ended.phase, at=ended.at, key=ended.key, begun=ended.begun)
            more = not over or place.begun is not None
            yield Page(rows=tuple(map(sheet.raw, found)), cursor=place.text(), more=more)
            if over:
                return

    async def _start(self, sheet: Sheet) -> Place:
        """Begin at the beginning; with a publication the log is kept from this moment on, and read after the table."""
        if self._wish.publication:
            return Place(phase="keys", begun=await self._capture().begin(sheet))
        return Place(phase="blank") if sheet.table.updated_at else Place(phase="keys")

    def _fits(self, place: Place, sheet: Sheet) -> bool:
        """Tell whether a place is one of how the table is mapped and read now; else it is read from the beginning."""
        if place.mapped != sheet.mapped:
            return False
        if self._wish.publication:
            return place.phase == "log" or place.begun is not None
        if place.phase == "log" or place.begun is not None:
            return False
        return place.phase == "keys" if sheet.table.updated_at is None else place.phase in ("blank", "stamped")

    async def _keeps(self, feed: str, place: Place) -> bool:
        return bool(self._wish.publication) and await self._capture().keeps(feed, place)

    async def _sheet(self, feed: str) -> Sheet:
        self._known(feed)
        if feed not in self._sheets:
            self._sheets[feed] = await Sheet.of(await self._opened(), feed, self._wish.tables[feed])
        return self._sheets[feed]

    async def _opened(self) -> Door:
        if self._door is None:
            wish = self._wish
            writes = any(table.write for table in wish.tables.values())
            self._door = await opened(
                wish.place, password=wish.password, authority=wish.authority, leave=self._leave, writes=writes
            )
        return self._door

    def _capture(self) -> Capture:
        assert self._door is not None
        return Capture(self._door, publication=self._wish.publication, prefix=self._wish.slot)

    def _known(self, feed: str) -> None:
        if feed not in self._wish.tables:
            there = ", ".join(self._wish.tables) or "none"
            raise ConnectorError(f"There is no table {feed!r} in `tables`.", fix=f"There are: {there}.")


@asynccontextmanager
async def session(settings: Mapping[str, str], *, leave: Leave) -> AsyncGenerator[SqlSession]:
    """Open a session; raises ConnectorError when the settings cannot be right."""
    made = SqlSession(Wish.of(settings), leave)
    try:
        yield made
    finally:
        await made.close()
