"""The counterpart of Zendesk: a fake of its documented interface v2, strict about it, that tests may change.

Exports leave out the newest minute, so that the fake's clock moves on by a minute and a half with every change; a stamp
has whole seconds. Rows are kept in memory.
"""

import base64
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast
from urllib.parse import quote

import msgspec
from aiohttp import web

from isthmus.kernel.marks import Json
from isthmus.sync.rest.serving import serving

BEGAN = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
EMAIL, TOKEN, PAGE_ROWS, ROWS_MAX, MINUTE_S, STEP_S = (
    "sync@quince.example",
    "zendesk-token-of-the-fake",
    5,
    1000,
    60,
    90,
)
STATUSES = ("new", "open", "pending", "hold", "solved", "closed")
PRIORITIES, TYPES = ("low", "normal", "high", "urgent"), ("question", "incident", "problem", "task")
EMPTY: Mapping[str, dict[str, Json]] = {
    "organizations": {
        **dict.fromkeys(("name", "details", "notes", "group_id", "external_id", "deleted_at")),
        "domain_names": [],
        "tags": [],
        "organization_fields": {},
        "shared_tickets": False,
        "shared_comments": False,
    },
    "users": {
        **dict.fromkeys(
            ("name", "email", "phone", "organization_id", "notes", "details", "external_id", "alias", "photo")
        ),
        "role": "end-user",
        "active": True,
        "verified": False,
        "tags": [],
        "user_fields": {},
        "suspended": False,
        "locale": "en-US",
        "locale_id": 1,
        "time_zone": "Paris",
        "shared": False,
        "moderator": False,
    },
    "tickets": {
        **dict.fromkeys(
            ("subject", "description", "type", "priority", "assignee_id", "organization_id", "external_id")
        ),
        **dict.fromkeys(("external_id", "group_id", "problem_id", "due_at", "recipient", "satisfaction_rating")),
        "status": "new",
        "requester_id": 1,
        "submitter_id": 1,
        "tags": [],
        "custom_fields": [],
        "is_public": True,
        "via": {"channel": "api"},
        "collaborator_ids": [],
        "follower_ids": [],
        "has_incidents": False,
    },
}
READ_ONLY = frozenset(("id", "url", "created_at", "updated_at", "deleted_at", "active", "description", "via"))
Row = dict[str, Json]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Refusal(Exception):
    """What Zendesk answers to what it does not take."""

    def __init__(self, status: int, error: str, description: str) -> None:
        super().__init__(description)
        self.status, self.error = status, error


