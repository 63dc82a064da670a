"""Cases and the rules learned from them as they are shown, over HTTP and at the terminal alike."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import LiteralString

from msgspec import Struct

from isthmus.app.veiling import veiled
from isthmus.console.overview.titles import titles
from isthmus.kernel.hlc import moment_of
from isthmus.kernel.ids import text_of
from isthmus.kernel.marks import Json, RecordType
from isthmus.store.database import Transaction
from isthmus.store.fold import Place
from isthmus.store.schema import Schema
from isthmus.sync.conflicts import Case
from isthmus.sync.learned import RULE_PREFIX, LearnedRule
from isthmus.vault import Vault

CASE_PREFIX = "case"
_PLACES: LiteralString = """
select id, kept_hlc, kept_system, kept_external_id, claimed_hlc, claimed_system, claimed_external_id
from inbox_case where workspace = current_workspace() and id = any(%s)
"""


class CaseSide(Struct, frozen=True, kw_only=True):
    """One of the two values: which system says it, of which record there, and since when."""

    system: str
    external_id: str
    value: Json
    at: datetime


class CaseView(Struct, frozen=True, kw_only=True):
    """A case; `last_write_wins` tells which side that rule would hold, were the field not critical.

    `stake` is the money at stake, and `age_s` how long it has waited, or waited until it was settled.
    """

    id: str
    type: str
    record: str
    title: str
    field: str
    status: str
    kept: CaseSide
    claimed: CaseSide
    last_write_wins: str
    stake: dict[str, str] | None
    opened_at: datetime
    age_s: float
    settled_at: datetime | None
    settled_by: str | None
    choice: str | None
    note: str | None


class ConflictRuleView(Struct, frozen=True, kw_only=True):
    """On `field` of records of a type `winner` wins over `loser`. `waiting` open cases will be decided by it."""

    id: str
    type: str
    field: str
    winner: str
    loser: str
    learned_from: str
    note: str
    created_at: datetime
    created_by: str
    waiting: int


async def case_views(
    tx: Transaction, vault: Vault, schema: Schema, found: Sequence[Case], *, may: Callable[[str], bool]
) -> list[CaseView]:
    """Return cases with their records' titles; personal values are masked without the permission of their domain."""
    records = [(each.type, each.record_id) for each in found]
    named = await titles(tx, vault, schema, records, may=may)
    cursor = await tx.connection.execute(_PLACES, ([each.id for each in found],))
    places: dict[object, tuple[Place, Place]] = {
        row[0]: ((row[1], row[2], row[3]), (row[4], row[5], row[6])) for row in await cursor.fetchall()
    }
    return [
        _view(each, schema[each.type], title=named[each.record_id], places=places[each.id], may=may) for each in found
    ]


def rule_view(rule: LearnedRule) -> ConflictRuleView:
    """Return a rule as it is shown."""
    return ConflictRuleView(
        id=text_of(RULE_PREFIX, rule.id),
        type=rule.type,
        field=rule.field,
        winner=rule.winner,
        loser=rule.loser,
        learned_from=text_of(CASE_PREFIX, rule.case_id),
        note=rule.note,
        created_at=rule.created_at,
        created_by=rule.created_by,
        waiting=rule.waiting,
    )


def _view(
    case: Case, record_type: RecordType, *, title: str, places: tuple[Place, Place], may: Callable[[str], bool]
) -> CaseView:
    kept, claimed = places
    declared = record_type.field(case.field)
    sealed = declared is not None and declared.personal is not None
    personal = sealed and may(f"{record_type.domain}:read_personal")

    def side(place: Place, value: Json) -> CaseSide:
        shown = veiled(record_type, case.field, value, personal=personal)
        return CaseSide(system=place[1], external_id=place[2], value=shown, at=moment_of(place[0]))

    return CaseView(
        id=text_of(CASE_PREFIX, case.id),
        type=case.type,
        record=text_of(record_type.prefix, case.record_id),
        title=title,
        field=case.field,
        status=case.status,
        kept=side(kept, case.kept),
        claimed=side(claimed, case.claimed),
        last_write_wins="claimed" if claimed > kept else "kept",
        stake=case.stake,
        opened_at=case.opened_at,
        age_s=case.age_s,
        settled_at=case.settled_at,
        settled_by=case.settled_by,
        choice=case.choice,
        note=case.note,
    )
