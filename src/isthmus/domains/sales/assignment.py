"""Whose lead it is: territories in order, owners in turn, nobody above the load, never nobody."""

from dataclasses import dataclass, field
from typing import LiteralString, Self

import msgspec

from isthmus.domains.sales.records import Lead, LeadStep, LeadStepKind, LeadStepState
from isthmus.domains.sales.rules import assign
from isthmus.domains.sales.settings import SalesSettings
from isthmus.store.database import Transaction
from isthmus.store.records import Stored

_LOAD: LiteralString = """
select count(*) from (
    select from sales_lead where workspace = current_workspace() and owner_id = %s
       and status in ('new', 'working', 'qualified') and deleted_at is null and merged_into is null limit %s
) as open
"""
_BEGIN: LiteralString = """
insert into assignment_turn (workspace, territory, turn) values (current_workspace(), %s, 0) on conflict do nothing
"""
_TURNS: LiteralString = """
select territory, turn from assignment_turn where workspace = current_workspace() and territory = any(%s)
order by territory for update
"""
_ADVANCE: LiteralString = """
update assignment_turn set turn = turn + 1 where workspace = current_workspace() and territory = %s
"""


@dataclass
class Assigner:
    """Assigns leads in one transaction; it holds the turns until the transaction ends, so that turns are fair."""

    tx: Transaction
    settings: SalesSettings
    turns: dict[str, int]
    loads: dict[str, int] = field(default_factory=dict[str, int])

    @classmethod
    async def of(cls, tx: Transaction, settings: SalesSettings) -> Self:
        """Lock the turns of all territories and count how many open leads their owners have."""
        names = sorted({each.name for each in settings.territories})
        owners = sorted({owner for each in settings.territories for owner in each.owners})
        if names:
            async with tx.connection.cursor() as cursor:
                await cursor.executemany(_BEGIN, [(name,) for name in names])
        cursor = await tx.connection.execute(_TURNS, (names,))
        turns = {str(name): int(turn) for name, turn in await cursor.fetchall()}
        loads: dict[str, int] = {}
        for owner in owners:
            row = await (await tx.connection.execute(_LOAD, (owner, settings.load_max))).fetchone()
            loads[owner] = int(row[0]) if row else 0
        return cls(tx, settings, turns, loads)

    async def owner(self, lead: Stored) -> tuple[str, LeadStep]:
        """Return the owner that a lead has, or gets, with the step that says why."""
        kind, state, now = LeadStepKind.ASSIGNMENT, LeadStepState.DONE, self.tx.scope.now
        held = lead.values.get("owner_id")
        if isinstance(held, str) and held:
            reason = f"Stays with {held}, whose lead it was."
            return held, LeadStep(kind=kind, state=state, at=now, reason=reason)
        found = assign(
            _placed(lead),
            territories=self.settings.territories,
            loads=self.loads,
            load_max=self.settings.load_max,
            turns=self.turns,
            fallback_owner_id=self.settings.fallback_owner,
        )
        self.loads[found.owner_id] = self.loads.get(found.owner_id, 0) + 1
        if found.territory is not None:
            self.turns[found.territory] += 1
            await self.tx.connection.execute(_ADVANCE, (found.territory,))
        reason = f"{found.owner_id}: {found.reason}."
        return found.owner_id, LeadStep(kind=kind, state=state, at=now, reason=reason)


def _placed(lead: Stored) -> Lead:
    """Return what territories look at; who the lead is does not matter here."""
    names = ("company", "country", "region", "industry", "company_size")
    given = {name: value for name in names if (value := lead.values.get(name)) is not None}
    return msgspec.convert({"company": "unknown", "email": "nobody@here.example", "first_name": "x", **given}, Lead)
