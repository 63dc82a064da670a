"""Our own project of PostHog's documented interfaces: what it holds, how it answers questions, and what it refuses.

https://posthog.com/docs/api/queries and /docs/api/capture. Questions are put to SQLite with the tables, columns and
functions of HogQL that are used here, and no others: what it does not know is refused, as PostHog does. What was asked
before is answered from a cache unless the question forces it, and times are told in the zone of the project.
"""

import json
import re
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from typing import cast
from uuid import UUID, uuid5

from isthmus.connectors.posthog.wire import Row, moment, told
from isthmus.kernel.marks import Json

PROJECT, KEY, TOKEN = "4711", "phx_key-of-a-person", "phc_token-of-the-project"
LIMIT, LIMIT_MAX = 100, 50_000
FUNCTIONS = frozenset({"tostring", "todatetime", "now", "jsonextractstring"})
QUERY_NAMES = frozenset(
    {"kind", "query", "values", "filters", "modifiers", "name", "explain", "variables", "tags", "version"}
)
BODY_NAMES = frozenset(
    {"query", "refresh", "client_query_id", "async", "name", "filters_override", "variables_override"}
)
REFRESH = frozenset(
    {"blocking", "async", "lazy_async", "force_blocking", "force_async", "force_cache", "async_except_on_cache_miss"}
)
MOMENTS = frozenset({"timestamp", "created_at"})
_TABLES = (
    "create table persons (id text, created_at text, properties text, is_identified integer)",
    "create table events (uuid text, event text, timestamp text, distinct_id text, person_id text, properties text)",
)
_SPACE = UUID("6f9f0000-0000-4000-8000-000000000000")
_HOLE = re.compile(r"\{(\w+)\}")


class Refused(Exception):
    """An error of PostHog's, with the status and the headers that it comes with."""

    def __init__(self, status: int, kind: str, code: str, detail: str, *, attr: str | None = None) -> None:
        """`kind` and `code` are PostHog's `type` and `code`."""
        super().__init__(detail)
        self.status, self.headers = status, dict[str, str]()
        self.body: Row = {"type": kind, "code": code, "detail": detail, "attr": attr}


