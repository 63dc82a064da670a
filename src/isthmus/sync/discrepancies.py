"""Discrepancies: what two systems say right now of the same field of the same record, where that differs.

Counts come from the database in one statement and cover fields that are stored in clear; sealed fields are compared
where single records are listed. What was said here is not compared: it is told to every system, or gives way.
"""

from collections.abc import Sequence
from itertools import combinations
from typing import LiteralString
from uuid import UUID

import msgspec
from msgspec import Struct

from isthmus.kernel.marks import Json
from isthmus.store.database import Transaction
from isthmus.store.fold import HERE, fold
from isthmus.store.trail import claims_of
from isthmus.sync.ingest import Store

PAGE_ROWS_MAX = 500
_SHARED: LiteralString = """
select c.record_id from claim c
where c.workspace = current_workspace() and c.type = %(type)s and c.record_id > %(after)s
  and split_part(c.system, '.', 1) <> %(here)s
group by c.record_id having count(distinct c.system) > 1
"""
_COUNTS: LiteralString = """
with shared as (
    select c.record_id from claim c where c.workspace = current_workspace() and c.type = %(type)s
       and split_part(c.system, '.', 1) <> %(here)s
    group by c.record_id having count(distinct c.system) > 1
), word as (
    select distinct on (c.record_id, c.system, c.external_id, said.key)
           c.record_id, c.system, said.key as field, said.value
    from shared join claim c on c.workspace = current_workspace() and c.record_id = shared.record_id
         and c.type = %(type)s and split_part(c.system, '.', 1) <> %(here)s
    cross join lateral jsonb_each(c.fields) as said
    where not exists (
        select from ref r where r.workspace = current_workspace() and r.type = c.type and r.system = c.system
           and r.external_id = c.external_id and r.deleted
    )
    order by c.record_id, c.system, c.external_id, said.key, c.hlc desc
)
select one.system, other.system, one.field, count(*) filter (where one.value is distinct from other.value), count(*)
from word one join word other using (record_id, field)
where one.system < other.system
group by 1, 2, 3 order by 4 desc, 1, 2, 3
"""


class Agreement(Struct, frozen=True, kw_only=True):
    """How often two systems differ on one field, of how many records on which both speak of it."""

    type: str
    one: str
    other: str
    field: str
    differing: int
    compared: int


class Discrepancy(Struct, frozen=True, kw_only=True):
    """Two living claims that differ now, and what is held here."""

    type: str
    record_id: UUID
    field: str
    one: str
    one_value: Json
    other: str
    other_value: Json
    held: Json


async def agreements(tx: Transaction, store: Store, type_name: str) -> list[Agreement]:
    """Return for each pair of systems and open field how many records differ, the most first."""
    record_type = store.schema[type_name]
    cursor = await tx.connection.execute(_COUNTS, {"type": record_type.name, "here": HERE})
    return [
        Agreement(type=type_name, one=one, other=other, field=field, differing=differing, compared=compared)
        for one, other, field, differing, compared in await cursor.fetchall()
    ]


def accuracy(found: Sequence[Agreement]) -> float | None:
    """Return the share of compared fields that agree; None when nothing was compared."""
    compared = sum(each.compared for each in found)
    return 1 - sum(each.differing for each in found) / compared if compared else None


async def discrepancies(
    tx: Transaction,
    store: Store,
    type_name: str,
    *,
    systems: frozenset[str] | None = None,
    after: UUID | None = None,
    limit: int = 100,
) -> tuple[list[Discrepancy], UUID | None]:
    """Return what differs on the next records that two systems share, sealed fields opened, and where to go on.

    `limit` counts records that are looked at, at most 500; None says that there are no more.
    """
    rows = min(limit, PAGE_ROWS_MAX)
    given = {"type": store.schema[type_name].name, "after": after or UUID(int=0), "limit": rows, "here": HERE}
    cursor = await tx.connection.execute(_SHARED + " order by c.record_id limit %(limit)s", given)
    records = [record for (record,) in await cursor.fetchall()]
    trails = await claims_of(tx, store.vault, records)
    found: list[Discrepancy] = []
    for record in records:
        state = fold(store.schema[type_name], trails[record])
        words = [(name, said) for (name, _), said in sorted(state.shadows.items()) if name.partition(".")[0] != HERE]
        for (one, ones), (other, others) in combinations(words, 2):
            if one == other or (systems is not None and frozenset((one, other)) != systems):
                continue
            for name in sorted(ones.keys() & others.keys()):
                if ones[name] != others[name]:
                    held = state.fields.get(name)
                    given_words = {"one": one, "one_value": ones[name], "other": other, "other_value": others[name]}
                    known = {
                        "type": type_name,
                        "record_id": record,
                        "field": name,
                        "held": held.value if held else None,
                    }
                    found.append(msgspec.convert(given_words | known, Discrepancy))
    return found, records[-1] if len(records) == rows else None
