"""Attribution: who gets which part of what was won, exact to the minor unit and open down to every step."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Self

import numpy as np

from isthmus.analytics import _arrow
from isthmus.analytics._arrow import F64, I64, Table
from isthmus.analytics.cents import split_many
from isthmus.analytics.journeys import Journeys, cut
from isthmus.analytics.ledger import ROLES, UNATTRIBUTED, Ledger
from isthmus.analytics.outcomes import Outcomes
from isthmus.analytics.rules import Mark, Parameters, Position, model_named, position_named

HALF_LIFE_DAYS = 7.0
WINDOW_DAYS = 90


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketCredit:
    """What one bucket received in one currency.

    `revenue` is exact; `share` is its part of that currency's total (its part of the outcomes when the total is zero);
    `outcomes` is the sum of the shares it received, a fractional count of outcomes.
    """

    bucket: str
    currency: str
    revenue: Decimal
    share: float
    outcomes: float


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """Credit rows: `row` and `bucket` are -1 and the code after the last bucket where an outcome has no step."""

    journeys: Journeys
    outcome: I64
    row: I64
    bucket: I64
    share: F64
    minor: I64

    @classmethod
    def of(cls, journeys: Journeys, *, shares: F64, minor: I64) -> Self:
        """Put the rows of outcomes without steps among those with steps, in order of outcome."""
        lonely = np.flatnonzero(journeys.without_steps)
        nowhere = np.full(lonely.size, len(journeys.ledger.buckets), dtype=np.int64)
        outcome = np.concatenate((journeys.outcome, lonely))
        order = np.argsort(outcome, kind="stable") if lonely.size else slice(None)
        return cls(
            journeys=journeys,
            outcome=outcome[order],
            row=np.concatenate((journeys.row, np.full(lonely.size, -1, dtype=np.int64)))[order],
            bucket=np.concatenate((journeys.ledger.bucket[journeys.row].astype(np.int64), nowhere))[order],
            share=np.concatenate((shares, np.ones(lonely.size)))[order],
            minor=np.concatenate((minor, journeys.outcomes.minor[lonely]))[order],
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Attribution:
    """The credit of one model over one set of outcomes.

    `outcomes` were won, `journeys` of them have steps. `digits` are the decimals in which each currency is counted.
    Currencies are never added together.
    """

    model: str
    meaning: str
    grade: str
    parameters: Mapping[str, str | float | None]
    outcomes: int
    journeys: int
    digits: Mapping[str, int]
    totals: tuple[BucketCredit, ...]
    rows: _Rows = field(repr=False)

    @property
    def credit(self) -> Table:
        """The rows behind the totals, made when asked for.

        One row per pair of outcome and step, also for steps that received nothing, and one row with an empty step for
        each outcome without steps: `outcome, unit, step, bucket, at, closed_at, share, minor, currency`, in order of
        outcome, then time; `minor` counts 10^-`digits[currency]`.
        """
        return _table(self.rows.journeys, rows=self.rows)

    @property
    def unattributed(self) -> Mapping[str, Decimal]:
        """What was won without any step in the window, per currency; zero is listed too."""
        found = {each.currency: each.revenue for each in self.totals if each.bucket == UNATTRIBUTED}
        return {name: found.get(name, Decimal(0).scaleb(-digits)) for name, digits in self.digits.items()}

    @property
    def revenue(self) -> Mapping[str, Decimal]:
        """What was won in all, per currency."""
        sums = {name: Decimal(0).scaleb(-digits) for name, digits in self.digits.items()}
        for each in self.totals:
            sums[each.currency] += each.revenue
        return sums


def attribute(
    *,
    steps: Table,
    outcomes: Table,
    model: str,
    window_days: int | None = WINDOW_DAYS,
    half_life_days: float = HALF_LIFE_DAYS,
    position: str | Position = "u",
    as_of: datetime | None = None,
    roles: Mapping[str, Mark] = ROLES,
) -> Attribution:
    """Credit the steps before each won outcome by one rule model.

    Columns are those of `Ledger.of` and `Outcomes.of`, the window that of `journeys.cut`, models those of `MODELS`.
    Nothing that closed after `as_of` is counted. To ask several models of the same rows, `assemble` once and
    `credit` for each. Raises what those raise, all of them `IsthmusError`s.
    """
    journeys = assemble(steps=steps, outcomes=outcomes, window_days=window_days, as_of=as_of, roles=roles)
    return credit(journeys, model=model, half_life_days=half_life_days, position=position)


def assemble(
    *,
    steps: Table,
    outcomes: Table,
    window_days: int | None = WINDOW_DAYS,
    as_of: datetime | None = None,
    roles: Mapping[str, Mark] = ROLES,
) -> Journeys:
    """Sort the steps, read the outcomes and cut the journeys: everything that does not depend on the model."""
    return cut(
        ledger=Ledger.of(steps, roles=roles), outcomes=Outcomes.of(outcomes, as_of=as_of), window_days=window_days
    )


def credit(
    journeys: Journeys, *, model: str, half_life_days: float = HALF_LIFE_DAYS, position: str | Position = "u"
) -> Attribution:
    """Credit journeys by one rule model.

    Raises:
        UnknownModel, InvalidHalfLife, InvalidPosition: the question is wrong.
    """
    chosen = model_named(model)
    shape = position if isinstance(position, Position) else position_named(position)
    parameters = Parameters(half_life_days=half_life_days, position=shape)
    paths = journeys.paths
    shares = chosen.rule(paths, parameters)
    outcomes = journeys.outcomes
    unit = outcomes.unit[journeys.counts > 0]
    pieces = split_many(minor=outcomes.minor[journeys.counts > 0] // unit, shares=shares, starts=paths.starts)
    minor = pieces * np.repeat(unit, paths.lengths)
    rows = _Rows.of(journeys, shares=shares, minor=minor)
    known: dict[str, str | float] = {"half_life_days": half_life_days, "position": shape.name}
    return Attribution(
        model=chosen.name,
        meaning=chosen.meaning,
        grade=chosen.grade,
        parameters=MappingProxyType(
            {"window_days": journeys.window_days, **{name: known[name] for name in chosen.reads}}
        ),
        outcomes=outcomes.count,
        journeys=int(np.count_nonzero(journeys.counts)),
        digits=MappingProxyType(dict(zip(outcomes.currencies, outcomes.digits, strict=True))),
        totals=_totals(journeys, rows=rows),
        rows=rows,
    )


def _totals(journeys: Journeys, *, rows: _Rows) -> tuple[BucketCredit, ...]:
    """Sum integers per currency and bucket; a bucket with steps in a journey is listed even if it received nothing."""
    outcomes = journeys.outcomes
    names = [*_arrow.strings(journeys.ledger.buckets), UNATTRIBUTED]
    size = len(names)
    slots = len(outcomes.currencies) * size
    slot = outcomes.currency[rows.outcome] * size + rows.bucket
    minor = np.zeros(slots, dtype=np.int64)
    np.add.at(minor, slot, rows.minor)
    counts = np.bincount(slot, weights=rows.share, minlength=slots)
    touched = np.bincount(slot, minlength=slots) > 0
    found: list[BucketCredit] = []
    for k, currency in enumerate(outcomes.currencies):
        mine = slice(k * size, (k + 1) * size)
        total = int(minor[mine].sum())
        shares = minor[mine] / total if total else counts[mine] / counts[mine].sum()
        found.extend(
            BucketCredit(
                bucket=names[b],
                currency=currency,
                revenue=Decimal(int(minor[mine][b])).scaleb(-outcomes.digits[k]),
                share=float(shares[b]),
                outcomes=float(counts[mine][b]),
            )
            for b in np.flatnonzero(touched[mine])
        )
    return tuple(found)


def _table(journeys: Journeys, *, rows: _Rows) -> Table:
    ledger, outcomes = journeys.ledger, journeys.outcomes
    absent = rows.row < 0
    ids = ledger.step_ids(rows.row[~absent])
    at = np.zeros(absent.size, dtype=np.int64)
    at[~absent] = ledger.at[rows.row[~absent]]
    of = _arrow.array(rows.outcome)
    return _arrow.table(
        {
            "outcome": outcomes.ids.take(of),
            "unit": outcomes.units.take(of),
            "step": ids.take(_arrow.array(np.cumsum(~absent) - 1, absent=absent)),
            "bucket": _arrow.named(rows.bucket, names=_arrow.words([*_arrow.strings(ledger.buckets), UNATTRIBUTED])),
            "at": _arrow.moments(at, absent=absent),
            "closed_at": _arrow.moments(outcomes.closed_at[rows.outcome]),
            "share": _arrow.array(rows.share),
            "minor": _arrow.array(rows.minor),
            "currency": _arrow.named(outcomes.currency[rows.outcome], names=_arrow.words(outcomes.currencies)),
        }
    )
