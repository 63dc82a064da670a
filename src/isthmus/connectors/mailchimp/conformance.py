"""The counterpart of Mailchimp: a fake of one audience of its documented Marketing API 3.0, that tests may change.

Lists are passed over by number of rows, what changed since a second leaves that second out, and no stamp is finer than
a second; so many contacts share one. Rows are kept in memory; a second passes with every change.
"""

import base64
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import md5
from pathlib import Path
from typing import cast

from aiohttp import web

from isthmus.kernel.marks import Json
from isthmus.sync.rest.serving import serving

BEGAN = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
TOKEN, AUDIENCE, PAGE_ROWS, ROWS_MAX, TEXT_MAX = "0123456789abcdef0123456789abcdef-us21", "57afe96172", 5, 1000, 255
STATUSES = ("subscribed", "unsubscribed", "cleaned", "pending", "transactional")
MERGES = ("FNAME", "LNAME", "PHONE", "ADDRESS")
WRITTEN = frozenset(
    (
        "email_address",
        "email_type",
        "status",
        "status_if_new",
        "merge_fields",
        "interests",
        "language",
        "vip",
        "location",
    )
)
LISTED = frozenset(("count", "offset", "fields", "exclude_fields", "status", "sort_field", "sort_dir"))
OF_MEMBERS = LISTED | {"since_last_changed", "before_last_changed", "email_type", "vip_only"}
OF_CAMPAIGNS = LISTED | {"list_id", "type", "since_create_time", "since_send_time", "before_send_time"}
Row = dict[str, Json]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Refusal(Exception):
    """What Mailchimp answers to what it does not take: a problem, with its title and detail."""

    def __init__(self, status: int, title: str, detail: str) -> None:
        super().__init__(detail)
        self.status, self.title = status, title


