"""Deterministic matching: an observation with a new external id means the record that holds the same handle.

Handles are tried from the strongest to the weakest, and the first that hits decides; but a record that holds another
value of a stronger handle than the one that hit is somebody else. Writers that carry the same handle wait for each
other, so that two observations of one human at the same moment become one record.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import LiteralString, TypeAlias, cast
from uuid import UUID

import msgspec

from isthmus.kernel.clock import milliseconds
from isthmus.kernel.ids import ENTROPY_BYTES, mint_many
from isthmus.kernel.marks import RecordType
from isthmus.store.bulk import release
from isthmus.store.database import Transaction
from isthmus.store.prepare import Prepared, Row
from isthmus.store.schema import index_column

_BUCKETS = 256
_LOCK_SPACE = 7_021
_Indexes: TypeAlias = Sequence[bytes | None]
_Link: TypeAlias = tuple[Row, UUID, UUID, str]
_LOCK: LiteralString = """
select pg_advisory_xact_lock(%s, bucket)
from (
    select (current_workspace() & 8388607) * 256 + get_byte(%s, n) as bucket from generate_series(0, %s) as n order by 1
) as given
"""
_LINK: LiteralString = """
insert into merge (workspace, id, type, winner, loser, refs, evidence, actor, at)
select current_workspace(), id, %s, winner, loser, refs::jsonb, evidence, %s, %s
from unnest(%s::uuid[], %s::uuid[], %s::uuid[], %s::text[], %s::text[]) as link(id, winner, loser, refs, evidence)
"""


async def match(tx: Transaction, prepared: Prepared, *, entropy: Callable[[int], bytes]) -> None:
    """Name the record of every row that has none: one with the same handle, or the candidate it came with.

    Each link made is written down with its evidence, so that it can be explained and undone. A block written ahead
    has met nobody under the lock.
    """
    part(prepared)
    await lock(tx, prepared)
    if prepared.block is not None and not prepared.block.ahead:
        await meet(tx, prepared)
    strangers = [row for row in prepared.rows if row.record_id is None]
    if not strangers:
        return
    holders = _Holders()
    await _look_up(tx, prepared.type, strangers, holders)
    named: dict[tuple[str, str], UUID] = {}
    links: list[_Link] = []
    for row in strangers:
        own = row.candidate
        if own is None:
            message = "a row without a candidate reached match(): anticipate it first"
            raise AssertionError(message)
        place = (row.observation.system, row.observation.external_id)
        hit = holders.holder(row.indexes)
        if place in named:
            row.record_id = named[place]
        elif hit is not None:
            position, row.record_id = hit
            links.append((row, row.record_id, own, prepared.type.handles[position].name))
        else:
            row.record_id, row.fresh = own, True
        named[place] = row.record_id
        holders.note(row.record_id, row.indexes)
    prepared.merged = [row for row, *_ in links]
    await _write_links(tx, prepared.type, links, entropy)


def part(prepared: Prepared) -> None:
    """Let the rows of the block that share a handle with another row of the batch leave it: they are matched singly."""
    block = prepared.block
    if block is not None:
        strangers = [row.indexes for row in prepared.rows if row.record_id is None]
        shared: set[int] = set()
        for position, column in enumerate(block.indexes):
            shared.update(_repeated(column, [indexes[position] for indexes in strangers]))
        release(prepared, sorted(shared))


async def meet(tx: Transaction, prepared: Prepared) -> bool:
    """Let the rows of the block that share a handle with a record leave it; tells whether there were any.

    Without `lock` before it, another writer may add a record at any time.
    """
    block = prepared.block
    if block is None:
        return False
    shared: set[int] = set()
    asking: Sequence[int] = range(len(block))
    for position, declared in enumerate(prepared.type.handles):
        column = block.indexes[position]
        asked = [n for n in asking if column[n] is not None]
        known = await _known(tx, prepared.type, position, [column[n] for n in asked])
        shared.update(n for n in asked if column[n] in known)
        if declared.required:
            asking = [n for n in asking if column[n] is None]
    release(prepared, sorted(shared))
    return bool(shared)


def _repeated(column: Sequence[bytes | None], others: Sequence[bytes | None]) -> list[int]:
    """Return where a column has what it has elsewhere too, or what the others have."""
    given = [each for each in column if each is not None]
    taken = set(others)
    if len(set(given)) == len(given) and taken.isdisjoint(given):
        return []
    times = Counter(given)
    return [n for n, each in enumerate(column) if each is not None and (times[each] > 1 or each in taken)]


async def _known(
    tx: Transaction, record_type: RecordType, position: int, indexes: Sequence[bytes | None]
) -> set[bytes | None]:
    if not indexes:
        return set()
    wanted = [each for each in indexes if each is not None]
    statement = _lookup(record_type, position, ())
    cursor = await tx.connection.execute(statement, (b"".join(wanted), len(wanted) - 1), prepare=False)
    return {held[position] for _, *held in await cursor.fetchall()}


class _Holders:
    """Who holds which handles: what the look-ups found and what the rows of this batch add to it."""

    def __init__(self) -> None:
        self._records: dict[tuple[int, bytes], list[UUID]] = defaultdict(list)
        self._held: dict[UUID, list[bytes | None]] = {}

    def note(self, record: UUID, indexes: _Indexes) -> None:
        """Take in the handles of a record; one that it has keeps its value."""
        held = self._held.setdefault(record, [None] * len(indexes))
        for position, index in enumerate(indexes):
            if index is not None and held[position] is None:
                held[position] = index
                self._records[position, index].append(record)

    def holder(self, indexes: _Indexes) -> tuple[int, UUID] | None:
        """Return the position of the first handle that hits, and the record that holds it."""
        for position, index in enumerate(indexes):
            if index is not None:
                for record in self._records.get((position, index), ()):
                    if self._agrees(record, indexes[:position]):
                        return position, record
        return None

    def _agrees(self, record: UUID, stronger: _Indexes) -> bool:
        held = self._held[record]
        return all(mine is None or held[n] is None or held[n] == mine for n, mine in enumerate(stronger))


async def lock(tx: Transaction, prepared: Prepared) -> None:
    """Wait for other writers of the same handles in this workspace, always in one order."""
    columns = prepared.block.indexes if prepared.block is not None else []
    strangers = [row.indexes for row in prepared.rows if row.record_id is None]
    buckets = {index[0] for group in (*columns, *strangers) for index in group if index is not None}
    if buckets:
        await tx.connection.execute(_LOCK, (_LOCK_SPACE, bytes(sorted(buckets)), len(buckets) - 1))


async def _look_up(tx: Transaction, record_type: RecordType, rows: Sequence[Row], holders: _Holders) -> None:
    """Find the records that hold the rows' handles, strongest handles first.

    A weaker handle is looked up only among records without the stronger handles that the row gives: those with the
    same are found already, those with another are somebody else. Where every record has the stronger one, no look-up
    is needed.
    """
    open_rows = [row for row in rows if any(index is not None for index in row.indexes)]
    for position, declared in enumerate(record_type.handles):
        wanted: dict[tuple[int, ...], dict[bytes, None]] = defaultdict(dict)
        for row in open_rows:
            index = row.indexes[position]
            if index is not None and holders.holder(row.indexes[: position + 1]) is None:
                stronger = tuple(n for n in range(position) if row.indexes[n] is not None)
                wanted[stronger][index] = None
        for stronger, indexes in wanted.items():
            statement = _lookup(record_type, position, stronger)
            # Planned anew each time: a plan made while the table was small would read all of it later.
            cursor = await tx.connection.execute(statement, (b"".join(indexes), len(indexes) - 1), prepare=False)
            for record, *held in await cursor.fetchall():
                holders.note(record, held)
        if declared.required:
            open_rows = [row for row in open_rows if row.indexes[position] is None]


@lru_cache(maxsize=256)
def _lookup(record_type: RecordType, position: int, stronger: tuple[int, ...]) -> LiteralString:
    """Return the look-up by one handle, oldest record first to win; the names come from declarations.

    The wanted indexes come as one string of 16 bytes each: an array costs a call for each of its elements. The
    lateral select names the handle alone: with less to go by the planner, while it has no statistics, takes an index
    that fits another condition and reads all of the workspace for each handle.
    """
    columns = [index_column(each) for each in record_type.handles]
    column = columns[position]
    without = "".join(f" and {columns[n]} is null" for n in stronger)
    return cast(
        "LiteralString",
        f"""select distinct on ({column}) id, {", ".join(columns)} from (
            select substring(%s::bytea from 16 * n + 1 for 16) as index from generate_series(0, %s) as n
        ) as wanted cross join lateral (
            select id, merged_into, deleted_at, {", ".join(columns)} from {record_type.table}
            where workspace = (select current_workspace()) and {column} = wanted.index
            offset 0
        ) as held
        where merged_into is null and deleted_at is null{without}
        order by {column}, id""",  # noqa: S608 - see above.
    )


async def _write_links(
    tx: Transaction, record_type: RecordType, links: Sequence[_Link], entropy: Callable[[int], bytes]
) -> None:
    if not links:
        return
    ids = mint_many(unix_ms=milliseconds(tx.scope.now), count=len(links), entropy=entropy(len(links) * ENTROPY_BYTES))
    refs = [msgspec.json.encode([[row.observation.system, row.observation.external_id]]).decode() for row, *_ in links]
    winners, losers = [winner for _, winner, _, _ in links], [loser for _, _, loser, _ in links]
    evidence = [f"same {handle}" for *_, handle in links]
    await tx.connection.execute(
        _LINK, (record_type.name, tx.scope.actor, tx.scope.now, ids, winners, losers, refs, evidence)
    )
