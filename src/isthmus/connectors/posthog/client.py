"""A session with one project of PostHog, which is only read: persons, and events, by questions in HogQL.

https://posthog.com/docs/api/queries. Lists by offset (`/persons`) pass over rows when others before them go; questions
that go on after the last id do not.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, date, datetime, time, timedelta
from hashlib import blake2b
from random import Random

import msgspec

from isthmus.connectors.posthog.cursor import Cursor, parsed
from isthmus.connectors.posthog.wire import (
    EVENTS,
    FEEDS,
    HAPPENED,
    KNOWN,
    OWN,
    PERSONS,
    Row,
    asking,
    moment,
    row_of,
    told,
)
from isthmus.kernel.marks import Json
from isthmus.kernel.words import at_path, text
from isthmus.sync.calls import UNAUTHORISED, Answer, Calls, Rules, calling
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

US = "https://us.posthog.com"
PAGE_ROWS_MAX, IDS_ROWS, OVERLAP_S_MAX = 10_000, 10_000, 7 * 86_400
FORBIDDEN, ABSENT = 403, 404
KEY_FIX = "In PostHog, make a personal API key with the scope Query: Read for the project, and give it as `api_key`."
RULES = Rules(silence_s=120.0)
_VERSION_BYTES = 12
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


class PostHogSession:
    """Implements `isthmus.sync.connector.Session`."""

    def __init__(
        self, calls: Calls, *, project: str, page_rows: int, overlap: timedelta, since: datetime, known: bool
    ) -> None:
        """`since` is the time of the first event to read; `known` tells that nameless visitors are left out."""
        self._calls, self._project, self._page_rows = calls, project, page_rows
        self._overlap, self._since = overlap, since
        self._persons = KNOWN if known else "true"

    async def check(self) -> str:
        """Return the project; every feed can be read, or ConnectorError says why not."""
        for feed in FEEDS:
            await self._asked(asking(feed, "true", limit=1, ids=True), {})
        return f"project {self._project} at {self._calls.base}"

    async def read(self, feed: str, *, cursor: str | None) -> AsyncIterator[Page]:
        """Yield all persons, or what events happened since, oldest first."""
        _known(feed)
        position = parsed(cursor)
        pages = self._all_persons(position) if feed == PERSONS else self._events(position)
        async for page in pages:
            yield page

    async def ids(self, feed: str) -> AsyncIterator[Sequence[str]]:
        """Yield the ids of all persons that are there, or of all events since the first one that is read."""
        _known(feed)
        last, more = "", True
        condition, values = self._persons, dict[str, Json]()
        if feed == EVENTS:
            condition, values = f"timestamp >= toDateTime({{since}}) and {HAPPENED}", {"since": told(self._since)}
        while more:
            where = f"{condition} and toString({OWN[feed]}) > {{last}}"
            # Ids alone go on by id, whatever the order of the rows.
            question = f"select {OWN[feed]} from {feed} where {where} order by toString({OWN[feed]}) limit {IDS_ROWS}"  # noqa: S608 - names and numbers of ours.
            found = [_first(each) for each in await self._asked(question, {**values, "last": last})]
            more = len(found) == IDS_ROWS
            last = found[-1] if found else last
            yield found

    async def write(self, feed: str, changes: Sequence[Change]) -> list[Written]:
        """Refuse: what PostHog holds was sent by a product, and is only read."""
        _known(feed)
        return [Written(outcome=Outcome.REFUSED, reason="Nothing is written to PostHog.") for _ in changes]

    async def _all_persons(self, position: Cursor) -> AsyncIterator[Page]:
        """Yield all of them by their ids: no column of PostHog's tells when a person changed."""
        last, more = position.last if position.going else "", True
        while more:
            where = f"{self._persons} and toString(id) > {{last}}"
            found = await self._rows(PERSONS, where, {"last": last})
            more = len(found) == self._page_rows
            last = str(found[-1]["id"]) if found else last
            rows = tuple(_raw(row, own=str(row["id"]), at=None) for row in found)
            yield Page(rows=rows, cursor=(Cursor(last=last, going=True) if more else Cursor()).text(), more=more)

    async def _events(self, before: Cursor) -> AsyncIterator[Page]:
        position, more, latest = before.begun(overlap=self._overlap), True, before.at
        while more:
            at = position.at or self._since
            where, values = f"timestamp >= toDateTime({{at}}) and {HAPPENED}", dict[str, Json](at=told(at))
            if position.going:
                where += " and (timestamp > toDateTime({at}) or toString(uuid) > {last})"
                values["last"] = position.last
            found = await self._rows(EVENTS, where, values)
            more = len(found) == self._page_rows
            stamped = [(_stamp(row), row) for row in found]
            if stamped:
                reached = stamped[-1][0]
                latest = reached if latest is None else max(latest, reached)
                position = Cursor(at=reached, last=str(found[-1]["uuid"]), going=True)
            rows = tuple(_raw(row, own=str(row["uuid"]), at=stamp) for stamp, row in stamped)
            yield Page(rows=rows, cursor=(position if more else Cursor(at=latest)).text(), more=more)

    async def _rows(self, feed: str, where: str, values: Mapping[str, Json]) -> list[Row]:
        found: list[Row] = []
        for each in await self._asked(asking(feed, where, limit=self._page_rows), values):
            row = row_of(feed, each)
            if row is None:
                raise NotAsDocumented("PostHog's answer has other columns than were asked for.", fix="Check `url`.")
            found.append(row)
        return found

    async def _asked(self, question: str, values: Mapping[str, Json]) -> list[Json]:
        """Return the rows of an answer that was computed anew; raises KeyRefused, FeedTrouble, ConnectorError."""
        query: Json = {"kind": "HogQLQuery", "query": question, "values": dict(values)}
        # Without force PostHog answers from its cache, and a run would find nothing new.
        payload: Json = {"query": query, "refresh": "force_blocking"}
        path = f"/api/projects/{self._project}/query/"
        answer = await self._calls.send("POST", path, payload=payload, safe=True)
        if not answer.good:
            raise self._fault(answer)
        found = at_path(answer.json(), "results")
        if not isinstance(found, list):
            raise NotAsDocumented("PostHog's answer has no results.", fix="Check `url`: is it that of the app?")
        return found

    def _fault(self, answer: Answer) -> ConnectorError:
        said = answer.said
        with suppress(NotAsDocumented):
            said = text(at_path(answer.json(), "detail")) or said
        if answer.status == UNAUTHORISED:
            return KeyRefused("PostHog refuses the key.", fix=KEY_FIX)
        if answer.status == FORBIDDEN:
            return FeedTrouble(f"The key may not ask: {said}", fix=KEY_FIX)
        if answer.status == ABSENT:
            return ConnectorError(
                f"There is no project {self._project} for this key: {said}",
                fix="Check `project_id`, and whether `url` is the region of the project: us, eu, or your own address.",
            )
        return NotAsDocumented(
            f"PostHog answered {answer.status}: {said}",
            fix="See what it says; lower `page_rows` where a question takes too long.",
        )


