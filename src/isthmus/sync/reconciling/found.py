"""What reconciling a connection found: kept as rows, decided by people, and how exact the agreement is."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Literal, LiteralString
from uuid import UUID

import msgspec
from msgspec import Struct

from isthmus.audit.trace import trace
from isthmus.kernel.clock import milliseconds
from isthmus.kernel.errors import Conflicting, NotFound
from isthmus.kernel.ids import ENTROPY_BYTES, mint
from isthmus.kernel.marks import Json
from isthmus.store.database import Transaction
from isthmus.sync.ingest import Store
from isthmus.sync.reconciling.comparing import DifferenceKind
from isthmus.sync.reconciling.systems import Finding, Reconciled
from isthmus.vault import entropy

DifferenceStatus = Literal["open", "accepted", "ignored", "repaired", "gone"]
Decision = Literal["accepted", "ignored"]
Verdict = Literal["accept", "ignore", "reopen"]
PAGE_ROWS_MAX = 500
RESOURCE = "reconciliation"
DIFFERENCE_PREFIX, RESULT_PREFIX = "diff", "rec"
AGREEING_PROMISED = 0.9995
"""The share of compared fields that agree where all is well."""
_STANDING: LiteralString = """
select id, type, external_id, field, kind, record_id, sealed, status from reconciliation_difference
where workspace = current_workspace() and connection_id = %s and type = any(%s)
"""
_WRITE: LiteralString = """
insert into reconciliation_difference as d (workspace, id, connection_id, type, external_id, field, kind, record_id,
    sealed, stake, currency, weight, status, found_at, seen_at)
values (current_workspace(), %(id)s, %(connection)s, %(type)s, %(external_id)s, %(field)s, %(kind)s, %(record)s,
    %(sealed)s, %(stake)s, %(currency)s, %(weight)s, 'open', %(now)s, %(now)s)
on conflict (workspace, connection_id, type, external_id, field) do update
set kind = excluded.kind, record_id = excluded.record_id, sealed = excluded.sealed, stake = excluded.stake,
    currency = excluded.currency, weight = excluded.weight, seen_at = excluded.seen_at,
    found_at = case when %(stays)s then d.found_at else excluded.found_at end,
    status = case when %(stays)s then d.status else 'open' end,
    reason = case when %(stays)s then d.reason else '' end
"""
_AWAY: LiteralString = """
update reconciliation_difference set status = %s where workspace = current_workspace() and id = any(%s)
"""
_RESULT: LiteralString = """
insert into reconciliation (workspace, id, connection_id, type, at, rows_there, rows_here, compared, differing,
    unvisited, probed)
