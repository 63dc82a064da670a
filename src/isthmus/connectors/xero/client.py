"""A session with one organisation in Xero: pages of what changed, the ids there are, and writes that look first.

Accounting API 2.0, https://developer.xero.com/documentation/api/accounting/overview.
"""

from base64 import b64encode
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from random import Random
from urllib.parse import quote

from isthmus.connectors.xero.cursor import SECOND, Cursor
from isthmus.connectors.xero.mapping import gone
from isthmus.connectors.xero.wire import (
    BASE_CURRENCY,
    CONTACTS,
    CREDIT_NOTES,
    INVOICES,
    PAYMENTS,
    RESOURCES,
    STAMP,
    Row,
    moment,
    rows,
    since,
)
from isthmus.connectors.xero.writing import Writer
from isthmus.kernel.marks import Json
from isthmus.kernel.words import at_path, text
from isthmus.sync.calls import UNAUTHORISED, Answer, Calls, calling
from isthmus.sync.connector import (
    Authorise,
    Change,
    ConnectorError,
    FeedTrouble,
    KeyRefused,
    Leave,
    NotAsDocumented,
    Page,
    Raw,
    Written,
    freely,
)

API, IDENTITY = "https://api.xero.com", "https://identity.xero.com"
PAGE_ROWS_MAX, DAY_S = 1_000, 86_400
WALKS_MAX = 5
# What apps made since March 2026 may ask for; invoices are bills and credit notes as well.
SCOPES = ("accounting.contacts", "accounting.invoices.read", "accounting.payments.read", "accounting.settings.read")
_FORBIDDEN, _NOT_FOUND = 403, 404
_LIVING = "DRAFT,SUBMITTED,AUTHORISED,PAID,VOIDED"
# What keeps lists from leaving out what has ended, and from telling it where only what is there is asked for.
_ALL: Mapping[str, tuple[tuple[str, str], ...]] = {CONTACTS: (("includeArchived", "true"),)}
_THERE: Mapping[str, tuple[tuple[str, str], ...]] = {
    CONTACTS: (("where", 'ContactStatus=="ACTIVE"'), ("summaryOnly", "true")),
    INVOICES: (("Statuses", _LIVING), ("summaryOnly", "true")),
    CREDIT_NOTES: (("where", 'Status!="DELETED"'),),
    PAYMENTS: (("where", 'Status!="DELETED"'),),
}