def _known(feed: str) -> None:
    if feed not in FEEDS:
        raise ConnectorError(f"There is no feed {feed!r}.", fix=f"There are: {', '.join(FEEDS)}.")


def _raw(row: Row, *, own: str, at: datetime | None) -> Raw:
    version = blake2b(msgspec.json.encode(row, order="sorted"), digest_size=_VERSION_BYTES).hexdigest()
    return Raw(external_id=own, body=row, at=at, version=version)


def _first(values: Json) -> str:
    if not isinstance(values, list) or not values:
        raise NotAsDocumented("PostHog's answer has rows without an id.", fix="Check `url`.")
    return str(values[0])


def _stamp(row: Row) -> datetime:
    at = moment(row["timestamp"])
    if at is None:
        raise NotAsDocumented("An event of PostHog's has no time.", fix="Check `url`.")
    return at


@asynccontextmanager
async def session(
    settings: Mapping[str, str], *, dice: Random, leave: Leave = freely
) -> AsyncGenerator[PostHogSession]:
    """Open a session; raises ConnectorError when the settings cannot be right."""
    project, key = settings.get("project_id", "").strip(), settings.get("api_key", "").strip()
    if not project.isdecimal():
        raise ConnectorError("`project_id` is the number of a project.", fix="See the settings of the project there.")
    if not key or not key.isascii() or not key.isprintable():
        raise KeyRefused("There is no key of PostHog's.", fix=KEY_FIX)
    page_rows = _number(settings, "page_rows", 1_000, least=1, most=PAGE_ROWS_MAX)
    overlap = timedelta(seconds=_number(settings, "overlap_s", 3_600, least=0, most=OVERLAP_S_MAX))
    known = settings.get("visitors", "no") != "yes"
    since = _day(settings.get("since", ""))

    async def authorise(fresh: bool) -> dict[str, str]:  # noqa: FBT001 - as Calls asks it.
        if fresh:
            raise KeyRefused("PostHog refuses the key.", fix=KEY_FIX)
        return {"Authorization": f"Bearer {key}"}

    url = settings.get("url") or US
    async with calling(url, title="PostHog", dice=dice, leave=leave, authorise=authorise, rules=RULES) as calls:
        yield PostHogSession(calls, project=project, page_rows=page_rows, overlap=overlap, since=since, known=known)


def _number(settings: Mapping[str, str], name: str, usual: int, *, least: int, most: int) -> int:
    given = settings.get(name) or str(usual)
    if not given.isdecimal() or not least <= int(given) <= most:
        raise ConnectorError(f"`{name}` is {least} to {most}.", fix=f"Give {usual}, or leave it out.")
    return int(given)


def _day(given: str) -> datetime:
    if not given.strip():
        return _BEGINNING
    try:
        return datetime.combine(date.fromisoformat(given.strip()), time(tzinfo=UTC))
    except ValueError as error:
        raise ConnectorError("`since` is no day.", fix="Give it as 2026-01-31, or leave it out.") from error
