"""A limit is shared among proxies by demand, never gives more than there is, and is read from real messages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.app.rlqs.sharing import Share, token_bucket
from isthmus.app.rlqs.wire import Assignment, Bucket, WireBroken, read_reports, write_response
from isthmus.stream.limits import Rate

RATE = Rate(count=1000, seconds=1)
Demands = st.dictionaries(st.integers(1, 9), st.integers(0, 5000), min_size=1, max_size=6)


def shared(share: Share, demands: dict[int, int]) -> dict[int, float]:
    """Return the shares of proxies with these demands."""
    for proxy, demand in demands.items():
        share.told(proxy, allowed=demand, denied=0, elapsed_s=1.0)
    return dict(share.shares())


@given(st.lists(Demands, min_size=1, max_size=8))
def test_shares_together_are_never_more_than_the_rate(turns: list[dict[int, int]]) -> None:
    share = Share(rate=RATE)
    for demands in turns:
        for gone in share.demands.keys() - demands.keys():
            share.left(gone)
        given_out = shared(share, demands)
        assert sum(given_out.values()) <= RATE.per_second * 1.000_01
        assert all(each > 0 for each in given_out.values())


def test_a_lone_proxy_has_all_of_it_whatever_its_demand() -> None:
    share = Share(rate=RATE)
    assert shared(share, {1: 10}) == shared(share, {1: 5000}) == {1: 1000.0}


def test_who_asks_for_more_gets_more_and_small_changes_change_nothing() -> None:
    share = Share(rate=RATE)
    first = shared(share, {1: 3000, 2: 1000})
    assert 2.5 < first[1] / first[2] < 3
    assert shared(share, {1: 3050, 2: 1000}) == first
    assert shared(share, {1: 1000, 2: 3000}) != first


def test_what_others_draw_lowers_the_level_and_it_rises_again() -> None:
    share = Share(rate=RATE)
    shared(share, {1: 5000})
    assert share.need(1.0) == 1000
    share.paid(400, need=1000, passed_s=1.0)
    assert shared(share, {1: 5000}) == {1: 400.0}
    for _ in range(10):
        share.paid(share.need(1.0), need=400, passed_s=1.0)
    assert share.level == RATE.per_second


def test_fractions_of_permits_are_carried_over() -> None:
    share = Share(rate=Rate(count=5, seconds=2))
    shared(share, {1: 100})
    assert sum(share.need(0.3) for _ in range(40)) == 30


@pytest.mark.parametrize(
    ("per_second", "bucket"),
    [
        (1000.0, Bucket(tokens=1000, seconds=1, room=100)),
        (2.5, Bucket(tokens=5, seconds=2, room=1)),
        (1000 / 3600, Bucket(tokens=83, seconds=300, room=1)),
    ],
)
def test_rates_become_buckets_of_whole_seconds(per_second: float, bucket: Bucket) -> None:
    assert token_bucket(per_second, rate=RATE) == bucket


def test_a_report_of_envoy_is_read() -> None:
    # domain "isthmus"; one bucket {limit: edge} with 2.5 s elapsed, 300 allowed, 1 denied, and a field unknown to us.
    entry = b"\x0a\x05limit\x12\x04edge"
    usage = b"\x0a" + bytes([len(entry) + 2]) + b"\x0a" + bytes([len(entry)]) + entry
    usage += b"\x12\x07\x08\x02\x10\x80\xca\xb5\xee\x01" + b"\x18\xac\x02\x20\x01" + b"\x4d\x00\x00\x00\x00"
    message = b"\x0a\x07isthmus\x12" + bytes([len(usage)]) + usage
    usage_length = len(usage)
    assert usage_length < 128
    fixed = message.replace(b"\x12\x07\x08\x02\x10\x80\xca\xb5\xee\x01", b"\x12\x08\x08\x02\x10\x80\xca\xb5\xee\x01")
    reports = read_reports(fixed)
    assert reports.domain == "isthmus"
    (met,) = reports.usages
    assert (met.bucket, met.allowed, met.denied) == ((("limit", "edge"),), 300, 1)
    assert met.elapsed_s == pytest.approx(2.5)


@given(st.binary(max_size=60))
def test_bytes_that_are_no_message_are_refused_and_nothing_else_happens(content: bytes) -> None:
    try:
        read_reports(content)
    except WireBroken:
        return


def test_an_assignment_is_written_as_the_published_fields_say() -> None:
    bucket = (("limit", "edge"),)
    given_out = Assignment(bucket=bucket, ttl_s=15, token_bucket=Bucket(tokens=200, seconds=1, room=20))
    named = b"\x0a\x0f\x0a\x0d\x0a\x05limit\x12\x04edge"
    strategy = b"\x1a\x0b\x08\x14\x12\x03\x08\xc8\x01\x1a\x02\x08\x01"
    action = b"\x12\x02\x08\x0f\x1a" + bytes([len(strategy)]) + strategy
    whole = named + b"\x12" + bytes([len(action)]) + action
    assert write_response([given_out]) == b"\x0a" + bytes([len(whole)]) + whole
    denied = write_response([Assignment(bucket=bucket, ttl_s=15)])
    assert denied.endswith(b"\x1a\x02\x08\x01")
