"""The ledger's order is total, whatever the spread of times and however many units and buckets there are."""

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.analytics._arrow import ten_thousandths
from isthmus.analytics.ledger import Ledger, unpacked
from tests.rooms.analytics.tables import Step, moment, named_columns, sliced_amounts, steps_table

# Half a century in microseconds with a thousand units does not fit one word; whole hours do.
SPREADS = st.sampled_from((1.0, 1 / 3600, 1 / 3600e3, 1 / 3600e6))


@settings(max_examples=60, deadline=None)
@given(
    drawn=st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 400_000)), max_size=30),
    spread=SPREADS,
    wide=st.booleans(),
)
def test_rows_are_sorted_by_unit_time_and_id(drawn: list[tuple[int, int]], spread: float, wide: bool) -> None:  # noqa: FBT001 - drawn by hypothesis.
    steps = [
        Step(f"s{len(drawn) - k:02}", unit=f"u{unit:04}", hour=hour % 7 * spread + hour * wide)
        for k, (unit, hour) in enumerate(drawn)
    ]
    ledger = Ledger.of(steps_table(steps))
    expected = sorted(steps, key=lambda each: (each.unit, moment(each.hour), each.id))
    assert ledger.step_ids(np.arange(len(steps))).to_pylist() == [each.id for each in expected]
    assert np.all(np.diff(ledger.starts) >= 1)
    assert ledger.starts[-1] == len(steps)


def test_a_spread_that_does_not_fit_one_word_is_sorted_all_the_same() -> None:
    generator = np.random.default_rng(4)
    unit, at = generator.integers(40_000, size=80_000), generator.integers(1, 2**50, size=80_000)
    table = named_columns(
        unit=[f"u{each:05}" for each in unit], at=at.astype("datetime64[us]").tolist(), bucket=["x"] * unit.size
    )
    ledger = Ledger.of(table)
    order = np.lexsort((at, unit))
    assert np.array_equal(ledger.at, at[order])
    assert np.array_equal(np.unique(unit, return_inverse=True)[1][order], ledger.unit)


@pytest.mark.parametrize(("count", "width"), [(65_536, 2), (65_537, 4)])
def test_bucket_codes_widen_only_when_they_must(count: int, width: int) -> None:
    names = [f"b{k:05}" for k in range(count)]
    ledger = Ledger.of(named_columns(unit=["a"] * count, at=[moment(k) for k in range(count)], bucket=names))
    assert ledger.bucket.dtype.itemsize == width
    assert np.array_equal(ledger.bucket, np.arange(count))


def test_direct_and_mark_are_kept_apart() -> None:
    steps = [
        Step("s1", hour=1, direct=True, role="closed"),
        Step("s2", hour=2, role="first"),
        Step("s3", hour=3, direct=True),
    ]
    ledger = Ledger.of(steps_table(steps))
    direct, mark = unpacked(ledger.flags)
    assert direct.tolist() == [True, False, True]
    assert mark.tolist() == [4, 1, 0]


def test_amounts_are_read_from_a_slice_of_a_column_as_from_a_whole_one() -> None:
    table = named_columns(value=[Decimal("-1.5000"), Decimal("2.2500"), Decimal("3.0001")])
    whole = table.column("value").combine_chunks()
    assert ten_thousandths(whole, name="value", of="here").tolist() == [-15_000, 22_500, 30_001]
    assert ten_thousandths(sliced_amounts(whole, 1), name="value", of="here").tolist() == [22_500, 30_001]
