"""An organisation in Xero, as its documentation says it answers: our own, in memory, for trying the connector.

It refuses what Xero refuses: unknown parameters, tokens that ended, contacts without a name or with that of another,
and calls without the organisation. It is itself driven by Xero's own library for Python in the tests.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from threading import RLock
from uuid import UUID

from isthmus.connectors.xero.wire import CONTACTS, EXPECTED, RESOURCES, STAMP, Row, moment, rows, told
from isthmus.kernel.marks import Json

CLIENT, SECRET = "0A1B2C3D4E5F60718293A4B5C6D7E8F9", "a-secret+of/an=app"
TENANT = "0f1c2d3e-0000-4000-8000-0123456789ab"
NAME_MAX, PAGE_ROWS, PAGE_ROWS_MAX = 255, 100, 1_000
LIVES_S = 1_800
BEGINNING = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
_PHONES, _ADDRESSES = ("DEFAULT", "DDI", "FAX", "MOBILE"), ("STREET", "POBOX")
_NAMES = ("Name", "FirstName", "LastName")
_WRITTEN = frozenset(
    (*_NAMES, "ContactID", "ContactNumber", "ContactStatus", "EmailAddress", "TaxNumber", "Addresses", "Phones")
)
_PLACE = ("AddressLine1", "AddressLine2", "AddressLine3", "AddressLine4", "City", "Region", "PostalCode", "Country")


class Refused(Exception):
    """What Xero would answer instead: a status and a body."""

    def __init__(self, status: int, body: Json, headers: Mapping[str, str] | None = None) -> None:
        """A body that is a text is no JSON."""
        super().__init__(status)
        self.status, self.body, self.headers = status, body, dict(headers or {})


def own_number(count: int) -> str:
    """Return an id as Xero's look, the same for the same count; later ones sort behind."""
    return str(UUID(int=(count << 96) | count, version=4))


