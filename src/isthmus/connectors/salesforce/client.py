"""A session with one organisation: pages of what changed, everything in bulk, the ids there are, and writes."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from random import Random

from isthmus.connectors.salesforce.bulk import BulkJobs, BulkUnavailable, JobGone
from isthmus.connectors.salesforce.cursor import Cursor, Place, Scanned, place
from isthmus.connectors.salesforce.shapes import Shape, Shapes, raw
from isthmus.connectors.salesforce.signing import IDENTITY, INSTANCE, Credentials, SigningIn, own_id, spoken_with
from isthmus.connectors.salesforce.strict import REPORT, record_id
from isthmus.connectors.salesforce.tables import BEFORE, BY_FEED, PAGE_ROWS_MAX, STAGE_CHANGE, STAGES, Table
from isthmus.connectors.salesforce.transport import FORBIDDEN, Found, SalesforceFault, Transport
from isthmus.connectors.salesforce.wire import STAMP, Row, among, in_parts, quoted, select
from isthmus.connectors.salesforce.writing import Writer
from isthmus.kernel.words import text
from isthmus.sync.calls import Authorise, calling
from isthmus.sync.connector import (
    Change,
    ConnectorError,
    Described,
    FeedTrouble,
    Leave,
    NotAsDocumented,
    Page,
    Written,
    freely,
)

TITLE = "Salesforce"
# A query that takes too long is asked again for half as many rows, down to so many.
ROWS_MIN = 25
IDS_AT_ONCE = 200
_TOO_LONG = "QUERY_TIMEOUT"
_BLIND = ("INVALID_TYPE", "INVALID_FIELD", "INSUFFICIENT_ACCESS")


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What the settings choose: `bulk_rows` is from how many rows on jobs are made, nothing for never."""

    feeds: tuple[str, ...]
    page_rows: int
    overlap: timedelta
    currency: str
    key_field: str
    bulk_rows: int | None


