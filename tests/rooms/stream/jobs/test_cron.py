"""When a schedule comes, with fixed expectations for the nights on which clocks change."""

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise

import pytest

from isthmus.stream.jobs.cron import BadCron, BadZone, check_cron, following, moments, newest_since, zone_of

FORWARD, BACK = "2026-03-28T12:00", "2026-10-24T12:00"


def told(cron: str, zone: str, after: str, count: int) -> list[str]:
    """Return the next moments in UTC, to the minute."""
    at = datetime.fromisoformat(after).replace(tzinfo=UTC)
    return [each.strftime("%m-%d %H:%M") for each in islice(moments(cron, zone_of(zone), after=at), count)]


@pytest.mark.parametrize(
    ("cron", "zone", "after", "expected"),
    [
        pytest.param("0 6 * * *", "Europe/Berlin", FORWARD, ["03-29 04:00", "03-30 04:00"], id="an hour later by UTC"),
        pytest.param("30 2 * * *", "Europe/Berlin", FORWARD, ["03-29 01:00", "03-30 00:30"], id="right after the gap"),
        pytest.param("0 2 * * *", "Europe/Berlin", FORWARD, ["03-29 01:00", "03-30 00:00"], id="at the gap's edge"),
        pytest.param("0 3 * * *", "Europe/Berlin", FORWARD, ["03-29 01:00", "03-30 01:00"], id="after the gap, once"),
        pytest.param("30 2 * * *", "Europe/Berlin", BACK, ["10-25 00:30", "10-26 01:30"], id="the first of two"),
        pytest.param(
            "30 2 * * *", "Europe/Berlin", "2026-10-25T01:15", ["10-26 01:30"], id="not again in the second hour"
        ),
        pytest.param(
            "0 1-3 * * *", "Europe/Berlin", BACK, ["10-24 23:00", "10-25 00:00", "10-25 02:00"], id="hours by the list"
        ),
        pytest.param(
            "0 * * * *",
            "Europe/Berlin",
            "2026-10-24T23:30",
            ["10-25 00:00", "10-25 01:00", "10-25 02:00"],
            id="every hour follows elapsed time back",
        ),
        pytest.param(
            "30 * * * *",
            "Europe/Berlin",
            "2026-03-29T00:00",
            ["03-29 00:30", "03-29 01:30"],
            id="every hour follows elapsed time forward",
        ),
        pytest.param("30 2 * * *", "America/New_York", "2026-03-07T12:00", ["03-08 07:00", "03-09 06:30"], id="there"),
        pytest.param("30 1 * * *", "America/New_York", "2026-10-31T12:00", ["11-01 05:30", "11-02 06:30"], id="back"),
        pytest.param(
            "15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00", ["10-03 15:30", "10-04 15:15"], id="half an hour"
        ),
        pytest.param("0 5 * * 1#1", "UTC", "2026-11-23T00:00", ["12-07 05:00", "01-04 05:00"], id="first Monday"),
        pytest.param("0 3 * * 0", "UTC", "2026-11-23T00:00", ["11-29 03:00", "12-06 03:00"], id="Sunday"),
        pytest.param("0 0 29 2 *", "UTC", "2026-11-23T00:00", ["02-29 00:00"], id="a day of leap years"),
    ],
)
def test_moments_are_where_the_zone_puts_them(cron: str, zone: str, after: str, expected: list[str]) -> None:
    assert told(cron, zone, after, len(expected)) == expected


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "UTC"])
def test_a_fixed_hour_comes_once_on_each_of_a_thousand_days(zone: str) -> None:
    start = datetime(2025, 1, 1, tzinfo=UTC)
    found = list(islice(moments("30 2 * * *", zone_of(zone), after=start), 1_000))
    days = [each.astimezone(zone_of(zone)).date() for each in found]
    assert days == [days[0] + timedelta(days=n) for n in range(1_000)]
    assert all(earlier < later for earlier, later in pairwise(found))


def test_what_was_missed_is_the_newest_and_a_count() -> None:
    since = datetime(2026, 11, 20, 2, tzinfo=UTC)
    now = datetime(2026, 11, 23, 1, tzinfo=UTC)
    assert newest_since("0 2 * * *", zone_of("UTC"), since=since, now=now) == (since + timedelta(days=2), 2)
    assert newest_since("0 2 * * *", zone_of("UTC"), since=since, now=since) == (since, 0)


def test_a_year_of_minutes_is_not_counted_one_by_one() -> None:
    since = datetime(2026, 1, 1, tzinfo=UTC)
    now = since + timedelta(days=365, seconds=30)
    newest, count = newest_since("* * * * *", zone_of("UTC"), since=since, now=now)
    assert newest == now - timedelta(seconds=30)
    assert count >= 2_000


@pytest.mark.parametrize("cron", ["", "x", "0 6 * *", "0 0 6 * * *", "61 * * * *", "0 0 30 2 *", "0 0 * * 8"])
def test_what_is_no_cron_expression_is_refused(cron: str) -> None:
    with pytest.raises(BadCron):
        check_cron(cron)


@pytest.mark.parametrize("zone", ["Mars/Base", "", "../etc/passwd", "/etc/passwd", "europe"])
def test_what_is_no_zone_is_refused(zone: str) -> None:
    with pytest.raises(BadZone):
        zone_of(zone)


def test_the_next_moment_is_never_the_same() -> None:
    at = datetime(2026, 11, 23, 6, tzinfo=UTC)
    assert following("0 6 * * *", zone_of("UTC"), after=at) == at + timedelta(days=1)
