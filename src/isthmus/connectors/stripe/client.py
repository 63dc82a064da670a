"""A session with Stripe: everything once, then what events tell of; and the ids there are."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import cast

import msgspec

from isthmus.connectors.stripe.cursor import Cursor
from isthmus.connectors.stripe.events import touched
from isthmus.connectors.stripe.mapping import SUBSCRIPTIONS, product_to_name, version
from isthmus.connectors.stripe.transport import (
    EXPANDED,
    PAGE_ROWS_MAX,
    RULES,
    URL,
    Key,
    Query,
    StripeFault,
    Transport,
    unreadable,
)
from isthmus.connectors.stripe.wire import instant, own_id, rows
from isthmus.connectors.stripe.writing import Writer
from isthmus.kernel.marks import Json
from isthmus.kernel.words import at_path, text
from isthmus.sync.calls import calling
from isthmus.sync.connector import Change, ConnectorError, Leave, NotAsDocumented, Page, Raw, Written, freely

# Stripe tells events of the last 30 days; a day is kept back for runs that take long.
EVENT_DAYS, DAY_S = 29, 86_400
# With more events than this everything is listed anew: a list tells a hundred objects in one request.
EVENTS_MAX = 20_000
AT_ONCE = 8
# An event says the second in which something happened; this leads to its last millisecond.
SECOND = timedelta(milliseconds=999)
# What makes lists whole that leave something out by themselves.
WHOLE: dict[str, Query] = {SUBSCRIPTIONS: (("status", "all"),)}
EVENTS, LISTS = "events", "lists"
Row = dict[str, Json]


@dataclass(frozen=True, slots=True)
class News:
    """What events tell of one feed since a time, up to `at`; `events` are the ids and times of all that were read."""

    at: int
    touched: tuple["Touched", ...]
    events: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Touched:
    """An object that events tell of: when they did first and last, and their ids."""

    number: str
    first: int
    last: int
    events: tuple[str, ...]


@dataclass(slots=True)
class _Events:
    """Events by their ids, and when Stripe was first asked for them."""

    read: dict[str, Row]
    at: int


class StripeSession:
    """Implements `Session` and `Fetching` of `isthmus.sync.connector`."""

    def __init__(
        self, transport: Transport, *, feeds: Sequence[str], follow: str, page_rows: int, overlap_s: int
    ) -> None:
        """`overlap_s` is how far each run goes back, for events that are told late."""
        self._transport, self._feeds, self._follow = transport, tuple(feeds), follow
        self._page_rows, self._overlap_s = page_rows, overlap_s
        self._products: dict[str, Json] = {}
        self._writer = Writer(transport, raws=self._raws)

    async def check(self) -> str:
        """Return the account and mode; every feed and the events can be read, or ConnectorError says why not."""
        for feed in (*self._feeds, *([EVENTS] if self._follow == EVENTS else [])):
            await self._list(feed, [("limit", "1")])
        mode = "live" if self._transport.live else "test"
        return f"{await self._account()} at {self._transport.base} ({mode} mode)"

    async def read(self, feed: str, *, cursor: str | None) -> AsyncIterator[Page]:
        """Yield everything in pages, and from then on the objects that events tell of; last an empty page."""
        position = None if cursor is None else Cursor.parse(cursor)
        if position is None or position.listing or self._follow == LISTS:
            start = position if position is not None and position.listing else None
            async for page in self._everything(feed, start):
                yield page
            return
        news = await self._news(feed, position)
        if news is None:
            async for page in self._everything(feed, None):
                yield page
            return
        async for page in self._told(feed, position, news):
            yield page

    async def ids(self, feed: str) -> AsyncIterator[Sequence[str]]:
        """Yield the ids of all objects that are there; a customer that was deleted is not listed."""
        after: str | None = None
        more = True
        while more:
            found, more, _ = await self._page(feed, after, limit=PAGE_ROWS_MAX, expanded=False)
            if found:
                after = str(found[-1]["id"])
                yield [str(row["id"]) for row in found]

    async def fetch(self, feed: str, external_ids: Sequence[str]) -> Sequence[Raw]:
        """Return the objects under these ids as they stand now; what is not there, or was deleted, is left out."""
        found = await self._look(feed, [Touched(each, 0, 0, ()) for each in external_ids])
        return [msgspec.structs.replace(each, at=None) for each in found if not each.deleted]

    async def write(self, feed: str, changes: Sequence[Change]) -> list[Written]:
        """Write changes one after the other, each after a look at how the object stands; one answer for each."""
        return await self._writer.write(feed, changes)

    async def _everything(self, feed: str, start: Cursor | None) -> AsyncIterator[Page]:
        """List everything; what changes meanwhile is told by events from the time at which the list began."""
        position: Cursor = start or await self._start()
        more = True
        while more:
            try:
                found, more, at = await self._page(feed, position.after, limit=self._page_rows)
            except StripeFault as fault:
                if position.after is None or not fault.missing:
                    raise unreadable(fault, what=feed) from fault
                # The object at which the page ended was deleted since: the list is begun again, and nothing is lost.
                position = msgspec.structs.replace(position, after=None)
                continue
            if found:
                position = msgspec.structs.replace(position, after=str(found[-1]["id"]))
                # A list does not say when its objects changed; they stood so at the time of the answer.
                stood = [msgspec.structs.replace(raw, at=at) for raw in await self._raws(feed, found)]
                yield Page(rows=tuple(stood), cursor=position.text(), more=True)
        ended = msgspec.structs.replace(position, listing=False, after=None)
        yield Page(rows=(), cursor=ended.text(), more=False)

    async def _start(self) -> Cursor:
        """Return where a list begins: at Stripe's time, with the events that were told before it."""
        if self._follow == LISTS:
            return Cursor(since=0, listing=True)
        _, at = await self._list(EVENTS, [("limit", "1")])
        since = max(at - self._overlap_s, 0)
        before = await self._events(since)
        return Cursor(since=since, listing=True, seen=tuple(sorted(before.read)) if before else ())

    async def _told(self, feed: str, position: Cursor, news: News) -> AsyncIterator[Page]:
        """Ask for each object that events tell of, those that were told of first first."""
        seen, total = set(position.seen), len(news.touched)
        for start in range(0, total, self._page_rows):
            some, rest = news.touched[start : start + self._page_rows], news.touched[start + self._page_rows :]
            found = await self._look(feed, some)
            seen.update(event for each in some for event in each.events)
            if rest:
                since = max(position.since, rest[0].first - self._overlap_s)
                position = Cursor(since=since, seen=tuple(sorted(seen)))
            cursor = position.text() if rest else self._ended(position, news)
            yield Page(rows=tuple(found), cursor=cursor, more=bool(rest), total=total)
        if not total:
            yield Page(rows=(), cursor=self._ended(position, news), more=False)

    def _ended(self, position: Cursor, news: News) -> str:
        """Return where the next run begins: a while before this one asked, without the events that it has read."""
        since = max(news.at - self._overlap_s, position.since)
        return Cursor(since=since, seen=tuple(sorted(event for event, at in news.events if at >= since))).text()

    async def _news(self, feed: str, position: Cursor) -> News | None:
        """Return what events tell since a time; nothing where they do not reach back so far, or are too many."""
        found = await self._events(position.since)
        if found is None:
            return None
        events = tuple((number, _created(event)) for number, event in found.read.items())
        seen = set(position.seen)
        fresh = [event for number, event in found.read.items() if number not in seen]
        at = found.at or max((at for _, at in events), default=position.since)
        return News(at, _touched(feed, fresh), events)

    async def _events(self, since: int) -> "_Events | None":
        """Read all events since a time; nothing where they do not reach back so far, or are too many."""
        found = _Events({}, 0)
        after, more = None, True
        while more:
            query = [("limit", str(PAGE_ROWS_MAX)), ("created[gte]", str(since))]
            told, at = await self._list(EVENTS, query + ([("starting_after", after)] if after else []))
            found.at = found.at or at
            if (found.at and found.at - since > EVENT_DAYS * DAY_S) or len(found.read) > EVENTS_MAX:
                return None
            page = rows(told)
            found.read |= {str(event["id"]): event for event in page}
            more = bool(told.get("has_more")) and bool(page)
            after = str(page[-1]["id"]) if page else None
        return found

    async def _look(self, feed: str, some: Sequence[Touched]) -> list[Raw]:
        """Return how objects stand now, in their order; one that is gone is a deleted one."""
        found: list[Raw] = []
        for start in range(0, len(some), AT_ONCE):
            asked = [self._one(feed, each) for each in some[start : start + AT_ONCE]]
            # All come to their end before one fails, so that no request is left alone.
            for answer in await asyncio.gather(*asked, return_exceptions=True):
                if isinstance(answer, BaseException):
                    raise answer
                found.append(answer)
        return found

    async def _one(self, feed: str, touched: Touched) -> Raw:
        """Return how an object stands now; it stands so since its last event, which is told in whole seconds."""
        at = instant(touched.last)
        since = at + SECOND if at else None
        expand = [("expand[]", name) for name in EXPANDED.get(feed, ())]
        try:
            told = await self._transport.get(f"/v1/{feed}/{touched.number}", expand)
        except StripeFault as fault:
            if fault.missing:
                return Raw(external_id=touched.number, body={}, at=since, deleted=True)
            raise unreadable(fault, what=feed) from fault
        [raw] = await self._raws(feed, [told.body])
        return msgspec.structs.replace(raw, at=since)

    async def _page(
        self, feed: str, after: str | None, *, limit: int, expanded: bool = True
    ) -> tuple[list[Row], bool, datetime | None]:
        """Return objects of a list, whether there are more, and the time by Stripe's clock; raises StripeFault."""
        query = [("limit", str(limit)), *WHOLE.get(feed, ())]
        query += [("expand[]", f"data.{name}") for name in (EXPANDED.get(feed, ()) if expanded else ())]
        told = await self._transport.get(f"/v1/{feed}", query + ([("starting_after", after)] if after else []))
        found = _listed(told.body)
        return found, bool(told.body.get("has_more")) and bool(found), instant(told.at or None)

    async def _list(self, what: str, query: Query) -> tuple[Row, int]:
        try:
            told = await self._transport.get(f"/v1/{what}", query)
        except StripeFault as fault:
            raise unreadable(fault, what=what) from fault
        _listed(told.body)
        return told.body, told.at

    async def _raws(self, feed: str, found: Sequence[Row]) -> tuple[Raw, ...]:
        """Return objects as the engine takes them; subscriptions with the names of the products they are of."""
        if feed == SUBSCRIPTIONS:
            await self._name_products(found)
        return tuple(map(self._raw, found))

    async def _name_products(self, found: Sequence[Row]) -> None:
        for item in (item for row in found for item in rows(row.get("items"))):
            product = product_to_name(item)
            if product is not None:
                for name in ("price", "plan"):
                    if own_id(at_path(item, name, "product")) == product:
                        cast("Row", item[name])["product"] = await self._product(product)

    async def _product(self, number: str) -> Json:
        if number not in self._products:
            try:
                told = await self._transport.get(f"/v1/products/{number}")
            except StripeFault:
                # A key that may not read products, or a product that is gone: its id stands for its name.
                self._products[number] = {"id": number}
            else:
                self._products[number] = {"id": number, "name": told.body.get("name")}
        return self._products[number]

    def _raw(self, row: Row) -> Raw:
        """Return an object as the engine takes it; raises NotAsDocumented for one of the other mode."""
        if isinstance(mode := row.get("livemode"), bool) and mode != self._transport.live:
            raise NotAsDocumented("Stripe answered with an object of the other mode.", fix="Check `key` and `mode`.")
        deleted = row.get("deleted") is True
        return Raw(external_id=str(row["id"]), body=row, version=None if deleted else version(row), deleted=deleted)

    async def _account(self) -> str:
        """Return the name of the account, where the key may know it."""
        try:
            told = await self._transport.get("/v1/account")
        except StripeFault:
            return "Stripe"
        names = (at_path(told.body, "settings", "dashboard", "display_name"), told.body.get("id"))
        return next((name for each in names if (name := text(each))), "Stripe")


