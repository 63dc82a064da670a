"""Searching the audit log, and taking it along."""

import csv
import io
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta, Struct

from isthmus.audit.entry import Entry
from isthmus.audit.grammar import CHARACTERS_MAX, Condition, InvalidSearch, parse
from isthmus.audit.search import everything, search
from isthmus.auth.trace import trace
from isthmus.gateway import Call, Page, Paging, Response, Route
from isthmus.kernel.marks import Json

_TEXT_MAX = 200
_Moment = Annotated[datetime, Meta(tz=True)]
_Word = Annotated[str, Meta(max_length=_TEXT_MAX)]
_Search = Annotated[str, Meta(max_length=CHARACTERS_MAX, description="actor:key_… action:key.* since:7d -resource:x")]
Format: TypeAlias = Literal["ndjson", "csv"]
MEDIA: dict[Format, str] = {"ndjson": "application/x-ndjson", "csv": "text/csv; charset=utf-8"}
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class AuditQuery(Paging, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to look for: `q` in the language of the search, or single fields; `since` belongs to the range."""

    q: _Search = ""
    actor: _Word | None = None
    action: _Word | None = None
    resource: _Word | None = None
    request_id: _Word | None = None
    since: _Moment | None = None
    until: _Moment | None = None


class ExportQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to take along, and how it is written."""

    q: _Search = ""
    format: Format = "ndjson"


class AuditEntry(Struct, frozen=True, kw_only=True):
    """Who did what to what, when, in which call, for what purpose, from which network, by which decision."""

    id: int
    at: datetime
    actor: str
    action: str
    resource: str
    request_id: str
    on_behalf_of: str | None = None
    record_id: str | None = None
    purpose: str | None = None
    network: str | None = None
    decision: dict[str, Json] | None = None
    details: dict[str, Json] | None = None
    digest: str | None = None


def view(entry: Entry) -> AuditEntry:
    """Return an entry as it is shown."""
    return AuditEntry(
        id=entry.id or 0,
        at=entry.at.astimezone(UTC),
        actor=entry.actor,
        action=entry.action,
        resource=entry.resource,
        request_id=entry.request_id,
        on_behalf_of=entry.on_behalf_of,
        record_id=None if entry.record_id is None else str(entry.record_id),
        purpose=entry.purpose,
        network=entry.network,
        decision=None if entry.decision is None else dict(entry.decision),
        details=None if entry.details is None else dict(entry.details),
        digest=None if entry.digest is None else entry.digest.hex(),
    )


async def search_audit(call: Call) -> Page[AuditEntry]:
    """Answer entries, newest first."""
    wanted, after = call.query(AuditQuery), call.after()
    conditions = [parse(wanted.q, now=call.scope.now), *_given(wanted)]
    before = None if after is None else int(after)
    async with call.services.database.transaction(call.scope) as tx:
        found = await search(tx, *conditions, before=before, limit=wanted.limit + 1)
    return call.page([view(each) for each in found], limit=wanted.limit, after=lambda entry: str(entry.id))


async def export_audit(call: Call) -> Response:
    """Answer all entries that a search finds; that it was taken along is itself written down first."""
    wanted = call.query(ExportQuery)
    condition = parse(wanted.q, now=call.scope.now)
    async with call.services.database.transaction(call.scope) as tx:
        details = {"q": wanted.q, "format": wanted.format}
        await trace(tx, action="audit.exported", resource="audit", record_id=None, details=details)
    pages = everything(call.services.database, call.scope, condition)
    name = f'attachment; filename="audit.{wanted.format}"'
    return Response(
        body=written(pages, as_=wanted.format), media=MEDIA[wanted.format], headers=(("content-disposition", name),)
    )


async def written(pages: AsyncIterator[Sequence[Entry]], *, as_: Format) -> AsyncIterator[bytes]:
    """Yield entries as lines of JSON, or as CSV with a line of names, whose cells no spreadsheet takes for formulas."""
    if as_ == "csv":
        yield _row(AuditEntry.__struct_fields__)
    async for page in pages:
        shown = [view(each) for each in page]
        if as_ == "csv":
            yield b"".join(_row([_cell(getattr(each, name)) for name in each.__struct_fields__]) for each in shown)
        else:
            yield b"".join(msgspec.json.encode(each) + b"\n" for each in shown)


def _row(cells: Sequence[str]) -> bytes:
    line = io.StringIO()
    csv.writer(line).writerow(cells)
    return line.getvalue().encode()


def _cell(value: object) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode().strip('"')
    return f"'{text}" if text.startswith(_FORMULA) else text


def _given(wanted: AuditQuery) -> list[Condition]:
    every = (
        (wanted.actor, Condition(sql="actor = %s", values=(wanted.actor,))),
        (wanted.action, Condition(sql="action = %s", values=(wanted.action,))),
        (wanted.resource, Condition(sql="resource = %s", values=(wanted.resource,))),
        (wanted.request_id, Condition(sql="request_id = %s", values=(wanted.request_id,))),
        (wanted.since, Condition(sql="at >= %s", values=(wanted.since,))),
        (wanted.until, Condition(sql="at < %s", values=(wanted.until,))),
    )
    return [condition for value, condition in every if value is not None]


ROUTES = (
    Route(
        method="GET",
        path="/api/v1/audit",
        permission="audit:read",
        handler=search_audit,
        summary="Search the audit log, newest first",
        tags=("audit",),
        query=AuditQuery,
        response=Page[AuditEntry],
        errors=(InvalidSearch,),
    ),
    Route(
        method="GET",
        path="/api/v1/audit:export",
        permission="audit:read",
        handler=export_audit,
        summary="Take along what a search of the audit log finds, as NDJSON or CSV",
        media=MEDIA["ndjson"],
        other_media=(MEDIA["csv"],),
        tags=("audit",),
        query=ExportQuery,
        errors=(InvalidSearch,),
    ),
)
