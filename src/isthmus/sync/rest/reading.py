"""A session with a vendor as it is described: pages of what changed, ids, and conditional writes."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import timedelta

import msgspec

from isthmus.kernel.marks import Json
from isthmus.kernel.words import text
from isthmus.sync.abreast import at_once_of
from isthmus.sync.calls import UNAUTHORISED, Answer, Calls
from isthmus.sync.connector import Change, ConnectorError, FeedTrouble, KeyRefused, NotAsDocumented, Page, Raw, Written
from isthmus.sync.rest.columns import at, digest
from isthmus.sync.rest.cursor import EPOCH, Cursor
from isthmus.sync.rest.described import ByQuery, Collection, Vendor
from isthmus.sync.rest.paging import ByCursor, ByLink, ByNumber, ByOffset, Paging, Query, rows_at
from isthmus.sync.rest.ways import Row, instant
from isthmus.sync.rest.writing import Writer, one

LISTINGS_MAX = 4
_FORBIDDEN, _REFUSED = (402, 403, 404), (400, 410, 422)
_TICK = timedelta(seconds=1)


class RestSession:
    """Implements `isthmus.sync.connector.Session`."""

    def __init__(
        self, calls: Calls, vendor: Vendor, settings: Mapping[str, str], *, page_rows: int, overlap: timedelta
    ) -> None:
        """`overlap` is how far each run goes back, for what was told late; raises ConnectorError."""
        self._at_once = at_once_of(settings)
        self._calls, self._vendor, self._settings = calls, vendor, settings
        self._page_rows, self._overlap = page_rows, overlap
        self._feeds = {each.name: each for each in vendor.feeds}
        self._made: dict[str, str] = {}

    async def check(self) -> str:
        """Return who we are there; every feed can be read, or ConnectorError says why not."""
        asked = self._vendor.check
        answer = await self._ask(self._filled(asked.path), [], what=asked.path)
        said = answer.json()
        if not isinstance(said, dict):
            raise NotAsDocumented(f"{self._vendor.title} does not say who we are.", fix="Check `url`.")
        names = [text(at(said, path)) for path in asked.names]
        return f"{next((each for each in names if each), self._vendor.title)} at {self._calls.base}"

    async def read(self, feed: str, *, cursor: str | None) -> AsyncIterator[Page]:
        """Yield what changed, oldest first; all that there is where the vendor tells no changes."""
        of = self._known(feed)
        place = (Cursor() if cursor is None else Cursor.parse(cursor)).begun(overlap=self._overlap)
        lasting = isinstance(of.paging, ByCursor) and of.paging.lasting
        taken_up, more = bool(place.page or place.skip), True
        while more:
            before = place
            try:
                rows, place, more = await self._page(of, place)
            except _PlaceRefused as error:
                if not taken_up:
                    raise FeedTrouble(str(error), fix="See what it says.") from error
                # The vendor no longer knows the page at which a run was interrupted: it is begun again.
                place, taken_up = Cursor(since=place.since, at=place.since, reached=place.reached), False
                continue
            taken_up = False
            done = place if more else place.ended(page=place.page if lasting else "")
            # Where rows of one stamp stay together an answer may hold more than was asked for: it is taken up whole.
            size, told = self._full(of, listing=False), 0
            while len(rows) > size:
                some, rows, told = rows[:size], rows[size:], told + size
                cursor = msgspec.structs.replace(before, skip=before.skip + told).text()
                yield Page(rows=tuple(raw(of, each) for each in some), cursor=cursor, more=True)
            yield Page(rows=tuple(raw(of, each) for each in rows), cursor=done.text(), more=more)

    async def ids(self, feed: str) -> AsyncIterator[Sequence[str]]:
        """Yield the ids of all that is there; a list by numbers of pages is read until two readings agree."""
        of = self._known(feed)
        paging = of.listed_paging or of.paging
        if not isinstance(paging, ByNumber):
            async for some in self._listed(of, paging):
                yield some
            return
        before: set[str] | None = None
        for _ in range(LISTINGS_MAX):
            found = {each async for some in self._listed(of, paging) for each in some}
            if found == before:
                yield sorted(found)
                return
            before = found
        raise FeedTrouble("Records come and go while they are counted.", fix="It is tried again with the next run.")

    async def fetch(self, feed: str, external_ids: Sequence[str]) -> Sequence[Raw]:
        """Return the records under these ids; what is not there is left out."""
        of = self._known(feed)
        found: list[Raw] = []
        for number in external_ids:
            row = await one(self._calls, of, number, fill=self._filled, secret=self._secret())
            there = [] if row is None or _deleted(of, row) else self._shown(of, [row])
            found += [raw(of, each) for each in there]
        return found

    async def write(self, feed: str, changes: Sequence[Change]) -> list[Written]:
        """Write changes, several at a time, each after a look at how the record stands; one answer for each."""
        writer = Writer(
            self._calls,
            self._known(feed),
            fill=self._filled,
            secret=self._secret(),
            raw=raw,
            made=self._made,
            at_once=self._at_once,
        )
        return await writer.write(changes)

    async def _listed(self, of: Collection, paging: Paging) -> AsyncIterator[Sequence[str]]:
        seen = set[str]()
        for path in of.listed or (of.path,):
            place, more = Cursor(), True
            while more:
                rows, place, more = await self._page(of, place, listed=path, paging=paging)
                found = [str(at(row, of.id)) for row in rows if not _deleted(of, row)]
                yield [each for each in dict.fromkeys(found) if each not in seen]
                seen |= set(found)

    async def _page(
        self, of: Collection, place: Cursor, *, listed: str = "", paging: Paging | None = None
    ) -> tuple[list[Row], Cursor, bool]:
        """Return the rows of a page, the place after it, and if there is more; `listed` is a path to list ids of."""
        way, listing = paging or of.paging, bool(listed)
        path = self._filled(listed or of.path)
        told = (*of.query, *(of.listing if listing else of.reading))
        query = [
            *((name, self._filled(value)) for name, value in told),
            (way.size, str(self._full(of, listing=listing))),
        ]
        if of.since is not None and (not listing or (isinstance(way, ByCursor) and way.lasting)):
            from_ = place.since if of.since.inclusive else max(EPOCH, place.since - _TICK)
            query.append((of.since.parameter, of.since.of(from_)))
        if isinstance(way, ByOffset):
            return await self._by_offset(of, way, place, path=path, query=query, listing=listing)
        if isinstance(way, ByNumber):
            number = int(place.page or way.first)
            rows, _ = await self._rows(of, path, [*query, (way.parameter, str(number))])
            more = len(rows) >= self._full(of, listing=listing)
            return self._shown(of, rows), _moved(of, place, rows, page=str(number + 1) if more else ""), more
        if place.page and isinstance(way, ByLink):
            path, query = self._beside(place.page), []
        elif place.page and isinstance(way, ByCursor) and way.alone:
            query = [(way.size, str(self._full(of, listing=listing)))]
        rows, answer = await self._rows(of, path, [*query, *way.query(place.page)])
        said = answer.json()
        page = way.following(said if isinstance(said, dict) else {}, answer.headers)
        if isinstance(way, ByCursor) and way.lasting:
            more = isinstance(said, dict) and at(said, way.end) is not True
            page = page or place.page
            if more and way.timed and page == place.page:
                page = str(int(page) + 1)
            more = more and page != place.page
        else:
            more = bool(page)
        return self._shown(of, rows), _moved(of, place, rows, page=page), more

    async def _by_offset(
        self, of: Collection, way: ByOffset, place: Cursor, *, path: str, query: Query, listing: bool
    ) -> tuple[list[Row], Cursor, bool]:
        """Return a page that begins one row before, which must be the last one that was read.

        Else rows have gone from before it, and later ones would be passed over: a page is read again. Where rows come
        by stamp the place moves on to the last stamp, so that only the rows of one stamp are passed over by number.
        """
        size, skip = self._full(of, listing=listing), place.skip
        rows, _ = await self._rows(of, path, [*query, (way.parameter, str(max(0, skip - 1)))])
        full = len(rows) >= size
        if skip and (not rows or str(at(rows[0], of.id)) != place.last):
            back = 0 if of.since is not None and not listing else max(0, skip - size)
            rows, _ = await self._rows(of, path, [*query, (way.parameter, str(back))])
            full, skip = len(rows) >= size, back
        elif skip:
            rows = rows[1:]
        moved = _moved(of, place, rows, page="")
        last = str(at(rows[-1], of.id)) if rows else place.last
        since, skip = place.since, skip + len(rows)
        if of.since is not None and not listing and moved.at > place.since and rows:
            since = moved.at
            skip = sum(instant(at(row, of.stamp)) == since for row in rows)
        moved = msgspec.structs.replace(moved, since=since, skip=skip, last=last)
        return self._shown(of, rows), moved, full

    async def _rows(self, of: Collection, path: str, query: Query) -> tuple[list[Row], Answer]:
        answer = await self._ask(path, query, what=of.name)
        rows = rows_at(answer.json(), of.rows)
        if rows is None:
            raise NotAsDocumented(f"The answer of {self._vendor.title} holds no list of {of.name}.", fix="Check `url`.")
        return rows, answer

    async def _ask(self, path: str, query: Query, *, what: str) -> Answer:
        answer = await self._calls.send("GET", path, query=[*query, *self._secret()])
        if answer.status == UNAUTHORISED:
            raise KeyRefused(
                f"{self._vendor.title} refuses the key.", fix="Make a new key there and give it to the connection."
            )
        if answer.status in _FORBIDDEN:
            raise FeedTrouble(
                f"{self._vendor.title} answered {answer.status} for {what}: {answer.said}",
                fix="Give the user of the key the rights to read it, and check the settings.",
            )
        if answer.status in _REFUSED:
            raise _PlaceRefused(f"{self._vendor.title} answered {answer.status} for {what}: {answer.said}")
        if not answer.good:
            raise NotAsDocumented(
                f"{self._vendor.title} answered {answer.status} for {what}: {answer.said}", fix="Check `url`."
            )
        return answer

    def _known(self, feed: str) -> Collection:
        if feed not in self._feeds:
            raise ConnectorError(f"There is no feed {feed!r}.", fix=f"There are: {', '.join(self._feeds)}.")
        return self._feeds[feed]

    def _full(self, of: Collection, *, listing: bool) -> int:
        return of.page_rows_max if listing else min(self._page_rows, of.page_rows_max)

    def _shown(self, of: Collection, rows: list[Row]) -> list[Row]:
        return [row for row in rows if of.hidden is None or not of.hidden(row)]

    def _secret(self) -> Query:
        sign_in = self._vendor.sign_in
        return [(sign_in.parameter, self._settings[sign_in.setting])] if isinstance(sign_in, ByQuery) else []

    def _filled(self, path: str) -> str:
        return path.format_map(_Settings(self._settings))

    def _beside(self, path: str) -> str:
        """Return a path of the vendor's server, which may not begin as ours do, on the host that we speak with."""
        scheme, _, rest = self._calls.base.partition("://")
        return f"{scheme}://{rest.partition('/')[0]}{path}"


