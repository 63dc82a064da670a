"""Pairs that are probably one: proposed by a run, decided by a person, and never asked again once refused."""

from collections.abc import Sequence
from datetime import datetime
from typing import LiteralString
from uuid import UUID

import msgspec
from msgspec import Struct

from isthmus.kernel.clock import milliseconds
from isthmus.kernel.errors import Conflicting, NotFound
from isthmus.kernel.ids import ENTROPY_BYTES, mint_many
from isthmus.store.database import Transaction
from isthmus.vault import entropy

CANDIDATE_PREFIX = "mtch"
_COLUMNS: LiteralString = """
select id, type, one, other, chance, reasons, status, seen_at, decided_at, decided_by, merge_id from match_candidate
where workspace = current_workspace()
"""
_PROPOSE: LiteralString = """
insert into match_candidate (workspace, id, type, one, other, chance, reasons, status, seen_at)
select current_workspace(), id, %s, one, other, chance, reasons::jsonb, 'open', %s
from unnest(%s::uuid[], %s::uuid[], %s::uuid[], %s::float8[], %s::text[]) as given(id, one, other, chance, reasons)
on conflict (workspace, type, one, other) do update
set chance = excluded.chance, reasons = excluded.reasons, seen_at = excluded.seen_at
where match_candidate.status = 'open'
returning (xmax = 0) as fresh
"""
_WITHDRAW: LiteralString = """
delete from match_candidate
where workspace = current_workspace() and type = %s and status = 'open' and seen_at < %s
"""
_APART: LiteralString = """
select one, other from match_candidate
where workspace = current_workspace() and type = %(type)s and status = 'refused'
union
select least(winner, loser), greatest(winner, loser) from merge
where workspace = current_workspace() and type = %(type)s and undone_at is not null
"""
_DECIDE: LiteralString = """
update match_candidate set status = %s, merge_id = %s, decided_at = %s, decided_by = %s
where workspace = current_workspace() and id = %s
"""


class CandidateMissing(NotFound):
    """There is no such pair."""

    code, title = "candidate-missing", "There is no such pair"


class CandidateDecided(Conflicting):
    """The pair was decided already."""

    code, title = "candidate-decided", "The pair was decided already"


class Why(Struct, frozen=True, kw_only=True):
    """What one field says of the pair, and how many bits that adds to (or takes from) the odds of being one."""

    field: str
    says: str
    bits: float


class Proposal(Struct, frozen=True, kw_only=True):
    """Two records that are probably one."""

    one: UUID
    other: UUID
    chance: float
    reasons: list[Why]


class Candidate(Struct, frozen=True, kw_only=True):
    """A pair as it stands: `open`, `merged` (by `merge_id`) or `refused`."""

    id: UUID
    type: str
    one: UUID
    other: UUID
    chance: float
    reasons: list[Why]
    status: str
    seen_at: datetime
    decided_at: datetime | None
    decided_by: str | None
    merge_id: UUID | None


async def propose(tx: Transaction, type_name: str, proposals: Sequence[Proposal], *, everything: bool = True) -> int:
    """Put a run's pairs before people, and take back what a run over everything no longer finds.

    Returns how many are new.
    """
    now, count = tx.scope.now, len(proposals)
    ids = mint_many(unix_ms=milliseconds(now), count=count, entropy=entropy(count * ENTROPY_BYTES))
    ones = [min(each.one, each.other) for each in proposals]
    others = [max(each.one, each.other) for each in proposals]
    reasons = [msgspec.json.encode(each.reasons).decode() for each in proposals]
    chances = [each.chance for each in proposals]
    cursor = await tx.connection.execute(_PROPOSE, (type_name, now, ids, ones, others, chances, reasons))
    fresh = sum(bool(each) for (each,) in await cursor.fetchall())
    if everything:
        await tx.connection.execute(_WITHDRAW, (type_name, now))
    return fresh


async def apart(tx: Transaction, type_name: str) -> set[tuple[UUID, UUID]]:
    """Return the pairs that people said are two: refused, or merged and taken apart again; the lesser id first."""
    cursor = await tx.connection.execute(_APART, {"type": type_name})
    return {(one, other) for one, other in await cursor.fetchall()}


async def candidates(
    tx: Transaction, *, types: Sequence[str], status: str | None = "open", after: UUID | None = None, limit: int = 100
) -> list[Candidate]:
    """Return pairs of some types, the first found first."""
    cursor = await tx.connection.execute(
        _COLUMNS + " and type = any(%s) and (%s::text is null or status = %s) and (%s::uuid is null or id > %s)"
        " order by id limit %s",
        (list(types), status, status, after, after, limit),
    )
    return [_candidate(row) for row in await cursor.fetchall()]


async def candidate_of(tx: Transaction, candidate_id: UUID) -> Candidate:
    """Return a pair and hold it; raises CandidateMissing."""
    cursor = await tx.connection.execute(_COLUMNS + " and id = %s for update", (candidate_id,))
    row = await cursor.fetchone()
    if row is None:
        raise CandidateMissing("There is no pair with this id.", fix="List them: isthmus match ls")
    return _candidate(row)


async def decide(tx: Transaction, pair: Candidate, *, merge_id: UUID | None) -> Candidate:
    """Write down that a pair was merged, or without a merge that it is two; raises CandidateDecided."""
    if pair.status != "open":
        raise CandidateDecided(f"It is {pair.status} by {pair.decided_by}.", fix="To take a merge back, undo it.")
    status = "refused" if merge_id is None else "merged"
    await tx.connection.execute(_DECIDE, (status, merge_id, tx.scope.now, tx.scope.actor, pair.id))
    return await candidate_of(tx, pair.id)


def _candidate(row: Sequence[object]) -> Candidate:
    return msgspec.convert(dict(zip(Candidate.__struct_fields__, row, strict=True)), Candidate)
