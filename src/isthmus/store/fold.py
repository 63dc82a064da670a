"""From claims to the present state of a record: one pure function of the sorted trail.

Because the state is a function of the *set* of claims, it does not matter in which order, how often or in which batches
they arrive. Every field is compared three ways with the value both sides last agreed on: if only one side moved, it
wins; if both moved, the field's rule decides; a critical field is left as it is and waits for a person.

A claim may say by which rule its system meets others on a field; where both sides of a conflict say so, the stricter
rule counts, and where both want to be preferred, a person decides.

A claim's place in the trail is (hlc, system, external id); its `said` holds the fields it speaks of. Different words of
one system on one id at one time are numbered by what they say, whichever came first. For a connected
system the value last agreed on is what that system said before; for an edit made here it is what the editor saw.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias, get_args

from isthmus.kernel.hlc import COUNTER_BITS
from isthmus.kernel.marks import LATEST, Field, Json, RecordType, Rule, RuleName

HERE = "isthmus"
GONE = "~deleted"
MIDNIGHT = "T00:00:00Z"
Place: TypeAlias = tuple[int, str, str]
Span: TypeAlias = tuple[int, int]
Verdict: TypeAlias = Literal["first", "moved", "agreed", "won", "lost", "contested", "settled"]


@dataclass(frozen=True, slots=True)
class Claim:
    """One system's word: the fields it spoke of, what the editor saw (edits made here), the fields it settles.

    `reopens` takes decisions back: it names fields that wait for a person again, and the claim that each waits with.
    `rules` says by field how conflicts with this word are decided, where that is not as declared; `span` is when it can
    have been said, in Unix milliseconds, where that is known.
    """

    hlc: int
    system: str
    external_id: str
    said: dict[str, Json]
    seen: dict[str, Json] | None = None
    settles: frozenset[str] = frozenset()
    deleted: bool = False
    reopens: dict[str, Place] | None = None
    rules: dict[str, Rule] | None = None
    span: Span | None = None

    @property
    def place(self) -> Place:
        """Where the claim stands in the trail."""
        return (self.hlc, self.system, self.external_id)

    @property
    def said_within(self) -> Span | None:
        """When it was said: within a span, or exactly then where it was said here; None where that is not known."""
        if self.system == HERE:
            return (self.hlc >> COUNTER_BITS, self.hlc >> COUNTER_BITS)
        return self.span

    def rule(self, name: str) -> Rule | None:
        """Return the rule by which its system meets others on a field, where that is not as declared."""
        own = self.rules.get(name) if self.rules else None
        return own and replace(own, system=self.system)


@dataclass(frozen=True, slots=True)
class Held:
    """The value a field holds and the claim it came from, with the rule that this named and when it was said."""

    value: Json
    place: Place
    rule: Rule | None = None
    within: Span | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What one claim did to one field, and by which rule."""

    place: Place
    field: str
    value: Json
    verdict: Verdict
    rule: str


@dataclass(slots=True)
class State:
    """The present state: what each field holds, what each system said last, and what waits for a person."""

    fields: dict[str, Held] = field(default_factory=dict[str, Held])
    shadows: dict[tuple[str, str], dict[str, Json]] = field(default_factory=dict[tuple[str, str], dict[str, Json]])
    contested: dict[str, Place] = field(default_factory=dict[str, Place])
    decisions: list[Decision] = field(default_factory=list[Decision])
    deleted: bool = False
    last: Place = (0, "", "")

    def values(self) -> dict[str, Json]:
        """Return what the fields hold."""
        return {name: held.value for name, held in self.fields.items() if name != GONE}


def fold(record_type: RecordType, claims: Iterable[Claim]) -> State:
    """Return the state after all claims; repeated claims count once, and their order does not matter."""
    state = State()
    seen: set[Place] = set()
    for claim in sorted(claims, key=lambda each: each.place):
        if claim.place not in seen:
            seen.add(claim.place)
            step(record_type, state, claim)
    return state


def step(record_type: RecordType, state: State, claim: Claim) -> None:
    """Take one claim, which stands later in the trail than all before it, into the state."""
    shadow = state.shadows.setdefault((claim.system, claim.external_id), {})
    if claim.reopens and GONE in claim.reopens:
        _settle_gone(state, claim, gone=False)
        state.contested[GONE] = claim.reopens[GONE]
    elif claim.deleted or GONE in claim.settles:
        _delete(state, claim, shadow)
    elif state.deleted and claim.said:
        _settle_gone(state, claim, gone=False)
    for name, value in claim.said.items():
        _field(record_type, state, claim, shadow, name, value)
    state.last = claim.place


