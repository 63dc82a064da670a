"""Probable matches of a workspace's people: read through the vault, found in memory, merged or put before a person."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, LiteralString, TypeAlias
from uuid import UUID

from msgspec import Struct

from isthmus.kernel.marks import Json
from isthmus.matching.candidates import Candidate, Proposal, Why, apart, candidate_of, decide, propose
from isthmus.matching.near import digests, index_all, keep_learned
from isthmus.matching.probable.one import Learned, Probe, Row
from isthmus.matching.probable.people import PEOPLE
from isthmus.store.database import Scope, Transaction
from isthmus.store.records import PAGE_ROWS_MAX, page
from isthmus.sync.connections import audit
from isthmus.sync.ingest import Store
from isthmus.sync.merges import NotMergeable, merge_in

if TYPE_CHECKING:
    from isthmus.matching.probable.finding import Found

TYPES = ("sales.person", "sales.lead")
AUTOMATIC_ROWS_MIN = 500
"""Fewer records teach too little: all that is found among them is put before a person."""
LEARNING_ROWS_MIN = 20
"""Fewer teach nothing at all."""
REVIEW_MAX = 10_000
MERGES_AT_ONCE = 100
NAMES = tuple(each.name for each in PEOPLE.traits)
_SYSTEMS_MAX = 60
_SOURCES: LiteralString = """
select record_id, array_agg(distinct system) from ref where workspace = current_workspace() and type = %s group by 1
"""
_COMPANIES: LiteralString = """
select id, name from sales_account where workspace = current_workspace() and deleted_at is null
"""
_Columns: TypeAlias = dict[str, list[str | None] | list[int]]
_Pair: TypeAlias = tuple[UUID, UUID]


class Matched(Struct, frozen=True, kw_only=True):
    """What a run did with the records of one type: looked at, merged by itself, newly put before a person."""

    type: str
    records: int
    merged: int
    proposed: int


@dataclass(frozen=True)
class _People:
    """Living records of one type by position, oldest first, with what identifies them in plain."""

    ids: list[UUID]
    columns: _Columns
    apart: set[_Pair]


async def match_all(store: Store, scope: Scope, *, tell: Callable[[int, int, str], None]) -> list[Matched]:
    """Match the people of one workspace; `tell` hears how many types are done, of how many, and which is next."""
    found: list[Matched] = []
    for number, type_name in enumerate(TYPES):
        tell(number, len(TYPES), type_name)
        found.append(await match_type(store, scope, type_name))
    return found


async def match_type(store: Store, scope: Scope, type_name: str) -> Matched:
    """Match the records of one type: merge what is sure, put before a person what is not."""
    async with store.database.transaction(scope) as tx:
        people = await _read(tx, store, type_name)
    merges, proposals, learned = await asyncio.to_thread(_found, people)
    merged = 0
    for begin in range(0, len(merges), MERGES_AT_ONCE):
        async with store.database.transaction(scope) as tx:
            for winner, loser, why in merges[begin : begin + MERGES_AT_ONCE]:
                merged += await _merged(tx, store, type_name, winner=winner, loser=loser, why=why)
    async with store.database.transaction(scope) as tx:
        proposed = await propose(tx, type_name, proposals)
        if learned is not None:
            await _keep(tx, store, type_name, people, learned)
    return Matched(type=type_name, records=len(people.ids), merged=merged, proposed=proposed)


async def learn_type(store: Store, scope: Scope, type_name: str) -> list[UUID]:
    """Learn from the records of one type and merge none; returns their ids."""
    async with store.database.transaction(scope) as tx:
        people = await _read(tx, store, type_name)
    _, _, learned = await asyncio.to_thread(_found, people)
    async with store.database.transaction(scope) as tx:
        if learned is not None:
            await _keep(tx, store, type_name, people, learned)
    return people.ids


async def _keep(tx: Transaction, store: Store, type_name: str, people: _People, learned: Learned) -> None:
    await keep_learned(tx, store.vault, type_name, learned)
    await index_all(tx, type_name, _keys(people, learned, store, tx.scope.workspace, type_name))


async def _merged(tx: Transaction, store: Store, type_name: str, *, winner: UUID, loser: UUID, why: str) -> bool:
    try:
        await merge_in(tx, store, type_name, winner=winner, loser=loser, evidence=why)
    except NotMergeable:
        return False  # One of them was merged or deleted since it was read; nothing was written.
    return True


async def accept(tx: Transaction, store: Store, candidate_id: UUID) -> Candidate:
    """Merge a pair: the older record keeps its id. Raises CandidateMissing, CandidateDecided and NotMergeable."""
    pair = await candidate_of(tx, candidate_id)
    told = evidence(pair.reasons, pair.chance)
    merge_id = None
    if pair.status == "open":
        merge_id = await merge_in(tx, store, pair.type, winner=pair.one, loser=pair.other, evidence=told)
    return await decide(tx, pair, merge_id=merge_id)


async def refuse(tx: Transaction, candidate_id: UUID) -> Candidate:
    """Say that a pair is two, which is remembered. Raises CandidateMissing and CandidateDecided."""
    pair = await decide(tx, await candidate_of(tx, candidate_id), merge_id=None)
    details = {"one": str(pair.one), "other": str(pair.other)}
    await audit(tx, action="refuse-match", resource=pair.type, record_id=pair.one, details=details)
    return pair


def evidence(reasons: list[Why], chance: float) -> str:
    """Return what speaks for a pair in words that name nobody."""
    told = ", ".join(each.says for each in reasons if each.bits > 0)
    return f"probable ({chance:.4f}): {told}"


async def _read(tx: Transaction, store: Store, type_name: str) -> _People:
    record_type = store.schema[type_name]
    systems: dict[str, int] = {}
    sources: dict[UUID, int] = {}
    for record, names in await (await tx.connection.execute(_SOURCES, (type_name,))).fetchall():
        bits = (1 << systems.setdefault(name, len(systems) % _SYSTEMS_MAX) for name in sorted(names))
        sources[record] = sum(set(bits))
    companies: dict[UUID, str] = dict(await (await tx.connection.execute(_COMPANIES)).fetchall())
    ids, rows = list[UUID](), list[dict[str, str | None]]()
    after: UUID | None = None
    while True:
        held = await page(tx, store.vault, record_type, limit=PAGE_ROWS_MAX, after=after)
        for each in held:
            if not each.erased:
                ids.append(each.id)
                rows.append(row_of(each.values, companies))
        if len(held) < PAGE_ROWS_MAX:
            break
        after = held[-1].id
    columns: _Columns = {name: [each[name] for each in rows] for name in NAMES}
    columns["sources"] = [sources.get(each, 0) for each in ids]
    return _People(ids, columns, await apart(tx, type_name))


def row_of(values: Mapping[str, Json], companies: Mapping[UUID, str]) -> dict[str, str | None]:
    """Return what a record says of who it is; a person's company is that of the account."""
    row = {name: each if isinstance(each := values.get(name), str) else None for name in NAMES}
    account = values.get("account_id")
    if row["company"] is None and account is not None:
        row["company"] = companies.get(UUID(str(account)))
    return row


