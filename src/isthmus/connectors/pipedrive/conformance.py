"""The counterpart of Pipedrive: a fake of its documented interface v2, strict about it, that tests may change.

What it knows is what Pipedrive's own client and reference say: parameters, names and kinds of fields, pages by cursor,
errors, and the header that says when the budget is renewed. Rows are kept in memory; a second passes with every change.
"""

import base64
import json
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

from aiohttp import web

from isthmus.kernel.marks import Json
from isthmus.sync.rest.serving import serving

BEGAN = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
TOKEN, PAGE_ROWS, ROWS_MAX = "0123456789abcdef0123456789abcdef01234567", 5, 500
NEEDED = {"organizations": "name", "persons": "name", "deals": "title", "activities": ""}
PARAMETERS = frozenset(
    ("filter_id", "ids", "owner_id", "org_id", "person_id", "deal_id", "status", "updated_since", "updated_until")
) | {"sort_by", "sort_direction", "include_fields", "custom_fields", "limit", "cursor"}
_SHARED: dict[str, Json] = {"owner_id": 1, "visible_to": 3, "label_ids": [], "custom_fields": {}, "is_deleted": False}
_NONE = dict.fromkeys
EMPTY: Mapping[str, dict[str, Json]] = {
    "organizations": {
        **_SHARED,
        "address": None,
        **_NONE(("name", "website", "linkedin", "industry", "annual_revenue", "employee_count")),
    },
    "persons": {
        **_SHARED,
        **_NONE(("name", "org_id", "postal_address", "notes", "birthday", "job_title", "picture_id")),
        "emails": [],
        "phones": [],
        "im": [],
    },
    "deals": {
        **_SHARED,
        "status": "open",
        "pipeline_id": 1,
        "stage_id": 1,
        "value": 0,
        "currency": "EUR",
        "is_archived": False,
        **_NONE(("title", "person_id", "org_id", "probability", "lost_reason", "close_time", "won_time", "lost_time")),
        **_NONE(("expected_close_date", "stage_change_time", "origin_id", "channel", "channel_id", "source_lead_id")),
        "origin": "API",
        "arr": None,
        "mrr": None,
        "acv": None,
        "archive_time": None,
    },
    "activities": {
        **{name: value for name, value in _SHARED.items() if name in ("owner_id", "is_deleted")},
        "type": "call",
        "subject": "Call",
        "creator_user_id": 1,
        "busy": None,
        "done": False,
        "priority": None,
        **_NONE(("deal_id", "lead_id", "person_id", "org_id", "project_id", "due_date", "due_time", "duration")),
        **_NONE(("marked_as_done_time", "location", "public_description", "outcome", "note")),
        **_NONE(("conference_meeting_client", "conference_meeting_url", "conference_meeting_id")),
        "participants": [],
        "attendees": [],
    },
}
COMPUTED = frozenset(("id", "add_time", "update_time", "is_deleted", "first_name", "last_name", "creator_user_id"))
Row = dict[str, Json]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Refusal(Exception):
    """What Pipedrive answers to what it does not take."""

    def __init__(self, status: int, error: str, code: str = "ERR_SCHEMA_VALIDATION_FAILED") -> None:
        super().__init__(error)
        self.status, self.code = status, code