def open_cases(state: State) -> dict[str, tuple[Place, Place]]:
    """Return contested fields as (the claim that is kept, the claim that differs).

    What stands against a deletion is the newest word on the record that is not the deleting system's.
    """
    found: dict[str, tuple[Place, Place]] = {}
    for name, place in state.contested.items():
        held = state.fields.get(name)
        others = (each.place for each in state.fields.values() if each.place[1:] != place[1:])
        found[name] = (held.place if held else max(others, default=state.last), place)
    return found


def _field(
    record_type: RecordType, state: State, claim: Claim, shadow: dict[str, Json], name: str, value: Json
) -> None:
    before = claim.seen[name] if claim.seen is not None and name in claim.seen else shadow.get(name, _ABSENT)
    shadow[name] = value
    held = state.fields.get(name)
    if claim.reopens and name in claim.reopens:
        _take(state, claim, name, value, verdict="settled", rule="undone")
        state.contested[name] = claim.reopens[name]
    elif name in claim.settles:
        state.contested.pop(name, None)
        _take(state, claim, name, value, verdict="settled", rule="manual")
    elif held is None:
        _take(state, claim, name, value, verdict="first", rule="first")
    elif value == held.value:
        if name in state.contested and not _others_differ(state, name, held.value):
            del state.contested[name]
        state.decisions.append(Decision(claim.place, name, value, "agreed", "equal"))
    elif before is not _ABSENT and before == value:
        return
    elif _is_day_of(value, held.value) and claim.system != HERE and (before is _ABSENT or _is_day_of(before, before)):
        state.decisions.append(Decision(claim.place, name, value, "agreed", "same day"))
    elif _blank(value) and (before is _ABSENT or _spares(claim, name, held)):
        state.decisions.append(Decision(claim.place, name, value, "lost", "blank"))
    elif _never(claim, name, held):
        state.decisions.append(Decision(claim.place, name, value, "lost", "never"))
    else:
        _moved(record_type, state, claim, name, value, only_side=before is not _ABSENT and before == held.value)


def _moved(record_type: RecordType, state: State, claim: Claim, name: str, value: Json, *, only_side: bool) -> None:
    held, waits = state.fields[name], name in state.contested
    declared = record_type.field(name)
    rule = between(declared, held=held, claim=claim, name=name)
    if declared is not None and _tightens(declared.rule, held.value, value):
        rule = declared.rule
    if waits and held.place[1:] == claim.place[1:]:
        _take(state, claim, name, value, verdict="moved", rule="its own value moved")
        if not _others_differ(state, name, value):
            del state.contested[name]
    elif only_side and not waits:
        if rule.name == "advance_only" and not _advances(rule, held.value, value):
            state.decisions.append(Decision(claim.place, name, value, "lost", rule.name))
        else:
            _take(state, claim, name, value, verdict="moved", rule="one side moved")
    elif (why := _asks(declared, rule, state, claim, name)) and not _tightens(rule, held.value, value):
        state.contested[name] = claim.place
        state.decisions.append(Decision(claim.place, name, value, "contested", why))
    else:
        winner = resolve(rule, held=held, claim=claim, value=value)
        if winner == held.value:
            state.decisions.append(Decision(claim.place, name, value, "lost", rule.name))
        else:
            _take(state, claim, name, winner, verdict="won", rule=rule.name)


def _asks(declared: Field | None, rule: Rule, state: State, claim: Claim, name: str) -> str:
    """Return why a person decides a field that both sides moved, or nothing."""
    if declared is not None and declared.critical:
        return "critical"
    if undecided(rule, held=state.fields[name], claim=claim):
        return rule.name
    return "waits" if name in state.contested else ""


def between(declared: Field | None, *, held: Held, claim: Claim, name: str) -> Rule:
    """Return the rule that decides between what is held and a claim: the one that claims name, or the declared one."""
    return stricter(held.rule, claim.rule(name)) or (declared.rule if declared else LATEST)


def stricter(ours: Rule | None, theirs: Rule | None) -> Rule | None:
    """Return the stricter one of the rules of two sides, which name their systems.

    Two systems that both want to be preferred, or both to be passed over, leave it to a person.
    """
    if ours is None or theirs is None:
        return ours or theirs
    if ours.name == theirs.name and ours.system != theirs.system and ours.name in _PARTIAL:
        return _MANUAL
    return min(theirs, ours, key=lambda each: _STRICTEST.index(each.name))


def undecided(rule: Rule, *, held: Held, claim: Claim) -> bool:
    """Tell whether a rule leaves a conflict to a person."""
    if rule.name == "latest_if_separated":
        one, other = held.within, claim.said_within
        return one is None or other is None or (one[0] <= other[1] and other[0] <= one[1])
    return rule.name == "manual"


