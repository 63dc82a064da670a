"""Who one record could be, told in milliseconds by what the last run over all records learned."""

from typing import LiteralString
from uuid import UUID

from isthmus.app.matching import row_of
from isthmus.kernel.errors import NotFound
from isthmus.matching.candidates import Proposal, Why
from isthmus.matching.near import Probes, digests, index_one, near
from isthmus.matching.probable.finding import Bands, reasons
from isthmus.matching.probable.one import Row
from isthmus.matching.probable.people import PEOPLE
from isthmus.store.database import Transaction
from isthmus.store.records import Stored, find
from isthmus.sync.ingest import Store

_SYSTEMS: LiteralString = """
select record_id, array_agg(distinct system) from ref
where workspace = current_workspace() and type = %s and record_id = any(%s) group by 1
"""
_COMPANIES: LiteralString = """
select id, name from sales_account where workspace = current_workspace() and id = any(%s)
"""


class RecordMissing(NotFound):
    """There is no such living record."""

    code, title = "record-missing", "There is no such record"


async def likely(tx: Transaction, store: Store, probes: Probes, type_name: str, record_id: UUID) -> list[Proposal]:
    """Return the records that one record could be, the likeliest first; none before the first run over all.

    The record's keys are kept, so that those that come after it find it. Raises RecordMissing.
    """
    record_type, workspace = store.schema[type_name], tx.scope.workspace
    probe = await probes.of(tx, store.vault, type_name)
    own = (await find(tx, store.vault, record_type, [record_id])).get(record_id)
    if own is None or own.erased or own.deleted_at is not None or own.merged_into is not None:
        raise RecordMissing(f"There is no living {type_name} with this id.", fix="Copy the id of a living record.")
    if probe is None:
        return []
    (mine,) = await _rows(tx, type_name, [own])
    keys = digests(store.vault, workspace, type_name, probe.keys(mine))
    await index_one(tx, type_name, record_id, keys)
    ids = [each for each in await near(tx, keys) if each != record_id]
    held = (await find(tx, store.vault, record_type, ids)).values() if ids else ()
    there = [each for each in held if not each.erased and each.deleted_at is None and each.merged_into is None]
    rows = await _rows(tx, type_name, [own, *there])
    found: list[Proposal] = []
    for each in probe.compare(rows[0], rows[1:]):
        if each.chance >= Bands().review:
            said = reasons(PEOPLE, probe.model, each.code)
            why = [Why(field=one.trait, says=one.says, bits=one.bits) for one in said]
            other = there[each.position].id
            found.append(Proposal(one=record_id, other=other, chance=round(each.chance, 4), reasons=why))
    return found


async def _rows(tx: Transaction, type_name: str, records: list[Stored]) -> list[Row]:
    """Return records as rows; the bits of systems hold for these rows only."""
    cursor = await tx.connection.execute(_SYSTEMS, (type_name, [each.id for each in records]))
    systems: dict[UUID, list[str]] = dict(await cursor.fetchall())
    names = sorted({name for each in systems.values() for name in each})
    accounts = [UUID(str(each.values["account_id"])) for each in records if each.values.get("account_id")]
    companies: dict[UUID, str] = {}
    if accounts:
        companies = dict(await (await tx.connection.execute(_COMPANIES, (accounts,))).fetchall())
    return [
        Row(row_of(each.values, companies), sum(1 << names.index(name) for name in systems.get(each.id, ())))
        for each in records
    ]