class XeroSession:
    """Implements `isthmus.sync.connector.Session`."""

    def __init__(self, calls: Calls, *, tenant: str, page_rows: int, overlap: timedelta) -> None:
        """`tenant` is the id of the organisation, or empty: then there has to be one only."""
        self._calls, self._tenant, self._page_rows, self._overlap = calls, tenant, page_rows, overlap
        self._currency: Json = None

    async def check(self) -> str:
        """Return the organisation; every feed can be read, or ConnectorError says why not."""
        name = text(at_path(await self._organisation(), "Name")) or "an organisation"
        for feed in RESOURCES:
            await self._list(feed, Cursor(), size=1)
        return f"{name} at {self._calls.base}"

    async def read(self, feed: str, *, cursor: str | None) -> AsyncIterator[Page]:
        """Yield what changed, oldest first; last a page that says where the next run begins."""
        _known(feed)
        before = Cursor() if cursor is None else Cursor.parse(cursor)
        position = before.begun(overlap=self._overlap)
        if feed == PAYMENTS and self._currency is None:
            self._currency = at_path(await self._organisation(), "BaseCurrency")
        seen: set[tuple[str, str]] = set()
        walks, latest, more = 0, before.since, True
        fresh: list[Row] = []
        while more:
            found = await self._list(feed, position, size=self._page_rows)
            more = len(found) >= self._page_rows
            fresh = [row for row in found if _key(feed, row) not in seen]
            ids = {each for each, _ in seen}
            if position.page > 1 and walks < WALKS_MAX and any(_key(feed, row)[0] in ids for row in fresh):
                # A row that changed went to the end, and the rows behind it moved up, maybe over the edge of a page.
                walks, position, more = walks + 1, position.anew(), True
            elif found:
                latest = _stamp(found[-1]) if latest is None else max(latest, _stamp(found[-1]))
                position = position.moved(_stamp(found[-1]))
            seen |= {_key(feed, row) for row in found}
            if fresh and more:
                yield Page(rows=tuple(self._raw(feed, row) for row in fresh), cursor=position.text(), more=True)
        last = tuple(self._raw(feed, row) for row in fresh)
        yield Page(rows=last, cursor=Cursor(since=latest).text(), more=False)

    async def ids(self, feed: str) -> AsyncIterator[Sequence[str]]:
        """Yield the ids of all that is there; raises FeedTrouble where something goes while it is counted."""
        _known(feed)
        own = RESOURCES[feed][1]
        for _ in range(WALKS_MAX):
            known: list[str] = []
            page, more, totals = 0, True, set[Json]()
            while more:
                page += 1
                query = [*_THERE[feed], ("order", f"{own} ASC"), ("page", str(page)), ("pageSize", str(PAGE_ROWS_MAX))]
                answer = await self._ask(feed, query)
                found = [str(row[own]) for row in rows(answer.get(RESOURCES[feed][0]))]
                known += found
                totals.add(at_path(answer, "pagination", "itemCount"))
                count = at_path(answer, "pagination", "pageCount")
                more = page < count if isinstance(count, int) else len(found) >= PAGE_ROWS_MAX
            if len(totals) == 1 and len(set(known)) == len(known):
                yield known
                return
        raise FeedTrouble(f"{feed} go while they are counted.", fix="It is tried again with the next run.")

    async def fetch(self, feed: str, external_ids: Sequence[str]) -> Sequence[Raw]:
        """Return the records under these ids; what is not there is left out."""
        _known(feed)
        if feed == PAYMENTS and self._currency is None:
            self._currency = at_path(await self._organisation(), "BaseCurrency")
        found: list[Raw] = []
        for own in external_ids:
            path = f"/api.xro/2.0/{RESOURCES[feed][0]}/{quote(own, safe='')}"
            answer = await self._calls.send("GET", path, headers=await self._headers())
            if answer.status != _NOT_FOUND:
                told = rows(_object(answer, what=feed).get(RESOURCES[feed][0]))
                found += [self._raw(feed, row) for row in told]
        return found

    async def write(self, feed: str, changes: Sequence[Change]) -> list[Written]:
        """Write changes, each after a look at how the contact stands; one answer for each."""
        writer = Writer(self._calls, headers=await self._headers(), raw=lambda row: self._raw(CONTACTS, row))
        return await writer.write(feed, changes)

    async def _list(self, feed: str, position: Cursor, *, size: int) -> list[Row]:
        """Return a page of what changed since a time, oldest first."""
        order = [("order", f"{STAMP} ASC"), ("page", str(position.page)), ("pageSize", str(size))]
        headers = {} if position.since is None else {"If-Modified-Since": since(position.since)}
        answer = await self._ask(feed, [*_ALL.get(feed, ()), *order], headers)
        found = answer.get(RESOURCES[feed][0])
        if not isinstance(found, list):
            raise NotAsDocumented(f"Xero's answer has no {RESOURCES[feed][0]}.", fix="Check `url`, or leave it out.")
        return sorted(rows(found), key=_stamp)

    async def _ask(self, what: str, query: Sequence[tuple[str, str]], more: Mapping[str, str] | None = None) -> Row:
        path = f"/api.xro/2.0/{RESOURCES[what][0] if what in RESOURCES else what}"
        headers = {**await self._headers(), **(more or {})}
        answer = await self._calls.send("GET", path, query=query, headers=headers)
        return _object(answer, what=what)

    async def _organisation(self) -> Row:
        found = rows((await self._ask("Organisation", ())).get("Organisations"))
        return found[0] if found else {}

    async def _headers(self) -> dict[str, str]:
        """Return the headers of every call, with the organisation that it is about."""
        if not self._tenant:
            self._tenant = await self._only_tenant()
        return {"Accept": "application/json", "xero-tenant-id": self._tenant}

    async def _only_tenant(self) -> str:
        answer = await self._calls.send("GET", "/connections", headers={"Accept": "application/json"})
        _refuse(answer, what="the organisations")
        known = {str(each["tenantId"]): str(each.get("tenantName")) for each in rows(answer.json())}
        if len(known) == 1:
            return next(iter(known))
        named = ", ".join(f"{name} ({own})" for own, name in known.items())
        raise ConnectorError(
            f"The consent is for {len(known)} organisations: {named}." if known else "The consent is for none.",
            fix="Set `tenant_id` to the id of one of them." if known else "Consent again, and choose one.",
        )

    def _raw(self, feed: str, row: Row) -> Raw:
        """Return a row as the engine takes it."""
        own = str(row[RESOURCES[feed][1]])
        if gone(feed, row):
            return Raw(
                external_id=own,
                body={},
                at=_stamp(row),
                version=str(row[STAMP]),
                deleted=True,
                merged_into=text(row.get("MergedToContactID")) if feed == CONTACTS else None,
            )
        body = {**row, BASE_CURRENCY: self._currency} if feed == PAYMENTS else row
        return Raw(external_id=own, body=body, at=_stamp(row), version=str(row[STAMP]))


