# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# The line above: pyarrow ships no types; this file is where the tests' tables are made and read.
"""Steps and outcomes written by hand or by hypothesis, as the tables that are asked about."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

from isthmus.analytics import MODELS, Attribution, Position, Table, attribute
from isthmus.analytics._arrow import Array

MOMENT = pa.timestamp("us", "UTC")
START = datetime(2026, 1, 1, tzinfo=UTC)
DIGITS = {"EUR": 2, "JPY": 0, "KWD": 3}
MODEL_NAMES = tuple(MODELS)
ROLE_WORDS = ("first", "captured", "qualified", "closed")


@dataclass(frozen=True)
class Step:
    """A step `hour` hours after the start."""

    id: str
    unit: str = "a"
    hour: float = 0
    bucket: str = "x"
    direct: bool = False
    role: str | None = None


@dataclass(frozen=True)
class Outcome:
    """An outcome that closed `hour` hours after the start and is worth `minor` minor units."""

    id: str
    unit: str = "a"
    hour: float = 1000
    committed: float | None = None
    minor: int = 10000
    currency: str = "EUR"
    won: bool = True

    @property
    def value(self) -> Decimal:
        """The worth in the main unit."""
        return Decimal(self.minor).scaleb(-DIGITS[self.currency])


def moment(hour: float) -> datetime:
    return START + timedelta(hours=hour)


def steps_table(steps: Sequence[Step]) -> Table:
    return pa.table(
        {
            "step": pa.array([each.id for each in steps], pa.string()),
            "unit": pa.array([each.unit for each in steps], pa.string()),
            "at": pa.array([moment(each.hour) for each in steps], MOMENT),
            "bucket": pa.array([each.bucket for each in steps], pa.string()),
            "direct": pa.array([each.direct for each in steps], pa.bool_()),
            "role": pa.array([each.role for each in steps], pa.string()),
        }
    )


def outcomes_table(outcomes: Sequence[Outcome]) -> Table:
    committed = [None if each.committed is None else moment(each.committed) for each in outcomes]
    return pa.table(
        {
            "outcome": pa.array([each.id for each in outcomes], pa.string()),
            "unit": pa.array([each.unit for each in outcomes], pa.string()),
            "at": pa.array([moment(each.hour) for each in outcomes], MOMENT),
            "committed_at": pa.array(committed, MOMENT),
            "value": pa.array([each.value for each in outcomes], pa.decimal128(20, 4)),
            "currency": pa.array([each.currency for each in outcomes], pa.string()),
            "won": pa.array([each.won for each in outcomes], pa.bool_()),
        }
    )


def ask(
    steps: Sequence[Step],
    outcomes: Sequence[Outcome] = (Outcome("o"),),
    *,
    model: str,
    position: str | Position = "u",
    window_days: int | None = None,
) -> Attribution:
    return attribute(
        steps=steps_table(steps),
        outcomes=outcomes_table(outcomes),
        model=model,
        window_days=window_days,
        position=position,
    )


def rows(answer: Attribution) -> list[dict[str, object]]:
    return pa.table(answer.credit).to_pylist()


def shares(answer: Attribution) -> list[float]:
    """The shares in order of outcome, then time, rounded to what a person can compute by hand."""
    return [round(float(str(row["share"])), 6) for row in rows(answer)]


def named_columns(**columns: Sequence[object]) -> Table:
    return pa.table(columns)


def sliced_amounts(values: Array, begin: int) -> Array:
    return pa.concat_arrays([values]).cast(pa.decimal128(38, 4)).slice(begin)


def without(table: Table, name: str) -> Table:
    return pa.table(table).drop_columns([name])


def floats(table: Table, name: str) -> Table:
    whole = pa.table(table)
    place = whole.column_names.index(name)
    return whole.set_column(place, name, whole.column(name).cast(pa.float64()))


def listed(table: Table) -> list[dict[str, object]]:
    return pa.table(table).to_pylist()


def write_parquet(table: Table, path: Path) -> Path:
    pq.write_table(pa.table(table), path)
    return path


HOURS = st.integers(0, 72).map(float)
STEP = st.tuples(
    st.sampled_from("abc"),
    HOURS,
    st.sampled_from(("ads", "mail", "events", "direct")),
    st.sampled_from((None, None, *ROLE_WORDS, "of no meaning")),
)
OUTCOME = st.tuples(
    st.sampled_from("abcd"),
    HOURS,
    st.none() | HOURS,
    st.integers(0, 10**9),
    st.sampled_from(tuple(DIGITS)),
    st.booleans(),
)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[Step], list[Outcome]]:
    """Few units and hours, so that ties, shared steps, empty journeys and edges of windows are common."""
    drawn = draw(st.lists(STEP, max_size=40))
    ids = draw(st.permutations(range(len(drawn))))
    steps = [
        Step(f"s{k:03}", unit=unit, hour=hour, bucket=bucket, direct=bucket == "direct", role=role)
        for k, (unit, hour, bucket, role) in zip(ids, drawn, strict=True)
    ]
    outcomes = [
        Outcome(f"o{k}", unit=unit, hour=hour, committed=committed, minor=minor, currency=currency, won=won)
        for k, (unit, hour, committed, minor, currency, won) in enumerate(draw(st.lists(OUTCOME, max_size=12)))
    ]
    return steps, outcomes


def many(*, steps: int, units: int, seed: int) -> tuple[Table, Table]:
    """A large seeded world for sizes: integer ids, four weeks in seconds, one outcome for every second unit."""
    generator = np.random.default_rng(seed)
    names = pa.array([f"u{k:07}" for k in range(units)])
    buckets = pa.array([f"b{k:02}" for k in range(20)])
    code = generator.integers(20, size=steps)
    second = generator.integers(28 * 86_400, size=steps) * 1_000_000
    won = np.arange(0, units, 2)
    ledger = pa.table(
        {
            "unit": names.take(pa.array(generator.integers(units, size=steps))),
            "at": pa.array(second).cast(MOMENT),
            "bucket": buckets.take(pa.array(code)),
            "direct": pa.array(code == 0),
            "role": pa.array(["", *ROLE_WORDS]).take(pa.array(np.maximum(generator.integers(-12, 5, size=steps), 0))),
            "step": pa.array(np.arange(steps)).cast(pa.string()),
        }
    )
    outcomes = pa.table(
        {
            "outcome": pa.array(won).cast(pa.string()),
            "unit": names.take(pa.array(won)),
            "at": pa.array(generator.integers(28 * 86_400, size=won.size) * 1_000_000).cast(MOMENT),
            "committed_at": pa.nulls(won.size, MOMENT),
            "won": pa.array(np.full(won.size, fill_value=True)),
            "value": pa.array(generator.integers(1, 10**6, size=won.size)),
            "currency": pa.array(["EUR"] * won.size),
        }
    )
    return ledger, outcomes
