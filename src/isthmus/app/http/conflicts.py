"""Routes of conflicts: what waits for a person, deciding it, taking that back, and rules learned from decisions."""

from decimal import Decimal
from typing import Annotated, Literal

from msgspec import Meta, Struct, structs

from isthmus.app.case_views import CASE_PREFIX, CaseView, ConflictRuleView, case_views, rule_view
from isthmus.app.http.readable import is_readable, is_writable, readable_type, readable_types, require_writing
from isthmus.gateway import Call, Page, Paging, Route
from isthmus.kernel.errors import Invalid
from isthmus.kernel.ids import uuid_of
from isthmus.kernel.marks import Json
from isthmus.store.database import Transaction
from isthmus.store.prepare import Rejected
from isthmus.sync.conflicts import (
    Case,
    CaseMissing,
    CaseSettled,
    Choice,
    Filter,
    NoSuchSide,
    Side,
    ValueNeeded,
    case_of,
    chosen,
    resolve_in,
    resolve_many,
    undo,
    weightiest,
)
from isthmus.sync.connections import audit
from isthmus.sync.ingest import Store
from isthmus.sync.learned import RULE_PREFIX, NothingToLearn, RuleMissing, forget, learn, rule_of, rules

_TAGS = ("conflicts",)
BULK_MAX = 1_000
STAKE_MAX = Decimal(10) ** 16
_Name = Annotated[str, Meta(min_length=1, max_length=200)]
_Note = Annotated[str, Meta(max_length=500, description="Why, for those who read the history.")]
_Stake = Annotated[Decimal, Meta(description="The least money at stake, each in its own currency.")]
_Choice = Literal["kept", "held", "claimed", "value", "system"]


