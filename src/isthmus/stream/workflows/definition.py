"""What a workflow says: its steps, the conditions that they wait for, and what is wrong with it. Pure."""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

from isthmus.kernel.errors import Fault, Invalid
from isthmus.kernel.ids import InvalidId, uuid_of
from isthmus.kernel.marks import LINE_MAX, TEXT_MAX, Json
from isthmus.stream.workflows.sight import Sight

STEPS_MAX, CLAUSES_MAX = 50, 20
Line = Annotated[str, Meta(min_length=1, max_length=LINE_MAX)]
Text = Annotated[str, Meta(min_length=1, max_length=TEXT_MAX)]
Label = Annotated[str, Meta(pattern=r"^[a-z0-9-]{0,60}$")]
Hours = Annotated[float, Meta(ge=0, le=24 * 365)]
Comparison: TypeAlias = Literal[
    "is", "is_not", "one_of", "none_of", "at_least", "at_most", "present", "absent", "older_than_hours", "within_hours"
]
_ALONE = frozenset({"present", "absent"})
_LISTS = frozenset({"one_of", "none_of"})
_NUMBERS = frozenset({"at_least", "at_most", "older_than_hours", "within_hours"})
_MOMENTS = frozenset({"older_than_hours", "within_hours"})


class BadWorkflow(Invalid):
    """The definition cannot be followed."""

    code, title = "bad-workflow", "The workflow cannot be followed"


class Clause(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"comparison": "is"}):
    """One comparison of a published field: `older_than_hours` looks back from now, `within_hours` ahead.

    `field` is one of the record (`status`), or of what it leads to in one step (`account.segment`, `health.risk`).
    """

    field: Line
    comparison: Comparison
    value: Json = None


class Wait(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="wait", tag_field="kind"):
    """Let time pass."""

    hours: Hours
    label: Label = ""


class Condition(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="condition", tag_field="kind"):
    """Go on while all of this holds; otherwise at the later step with the label `otherwise`, or the run is done."""

    where: Annotated[tuple[Clause, ...], Meta(min_length=1, max_length=CLAUSES_MAX)]
    otherwise: Label = ""
    label: Label = ""


class Task(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="task", tag_field="kind"):
    """Give the owner something to do, due some hours later; `owner` names another one than that of the record."""

    title: Line
    due_hours: Hours = 24.0
    owner: Annotated[str, Meta(max_length=LINE_MAX)] = ""
    label: Label = ""


class Send(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="send", tag_field="kind"):
    """Have a connected system send a message; `purpose` is what must be agreed to, `through` names the connection."""

    subject: Line
    text: Text
    purpose: Annotated[str, Meta(max_length=LINE_MAX)] = ""
    through: Annotated[str, Meta(max_length=LINE_MAX)] = ""
    label: Label = ""


class Notify(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="notify", tag_field="kind"):
    """Tell subscribers that somebody is needed; the text is in the log of the run."""

    text: Line
    label: Label = ""


class Escalate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="escalate", tag_field="kind"):
    """Tell somebody else when the task before is not done `after_hours` past its time; `reassign` gives it to them."""

    after_hours: Hours = 0.0
    to: Annotated[str, Meta(max_length=LINE_MAX)] = ""
    reassign: bool = False
    label: Label = ""


Step: TypeAlias = Wait | Condition | Task | Send | Notify | Escalate


def kind_of(step: Step) -> str:
    """Return the kind of a step, as definitions name it."""
    return str(step.__struct_config__.tag)