@dataclass
class FakeMailchimp:
    """Implements `isthmus.sync.conformance.Counterpart`, and is the server behind it.

    `left` are contacts who unsubscribed themselves: nobody else may subscribe them again.
    """

    members: dict[str, Row] = field(default_factory=dict[str, Row])
    campaigns: list[Row] = field(default_factory=list[Row])
    left: set[str] = field(default_factory=set[str])
    seconds: int = 0
    settings: Mapping[str, str] = field(default_factory=dict[str, str])
    wrong: Mapping[str, str] = field(default_factory=lambda: {"token": f"{'f' * 32}-us21"})
    feed: str = "members"
    type: str = "sales.person"
    fields: tuple[str, str] = ("last_name", "first_name")
    page_rows: int = PAGE_ROWS
    refused: Mapping[str, Json] = field(default_factory=lambda: {"last_name": "x" * (TEXT_MAX + 1)})

    def put(self, external_id: str | None, values: Mapping[str, str]) -> str:
        """Make or change a contact."""
        merges: Row = {{"last_name": "LNAME", "first_name": "FNAME"}[name]: value for name, value in values.items()}
        said: Row = {"merge_fields": merges}
        if external_id is None:
            said |= {"email_address": f"wren{len(self.members)}@quince.example", "status": "subscribed"}
        return str(self.store(external_id, said)["contact_id"])

    def burst(self, count: int) -> list[str]:
        """Import contacts within one second."""
        made: list[str] = []
        for n in range(count):
            address = f"burst{len(self.members)}@quince.example"
            said: Row = {"email_address": address, "status": "subscribed", "merge_fields": {"LNAME": f"Burst {n}"}}
            made.append(str(self.store(None, said, passing=0)["contact_id"]))
        self.seconds += 1
        return made

    def delete(self, external_id: str) -> None:
        """Archive a contact."""
        self.store(external_id, {"status": "archived"})

    def held(self, external_id: str) -> Mapping[str, str | None] | None:
        """Return what a contact holds."""
        row = self.members.get(external_id)
        if row is None or row["status"] == "archived":
            return None
        merges = cast("dict[str, str]", row["merge_fields"])
        return {"last_name": merges["LNAME"] or None, "first_name": merges["FNAME"] or None}

    def store(self, contact: str | None, changed: Row, *, passing: int = 1) -> Row:
        """Change a contact, or make one, so many seconds after the last change."""
        self.seconds += passing
        now = (BEGAN + timedelta(seconds=self.seconds)).strftime("%Y-%m-%dT%H:%M:%S+00:00")
        if contact is None:
            contact = f"{len(self.members):032x}"
            self.members[contact] = {
                "contact_id": contact,
                "web_id": len(self.members),
                "list_id": AUDIENCE,
                "language": "",
                "vip": False,
                "email_type": "html",
                "merge_fields": dict.fromkeys(MERGES, ""),
                "interests": {},
                "tags": [],
                "source": "API - Generic",
                "timestamp_opt": now,
                "timestamp_signup": "",
                "location": {},
            }
        row = self.members[contact]
        merges = {**cast("Row", row["merge_fields"]), **cast("Row", changed.get("merge_fields") or {})}
        row |= {**changed, "merge_fields": merges, "last_changed": now}
        row["id"] = _hash(str(row["email_address"]))
        return row

    def app(self) -> web.Application:
        """Return the server."""
        app = web.Application(middlewares=[_front])
        home = f"/3.0/lists/{AUDIENCE}/members"
        app.router.add_get("/3.0/", self._root)
        app.router.add_get("/3.0/campaigns", self._sent)
        app.router.add_get(home, self._list)
        app.router.add_post(home, self._add)
        app.router.add_get(home + "/{member}", self._one)
        app.router.add_put(home + "/{member}", self._set)
        app.router.add_patch(home + "/{member}", self._change)
        app.router.add_delete(home + "/{member}", self._archive)
        return app

    async def _root(self, _: web.Request) -> web.Response:
        return web.json_response({"account_id": "7", "account_name": "Quince & Compass", "email": "o@quince.example"})

    async def _list(self, request: web.Request) -> web.Response:
        found = [row for row in self.members.values() if row["status"] != "archived"]
        if since := request.query.get("since_last_changed"):
            found = [row for row in found if _time(str(row["last_changed"])) > _time(since)]
        if request.query.get("sort_field") == "last_changed":
            found.sort(key=lambda row: str(row["last_changed"]), reverse=request.query.get("sort_dir") == "DESC")
        return _paged(request, found, name="members", known=OF_MEMBERS)

    async def _sent(self, request: web.Request) -> web.Response:
        wanted = request.query.get("list_id")
        found = [each for each in self.campaigns if cast("Row", each["recipients"])["list_id"] == wanted]
        return _paged(request, found, name="campaigns", known=OF_CAMPAIGNS)

    async def _one(self, request: web.Request) -> web.Response:
        return web.json_response(self._member(request))

    async def _add(self, request: web.Request) -> web.Response:
        said = await _said(request)
        if any(row["id"] == _hash(str(said.get("email_address"))) for row in self.members.values()):
            raise Refusal(400, "Member Exists", f"{said['email_address']} is already a list member.")
        return web.json_response(self.store(None, _made(said, said.get("status"))))

    async def _set(self, request: web.Request) -> web.Response:
        said, row = await _said(request), self._find(request.match_info["member"])
        if row is not None:
            return web.json_response(self._changed(row, said))
        if request.match_info["member"] != _hash(str(said.get("email_address"))):
            raise Refusal(400, "Invalid Resource", "The subscriber hash is not that of the address.")
        return web.json_response(self.store(None, _made(said, said.get("status") or said.get("status_if_new"))))

    async def _change(self, request: web.Request) -> web.Response:
        return web.json_response(self._changed(self._member(request), await _said(request)))

    async def _archive(self, request: web.Request) -> web.Response:
        row = self._member(request)
        if row["status"] == "archived":
            raise Refusal(405, "Method Not Allowed", "This list member cannot be removed.")
        self.store(str(row["contact_id"]), {"status": "archived"})
        return web.Response(status=204)

    def _changed(self, row: Row, said: Row) -> Row:
        if said.get("status") == "subscribed" and str(row["contact_id"]) in self.left:
            said_so = f"{row['email_address']} is in a compliance state due to unsubscribe, bounce or review."
            raise Refusal(400, "Member In Compliance State", said_so)
        return self.store(str(row["contact_id"]), {name: said[name] for name in said if name != "status_if_new"})

    def _member(self, request: web.Request) -> Row:
        row = self._find(request.match_info["member"])
        if row is None:
            raise Refusal(404, "Resource Not Found", "The requested resource could not be found.")
        return row

    def _find(self, name: str) -> Row | None:
        number = _hash(name) if "@" in name else name
        return next((row for row in self.members.values() if number in (row["contact_id"], row["id"])), None)


