"""The open conflicts with most at stake: both values, who said them, and since when it waits."""

from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import LiteralString
from uuid import UUID

import msgspec
from msgspec import Struct

from isthmus.console import words
from isthmus.console.overview.titles import titles
from isthmus.console.overview.views import CasesView, CaseView, SideView
from isthmus.kernel.hlc import moment_of
from isthmus.kernel.marks import Json
from isthmus.store.database import Transaction
from isthmus.store.fold import GONE, Claim
from isthmus.store.schema import Schema
from isthmus.store.trail import claims_of
from isthmus.vault import Vault

CASES_MAX = 3
_ABSENT = "nothing"
_TOP: LiteralString = """
select type, record_id, field, kept_hlc, kept_system, kept_external_id, claimed_hlc, claimed_system,
       claimed_external_id, stake, stake_currency, opened_at
from inbox_case where workspace = current_workspace() and status = 'open' and type = any(%s)
order by stake desc nulls last, opened_at limit %s
"""
_TOTALS: LiteralString = """
select stake_currency, count(*), sum(stake) from inbox_case
where workspace = current_workspace() and status = 'open' and type = any(%s)
group by stake_currency order by sum(stake) desc nulls last
"""


class _Case(Struct, frozen=True):
    type: str
    record_id: UUID
    field: str
    kept_hlc: int
    kept_system: str
    kept_external_id: str
    claimed_hlc: int
    claimed_system: str
    claimed_external_id: str
    stake: Decimal | None
    stake_currency: str | None
    opened_at: datetime


async def load_cases(tx: Transaction, vault: Vault, schema: Schema, *, may: Callable[[str], bool]) -> CasesView:
    """Return the open conflicts of the domains that may be read; personal values only with that permission."""
    types = [each.name for each in schema if may(f"{each.domain}:read")]
    cursor = await tx.connection.execute(_TOP, (types, CASES_MAX))
    found = [_Case(*row) for row in await cursor.fetchall()]
    cursor = await tx.connection.execute(_TOTALS, (types,))
    totals = await cursor.fetchall()
    claims = await claims_of(tx, vault, [each.record_id for each in found])
    named = await titles(tx, vault, schema, [(each.type, each.record_id) for each in found], may=may)
    return CasesView(
        cases=tuple(
            _view(each, claims[each.record_id], title=named[each.record_id], shown=_shown(schema, each, may))
            for each in found
        ),
        count=sum(int(row[1]) for row in totals),
        stakes=tuple(words.money(row[2], row[0]) for row in totals if row[0] is not None and row[2] is not None),
    )


def _shown(schema: Schema, case: _Case, may: Callable[[str], bool]) -> bool:
    record_type = schema[case.type]
    field = record_type.field(case.field)
    return field is None or field.personal is None or may(f"{record_type.domain}:read_personal")


def _view(case: _Case, claims: Sequence[Claim], *, title: str, shown: bool) -> CaseView:
    said = {claim.place: claim for claim in claims}
    kept = (case.kept_hlc, case.kept_system, case.kept_external_id)
    claimed = (case.claimed_hlc, case.claimed_system, case.claimed_external_id)
    stake = "" if case.stake is None else words.money(case.stake, case.stake_currency or "")
    return CaseView(
        kind=words.kind(case.type),
        title=title,
        field="deleted or kept" if case.field == GONE else words.plain(case.field),
        sides=(
            _side(kept, said.get(kept), case.field, shown=shown, kept=True),
            _side(claimed, said.get(claimed), case.field, shown=shown, kept=False),
        ),
        stake=stake,
        opened_at=case.opened_at,
    )


def _side(place: tuple[int, str, str], claim: Claim | None, field: str, *, shown: bool, kept: bool) -> SideView:
    value = None
    if shown:
        value = _gone(claim) if field == GONE else text(claim.said.get(field) if claim is not None else None)
    return SideView(system=place[1], value=value, at=moment_of(place[0]), kept=kept)


def _gone(claim: Claim | None) -> str:
    return "deleted" if claim is None or claim.deleted else "kept, and changed"


def text(value: Json) -> str:
    """Return a value of a field in a few words."""
    if value is None or value == "":
        return _ABSENT
    if isinstance(value, dict) and isinstance(amount := value.get("amount"), str):
        return words.exact_money(Decimal(amount), str(value.get("currency")))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return words.plain(value) if value.isascii() and value.replace("_", "").islower() else value
    return msgspec.json.encode(value).decode()