class ConflictQuery(Paging, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which conflicts; `dissolved` ones came to agree by themselves, and `system` stands on either side."""

    status: Literal["open", "resolved", "dissolved", "all"] = "open"
    type: _Name | None = None
    field: _Name | None = None
    system: _Name | None = None
    stake_min: _Stake | None = None


class Deciding(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a conflict is decided.

    `kept` (or `held`) is what is held here, `claimed` what the other claims, `system` what the named system says, and
    `value` another value. With `learn` the same conflict of the two systems on that field decides itself from now on.
    """

    choice: _Choice
    system: _Name | None = None
    value: Json = None
    note: _Note = ""
    learn: bool = False


class DecidingMany(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which open conflicts are decided, and how; a dry run only tells which they are. A thousand at once at most."""

    choice: Literal["kept", "held", "claimed", "system"]
    side: Annotated[str, Meta(max_length=200, description="The system whose word is taken by the choice `system`.")] = (
        ""
    )
    type: _Name | None = None
    field: _Name | None = None
    system: _Name | None = None
    stake_min: _Stake | None = None
    note: _Note = ""
    dry_run: bool = False


class Decided(Struct, frozen=True, kw_only=True):
    """The conflicts that were decided, or would be; with `has_more` there are others that fit."""

    data: list[CaseView]
    count: int
    dry_run: bool
    has_more: bool


async def list_conflicts(call: Call) -> Page[CaseView]:
    """List conflicts, the most at stake first."""
    wanted, after = call.query(ConflictQuery), call.after()
    where = _filter(call, type_name=wanted.type, field=wanted.field, system=wanted.system, stake_min=wanted.stake_min)
    where = structs.replace(where, status=None if wanted.status == "all" else wanted.status)
    last = None if after is None else (Decimal(after.partition(" ")[0]), uuid_of(CASE_PREFIX, after.partition(" ")[2]))
    async with call.services.database.transaction(call.scope) as tx:
        found = await weightiest(tx, _store(call), where=where, after=last, limit=wanted.limit + 1)
        shown = await _views(call, tx, found)
    return call.page(shown, limit=wanted.limit, after=_place)


async def show_conflict(call: Call) -> CaseView:
    """Show a conflict."""
    async with call.services.database.transaction(call.scope) as tx:
        return await _view(call, tx, await _case(call, tx))


async def resolve_conflict(call: Call) -> CaseView:
    """Decide a conflict."""
    wanted, store = call.body(Deciding), _store(call)
    choice = _choice(wanted.choice, wanted.system or "")
    async with call.services.database.transaction(call.scope) as tx:
        case = await _case(call, tx)
        require_writing(call, case.type)
        decided = await resolve_in(tx, store, case.id, choice, value=wanted.value, note=wanted.note)
        if wanted.learn:
            await learn(tx, store, case, chosen(case, choice), note=wanted.note)
        return await _view(call, tx, decided)


async def resolve_conflicts(call: Call) -> Decided:
    """Decide what fits a filter."""
    wanted, store = call.body(DecidingMany), _store(call)
    choice = _choice(wanted.choice, wanted.side)
    where = _filter(call, type_name=wanted.type, field=wanted.field, system=wanted.system, stake_min=wanted.stake_min)
    if not wanted.dry_run:
        where = structs.replace(where, types=tuple(each for each in where.types or () if is_writable(call, each)))
    found = await resolve_many(
        store, call.scope, where, choice, note=wanted.note, dry_run=wanted.dry_run, limit=BULK_MAX
    )
    async with call.services.database.transaction(call.scope) as tx:
        if not wanted.dry_run:
            details = {"choice": wanted.choice, "side": wanted.side, "field": wanted.field, "count": len(found)}
            resource = wanted.type or "conflict"
            await audit(tx, action="resolve-many", resource=resource, record_id=None, details=details)
        shown = await _views(call, tx, found)
    return Decided(data=shown, count=len(shown), dry_run=wanted.dry_run, has_more=len(found) == BULK_MAX)


async def undo_conflict(call: Call) -> CaseView:
    """Take a decision back."""
    async with call.services.database.transaction(call.scope) as tx:
        case = await _case(call, tx)
        require_writing(call, case.type)
    opened = await undo(_store(call), call.scope, case.id)
    async with call.services.database.transaction(call.scope) as tx:
        return await _view(call, tx, opened)


async def list_rules(call: Call) -> Page[ConflictRuleView]:
    """List learned rules, oldest first."""
    paging, after = call.query(Paging), call.after()
    last = None if after is None else uuid_of(RULE_PREFIX, after)
    async with call.services.database.transaction(call.scope) as tx:
        found = await rules(tx, types=readable_types(call), after=last, limit=paging.limit + 1)
    return call.page([rule_view(each) for each in found], limit=paging.limit, after=lambda each: each.id)


async def forget_rule(call: Call) -> None:
    """Forget a rule."""
    own = call.id_in_path("rule_id", RULE_PREFIX, missing=RuleMissing)
    async with call.services.database.transaction(call.scope) as tx:
        found = await rule_of(tx, own)
        if not is_readable(call, found.type):
            raise RuleMissing("There is no rule with this id.", fix="List them: GET /api/v1/conflict-rules")
        require_writing(call, found.type)
        await forget(tx, own)


async def _case(call: Call, tx: Transaction) -> Case:
    """Return the case in the path; raises CaseMissing, also where the caller may not read its records."""
    found = await case_of(tx, _store(call), call.id_in_path("conflict_id", CASE_PREFIX, missing=CaseMissing))
    if not is_readable(call, found.type):
        raise CaseMissing("There is no conflict with this id.", fix="List them: GET /api/v1/conflicts")
    return found


def _filter(
    call: Call, *, type_name: str | None, field: str | None, system: str | None, stake_min: Decimal | None
) -> Filter:
    """Return what is asked for, of the types that the caller may read."""
    if stake_min is not None and not (stake_min.is_finite() and abs(stake_min) < STAKE_MAX):
        raise Invalid("`stake_min` is no amount of money.", fix="Give one such as 1000 or 1000.50.")
    types = readable_types(call) if type_name is None else (readable_type(call, type_name).name,)
    return Filter(field=field, system=system, types=types, stake_min=stake_min)


def _choice(word: _Choice, system: str) -> Choice | Side:
    if (word == "system") != bool(system):
        raise Invalid("The choice `system` names a system, and no other does.", fix="Name the system that is right.")
    if word == "system":
        return Side(system=system)
    return Choice.KEPT if word == "held" else Choice(word)


async def _views(call: Call, tx: Transaction, found: list[Case]) -> list[CaseView]:
    return await case_views(tx, call.services.vault, call.services.schema, found, may=call.may)


async def _view(call: Call, tx: Transaction, case: Case) -> CaseView:
    return (await _views(call, tx, [case]))[0]


def _store(call: Call) -> Store:
    return call.services.of(Store)


def _place(each: CaseView) -> str:
    return f"{each.stake['amount'] if each.stake else -1} {each.id}"


_ONE = "/api/v1/conflicts/{conflict_id}"
_DECISION_ERRORS = (CaseMissing, CaseSettled, NoSuchSide, ValueNeeded, Rejected, NothingToLearn)
_MASKED = "Personal values are masked without the permission to read them."
_SENT = "The decision is written to every system in its next push."
ROUTES = (
    Route(
        method="GET",
        path="/api/v1/conflicts",
        permission="sync:read",
        handler=list_conflicts,
        summary="List conflicts on records that the caller may read, the most money at stake first",
        description=_MASKED,
        tags=_TAGS,
        query=ConflictQuery,
        response=Page[CaseView],
    ),
    Route(
        method="POST",
        path="/api/v1/conflicts:resolve",
        permission="sync:write",
        handler=resolve_conflicts,
        summary="Decide all open conflicts that fit a filter, or tell by a dry run which these are",
        description=f"Only those on records that the caller may write are decided. {_SENT}",
        tags=_TAGS,
        body=DecidingMany,
        response=Decided,
        request_example={"choice": "system", "side": "billing", "type": "sales.deal", "field": "amount"},
        errors=(CaseMissing,),
    ),
    Route(
        method="GET",
        path=_ONE,
        permission="sync:read",
        handler=show_conflict,
        summary="Show both values, who said them and when, the money at stake, and how long it waits",
        description=_MASKED,
        tags=_TAGS,
        response=CaseView,
        errors=(CaseMissing,),
    ),
    Route(
        method="POST",
        path=f"{_ONE}:resolve",
        permission="sync:write",
        handler=resolve_conflict,
        summary="Decide a conflict, and have that learned if the same is to decide itself",
        description=_SENT,
        tags=_TAGS,
        body=Deciding,
        response=CaseView,
        request_example={"choice": "claimed", "note": "as invoiced", "learn": True},
        errors=_DECISION_ERRORS,
    ),
    Route(
        method="POST",
        path=f"{_ONE}:undo",
        permission="sync:write",
        handler=undo_conflict,
        summary="Take a decision back: the former value is held again, and the conflict waits for a person",
        description="No rule decides it again.",
        tags=_TAGS,
        response=CaseView,
        errors=(CaseMissing, CaseSettled),
    ),
    Route(
        method="GET",
        path="/api/v1/conflict-rules",
        permission="sync:read",
        handler=list_rules,
        operation="listConflictRules",
        summary="List the rules that were learned from decisions, oldest first",
        tags=_TAGS,
        query=Paging,
        response=Page[ConflictRuleView],
    ),
    Route(
        method="DELETE",
        path="/api/v1/conflict-rules/{rule_id}",
        permission="sync:write",
        handler=forget_rule,
        operation="forgetConflictRule",
        summary="Forget a rule; what it decided stays decided",
        tags=_TAGS,
        status=204,
        errors=(RuleMissing,),
    ),
)