@dataclass
class Project:
    """A project; `now` is its clock, which ticks with everything that happens in it."""

    now: datetime = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
    offset_h: int = 1
    scopes: frozenset[str] = frozenset({"query:read"})
    slower: list[int] = field(default_factory=list[int])
    persons: dict[str, Row] = field(default_factory=dict[str, Row])
    events: dict[str, Row] = field(default_factory=dict[str, Row])
    distinct: dict[str, str] = field(default_factory=dict[str, str])
    cache: dict[str, Row] = field(default_factory=dict[str, Row])
    asked: list[str] = field(default_factory=list[str])
    made: int = 0

    def person(self, distinct_id: str, properties: Mapping[str, Json], *, identified: bool = True) -> str:
        """Make a person, or change one; returns its id."""
        self.tick()
        own = self.distinct.setdefault(distinct_id, self._number())
        fresh: Row = {"created_at": told(self.now), "properties": {}, "is_identified": False}
        before = self.persons.get(own, fresh)
        known = {**cast("Row", before["properties"]), **properties}
        self.persons[own] = {**before, "properties": known, "is_identified": before["is_identified"] or identified}
        return own

    def event(
        self, name: str, distinct_id: str, properties: Mapping[str, Json] | None = None, *, at: datetime | None = None
    ) -> str:
        """Take an event of somebody, as of now or of a time; returns its id."""
        self.tick()
        own = self._number()
        self._kept(own, name, distinct_id, at=at or self.now, properties=properties or {})
        return own

    def captured(self, body: Mapping[str, Json]) -> Row:
        """Take what a library of PostHog's sends; raises Refused."""
        events = body.get("batch")
        if body.get("api_key") != TOKEN:
            raise Refused(401, "authentication_error", "invalid_api_key", "Project API key invalid.")
        if not isinstance(events, list):
            raise Refused(400, "validation_error", "invalid_payload", "No events in the batch.", attr="batch")
        for each in cast("list[Row]", events):
            self._captured(each)
        return {"status": 1}

    def answer(self, body: Mapping[str, Json]) -> Row:
        """Answer a question; raises Refused."""
        query, refresh = _checked(body)
        if self.slower:
            wait = self.slower.pop(0)
            refused = Refused(
                429, "throttled_error", "throttled", f"Request was throttled. Expected available in {wait} seconds."
            )
            refused.headers["Retry-After"] = str(wait)
            raise refused
        kept = json.dumps(query, sort_keys=True)
        if not refresh.startswith("force_") and kept in self.cache:
            return {**self.cache[kept], "is_cached": True}
        question, values = str(query["query"]), cast("Row", query.get("values") or {})
        self.asked.append(question)
        columns, rows, limit = self._selected(question, values)
        found: Row = {
            "results": [*rows[:limit]],
            "columns": [*columns],
            "types": [[each, "String"] for each in columns],
            "hogql": question,
            "query": question,
            "hasMore": len(rows) > limit,
            "limit": limit,
            "offset": 0,
            "timings": [],
            "is_cached": False,
        }
        self.cache[kept] = found
        return found

    def tick(self) -> None:
        """Let a moment pass."""
        self.now += timedelta(seconds=1)

    def _selected(self, question: str, values: Row) -> tuple[list[str], list[Json], int]:
        for name in _HOLE.findall(question):
            if name not in values:
                raise _illegal(f"Unresolved placeholder: {{{name}}}")
        asked = re.search(r"\blimit\s+(\d+)\s*$", question, re.IGNORECASE)
        limit = min(int(asked[1]), LIMIT_MAX) if asked else LIMIT
        # One row more than is told shows whether there are more.
        whole = _HOLE.sub(r":\1", question[: asked.start()] if asked else question) + f" limit {limit + 1}"
        try:
            with closing(self._tables()) as tables:
                found = tables.execute(whole, values)
                columns = [each[0] for each in found.description or ()]
                return columns, [self._told(columns, row) for row in found], limit
        except (sqlite3.Error, sqlite3.Warning) as error:
            raise _illegal(str(error)) from error

    def _tables(self) -> sqlite3.Connection:
        tables = sqlite3.connect(":memory:")
        for each in _TABLES:
            tables.execute(each)
        people = [
            (own, row["created_at"], json.dumps(row["properties"]), row["is_identified"])
            for own, row in self.persons.items()
        ]
        tables.executemany("insert into persons values (?, ?, ?, ?)", people)
        names = ("event", "timestamp", "distinct_id", "person_id")
        happened = [
            (own, *(row[name] for name in names), json.dumps(row["properties"])) for own, row in self.events.items()
        ]
        tables.executemany("insert into events values (?, ?, ?, ?, ?, ?)", happened)
        tables.create_function("toString", 1, str, deterministic=True)
        tables.create_function("toDateTime", 1, _canonical, deterministic=True)
        tables.create_function("now", 0, lambda: told(self.now))
        tables.create_function("JSONExtractString", 2, _extracted, deterministic=True)
        tables.set_authorizer(_allowed)
        return tables

    def _told(self, columns: list[str], row: tuple[Json, ...]) -> Json:
        zone = timezone(timedelta(hours=self.offset_h))
        found: list[Json] = []
        for name, value in zip(columns, row, strict=True):
            at = moment(value) if name in MOMENTS else None
            found.append(at.astimezone(zone).isoformat() if at else value)
        return found

    def _captured(self, event: Row) -> None:
        self.tick()
        properties = cast("Row", event.get("properties") or {})
        distinct_id = str(event.get("distinct_id") or properties.get("distinct_id"))
        name, at = str(event["event"]), moment(event.get("timestamp")) or self.now
        if name == "$create_alias":
            self.distinct[str(properties["alias"])] = self.person(str(properties["distinct_id"]), {})
        given = {**cast("Row", event.get("$set") or {}), **cast("Row", properties.get("$set") or {})}
        if properties.get("$process_person_profile") is not False:
            self.person(distinct_id, given, identified=name == "$identify")
        self._kept(str(event.get("uuid") or self._number()), name, distinct_id, at=at, properties=properties)

    def _kept(self, own: str, name: str, distinct_id: str, *, at: datetime, properties: Mapping[str, Json]) -> None:
        person = self.distinct.get(distinct_id) or str(uuid5(_SPACE, distinct_id))
        self.events[own] = {
            "event": name,
            "timestamp": told(at),
            "distinct_id": distinct_id,
            "person_id": person,
            "properties": dict(properties),
        }

    def _number(self) -> str:
        self.made += 1
        return str(uuid5(_SPACE, f"number {self.made}"))


def _checked(body: Mapping[str, Json]) -> tuple[Row, str]:
    """Return the query of a body and how fresh its answer must be; raises Refused for what PostHog does not know."""
    if strange := body.keys() - BODY_NAMES:
        raise Refused(400, "validation_error", "invalid_input", f"Extra inputs are not permitted: {min(strange)}")
    query = body.get("query")
    if not isinstance(query, dict) or query.get("kind") != "HogQLQuery" or not isinstance(query.get("query"), str):
        raise Refused(400, "validation_error", "invalid_input", "Input tag does not match any of the expected tags.")
    if strange := query.keys() - QUERY_NAMES:
        raise Refused(400, "validation_error", "invalid_input", f"Extra inputs are not permitted: query.{min(strange)}")
    refresh = body.get("refresh", "blocking")
    if refresh not in REFRESH:
        raise Refused(400, "validation_error", "invalid_input", "Input should be one of the values of refresh.")
    return query, str(refresh)


def _allowed(action: int, first: str | None, second: str | None, *_: str | None) -> int:
    """Allow reading, by functions that are HogQL's as well."""
    if action == sqlite3.SQLITE_FUNCTION:
        return sqlite3.SQLITE_OK if (second or "").lower() in FUNCTIONS else sqlite3.SQLITE_DENY
    allowed = (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ)
    return sqlite3.SQLITE_OK if action in allowed and first != "sqlite_master" else sqlite3.SQLITE_DENY


def _canonical(value: str) -> str | None:
    at = moment(value)
    return told(at) if at else None


def _extracted(properties: str, name: str) -> str:
    found = json.loads(properties).get(name)
    return found if isinstance(found, str) else ""


def _illegal(detail: str) -> Refused:
    return Refused(400, "validation_error", "illegal_hogql", detail)