@dataclass
class Organisation:
    """Rows by feed and id. `now` moves by a second with every change, unless many are made at once."""

    held: dict[str, dict[str, Row]] = field(default_factory=lambda: {feed: {} for feed in RESOURCES})
    now: datetime = BEGINNING
    made: int = 0
    tokens: dict[str, datetime] = field(default_factory=dict[str, datetime])
    codes: dict[str, str] = field(default_factory=dict[str, str])
    refreshes: set[str] = field(default_factory=set[str])
    answered: dict[str, tuple[Json, Json]] = field(default_factory=dict[str, tuple[Json, Json]])
    minute_left: int | None = None
    problem: str = "minute"
    wait_s: int = 1
    lock: RLock = field(default_factory=RLock)

    def tick(self, seconds: float = 1.0) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)

    def number(self) -> str:
        """Return an id that is new."""
        self.made += 1
        return own_number(self.made)

    def put(self, feed: str, values: Row, *, still: bool = False) -> Row:
        """Make a row, or change the one with the id of `values`, as a person there does."""
        with self.lock:
            if not still:
                self.tick()
            own = RESOURCES[feed][1]
            number = str(values.get(own) or self.number())
            row = {**self.held[feed].get(number, {}), **deepcopy(values), own: number, STAMP: told(self.now)}
            self.held[feed][number] = row
            return row

    def contact(self, values: Row, *, still: bool = False) -> Row:
        """Make or change a contact, with all that Xero tells of each."""
        before = self.held[CONTACTS].get(str(values.get("ContactID")), {})
        given = {name: value for name, value in values.items() if name not in ("Addresses", "Phones")}
        fresh: Row = {"ContactStatus": "ACTIVE", "IsCustomer": False, "IsSupplier": False, "ContactGroups": []}
        places = _by_kind(values.get("Addresses"), before.get("Addresses"), "AddressType", _ADDRESSES, _place)
        phones = _by_kind(values.get("Phones"), before.get("Phones"), "PhoneType", _PHONES, _phone)
        whole: Row = {**fresh, **before, **given, "Addresses": places, "Phones": phones, "HasValidationErrors": False}
        return self.put(CONTACTS, whole, still=still)

    def merge(self, loser: str, winner: str) -> None:
        """Make one contact of two: the one that goes is archived, and says where it went."""
        self.put(CONTACTS, {"ContactID": loser, "ContactStatus": "ARCHIVED", "MergedToContactID": winner})

    def listed(self, feed: str, query: Mapping[str, str], modified: str | None) -> tuple[list[Row], Row | None]:
        """Return the rows of a list, and what it says of its pages where it has them; raises Refused."""
        with self.lock:
            self._check_query(feed, query)
            found = [row for row in self.held[feed].values() if self._shown(feed, row, query)]
            if modified is not None:
                at = _instant(modified)
                found = [row for row in found if _stamp(row) >= at]
            name, _, way = query.get("order", f"{STAMP} ASC").partition(" ")
            found.sort(key=lambda row: _stamp(row).isoformat() if name == STAMP else str(row.get(name)))
            found = found[::-1] if way == "DESC" else found
            if "page" not in query:
                return deepcopy(found), None
            page, size = int(query["page"]), int(query.get("pageSize", PAGE_ROWS))
            if not (page > 0 and 0 < size <= PAGE_ROWS_MAX):
                raise Refused(400, _problem("The page or its size is out of range."))
            count = -(-len(found) // size)
            about: Row = {"page": page, "pageSize": size, "pageCount": count, "itemCount": len(found)}
            return deepcopy(found[(page - 1) * size : page * size]), about

    def _check_query(self, feed: str, query: Mapping[str, str]) -> None:
        more = {"contacts": {"IDs", "includeArchived", "summaryOnly"}, "invoices": {"Statuses", "summaryOnly", "IDs"}}
        if unknown := set(query) - {"where", "order", "page", "pageSize"} - more.get(feed, set[str]()):
            raise Refused(400, _problem(f"Unknown parameters: {sorted(unknown)}."))

    def _shown(self, feed: str, row: Row, query: Mapping[str, str]) -> bool:
        status = "ContactStatus" if feed == CONTACTS else "Status"
        if feed == CONTACTS and row[status] != "ACTIVE" and query.get("includeArchived") != "true":
            return False
        if (ids := query.get("IDs")) is not None and str(row[RESOURCES[feed][1]]) not in ids.split(","):
            return False
        if (statuses := query.get("Statuses")) is not None and str(row[status]) not in statuses.split(","):
            return False
        match query.get("where", ""):
            case "":
                return True
            case 'ContactStatus=="ACTIVE"':
                return row[status] == "ACTIVE"
            case 'Status!="DELETED"':
                return row[status] != "DELETED"
            case other:
                raise Refused(400, _problem(f"No such filter here: {other}"))

    def written(self, sent: Json, *, key: str, apart: bool) -> tuple[int, list[Row]]:
        """Make or change contacts; returns the status, and a row for each. `apart` answers for each by itself.

        The same key with the same contacts changes nothing, and answers as before. Raises Refused.
        """
        with self.lock:
            if key in self.answered:
                before, rows_then = self.answered[key]
                if before != sent:
                    raise Refused(400, _problem("The idempotency key was used with another request."))
                return 200, rows(rows_then)
            given = rows(sent)
            faults = [self._faults(each) for each in given]
            if any(faults) and not apart:
                elements: list[Json] = [{**each, **_faulty(said)} for each, said in zip(given, faults, strict=True)]
                raise Refused(400, {**_invalid(), "Elements": elements})
            answer: list[Row] = []
            for each, said in zip(given, faults, strict=True):
                if said:
                    answer.append({**each, **_faulty(said), "StatusAttributeString": "ERROR"})
                else:
                    wanted = {name: value for name, value in self._same(each).items() if name in _WRITTEN}
                    answer.append({**self.contact(wanted), "StatusAttributeString": "OK"})
            if key:
                self.answered[key] = (deepcopy(sent), [*answer])
            return 200, deepcopy(answer)

    def _same(self, given: Row) -> Row:
        """Return what is written under the id of the contact that has the number, if one has it."""
        number = given.get("ContactNumber")
        if number and "ContactID" not in given:
            for row in self.held[CONTACTS].values():
                if row.get("ContactNumber") == number:
                    return {**given, "ContactID": row["ContactID"]}
        return given

    def _faults(self, given: Row) -> list[str]:
        """Return what is wrong with a contact that is sent."""
        if unknown := set(given) - EXPECTED[CONTACTS].keys():
            return [f"Unknown: {sorted(unknown)}"]
        same = self._same(given)
        before = self.held[CONTACTS].get(str(same.get("ContactID")))
        if "ContactID" in same and before is None:
            return ["The contact could not be found."]
        if before is not None and before["ContactStatus"] != "ACTIVE" and given.get("ContactStatus") != "ACTIVE":
            return ["The contact is archived."]
        name = given.get("Name", before.get("Name") if before else "")
        if not isinstance(name, str) or not name.strip():
            return ["The contact name must be specified."]
        found: list[str] = []
        if len(name) > NAME_MAX:
            found.append(f"The contact name is over {NAME_MAX} characters.")
        others = (row for row in self.held[CONTACTS].values() if row is not before and row["ContactStatus"] == "ACTIVE")
        if any(str(row["Name"]).casefold() == name.casefold() for row in others):
            found.append(f"The contact name {name} is already assigned to another contact.")
        email = given.get("EmailAddress") or ""
        if email and "@" not in str(email):
            found.append("Email address must be valid.")
        return found

    def token(self, form: Mapping[str, str]) -> Row:
        """Return tokens for a grant; raises Refused as the token address does."""
        with self.lock:
            kind = form.get("grant_type", "")
            if kind == "refresh_token":
                if form.get("refresh_token", "") not in self.refreshes:
                    raise Refused(400, {"error": "invalid_grant"})
                self.refreshes.discard(form["refresh_token"])
            elif kind == "authorization_code":
                if self.codes.pop(form.get("code", ""), None) is None:
                    raise Refused(400, {"error": "invalid_grant"})
            elif kind != "client_credentials":
                raise Refused(400, {"error": "unsupported_grant_type"})
            self.made += 1
            access = f"access-{self.made}-{own_number(self.made)}"
            self.tokens[access] = self.now + timedelta(seconds=LIVES_S)
            answer: Row = {"access_token": access, "expires_in": LIVES_S, "token_type": "Bearer"}
            if kind != "client_credentials":
                refresh = f"refresh-{self.made}-{own_number(self.made)}"
                self.refreshes.add(refresh)
                answer["refresh_token"] = refresh
            return answer

    def admit(self, authorization: str, tenant: str | None) -> None:
        """Let a call in; raises Refused for one without a token, of another organisation, or too many."""
        with self.lock:
            self.known(authorization)
            if tenant != TENANT:
                raise Refused(403, _denied(403, "Forbidden"))
            if self.minute_left is not None:
                if self.minute_left <= 0:
                    self.minute_left = None
                    raise Refused(429, "", {"Retry-After": str(self.wait_s), "X-Rate-Limit-Problem": self.problem})
                self.minute_left -= 1

    def known(self, authorization: str) -> None:
        """Raise Refused for a call without a token that holds."""
        ends = self.tokens.get(authorization.removeprefix("Bearer "))
        if not authorization.startswith("Bearer ") or ends is None or ends <= self.now:
            raise Refused(401, _denied(401, "Unauthorized"))

    def about(self) -> Row:
        """Return what is told of the organisation."""
        return {"OrganisationID": TENANT, "Name": "Northwind Traders", "BaseCurrency": "EUR", "CountryCode": "DE"}


def _by_kind(
    given: Json, before: Json, name: str, kinds: Sequence[str], whole: Callable[[str, Row], Row]
) -> list[Json]:
    """Return one entry of each kind: what is given takes the place of what was there."""
    old = {str(each.get(name)): each for each in rows(before)}
    new = {str(each.get(name)): each for each in rows(given)}
    return [whole(kind, new.get(kind) or old.get(kind) or {}) for kind in kinds]


def _place(kind: str, given: Row) -> Row:
    return {"AddressType": kind, **{name: given.get(name) or "" for name in _PLACE}}


def _phone(kind: str, given: Row) -> Row:
    names = ("PhoneNumber", "PhoneAreaCode", "PhoneCountryCode")
    return {"PhoneType": kind, **{name: given.get(name) or "" for name in names}}


def _stamp(row: Row) -> datetime:
    at = moment(row[STAMP])
    assert at is not None
    return at


def _instant(modified: str) -> datetime:
    try:
        at = datetime.fromisoformat(modified)
    except ValueError as error:
        raise Refused(400, _problem("If-Modified-Since is no time.")) from error
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _problem(detail: str) -> Row:
    return {"ErrorNumber": 16, "Type": "QueryParseException", "Message": detail}


def _invalid() -> Row:
    return {"ErrorNumber": 10, "Type": "ValidationException", "Message": "A validation exception occurred"}


def _faulty(said: Sequence[str]) -> Row:
    return {"HasValidationErrors": True, "ValidationErrors": [{"Message": each} for each in said]}


def _denied(status: int, title: str) -> Row:
    return {"Type": None, "Title": title, "Status": status, "Detail": "AuthenticationUnsuccessful"}
