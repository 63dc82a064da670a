"""A session with one Tryton server: pages of what changed, the numbers there are, and conditional writes."""

from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from random import Random
from typing import cast

import aiohttp

from isthmus.connectors.tryton.cursor import Cursor, Place
from isthmus.connectors.tryton.mapping import BOOKED, FIELDS, PARTIES, PARTS, PAYMENTS
from isthmus.connectors.tryton.transport import Transport
from isthmus.connectors.tryton.wire import EPOCH, last_change, moment
from isthmus.connectors.tryton.writing import Writer, raw
from isthmus.kernel.marks import Json
from isthmus.kernel.words import at_path
from isthmus.sync.calls import CONNECTIONS_MAX, HOUSE, permitted
from isthmus.sync.connector import Change, ConnectorError, Leave, Page, Raw, Written, freely

ORDER: Json = [["last_modified_at", "ASC"], ["id", "ASC"]]
LATEST: Json = [["last_modified_at", "DESC"], ["id", "DESC"]]
ALL_STATES: Json = ["active", "in", [True, False]]
NUMBERS_PER_REQUEST = 200
IDS_PER_PAGE = 2000
STAFF_MAX = 10_000


class TrytonSession:
    """Implements `Session` and `Fetching` of `isthmus.sync.connector`."""

    def __init__(self, transport: Transport, *, page_rows: int, overlap: timedelta) -> None:
        """`overlap` is how far each run goes back, for transactions that ended late."""
        self._transport = transport
        self._page_rows, self._overlap = page_rows, overlap
        self._own: Json = None
        self._writer = Writer(transport, rows=self._rows)

    async def check(self) -> str:
        """Return the address, series and database; every feed can be read, or ConnectorError says why not."""
        series = await self._transport.version()
        for feed in FIELDS:
            await self._transport.search(feed, [], fields=("id",), limit=1)
        if self._transport.writable:
            await self._transport.sign_in()
        return (
            f"{self._transport.user or 'key'} at {self._transport.base} ({self._transport.database}, Tryton {series})"
        )

    async def read(self, feed: str, *, cursor: str | None) -> AsyncIterator[Page]:
        """Yield what changed, oldest first; then records of which only a part changed; last an empty page."""
        if feed not in FIELDS:
            raise ConnectorError(f"There is no feed {feed!r}.", fix=f"There are: {', '.join(FIELDS)}.")
        position = await self._start(feed) if cursor is None else Cursor.parse(cursor)
        position = position.begun(overlap=self._overlap)
        told: dict[int, datetime] = {}
        # Only what is told of with a part's change from here on can be met again among the parts.
        since = min((position.places[model].at for model, _ in PARTS[feed]), default=None)
        total = await self._transport.count(feed, await self._scope(feed, position.places[feed].domain()))
        more = True
        while more:
            found = await self._transport.search(
                feed,
                await self._scope(feed, position.places[feed].domain()),
                fields=FIELDS[feed],
                limit=self._page_rows,
                order=ORDER,
            )
            more = len(found) >= self._page_rows
            if found:
                position = position.moved(feed, _place(found[-1]))
                if since is not None:
                    told |= {number: at for number, at in _told(found) if at >= since}
                yield Page(rows=tuple(map(raw, found)), cursor=position.text(), more=True, total=total)
        async for page in self._parts(feed, position, told=told):
            position = Cursor.parse(page.cursor)
            yield page
        yield Page(rows=(), cursor=position.ended().text(), more=False, total=total)

    async def ids(self, feed: str) -> AsyncIterator[Sequence[str]]:
        """Yield the numbers of all records that are there; a party that was deactivated is not."""
        last = 0
        while True:
            domain: Json = [["id", ">", last], *await self._others(feed)]
            found = await self._transport.search(feed, domain, fields=("id",), limit=IDS_PER_PAGE)
            if found:
                last = _number(found[-1])
                yield [str(_number(row)) for row in found]
            if len(found) < IDS_PER_PAGE:
                return

    async def fetch(self, feed: str, external_ids: Sequence[str]) -> Sequence[Raw]:
        """Return the records of these numbers that are there; a party that was deactivated is not."""
        found = await self._rows(feed, [int(each) for each in external_ids])
        return [each for each in map(raw, found) if not each.deleted]

    async def write(self, feed: str, changes: Sequence[Change]) -> list[Written]:
        """Write changes one after the other, each under its condition; one answer for each."""
        return await self._writer.write(feed, changes)

    async def _start(self, feed: str) -> Cursor:
        """Begin at the beginning; of parts only what changes from now on, as they come with their records."""
        places = {feed: Place()}
        for model, _ in PARTS[feed]:
            found = await self._transport.search(model, [], fields=("last_modified_at",), limit=1, order=LATEST)
            places[model] = _place(found[0]).back(self._overlap) if found else Place()
        return Cursor(places=places)

    async def _parts(self, feed: str, position: Cursor, *, told: dict[int, datetime]) -> AsyncIterator[Page]:
        """Yield records whose parts changed, unless they were told of with that change."""
        for model, owner in PARTS[feed]:
            more = True
            while more:
                place = position.places.get(model, Place())
                fields = (f"{owner}.id", "last_modified_at")
                domain: Json = [place.domain(), *_both(model)]
                parts = await self._transport.search(model, domain, fields=fields, limit=self._page_rows, order=ORDER)
                more = len(parts) >= self._page_rows
                if not parts:
                    continue
                position = position.moved(model, _place(parts[-1]))
                changed = {cast("int", at_path(part, owner, "id")): _at(part) for part in parts}
                found = await self._rows(feed, [each for each, at in changed.items() if told.get(each, EPOCH) < at])
                told |= dict(_told(found))
                if found:
                    yield Page(rows=tuple(map(raw, found)), cursor=position.text(), more=True)

    async def _rows(self, feed: str, numbers: Sequence[int]) -> list[dict[str, Json]]:
        """Return the records of these numbers that are there, with the fields of the feed."""
        found: list[dict[str, Json]] = []
        for start in range(0, len(numbers), NUMBERS_PER_REQUEST):
            some: Json = list(numbers[start : start + NUMBERS_PER_REQUEST])
            domain = await self._scope(feed, ["id", "in", some])
            found += await self._transport.search(feed, domain, fields=FIELDS[feed], limit=NUMBERS_PER_REQUEST)
        return found

    async def _scope(self, feed: str, clause: Json) -> Json:
        """Return the condition of a feed: the clause, active or not, without our own company and its employees."""
        return [clause, *_both(feed), *await self._others(feed)]

    async def _others(self, feed: str) -> list[Json]:
        """Return what else a feed asks for: no party that is our own company or its staff; of moves payments alone."""
        if self._own is None:
            companies = await self._transport.search(
                "company.company", [], fields=("party",), limit=NUMBERS_PER_REQUEST
            )
            staff = await self._transport.search("company.employee", [], fields=("party",), limit=STAFF_MAX)
            if len(companies) == 1:
                self._transport.company = _number(companies[0])
            self._own = [row["party"] for row in (*companies, *staff)]
        if feed == PAYMENTS:
            return list(BOOKED)
        return [["id", "not in", self._own]] if feed == PARTIES else []


