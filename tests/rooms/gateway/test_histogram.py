"""Any quantile of a histogram is within 2 % of the exact one, for any latencies, also when histograms are merged."""

import time
from math import ceil
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from isthmus.gateway.histogram import PLACES, RELATIVE_ERROR, merged, place_of, quantile, upper_bound
from isthmus.gateway.metrics import RouteLabel, Traffic

PROMISED = 0.02
RECORD_NS_MAX = 2_500
"""A record takes under a microsecond on a quiet machine; the bound is wide because tests share theirs."""
latencies = st.lists(st.integers(min_value=1, max_value=60_000_000), min_size=1, max_size=300)


def of(values: list[int]) -> dict[int, int]:
    counts: dict[int, int] = {}
    for value in values:
        counts[place_of(value)] = counts.get(place_of(value), 0) + 1
    return counts


def exact(values: list[int], share: float) -> int:
    return sorted(values)[max(1, ceil(share * len(values))) - 1]


@given(latencies, st.floats(min_value=0, max_value=1))
def test_a_quantile_is_within_the_promised_error(values: list[int], share: float) -> None:
    found = quantile(of(values), share)
    assert found is not None
    assert abs(found - exact(values, share)) <= PROMISED * exact(values, share)


@given(latencies, latencies)
def test_merged_histograms_are_the_histogram_of_all(one: list[int], two: list[int]) -> None:
    both = of(one)
    merged(both, of(two))
    assert both == of(one + two)


@given(st.integers(min_value=1, max_value=60_000_000))
def test_a_bucket_holds_what_is_over_the_bound_below_and_not_over_its_own(micros: int) -> None:
    place = place_of(micros)
    assert upper_bound(place - 1) * (1 - 1e-12) < micros <= upper_bound(place) * (1 + 1e-12)


def test_the_error_is_known_and_below_the_promise() -> None:
    assert RELATIVE_ERROR < 0.011 < PROMISED
    assert place_of(0) == place_of(-5) == 0
    assert place_of(10**12) == PLACES - 1
    assert quantile({}, 0.5) is None


def test_a_record_is_cheap() -> None:
    traffic = Traffic([RouteLabel("GET", f"/{n}") for n in range(200)])
    chance = Random(1)
    drawn = [chance.randint(1, 50_000) for _ in range(20_000)]
    best = float("inf")
    for _ in range(5):
        began = time.process_time_ns()
        for micros in drawn:
            traffic.count(7, status=200, micros=micros)
        best = min(best, (time.process_time_ns() - began) / len(drawn))
    assert best < RECORD_NS_MAX
