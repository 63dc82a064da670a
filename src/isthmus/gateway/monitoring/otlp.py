"""Traffic as OpenTelemetry's collectors take it: OTLP 1.x, ExportMetricsServiceRequest in protocol buffers.

Histograms go as they are: ours are exponential histograms of scale 5, in microseconds.
"""

from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

from isthmus.gateway.histogram import SCALE
from isthmus.gateway.metrics import Row, Snapshot
from isthmus.gateway.monitoring.wire import double, fixed, message, number, packed, signed_fixed, text, zigzag
from isthmus.kernel.ids import text_of

MEDIA = "application/x-protobuf"
PATH = "/v1/metrics"
_CUMULATIVE = 2
_PREFIXES = {"key": "key", "token": "tok"}
_Attributes = Mapping[str, str]


def export(snapshot: Snapshot, *, resource: Mapping[str, str], version: str, since_ns: int, now_ns: int) -> bytes:
    """Return the request that tells a collector everything that was counted since `since_ns` (Unix time)."""
    times = fixed(2, since_ns) + fixed(3, now_ns)
    routes = [
        ({"http.method": label.method, "http.route": label.path, "domain": label.domain}, row)
        for label, row in snapshot.routes
    ]
    keys = [({"key": _name(kind, key)}, row) for kind, key, row in snapshot.keys]
    metrics = [
        _sum("isthmus.requests", "Answers by route and class of status.", _by_class(routes), times),
        _histogram("isthmus.request.duration", "Time of answers by route.", routes, times),
        _sum("isthmus.key.requests", "Answers to the keys that call most.", _by_class(keys), times),
        _histogram("isthmus.key.request.duration", "Time of answers to the keys that call most.", keys, times),
        *(_gauge(f"isthmus.{name}", value, fixed(3, now_ns)) for name, value in snapshot.gauges.items()),
    ]
    scope = message(1, text(1, "isthmus") + text(2, version))
    inside = scope + b"".join(message(2, each) for each in metrics)
    about = message(1, _attributes(1, {"service.name": "isthmus", "service.version": version, **resource}))
    return message(1, about + message(2, inside))


def _by_class(rows: Sequence[tuple[_Attributes, Row]]) -> list[tuple[_Attributes, int]]:
    return [
        ({**named, "status": f"{index + 1}xx"}, count)
        for named, row in rows
        for index, count in enumerate(row.classes)
        if count
    ]


def _sum(name: str, about: str, points: Iterable[tuple[_Attributes, int]], times: bytes) -> bytes:
    content = b"".join(message(1, _attributes(7, named) + times + signed_fixed(6, count)) for named, count in points)
    return text(1, name) + text(2, about) + text(3, "1") + message(7, content + number(2, _CUMULATIVE) + number(3, 1))


def _gauge(name: str, value: int, now: bytes) -> bytes:
    return text(1, name) + text(3, "1") + message(5, message(1, now + signed_fixed(6, value)))


def _histogram(name: str, about: str, rows: Sequence[tuple[_Attributes, Row]], times: bytes) -> bytes:
    points = b"".join(message(1, _attributes(1, named) + times + _buckets(row)) for named, row in rows)
    return text(1, name) + text(2, about) + text(3, "us") + message(10, points + number(2, _CUMULATIVE))


def _buckets(row: Row) -> bytes:
    """Return count, sum, scale and buckets. Their bucket `n` begins where ours of the same number ends."""
    calls = sum(row.counts.values())
    head = fixed(4, calls) + double(5, float(row.micros)) + number(6, zigzag(SCALE))
    if not calls:
        return head
    first, last = min(row.counts), max(row.counts)
    counts = packed(2, (row.counts.get(place, 0) for place in range(first, last + 1)))
    return head + message(8, number(1, zigzag(first - 1)) + counts)


def _attributes(field: int, named: _Attributes) -> bytes:
    return b"".join(message(field, text(1, name) + message(2, text(1, value))) for name, value in named.items())


def _name(kind: str, key: UUID) -> str:
    return text_of(_PREFIXES[kind], key)