@asynccontextmanager
async def session(settings: Mapping[str, str], *, dice: Random, leave: Leave = freely) -> AsyncGenerator[TrytonSession]:
    """Open a session; raises ConnectorError when the settings cannot be right."""
    try:
        page_rows, overlap = (
            int(settings.get("page_rows", "500")),
            timedelta(seconds=float(settings.get("overlap_s", "60"))),
        )
    except ValueError as error:
        raise ConnectorError(
            "`page_rows` and `overlap_s` are numbers.", fix="Give 500 and 60, or leave them out."
        ) from error
    base = permitted(settings["url"], example="https://tryton.example")
    connector = HOUSE.connector(own_only=base.startswith("http:"), per_host=CONNECTIONS_MAX)
    async with aiohttp.ClientSession(connector=connector, trust_env=False) as http:
        transport = Transport(
            http=http,
            url=settings["url"],
            database=settings["database"],
            key=settings["key"],
            user=settings.get("user", ""),
            password=settings.get("password", ""),
            dice=dice,
            leave=leave,
        )
        yield TrytonSession(transport, page_rows=page_rows, overlap=overlap)


def _both(model: str) -> list[Json]:
    """Return the condition that finds inactive records as well, for models that have them."""
    return [ALL_STATES] if model.startswith("party.") else []


def _told(rows: Sequence[dict[str, Json]]) -> Iterator[tuple[int, datetime]]:
    for row in rows:
        yield _number(row), last_change(row) or EPOCH


def _number(row: dict[str, Json]) -> int:
    return cast("int", row["id"])


def _at(row: dict[str, Json]) -> datetime:
    at = moment(row.get("last_modified_at"))
    if at is None:
        raise ConnectorError("A record has no time of change.", fix="Tryton 7.0 or newer is needed.")
    return at


def _place(row: dict[str, Json]) -> Place:
    return Place(_at(row), _number(row))