class SalesforceSession:
    """Implements `Session`, `Scanning` and `Describing` of `isthmus.sync.connector`."""

    def __init__(self, transport: Transport, choice: Choice, *, user_id: str) -> None:
        """`user_id` is who we are there."""
        self._transport, self._choice, self._user_id = transport, choice, user_id
        self._shapes = Shapes(transport, currency=choice.currency, key_field=choice.key_field)
        self._jobs = BulkJobs(transport)
        self._writer = Writer(
            transport, self._shapes, user_id=user_id, key_field=choice.key_field, bulk_rows=choice.bulk_rows
        )

    async def check(self) -> str:
        """Return who we are, where; every feed can be read, or ConnectorError says why not."""
        who = await self._transport.all(select(["Username"], "User", where=among("Id", [self._user_id])))
        for feed in self._choice.feeds:
            shape = await self._shapes.of(BY_FEED[feed])
            if shape.table.writes and self._choice.key_field and self._choice.key_field not in shape.columns:
                raise ConnectorError(
                    f"{shape.table.name} has no field {self._choice.key_field}.",
                    fix="Make it there: text, external id, unique. Or leave `key_field` out.",
                )
        name = text(who[0].get("Username")) if who else None
        return f"{name or self._user_id} at {self._transport.base}"

    async def read(self, feed: str, *, cursor: str | None) -> AsyncIterator[Page]:
        """Yield what changed, was deleted or merged, oldest first."""
        table = _table(feed)
        position = Cursor() if cursor is None else Cursor.parse(cursor)
        async for page in self._listed(table, position.begun(overlap=self._choice.overlap)):
            yield page

    async def scan(self, feed: str, *, cursor: str | None) -> AsyncIterator[Page]:
        """Yield everything there is by a bulk job, or by lists where none can be made."""
        table = _table(feed)
        start = Scanned() if cursor is None else Scanned.parse(cursor)
        if start.listing is None and self._choice.bulk_rows is not None:
            try:
                async for page in self._by_job(table, start):
                    yield page
            except BulkUnavailable:
                start = Scanned(listing=Cursor())
            else:
                return
        async for page in self._listed(table, start.listing or Cursor()):
            told = Scanned(listing=Cursor.parse(page.cursor))
            yield Page(rows=page.rows, cursor=told.text(), more=page.more)

    async def ids(self, feed: str) -> AsyncIterator[Sequence[str]]:
        """Yield the ids of all records that are there, archived ones among them."""
        table, last, more = _table(feed), "", True
        while more:
            where = "IsDeleted = false" + (f" AND Id > {quoted(last)}" if last else "")
            soql = select(["Id"], table.name, where=where, order="Id", limit=PAGE_ROWS_MAX)
            found = [record_id(row) for row in await self._whole(table, soql)]
            more = len(found) >= PAGE_ROWS_MAX
            last = found[-1] if found else last
            yield found

    async def fields(self, feed: str) -> Sequence[Described]:
        """Return the fields that are read, with the organisation's own."""
        return (await self._shape(_table(feed))).described

    async def write(self, feed: str, changes: Sequence[Change]) -> list[Written]:
        """Write changes under the condition that records have not moved; one answer for each."""
        return await self._writer.write(_table(feed), changes)

    async def _listed(self, table: Table, position: Cursor) -> AsyncIterator[Page]:
        """Yield rows after a place, each page with the place at which it ends."""
        shape = await self._shape(table)
        limit, more = self._choice.page_rows, True
        while more:
            where, order = position.place.condition(), f"{STAMP}, Id"
            soql = select(shape.selected, table.name, where=where, order=order, limit=limit)
            try:
                part = await self._transport.query(soql, deleted=True)
            except SalesforceFault as fault:
                if fault.code != _TOO_LONG or limit <= ROWS_MIN:
                    raise self._unreadable(table, fault) from fault
                limit = max(ROWS_MIN, limit // 2)
                continue
            count = 0
            while True:
                count += len(part.rows)
                more = part.next_path is not None or count >= limit
                position = position.moved(_end(part, position.place))
                cursor = position if more else position.ended()
                told = await self._told(shape, part.rows)
                yield Page(rows=tuple(raw(shape, row) for row in told), cursor=cursor.text(), more=more)
                if part.next_path is None:
                    break
                try:
                    part = await self._transport.more(part.next_path)
                except SalesforceFault:
                    # The place in a list is kept for a while only: the rest is asked for by its place of ours.
                    break

    async def _by_job(self, table: Table, start: Scanned) -> AsyncIterator[Page]:
        shape = await self._shape(table)
        soql = select(shape.selected, table.name)
        at = start if start.job else Scanned(job=await self._jobs.query(soql))
        more = True
        while more:
            try:
                part = await self._jobs.part(at.job, at.locator, rows_max=self._choice.page_rows)
            except JobGone as error:
                if at.job != start.job:
                    raise FeedTrouble(
                        "A bulk job went before it was read.", fix="It is begun anew by itself."
                    ) from error
                # Results are kept for a week: what was interrupted before that is begun anew.
                at = Scanned(job=await self._jobs.query(soql))
                continue
            at, more = Scanned(job=at.job, locator=part.locator), bool(part.locator)
            told = await self._before(shape, shape.rows_of_file(part.content))
            yield Page(rows=tuple(raw(shape, row) for row in told), cursor=at.text() if more else "{}", more=more)

    async def _told(self, shape: Shape, found: Sequence[Row]) -> list[Row]:
        return await self._before(shape, [shape.row(row) for row in found])

    async def _before(self, shape: Shape, found: list[Row]) -> list[Row]:
        """Return rows of the history with the stage before each, which the history does not tell."""
        if shape.table.type != STAGE_CHANGE or not found:
            return found
        deals = sorted({str(row.get("OpportunityId")) for row in found})
        before: dict[str, str | None] = {}
        for some in in_parts(deals, IDS_AT_ONCE):
            where, names = among("OpportunityId", some), ("Id", "OpportunityId", "StageName")
            soql = select(names, shape.table.name, where=where, order="CreatedDate, Id")
            last: dict[str, str | None] = {}
            for row in await self._transport.all(soql, deleted=True):
                deal = str(row.get("OpportunityId"))
                before[str(row.get("Id"))] = last.get(deal)
                last[deal] = text(row.get("StageName"))
        stages: Row = {str(each["ApiName"]): each for each in await self._shapes.stages()}
        return [_with_stages(row, before.get(str(row.get("Id"))), stages) for row in found]

    async def _shape(self, table: Table) -> Shape:
        try:
            return await self._shapes.of(table)
        except SalesforceFault as fault:
            raise self._unreadable(table, fault) from fault

    async def _whole(self, table: Table, soql: str) -> list[Row]:
        try:
            return await self._transport.all(soql, deleted=True)
        except SalesforceFault as fault:
            raise self._unreadable(table, fault) from fault

    def _unreadable(self, table: Table, fault: SalesforceFault) -> ConnectorError:
        """Return the error to raise where a table cannot be read."""
        if fault.later:
            return ConnectorError(f"Salesforce cannot answer now: {fault.sentence}", fix="It is tried again by itself.")
        if fault.status == FORBIDDEN or fault.code in _BLIND:
            fix = f"In Salesforce, let the user read {table.name}, or leave {table.feed} out of `feeds`."
            return FeedTrouble(f"{table.feed} cannot be read: {fault.sentence}", fix=fix)
        return NotAsDocumented(f"Salesforce refuses to list {table.feed}: {fault.sentence}", fix=REPORT)


def _end(part: Found, where: Place) -> Place:
    return place(part.rows[-1]) if part.rows else where


def _with_stages(row: Row, before: str | None, stages: Row) -> Row:
    """Return a row of the history with the stage before it, and what both stages are in the organisation."""
    known: Row = {name: stages[name] for name in (str(row.get("StageName")), str(before)) if name in stages}
    told: Row = {BEFORE: before, STAGES: known}
    return row | told


def _table(feed: str) -> Table:
    table = BY_FEED.get(feed)
    if table is None:
        raise ConnectorError(f"There is no feed {feed!r}.", fix=f"There are: {', '.join(BY_FEED)}.")
    return table


def _choice(settings: Mapping[str, str], feeds: Sequence[str]) -> tuple[Choice, int]:
    """Return what the settings choose, and the share of the day's requests that is not ours, in percent."""
    try:
        page_rows = min(PAGE_ROWS_MAX, int(settings.get("page_rows") or PAGE_ROWS_MAX))
        overlap = timedelta(seconds=float(settings.get("overlap_s") or 0))
        reserve, bulk_rows = int(settings.get("reserve") or 0), int(settings.get("bulk_rows") or 0)
    except ValueError as error:
        names = "`page_rows`, `overlap_s`, `reserve` and `bulk_rows`"
        raise ConnectorError(f"{names} are numbers.", fix="Correct them, or leave them out.") from error
    choice = Choice(
        feeds=tuple(feeds),
        page_rows=max(1, page_rows),
        overlap=overlap,
        currency=settings.get("currency", "").strip().upper(),
        key_field=settings.get("key_field", "").strip(),
        bulk_rows=bulk_rows or None,
    )
    return choice, min(99, max(0, reserve))


@asynccontextmanager
async def session(
    settings: Mapping[str, str], *, feeds: Sequence[str], dice: Random, leave: Leave = freely
) -> AsyncGenerator[SalesforceSession]:
    """Sign in and open a session; raises ConnectorError when the settings cannot be right."""
    choice, reserve = _choice(settings, feeds)
    credentials = Credentials.of(settings)
    async with calling(settings["url"], title=TITLE, dice=dice, leave=leave) as door:
        signing = SigningIn(door, credentials)
        await signing.authorise(fresh=False)
        async with calling(signing.base, title=TITLE, dice=dice, leave=leave, authorise=signing.authorise) as calls:
            yield SalesforceSession(Transport(calls, reserve=reserve), choice, user_id=signing.user_id)


@asynccontextmanager
async def session_in_name(
    settings: Mapping[str, str], *, feeds: Sequence[str], dice: Random, authorise: Authorise, leave: Leave = freely
) -> AsyncGenerator[SalesforceSession]:
    """Open a session in the name of a person who consented, with what the token answer told of them."""
    choice, reserve = _choice(settings, feeds)
    base = spoken_with(settings["url"], settings.get(INSTANCE, ""))
    async with calling(base, title=TITLE, dice=dice, leave=leave, authorise=authorise) as calls:
        user_id = own_id(settings.get(IDENTITY, ""))
        yield SalesforceSession(Transport(calls, reserve=reserve), choice, user_id=user_id)