values (current_workspace(), %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""
_LIST: LiteralString = """
select d.id, c.name, d.type, d.external_id, d.field, d.kind, d.record_id, d.sealed, d.stake, d.currency, d.status,
       d.reason, d.found_at, d.seen_at, d.decided_by, d.decided_at
from reconciliation_difference d join connection c on c.workspace = d.workspace and c.id = d.connection_id
where d.workspace = current_workspace() and (%(connection)s::uuid is null or d.connection_id = %(connection)s)
  and (%(types)s::text[] is null or d.type = any(%(types)s)) and (%(kind)s::text is null or d.kind = %(kind)s)
  and (%(field)s::text is null or d.field = %(field)s) and (%(ids)s::uuid[] is null or d.id = any(%(ids)s))
  and (%(status)s::text is null or d.status = %(status)s) and (%(after)s::uuid is null or d.id > %(after)s)
order by d.id limit %(limit)s
"""
_DECIDE: LiteralString = """
update reconciliation_difference set status = %s, reason = %s, decided_by = %s, decided_at = %s
where workspace = current_workspace() and id = any(%s) and status in ('open', 'accepted', 'ignored') returning id
"""
_REOPEN: LiteralString = """
update reconciliation_difference set status = 'open', reason = '', decided_by = null, decided_at = null
where workspace = current_workspace() and id = any(%s) and status in ('accepted', 'ignored') returning id
"""
_NEWEST: LiteralString = """
select distinct on (r.connection_id, r.type) r.compared, r.differing
from reconciliation r join connection c on c.workspace = r.workspace and c.id = r.connection_id
where r.workspace = current_workspace() and c.removed_at is null
  and (%(connection)s::uuid is null or r.connection_id = %(connection)s)
order by r.connection_id, r.type, r.probed is not null, r.id desc
"""
_ACCEPTED: LiteralString = """
select coalesce(sum(d.weight), 0) from reconciliation_difference d
join connection c on c.workspace = d.workspace and c.id = d.connection_id
where d.workspace = current_workspace() and d.status = 'accepted' and c.removed_at is null
  and (%(connection)s::uuid is null or d.connection_id = %(connection)s)
"""
_RESULTS: LiteralString = """
select r.id, c.name, r.type, r.at, r.rows_there, r.rows_here, r.compared, r.differing, r.unvisited, r.probed, (
    select count(*) from reconciliation_difference d
    where d.workspace = r.workspace and d.connection_id = r.connection_id and d.type = r.type and d.status = 'open'
)
from reconciliation r join connection c on c.workspace = r.workspace and c.id = r.connection_id
where r.workspace = current_workspace() and (%(connection)s::uuid is null or r.connection_id = %(connection)s)
  and (%(types)s::text[] is null or r.type = any(%(types)s)) and (%(id)s::uuid is null or r.id = %(id)s)
  and (%(before)s::uuid is null or r.id < %(before)s)
order by r.id desc limit %(limit)s
"""
_STANDING_NOW: LiteralString = """
select distinct on (r.connection_id, r.type, r.probed is null) r.id, c.name, r.type, r.at, r.rows_there, r.rows_here,
       r.compared, r.differing, r.unvisited, r.probed, (
    select count(*) from reconciliation_difference d
    where d.workspace = r.workspace and d.connection_id = r.connection_id and d.type = r.type and d.status = 'open'
)
from reconciliation r join connection c on c.workspace = r.workspace and c.id = r.connection_id
where r.workspace = current_workspace() and c.removed_at is null and r.type = any(%(types)s)
  and (%(connection)s::uuid is null or r.connection_id = %(connection)s)
order by r.connection_id, r.type, r.probed is null, r.id desc
"""
_TALLY: LiteralString = """
select type, kind, field, status, currency, count(*), sum(abs(stake)) from reconciliation_difference
where workspace = current_workspace() and connection_id = %s and type = any(%s)
group by type, kind, field, status, currency order by type, field, kind, status, currency
"""
_REPAIRS = {
    DifferenceKind.MISSING: "Read the system again, so that the record is held here.",
    DifferenceKind.EXTRA: "Compare the ids again, so that the record is deleted here.",
    DifferenceKind.FIELD: "Read the system again, so that its value counts here.",
    DifferenceKind.LATE: "Nothing: the next run brings it.",
    DifferenceKind.DUPLICATE: "Merge the two in the system.",
    DifferenceKind.AGGREGATE: "Mend the records of that month.",
}


class DifferenceMissing(NotFound):
    """There is no such difference to decide."""

    code, title = "difference-missing", "There is no such difference"


class ReasonMissing(Conflicting):
    """A decision needs a reason."""

    status, code, title = 422, "reason-missing", "A reason is missing"


class Difference(Struct, frozen=True, kw_only=True):
    """A difference that was found: the values of both sides, the money at stake, since when, and what would mend it.

    `there` is the system's value, `here` what is held of it; both are None of a whole record, or one that was erased.
    """

    id: UUID
    connection: str
    type: str
    external_id: str
    field: str
    kind: DifferenceKind
    record_id: UUID | None
    there: Json
    here: Json
    stake: Decimal | None
    currency: str | None
    status: DifferenceStatus
    reason: str
    found_at: datetime
    seen_at: datetime
    decided_by: str | None
    decided_at: datetime | None
    repair: str


class Which(Struct, frozen=True, kw_only=True):
    """Which differences; what is None does not matter."""

    connection_id: UUID | None = None
    types: Sequence[str] | None = None
    kind: DifferenceKind | None = None
    field: str | None = None
    status: DifferenceStatus | None = "open"
    ids: Sequence[UUID] | None = None


class Result(Struct, frozen=True, kw_only=True):
    """How far a system and what is held of it agreed on one record type, when that was looked at.

    `there` and `here` count records, `compared` and `differing` fields; `open` are the differences open now. `probed`
    counts the records that were drawn by lot where not all were read, else it is None.
    """

    id: UUID
    connection: str
    type: str
    at: datetime
    there: int
    here: int
    compared: int
    differing: int
    unvisited: int
    probed: int | None
    open: int

    @property
    def accuracy(self) -> float | None:
        """The share of compared fields that agreed; None where nothing was compared."""
        return 1 - self.differing / self.compared if self.compared else None


class Tally(Struct, frozen=True, kw_only=True):
    """How many differences are alike, and the money at stake in them, if they are of money of one currency."""

    type: str
    kind: DifferenceKind
    field: str
    status: DifferenceStatus
    currency: str | None
    count: int
    stake: Decimal | None


class Exactness(Struct, frozen=True, kw_only=True):
    """How many fields were compared, and how many of them differ; what was accepted does not."""

    compared: int
    differing: int

    @property
    def share(self) -> float | None:
        """The share that agrees; None where nothing was compared."""
        return 1 - self.differing / self.compared if self.compared else None


class _Values(Struct, frozen=True):
    there: Json
    here: Json


async def keep(
    tx: Transaction, store: Store, connection_id: UUID, results: Sequence[Reconciled], *, repaired: bool = False
) -> None:
    """Store what was found; what is not there any more is gone, or repaired when that was the purpose.

    What a person accepted or ignored stays so while both values stay the same.
    """
    names = [each.type for each in results]
    rows = await (await tx.connection.execute(_STANDING, (connection_id, names))).fetchall()
    standing = {(kind, key, field): rest for _, kind, key, field, *rest in rows}
    ids = {(kind, key, field): own for own, kind, key, field, *_ in rows}
    findings = [each for result in results for each in result.findings]
    sealed = _sealed(tx, store, findings)
    known = _opened(tx, store, [(record, seal) for _, _, _, _, _, record, seal, _ in rows])
    values = dict(zip(ids, known, strict=True))
    for each, seal in zip(findings, sealed, strict=True):
        place = (each.type, each.external_id, each.field)
        before = standing.get(place)
        same = values.get(place) == _Values(each.there, each.here) and before is not None and before[0] == each.kind
        stays = same and before is not None and before[3] in {"open", "accepted", "ignored"}
        await tx.connection.execute(_WRITE, _given(tx, connection_id, each, seal, stays=stays))
    found = {(each.type, each.external_id, each.field) for each in findings}
    whole = {each.type: each.probed for each in results if not each.unvisited}
    gone = [own for place, own in ids.items() if place not in found and _looked_at(whole, place)]
    away = [own for own, *_, status in rows if own in gone and status in {"open", "accepted", "ignored"}]
    await tx.connection.execute(_AWAY, ("repaired" if repaired else "gone", away))
    for each in results:
        probed = None if each.probed is None else len(each.probed)
        given = (each.there, each.here, each.compared, each.differing, each.unvisited, probed)
        await tx.connection.execute(_RESULT, (_new_id(tx), connection_id, each.type, tx.scope.now, *given))


def _looked_at(whole: Mapping[str, frozenset[str] | None], place: tuple[str, str, str]) -> bool:
    """Tell whether a difference would have been found again; a probe finds those of the records that it drew."""
    name, external_id, _ = place
    return name in whole and ((drawn := whole[name]) is None or external_id in drawn)


def _given(
    tx: Transaction, connection_id: UUID, each: Finding, sealed: bytes | None, *, stays: bool
) -> dict[str, object]:
    return {
        "id": _new_id(tx),
        "connection": connection_id,
        "type": each.type,
        "external_id": each.external_id,
        "field": each.field,
        "kind": each.kind.value,
        "record": each.record_id,
        "sealed": sealed,
        "stake": each.at_stake[0] if each.at_stake else None,
        "currency": each.at_stake[1] if each.at_stake else None,
        "weight": each.weight,
        "now": tx.scope.now,
        "stays": stays,
    }


def _sealed(tx: Transaction, store: Store, findings: Sequence[Finding]) -> list[bytes | None]:
    """Seal both values under the key of the record; of an erased one they are not kept."""
    records = [each.record_id for each in findings if each.field and each.record_id]
    open_ones = [each.record_id for each in findings if each.record_id and not store.schema[each.type].personal_fields]
    store.vault.ensure(workspace=tx.scope.workspace, subjects=list(dict.fromkeys(open_ones)))
    holding = store.vault.holding(workspace=tx.scope.workspace, subjects=records)
    kept = [
        (each.record_id, msgspec.json.encode(_Values(each.there, each.here)))
        if each.field and each.record_id in holding
        else None
        for each in findings
    ]
    values = [(record, value) for pair in kept if pair for record, value in (pair,) if record]
    sealed = iter(store.vault.seal_many(workspace=tx.scope.workspace, values=values))
    return [next(sealed) if pair else None for pair in kept]


def _opened(tx: Transaction, store: Store, sealed: Sequence[tuple[UUID | None, bytes | None]]) -> list[_Values]:
    values = [(record, bytes(seal)) for record, seal in sealed if record and seal is not None]
    opened = iter(store.vault.open_many(workspace=tx.scope.workspace, values=values))
    found: list[_Values] = []
    for record, seal in sealed:
        text = next(opened) if record and seal is not None else None
        found.append(msgspec.json.decode(text, type=_Values) if text else _Values(None, None))
    return found


async def differences(
    tx: Transaction, store: Store, *, which: Which | None = None, after: UUID | None = None, limit: int = 100
) -> list[Difference]:
    """Return differences in the order in which they were found, open ones unless said otherwise, at most 500."""
    wanted = which or Which()
    given = {name: getattr(wanted, name) for name in ("field", "status")} | {
        "connection": wanted.connection_id,
        "types": None if wanted.types is None else list(wanted.types),
        "kind": None if wanted.kind is None else wanted.kind.value,
        "ids": None if wanted.ids is None else list(wanted.ids),
    }
    given |= {"after": after, "limit": min(limit, PAGE_ROWS_MAX)}
    rows = await (await tx.connection.execute(_LIST, given)).fetchall()
    opened = _opened(tx, store, [(row[6], row[7]) for row in rows])
    names = ("id", "connection", "type", "external_id", "field", "kind", "record_id")
    more = ("stake", "currency", "status", "reason", "found_at", "seen_at", "decided_by", "decided_at")
    found: list[Difference] = []
    for row, values in zip(rows, opened, strict=True):
        told = dict(zip(names, row[:7], strict=True)) | dict(zip(more, row[8:], strict=True))
        told |= {"there": values.there, "here": values.here, "repair": _REPAIRS[DifferenceKind(row[5])]}
        found.append(msgspec.convert(told, Difference))
    return found


async def difference_of(tx: Transaction, store: Store, difference: UUID) -> Difference:
    """Return a difference, whatever has become of it; raises DifferenceMissing."""
    found = await differences(tx, store, which=Which(status=None, ids=[difference]), limit=1)
    if not found:
        raise _missing()
    return found[0]


async def decide(tx: Transaction, chosen: Sequence[UUID], decision: Decision, *, reason: str) -> list[UUID]:
    """Accept differences as right, or ignore them, and return which; decision and reason are in the audit log.

    An accepted one counts as agreeing, an ignored one does not. Raises DifferenceMissing, when one is asked for that
    is not there any more, and ReasonMissing.
    """
    if not reason.strip():
        raise ReasonMissing("A decision needs a reason.", fix="Say in a sentence why the difference may stay.")
    scope = tx.scope
    cursor = await tx.connection.execute(_DECIDE, (decision, reason, scope.actor, scope.now, list(chosen)))
    return await _told(tx, chosen, [own for (own,) in await cursor.fetchall()], decision, reason=reason)


async def decide_many(
    tx: Transaction, store: Store, which: Which, verdict: Verdict, *, reason: str = ""
) -> list[Difference]:
    """Decide the differences that fit, 500 at most, and return them as they were; audited each and as one act.

    Raises ReasonMissing as `decide` does, and DifferenceMissing when the only one that fits is decided meanwhile.
    """
    if verdict != "reopen" and not reason.strip():
        raise ReasonMissing("A decision needs a reason.", fix="Say in a sentence why the differences may stay.")
    found = await differences(tx, store, which=which, limit=PAGE_ROWS_MAX)
    ids = [each.id for each in found]
    if verdict == "reopen":
        await reopen(tx, ids)
    else:
        await decide(tx, ids, "accepted" if verdict == "accept" else "ignored", reason=reason)
    details = {"decision": verdict, "count": len(ids), "reason": reason}
    await trace(tx, action="decide-many", resource=RESOURCE, record_id=None, details=details)
    return found


async def note_repair(tx: Transaction, connection: str, chosen: int | None, *, reason: str) -> None:
    """Write down that somebody wants some differences of a connection repaired, or everything (None), and why."""
    details = {"connection": connection, "reason": reason, "differences": chosen}
    await trace(tx, action="want-repair", resource=RESOURCE, record_id=None, details=details)


async def reopen(tx: Transaction, chosen: Sequence[UUID]) -> list[UUID]:
    """Take decisions back, so that the differences are open again; raises DifferenceMissing as `decide` does."""
    cursor = await tx.connection.execute(_REOPEN, (list(chosen),))
    return await _told(tx, chosen, [own for (own,) in await cursor.fetchall()], "reopened")


async def _told(tx: Transaction, asked: Sequence[UUID], done: list[UUID], verb: str, *, reason: str = "") -> list[UUID]:
    if len(asked) == 1 and not done:
        raise _missing()
    for own in done:
        details = {"difference": str(own), "decision": verb} | ({"reason": reason} if reason else {})
        await trace(tx, action=verb, resource=RESOURCE, record_id=None, details=details)
    return done


def _missing() -> DifferenceMissing:
    return DifferenceMissing("There is no such difference to decide.", fix="List them: isthmus reconcile ls")


async def results(
    tx: Transaction,
    *,
    connection_id: UUID | None = None,
    types: Sequence[str] | None = None,
    result_id: UUID | None = None,
    before: UUID | None = None,
    limit: int = 100,
) -> list[Result]:
    """Return what comparisons found, newest first, of one connection or all and of some types."""
    given = {"connection": connection_id, "types": None if types is None else list(types), "id": result_id}
    given |= {"before": before, "limit": limit}
    rows = await (await tx.connection.execute(_RESULTS, given)).fetchall()
    names = Result.__struct_fields__
    return [msgspec.convert(dict(zip(names, row, strict=True)), Result) for row in rows]


async def standings(tx: Transaction, *, types: Sequence[str], connection_id: UUID | None = None) -> list[Result]:
    """Return what the newest comparison of each connection and type found, and the newest probe, in order of types."""
    given = {"types": list(types), "connection": connection_id}
    rows = await (await tx.connection.execute(_STANDING_NOW, given)).fetchall()
    return [msgspec.convert(dict(zip(Result.__struct_fields__, row, strict=True)), Result) for row in rows]


async def tallies(tx: Transaction, connection_id: UUID, *, types: Sequence[str]) -> list[Tally]:
    """Return how many differences of a connection there are by type, field, kind, state and currency."""
    rows = await (await tx.connection.execute(_TALLY, (connection_id, list(types)))).fetchall()
    return [msgspec.convert(dict(zip(Tally.__struct_fields__, row, strict=True)), Tally) for row in rows]


async def exactness(tx: Transaction, *, connection_id: UUID | None = None) -> Exactness:
    """Return how many fields were compared and differed when each connection was reconciled last.

    What was probed counts only where all records were never read.
    """
    given = {"connection": connection_id}
    rows = await (await tx.connection.execute(_NEWEST, given)).fetchall()
    compared, differing = sum(row[0] for row in rows), sum(row[1] for row in rows)
    row = await (await tx.connection.execute(_ACCEPTED, given)).fetchone()
    return Exactness(compared=compared, differing=max(0, differing - int(row[0] if row else 0)))


async def accuracy(tx: Transaction, *, connection_id: UUID | None = None) -> float | None:
    """Return the share of fields that agreed when each connection was reconciled last; None before that."""
    return (await exactness(tx, connection_id=connection_id)).share


def _new_id(tx: Transaction) -> UUID:
    return mint(unix_ms=milliseconds(tx.scope.now), entropy=entropy(ENTROPY_BYTES))
