"""Attribution from files: the two file shapes of the command line are read, checked and answered without a server.

This is the only module of the room that does input.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from isthmus.analytics import _arrow, _cells
from isthmus.analytics._arrow import I64, SCALE, Array, Table
from isthmus.analytics.attribution import HALF_LIFE_DAYS, WINDOW_DAYS, Attribution, assemble, credit
from isthmus.analytics.intervals import bootstrap_shares
from isthmus.analytics.ledger import ROLES
from isthmus.analytics.rules import MODELS, Mark, model_named

ALL_MODELS = "all"
NO_CURRENCY = "XXX"
_UNIT = "account_id"
_MEDIUM, _DIRECT = "channel", "direct"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What to ask of two files.

    `by` names what receives credit: the column of that name, or `<by>_id`. `model` is a name of `MODELS`, or `all`.
    `currency` is assumed where the file has no such column; XXX is ISO 4217's "no currency". `roles` says which mark
    a word of the column `role` carries; unknown words carry none.
    """

    by: str = _MEDIUM
    model: str = ALL_MODELS
    window_days: int | None = WINDOW_DAYS
    half_life_days: float = HALF_LIFE_DAYS
    position: str = "u"
    currency: str = NO_CURRENCY
    roles: Mapping[str, Mark] = field(default_factory=lambda: ROLES)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FilesAnswer:
    """What came out.

    `rows`: `bucket, currency, revenue, share, low, high, model, grade`; per model and currency the shares sum to one
    and the revenue to what was won. `answers` are the same down to every step. `rounded` counts amounts that had
    more than four decimals and were rounded, half to even.
    """

    rows: Table
    answers: tuple[Attribution, ...]
    rounded: int


def attribute_files(
    *, steps: Path, outcomes: Path, question: Question, generator: np.random.Generator | None = None
) -> FilesAnswer:
    """Read both files, attribute, and return the rows to print or write.

    With a generator, `low` and `high` are the 95 % bootstrap interval of the share; without one they are empty.

    Raises:
        FileMissing, UnreadableFile: a file is not there, of another kind, or broken.
        MissingColumn, UnusableColumn: naming the file, the column, what was found, and the fix.
        UnknownModel, InvalidWindow, InvalidHalfLife, InvalidPosition, ReservedBucket: the question is wrong.
    """
    names = tuple(MODELS) if question.model == ALL_MODELS else (model_named(question.model).name,)
    won, rounded = read_outcomes(outcomes, currency=question.currency)
    journeys = assemble(
        steps=read_steps(steps, by=question.by),
        outcomes=won,
        window_days=question.window_days,
        roles=question.roles,
    )
    answers = tuple(
        credit(journeys, model=name, half_life_days=question.half_life_days, position=question.position)
        for name in names
    )
    return FilesAnswer(rows=_rows(answers, generator=generator), answers=answers, rounded=rounded)


def read_steps(path: Path, *, by: str) -> Table:
    """Return `unit, at, bucket, direct, role` from a file with `account_id, at, channel` and the column of `by`.

    Direct is what has the channel `direct`. An empty bucket becomes `no <by>`: credit is never hidden.
    """
    table, of = _cells.read(path), str(path)
    medium = _arrow.column_or_empty(table, name=_MEDIUM, of=of)
    name = next((each for each in (by, f"{by}_id") if each in table.column_names), by)
    bucket = _arrow.column_or_empty(table, name=name, of=of)
    columns = {
        "unit": _arrow.texts(_arrow.column(table, name=_UNIT, of=of)),
        "at": _cells.times(_arrow.column(table, name="at", of=of), name="at", of=of),
        "bucket": _cells.filled(bucket, default=f"no {by}"),
        "direct": _arrow.array(_cells.equal(medium, word=_DIRECT)),
    }
    role = _arrow.optional(table, name="role")
    return _arrow.table(columns if role is None else {**columns, "role": _arrow.texts(role)})


