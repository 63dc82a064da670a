"""What Request Tracker is asked: searches page by page, the log of transactions, and one record with its tag."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast
from urllib.parse import quote

import msgspec
from msgspec import Struct

from isthmus.connectors.requesttracker.cursor import number, numbered
from isthmus.connectors.requesttracker.wire import (
    ANSWERED,
    STAFF,
    TICKET_FIELDS,
    TICKETS,
    USER_FIELDS,
    USERS,
    Row,
    rows,
)
from isthmus.kernel.marks import Json
from isthmus.sync.calls import UNAUTHORISED, Answer, Calls
from isthmus.sync.connector import ConnectorError, FeedTrouble, KeyRefused, NotAsDocumented

ROOT = "/REST/2.0"
PAGE_ROWS_MAX = 100
KEY_FIX = "In Request Tracker, make a token under Settings, Auth tokens, and give it as `token`."
RIGHTS_FIX = "Give its user the rights that the page of the connector names."
ZONE_FIX = "In Request Tracker, set the time zone of the user of this connection to UTC: Settings, About me."
_FORBIDDEN, _NOT_FOUND = 403, 404
_STAFF_GROUP, _SYSTEM_USERS = "Privileged", ("Nobody", "RT_System")
_PEOPLE = "id,Name,EmailAddress"
Query = list[tuple[str, str]]


def proof(settings: Mapping[str, str]) -> tuple[str, str]:
    """Return the header that proves who we are, and who that is (a number or a name); raises ConnectorError."""
    token, user, password = (settings.get(name, "").strip() for name in ("token", "user", "password"))
    if token:
        parts = token.split("-")
        if len(parts) < 3 or not parts[1].isdecimal():  # noqa: PLR2004 - version, number of the user, secret.
            raise ConnectorError("That is no token of Request Tracker.", fix=KEY_FIX)
        return f"token {token}", parts[1]
    if not user or not password:
        raise ConnectorError("The connection has no key.", fix=f"{KEY_FIX} Else give `user` and `password`.")
    return f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}", user


class Found(Struct, frozen=True):
    """A page of a search: at most `per_page` rows of `total`."""

    items: list[Row]
    total: int | None = None


@dataclass(frozen=True)
class Known:
    """One record alone, and the tag that a write is made on the condition of."""

    row: Row
    tag: str


class Desk:
    """One conversation; what is known of the staff is kept for the session."""

    def __init__(self, calls: Calls, *, me: str) -> None:
        """`me` is who we are there."""
        self.calls, self.me = calls, me
        self._staff: frozenset[int] | None = None
        self._is_utc = False
        self._asked: set[str] = set()
        self._living: set[str] = set()

    async def version(self) -> str:
        """Return the server's release."""
        found = await self.get(f"{ROOT}/rt")
        return str(found.get("Version"))

    async def whoami(self) -> str:
        """Return our name there; raises ConnectorError when our times would be misunderstood."""
        found = await self.get(f"{ROOT}/user/{quote(self.me, safe='')}")
        if str(found.get("Timezone") or "").upper() not in ("UTC", "GMT", "ETC/UTC", "ETC/GMT"):
            raise ConnectorError(
                "Request Tracker reads the times in queries as those of its user's time zone, which is not UTC.",
                fix=ZONE_FIX,
            )
        self._is_utc = True
        return str(found.get("Name"))

    async def tickets(self, query: str, *, limit: int, latest: bool = False, bare: bool = False) -> Found:
        """Return tickets that a query finds, oldest change first; `bare` ones in the order of their numbers."""
        if not self._is_utc:
            await self.whoami()
        order = [] if bare else [("orderby", "LastUpdated")]
        asked: Query = [("query", query), *order, ("orderby", "id"), ("per_page", str(limit))]
        asked += [("order", "DESC")] * 2 if latest else []
        if not bare:
            asked += [("fields", ",".join(TICKET_FIELDS)), ("fields[Queue]", "Name")]
            asked += [("fields[Owner]", "Name,EmailAddress"), ("fields[Requestor]", _PEOPLE)]
        found = await self._found(f"{ROOT}/tickets", asked)
        return found if bare else Found([_ordered(_pruned(each, TICKET_FIELDS)) for each in found.items], found.total)

    async def rows(self, feed: str, numbers: Sequence[int]) -> list[Row]:
        """Return the records of these numbers that are there, as reading gives them."""
        found: list[Row] = []
        for start in range(0, len(numbers), PAGE_ROWS_MAX):
            some = numbers[start : start + PAGE_ROWS_MAX]
            if feed == TICKETS:
                found += (await self.tickets(numbered(some), limit=PAGE_ROWS_MAX)).items
            else:
                alone = [await self.one(feed, str(each)) for each in some]
                found += [_filled(each.row) for each in alone if each is not None]
        return await self.told(feed, found)

    async def told(self, feed: str, found: list[Row]) -> list[Row]:
        """Return rows with what is told elsewhere: who is of the staff, which is no customer, and when it answered."""
        if not found:
            return []
        staff = await self.staff()
        if feed == USERS:
            return [each for each in found if number(each) not in staff]
        answers = await self._answers([number(each) for each in found if each.get("Told")])
        whole: list[Row] = []
        alive = await self._alive({str(who.get("Name")) for each in found for who in rows(each.get("Requestor"))})
        for each in found:
            # One who is disabled is no customer any more, and nobody that a ticket could point to.
            asking: list[Json] = [
                who | {STAFF: number(who) in staff or str(who.get("Name")).lower() not in alive}
                for who in rows(each.get("Requestor"))
            ]
            more: Row = {"Requestor": asking, ANSWERED: answers.get(number(each))}
            whole.append(each | more)
        return whole

    async def _alive(self, names: set[str]) -> set[str]:
        """Return which of these names are those of living users, in small letters."""
        asked = sorted(names - self._asked)
        for start in range(0, len(asked), PAGE_ROWS_MAX):
            clauses: list[Json] = [
                {"field": "Name", "value": each, "entry_aggregator": "OR"}
                for each in asked[start : start + PAGE_ROWS_MAX]
            ]
            query = ("query", msgspec.json.encode(clauses).decode())
            found = await self._people([query, ("per_page", str(PAGE_ROWS_MAX))])
            self._living |= {str(each.get("Name")).lower() for each in found.items}
        self._asked |= names
        return self._living

    async def users(self, matching: Mapping[str, str]) -> list[Row]:
        """Return living users with these values, which are searched without regard to case."""
        clauses: list[Json] = [{"field": name, "value": value} for name, value in matching.items()]
        return (await self._people([("query", msgspec.json.encode(clauses).decode()), ("per_page", "1")])).items

    async def everybody(self, *, page: int, limit: int, latest: bool = False) -> Found:
        """Return a page of all living users, counted from 1, in the order of their numbers, or latest change first.

        Users cannot be searched by number or time.
        """
        order = [("orderby", "LastUpdated"), ("order", "DESC"), ("orderby", "id"), ("order", "DESC")]
        asked = [*(order if latest else [("orderby", "id")]), ("page", str(page)), ("per_page", str(limit))]
        return await self._people(asked)

    async def _people(self, asked: Query) -> Found:
        found = await self._found(f"{ROOT}/users", [*asked, ("fields", ",".join(USER_FIELDS))])
        return Found([_pruned(each, USER_FIELDS) for each in found.items], found.total)

    async def transactions(self, query: str, *, fields: Sequence[str], latest: bool = False) -> Found:
        """Return transactions that a query finds, oldest first unless the latest are wanted."""
        asked: Query = [("query", query), ("orderby", "id"), ("order", "DESC" if latest else "ASC")]
        asked += [("fields", ",".join(fields)), ("fields[Creator]", "id"), ("per_page", str(PAGE_ROWS_MAX))]
        return await self._found(f"{ROOT}/transactions", asked)

    async def staff(self) -> frozenset[int]:
        """Return the numbers of the users that are no customers: the privileged ones and the system's own."""
        if self._staff is None:
            asked: list[Json] = [
                {"field": "Domain", "value": "SystemInternal"},
                {"field": "Name", "value": _STAFF_GROUP},
            ]
            groups = await self._found(f"{ROOT}/groups", [("query", msgspec.json.encode(asked).decode())])
            if not groups.items:
                raise FeedTrouble("The group of the privileged users cannot be seen.", fix=RIGHTS_FIX)
            found: set[int] = set()
            page, path = 1, f"{ROOT}/group/{number(groups.items[0])}/members"
            while True:
                members = await self._found(
                    path, [("users", "1"), ("groups", "0"), ("page", str(page)), ("per_page", "100")]
                )
                found |= {number(each) for each in members.items}
                if len(members.items) < PAGE_ROWS_MAX:
                    break
                page += 1
            for name in _SYSTEM_USERS:
                found |= {number(each) for each in await self.users({"Name": name})}
            self._staff = frozenset(found)
        return self._staff

    async def one(self, feed: str, of: str) -> Known | None:
        """Return a record alone with its tag; nothing when it is not there."""
        answer = await self.calls.send("GET", _path(feed, of))
        if answer.status == _NOT_FOUND:
            return None
        return Known(_map(answer, what=of), answer.headers.get("etag", ""))

    async def send(self, method: str, path: str, *, payload: Row | None = None, tag: str = "") -> Answer:
        """Send a write, under the condition that the record has not moved when a tag is given."""
        headers = {"If-Match": tag} if tag else {}
        answer = await self.calls.send(method, path, payload=payload, headers=headers)
        if answer.status == UNAUTHORISED:
            raise KeyRefused("Request Tracker refuses the key.", fix=KEY_FIX)
        return answer

    async def get(self, path: str, query: Query | None = None) -> Row:
        """Return what a path holds; raises ConnectorError."""
        return _map(await self.calls.send("GET", path, query=query), what=path.removeprefix(ROOT))

    async def _found(self, path: str, query: Query) -> Found:
        found = await self.get(path, query)
        try:
            return msgspec.convert({"items": found["items"], "total": found.get("total")}, Found)
        except (KeyError, msgspec.ValidationError) as error:
            raise NotAsDocumented(
                f"{path.removeprefix(ROOT)} holds no list of rows.", fix="Check that `url` leads to Request Tracker."
            ) from error

    async def _answers(self, numbers: Sequence[int]) -> dict[int, str]:
        """Return when somebody else than who asks first wrote to who asks, by ticket."""
        found: dict[int, str] = {}
        for start in range(0, len(numbers), PAGE_ROWS_MAX):
            left, last = set(numbers[start : start + PAGE_ROWS_MAX]), 0
            while left:
                those = numbered(sorted(left), name="ObjectId")
                query = f"ObjectType = 'RT::Ticket' AND Type = 'Correspond' AND id > {last} AND ( {those} )"
                page = await self.transactions(query, fields=("ObjectId", "Created", "Creator"))
                for each in page.items:
                    last, ticket = number(each), int(str(each.get("ObjectId")))
                    if ticket in left and number(cast("Row", each["Creator"])) in await self.staff():
                        found[ticket] = str(each.get("Created"))
                        left.discard(ticket)
                if len(page.items) < PAGE_ROWS_MAX:
                    break
        return found