def _keys(
    people: _People, learned: Learned, store: Store, workspace: int, type_name: str
) -> Iterator[tuple[int, UUID]]:
    """Return the digest of every block key with its record."""
    probe = Probe(PEOPLE, learned)
    for position, record in enumerate(people.ids):
        values = {name: each if isinstance(each := people.columns[name][position], str) else None for name in NAMES}
        for key in digests(store.vault, workspace, type_name, probe.keys(Row(values, 0))):
            yield key, record


def _found(people: _People) -> tuple[list[tuple[UUID, UUID, str]], list[Proposal], Learned | None]:
    """Return what is merged (winner, loser, evidence), what a person is asked, and what was learned."""
    from isthmus.matching.probable.comparing import arrow
    from isthmus.matching.probable.finding import find

    if len(people.ids) < LEARNING_ROWS_MIN:
        return [], [], None
    found = find(PEOPLE, arrow(people.columns))
    firsts: list[int] = found.firsts.tolist()
    doubtful = {firsts[one] for one, other in _positions(people) if firsts[one] == firsts[other]}
    few = len(people.ids) < AUTOMATIC_ROWS_MIN
    why = _told(found)
    proposals = _proposals(found, people, why, few=few, doubtful=doubtful)
    merges: list[tuple[UUID, UUID, str]] = []
    best: dict[int, tuple[float, int]] = {}
    lefts: list[int] = found.automatic.left.tolist()
    rights: list[int] = found.automatic.right.tolist()
    codes: list[int] = found.automatic.code.tolist()
    chances: list[float] = found.automatic_chance.tolist()
    for left, right, code, chance in zip(lefts, rights, codes, chances, strict=True):
        for each in (left, right):
            best[each] = max(best.get(each, (0.0, 0)), (chance, code))
    for position, first in enumerate(firsts):
        if position != first and first not in doubtful and not few:
            chance, code = best[position]
            merges.append((people.ids[first], people.ids[position], evidence(why(code), chance)))
    return merges, proposals[:REVIEW_MAX], found.learned


def _positions(people: _People) -> list[tuple[int, int]]:
    """Return the pairs that people said are two, by position, where both live."""
    place = {each: position for position, each in enumerate(people.ids)}
    return [(place[one], place[other]) for one, other in people.apart if one in place and other in place]


def _told(found: Found) -> Callable[[int], list[Why]]:
    from isthmus.matching.probable.finding import reasons

    known: dict[int, list[Why]] = {}

    def why(code: int) -> list[Why]:
        if code not in known:
            said = reasons(PEOPLE, found.model, code)
            known[code] = [Why(field=each.trait, says=each.says, bits=each.bits) for each in said]
        return known[code]

    return why


def _proposals(
    found: Found, people: _People, why: Callable[[int], list[Why]], *, few: bool, doubtful: set[int]
) -> list[Proposal]:
    """Return the pairs for a person: those of the review band, and those that would be merged but for a doubt."""
    firsts: list[int] = found.firsts.tolist()
    told: list[Proposal] = []
    for edges, chances, sure in (
        (found.automatic, found.automatic_chance, True),
        (found.review, found.review_chance, False),
    ):
        lefts: list[int] = edges.left.tolist()
        rights: list[int] = edges.right.tolist()
        codes: list[int] = edges.code.tolist()
        shown: list[float] = chances.tolist()
        for left, right, code, chance in zip(lefts, rights, codes, shown, strict=True):
            pair = (people.ids[left], people.ids[right])
            if (sure and not few and firsts[left] not in doubtful) or (min(pair), max(pair)) in people.apart:
                continue
            told.append(Proposal(one=pair[0], other=pair[1], chance=round(chance, 4), reasons=why(code)))
    return told
