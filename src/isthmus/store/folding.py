"""Folding new words into records that are known, and staging what comes out.

Reading and sealing are done for all records of a batch at once; the folding between is pure computation and runs in a
thread. A record of which one system alone ever spoke plainly needs no rules: what it said last holds.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias
from uuid import UUID

import msgspec

from isthmus.kernel.errors import Fault
from isthmus.kernel.hlc import COUNTER_BITS
from isthmus.kernel.marks import Json, RecordType
from isthmus.store.cases import CaseChange
from isthmus.store.fold import HERE, Claim, State, fold, open_cases, step
from isthmus.store.observation import Observation
from isthmus.store.prepare import Preparer, Reject, Row
from isthmus.store.staging import Staged
from isthmus.store.trail import SEEN, split_personal
from isthmus.vault import Vault

_Map: TypeAlias = dict[str, Json]
_Sealed: TypeAlias = Literal["said_sealed", "payload", "record_sealed"]


@dataclass(frozen=True, slots=True)
class Move:
    """A claim of a record that gets another number, because a word of the same time stands before it now."""

    record: UUID
    system: str
    external_id: str
    old: int
    new: int


@dataclass(slots=True)
class Folded:
    """What a batch makes of known records. `sealing` names what has to be sealed before the rows are staged."""

    staged: list[Staged] = field(default_factory=list[Staged])
    cases: list[CaseChange] = field(default_factory=list[CaseChange])
    rejects: list[Reject] = field(default_factory=list[Reject])
    unchanged: int = 0
    moves: list[Move] = field(default_factory=list[Move])
    sealing: list[tuple[Staged, _Sealed, UUID, bytes]] = field(
        default_factory=list[tuple[Staged, _Sealed, UUID, bytes]]
    )

    def seal(self, staged: Staged, part: _Sealed, record: UUID, plain: bytes | None) -> None:
        """Note that a part is sealed for a record, if there is anything in it."""
        if plain:
            self.sealing.append((staged, part, record, plain))


@dataclass(frozen=True, slots=True)
class _Outcome:
    """The values of a record before and after, whether it is gone, and its change in the inbox if there is any."""

    before: _Map
    after: _Map
    was_gone: bool = False
    gone: bool = False
    case: CaseChange | None = None


def fold_groups(
    vault: Vault, workspace: int, preparer: Preparer, groups: dict[UUID, list[Row]], trails: dict[UUID, list[Claim]]
) -> Folded:
    """Fold the rows of each record into its trail and seal what came out. It blocks: run it in a thread."""
    folded = Folded()
    alive = vault.holding(workspace=workspace, subjects=groups)
    for record, rows in groups.items():
        if record not in alive and any(row.personal_json for row in rows):
            folded.rejects += [Reject(row.observation, (_ERASED,)) for row in rows]
        else:
            _fold_rows(preparer, record, rows, trails[record], folded)
    seal_parts(vault, workspace, folded)
    return folded


def seal_parts(vault: Vault, workspace: int, folded: Folded) -> None:
    """Seal all parts at once."""
    values = [(record, plain) for _, _, record, plain in folded.sealing]
    sealed = vault.seal_many(workspace=workspace, values=values)
    for (staged, part, _, _), envelope in zip(folded.sealing, sealed, strict=True):
        setattr(staged, part, envelope)
    folded.sealing.clear()


def record_parts(preparer: Preparer, values: _Map) -> tuple[bytes, bytes | None, tuple[bytes | None, ...]]:
    """Return what a record row holds of values: the open ones as JSON, the personal ones to be sealed, the indexes."""
    open_values, personal = split_personal(preparer.personal, values)
    indexes = tuple(
        preparer.index(each.name, value) if isinstance(value := values.get(each.name), str) else None
        for each in preparer.type.handles
    )
    return msgspec.json.encode(open_values), msgspec.json.encode(personal) if personal else None, indexes


def _overtaken(preparer: Preparer, record: UUID, rows: Sequence[Row], trail: list[Claim], folded: Folded) -> bool:
    """Stage a later word of the one system that ever spoke of a record, where it says all of it anew.

    The record is then what was said, as it was encoded, indexed and sealed for the claim. Tells whether it was so.
    """
    row = rows[0]
    own = row.observation
    plain = not (own.deleted or own.seen is not None or row.settles or row.reopens or own.rules or _ours(own))
    if len(rows) > 1 or not plain or not trail or not all(_precedes(claim, row) for claim in trail):
        return False
    before = _last_said(preparer.type, trail if len(trail) == 1 else sorted(trail, key=lambda each: each.hlc))
    said = msgspec.json.decode(row.open_json, type=_Map)
    if row.personal_json:
        said |= msgspec.json.decode(row.personal_json, type=_Map)
    if before is None or not before.keys() <= said.keys():
        return False
    changed = _differing(before, said)
    if any(name in before and preparer.advancing(name) for name in changed):
        return False
    staged = Staged(
        record_id=record,
        system=own.system,
        external_id=own.external_id,
        hlc=row.hlc,
        digest=row.digest,
        said=row.open_json,
        said_sealed=None,
        version=own.version,
        writes_record=bool(changed),
        fresh=row.fresh,
        new_ref=not row.known,
        changed=",".join(changed) if changed else None,
        indexes=row.indexes,
    )
    folded.staged.append(staged)
    folded.seal(staged, "said_sealed", record, row.personal_json)
    folded.seal(staged, "payload", record, own.payload)
    return True


def _precedes(claim: Claim, row: Row) -> bool:
    """Tell whether a claim is an earlier plain word of the same system under the same id."""
    own = row.observation
    alike = claim.system == own.system and claim.external_id == own.external_id and claim.hlc < row.hlc
    return alike and claim.seen is None and not (claim.settles or claim.reopens or claim.deleted or claim.rules)


def _fold_rows(preparer: Preparer, record: UUID, rows: Sequence[Row], trail: list[Claim], folded: Folded) -> None:
    if _overtaken(preparer, record, rows, trail, folded):
        return
    new, moved_trail = _numbered(rows, trail)
    folded.unchanged += len(rows) - len(new)
    if not new:
        return
    new.sort(key=lambda each: each[1].place)
    claims = [claim for _, claim in new]
    folded.moves += [
        Move(record, old.system, old.external_id, old.hlc, now.hlc)
        for old, now in zip(trail, moved_trail, strict=True)
        if old.hlc != now.hlc
    ]
    outcome = _alone(preparer.type, trail, moved_trail, claims)
    outcome = outcome or _by_rules(preparer.type, record, trail, moved_trail, claims)
    if outcome.case is not None:
        folded.cases.append(outcome.case)
    changed = _differing(outcome.before, outcome.after)
    moved = bool(changed) or outcome.was_gone != outcome.gone or not trail
    _stage(preparer, record, new, outcome, ",".join(changed) if moved else None, folded)


def _numbered(rows: Sequence[Row], trail: list[Claim]) -> tuple[list[tuple[Row, Claim]], list[Claim]]:
    """Return the rows that say something new, and the trail as it is numbered with them.

    Where one system says different things of one id at one time, the words are numbered by what they say: which of them
    came first here is chance. Words of our own are numbered when they are made, and are left as they are.
    """
    new: list[tuple[Row, Claim]] = []
    numbered = list(trail)
    taken = {claim.place for claim in trail}
    for row in rows:
        claim = _claim(row)
        if claim.place not in taken:
            new.append((row, claim))
            taken.add(claim.place)
        elif not _ours(claim) and not any(_alike(claim, each) for each in (*numbered, *(own for _, own in new))):
            new.append((row, claim))
            _number(claim, numbered, new)
            taken.update(own.place for _, own in new)
    return new, numbered


def _number(claim: Claim, trail: list[Claim], new: list[tuple[Row, Claim]]) -> None:
    """Number the words of the claim's system, id and time in the order of what they say."""
    group = sorted((each for each in (*trail, *(own for _, own in new)) if _beside(claim, each)), key=_content)
    first = claim.hlc >> COUNTER_BITS << COUNTER_BITS
    numbers = {id(each): first + n for n, each in enumerate(group)}
    trail[:] = [replace(each, hlc=numbers.get(id(each), each.hlc)) for each in trail]
    new[:] = [(row, replace(own, hlc=numbers.get(id(own), own.hlc))) for row, own in new]