@dataclass
class FakeZendesk:
    """Implements `isthmus.sync.conformance.Counterpart`, and is the server behind it.

    `meanwhile` is called once, right before the next update is made, as somebody who was faster.
    """

    rows: dict[str, dict[int, Row]] = field(default_factory=lambda: {name: {} for name in EMPTY})
    keys: dict[str, tuple[bytes, Row]] = field(default_factory=dict[str, "tuple[bytes, Row]"])
    seconds: int = 0
    meanwhile: Callable[[], object] | None = None
    settings: Mapping[str, str] = field(default_factory=dict[str, str])
    wrong: Mapping[str, str] = field(default_factory=lambda: {"token": "not-the-token-of-the-fake"})
    feed: str = "organizations"
    type: str = "sales.account"
    fields: tuple[str, str] = ("name", "description")
    page_rows: int = PAGE_ROWS
    refused: Mapping[str, Json] = field(default_factory=lambda: {"name": ""})

    def put(self, external_id: str | None, values: Mapping[str, str]) -> str:
        """Make or change an organization."""
        said: Row = {{"description": "details"}.get(name, name): value for name, value in values.items()}
        return str(self.store(self.feed, int(external_id) if external_id else None, said)["id"])

    def burst(self, count: int) -> list[str]:
        """Import organizations within one second."""
        made = [self.store(self.feed, None, {"name": f"Burst {self.seconds} {n}"}, passing=0) for n in range(count)]
        self.seconds += STEP_S
        return [str(row["id"]) for row in made]

    def delete(self, external_id: str) -> None:
        """Delete an organization."""
        self.remove(self.feed, int(external_id))

    def held(self, external_id: str) -> Mapping[str, str | None] | None:
        """Return what an organization holds."""
        row = self.rows[self.feed].get(int(external_id))
        if row is None or _gone(row):
            return None
        return {"name": cast("str", row["name"]), "description": cast("str | None", row["details"])}

    def store(self, kind: str, number: int | None, changed: Row, *, passing: int = STEP_S) -> Row:
        """Change a row, or make one, so many seconds before now."""
        now = _stamp(self.seconds)
        self.seconds += passing
        if number is None:
            number = max(self.rows[kind], default=100) + 1
            url = f"https://quince.zendesk.com/api/v2/{kind}/{number}.json"
            self.rows[kind][number] = {"id": number, "url": url, "created_at": now, **EMPTY[kind]}
        row = self.rows[kind][number]
        row |= {**changed, "updated_at": now}
        return row

    def remove(self, kind: str, number: int) -> Row:
        """Delete a row as its kind is deleted."""
        how: Mapping[str, Row] = {
            "organizations": {"deleted_at": _stamp(self.seconds)},
            "users": {"active": False},
            "tickets": {"status": "deleted"},
        }
        return self.store(kind, number, how[kind])

    def app(self) -> web.Application:
        """Return the server."""
        app = web.Application(middlewares=[_front])
        app.router.add_get("/api/v2/users/me.json", self._me)
        app.router.add_get("/api/v2/incremental/{kind:users|tickets}/cursor.json", self._by_cursor)
        app.router.add_get("/api/v2/incremental/{kind:organizations}.json", self._by_time)
        for end in ("", ".json"):
            one = "/api/v2/{kind:organizations|users|tickets}/{id:\\d+}" + end
            app.router.add_get(one, self._one)
            app.router.add_put(one, self._update)
            app.router.add_delete(one, self._delete)
            app.router.add_post("/api/v2/{kind:organizations|users|tickets}" + end, self._create)
        return app

    async def _me(self, _: web.Request) -> web.Response:
        return web.json_response({"user": {"id": 1, "name": "Sync", "email": EMAIL, "role": "admin"}})

    def _told(self, request: web.Request) -> list[Row]:
        """Return what an export may tell, in its order: not what changed within the newest minute."""
        newest = _stamp(self.seconds - MINUTE_S)
        found = [row for row in self.rows[request.match_info["kind"]].values() if str(row["updated_at"]) <= newest]
        return sorted(found, key=_place)

    def _since(self, request: web.Request) -> str:
        told = request.query.get("start_time", "")
        if not told.isdecimal():
            raise Refusal(400, "StartTimeMissing", "Missing parameter: start_time")
        at = datetime.fromtimestamp(int(told), UTC)
        if at > BEGAN + timedelta(seconds=self.seconds - MINUTE_S):
            raise Refusal(422, "InvalidValue", "Too recent start_time. Use a start_time older than 60 seconds")
        return at.strftime("%Y-%m-%dT%H:%M:%SZ")

    async def _by_cursor(self, request: web.Request) -> web.Response:
        kind, found, cursor = request.match_info["kind"], self._told(request), request.query.get("cursor")
        if cursor and "start_time" in request.query:
            raise Refusal(400, "InvalidPaginationParameter", "cursor and start_time are given")
        if cursor:
            place = _read(cursor)
            found = [row for row in found if _place(row) > place]
        else:
            since = self._since(request)
            found = [row for row in found if str(row["updated_at"]) >= since]
        size = _size(request)
        page = found[:size]
        after = _cursor(page[-1]) if page else cursor
        url = f"https://quince.zendesk.com{request.path}?cursor={quote(after or '')}&per_page={size}"
        said = {kind: page, "after_cursor": after, "before_cursor": None, "after_url": url, "before_url": None}
        return web.json_response({**said, "end_of_stream": len(found) <= size})

    async def _by_time(self, request: web.Request) -> web.Response:
        kind, since = request.match_info["kind"], self._since(request)
        found = [row for row in self._told(request) if str(row["updated_at"]) >= since]
        size = _size(request)
        # What shares the last second of a page is told with it.
        page = [row for n, row in enumerate(found) if n < size or row["updated_at"] == found[size - 1]["updated_at"]]
        ended = str(page[-1]["updated_at"]) if page else since
        end_time = int(datetime.fromisoformat(ended).timestamp())
        said = {kind: page, "count": len(page), "end_time": end_time, "next_page": None}
        return web.json_response({**said, "end_of_stream": len(page) == len(found)})

    async def _one(self, request: web.Request) -> web.Response:
        return _single(request, self._row(request))

    async def _create(self, request: web.Request) -> web.Response:
        key, sent = request.headers.get("Idempotency-Key", ""), await request.read()
        if key in self.keys:
            before, row = self.keys[key]
            if before != sent:
                raise Refusal(400, "IdempotentRequestError", "Request parameters are different from the original")
            return _single(request, row, status=201)
        kind, said = request.match_info["kind"], await self._said(request)
        if kind == "tickets":
            comment = said.pop("comment", None)
            if not isinstance(comment, dict) or not comment.get("body"):
                raise Refusal(422, "RecordInvalid", "Comment: cannot be blank")
            said = {"subject": None, **said, "description": comment["body"]}
        elif not str(said.get("name") or "").strip():
            raise Refusal(422, "RecordInvalid", "Name: cannot be blank")
        self._unique(kind, said, own=None)
        row = self.store(kind, None, said)
        if key:
            self.keys[key] = sent, row
        return _single(request, row, status=201)

    async def _update(self, request: web.Request) -> web.Response:
        kind, said = request.match_info["kind"], await self._said(request)
        if self.meanwhile is not None:
            faster, self.meanwhile = self.meanwhile, None
            faster()
        row = self._row(request)
        if kind == "tickets":
            stamp, safe = said.pop("updated_stamp", None), said.pop("safe_update", None)
            if row["status"] == "closed":
                raise Refusal(422, "RecordInvalid", "Status: closed prevents ticket update")
            if safe is True and stamp != row["updated_at"]:
                raise Refusal(409, "UpdateConflict", "Safe Update prevented: the ticket was updated meanwhile")
        elif "name" in said and not str(said["name"] or "").strip():
            raise Refusal(422, "RecordInvalid", "Name: cannot be blank")
        elif kind == "users" and said.get("email") not in (None, row["email"]):
            said.pop("email")  # A second address is added beside the primary one.
        self._unique(kind, said, own=row)
        return _single(request, self.store(kind, cast("int", row["id"]), said))

    async def _delete(self, request: web.Request) -> web.Response:
        row = self.remove(request.match_info["kind"], cast("int", self._row(request)["id"]))
        return _single(request, row) if request.match_info["kind"] == "users" else web.Response(status=204)

    async def _said(self, request: web.Request) -> Row:
        kind = request.match_info["kind"]
        said = cast("Row", await request.json()).get(kind[:-1])
        if not isinstance(said, dict):
            raise Refusal(400, "InvalidParameter", f"{kind[:-1]} is missing")
        known = {*EMPTY[kind], *(("comment", "updated_stamp", "safe_update") if kind == "tickets" else ())} - READ_ONLY
        choices = (("status", STATUSES), ("priority", (*PRIORITIES, None)), ("type", (*TYPES, None)))
        for name, allowed in choices if kind == "tickets" else ():
            if said.get(name, allowed[0]) not in allowed:
                raise Refusal(422, "RecordInvalid", f"{name.title()}: is not included in the list")
        # Zendesk passes over what it does not know as well; the fake would hide a mistake of ours.
        if unknown := set(said) - known - READ_ONLY:
            raise Refusal(400, "InvalidParameter", f"{min(unknown)} is not known")
        return {name: value for name, value in said.items() if name in known}

    def _unique(self, kind: str, said: Row, *, own: Row | None) -> None:
        name = {"organizations": "name", "users": "email"}.get(kind)
        if name is None or not isinstance(value := said.get(name), str):
            return
        others = [row for row in self.rows[kind].values() if row is not own and not _gone(row)]
        if any(str(row[name] or "").lower() == value.lower() for row in others):
            raise Refusal(422, "RecordInvalid", f"{name.title()}: {value} has already been taken")

    def _row(self, request: web.Request) -> Row:
        row = self.rows[request.match_info["kind"]].get(int(request.match_info["id"]))
        if row is None or (_gone(row) and request.match_info["kind"] != "users"):
            raise Refusal(404, "RecordNotFound", "Not found")
        return row


