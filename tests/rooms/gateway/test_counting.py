"""Traffic is counted by route and latency, over all workers."""

from isthmus.gateway.metrics import BUCKETS, RouteLabel, Traffic, block_bytes

LABELS = [RouteLabel("GET", "/a"), RouteLabel("POST", "/b")]


def test_workers_count_apart_and_are_added_up() -> None:
    block = memoryview(bytearray(block_bytes(routes=2, workers=2)))
    first, second = Traffic(LABELS, block, worker=0), Traffic(LABELS, block, worker=1)
    first.count(0, status=200, micros=10)
    second.count(0, status=204, micros=300)
    second.count(1, status=503, micros=10)
    second.count(None, status=404, micros=10)
    shown = first.text()
    assert shown == second.text()
    assert 'isthmus_requests_total{method="GET",route="/a",status="2xx"} 2' in shown
    assert 'isthmus_requests_total{method="POST",route="/b",status="5xx"} 1' in shown
    assert 'isthmus_requests_total{method="",route="unmatched",status="4xx"} 1' in shown
    assert 'isthmus_request_seconds_sum{method="GET",route="/a"} 0.000310' in shown


def test_a_latency_falls_into_the_first_bucket_whose_bound_it_does_not_pass() -> None:
    for micros, bound in ((1, "0.000256"), (256, "0.000256"), (257, "0.000512"), (512, "0.000512"), (513, "0.001024")):
        traffic = Traffic(LABELS)
        traffic.count(0, status=200, micros=micros)
        lines = [line for line in traffic.text().splitlines() if "_bucket" in line]
        first = next(line for line in lines if line.endswith(" 1"))
        assert f'le="{bound}"' in first


def test_what_is_slower_than_every_bound_counts_in_the_total() -> None:
    traffic = Traffic(LABELS)
    traffic.count(0, status=200, micros=10**9)
    lines = [line for line in traffic.text().splitlines() if "_bucket" in line]
    assert len(lines) == BUCKETS + 1
    assert [line[-2:] for line in lines] == [" 0"] * BUCKETS + [" 1"]