def _ours(claim: Claim | Observation) -> bool:
    return claim.system.partition(".")[0] == HERE


def _beside(one: Claim, other: Claim) -> bool:
    same = one.system == other.system and one.external_id == other.external_id
    return same and one.hlc >> COUNTER_BITS == other.hlc >> COUNTER_BITS


def _alike(one: Claim, other: Claim) -> bool:
    return _beside(one, other) and _content(one) == _content(other)


def _content(claim: Claim) -> bytes:
    """Return what a claim says in a form that is the same wherever and whenever it is read."""
    told = {"said": claim.said, "seen": claim.seen, "settles": sorted(claim.settles), "deleted": claim.deleted}
    return msgspec.json.encode(told, order="sorted")


def _alone(
    record_type: RecordType, trail: Sequence[Claim], numbered: Sequence[Claim], new: Sequence[Claim]
) -> _Outcome | None:
    """Return the outcome where one system alone spoke under one id, plainly; None where rules may decide.

    Without anybody else it always is the only side that moved, and wins, except where a value may only advance.
    """
    first = new[0]
    for claim in (*trail, *new):
        plain = claim.seen is None and not (claim.settles or claim.deleted or claim.rules) and claim.system != HERE
        if not plain or claim.system != first.system or claim.external_id != first.external_id:
            return None
    before = _last_said(record_type, sorted(trail, key=lambda each: each.hlc))
    after = _last_said(record_type, sorted((*numbered, *new), key=lambda each: each.hlc))
    return _Outcome(before, after) if before is not None and after is not None else None