@dataclass
class FakePipedrive:
    """Implements `isthmus.sync.conformance.Counterpart`, and is the server behind it.

    `budget` is how many requests are taken before the next is answered 429; nothing: all are.
    """

    rows: dict[str, dict[int, Row]] = field(default_factory=lambda: {name: {} for name in EMPTY})
    seconds: int = 0
    budget: int | None = None
    settings: Mapping[str, str] = field(default_factory=dict[str, str])
    wrong: Mapping[str, str] = field(default_factory=lambda: {"token": "f" * 40})
    feed: str = "organizations"
    type: str = "sales.account"
    fields: tuple[str, str] = ("name", "website")
    page_rows: int = PAGE_ROWS
    refused: Mapping[str, Json] = field(default_factory=lambda: {"name": ""})

    def put(self, external_id: str | None, values: Mapping[str, str]) -> str:
        """Make or change an organization."""
        return str(self.store(self.feed, int(external_id) if external_id else None, dict(values))["id"])

    def burst(self, count: int) -> list[str]:
        """Import organizations within one second."""
        made = [self.store(self.feed, None, {"name": f"Burst {self.seconds} {n}"}, passing=0) for n in range(count)]
        self.seconds += 1
        return [str(row["id"]) for row in made]

    def delete(self, external_id: str) -> None:
        """Delete an organization."""
        self.store(self.feed, int(external_id), {"is_deleted": True})

    def held(self, external_id: str) -> Mapping[str, str | None] | None:
        """Return what an organization holds."""
        row = self.rows[self.feed].get(int(external_id))
        if row is None or row["is_deleted"]:
            return None
        return {name: cast("str | None", row[name]) for name in self.fields}

    def store(self, kind: str, number: int | None, changed: Row, *, passing: int = 1) -> Row:
        """Change a row, or make one, so many seconds after the last change."""
        self.seconds += passing
        now = (BEGAN + timedelta(seconds=self.seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
        if number is None:
            number = max(self.rows[kind], default=0) + 1
            self.rows[kind][number] = {"id": number, "add_time": now, **EMPTY[kind]}
        row = self.rows[kind][number]
        row |= {**changed, "update_time": now}
        if kind == "persons":
            first, _, last = str(row["name"] or "").partition(" ")
            row |= {"first_name": first or None, "last_name": last or None}
        if kind == "deals" and changed.get("status") in ("won", "lost"):
            row |= {"close_time": now, f"{changed['status']}_time": now}
        return row

    def app(self) -> web.Application:
        """Return the server."""
        app = web.Application(middlewares=[self._front])
        app.router.add_get("/api/v1/users/me", self._me)
        app.router.add_get("/api/v2/{kind}", self._list)
        app.router.add_get("/api/v2/deals/archived", self._list)
        app.router.add_get("/api/v2/{kind}/{id:\\d+}", self._one)
        app.router.add_post("/api/v2/{kind}", self._write)
        app.router.add_patch("/api/v2/{kind}/{id:\\d+}", self._write)
        app.router.add_delete("/api/v2/{kind}/{id:\\d+}", self._delete)
        return app

    @web.middleware
    async def _front(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.headers.get("x-api-token") != TOKEN and request.query.get("api_token") != TOKEN:
            return _told(401, "unauthorized access", None)
        if self.budget is not None:
            self.budget -= 1
            if self.budget < 0:
                self.budget = None
                answer = _told(429, "request over limit", None)
                answer.headers.update({"x-ratelimit-limit": "20", "x-ratelimit-remaining": "0"})
                answer.headers["x-ratelimit-reset"] = "1"
                return answer
        try:
            return await handler(request)
        except Refusal as refusal:
            return _told(refusal.status, str(refusal), refusal.code)

    async def _me(self, _: web.Request) -> web.Response:
        return _good({"id": 1, "name": "Wren Ashdown", "company_id": 7, "company_name": "Fake company"})

    async def _list(self, request: web.Request) -> web.Response:
        kind, query = request.match_info.get("kind", "deals"), request.query
        if kind not in EMPTY:
            raise Refusal(404, "Unknown method.", "ERR_NOT_FOUND")
        if unknown := set(query) - PARAMETERS - {"api_token"}:
            raise Refusal(400, f"Validation failed: unknown parameter {min(unknown)}")
        limit = _whole(query.get("limit", "100"))
        if not 1 <= limit <= ROWS_MAX:
            raise Refusal(400, "Validation failed: limit: must be at most 500")
        by, turn = query.get("sort_by", "id"), query.get("sort_direction", "asc")
        if by not in ("id", "add_time", "update_time") or turn not in ("asc", "desc"):
            raise Refusal(400, "Validation failed: sort_by")
        archived = request.path.endswith("/archived")
        found = [row for row in self.rows[kind].values() if not row["is_deleted"] and _archived(row) == archived]
        if since := query.get("updated_since"):
            found = [row for row in found if _time(str(row["update_time"])) >= _time(since)]
        found.sort(key=lambda row: _place(row, by), reverse=turn == "desc")
        if cursor := query.get("cursor"):
            place = _read(cursor, by)
            found = [row for row in found if (_place(row, by) < place if turn == "desc" else _place(row, by) > place)]
        page = found[:limit]
        following = _cursor(by, page[-1]) if len(found) > limit else None
        return _good([*page], {"next_cursor": following})

    async def _one(self, request: web.Request) -> web.Response:
        return _good(self._row(request))

    async def _write(self, request: web.Request) -> web.Response:
        kind, said = request.match_info["kind"], await request.json()
        row = self._row(request) if "id" in request.match_info else None
        needed = NEEDED[kind]
        for name, value in said.items():
            if name in COMPUTED or name not in EMPTY[kind]:
                raise Refusal(400, f"Validation failed: {name}: unrecognized key")
            empty = EMPTY[kind][name]
            if isinstance(empty, list | str | bool) and type(value) is not type(empty):
                raise Refusal(400, f"Validation failed: {name}: Expected another type")
        if (row is None or needed in said) and needed and not str(said.get(needed) or "").strip():
            raise Refusal(400, f"Validation failed: {needed}: Required")
        if said.get("status", "open") not in ("open", "won", "lost"):
            raise Refusal(400, "Validation failed: status: Invalid enum value")
        return _good(self.store(kind, cast("int", row["id"]) if row else None, said))

    async def _delete(self, request: web.Request) -> web.Response:
        row = self._row(request)
        self.store(request.match_info["kind"], cast("int", row["id"]), {"is_deleted": True})
        return _good({"id": row["id"]})

    def _row(self, request: web.Request) -> Row:
        row = self.rows.get(request.match_info["kind"], {}).get(int(request.match_info["id"]))
        if row is None or row["is_deleted"]:
            raise Refusal(404, "Entity not found", "ERR_NOT_FOUND")
        return row


@contextmanager
def begin(home: Path) -> Generator[FakePipedrive]:
    """Run the fake."""
    del home
    fake = FakePipedrive()
    with serving(fake.app()) as url:
        fake.settings = {"url": url, "token": TOKEN, "page_rows": str(PAGE_ROWS), "overlap_s": "1"}
        yield fake


def _good(found: Json, additional: Json = None) -> web.Response:
    return web.json_response({"success": True, "data": found, "additional_data": additional})


def _told(status: int, error: str, code: str | None) -> web.Response:
    said = {"success": False, "error": error, "error_info": "Please check developers.pipedrive.com", "data": None}
    return web.json_response({**said, "code": code} if code else {**said, "errorCode": status}, status=status)


def _archived(row: Row) -> bool:
    return row.get("is_archived") is True


def _place(row: Row, by: str) -> tuple[str, int]:
    return "" if by == "id" else str(row[by]), cast("int", row["id"])


def _cursor(by: str, row: Row) -> str:
    return base64.b64encode(json.dumps([by, *_place(row, by)]).encode()).decode()


def _read(cursor: str, by: str) -> tuple[str, int]:
    try:
        kind, stamp, number = json.loads(base64.b64decode(cursor, validate=True))
    except ValueError as error:
        raise Refusal(400, "Validation failed: cursor: Invalid") from error
    if kind != by:
        raise Refusal(400, "Validation failed: cursor: of another list")
    return stamp, number


def _time(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise Refusal(400, "Validation failed: updated_since: Invalid RFC3339") from error
    if at.tzinfo is None or "." in text:
        raise Refusal(400, "Validation failed: updated_since: Invalid RFC3339")
    return at


def _whole(text: str) -> int:
    if not text.isdecimal():
        raise Refusal(400, "Validation failed: limit: Expected number")
    return int(text)
