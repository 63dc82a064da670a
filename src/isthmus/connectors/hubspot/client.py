"""A session with HubSpot: everything once by its lists, then what searches find; deletions, merges, and the ids."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from random import Random

import msgspec

from isthmus.connectors.hubspot.cursor import Cursor, changed_at, number
from isthmus.connectors.hubspot.portal import LIST_ROWS_MAX, SEARCH_ROWS_MAX, Portal, merged_in
from isthmus.connectors.hubspot.shapes import SHAPES
from isthmus.connectors.hubspot.transport import RULES, URL, Access, Transport
from isthmus.connectors.hubspot.wire import Row, milliseconds, moment, version
from isthmus.connectors.hubspot.writing import Writer
from isthmus.sync.calls import Exchange, calling
from isthmus.sync.connector import Authorise, Change, ConnectorError, Described, Leave, Page, Raw, Written, freely

OVERLAP_S_MAX = 86_400
_ID, _SINCE, _BEFORE, _AFTER = "hs_object_id", "GTE", "LT", "GT"


class HubSpotSession:
    """Implements `isthmus.sync.connector.Session`."""

    def __init__(self, portal: Portal, *, feeds: Sequence[str], page_rows: int, overlap_s: int) -> None:
        """`overlap_s` is how many seconds each run goes back, for what searches find late."""
        self._portal, self._feeds = portal, tuple(feeds)
        self._page_rows, self._overlap_s = page_rows, overlap_s
        self._writer = Writer(portal)

    async def check(self) -> str:
        """Return the account; every feed can be read, or ConnectorError says why not."""
        account = await self._portal.account()
        for feed in self._feeds:
            await self._portal.listed(feed, after=None, limit=1)
        return f"HubSpot account {account.number} at {self._portal.transport.base}"

    async def read(self, feed: str, *, cursor: str | None) -> AsyncIterator[Page]:
        """Yield everything by its numbers, and from then on what changed, oldest first; then what was deleted."""
        if feed not in SHAPES:
            raise ConnectorError(f"There is no feed {feed!r}.", fix=f"There are: {', '.join(SHAPES)}.")
        position = Cursor() if cursor is None else Cursor.parse(cursor)
        if position == Cursor():
            position = await self._start(feed)
        if position.listing is not None:
            async for page in self._everything(feed, position):
                yield page
            return
        position, total, more = position.begun(overlap_s=self._overlap_s), None, True
        while more:
            before = position
            found, position, more, count = await self._found(feed, before)
            total = count if total is None else total
            told = await self._portal.told(feed, found)
            pages = self._paged(feed, told, before=before, after=position, total=total)
            position = position.counted(before.told + len(pages))
            for page in pages:
                yield page
        async for page in self._gone(feed, position):
            yield page

    async def ids(self, feed: str) -> AsyncIterator[Sequence[str]]:
        """Yield the ids of all records that are there; what was deleted is not listed."""
        after: str | None = None
        while True:
            found = await self._portal.ids(feed, after=after)
            yield [number(row) for row in found.rows]
            after = found.after
            if after is None:
                return

    async def fetch(self, feed: str, external_ids: Sequence[str]) -> Sequence[Raw]:
        """Return the records under these ids; what is not there is left out."""
        told = await self._portal.told(feed, await self._portal.read(feed, external_ids))
        return [Raw(external_id=number(row), body=row, at=self._at(feed, row), version=version(row)) for row in told]

    async def fields(self, feed: str) -> Sequence[Described]:
        """Return the properties that are read, with the account's own."""
        return await self._portal.described(feed)

    async def write(self, feed: str, changes: Sequence[Change]) -> list[Written]:
        """Write changes, a hundred at once, after a look at how the records stand; one answer for each."""
        return await self._writer.write(feed, changes)

    async def _start(self, feed: str) -> Cursor:
        """Return where a first reading begins: changes are looked for from the newest one that is known before it."""
        newest, _ = await self._portal.search(feed, [], by=SHAPES[feed].by, limit=1, latest=True)
        ms = self._ms(feed, newest[0]) if newest else 0
        return Cursor(ms=ms, listing="", gone_ms=ms)

    async def _everything(self, feed: str, position: Cursor) -> AsyncIterator[Page]:
        limit = min(self._page_rows, LIST_ROWS_MAX)
        ended = Cursor(ms=position.ms, gone_ms=position.gone_ms)
        while position.listing is not None:
            before = position
            found = await self._portal.listed(feed, after=before.listing or None, limit=limit)
            position = msgspec.structs.replace(ended, listing=found.after)
            told = await self._portal.told(feed, found.rows)
            for page in self._paged(feed, told, before=before, after=position, total=None):
                yield page
        yield Page(rows=(), cursor=ended.text(), more=False)

    async def _found(self, feed: str, position: Cursor) -> tuple[list[Row], Cursor, bool, int]:
        """Return what a search finds from a place on, the place after it, whether there is more, and how many are."""
        by, limit = SHAPES[feed].by, min(self._page_rows, SEARCH_ROWS_MAX)
        since = [(by, _SINCE, str(position.ms))]
        if position.number is None:
            found, count = await self._portal.search(feed, since, by=by, limit=limit)
        else:
            asked = [*since, (by, _BEFORE, str(position.ms + 1)), (_ID, _AFTER, str(position.number))]
            found, count = await self._portal.search(feed, asked, by=_ID, limit=limit)
        full = len(found) >= limit
        found.sort(key=lambda row: (self._ms(feed, row), int(number(row))))
        if position.number is not None:
            if full:
                return found, position.moved(ms=position.ms, number=int(number(found[-1]))), True, count
            return found, position.moved(ms=position.ms + 1), True, count
        found, position = self._placed(feed, found, position, full=full)
        return found, position, full, count

    def _placed(self, feed: str, found: list[Row], position: Cursor, *, full: bool) -> tuple[list[Row], Cursor]:
        """Return which rows of a search by time to tell now, and where to go on.

        What has the last millisecond of a full page is told by the next search, which begins with it; where the whole
        page has one millisecond, this is read by number from its beginning.
        """
        if not found:
            return found, position
        last = self._ms(feed, found[-1])
        if not full:
            return found, position.moved(ms=last)
        if self._ms(feed, found[0]) == last:
            return [], position.moved(ms=last, number=0)
        return [row for row in found if self._ms(feed, row) < last], position.moved(ms=last)

    async def _gone(self, feed: str, position: Cursor) -> AsyncIterator[Page]:
        """Yield what was deleted since the last run, by the list of what was: it knows no order but that of numbers."""
        since, latest = position.gone_ms - self._overlap_s * 1000, position.gone_ms
        gone: list[str] = []
        after: str | None = None
        while True:
            found = await self._portal.listed(feed, after=after, limit=LIST_ROWS_MAX, archived=True)
            for row in found.rows:
                at = moment(row.get("archivedAt"))
                if at is None or milliseconds(at) >= since:
                    gone.append(number(row))
                    latest = max(latest, milliseconds(at) if at else 0)
            after = found.after
            if after is None:
                break
        rows = await self._ended(feed, gone)
        cursor = position.ended(gone_ms=latest).text()
        while len(rows) > self._page_rows:
            some, rows = rows[: self._page_rows], rows[self._page_rows :]
            position = position.counted(position.told + 1)
            yield Page(rows=tuple(some), cursor=position.text(), more=True)
        yield Page(rows=tuple(rows), cursor=cursor, more=False)

    async def _ended(self, feed: str, gone: Sequence[str]) -> list[Raw]:
        """Return deletions, without what lives again; one that is known by its survivor became part of it."""
        alive = await self._portal.read(feed, gone)
        into = {part: number(row) for row in alive for part in merged_in(row)}
        living = {number(row) for row in alive}
        return [
            Raw(external_id=each, body={}, deleted=True, merged_into=into.get(each))
            for each in gone
            if each not in living
        ]

    def _paged(self, feed: str, told: Sequence[Row], *, before: Cursor, after: Cursor, total: int | None) -> list[Page]:
        """Return rows as a page, and what became part of them in pages after it; no page for no rows.

        All but the last lead back to where they began, so that a reading that stops between them tells all once more.
        """
        rows = [Raw(external_id=number(row), body=row, at=self._at(feed, row), version=version(row)) for row in told]
        merges = [
            Raw(external_id=part, body={}, deleted=True, merged_into=number(row))
            for row in told
            for part in merged_in(row)
        ]
        parts = [rows, *(merges[at : at + self._page_rows] for at in range(0, len(merges), self._page_rows))]
        found = [each for each in parts if each]
        at_last = len(found) - 1
        return [
            Page(
                rows=tuple(each),
                cursor=(after if at == at_last else before).counted(before.told + at + 1).text(),
                more=True,
                total=total,
            )
            for at, each in enumerate(found)
        ]

    def _at(self, feed: str, row: Row) -> datetime:
        return changed_at(row, by=SHAPES[feed].by)

    def _ms(self, feed: str, row: Row) -> int:
        return milliseconds(changed_at(row, by=SHAPES[feed].by))


