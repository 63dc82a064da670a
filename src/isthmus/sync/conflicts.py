"""The inbox: cases with both values and what is at stake, decided by a person, undone when that was wrong.

A decision is an edit made here that settles the field; it is pushed to every system, and kept in the trail like any
other word.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import LiteralString
from uuid import UUID

import msgspec
from msgspec import Struct

from isthmus.kernel.errors import Conflicting, Invalid, NotFound
from isthmus.kernel.marks import Json
from isthmus.store.database import Scope, Transaction
from isthmus.store.fold import GONE, HERE, Claim, Place, fold
from isthmus.store.prepare import canonical_amount
from isthmus.store.trail import claims_of
from isthmus.sync.connections import audit
from isthmus.sync.edit import edit_in
from isthmus.sync.ingest import Store
from isthmus.sync.queue import tell_all

PAGE_ROWS_MAX = 200
DECIDED = "A case was decided."
_COLUMNS: LiteralString = """
select id, type, record_id, field, status, kept_hlc, kept_system, kept_external_id, claimed_hlc, claimed_system,
       claimed_external_id, stake, stake_currency, opened_at, settled_at, settled_by, choice, note
from inbox_case where workspace = current_workspace()
"""
_FILTER: LiteralString = """
 and (%(status)s::text is null or status = %(status)s) and (%(type)s::text is null or type = %(type)s)
 and (%(field)s::text is null or field = %(field)s) and (%(record)s::uuid is null or record_id = %(record)s)
 and (%(system)s::text is null or claimed_system = %(system)s or kept_system = %(system)s)
 and (%(types)s::text[] is null or type = any(%(types)s))
 and (%(stake_min)s::numeric is null or stake >= %(stake_min)s)
"""
_BY_AGE: LiteralString = " and (%(after)s::uuid is null or id > %(after)s) order by id limit %(limit)s"
_BY_STAKE: LiteralString = """
 and (%(stake)s::numeric is null or coalesce(stake, -1) < %(stake)s
      or (coalesce(stake, -1) = %(stake)s and id > %(after)s))
 order by coalesce(stake, -1) desc, id limit %(limit)s
"""
_SETTLE: LiteralString = """
update inbox_case set status = 'resolved', settled_at = %s, settled_by = %s, choice = %s, note = %s
where workspace = current_workspace() and id = %s
"""
_REOPEN: LiteralString = """
update inbox_case set status = 'open', settled_at = null, settled_by = null, choice = null, note = null,
       taken_back = true
