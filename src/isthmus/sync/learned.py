"""Rules that people taught by deciding: which of two systems wins on a field when both moved it.

A rule decides a case as the person would have: by an edit made here that settles the field, in the trail like any other
word. So it adds no way in which systems could come to differ, and its decisions are undone like those of people; a case
whose decision was taken back is left to them.
"""

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from typing import LiteralString
from uuid import UUID

import msgspec
from msgspec import Struct

from isthmus.kernel.clock import milliseconds
from isthmus.kernel.errors import Conflicting, Invalid, NotFound
from isthmus.kernel.ids import ENTROPY_BYTES, mint, text_of
from isthmus.store.database import Scope, Transaction
from isthmus.store.fold import GONE
from isthmus.store.prepare import Rejected
from isthmus.sync.conflicts import PAGE_ROWS_MAX, Case, Choice, resolve
from isthmus.sync.connections import audit
from isthmus.sync.ingest import Store
from isthmus.vault import entropy

RULE_PREFIX = "crul"
_SELECT: LiteralString = """
select r.id, r.type, r.field, r.winner, r.loser, r.case_id, r.note, r.created_at, r.created_by, (
    select count(*) from inbox_case c
    where c.workspace = r.workspace and c.status = 'open' and c.type = r.type and c.field = r.field
      and not c.taken_back and (c.kept_system, c.claimed_system) in ((r.winner, r.loser), (r.loser, r.winner))
)
from conflict_rule r where r.workspace = current_workspace()
"""
_LIST: LiteralString = (
    _SELECT
    + """
and (%(types)s::text[] is null or r.type = any(%(types)s)) and (%(after)s::uuid is null or r.id > %(after)s)
order by r.id limit %(limit)s
"""
)
_KEEP: LiteralString = """
insert into conflict_rule as r (workspace, id, type, field, winner, loser, case_id, note, created_at, created_by)
values (current_workspace(), %s, %s, %s, %s, %s, %s, %s, %s, %s)
on conflict (workspace, type, field, least(winner, loser), greatest(winner, loser)) do update
set winner = excluded.winner, loser = excluded.loser, case_id = excluded.case_id, note = excluded.note,
    created_at = excluded.created_at, created_by = excluded.created_by
returning r.id
"""
_FORGET: LiteralString = "delete from conflict_rule where workspace = current_workspace() and id = %s"
_DECIDED: LiteralString = """
select c.id, r.id, r.winner, r.loser, c.kept_system = r.winner
from conflict_rule r join inbox_case c on c.workspace = r.workspace and c.type = r.type and c.field = r.field
where r.workspace = current_workspace() and c.status = 'open' and not c.taken_back
  and (c.kept_system, c.claimed_system) in ((r.winner, r.loser), (r.loser, r.winner))
  and (%(after)s::uuid is null or c.id > %(after)s)
order by c.id limit %(limit)s
"""


class RuleMissing(NotFound):
    """There is no such rule."""

    code, title = "rule-missing", "There is no such rule"


class NothingToLearn(Invalid):
    """The decision does not say which system wins, or it is for a person to say each time."""

    code, title = "nothing-to-learn", "No rule can be learned from this"


class LearnedRule(Struct, frozen=True, kw_only=True):
    """On `field` of records of a type `winner` wins over `loser`. `waiting` open cases will be decided by it."""

    id: UUID
    type: str
    field: str
    winner: str
    loser: str
    case_id: UUID
    note: str
    created_at: datetime
    created_by: str
    waiting: int


async def learn(tx: Transaction, store: Store, case: Case, choice: Choice, *, note: str = "") -> LearnedRule:
    """Keep how a case is decided as a rule for its field and its two systems; an earlier one of them is replaced.

    Raises NothingToLearn.
    """
    _teaches(store, case, choice)
    winner, loser = (
        (case.kept_system, case.claimed_system) if choice == Choice.KEPT else (case.claimed_system, case.kept_system)
    )
    now = tx.scope.now
    own = mint(unix_ms=milliseconds(now), entropy=entropy(ENTROPY_BYTES))
    row = (own, case.type, case.field, winner, loser, case.id, note, now, tx.scope.actor)
    kept = await (await tx.connection.execute(_KEEP, row)).fetchone()
    assert kept is not None
    details = {"rule": str(kept[0]), "field": case.field, "winner": winner, "loser": loser}
    await audit(tx, action="learn", resource=case.type, record_id=case.record_id, details=details)
    return await rule_of(tx, kept[0])


async def rules(
    tx: Transaction, *, types: Collection[str] | None = None, after: UUID | None = None, limit: int = 50
) -> list[LearnedRule]:
    """Return rules, oldest first, of all types or some, from after one."""
    given = {"types": None if types is None else sorted(types), "after": after, "limit": limit}
    return [_rule(row) for row in await (await tx.connection.execute(_LIST, given)).fetchall()]


async def rule_of(tx: Transaction, rule_id: UUID) -> LearnedRule:
    """Return a rule; raises RuleMissing."""
    row = await (await tx.connection.execute(_SELECT + " and r.id = %s", (rule_id,))).fetchone()
    if row is None:
        raise RuleMissing("There is no rule with this id.", fix="List them: isthmus conflicts rules")
    return _rule(row)


async def forget(tx: Transaction, rule_id: UUID) -> LearnedRule:
    """Take a rule away; what it decided stays decided. Raises RuleMissing."""
    found = await rule_of(tx, rule_id)
    await tx.connection.execute(_FORGET, (rule_id,))
    details = {"rule": str(rule_id), "field": found.field, "winner": found.winner, "loser": found.loser}
    await audit(tx, action="forget", resource=found.type, record_id=None, details=details)
    return found


async def decide_by_rules(store: Store, scope: Scope) -> int:
    """Decide the open cases that rules speak of, each in a transaction of its own; returns how many were decided."""
    decided, after = 0, None
    while True:
        async with store.database.transaction(scope) as tx:
            cursor = await tx.connection.execute(_DECIDED, {"after": after, "limit": PAGE_ROWS_MAX})
            found = await cursor.fetchall()
        for case_id, rule_id, winner, loser, is_kept in found:
            own = replace(scope, actor=f"rule:{text_of(RULE_PREFIX, rule_id)}")
            choice = Choice.KEPT if is_kept else Choice.CLAIMED
            try:
                await resolve(store, own, case_id, choice, note=f"By a rule: {winner} wins over {loser}.")
            except (Conflicting, NotFound, Rejected):
                # It moved on meanwhile, or cannot be held as it is: then it stays a question for a person.
                continue
            decided += 1
        if len(found) < PAGE_ROWS_MAX:
            return decided
        after = found[-1][0]


def _teaches(store: Store, case: Case, choice: Choice) -> None:
    fix = "Decide it without learning."
    declared = store.schema[case.type].field(case.field)
    if case.field == GONE or declared is None:
        raise NothingToLearn("Whether a record is deleted is for a person to say each time.", fix=fix)
    if declared.rule.name == "most_restrictive":
        raise NothingToLearn(f"What loosens {case.field} is for a person to say each time.", fix=fix)
    if choice == Choice.VALUE or case.kept_system == case.claimed_system:
        raise NothingToLearn("The decision does not say which system wins.", fix=fix)


def _rule(row: tuple[object, ...]) -> LearnedRule:
    return msgspec.convert(dict(zip(LearnedRule.__struct_fields__, row, strict=True)), LearnedRule)