@asynccontextmanager
async def session(
    settings: Mapping[str, str], *, dice: Random, leave: Leave = freely, authorise: Authorise | None = None
) -> AsyncGenerator[XeroSession]:
    """Open a session: in a person's name with `authorise`, else as a custom connection.

    Raises ConnectorError when the settings cannot be right.
    """
    try:
        page_rows, overlap_s = int(settings.get("page_rows", "100")), float(settings.get("overlap_s", "60"))
    except ValueError as error:
        raise ConnectorError("`page_rows` and `overlap_s` are numbers.", fix="Leave them out.") from error
    if not (0 < page_rows <= PAGE_ROWS_MAX and SECOND.total_seconds() <= overlap_s <= DAY_S):
        raise ConnectorError(
            "`page_rows` is 1 to 1000, and `overlap_s` 1 second to a day.", fix="Give 100 and 60, or leave them out."
        )
    tenant, overlap = settings.get("tenant_id", "").strip(), timedelta(seconds=overlap_s)
    identity = settings.get("identity_url") or IDENTITY
    async with calling(identity, title="Xero", dice=dice, leave=leave) as tokens:
        own = authorise or _itself(tokens, settings)
        url = settings.get("url") or API
        async with calling(url, title="Xero", dice=dice, leave=leave, authorise=own) as calls:
            yield XeroSession(calls, tenant=tenant, page_rows=page_rows, overlap=overlap)


def _itself(calls: Calls, settings: Mapping[str, str]) -> Authorise:
    """Return how a custom connection proves itself: by a token for its own id and secret (RFC 6749 §4.4)."""
    own, secret = settings.get("custom_id", ""), settings.get("custom_secret", "")
    held: list[str] = []

    async def authorise(fresh: bool) -> dict[str, str]:  # noqa: FBT001 - as Calls asks it.
        if not own or not secret:
            raise KeyRefused(
                "There is neither a consent nor a custom connection.",
                fix="Give `client_id` and consent, or give `custom_id` and `custom_secret`.",
            )
        if fresh or not held:
            pair = b64encode(f"{quote(own, safe='')}:{quote(secret, safe='')}".encode()).decode()
            form = {"grant_type": "client_credentials", "scope": " ".join(SCOPES)}
            headers = {"Authorization": f"Basic {pair}", "Accept": "application/json"}
            answer = await calls.send("POST", "/connect/token", form=form, headers=headers, safe=True)
            token = text(at_path(answer.json(), "access_token")) if answer.good else None
            if token is None:
                raise KeyRefused(
                    f"Xero refuses the custom connection ({answer.status}).", fix="Check `custom_id` and its secret."
                )
            held[:] = [token]
        return {"Authorization": f"Bearer {held[0]}"}

    return authorise


def _object(answer: Answer, *, what: str) -> Row:
    """Return what an answer says; raises what `_refuse` raises, and NotAsDocumented."""
    _refuse(answer, what=what)
    found = answer.json()
    if not isinstance(found, dict):
        raise NotAsDocumented("What answers is not Xero.", fix="Check `url`, or leave it out.")
    return found


def _refuse(answer: Answer, *, what: str) -> None:
    """Raise KeyRefused, FeedTrouble or NotAsDocumented for an answer that is none of success."""
    if answer.status == UNAUTHORISED:
        raise KeyRefused("Xero refuses the token.", fix="Consent again: isthmus connect authorize NAME")
    if answer.status == _FORBIDDEN:
        raise FeedTrouble(
            f"Xero lets us read no {what}: {answer.said}",
            fix="Give the program the scope for it there and consent again, or check `tenant_id`.",
        )
    if not answer.good:
        raise NotAsDocumented(
            f"Xero answered {answer.status} to reading {what}: {answer.said}",
            fix="See what it says; if it cannot be right, report it to the author of the connector.",
        )


def _known(feed: str) -> None:
    if feed not in RESOURCES:
        raise ConnectorError(f"There is no feed {feed!r}.", fix=f"There are: {', '.join(RESOURCES)}.")


def _key(feed: str, row: Row) -> tuple[str, str]:
    return str(row[RESOURCES[feed][1]]), str(row.get(STAMP))


def _stamp(row: Row) -> datetime:
    at = moment(row.get(STAMP))
    if at is None:
        raise NotAsDocumented("A row has no time of change.", fix="Report it to the author of the connector.")
    return at