def resolve(rule: Rule, *, held: Held, claim: Claim, value: Json) -> Json:
    """Return the value that a rule chooses when both sides moved; by `manual` what is held stays."""
    ours_is_preferred = held.place[1] == rule.system and claim.system != rule.system
    match rule.name:
        case "source_of_record":
            chosen = held.value if ours_is_preferred else value
        case "prefer_unless_blank":
            keep = not _blank(held.value) if ours_is_preferred else _blank(value)
            chosen = held.value if keep else value
        case "never":
            keep = claim.system == rule.system and held.place[1] != rule.system and not _blank(held.value)
            chosen = held.value if keep else value
        case "most_restrictive":
            chosen = max(held.value, value, key=lambda each: _rank(rule, each))
        case "advance_only":
            chosen = value if _advances(rule, held.value, value) else held.value
        case "union":
            chosen = _union(held.value, value)
        case "latest" | "latest_if_separated":
            chosen = value if claim.place > held.place else held.value
        case "manual":
            chosen = held.value
    return chosen


def _take(state: State, claim: Claim, name: str, value: Json, *, verdict: Verdict, rule: str) -> None:
    state.fields[name] = Held(value, claim.place, claim.rule(name), claim.said_within)
    state.decisions.append(Decision(claim.place, name, value, verdict, rule))


def _delete(state: State, claim: Claim, shadow: dict[str, Json]) -> None:
    """A system that alone held the record, unchanged since, takes it along; otherwise a person decides."""
    if GONE in claim.settles:
        _settle_gone(state, claim, gone=claim.deleted)
        return
    moved = any(name in shadow and shadow[name] != held.value for name, held in state.fields.items())
    shadow.clear()
    elsewhere = any(said and system != HERE for (system, _), said in state.shadows.items())
    if claim.system == HERE or not (moved or elsewhere):
        _settle_gone(state, claim, gone=True)
    elif not state.deleted:
        state.contested[GONE] = claim.place
        state.decisions.append(Decision(claim.place, GONE, True, "contested", "critical"))  # noqa: FBT003 - a value.


def _settle_gone(state: State, claim: Claim, *, gone: bool) -> None:
    state.deleted = gone
    state.contested.pop(GONE, None)
    state.fields[GONE] = Held(gone, claim.place)
    state.decisions.append(Decision(claim.place, GONE, gone, "settled", "delete" if gone else "restore"))


def _others_differ(state: State, name: str, value: Json) -> bool:
    return any(name in said and said[name] != value for said in state.shadows.values())


def _is_day_of(value: object, held: object) -> bool:
    """Tell whether a moment says no more than the day of another, as systems do that keep dates only."""
    if not isinstance(value, str) or not isinstance(held, str) or not value.endswith(MIDNIGHT):
        return False
    return held.startswith(value.removesuffix(MIDNIGHT) + "T")


def _blank(value: object) -> bool:
    return value is None or value in ("", [], {})


def _spares(claim: Claim, name: str, held: Held) -> bool:
    """Tell whether a blank overwrites nothing, because its system is preferred unless it says nothing."""
    rule = claim.rule(name)
    return rule is not None and rule.name == "prefer_unless_blank" and not _blank(held.value)


def _never(claim: Claim, name: str, held: Held) -> bool:
    """Tell whether a word counts for nothing, because its system never wins and another gave what is held."""
    rule = claim.rule(name)
    return rule is not None and rule.name == "never" and held.place[1] != claim.system and not _blank(held.value)


def _rank(rule: Rule, value: Json) -> int:
    return rule.order.index(value) if isinstance(value, str) and value in rule.order else -1


def _advances(rule: Rule, held: Json, value: Json) -> bool:
    known = isinstance(value, str) and value in rule.order
    return known and (not isinstance(held, str) or held not in rule.order or _rank(rule, value) >= _rank(rule, held))


def _tightens(rule: Rule, held: Json, value: Json) -> bool:
    """Tell whether a value restricts more than what is held: that is taken at once, only loosening is asked about."""
    return rule.name == "most_restrictive" and _rank(rule, value) > _rank(rule, held)


def _union(held: Json, value: Json) -> Json:
    both = [*(held if isinstance(held, list) else []), *(value if isinstance(value, list) else [])]
    kept: Sequence[Json] = sorted({str(each): each for each in both}.values(), key=str)
    return list(kept)


class _Absent:
    """Marks a field that a system has never spoken of, which is neither null nor blank."""


_ABSENT = _Absent()
_STRICTEST: tuple[str, ...] = get_args(RuleName)
_PARTIAL = frozenset({"source_of_record", "prefer_unless_blank", "never"})
_MANUAL = Rule("manual")