@asynccontextmanager
async def session(
    settings: Mapping[str, str], *, feeds: Sequence[str], dice: Random, leave: Leave = freely
) -> AsyncGenerator[StripeSession]:
    """Open a session; raises ConnectorError when the settings cannot be right."""
    key = Key.of(settings)
    follow = settings.get("follow", EVENTS)
    if follow not in (EVENTS, LISTS):
        raise ConnectorError(f"{follow!r} cannot be followed.", fix="Set `follow` to events or to lists.")
    try:
        page_rows, overlap_s = int(settings.get("page_rows", "100")), int(settings.get("overlap_s", "300"))
    except ValueError as error:
        raise ConnectorError("`page_rows` and `overlap_s` are numbers.", fix="Leave them out.") from error
    if not (0 < page_rows <= PAGE_ROWS_MAX and 0 <= overlap_s <= DAY_S):
        raise ConnectorError(
            "`page_rows` is 1 to 100, and `overlap_s` at most a day.", fix="Give 100 and 300, or leave them out."
        )
    async with calling(settings.get("url") or URL, title="Stripe", dice=dice, leave=leave, rules=RULES) as calls:
        transport = Transport(calls, key)
        yield StripeSession(transport, feeds=feeds, follow=follow, page_rows=page_rows, overlap_s=overlap_s)


def _listed(body: Row) -> list[Row]:
    if not isinstance(body.get("data"), list):
        raise NotAsDocumented("What answers is no list of Stripe's.", fix="Check `url`, or leave it out.")
    return rows(body)


def _created(event: Row) -> int:
    at = event.get("created")
    return at if isinstance(at, int) and instant(at) else 0


def _touched(feed: str, events: Sequence[Row]) -> tuple[Touched, ...]:
    """Return the objects that events tell of, in the order of their first events."""
    found: dict[str, Touched] = {}
    for event in sorted(events, key=lambda each: (_created(each), str(each["id"]))):
        number, at, own = touched(feed, event), _created(event), str(event["id"])
        if number is not None:
            before = found.get(number, Touched(number, at, at, ()))
            found[number] = Touched(number, before.first, at, (*before.events, own))
    return tuple(found.values())