class Definition(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one version says. `cues` name what starts it by itself, at most once in `again_after_days` for a record.

    `ends_on` names what cancels its runs, beside what ends every workflow on such records.
    """

    title: Line
    steps: Annotated[tuple[Step, ...], Meta(max_length=STEPS_MAX)]
    about: Annotated[str, Meta(max_length=LINE_MAX)] = ""
    cues: Annotated[tuple[str, ...], Meta(max_length=20)] = ()
    again_after_days: Annotated[int, Meta(ge=0, le=3650)] = 30
    ends_on: Annotated[tuple[str, ...], Meta(max_length=20)] = ()

    @property
    def paths(self) -> frozenset[str]:
        """What its conditions look at."""
        conditions = (each for each in self.steps if isinstance(each, Condition))
        return frozenset(clause.field for each in conditions for clause in each.where)

    def place_of(self, label: str) -> int | None:
        """Return the position of the step with a label."""
        return next((at for at, each in enumerate(self.steps) if each.label == label), None)


def check(
    definition: Definition, *, sight: Sight, can: frozenset[str], cues: Mapping[str, str], ends: Mapping[str, str]
) -> None:
    """Raise BadWorkflow with every fault: steps that are not there for the subject, fields that are not published."""
    named = (*_named("cues", definition.cues, cues), *_named("ends_on", definition.ends_on, ends))
    faults = [*_faults(definition, sight=sight, can=can), *named]
    if faults:
        detail = "One thing is wrong." if len(faults) == 1 else f"{len(faults)} things are wrong."
        raise BadWorkflow(detail, fix="Mend what `errors` names, and send it again.", faults=tuple(faults))


def _faults(definition: Definition, *, sight: Sight, can: frozenset[str]) -> Iterator[Fault]:
    tasks = 0
    for at, step in enumerate(definition.steps):
        pointer, kind = f"/steps/{at}", kind_of(step)
        if kind not in can:
            detail = f"There is no step {kind!r} for {sight.subject.name}; there are: {', '.join(sorted(can))}."
            yield Fault(pointer=pointer, code="no-such-step", detail=detail)
        if step.label and definition.place_of(step.label) != at:
            yield Fault(pointer=f"{pointer}/label", code="repeated", detail="An earlier step has this label.")
        if isinstance(step, Condition):
            yield from _condition_faults(definition, step, at, sight)
        if isinstance(step, Escalate) and not tasks:
            yield Fault(pointer=pointer, code="no-task", detail="No task comes before it. Put one there.")
        tasks += isinstance(step, Task)


def _condition_faults(definition: Definition, step: Condition, at: int, sight: Sight) -> Iterator[Fault]:
    to = definition.place_of(step.otherwise) if step.otherwise else at + 1
    if to is None or to <= at:
        detail = f"No later step has the label {step.otherwise!r}. A workflow only goes forward."
        yield Fault(pointer=f"/steps/{at}/otherwise", code="no-such-label", detail=detail)
    for number, clause in enumerate(step.where):
        yield from clause_faults(clause, sight, pointer=f"/steps/{at}/where/{number}")


def clause_faults(clause: Clause, sight: Sight, *, pointer: str) -> Iterator[Fault]:
    """Yield what is wrong with a clause: its field, or its value."""
    field = sight.field_at(clause.field)
    if field is None:
        yield Fault(pointer=f"{pointer}/field", code="unknown-field", detail=sight.why_not(clause.field))
    reason = _misfit(clause, "" if field is None else field.column)
    if reason is None and field is not None and field.to is not None:
        reason = _no_id(clause, sight.prefixes.get(field.to, ""))
    if reason is not None:
        yield Fault(pointer=f"{pointer}/value", code="bad-value", detail=reason)


def _no_id(clause: Clause, prefix: str) -> str | None:
    """Say why a value that a field with ids is compared with is none; they are compared in their outside form."""
    given = clause.value if isinstance(clause.value, list) else [clause.value]
    if not prefix or clause.comparison in _ALONE:
        return None
    for each in given:
        try:
            uuid_of(prefix, each if isinstance(each, str) else "")
        except InvalidId:
            return f"{clause.field!r} holds ids such as {prefix}_01…, and {each!r} is none."
    return None


def _misfit(clause: Clause, column: str) -> str | None:
    wanted, value = clause.comparison, clause.value
    if wanted in _ALONE and value is not None:
        return f"{wanted!r} takes no value."
    if wanted in _LISTS and not isinstance(value, list):
        return f"{wanted!r} takes a list of values."
    if wanted in _NUMBERS and (_number(value) is None or isinstance(value, bool)):
        return f"{wanted!r} takes a number."
    if wanted in _MOMENTS and column not in ("timestamptz", "date", ""):
        return f"{clause.field!r} is no time."
    return None


def _named(field: str, given: tuple[str, ...], known: Mapping[str, str]) -> Iterator[Fault]:
    for at, each in enumerate(given):
        if each not in known:
            there = ", ".join(sorted(known)) or "none: a person starts and cancels it"
            yield Fault(
                pointer=f"/{field}/{at}", code="unknown-cue", detail=f"Nothing gives the cue {each!r}: {there}."
            )


def failing(condition: Condition, facts: Mapping[str, Json], *, now: datetime) -> Clause | None:
    """Return the first clause that does not hold."""
    return next((each for each in condition.where if not holds(each, facts.get(each.field), now=now)), None)


def holds(clause: Clause, fact: Json, *, now: datetime) -> bool:
    """Tell whether a clause holds of a fact; an absent one is neither at least, nor at most, nor at any time."""
    return _COMPARED[clause.comparison](fact, clause.value, now)


def _is_in(fact: Json, value: Json) -> bool:
    return isinstance(value, list) and fact in value


def _is_there(fact: Json) -> bool:
    return fact not in (None, "", [], {})


def _ordered(fact: Json, value: Json) -> int | None:
    """Return -1, 0 or 1 for a number below, at or above another; None where one of them is none."""
    own, bound = _number(fact), _number(value)
    return None if own is None or bound is None else (own > bound) - (own < bound)


def _hours_ahead(fact: Json, now: datetime) -> float | None:
    at = _moment(fact, now)
    return None if at is None else (at - now).total_seconds() / 3600


def _older(fact: Json, value: Json, now: datetime) -> bool:
    ahead, bound = _hours_ahead(fact, now), _number(value)
    return ahead is not None and bound is not None and -ahead >= bound


def _within(fact: Json, value: Json, now: datetime) -> bool:
    ahead, bound = _hours_ahead(fact, now), _number(value)
    return ahead is not None and bound is not None and 0 <= ahead <= bound


_COMPARED: Mapping[Comparison, Callable[[Json, Json, datetime], bool]] = {
    "is": lambda fact, value, _: fact == value,
    "is_not": lambda fact, value, _: fact != value,
    "one_of": lambda fact, value, _: _is_in(fact, value),
    "none_of": lambda fact, value, _: isinstance(value, list) and not _is_in(fact, value),
    "present": lambda fact, _value, _now: _is_there(fact),
    "absent": lambda fact, _value, _now: not _is_there(fact),
    "at_least": lambda fact, value, _: (_ordered(fact, value) or 0) >= 0 and _ordered(fact, value) is not None,
    "at_most": lambda fact, value, _: (_ordered(fact, value) or 0) <= 0 and _ordered(fact, value) is not None,
    "older_than_hours": _older,
    "within_hours": _within,
}


def _number(value: Json) -> Decimal | None:
    given = value.get("amount") if isinstance(value, dict) else value
    if given is None or isinstance(given, list | dict):
        return None
    try:
        found = Decimal(str(given))
    except InvalidOperation:
        return None
    return found if found.is_finite() else None


def _moment(value: Json, now: datetime) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=now.tzinfo)
