"""The rule models: how one outcome's credit is shared among the steps of its journey. Pure; evidence grade E0.

Each rule takes all journeys at once and returns one share per step; the shares of a journey sum to one. A rule is an
agreement about credit, not a measurement of effect.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType

import numpy as np

from isthmus.analytics._arrow import F64, I64, U8, Bools
from isthmus.kernel.errors import Invalid

GRADE = "E0"
_DAY_US = 86_400_000_000.0
_SUM_TOLERANCE = 1e-9


class UnknownModel(Invalid):
    """No model has that name."""

    code, title = "unknown-model", "The model is not known"


class InvalidHalfLife(Invalid):
    """The half-life is not a positive number of days."""

    code, title = "invalid-half-life", "The half-life is not valid"


class InvalidPosition(Invalid):
    """The weights by position are not weights."""

    code, title = "invalid-position", "The weights by position are not valid"


class Mark(IntEnum):
    """What a step did for the stage of its unit; most steps carry no mark."""

    NONE = 0
    FIRST = 1
    CAPTURED = 2
    QUALIFIED = 3
    CLOSED = 4


@dataclass(frozen=True, slots=True, eq=False)
class Paths:
    """n journeys of at least one step, m steps in all, in order of journey, then time.

    `starts` int64[n] is where each journey begins; `at` int64[m] microseconds; `direct` bool[m]; `mark` u8[m].
    """

    starts: I64
    at: I64
    direct: Bools
    mark: U8

    @property
    def lengths(self) -> I64:
        """Steps per journey."""
        return np.diff(np.append(self.starts, self.at.size))

    @property
    def lasts(self) -> I64:
        """Where each journey ends."""
        return self.starts + self.lengths - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Weights by position: each anchor is a mark with its weight, `rest` is spread evenly over all other steps.

    `marked` says whether marks are read at all; if not, the first anchor is the first step and the last the last.
    """

    name: str
    anchors: tuple[tuple[Mark, float], ...]
    rest: float
    marked: bool = True

    def __post_init__(self) -> None:
        """Refuse weights that are not positive, or do not sum to one with the rest."""
        weights = [weight for _, weight in self.anchors]
        if not weights or min(weights) <= 0 or self.rest < 0 or abs(sum(weights) + self.rest - 1) > _SUM_TOLERANCE:
            raise InvalidPosition(
                f"The weights of {self.name!r} are {weights} and {self.rest} for the rest.",
                fix="Give at least one anchor, weights above zero, and make everything sum to 1.",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """What a rule may depend on beside the journeys."""

    half_life_days: float
    position: Position

    def __post_init__(self) -> None:
        """Refuse a half-life that is not a positive finite number."""
        if not (np.isfinite(self.half_life_days) and self.half_life_days > 0):
            raise InvalidHalfLife(f"{self.half_life_days} days is no half-life.", fix="Use a number above 0.")


Rule = Callable[[Paths, Parameters], F64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A named rule, what it means in one sentence, and the parameters it reads."""

    name: str
    meaning: str
    rule: Rule
    reads: tuple[str, ...] = ()
    grade: str = GRADE


def first(paths: Paths, _: Parameters) -> F64:
    """All credit to the earliest step."""
    return _all_to(paths.starts, paths=paths)


def last(paths: Paths, _: Parameters) -> F64:
    """All credit to the latest step."""
    return _all_to(paths.lasts, paths=paths)


def last_non_direct(paths: Paths, _: Parameters) -> F64:
    """All credit to the latest step that is not direct; to the latest step when all are direct."""
    where = np.where(paths.direct, -1, np.arange(paths.at.size))
    found = np.maximum.reduceat(where, paths.starts) if where.size else paths.lasts
    return _all_to(np.where(found < 0, paths.lasts, found), paths=paths)


def linear(paths: Paths, _: Parameters) -> F64:
    """Equal credit to every step."""
    return np.repeat(1.0 / paths.lengths, paths.lengths)


def time_decay(paths: Paths, parameters: Parameters) -> F64:
    """Credit halves with every half-life that a step lies further back: proportional to 2^(-age / half-life).

    Ages count from the journey's latest step; counted from the decision the shares would be the same, because
    a common factor cancels, and the latest step could underflow.
    """
    if not paths.at.size:
        return np.empty(0, dtype=np.float64)
    age_days = (np.repeat(paths.at[paths.lasts], paths.lengths) - paths.at) / _DAY_US
    weight = np.exp2(-age_days / parameters.half_life_days)
    return weight / np.repeat(np.add.reduceat(weight, paths.starts), paths.lengths)


def position(paths: Paths, parameters: Parameters) -> F64:
    """Fixed weights to the anchors of the journey, the rest spread evenly over the other steps.

    Where a step carries an anchor's mark, the earliest such step is the anchor (for `CLOSED` the latest). Where none
    does, the first anchor falls to the first step, the last anchor to the last step, and an anchor between
    them is absent: its weight goes to the anchors that are present, in proportion. One step may be several anchors
    and then adds their weights. Without any other step the rest goes to the anchors, in proportion. Hence one
    step gets everything, and two unmarked steps get half each under the presets.
    """
    shape = parameters.position
    size, journeys = paths.at.size, paths.starts.size
    weight, present = np.zeros(size, dtype=np.float64), np.zeros(journeys, dtype=np.float64)
    for k, (mark, share) in enumerate(shape.anchors):
        row = _anchor(paths, mark=mark) if shape.marked else np.full(journeys, -1)
        if k == 0:
            row = np.where(row < 0, paths.starts, row)
        elif k == len(shape.anchors) - 1:
            row = np.where(row < 0, paths.lasts, row)
        weight[row[row >= 0]] += share
        present[row >= 0] += share
    other = weight == 0.0
    others = np.add.reduceat(other, paths.starts, dtype=np.int64) if size else np.zeros(0, dtype=np.int64)
    rest = np.where(others > 0, shape.rest, 0.0)
    to_anchor = np.repeat((1.0 - rest) / np.where(present > 0, present, 1.0), paths.lengths)
    to_other = np.repeat(rest / np.maximum(others, 1), paths.lengths)
    return np.where(other, to_other, weight * to_anchor)


def _all_to(rows: I64, *, paths: Paths) -> F64:
    share = np.zeros(paths.at.size, dtype=np.float64)
    share[rows] = 1.0
    return share


def _anchor(paths: Paths, *, mark: Mark) -> I64:
    """Return the row that carries the mark in each journey, -1 where none does."""
    if not paths.at.size:
        return np.empty(0, dtype=np.int64)
    rows, carries = np.arange(paths.at.size), paths.mark == mark
    if mark is Mark.CLOSED:
        return np.maximum.reduceat(np.where(carries, rows, -1), paths.starts)
    found = np.minimum.reduceat(np.where(carries, rows, paths.at.size), paths.starts)
    return np.where(found == paths.at.size, -1, found)


_U = ((Mark.FIRST, 0.4), (Mark.CLOSED, 0.4))
_W = ((Mark.FIRST, 0.3), (Mark.CAPTURED, 0.3), (Mark.QUALIFIED, 0.3))
_FULL = ((Mark.FIRST, 0.225), (Mark.CAPTURED, 0.225), (Mark.QUALIFIED, 0.225), (Mark.CLOSED, 0.225))
POSITIONS: Mapping[str, Position] = MappingProxyType(
    {
        "u": Position(name="u", anchors=_U, rest=0.2, marked=False),
        "w": Position(name="w", anchors=_W, rest=0.1),
        "full_path": Position(name="full_path", anchors=_FULL, rest=0.1),
    }
)
MODELS: Mapping[str, Model] = MappingProxyType(
    {
        model.name: model
        for model in (
            Model(name="first", meaning="All credit to the earliest step.", rule=first),
            Model(name="last", meaning="All credit to the latest step before the decision.", rule=last),
            Model(
                name="last_non_direct",
                meaning="All credit to the latest step that is not direct, or to the latest step when all are direct.",
                rule=last_non_direct,
            ),
            Model(name="linear", meaning="Equal credit to every step.", rule=linear),
            Model(
                name="time_decay",
                meaning="Credit halves with every half-life that a step lies further back.",
                rule=time_decay,
                reads=("half_life_days",),
            ),
            Model(
                name="position",
                meaning="Fixed weights to the steps that opened, moved and closed; the rest evenly to the others.",
                rule=position,
                reads=("position",),
            ),
        )
    }
)


def model_named(name: str) -> Model:
    """Return the model; raises UnknownModel naming those that exist."""
    found = MODELS.get(name)
    if found is None:
        raise UnknownModel(f"There is no rule model {name!r}.", fix=f"Use one of: {', '.join(MODELS)}.")
    return found


def position_named(name: str) -> Position:
    """Return the preset; raises InvalidPosition naming those that exist."""
    found = POSITIONS.get(name)
    if found is None:
        raise InvalidPosition(f"There is no preset {name!r}.", fix=f"Use one of: {', '.join(POSITIONS)}.")
    return found
