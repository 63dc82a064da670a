"""A session with one account in Google Ads: lists by id, and what campaigns cost by day. Nothing is written.

https://developers.google.com/google-ads/api/rest/common/search and .../docs/query/grammar.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date
from random import Random

from isthmus.connectors.googleads.answers import flat, today_there
from isthmus.connectors.googleads.cursor import Days, Listed, days, listed, text_of
from isthmus.connectors.googleads.refusing import refuse
from isthmus.connectors.googleads.signing import itself
from isthmus.connectors.googleads.wire import CUSTOMER, LISTED, SPEND, VERSION, Row, day, query
from isthmus.kernel.marks import Json
from isthmus.kernel.words import text
from isthmus.sync.calls import Answer, Calls, Rules, calling
from isthmus.sync.connector import (
    Authorise,
    Change,
    ConnectorError,
    Leave,
    NotAsDocumented,
    Outcome,
    Page,
    Raw,
    Written,
    freely,
)

API, TOKENS = "https://googleads.googleapis.com", "https://oauth2.googleapis.com"
# Google keeps days for 37 months; a page of an answer has 10,000 rows, whatever is asked for.
PAGE_ROWS_MAX, WINDOW_DAYS_MAX, HISTORY_DAYS_MAX = 10_000, 90, 1_125
# Google says in the body how long to wait, which `refuse` reads.
RULES = Rules(again=frozenset({500, 502, 503, 504}))
_READ_ONLY = "Google Ads is only read."


@dataclass(frozen=True, kw_only=True)
class Reach:
    """How much is read: rows of a page, days that are read again in each run, and days of the first one."""

    page_rows: int = 1_000
    window_days: int = 30
    history_days: int = HISTORY_DAYS_MAX

    @classmethod
    def of(cls, settings: Mapping[str, str]) -> "Reach":
        """Return what the settings say; raises ConnectorError."""
        known = cls()
        try:
            found = cls(
                page_rows=int(settings.get("page_rows") or known.page_rows),
                window_days=int(settings.get("window_days") or known.window_days),
                history_days=int(settings.get("history_days") or known.history_days),
            )
        except ValueError as error:
            raise ConnectorError(
                "`page_rows`, `window_days` and `history_days` are whole numbers.", fix="Leave them out."
            ) from error
        if not (
            0 < found.page_rows <= PAGE_ROWS_MAX
            and 0 < found.window_days <= WINDOW_DAYS_MAX
            and 0 < found.history_days <= HISTORY_DAYS_MAX
        ):
            raise ConnectorError(
                f"`page_rows` is 1 to {PAGE_ROWS_MAX}, `window_days` 1 to {WINDOW_DAYS_MAX}, and `history_days` 1 to"
                f" {HISTORY_DAYS_MAX}.",
                fix="Give 1000, 30 and 1125, or leave them out.",
            )
        return found


class GoogleAdsSession:
    """Implements `isthmus.sync.connector.Session`."""

    def __init__(self, calls: Calls, *, customer: str, headers: Mapping[str, str], reach: Reach) -> None:
        """`customer` is the number of the account, in digits; `headers` go with every request."""
        self._calls, self._customer, self._headers, self._reach = calls, customer, headers, reach

    async def check(self) -> str:
        """Return the account; raises ConnectorError for one that manages others, which has no campaigns."""
        account, _ = await self._account()
        if account.get("customer.manager") is True:
            raise ConnectorError(
                "This account manages others, and has no campaigns of its own.",
                fix="Give `customer_id` of an account below it, and this one as `login_customer_id`.",
            )
        await self._search(query(SPEND, "segments.date DURING TODAY", limit=1))
        name = text(account.get("customer.descriptiveName")) or "an account"
        return f"{name} ({self._customer}) at {self._calls.base}"

    async def read(self, feed: str, *, cursor: str | None) -> AsyncIterator[Page]:
        """Yield all there is of a list; of days those since the cursor and the last ones again."""
        _known(feed)
        pages = self._days(days(cursor)) if feed == SPEND else self._list(feed, listed(cursor))
        async for page in pages:
            yield page

    async def ids(self, feed: str) -> AsyncIterator[Sequence[str]]:
        """Yield every id: of a list, or the campaigns with the days on which they had cost, clicks or impressions."""
        _known(feed)
        pages = self._days(Days()) if feed == SPEND else self._list(feed, Listed())
        async for page in pages:
            yield [row.external_id for row in page.rows]

    async def write(self, feed: str, changes: Sequence[Change]) -> list[Written]:
        """Refuse every change."""
        _known(feed)
        return [Written(outcome=Outcome.REFUSED, external_id=each.external_id, reason=_READ_ONLY) for each in changes]

    async def _list(self, feed: str, place: Listed) -> AsyncIterator[Page]:
        asked, named = LISTED[feed]
        more = True
        while more:
            size = self._reach.page_rows
            found, _ = await self._search(query(feed, f"{asked} > {place.after}", order=asked, limit=size))
            more = len(found) >= size
            place = Listed(after=_number(found[-1], named)) if more else Listed()
            rows = tuple(Raw(external_id=str(row[named]), body=row) for row in found)
            yield Page(rows=rows, cursor=text_of(place), more=more)

    async def _days(self, place: Days) -> AsyncIterator[Page]:
        account, today = await self._account()
        reach = self._reach
        place = place.begun(today=today, window=reach.window_days, history=reach.history_days)
        while place.left:
            found, _ = await self._search(_next(place, reach.page_rows))
            read = [(_date(row), _number(row, "campaign.id")) for row in found]
            place = place.moved(read, whole=len(found) < reach.page_rows)
            if found:
                yield Page(rows=tuple(map(_of_day, found)), cursor=text_of(place), more=True)
        zeros = [_zero(own, at, account.get("customer.currencyCode")) for own, at in place.gone()]
        for start in range(0, len(zeros), reach.page_rows):
            rows = tuple(map(_of_day, zeros[start : start + reach.page_rows]))
            yield Page(rows=rows, cursor=text_of(place), more=True)
        yield Page(rows=(), cursor=text_of(place.done(window=reach.window_days)), more=False)

    async def _account(self) -> tuple[Row, date]:
        """Return the account, and which day it is there."""
        found, answer = await self._search(query(CUSTOMER, limit=1))
        if not found:
            raise NotAsDocumented("Google Ads tells nothing of the account.", fix="Check `customer_id` and `url`.")
        return found[0], today_there(answer, found[0].get("customer.timeZone"))

    async def _search(self, asked: str) -> tuple[list[Row], Answer]:
        """Return the rows of a query, from all pages of its answer, and the answer itself; raises ConnectorError."""
        path = f"/{VERSION}/customers/{self._customer}/googleAds:search"
        rows: list[Row] = []
        payload: dict[str, Json] = {"query": asked}
        while True:
            answer = await self._calls.send("POST", path, payload=payload, headers=self._headers, safe=True)
            refuse(answer)
            body = answer.json()
            found = body.get("results", []) if isinstance(body, dict) else None
            if not isinstance(body, dict) or not isinstance(found, list):
                raise NotAsDocumented("What answers is not Google Ads.", fix="Check `url`, or leave it out.")
            rows += map(flat, found)
            if (token := text(body.get("nextPageToken"))) is None:
                return rows, answer
            payload["pageToken"] = token


@asynccontextmanager
async def session(
    settings: Mapping[str, str], *, dice: Random, leave: Leave = freely, authorise: Authorise | None = None
) -> AsyncGenerator[GoogleAdsSession]:
    """Open a session: in a person's name with `authorise`, else with the refresh token of the settings.

    Raises ConnectorError when the settings cannot be right.
    """
    customer, above = (_digits(settings, name) for name in ("customer_id", "login_customer_id"))
    developer = settings.get("developer_token", "").strip()
    if not customer or not developer:
        raise ConnectorError(
            "`customer_id` or `developer_token` is missing.",
            fix="Give the number of the account, and the token from the API centre of your manager account.",
        )
    headers = {"developer-token": developer} | ({"login-customer-id": above} if above else {})
    reach = Reach.of(settings)
    async with calling(settings.get("token_url") or TOKENS, title="Google", dice=dice, leave=leave) as tokens:
        own = authorise or itself(tokens, settings)
        url = settings.get("url") or API
        async with calling(url, title="Google Ads", dice=dice, leave=leave, authorise=own, rules=RULES) as calls:
            yield GoogleAdsSession(calls, customer=customer, headers=headers, reach=reach)


def _digits(settings: Mapping[str, str], name: str) -> str:
    """Return the number of an account, which people write as `123-456-7890`."""
    found = settings.get(name, "").strip().replace("-", "")
    if found and not found.isdecimal():
        raise ConnectorError(f"`{name}` is no number of an account.", fix="Give it such as 123-456-7890.")
    return found


def _known(feed: str) -> None:
    if feed != SPEND and feed not in LISTED:
        raise ConnectorError(f"There is no feed {feed!r}.", fix=f"There are: {', '.join((*LISTED, SPEND))}.")


def _next(place: Days, size: int) -> str:
    """Return what is asked for next: the rest of a day, or all days from one on."""
    where = [f"segments.date BETWEEN '{place.day}' AND '{place.until}'"]
    if place.after:
        where = [f"segments.date = '{place.day}'", f"campaign.id > {place.after}"]
    return query(SPEND, *where, order="segments.date, campaign.id", limit=size)


def _of_day(row: Row) -> Raw:
    return Raw(external_id=f"{row['campaign.id']}~{row['segments.date']}", body=row)


def _zero(own: str, at: date, currency: Json) -> Row:
    """Return the row of a day that is no longer told, since nothing of it is left."""
    return {
        "customer.currencyCode": currency,
        "campaign.id": own,
        "segments.date": at.isoformat(),
        "metrics.costMicros": "0",
    }


def _number(row: Row, name: str) -> int:
    found = row.get(name)
    if not isinstance(found, str) or not found.isdecimal():
        raise NotAsDocumented(f"A row has no {name}.", fix="Report it to the author of the connector.")
    return int(found)


def _date(row: Row) -> date:
    found = day(row.get("segments.date"))
    if found is None:
        raise NotAsDocumented("A row has no day.", fix="Report it to the author of the connector.")
    return found
