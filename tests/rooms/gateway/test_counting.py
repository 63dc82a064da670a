"""Traffic is counted by route, key and latency, over all workers, and shown as Prometheus reads it."""

from uuid import UUID

from isthmus.gateway.metrics import KEYS, RouteLabel, Traffic, block_bytes
from isthmus.gateway.monitoring.exposition import FIRST_OCTAVE, LAST_OCTAVE, text_of_traffic
from isthmus.kernel.ids import text_of

LABELS = [RouteLabel("GET", "/a", "sales"), RouteLabel("POST", "/b")]


def shown(traffic: Traffic) -> str:
    return text_of_traffic(traffic.snapshot())


def test_workers_count_apart_and_are_added_up() -> None:
    block = memoryview(bytearray(block_bytes(routes=2, workers=2)))
    first, second = Traffic(LABELS, block, worker=0), Traffic(LABELS, block, worker=1)
    first.count(0, status=200, micros=10)
    second.count(0, status=204, micros=300)
    second.count(1, status=503, micros=10)
    second.count(None, status=404, micros=10)
    text = shown(first)
    assert text == shown(second)
    assert 'isthmus_requests_total{method="GET",route="/a",status="2xx"} 2' in text
    assert 'isthmus_requests_total{method="POST",route="/b",status="5xx"} 1' in text
    assert 'isthmus_requests_total{method="",route="unmatched",status="4xx"} 1' in text
    assert 'isthmus_request_seconds_sum{method="GET",route="/a"} 0.000310' in text
    assert 'isthmus_domain_requests_total{domain="sales",status="2xx"} 2' in text
    assert 'isthmus_domain_requests_total{domain="system",status="5xx"} 1' in text


def test_a_worker_that_comes_in_the_place_of_another_goes_on_counting() -> None:
    block = memoryview(bytearray(block_bytes(routes=2, workers=1)))
    died = Traffic(LABELS, block)
    died.entered()
    died.count(0, status=200, micros=10)
    died.count_key("key", UUID(int=1), status=200, micros=10)
    born = Traffic(LABELS, block).snapshot()
    assert [row.calls for _, row in born.routes] == [1]
    assert born.gauges["in_flight"] == 0
    assert born.keys == []


def test_a_latency_falls_into_the_first_bucket_whose_bound_it_does_not_pass() -> None:
    for micros, bound in ((1, "0.000256"), (256, "0.000256"), (257, "0.000512"), (512, "0.000512"), (513, "0.001024")):
        traffic = Traffic(LABELS)
        traffic.count(0, status=200, micros=micros)
        lines = [line for line in shown(traffic).splitlines() if "isthmus_request_seconds_bucket" in line]
        first = next(line for line in lines if line.endswith(" 1"))
        assert f'le="{bound}"' in first


def test_what_is_slower_than_every_bound_counts_in_the_total() -> None:
    traffic = Traffic(LABELS)
    traffic.count(0, status=200, micros=10**9)
    lines = [line for line in shown(traffic).splitlines() if "isthmus_request_seconds_bucket" in line]
    bounds = LAST_OCTAVE - FIRST_OCTAVE + 1
    assert [line[-2:] for line in lines] == [" 0"] * bounds + [" 1"]


def test_keys_have_a_bounded_number_of_rows_and_those_that_call_most_get_them() -> None:
    traffic = Traffic(LABELS)
    for number in range(1, 3 * KEYS):
        for _ in range(number):
            traffic.count_key("key", UUID(int=number), status=200, micros=100)
    assert len(traffic.snapshot().keys) == KEYS
    assert {key.int for _, key, _ in traffic.snapshot().keys} == set(range(1, KEYS + 1))
    traffic.rank()
    for number in range(1, 3 * KEYS):
        traffic.count_key("key", UUID(int=number), status=429, micros=100)
    assert {key.int for _, key, _ in traffic.snapshot().keys} == set(range(2 * KEYS, 3 * KEYS))
    busiest = text_of("key", UUID(int=3 * KEYS - 1))
    assert f'isthmus_key_requests_total{{key="{busiest}",status="4xx"}} 1' in shown(traffic)


def test_a_key_shows_its_quantiles_and_sessions_have_no_row() -> None:
    traffic = Traffic(LABELS)
    for micros in range(1_000, 101_000, 1_000):
        traffic.count_key("key", UUID(int=7), status=200, micros=micros)
    traffic.count_key("session", UUID(int=8), status=200, micros=1)
    line = next(each for each in shown(traffic).splitlines() if 'quantile="0.95"' in each)
    assert abs(float(line.rpartition(" ")[2]) / 0.095 - 1) < 0.011
    assert [key.int for _, key, _ in traffic.snapshot().keys] == [7]


def test_calls_in_flight_are_those_that_entered_and_have_not_left() -> None:
    traffic = Traffic(LABELS)
    traffic.entered()
    traffic.entered()
    traffic.left()
    assert "isthmus_in_flight 1" in shown(traffic)