@contextmanager
def begin(home: Path) -> Generator[FakeZendesk]:
    """Run the fake."""
    del home
    fake = FakeZendesk()
    with serving(fake.app()) as url:
        fake.settings = {"url": url, "email": EMAIL, "token": TOKEN, "page_rows": str(PAGE_ROWS)}
        yield fake


@web.middleware
async def _front(request: web.Request, handler: Handler) -> web.StreamResponse:
    proof = base64.b64encode(f"{EMAIL}/token:{TOKEN}".encode()).decode()
    if request.headers.get("Authorization") != f"Basic {proof}":
        return web.json_response({"error": "Couldn't authenticate you"}, status=401)
    try:
        return await handler(request)
    except Refusal as refusal:
        said = {"error": refusal.error, "description": str(refusal)}
        return web.json_response(said, status=refusal.status)


def _single(request: web.Request, row: Row, *, status: int = 200) -> web.Response:
    said: Row = {request.match_info["kind"][:-1]: row}
    if "ticket" in said and request.method in ("POST", "PUT"):
        said["audit"] = {"id": 1, "ticket_id": row["id"], "created_at": row["updated_at"], "events": []}
    return web.json_response(said, status=status)


def _gone(row: Row) -> bool:
    return bool(row.get("deleted_at")) or row.get("active") is False or row.get("status") == "deleted"


def _stamp(seconds: int) -> str:
    return (BEGAN + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def _place(row: Row) -> tuple[str, int]:
    return str(row["updated_at"]), cast("int", row["id"])


def _cursor(row: Row) -> str:
    return base64.b64encode(msgspec.json.encode(_place(row))).decode()


def _read(cursor: str) -> tuple[str, int]:
    try:
        return msgspec.json.decode(base64.b64decode(cursor, validate=True), type=tuple[str, int])
    except (ValueError, msgspec.MsgspecError) as error:
        raise Refusal(400, "InvalidPaginationParameter", "cursor is not valid") from error


def _size(request: web.Request) -> int:
    told = request.query.get("per_page", str(ROWS_MAX))
    if not told.isdecimal() or not 1 <= int(told) <= ROWS_MAX:
        raise Refusal(400, "InvalidValue", "per_page is at most 1000")
    return int(told)