class _PlaceRefused(ConnectorError):
    """The vendor does not take what was asked, perhaps the place of a page that it no longer knows."""


class _Settings(dict[str, str]):
    """Settings for paths; what is none of them stays as it is."""

    def __missing__(self, name: str) -> str:
        return f"{{{name}}}"


def raw(of: Collection, row: Row) -> Raw:
    """Return a row as the engine takes it; raises NotAsDocumented for one without an id."""
    number = at(row, of.id)
    if number is None or isinstance(number, bool | list | dict):
        raise NotAsDocumented(f"A row of {of.name} has no id.", fix="Report it to the author of the connector.")
    stamp = at(row, of.stamp) if of.stamp else None
    own: Json = at(row, of.version) if of.version else None
    version = str(own) if own is not None else f"{stamp or ''} {digest(of.columns, row)}".strip()
    return Raw(external_id=str(number), body=row, at=instant(stamp), version=version, deleted=_deleted(of, row))


def _deleted(of: Collection, row: Row) -> bool:
    if of.deleted is None:
        return False
    path, value = of.deleted
    return at(row, path) not in (None, "") if value == "any" else at(row, path) == value


def _moved(of: Collection, place: Cursor, rows: Sequence[Row], *, page: str) -> Cursor:
    newest = max((found for row in rows if (found := instant(at(row, of.stamp) if of.stamp else None))), default=EPOCH)
    return msgspec.structs.replace(place, page=page, at=max(place.at, newest))
