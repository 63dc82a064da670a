"""Searching the audit log."""

from datetime import datetime
from typing import Annotated, LiteralString

import msgspec
from msgspec import Meta, Struct

from isthmus.gateway import Call, Page, Paging, Route
from isthmus.kernel.marks import Json

_TEXT_MAX = 200
_Moment = Annotated[datetime, Meta(tz=True)]
_Word = Annotated[str, Meta(max_length=_TEXT_MAX)]
_SEARCH: LiteralString = """
select id, at, actor, on_behalf_of, action, resource, record_id::text, request_id, decision, details from audit
where workspace = current_workspace()
  and (%(before)s::bigint is null or id < %(before)s)
  and (%(actor)s::text is null or actor = %(actor)s)
  and (%(action)s::text is null or action = %(action)s)
  and (%(resource)s::text is null or resource = %(resource)s)
  and (%(request_id)s::text is null or request_id = %(request_id)s)
  and (%(since)s::timestamptz is null or at >= %(since)s)
  and (%(until)s::timestamptz is null or at < %(until)s)
order by id desc limit %(limit)s
"""


class AuditQuery(Paging, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to look for; `since` belongs to the range, `until` does not."""

    actor: _Word | None = None
    action: _Word | None = None
    resource: _Word | None = None
    request_id: _Word | None = None
    since: _Moment | None = None
    until: _Moment | None = None


class AuditEntry(Struct, frozen=True, kw_only=True):
    """Who did what to what, when, and in which call."""

    id: int
    at: datetime
    actor: str
    action: str
    resource: str
    request_id: str
    on_behalf_of: str | None = None
    record_id: str | None = None
    decision: dict[str, Json] | None = None
    details: dict[str, Json] | None = None


async def search_audit(call: Call) -> Page[AuditEntry]:
    """Answer entries, newest first."""
    wanted, after = call.query(AuditQuery), call.after()
    filters = msgspec.structs.asdict(wanted)
    filters |= {"before": None if after is None else int(after), "limit": wanted.limit + 1}
    async with call.services.database.transaction(call.scope) as tx:
        rows = await (await tx.connection.execute(_SEARCH, filters)).fetchall()
    names = (
        "id",
        "at",
        "actor",
        "on_behalf_of",
        "action",
        "resource",
        "record_id",
        "request_id",
        "decision",
        "details",
    )
    entries = [AuditEntry(**dict(zip(names, row, strict=True))) for row in rows]
    return call.page(entries, limit=wanted.limit, after=lambda entry: str(entry.id))


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
    ),
)
