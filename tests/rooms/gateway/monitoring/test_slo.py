"""Error budgets burn as the Site Reliability Workbook computes it, and alarms need both of their windows."""

from datetime import timedelta

import pytest

from isthmus.gateway.monitoring.minutes import Sums
from isthmus.gateway.monitoring.slo import LENGTHS, OBJECTIVES, WINDOWS, burn_rate, burns, remaining

ERRORS, LATENCY, UPTIME = OBJECTIVES
HOUR = timedelta(hours=1)


def sums(*, calls: int = 0, failed: int = 0, timed: int = 0, slow: int = 0) -> Sums:
    return Sums(calls=calls, failed=failed, timed=timed, slow=slow)


def test_the_windows_are_those_of_the_workbook() -> None:
    shown = [(each.factor, each.long / HOUR, each.short / HOUR * 60, each.urgency) for each in WINDOWS]
    assert shown == [(14.4, 1, 5, "page"), (6, 6, 30, "page"), (1, 72, 360, "warning")]
    assert [(each.name, each.target) for each in OBJECTIVES] == [
        ("errors", 0.999),
        ("latency", 0.95),
        ("uptime", 0.999),
    ]


def test_a_rate_of_one_uses_up_the_budget_exactly() -> None:
    assert burn_rate(ERRORS, sums(calls=100_000, failed=100)) == pytest.approx(1)
    assert remaining(ERRORS, sums(calls=100_000, failed=100)) == pytest.approx(0, abs=1e-9)
    assert remaining(ERRORS, sums(calls=100_000, failed=25)) == pytest.approx(0.75)
    assert remaining(ERRORS, sums(calls=1_000, failed=3)) == pytest.approx(-2)
    assert burn_rate(LATENCY, sums(calls=100, timed=100, slow=10)) == pytest.approx(2)
    assert burn_rate(ERRORS, sums()) == 0
    assert remaining(UPTIME, sums()) == 1


def burning(long: Sums, short: Sums) -> list[str]:
    """Return the windows that alarm when each has these sums (the short one of one is the long one of another)."""
    found: list[str] = []
    for window in WINDOWS:
        by_length = dict.fromkeys(LENGTHS, short) | {window.long: long}
        found += [each.window.name for each in burns(ERRORS, by_length) if each.window == window and each.alarming]
    return found


def test_an_alarm_needs_both_windows() -> None:
    bad, good = sums(calls=10_000, failed=200), sums(calls=1_000)
    assert burning(bad, bad) == ["fast", "steady", "slow"]
    assert burning(bad, good) == []
    assert burning(good, bad) == []


@pytest.mark.parametrize(
    ("failed", "names"),
    [(9, []), (11, ["slow"]), (59, ["slow"]), (61, ["steady", "slow"]), (145, ["fast", "steady", "slow"])],
)
def test_each_window_alarms_above_its_own_factor(failed: int, names: list[str]) -> None:
    found = sums(calls=10_000, failed=failed)
    assert burning(found, found) == names


def test_a_handful_of_failures_among_few_calls_alarms_nobody() -> None:
    few = sums(calls=10, failed=4)
    assert burning(few, few) == []
    assert burning(sums(calls=10, failed=5), few) == ["fast", "steady", "slow"]