def _last_said(record_type: RecordType, claims: Iterable[Claim]) -> _Map | None:
    """Return what was said last of each field, or None where a value that may only advance has changed."""
    values: _Map = {}
    advancing = [each.name for each in record_type.fields if each.rule.name == "advance_only"]
    for claim in claims:
        for name in advancing:
            if name in values and name in claim.said and claim.said[name] != values[name]:
                return None
        values.update(claim.said)
    return values


def _by_rules(
    record_type: RecordType, record: UUID, trail: list[Claim], numbered: list[Claim], new: list[Claim]
) -> _Outcome:
    state = fold(record_type, trail)
    before, contested, was_gone = state.values(), set(state.contested), state.deleted
    after = fold(record_type, [*numbered, *new]) if numbered != trail else _advance(record_type, state, trail, new)
    case = CaseChange(record, before=contested, after=open_cases(after), state=after)
    return _Outcome(before, after.values(), was_gone, after.deleted, case if case.before or case.after else None)


def _advance(record_type: RecordType, state: State, trail: list[Claim], new: list[Claim]) -> State:
    """Step on when the new claims are later than all others; otherwise fold the whole trail again."""
    if new[0].place < state.last:
        return fold(record_type, [*trail, *new])
    for claim in new:
        step(record_type, state, claim)
    return state


def _stage(
    preparer: Preparer,
    record: UUID,
    new: Sequence[tuple[Row, Claim]],
    outcome: _Outcome,
    changed: str | None,
    folded: Folded,
) -> None:
    open_json, personal, indexes = record_parts(preparer, outcome.after)
    fresh = any(row.fresh for row, _ in new)
    for position, (row, claim) in enumerate(new):
        last = position == len(new) - 1
        writes = last and changed is not None
        staged = Staged(
            record_id=record,
            system=claim.system,
            external_id=claim.external_id,
            hlc=claim.hlc,
            digest=row.digest,
            said=row.open_json,
            said_sealed=None,
            version=row.observation.version,
            basis=_basis(preparer, row),
            claim_deleted=claim.deleted,
            writes_record=writes,
            fresh=fresh,
            new_ref=not row.known,
            record=open_json if writes else None,
            gone=outcome.gone,
            changed=changed if last else None,
            indexes=indexes,
        )
        folded.staged.append(staged)
        folded.seal(staged, "said_sealed", record, _sealed_part(preparer, row))
        folded.seal(staged, "payload", record, row.observation.payload)
        if writes:
            folded.seal(staged, "record_sealed", record, personal)


def _sealed_part(preparer: Preparer, row: Row) -> bytes | None:
    """Return the personal part of a claim, with the personal values that the editor saw."""
    if not row.observation.seen:
        return row.personal_json or None
    _, seen = split_personal(preparer.personal, row.observation.seen)
    if not seen:
        return row.personal_json or None
    personal = msgspec.json.decode(row.personal_json or b"{}", type=_Map)
    return msgspec.json.encode({**personal, SEEN: seen})


def _basis(preparer: Preparer, row: Row) -> bytes | None:
    seen = row.observation.seen
    rules = row.observation.rules
    if seen is None and not (row.settles or row.reopens or rules):
        return None
    basis: _Map = {"settles": list(row.settles)}
    if rules:
        basis |= {"rules": msgspec.to_builtins(rules), "span": list(row.span or ())}
    if row.reopens:
        basis["reopens"] = {name: [*place] for name, place in row.reopens.items()}
    if seen is not None:
        basis["seen"], _ = split_personal(preparer.personal, seen)
    return msgspec.json.encode(basis)


def _claim(row: Row) -> Claim:
    said = msgspec.json.decode(row.open_json, type=_Map)
    if row.personal_json:
        said |= msgspec.json.decode(row.personal_json, type=_Map)
    seen, settles = row.observation.seen, frozenset(row.settles)
    own = row.observation
    rules = own.rules or None
    return Claim(row.hlc, own.system, own.external_id, said, seen, settles, own.deleted, row.reopens, rules, row.span)


def _differing(old: _Map, new: _Map) -> list[str]:
    return [name for name, value in new.items() if name not in old or old[name] != value]


_ERASED = Fault(
    pointer="/", code="erased", detail="This subject was erased here and is not taken in again; erase it at the source."
)
