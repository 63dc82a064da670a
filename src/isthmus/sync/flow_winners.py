"""Conflicts on critical fields that a mapping decides, by the rule that it names for its system.

On other fields the rule goes with each word of the system and decides at once; here there is a case first, which is
decided as a person would.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import LiteralString
from uuid import UUID

from isthmus.kernel.errors import Conflicting, NotFound
from isthmus.kernel.marks import Json, Rule
from isthmus.store.database import Scope, Transaction
from isthmus.store.fold import fold, stricter, undecided
from isthmus.store.fold import resolve as chosen_by
from isthmus.store.prepare import Rejected
from isthmus.store.trail import claims_of
from isthmus.sync.conflicts import Choice, resolve
from isthmus.sync.connections import connection_of
from isthmus.sync.flow_versions import in_force
from isthmus.sync.flows import FieldFlow, Flow
from isthmus.sync.ingest import Store

_Decision = tuple[Choice, Json]
_CASES: LiteralString = """
select id, record_id, field, claimed_system, claimed_external_id from inbox_case
where workspace = current_workspace() and status = 'open' and not taken_back and type = %(type)s
  and field = any(%(fields)s) and (kept_system = %(system)s) <> (claimed_system = %(system)s)
order by id
"""


async def decide_by_flows(store: Store, scope: Scope, *, system: str, flows: Mapping[str, Flow]) -> int:
    """Decide open conflicts of a system where its mapping says how, each in a transaction; returns how many.

    It is an edit in the trail as if a person had decided, and is undone the same way; what was taken back stays.
    """
    decided = 0
    own = replace(scope, actor=f"mapping:{system}")
    for name, flow in flows.items():
        rules = {field: replace(rule, system=system) for field, each in flow.fields.items() if (rule := each.rule)}
        if not rules:
            continue
        async with store.database.transaction(scope) as tx:
            given = {"system": system, "type": name, "fields": list(rules)}
            found = await (await tx.connection.execute(_CASES, given)).fetchall()
        for case_id, record, field, *claimant in found:
            async with store.database.transaction(scope) as tx:
                claimed_by: tuple[str, str] = (claimant[0], claimant[1])
                decision = await _decision(tx, store, name, record, field, claimed_by, rules[field])
            if decision is None:
                continue
            note = f"By the mapping of {system}: {rules[field].name} on {field}."
            try:
                await resolve(store, own, case_id, decision[0], value=decision[1], note=note)
            except (Conflicting, NotFound, Rejected):
                # It moved on meanwhile, or cannot be held as it is: then it stays a question for a person.
                continue
            decided += 1
    return decided


async def _decision(  # noqa: PLR0913, PLR0917, RUF100 - a case is made of this.
    tx: Transaction, store: Store, type_name: str, record: UUID, field: str, claimed_by: tuple[str, str], rule: Rule
) -> _Decision | None:
    """Return what a rule makes of a case: which side, or another value; None where a person is to decide."""
    trail = (await claims_of(tx, store.vault, [record]))[record]
    state = fold(store.schema[type_name], trail)
    held = state.fields.get(field)
    spoken = [each for each in trail if each.place[1:] == claimed_by and field in each.said]
    if held is None or not spoken or field not in state.contested:
        return None
    claim = max(spoken, key=lambda each: each.place)
    value = claim.said[field]
    other = held.place[1] if claim.system == rule.system else claim.system
    rule = stricter(rule, await _rule_of(tx, other, type_name, field)) or rule
    if undecided(rule, held=held, claim=claim):
        return None
    winner = chosen_by(rule, held=held, claim=claim, value=value)
    if winner == held.value:
        return Choice.KEPT, None
    return (Choice.CLAIMED, None) if winner == value else (Choice.VALUE, winner)


async def _rule_of(tx: Transaction, system: str, type_name: str, field: str) -> Rule | None:
    """Return the rule by which a system meets others on a field now, if a mapping names one."""
    try:
        flows = await in_force(tx, (await connection_of(tx, system)).id)
    except NotFound:
        return None
    rule = flows[type_name].fields.get(field, FieldFlow()).rule if type_name in flows else None
    return rule and replace(rule, system=system)
