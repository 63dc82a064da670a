"""Who one record could be, or each of some, told in milliseconds by what the last run over all records learned."""

from datetime import timedelta
from typing import LiteralString
from uuid import UUID

from isthmus.app.matching import row_of
from isthmus.kernel.clock import milliseconds
from isthmus.kernel.errors import NotFound
from isthmus.kernel.ids import ENTROPY_BYTES, mint
from isthmus.matching.candidates import Proposal, Why, apart, propose
from isthmus.matching.near import Probes, digests, index_some, keep_looked_to, looked_to, near_some
from isthmus.matching.probable.finding import Bands, reasons
from isthmus.matching.probable.one import Row
from isthmus.matching.probable.people import PEOPLE
from isthmus.store.database import Transaction
from isthmus.store.records import Stored, find, page
from isthmus.sync.ingest import Store

AT_ONCE = 200
LATE = timedelta(minutes=5)
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
    own = (await find(tx, store.vault, store.schema[type_name], [record_id])).get(record_id)
    if own is None or not _living(own):
        raise RecordMissing(f"There is no living {type_name} with this id.", fix="Copy the id of a living record.")
    return await _likely(tx, store, probes, type_name, [own])


async def meet_new(tx: Transaction, store: Store, probes: Probes, type_name: str) -> tuple[int, int]:
    """Put the likely matches of records that are new before people; returns how many were looked at, and new pairs.

    All of them are looked up together. Of what was made in the last minutes before the last look it is done once more,
    for what ended late. Nothing is done before the first run over all.
    """
    since = await looked_to(tx, type_name)
    if since is None:
        return 0, 0
    looked = proposed = 0
    after = mint(unix_ms=milliseconds(since - LATE), entropy=bytes(ENTROPY_BYTES))
    record_type, refused = store.schema[type_name], await apart(tx, type_name)
    while True:
        some = await page(tx, store.vault, record_type, limit=AT_ONCE, after=after)
        living = [each for each in some if _living(each)]
        found = await _likely(tx, store, probes, type_name, living)
        best: dict[tuple[UUID, UUID], Proposal] = {}
        for each in sorted(found, key=lambda one: one.chance):
            best[min(each.one, each.other), max(each.one, each.other)] = each
        asked = [each for pair, each in best.items() if pair not in refused]
        proposed += await propose(tx, type_name, asked, everything=False)
        looked += len(living)
        if len(some) < AT_ONCE:
            break
        after = some[-1].id
    await keep_looked_to(tx, type_name, tx.scope.now)
    return looked, proposed


def _living(each: Stored) -> bool:
    return not each.erased and each.deleted_at is None and each.merged_into is None


async def _likely(
    tx: Transaction, store: Store, probes: Probes, type_name: str, records: list[Stored]
) -> list[Proposal]:
    """Return what some records could be, in as many questions as for one."""
    record_type, workspace = store.schema[type_name], tx.scope.workspace
    probe = await probes.of(tx, store.vault, type_name)
    if probe is None or not records:
        return []
    rows = await _rows(tx, type_name, records)
    keys = {
        each.id: digests(store.vault, workspace, type_name, probe.keys(row))
        for each, row in zip(records, rows, strict=True)
    }
    await index_some(tx, type_name, keys)
    met = await near_some(tx, keys)
    ids = list({each for own in met.values() for each in own})
    held = await find(tx, store.vault, record_type, ids) if ids else {}
    living = [each for each in {**held, **{each.id: each for each in records}}.values() if _living(each)]
    by_id = dict(zip((each.id for each in living), await _rows(tx, type_name, living), strict=True))
    found: list[Proposal] = []
    for record in records:
        there = [each for each in met[record.id] if each in by_id]
        for each in probe.compare(by_id[record.id], [by_id[other] for other in there]):
            if each.chance >= Bands().review:
                said = reasons(PEOPLE, probe.model, each.code)
                why = [Why(field=one.trait, says=one.says, bits=one.bits) for one in said]
                other = there[each.position]
                found.append(Proposal(one=record.id, other=other, chance=round(each.chance, 4), reasons=why))
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
