"""A session with one ad account at Meta, which is only read: audiences, campaigns, and what they cost by day.

Marketing API, https://developers.facebook.com/docs/marketing-api and its /insights.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from random import Random

import msgspec

from isthmus.connectors.metaads.cursor import DAY, Cursor, Days, Spent, kept, parsed, written
from isthmus.connectors.metaads.graph import RULES, Graph, TooMuch
from isthmus.connectors.metaads.wire import (
    AUDIENCES,
    CAMPAIGNS,
    CURRENCY,
    DELETED,
    FEEDS,
    FIELDS,
    LIVING,
    SPEND,
    STATUSES,
    Row,
    moment,
)
from isthmus.kernel.words import text
from isthmus.sync.calls import calling
from isthmus.sync.connector import (
    Change,
    ConnectorError,
    FeedTrouble,
    KeyRefused,
    Leave,
    NotAsDocumented,
    Outcome,
    Page,
    Raw,
    Written,
    freely,
)

API = "https://graph.facebook.com"
PAGE_ROWS_MAX, CHUNK_DAYS = 500, 30
WINDOW_DAYS, FIRST_DAYS, FIRST_DAYS_MAX = 30, 365, 1_100
REPORT_S_MAX, POLL_S, POLL_S_MAX = 1_800.0, 0.2, 30.0
_FORGET = Cursor()


@dataclass(frozen=True, kw_only=True)
class Ways:
    """How an account is read: rows in a page, how far back campaigns and spend go, and spend at the very beginning."""

    page_rows: int
    overlap: timedelta
    window: int
    first: int


@dataclass(frozen=True, kw_only=True)
class Account:
    """The ad account: its name, its currency, and which day it is there."""

    name: str
    currency: str
    today: date


class MetaSession:
    """Implements `isthmus.sync.connector.Session`."""

    def __init__(self, graph: Graph, *, account: str, ways: Ways) -> None:
        """`account` is the id of the ad account, as digits."""
        self._graph, self._node, self._ways = graph, f"act_{account}", ways

    async def check(self) -> str:
        """Return the ad account; every feed can be read, or ConnectorError says why not."""
        account = await self._account()
        await self._graph.ask(f"{self._node}/customaudiences", {"fields": "id", "limit": "1"})
        await self._graph.ask(f"{self._node}/campaigns", {"fields": "id", "limit": "1"})
        await self._graph.ask(f"{self._node}/insights", {**_asked(account.today, account.today), "limit": "1"})
        return f"{account.name} at {self._graph.base}"

    async def read(self, feed: str, *, cursor: str | None) -> AsyncIterator[Page]:
        """Yield what there is or changed, and last a page that says where the next run begins."""
        _known(feed)
        if feed == AUDIENCES:
            pages = self._audiences(parsed(cursor, Cursor))
        elif feed == CAMPAIGNS:
            pages = self._campaigns(parsed(cursor, Cursor))
        else:
            pages = self._days(parsed(cursor, Days))
        async for page in pages:
            yield page

    async def ids(self, feed: str) -> AsyncIterator[Sequence[str]]:
        """Yield the ids of all that is there; of spend those of the days at which the first run begins."""
        _known(feed)
        if feed == SPEND:
            async for page in self._days(Days()):
                yield [row.external_id for row in page.rows]
            return
        edge, params = "customaudiences", {"fields": "id"}
        if feed == CAMPAIGNS:
            edge, params = "campaigns", params | {"effective_status": _json(LIVING)}
        async for page in self._graph.listed(f"{self._node}/{edge}", params, limit=PAGE_ROWS_MAX):
            yield [str(row["id"]) for row in page]

    async def write(self, feed: str, changes: Sequence[Change]) -> list[Written]:
        """Refuse: the account is only read."""
        _known(feed)
        return [Written(outcome=Outcome.REFUSED, reason="Nothing is written to Meta.") for _ in changes]

    async def _account(self) -> Account:
        fields = {"fields": "name,currency,timezone_offset_hours_utc"}
        row, at = await self._graph.ask(self._node, fields)
        currency, offset = text(row.get("currency")), row.get("timezone_offset_hours_utc")
        if currency is None or not isinstance(offset, int | float) or at is None:
            raise NotAsDocumented(
                "The ad account tells no currency, zone or time.", fix="Check `url` and `account_id`."
            )
        there = at.astimezone(UTC) + timedelta(hours=offset)
        return Account(name=text(row.get("name")) or self._node, currency=currency, today=there.date())

    async def _audiences(self, cursor: Cursor) -> AsyncIterator[Page]:
        """Yield all of them: their sizes move without a stamp."""
        del cursor
        params, before = {"fields": FIELDS[AUDIENCES]}, list[Row]()
        found = self._graph.listed(f"{self._node}/customaudiences", params, limit=self._ways.page_rows)
        first = True
        async for page in found:
            if not first:
                yield Page(rows=_raws(before), cursor=written(_FORGET), more=True)
            first, before = False, page
        yield Page(rows=_raws(before), cursor=written(_FORGET), more=False)

    async def _campaigns(self, before: Cursor) -> AsyncIterator[Page]:
        """Yield those that changed, oldest first. Meta lists them in no order of changes, so all are asked for."""
        cursor = before.begun(overlap=self._ways.overlap)
        currency = (await self._account()).currency
        params = {"fields": FIELDS[CAMPAIGNS], "effective_status": _json(STATUSES)}
        size, latest = self._ways.page_rows, before.since
        listed = await self._graph.all(f"{self._node}/campaigns", params, limit=size)
        known = sorted({str(row["id"]): (_stamp(row), str(row["id"]), row) for row in listed}.values(), key=_first_two)
        changed = [each for each in known if cursor.before(each[0], each[1])]
        for start in range(0, len(changed), size):
            part = changed[start : start + size]
            at, own, _ = part[-1]
            latest = at if latest is None else max(latest, at)
            more = start + size < len(changed)
            following = Cursor(since=at, last=own, going=True) if more else Cursor(since=latest)
            yield Page(
                rows=tuple(_campaign(row, stamp, currency) for stamp, _, row in part),
                cursor=written(following),
                more=more,
            )
        if not changed:
            yield Page(rows=(), cursor=written(Cursor(since=latest)), more=False)

    async def _days(self, before: Days) -> AsyncIterator[Page]:
        """Yield what campaigns cost by day, in parts of so many days; what is told no longer is zero."""
        account, ways = await self._account(), self._ways
        base, known = account.today - (ways.window - 1) * DAY, before.known()
        start = before.begin(account.today, window=ways.window, first=ways.first)
        cursor = written(before)
        while True:
            end = min(start + (CHUNK_DAYS - 1) * DAY, account.today)
            found = await self._insights(start, end, heavy=before.through is None)
            lost = {each for each in known if start <= each[1] <= end} - {_key(row) for row in found}
            found += [_nothing(own, at, account.currency) for own, at in lost]
            found.sort(key=lambda row: (str(row["date_start"]), str(row["campaign_id"])))
            known = Spent(known - lost | {_key(row) for row in found if (_key(row) not in lost)})
            last = end >= account.today
            spent = kept(known, base=base)
            following = (
                Days(through=account.today, base=base, spent=spent)
                if last
                else Days(through=before.through, done=end, base=base, spent=spent)
            )
            rows = [_spent(row) for row in found]
            for at in range(0, max(len(rows), 1), ways.page_rows):
                part, more = tuple(rows[at : at + ways.page_rows]), at + ways.page_rows < len(rows)
                cursor = cursor if more else written(following)
                yield Page(rows=part, cursor=cursor, more=more or not last)
            if last:
                return
            start = end + DAY

    async def _insights(self, start: date, end: date, *, heavy: bool) -> list[Row]:
        """Return what was spent by campaign and day; a heavy question, or one too heavy at once, by a report."""
        params, edge, size = _asked(start, end), f"{self._node}/insights", self._ways.page_rows
        if not heavy:
            try:
                return await self._graph.all(edge, params, limit=size)
            except TooMuch:
                pass
        run, _ = await self._graph.ask(edge, params, make=True)
        own = text(run.get("report_run_id"))
        if own is None:
            raise NotAsDocumented("Meta begins no report.", fix="Check `url`, or leave it out.")
        await self._finished(own)
        return await self._graph.all(f"{own}/insights", {}, limit=size)

    async def _finished(self, run: str) -> None:
        """Wait until a report is made; raises FeedTrouble when it is not."""
        waited, pause = 0.0, POLL_S
        while waited < REPORT_S_MAX:
            row, _ = await self._graph.ask(run, {"fields": "async_status,async_percent_completion"})
            status = row.get("async_status")
            if status == "Job Completed":
                return
            if status in ("Job Failed", "Job Skipped"):
                raise FeedTrouble(f"Meta's report ended with {status!r}.", fix="It is tried again with the next run.")
            await asyncio.sleep(pause)
            waited, pause = waited + pause, min(2 * pause, POLL_S_MAX)
        raise FeedTrouble("Meta's report takes over half an hour.", fix="It is tried again with the next run.")


@asynccontextmanager
async def session(settings: Mapping[str, str], *, dice: Random, leave: Leave = freely) -> AsyncGenerator[MetaSession]:
    """Open a session; raises ConnectorError when the settings cannot be right."""
    account, token = settings.get("account_id", "").strip().removeprefix("act_"), settings.get("access_token", "")
    if not account.isdecimal():
        raise ConnectorError("`account_id` is the number of an ad account.", fix="Give it such as act_1234567890.")
    if not token.strip():
        raise KeyRefused("There is no access token.", fix="Give `access_token`, of a system user with `ads_read`.")
    ways = _ways(settings)
    url, secret = settings.get("url") or API, settings.get("app_secret", "").strip()
    async with calling(url, title="Meta", dice=dice, leave=leave, rules=RULES) as calls:
        yield MetaSession(Graph(calls, token=token.strip(), secret=secret), account=account, ways=ways)


def _ways(settings: Mapping[str, str]) -> Ways:
    def number(name: str, usual: int, least: int, most: int) -> int:
        given = settings.get(name) or str(usual)
        if not given.isdecimal() or not least <= int(given) <= most:
            raise ConnectorError(f"`{name}` is {least} to {most}.", fix=f"Give {usual}, or leave it out.")
        return int(given)

    return Ways(
        page_rows=number("page_rows", 100, 1, PAGE_ROWS_MAX),
        overlap=timedelta(seconds=number("overlap_s", 60, 1, 86_400)),
        window=number("restated_days", WINDOW_DAYS, 1, 60),
        first=number("first_days", FIRST_DAYS, 1, FIRST_DAYS_MAX),
    )


def _asked(start: date, end: date) -> dict[str, str]:
    """Return the question for spend; without the filter what belongs to archived and deleted campaigns is left out."""
    return {
        "level": "campaign",
        "time_increment": "1",
        "time_range": _json({"since": start.isoformat(), "until": end.isoformat()}),
        "filtering": _json([{"field": "campaign.effective_status", "operator": "IN", "value": STATUSES}]),
        "fields": FIELDS[SPEND],
    }


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _known(feed: str) -> None:
    if feed not in FEEDS:
        raise ConnectorError(f"There is no feed {feed!r}.", fix=f"There are: {', '.join(FEEDS)}.")


def _stamp(row: Row) -> datetime:
    at = moment(row.get("updated_time"))
    if at is None:
        raise NotAsDocumented("A campaign has no time of change.", fix="Report it to the author of the connector.")
    return at


def _first_two(each: tuple[datetime, str, Row]) -> tuple[datetime, str]:
    return each[:2]


def _raws(found: Sequence[Row]) -> tuple[Raw, ...]:
    return tuple(Raw(external_id=str(row["id"]), body=row) for row in found)


def _campaign(row: Row, at: datetime, currency: str) -> Raw:
    own = str(row["id"])
    if row.get("effective_status") == DELETED:
        return Raw(external_id=own, body={}, at=at, deleted=True)
    return Raw(external_id=own, body={**row, CURRENCY: currency}, at=at)


def _key(row: Row) -> tuple[str, date]:
    return str(row["campaign_id"]), date.fromisoformat(str(row["date_start"]))


def _nothing(own: str, at: date, currency: str) -> Row:
    day = at.isoformat()
    return {"campaign_id": own, "date_start": day, "date_stop": day, "spend": "0", "account_currency": currency}


def _spent(row: Row) -> Raw:
    return Raw(external_id=f"{row['campaign_id']}/{row['date_start']}", body=row)
