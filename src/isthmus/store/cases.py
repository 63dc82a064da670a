"""Cases: what waits for a person. They open, follow the claims, and close in the transaction of the deciding claim."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import LiteralString
from uuid import UUID

from isthmus.kernel.clock import milliseconds
from isthmus.kernel.ids import mint
from isthmus.kernel.marks import Json, RecordType
from isthmus.store.database import Transaction
from isthmus.store.fold import Place, State
from isthmus.vault import entropy

_OPEN: LiteralString = """
insert into inbox_case (workspace, id, type, record_id, field, status, kept_hlc, kept_system, kept_external_id,
                        claimed_hlc, claimed_system, claimed_external_id, stake, stake_currency, opened_at)
values (current_workspace(), %s, %s, %s, %s, 'open', %s, %s, %s, %s, %s, %s, %s, %s, %s)
on conflict (workspace, record_id, field) where status = 'open' do update
set kept_hlc = excluded.kept_hlc, kept_system = excluded.kept_system, kept_external_id = excluded.kept_external_id,
    claimed_hlc = excluded.claimed_hlc, claimed_system = excluded.claimed_system,
    claimed_external_id = excluded.claimed_external_id, stake = excluded.stake, stake_currency = excluded.stake_currency
"""
_CLOSE: LiteralString = """
update inbox_case set status = %s, settled_at = %s, settled_by = %s
where workspace = current_workspace() and record_id = %s and field = %s and status = 'open'
"""


@dataclass(frozen=True)
class CaseChange:
    """The contested fields of one record before and after a batch; `after` gives (kept, claimed) places by field."""

    record: UUID
    before: set[str]
    after: dict[str, tuple[Place, Place]]
    state: State


async def write_cases(tx: Transaction, record_type: RecordType, changes: Sequence[CaseChange]) -> int:
    """Store what changed in the inbox; returns how many cases were opened."""
    opened = 0
    now = tx.scope.now
    opening: list[tuple[object, ...]] = []
    closing: list[tuple[object, ...]] = []
    for change in changes:
        for name, (kept, claimed) in change.after.items():
            stake, currency = _stake(record_type, change.state, name, claimed)
            case_id = mint(unix_ms=milliseconds(now), entropy=entropy(10))
            opening.append((case_id, record_type.name, change.record, name, *kept, *claimed, stake, currency, now))
            opened += name not in change.before
        for name in change.before - set(change.after):
            settled = any(each.field == name and each.verdict == "settled" for each in change.state.decisions)
            status = "resolved" if settled else "dissolved"
            closing.append((status, now, tx.scope.actor, change.record, name))
    async with tx.connection.cursor() as cursor:
        if opening:
            await cursor.executemany(_OPEN, opening)
        if closing:
            await cursor.executemany(_CLOSE, closing)
    return opened


def _stake(record_type: RecordType, state: State, name: str, claimed: Place) -> tuple[Decimal | None, str | None]:
    """Return the money at stake: the difference of two amounts, or the record's own amount for other fields."""
    theirs = _money(state.shadows.get(claimed[1:], {}).get(name))
    held = state.fields.get(name)
    ours = _money(held.value if held else None)
    if theirs and ours:
        return (abs(theirs[0] - ours[0]), ours[1]) if theirs[1] == ours[1] else max(theirs, ours)
    amounts = (state.fields.get(each.name) for each in record_type.fields if each.column == "money")
    own = next((money for each in amounts if each for money in (_money(each.value),) if money), None)
    return own or (None, None)


def _money(value: Json) -> tuple[Decimal, str] | None:
    if isinstance(value, dict) and isinstance(amount := value.get("amount"), str):
        return Decimal(amount), str(value.get("currency"))
    return None