@contextmanager
def begin(home: Path) -> Generator[FakeMailchimp]:
    """Run the fake."""
    del home
    fake = FakeMailchimp()
    fake.campaigns.append(campaign("a1b2c3d4e5", "Autumn jars"))
    with serving(fake.app()) as url:
        fake.settings = {"url": url, "token": TOKEN, "audience": AUDIENCE}
        fake.settings |= {"page_rows": str(PAGE_ROWS), "overlap_s": "1"}
        yield fake


def campaign(number: str, title: str, *, audience: str = AUDIENCE) -> Row:
    """Return a campaign that was sent."""
    return {
        "id": number,
        "web_id": 7,
        "type": "regular",
        "status": "sent",
        "emails_sent": 120,
        "create_time": "2026-11-01T08:00:00+00:00",
        "send_time": "2026-11-02T08:00:00+00:00",
        "recipients": {"list_id": audience, "recipient_count": 120},
        "settings": {"title": title, "subject_line": "Jars"},
    }


@web.middleware
async def _front(request: web.Request, handler: Handler) -> web.StreamResponse:
    kind, _, proof = request.headers.get("Authorization", "").partition(" ")
    given = base64.b64decode(proof).decode().partition(":")[2] if kind == "Basic" else proof
    if given != TOKEN:
        return _problem(401, "API Key Invalid", "Your API key may be invalid, or of another datacenter.")
    try:
        return await handler(request)
    except Refusal as refusal:
        return _problem(refusal.status, refusal.title, str(refusal))


def _problem(status: int, title: str, detail: str) -> web.Response:
    said = {"type": "https://mailchimp.com/developer/marketing/docs/errors/", "title": title, "status": status}
    said |= {"detail": detail, "instance": "995c5cb0-3280-4a6e-808b-3b096d0bb219"}
    return web.json_response(said, status=status, content_type="application/problem+json")


def _paged(request: web.Request, found: list[Row], *, name: str, known: frozenset[str]) -> web.Response:
    query = request.query
    if unknown := set(query) - known:
        raise Refusal(400, "Bad Request", f"The parameter {min(unknown)} is not known.")
    count, offset = int(query.get("count", "10")), int(query.get("offset", "0"))
    if not 0 <= count <= ROWS_MAX or offset < 0:
        raise Refusal(400, "Bad Request", "The count is at most 1000.")
    page = found[offset : offset + count]
    if fields := query.get("fields"):
        wanted = [each.removeprefix(f"{name}.") for each in fields.split(",")]
        page = [{each: row[each] for each in wanted} for row in page]
    return web.json_response({name: page, "list_id": AUDIENCE, "total_items": len(found)})


async def _said(request: web.Request) -> Row:
    said = cast("Row", await request.json())
    if unknown := set(said) - WRITTEN:
        raise Refusal(400, "Invalid Resource", f"The field {min(unknown)} is not known, or only read.")
    merges = cast("Row", said.get("merge_fields") or {})
    if set(merges) - set(MERGES) or any(value is None or len(str(value)) > TEXT_MAX for value in merges.values()):
        raise Refusal(400, "Invalid Resource", "Your merge fields were invalid.")
    for name in ("status", "status_if_new"):
        if said.get(name, "subscribed") not in STATUSES:
            raise Refusal(400, "Invalid Resource", f"{name}: Value must be one of {', '.join(STATUSES)}.")
    if "@" not in str(said.get("email_address", "@")):
        raise Refusal(400, "Invalid Resource", "Please provide a valid email address.")
    return said


def _made(said: Row, status: Json) -> Row:
    if status is None or "email_address" not in said:
        raise Refusal(400, "Invalid Resource", "email_address and status are required.")
    return {**{name: value for name, value in said.items() if name != "status_if_new"}, "status": status}


def _hash(address: str) -> str:
    return md5(address.lower().encode(), usedforsecurity=False).hexdigest()


def _time(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise Refusal(400, "Bad Request", "since_last_changed is no ISO 8601 time.") from error