def _pruned(row: Row, fields: Sequence[str]) -> Row:
    """Return a row without the links beside what was asked for."""
    return {"id": number(row)} | {name: _unlinked(row[name]) for name in fields if name in row and name != "id"}


def _ordered(row: Row) -> Row:
    """Return a ticket with its custom fields in one order; the server gives them in any."""
    fields: list[Json] = [*sorted(rows(row.get("CustomFields")), key=number)]
    ordered: Row = {**row, "CustomFields": fields}
    return ordered if fields else row


def _filled(row: Row) -> Row:
    """Return a user alone as a search gives it: with empty texts for what is not set."""
    texts: Row = {name: str(row.get(name) or "") for name in USER_FIELDS if name != "id"}
    return {"id": number(row), **texts}


def _unlinked(value: Json) -> Json:
    if isinstance(value, dict):
        return {name: _unlinked(each) for name, each in value.items() if name not in ("_url", "type")}
    return [_unlinked(each) for each in value] if isinstance(value, list) else value


def _path(feed: str, of: str = "") -> str:
    kind = {TICKETS: "ticket", USERS: "user"}[feed]
    return f"{ROOT}/{kind}/{quote(of, safe='')}" if of else f"{ROOT}/{kind}"


def _map(answer: Answer, *, what: str) -> Row:
    if answer.status == UNAUTHORISED:
        raise KeyRefused("Request Tracker refuses the key.", fix=KEY_FIX)
    if answer.status == _FORBIDDEN:
        raise FeedTrouble(f"The user of this connection may not read {what}.", fix=RIGHTS_FIX)
    if not answer.good:
        raise NotAsDocumented(
            f"Request Tracker answered {answer.status} to {what}: {answer.said}", fix="Look into the server's log."
        )
    found = answer.json()
    if not isinstance(found, dict):
        raise NotAsDocumented("What answers is not Request Tracker.", fix="Check `url`.")
    return found
