"""Largest remainder, scalar and vectorised, against each other and against arithmetic."""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.analytics import split, split_many
from isthmus.analytics.cents import AmountTooLarge, InvalidSplit

WEIGHTS = st.lists(st.integers(0, 20), min_size=1, max_size=12).filter(any)
AMOUNTS = st.integers(-(2**53) + 1, 2**53 - 1) | st.integers(-1000, 1000)


@pytest.mark.parametrize(
    ("amount", "shares", "digits", "expected"),
    [
        ("100.00", (1, 1, 1), 2, ("33.34", "33.33", "33.33")),
        ("0.02", (1, 1, 1), 2, ("0.01", "0.01", "0.00")),
        ("100", (1, 1, 1), 0, ("34", "33", "33")),
        ("1.000", (1, 2), 3, ("0.333", "0.667")),
        ("-100.00", (1, 1, 1), 2, ("-33.34", "-33.33", "-33.33")),
        ("0.05", (0, 1, 1), 2, ("0.00", "0.03", "0.02")),
        ("10.00", (0.7, 0.2, 0.1), 2, ("7.00", "2.00", "1.00")),
    ],
)
def test_the_odd_units_go_to_the_largest_remainders_then_to_the_earliest(
    amount: str, shares: tuple[float, ...], digits: int, expected: tuple[str, ...]
) -> None:
    assert tuple(map(str, split(amount=Decimal(amount), shares=shares, digits=digits))) == expected


@settings(max_examples=300, deadline=None)
@given(groups=st.lists(st.tuples(AMOUNTS, WEIGHTS), min_size=1, max_size=8))
def test_every_group_sums_exactly_and_no_part_is_a_unit_away_from_its_quota(
    groups: list[tuple[int, list[int]]],
) -> None:
    minor = np.array([amount for amount, _ in groups], dtype=np.int64)
    lengths = np.array([len(weights) for _, weights in groups])
    shares = np.concatenate([np.array(weights) / sum(weights) for _, weights in groups])
    starts = np.cumsum(lengths) - lengths
    parts = np.split(split_many(minor=minor, shares=shares, starts=starts), starts[1:])
    for (amount, weights), part in zip(groups, parts, strict=True):
        assert int(part.sum()) == amount
        for weight, each in zip(weights, part.tolist(), strict=True):
            assert abs(each - Fraction(amount * weight, sum(weights))) < Fraction(1001, 1000)
            assert weight or not each


@settings(max_examples=300, deadline=None)
@given(amount=st.integers(-(10**9), 10**9), weights=WEIGHTS)
def test_one_and_many_agree(amount: int, weights: list[int]) -> None:
    shares = np.array(weights) / sum(weights)
    one = split(amount=Decimal(amount), shares=shares.tolist(), digits=0)
    many = split_many(minor=np.array([amount]), shares=shares, starts=np.array([0]))
    assert [int(each) for each in one] == many.tolist()


@pytest.mark.parametrize("amount", [5_570_099_336_634_109, 7_125_424_356_059_231, -7_811_841_012_731_914])
def test_amounts_at_which_floats_are_a_unit_wide_are_split_exactly(amount: int) -> None:
    shares = np.array([1, 2, 3, 5, 7, 11, 13]) / 42
    many = split_many(minor=np.array([amount]), shares=shares, starts=np.array([0]))
    assert many.tolist() == [int(each) for each in split(amount=Decimal(amount), shares=shares.tolist(), digits=0)]
    assert int(many.sum()) == amount


def test_a_share_of_nothing_gets_nothing_even_before_ten_thousand_tiny_ones() -> None:
    shares = np.array([0.0, *[1 / 10_000] * 10_000])
    many = split_many(minor=np.array([1]), shares=shares, starts=np.array([0]))
    one = split(amount=Decimal(1), shares=shares.tolist(), digits=0)
    assert many[:3].tolist() == [int(each) for each in one[:3]] == [0, 1, 0]
    assert int(many.sum()) == sum(one) == 1


def test_half_a_million_shares_of_a_hundred_thousand_amounts_sum_exactly() -> None:
    generator = np.random.default_rng(3)
    minor = generator.integers(0, 10**12, size=100_000)
    lengths = generator.integers(1, 10, size=minor.size)
    starts = np.cumsum(lengths) - lengths
    weights = generator.random(int(lengths.sum()))
    shares = weights / np.repeat(np.add.reduceat(weights, starts), lengths)
    parts = split_many(minor=minor, shares=shares, starts=starts)
    assert np.array_equal(np.add.reduceat(parts, starts), minor)
    assert np.all(np.abs(parts - np.repeat(minor, lengths) * shares) < 1.001)


def test_no_amounts_give_no_parts() -> None:
    none = np.array([], dtype=np.int64)
    assert split_many(minor=none, shares=np.array([]), starts=none).size == 0


@pytest.mark.parametrize(
    ("amount", "shares"), [("0.001", (1,)), ("NaN", (1,)), ("1", ()), ("1", (0, 0)), ("1", (2, -1))]
)
def test_what_cannot_be_split_is_refused(amount: str, shares: tuple[int, ...]) -> None:
    with pytest.raises(InvalidSplit):
        split(amount=Decimal(amount), shares=shares, digits=2)


@pytest.mark.parametrize("shares", [(0.5, 0.4), (1.5, -0.5), (float("nan"), 1.0)])
def test_shares_that_do_not_sum_to_one_are_refused(shares: tuple[float, ...]) -> None:
    with pytest.raises(InvalidSplit):
        split_many(minor=np.array([10]), shares=np.array(shares), starts=np.array([0]))


def test_an_amount_that_a_float_cannot_count_is_refused() -> None:
    with pytest.raises(AmountTooLarge):
        split_many(minor=np.array([2**53]), shares=np.array([1.0]), starts=np.array([0]))