where workspace = current_workspace() and id = %s returning claimed_hlc, claimed_system, claimed_external_id
"""
_OTHER_OPEN: LiteralString = """
select count(*) from inbox_case
where workspace = current_workspace() and record_id = %s and field = %s and status = 'open'
"""


class CaseMissing(NotFound):
    """There is no such case."""

    code, title = "case-missing", "There is no such case"


class CaseSettled(Conflicting):
    """The case is not open any more, or not decided yet, or the field has moved on."""

    code, title = "case-settled", "The case cannot be changed that way now"


class ValueNeeded(Invalid):
    """The choice `value` needs a value, and only that choice takes one."""

    code, title = "value-needed", "The choice and the value do not fit together"


class Choice(StrEnum):
    """How to decide: what is held here, what the system claims, or another value."""

    KEPT = "kept"
    CLAIMED = "claimed"
    VALUE = "value"


class Side(Struct, frozen=True, kw_only=True):
    """The choice of what one system says, whichever side of a case it stands on."""

    system: str


class NoSuchSide(Invalid):
    """The system that is to win stands on neither side of the case."""

    code, title = "no-such-side", "The system stands on neither side"


class Case(Struct, frozen=True, kw_only=True):
    """A question for a person.

    `field` is `~deleted` when a system deleted what others hold; then the values tell whether the record is gone.
    `age_s` counts from its opening. `stake` is the money at stake.
    """

    id: UUID
    type: str
    record_id: UUID
    field: str
    status: str
    kept: Json
    kept_system: str
    claimed: Json
    claimed_system: str
    claimed_external_id: str
    stake: dict[str, str] | None
    opened_at: datetime
    age_s: float
    settled_at: datetime | None = None
    settled_by: str | None = None
    choice: str | None = None
    note: str | None = None


class Filter(Struct, frozen=True, kw_only=True):
    """Which cases; what is None does not matter. `system` is on either side.

    `stake_min` is the least money at stake, each in its own currency; of cases without any there is none at stake.
    """

    status: str | None = "open"
    type: str | None = None
    field: str | None = None
    record_id: UUID | None = None
    system: str | None = None
    types: tuple[str, ...] | None = None
    stake_min: Decimal | None = None


Weight = tuple[Decimal, UUID]
"""Where a case stands among those with the most at stake: the amount, -1 where there is none, then its id."""
EVERY_OPEN = Filter()


async def cases(
    tx: Transaction, store: Store, *, where: Filter = EVERY_OPEN, after: UUID | None = None, limit: int = 50
) -> list[Case]:
    """Return cases with their values opened, oldest first, starting after one."""
    given = {**_given(where), "after": after, "limit": min(limit, PAGE_ROWS_MAX)}
    cursor = await tx.connection.execute(_COLUMNS + _FILTER + _BY_AGE, given)
    return await _opened(tx, store, await cursor.fetchall())


async def weightiest(
    tx: Transaction, store: Store, *, where: Filter = EVERY_OPEN, after: Weight | None = None, limit: int = 50
) -> list[Case]:
    """Return cases with their values opened, those with the most money at stake first, starting after a place."""
    stake, last = after or (None, None)
    given = {**_given(where), "stake": stake, "after": last, "limit": min(limit, PAGE_ROWS_MAX + 1)}
    cursor = await tx.connection.execute(_COLUMNS + _FILTER + _BY_STAKE, given)
    return await _opened(tx, store, await cursor.fetchall())


def weight(case: Case) -> Weight:
    """Return where a case stands in `weightiest`."""
    return (Decimal(case.stake["amount"]) if case.stake else Decimal(-1), case.id)


async def case_of(tx: Transaction, store: Store, case_id: UUID) -> Case:
    """Return a case; raises CaseMissing."""
    cursor = await tx.connection.execute(_COLUMNS + " and id = %s for update", (case_id,))
    found = await _opened(tx, store, await cursor.fetchall())
    if not found:
        raise CaseMissing("There is no case with this id.", fix="List them: isthmus conflicts ls")
    return found[0]


def chosen(case: Case, choice: Choice | Side) -> Choice:
    """Return what a choice means for a case; raises NoSuchSide."""
    if not isinstance(choice, Side):
        return choice
    if choice.system == case.kept_system:
        return Choice.KEPT
    if choice.system == case.claimed_system:
        return Choice.CLAIMED
    fix = f"Name {case.kept_system!r} or {case.claimed_system!r}."
    raise NoSuchSide(f"{choice.system!r} says nothing in this case.", fix=fix)


async def resolve(
    store: Store, scope: Scope, case_id: UUID, choice: Choice | Side, *, value: Json = None, note: str = ""
) -> Case:
    """Decide a case; `value` goes with the choice `value` only.

    Raises CaseMissing, CaseSettled, NoSuchSide, ValueNeeded, and Rejected when a value does not fit the field.
    """
    async with store.database.transaction(scope) as tx:
        return await resolve_in(tx, store, case_id, choice, value=value, note=note)


async def resolve_in(
    tx: Transaction, store: Store, case_id: UUID, choice: Choice | Side, *, value: Json = None, note: str = ""
) -> Case:
    """Decide a case inside a transaction; see `resolve`."""
    scope = tx.scope
    case = await case_of(tx, store, case_id)
    if case.status != "open":
        raise CaseSettled(f"The case is {case.status}.", fix="Undo the decision first.")
    meant = chosen(case, choice)
    await _decide(tx, store, case, meant, value)
    await tx.connection.execute(_SETTLE, (scope.now, scope.actor, meant.value, note, case.id))
    await tell_all(tx, type_name=case.type, record_id=case.record_id, reason=DECIDED)
    details = {"case": str(case.id), "field": case.field, "choice": meant.value}
    await audit(tx, action="resolve", resource=case.type, record_id=case.record_id, details=details)
    return await case_of(tx, store, case.id)


async def resolve_many(
    store: Store,
    scope: Scope,
    where: Filter,
    choice: Choice | Side,
    *,
    note: str = "",
    dry_run: bool = False,
    limit: int = 1_000,
) -> list[Case]:
    """Decide all open cases that fit, each in a transaction of its own; a dry run only returns which.

    Of the choice of a system only cases fit in which it stands on a side; one that closed meanwhile is passed over.
    Raises ValueNeeded for the choice `value`: one value does not fit many.
    """
    if choice == Choice.VALUE:
        raise ValueNeeded("Many cases cannot take one value.", fix="Choose kept or claimed, or resolve one by one.")
    found = _all(store, scope, msgspec.structs.replace(where, status="open"), limit)
    sides = [(case, (case.kept_system, case.claimed_system)) async for case in found]
    fitting = [case for case, both in sides if not isinstance(choice, Side) or choice.system in both]
    if dry_run:
        return fitting
    decided: list[Case] = []
    for case in fitting:
        with suppress(CaseSettled):
            decided.append(await resolve(store, scope, case.id, choice, note=note))
    return decided


async def undo(store: Store, scope: Scope, case_id: UUID) -> Case:
    """Take a decision back: the former value is held again, and the case is open and not pushed.

    Raises CaseSettled when the case was not decided, or its field or record has moved on since.
    """
    async with store.database.transaction(scope) as tx:
        case = await case_of(tx, store, case_id)
        if case.status != "resolved":
            raise CaseSettled(f"The case is {case.status}.", fix="Only a decided case can be undone.")
        row = await (await tx.connection.execute(_OTHER_OPEN, (case.record_id, case.field))).fetchone()
        if row is None or row[0]:
            raise CaseSettled("A newer case is open on this field.", fix="Decide that one.")
        row = await (await tx.connection.execute(_REOPEN, (case.id,))).fetchone()
        assert row is not None
        await _take_back(tx, store, case, claimed=(row[0], row[1], row[2]))
        await tell_all(tx, type_name=case.type, record_id=case.record_id, reason=DECIDED)
        details = {"case": str(case.id), "field": case.field, "choice": case.choice}
        await audit(tx, action="reopen", resource=case.type, record_id=case.record_id, details=details)
        return await case_of(tx, store, case.id)


async def _decide(tx: Transaction, store: Store, case: Case, choice: Choice, value: Json) -> None:
    if (value is not None and choice != Choice.VALUE) or (choice == Choice.VALUE and case.field == GONE):
        fix = "Choose kept or claimed for a deletion, and give a value only with the choice value."
        raise ValueNeeded("The value does not fit the choice.", fix=fix)
    if case.field == GONE:
        deleted = choice == Choice.CLAIMED
        await edit_in(tx, store, case.type, case.record_id, {}, settles=(GONE,), deleted=deleted)
        return
    final = {Choice.KEPT: case.kept, Choice.CLAIMED: case.claimed, Choice.VALUE: value}[choice]
    await edit_in(tx, store, case.type, case.record_id, {case.field: final}, settles=(case.field,))


async def _take_back(tx: Transaction, store: Store, case: Case, *, claimed: Place) -> None:
    """Put the value back that was held before the settling edit; the trail says which one that was.

    The trail says too that the field waits for a person again, so that what comes next finds it contested.
    """
    record_type = store.schema[case.type]
    trail = (await claims_of(tx, store.vault, [case.record_id]))[case.record_id]
    settling = [claim.place for claim in trail if claim.system == HERE and case.field in claim.settles]
    state = fold(record_type, trail)
    held = state.fields.get(case.field)
    if not settling or held is None or held.place != max(settling):
        raise CaseSettled(f"{case.field} has moved since the decision.", fix="Edit the record instead.")
    before = fold(record_type, (claim for claim in trail if claim.place < max(settling)))
    former = before.fields.get(case.field)
    fields: dict[str, Json] = {} if case.field == GONE else {case.field: former.value if former else None}
    reopens = {case.field: before.contested.get(case.field, claimed)}
    await edit_in(tx, store, case.type, case.record_id, fields, reopens=reopens)


def _given(where: Filter) -> dict[str, object]:
    return {
        "status": where.status,
        "type": where.type,
        "field": where.field,
        "record": where.record_id,
        "system": where.system,
        "types": None if where.types is None else list(where.types),
        "stake_min": where.stake_min,
    }


async def _all(store: Store, scope: Scope, where: Filter, limit: int) -> AsyncGenerator[Case]:
    after: UUID | None = None
    found = 0
    while found < limit:
        async with store.database.transaction(scope) as tx:
            page = await cases(tx, store, where=where, after=after, limit=min(PAGE_ROWS_MAX, limit - found))
        for each in page:
            yield each
        if not page:
            return
        found, after = found + len(page), page[-1].id


async def _opened(tx: Transaction, store: Store, rows: Sequence[tuple[object, ...]]) -> list[Case]:
    """Return cases with the values that the claims hold; of an erased subject they are gone, and null."""
    found: list[Case] = []
    named = [msgspec.convert(dict(zip(_Row.__struct_fields__, row, strict=True)), _Row) for row in rows]
    trails = await claims_of(tx, store.vault, list({row.record_id for row in named}))
    for row in named:
        kept, claimed = _values(store, row, trails[row.record_id])
        stake = None
        if row.stake is not None and row.stake_currency is not None:
            stake = {"amount": canonical_amount(row.stake, row.stake_currency), "currency": row.stake_currency}
        found.append(
            Case(
                id=row.id,
                type=row.type,
                record_id=row.record_id,
                field=row.field,
                status=row.status,
                kept=kept,
                kept_system=row.kept_system,
                claimed=claimed,
                claimed_system=row.claimed_system,
                claimed_external_id=row.claimed_external_id,
                stake=stake,
                opened_at=row.opened_at,
                age_s=((row.settled_at or tx.scope.now) - row.opened_at).total_seconds(),
                settled_at=row.settled_at,
                settled_by=row.settled_by,
                choice=row.choice,
                note=row.note,
            )
        )
    return found


class _Row(Struct):
    id: UUID
    type: str
    record_id: UUID
    field: str
    status: str
    kept_hlc: int
    kept_system: str
    kept_external_id: str
    claimed_hlc: int
    claimed_system: str
    claimed_external_id: str
    stake: Decimal | None
    stake_currency: str | None
    opened_at: datetime
    settled_at: datetime | None
    settled_by: str | None
    choice: str | None
    note: str | None


def _values(store: Store, row: _Row, trail: Sequence[Claim]) -> tuple[Json, Json]:
    """Return what is held and what the other claims: now for an open case, as it was for a closed one.

    Of a case that is open again after a decision the other system may hold that decision by now: then it is what it
    claimed before that counts.
    """
    if row.field == GONE:
        return False, True
    said = {claim.place: claim.said for claim in trail}
    kept: Place = (row.kept_hlc, row.kept_system, row.kept_external_id)
    claimed: Place = (row.claimed_hlc, row.claimed_system, row.claimed_external_id)
    before = said.get(claimed, {}).get(row.field)
    if row.status != "open":
        return said.get(kept, {}).get(row.field), before
    state = fold(store.schema[row.type], trail)
    held = state.fields.get(row.field)
    return held.value if held else None, _claimed_now(trail, row.field, claimed, before=before)


def _claimed_now(trail: Sequence[Claim], name: str, claimed: Place, *, before: Json) -> Json:
    """Return the last word of the claiming side, of what it said since the case was opened, or opened again."""
    opened = max((each.place for each in trail if each.reopens and name in each.reopens), default=claimed)
    later = [each for each in trail if each.place[1:] == claimed[1:] and each.place > opened and name in each.said]
    return max(later, key=lambda each: each.place).said[name] if later else before