def read_outcomes(path: Path, *, currency: str = NO_CURRENCY) -> tuple[Table, int]:
    """Return the won rows as `unit, at, value, currency[, committed_at]`, and how many amounts were rounded.

    Read from `account_id, at, value, won` and the optional `committed_at, currency`. What was not won needs no value.
    """
    table, of = _cells.read(path), str(path)
    won = _cells.truths(_arrow.column(table, name="won", of=of), name="won", of=of)
    value, rounded = _cells.money(_arrow.column_or_empty(table, name="value", of=of), kept=won, name="value", of=of)
    columns: dict[str, Array] = {
        "unit": _arrow.texts(_arrow.column(table, name=_UNIT, of=of)),
        "at": _cells.times(_arrow.column(table, name="at", of=of), name="at", of=of),
        "value": _arrow.amounts(value, scale=SCALE),
        "won": _arrow.array(won),
    }
    committed = _arrow.optional(table, name="committed_at")
    if committed is not None:
        columns["committed_at"] = _cells.times(committed, name="committed_at", of=of)
    given = _arrow.optional(table, name="currency")
    columns["currency"] = _arrow.words([currency] * table.num_rows) if given is None else _arrow.texts(given)
    kept = _arrow.table(columns).filter(_arrow.array(won))
    _arrow.column(kept, name="currency", of=of)
    return kept, rounded


def _rows(answers: tuple[Attribution, ...], *, generator: np.random.Generator | None) -> Table:
    """Return one row per model, currency and bucket, the money at the finest scale that any currency needs."""
    totals = [(answer, each) for answer in answers for each in answer.totals]
    scale = max((digits for answer in answers for digits in answer.digits.values()), default=2)
    low, high = np.full(len(totals), np.nan), np.full(len(totals), np.nan)
    if generator is not None:
        bounds = [bound for answer in answers for bound in _bounds(answer, generator=generator)]
        low, high = np.array([each[0] for each in bounds]), np.array([each[1] for each in bounds])
    revenue: I64 = np.array([int(each.revenue.scaleb(scale)) for _, each in totals], dtype=np.int64)
    return _arrow.table(
        {
            "bucket": _arrow.words([each.bucket for _, each in totals]),
            "currency": _arrow.words([each.currency for _, each in totals]),
            "revenue": _arrow.amounts(revenue, scale=scale),
            "share": _arrow.array(np.array([each.share for _, each in totals], dtype=np.float64)),
            "low": _arrow.array(low, absent=np.isnan(low)),
            "high": _arrow.array(high, absent=np.isnan(high)),
            "model": _arrow.words([answer.model for answer, _ in totals]),
            "grade": _arrow.words([answer.grade for answer, _ in totals]),
        }
    )


def _bounds(answer: Attribution, *, generator: np.random.Generator) -> list[tuple[float, float]]:
    """Return low and high of each total, NaN in a currency where nothing was worth anything."""
    found: list[tuple[float, float]] = []
    for currency, total in answer.revenue.items():
        mine = [each.bucket for each in answer.totals if each.currency == currency]
        if not total:
            found.extend((np.nan, np.nan) for _ in mine)
            continue
        rows = answer.credit.filter(_arrow.array(_cells.equal(_column(answer.credit, "currency"), word=currency)))
        outcome, _ = _arrow.encode(_arrow.texts(_column(rows, "outcome")))
        intervals = bootstrap_shares(
            outcome=outcome.astype(np.int64),
            bucket=_arrow.positions(_arrow.texts(_column(rows, "bucket")), among=_arrow.words(mine)),
            amount=_arrow.integers(_column(rows, "minor")).astype(np.float64),
            buckets=len(mine),
            generator=generator,
        )
        found.extend((each.low, each.high) for each in intervals)
    return found


def _column(table: Table, name: str) -> Array:
    return table.column(name).combine_chunks()
