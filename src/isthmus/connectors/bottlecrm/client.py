"""A session with one BottleCRM: its lists from end to end, what left them, the ids there are, and careful writes."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import date, timedelta
from random import Random

import msgspec

from isthmus.connectors.bottlecrm.crm import KEY_FIX, MERGED, PAGE_ROWS_MAX, PARTS, ROLE_FIX, Crm
from isthmus.connectors.bottlecrm.cursor import Cursor, behind, identity, packed, place, unpacked
from isthmus.connectors.bottlecrm.wire import CASES, DUPLICATE, LEADS, Row
from isthmus.connectors.bottlecrm.writing import Writer, raw, tombstone
from isthmus.kernel.words import at_path, text
from isthmus.sync.abreast import at_once_of
from isthmus.sync.calls import calling
from isthmus.sync.connector import Change, ConnectorError, Leave, Page, Raw, Written, freely

ADMIN = "ADMIN"
# A ticket is merged on a day of its company's, which can be the one before ours.
DAY = timedelta(days=1)


class BottleCrmSession:
    """Implements `isthmus.sync.connector.Session`."""

    def __init__(self, crm: Crm, *, page_rows: int, at_once: int) -> None:
        """`page_rows` is how many records are asked for at once, `at_once` how many are written at the same time."""
        self._crm, self._page_rows = crm, page_rows
        self._writer = Writer(crm, at_once=at_once)

    async def check(self) -> str:
        """Return who we are, where; every feed can be read, or ConnectorError says why not."""
        me = await self._admin()
        for feed in PARTS:
            await self._crm.listed(feed, 0, offset=0, limit=1)
        return f"{at_path(me, 'user_details', 'email')} at {self._crm.calls.base} (BottleCRM)"

    async def _admin(self) -> Row:
        """Return our profile; raises ConnectorError when we see only a part, for the rest would seem to be gone."""
        me = await self._crm.me()
        if me.get("role") != ADMIN:
            raise ConnectorError("The user of this connection sees only what is assigned to it.", fix=ROLE_FIX)
        return me

    async def read(self, feed: str, *, cursor: str | None) -> AsyncIterator[Page]:
        """Yield everything there is, in the order of the lists; then leads that are no longer listed."""
        _known(feed)
        at = Cursor() if cursor is None else Cursor.parse(cursor)
        before, day = at.known, at.day
        since = date.fromisoformat(day) - DAY if day else None
        await self._admin()
        seen: set[str] | None = set() if at == Cursor(known=before, day=day) else None
        while at.part < len(PARTS[feed]):
            found, at, more = await self._next(feed, at)
            if seen is not None:
                seen |= {identity(each) for each in found}
            if found:
                told = [each for row in found if (each := await self._told(feed, row, since=since)) is not None]
                yield Page(rows=tuple(told), cursor=_after(feed, found, at).text(), more=True)
                at = _after(feed, found, at)
            if not more:
                at = at.turned()
        if feed != LEADS:
            yield Page(rows=(), cursor=Cursor(day=at.day).text(), more=False)
            return
        there = seen if seen is not None else {each async for some in self.ids(LEADS) for each in some}
        async for page in self._left(sorted(set(unpacked(before)) - there), there, at):
            yield page

    async def _next(self, feed: str, at: Cursor) -> tuple[list[Row], Cursor, bool]:
        """Return the rows that follow in a list, where it stands then, and whether there may be more."""
        rows_max = self._page_rows
        # The last row is asked for once more: that it is still where it was tells that none went meanwhile.
        limit, offset = rows_max + 1, max(0, at.offset - 1)
        while True:
            found = await self._crm.listed(feed, at.part, offset=offset, limit=limit)
            if at.last is None or offset == 0 or (found and behind(feed, found[0], at.last)):
                break
            offset = max(0, offset - rows_max)
        last = at.last
        new = [(number, each) for number, each in enumerate(found) if last is None or not behind(feed, each, last)]
        taken = new[:rows_max]
        full = len(found) >= limit
        if not taken:
            return [], at.moved(offset=offset + len(found), last=last), full
        number, row = taken[-1]
        return [each for _, each in taken], at.moved(offset=offset + number + 1, last=place(feed, row)), full

    async def _told(self, feed: str, row: Row, *, since: date | None) -> Raw | None:
        """Return a row as the engine takes it; of a merged ticket what it became part of, unless that is long known."""
        if feed != CASES or row.get("status") != DUPLICATE:
            return raw(row)
        on = text(row.get("closed_on"))
        if since is None or on is None or date.fromisoformat(on) < since:
            return None
        found = await self._crm.one(feed, identity(row))
        into = found.get(MERGED) if found is not None else None
        return None if into is None else Raw(external_id=identity(row), body={}, deleted=True, merged_into=str(into))

    async def _left(self, ids: Sequence[str], there: set[str], at: Cursor) -> AsyncIterator[Page]:
        """Yield the leads that were listed before and are not now: converted ones, of which no list tells, and gone."""
        for start in range(0, len(ids), self._page_rows):
            told: list[Raw] = []
            for each in ids[start : start + self._page_rows]:
                row = await self._crm.one(LEADS, each)
                told.append(tombstone(each) if row is None else raw(row))
                if row is not None and row.get("status") != "converted":
                    there.add(each)
            yield Page(rows=tuple(told), cursor=at.text(), more=True)
        yield Page(rows=(), cursor=Cursor(known=packed(there)).text(), more=False)

    async def ids(self, feed: str) -> AsyncIterator[Sequence[str]]:
        """Yield the ids of all records that are listed.

        One that goes from a feed's second list to the first meanwhile would be missed: so the first is read once more.
        """
        _known(feed)
        await self._admin()
        parts = len(PARTS[feed])
        told: set[str] = set()
        for part in [*range(parts), *([0] if parts > 1 else [])]:
            at, more = Cursor(part=part), True
            while more:
                found, at, more = await self._next(feed, at)
                merged = {identity(each) for each in found if feed == CASES and each.get("status") == DUPLICATE}
                new = [each for row in found if (each := identity(row)) not in told | merged]
                told |= set(new)
                yield new

    async def write(self, feed: str, changes: Sequence[Change]) -> list[Written]:
        """Write changes, several at a time, each to a record that was just read; one answer for each."""
        return await self._writer.write(feed, changes)


def _known(feed: str) -> None:
    if feed not in PARTS:
        raise ConnectorError(f"There is no feed {feed!r}.", fix=f"There are: {', '.join(PARTS)}.")


def _after(feed: str, found: Sequence[Row], at: Cursor) -> Cursor:
    """Return the cursor with the last day on which one of these tickets was merged."""
    if feed != CASES:
        return at
    days = [str(each.get("closed_on") or "") for each in found if each.get("status") == DUPLICATE]
    made = [str(each.get("created_at") or "")[:10] for each in found]
    return msgspec.structs.replace(at, day=max([at.day, *days, *made]))


@asynccontextmanager
async def session(
    settings: Mapping[str, str], *, dice: Random, leave: Leave = freely
) -> AsyncGenerator[BottleCrmSession]:
    """Open a session; raises ConnectorError when the settings cannot be right."""
    token = settings.get("token", "").strip()
    if not token:
        raise ConnectorError("The connection has no key.", fix=KEY_FIX)
    try:
        page_rows = max(1, min(PAGE_ROWS_MAX, int(settings.get("page_rows", "500"))))
    except ValueError as error:
        raise ConnectorError("`page_rows` is a number.", fix="Give 500, or leave it out.") from error

    at_once = at_once_of(settings)

    async def authorise(_: bool) -> dict[str, str]:  # noqa: FBT001 - as Calls asks it.
        return {"Authorization": f"Bearer {token}"}

    async with calling(settings["url"], title="BottleCRM", dice=dice, leave=leave, authorise=authorise) as calls:
        yield BottleCrmSession(Crm(calls), page_rows=page_rows, at_once=at_once)
