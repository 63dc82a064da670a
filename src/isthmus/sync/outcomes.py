"""What became of single records, searched across runs: what was written to systems, and what was rejected here."""

from collections.abc import Collection
from datetime import datetime
from typing import Literal, LiteralString
from uuid import UUID

import msgspec
from msgspec import Struct

from isthmus.store.database import Transaction

REJECTED = "rejected"
Source = Literal["write", "row"]
Place = tuple[datetime, Source, int]
_SEARCH: LiteralString = """
select source, id, at, system, run_id, type, record_id, external_id, kind, outcome, code, reason, fields from (
    (select 'write' as source, o.id, o.at, coalesce(c.name, '') as system, o.run_id, o.type, o.record_id,
            o.external_id, o.kind, o.outcome, '' as code, o.reason, o.fields
     from write_outcome o
     left join connection c on c.workspace = o.workspace and c.id = o.connection_id
     where o.workspace = current_workspace() and o.type = any(%(types)s)
       and (%(connection)s::uuid is null or o.connection_id = %(connection)s)
       and (%(system)s::text is null or c.name = %(system)s)
       and (%(run)s::uuid is null or o.run_id = %(run)s) and (%(record)s::uuid is null or o.record_id = %(record)s)
       and (%(external)s::text is null or o.external_id = %(external)s)
       and (%(outcome)s::text is null or o.outcome = %(outcome)s)
       and (%(at)s::timestamptz is null or (o.at, 'write', o.id) < (%(at)s, %(source)s, %(id)s))
     order by o.at desc, o.id desc limit %(limit)s)
    union all
    (select 'row', r.id, r.at, r.system, r.run_id, r.type, null, r.external_id, 'read', 'rejected', r.code, r.reason,
            '{}'::text[]
     from rejected r
     where r.workspace = current_workspace() and r.type = any(%(types)s) and r.settled_at is null
       and (%(system)s::text is null or r.system = %(system)s)
       and (%(run)s::uuid is null or r.run_id = %(run)s) and %(record)s::uuid is null
       and (%(external)s::text is null or r.external_id = %(external)s)
       and (%(outcome)s::text is null or %(outcome)s = 'rejected')
       and (%(code)s::text is null or r.code = %(code)s)
       and (%(at)s::timestamptz is null or (r.at, 'row', r.id) < (%(at)s, %(source)s, %(id)s))
     order by r.at desc, r.id desc limit %(limit)s)
) as found order by at desc, source desc, id desc limit %(limit)s
"""
_REFUSALS: LiteralString = """
select type, outcome, reason, count(*) from write_outcome
where workspace = current_workspace() and run_id = %s and outcome <> 'written'
group by type, outcome, reason order by count(*) desc, type, outcome, reason limit 100
"""


class Outcome(Struct, frozen=True, kw_only=True):
    """What became of one record: of a write its answer, of a row that could not be stored the reason.

    `code` is that of a rejected row; of one there is no record yet. A row that was mended since is not found any more.
    """

    source: Source
    id: int
    at: datetime
    system: str
    run_id: UUID | None
    type: str
    record_id: UUID | None
    external_id: str | None
    kind: str
    outcome: str
    code: str
    reason: str
    fields: tuple[str, ...]


class Search(Struct, frozen=True, kw_only=True):
    """Which outcomes; what is None does not matter. `connection_id` is the one that `system` names, if there is one."""

    types: Collection[str]
    connection_id: UUID | None = None
    system: str | None = None
    run_id: UUID | None = None
    record_id: UUID | None = None
    external_id: str | None = None
    outcome: str | None = None
    code: str | None = None


class Refusal(Struct, frozen=True, kw_only=True):
    """Writes of one run that did not come to be, for one reason."""

    type: str
    outcome: str
    reason: str
    writes: int


async def outcomes(tx: Transaction, search: Search, *, after: Place | None = None, limit: int = 50) -> list[Outcome]:
    """Return outcomes, newest first, from after a place."""
    at, source, own = after or (None, None, None)
    given: dict[str, object] = {
        "types": sorted(search.types),
        "connection": search.connection_id,
        "system": search.system,
        "run": search.run_id,
        "record": search.record_id,
        "external": search.external_id,
        "outcome": REJECTED if search.code is not None else search.outcome,
        "code": search.code,
        "at": at,
        "source": source,
        "id": own,
        "limit": limit,
    }
    cursor = await tx.connection.execute(_SEARCH, given)
    names = Outcome.__struct_fields__
    return [msgspec.convert(dict(zip(names, row, strict=True)), Outcome) for row in await cursor.fetchall()]


async def refusals(tx: Transaction, run_id: UUID) -> list[Refusal]:
    """Return why writes of a run did not come to be, the most frequent reason first."""
    rows = await (await tx.connection.execute(_REFUSALS, (run_id,))).fetchall()
    return [Refusal(type=name, outcome=outcome, reason=reason, writes=count) for name, outcome, reason, count in rows]
