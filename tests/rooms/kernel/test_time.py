"""Stamps only grow, evidence stays within what was seen, and periods leave no gap."""

import itertools
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.kernel.hlc import HybridClock, evidence, moment_of, stamp
from isthmus.kernel.period import InvalidPeriod, period

MOMENTS = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - zone beside.


@given(st.lists(st.one_of(MOMENTS, st.integers(0, 1 << 60)), max_size=50))
def test_stamps_grow_whatever_the_wall_clock_does_and_others_say(steps: list[datetime | int]) -> None:
    clock, last = HybridClock(), -1
    for step in steps:
        if isinstance(step, int):
            clock.witness(step)
            last = max(last, step)
        else:
            tick = clock.tick(step)
            assert tick > last
            last = tick


@given(st.none() | MOMENTS, MOMENTS, st.timedeltas(timedelta(0), timedelta(days=400)))
def test_a_skewed_clock_counts_only_within_the_interval_in_which_it_was_seen(
    claimed: datetime | None, since: datetime, length: timedelta
) -> None:
    until = since + length
    found = moment_of(evidence(claimed_at=claimed, since=since, until=until))
    assert since - timedelta(milliseconds=1) < found <= until
    assert evidence(claimed_at=None, since=None, until=until) >= evidence(claimed_at=claimed, since=None, until=until)


def test_a_stamp_names_its_moment_to_the_millisecond() -> None:
    at = datetime(2026, 11, 2, 9, 30, 0, 123000, tzinfo=UTC)
    assert moment_of(stamp(int(at.timestamp() * 1000), 65_535)) == at


@pytest.mark.parametrize("zone", ["UTC", "Europe/Brussels", "America/New_York", "Pacific/Auckland"])
@given(year=st.integers(1990, 2090))
def test_twelve_months_and_four_quarters_fill_a_year_without_gap(zone: str, year: int) -> None:
    whole = period(str(year), zone=ZoneInfo(zone))
    for parts in ([f"{year}-{n:02d}" for n in range(1, 13)], [f"{year}-Q{n}" for n in range(1, 5)]):
        found = [period(each, zone=ZoneInfo(zone)) for each in parts]
        assert (found[0].start, found[-1].end) == (whole.start, whole.end)
        assert all(one.end == other.start for one, other in itertools.pairwise(found))
        assert all(each.holds(each.start) and not each.holds(each.end) for each in found)


@pytest.mark.parametrize("name", ["", "26", "2026-13", "2026-Q5", "2026-1", "0000", "2026-11-01", "2026-q1"])
def test_what_is_no_period_is_refused(name: str) -> None:
    with pytest.raises(InvalidPeriod):
        period(name)
