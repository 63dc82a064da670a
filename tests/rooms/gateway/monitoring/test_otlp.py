"""What we send to collectors is read by OpenTelemetry's own definitions, and says what was counted."""

from math import ceil
from uuid import UUID

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, ExponentialHistogramDataPoint, Metric

from isthmus.gateway.metrics import RouteLabel, Traffic
from isthmus.gateway.monitoring.otlp import export
from isthmus.kernel.ids import text_of

LABELS = [RouteLabel("GET", "/a", "sales"), RouteLabel("POST", "/ü", "system")]
MICROS = [1, 2, 3, 250, 1_000, 1_001, 40_000, 40_500, 90_000, 5_000_000, 80_000_000]


def read(traffic: Traffic) -> dict[str, Metric]:
    sent = export(traffic.snapshot(), resource={"host": "a"}, version="1", since_ns=5, now_ns=2**60 + 7)
    request = ExportMetricsServiceRequest.FromString(sent)
    assert request.ByteSize() == len(sent)
    resource = request.resource_metrics[0].resource
    assert {each.key: each.value.string_value for each in resource.attributes} == {
        "service.name": "isthmus",
        "service.version": "1",
        "host": "a",
    }
    return {each.name: each for each in request.resource_metrics[0].scope_metrics[0].metrics}


def quantile(point: ExponentialHistogramDataPoint, share: float) -> float:
    """Return a quantile as a collector works it out: the upper bound of the bucket that holds it."""
    rank, running = ceil(share * point.count), 0
    for index, count in enumerate(point.positive.bucket_counts):
        running += count
        if running >= rank:
            return 2.0 ** ((point.positive.offset + index + 1) / 2**point.scale)
    raise AssertionError(share)


def test_a_collector_reads_what_was_counted() -> None:
    traffic = Traffic(LABELS)
    for micros in MICROS:
        traffic.count(0, status=200, micros=micros)
    traffic.count(1, status=503, micros=10)
    traffic.count_key("key", UUID(int=9), status=429, micros=10)
    traffic.entered()
    found = read(traffic)
    sums = {
        (tuple(each.value.string_value for each in point.attributes)): point.as_int
        for point in found["isthmus.requests"].sum.data_points
    }
    assert sums == {("GET", "/a", "sales", "2xx"): len(MICROS), ("POST", "/ü", "system", "5xx"): 1}
    assert found["isthmus.requests"].sum.is_monotonic
    histogram = found["isthmus.request.duration"].exponential_histogram
    assert histogram.aggregation_temporality == AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
    assert found["isthmus.request.duration"].unit == "us"
    point = histogram.data_points[0]
    assert (point.count, point.sum, point.scale) == (len(MICROS), sum(MICROS), 5)
    assert (point.start_time_unix_nano, point.time_unix_nano) == (5, 2**60 + 7)
    assert sum(point.positive.bucket_counts) == len(MICROS)
    for share in (0.2, 0.5, 0.75, 0.9):
        exact = sorted(MICROS)[ceil(share * len(MICROS)) - 1]
        assert exact <= quantile(point, share) <= exact * 1.022
    keys = found["isthmus.key.requests"].sum.data_points[0]
    assert [each.value.string_value for each in keys.attributes] == [text_of("key", UUID(int=9)), "4xx"]
    assert found["isthmus.in_flight"].gauge.data_points[0].as_int == 1


def test_nothing_counted_is_a_request_that_a_collector_reads() -> None:
    assert list(read(Traffic(LABELS))["isthmus.requests"].sum.data_points) == []