@asynccontextmanager
async def session(
    settings: Mapping[str, str],
    *,
    feeds: Sequence[str],
    dice: Random,
    leave: Leave = freely,
    authorise: Authorise | None = None,
) -> AsyncGenerator[HubSpotSession]:
    """Open a session; raises ConnectorError when the settings cannot be right.

    `authorise` proves who we are where a person has consented; else the settings do.
    """
    try:
        page_rows, overlap_s = int(settings.get("page_rows", "100")), int(settings.get("overlap_s", "300"))
    except ValueError as error:
        raise ConnectorError("`page_rows` and `overlap_s` are numbers.", fix="Leave them out.") from error
    if not (0 < page_rows <= LIST_ROWS_MAX and 0 <= overlap_s <= OVERLAP_S_MAX):
        raise ConnectorError(
            "`page_rows` is 1 to 100, and `overlap_s` at most a day.", fix="Give 100 and 300, or leave them out."
        )
    url = settings.get("url") or URL
    found: list[Transport] = []

    def watch(exchange: Exchange) -> None:
        for each in found:
            each.watch(exchange)

    async with calling(url, title="HubSpot", dice=dice, leave=leave, rules=RULES) as tokens:
        authorise = authorise or Access(settings, tokens=tokens).authorise
        async with calling(
            url, title="HubSpot", dice=dice, leave=leave, authorise=authorise, rules=RULES, watch=watch
        ) as calls:
            found.append(Transport(calls))
            portal = Portal(found[0], feeds=feeds, key_property=settings.get("key_property", "isthmus_key").strip())
            yield HubSpotSession(portal, feeds=feeds, page_rows=page_rows, overlap_s=overlap_s)
