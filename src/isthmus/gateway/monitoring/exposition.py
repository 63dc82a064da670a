"""Traffic in the text form of Prometheus (exposition format 0.0.4)."""

from collections.abc import Iterable, Iterator, Sequence
from uuid import UUID

from isthmus.gateway.histogram import MICRO, PER_OCTAVE, quantile
from isthmus.gateway.metrics import Row, Snapshot
from isthmus.kernel.ids import text_of

MEDIA = "text/plain; version=0.0.4; charset=utf-8"
FIRST_OCTAVE, LAST_OCTAVE = 8, 24
"""Upper bounds 256 µs, 512 µs, … 16.8 s; what is slower counts in the total only."""
QUANTILES = (0.5, 0.95, 0.99)
_PREFIXES = {"key": "key", "token": "tok"}
_GAUGES = {
    "in_flight": ("gauge", "isthmus_in_flight", "Calls that are being answered."),
    "audit_waiting": ("gauge", "isthmus_audit_waiting", "Entries that wait to be written into the audit log."),
    "audit_dropped": (
        "counter",
        "isthmus_audit_dropped_total",
        "Denials that were not written, because too many came.",
    ),
    "audit_written": ("counter", "isthmus_audit_written_total", "Entries that the queue wrote into the audit log."),
    "database_waiting": ("gauge", "isthmus_database_waiting", "Calls that wait for a connection to the database."),
    "database_in_use": ("gauge", "isthmus_database_in_use", "Connections to the database that are in use."),
}


def text_of_traffic(snapshot: Snapshot, *, more: Iterable[str] = ()) -> str:
    """Return everything that was counted; `more` are further lines."""
    return "\n".join([*_lines(snapshot), *more]) + "\n"


def gauge_lines(name: str, about: str, values: Iterable[tuple[str, float]]) -> Iterator[str]:
    """Yield one gauge with its values; each comes with its labels in braces, or nothing."""
    yield f"# HELP {name} {about}"
    yield f"# TYPE {name} gauge"
    for labels, value in values:
        yield f"{name}{labels} {value:g}"


def _lines(snapshot: Snapshot) -> Iterator[str]:
    routes = [(f'method="{label.method}",route="{label.path}"', row) for label, row in snapshot.routes]
    yield from _counter("isthmus_requests_total", "Answers by route and class of status.", routes)
    yield "# HELP isthmus_request_seconds Time from the first byte read to the last byte given to the server."
    yield "# TYPE isthmus_request_seconds histogram"
    for named, row in routes:
        yield from _histogram("isthmus_request_seconds", named, row)
    domains = _by_domain(snapshot)
    yield from _counter("isthmus_domain_requests_total", "Answers by domain and class of status.", domains)
    yield "# HELP isthmus_domain_request_seconds Time of answers by domain."
    yield "# TYPE isthmus_domain_request_seconds histogram"
    for named, row in domains:
        yield from _histogram("isthmus_domain_request_seconds", named, row)
    keys = [(f'key="{_key(kind, key)}"', row) for kind, key, row in snapshot.keys]
    yield from _counter("isthmus_key_requests_total", "Answers to the keys that call most.", keys)
    yield "# HELP isthmus_key_request_seconds Time of answers to the keys that call most; quantiles within 1.1 %."
    yield "# TYPE isthmus_key_request_seconds summary"
    for named, row in keys:
        yield from _summary("isthmus_key_request_seconds", named, row)
    for gauge, value in snapshot.gauges.items():
        kind, name, about = _GAUGES[gauge]
        yield from (f"# HELP {name} {about}", f"# TYPE {name} {kind}", f"{name} {value}")


def _by_domain(snapshot: Snapshot) -> list[tuple[str, Row]]:
    found: dict[str, Row] = {}
    for label, row in snapshot.routes:
        found.setdefault(label.domain, Row()).add(row)
    return [(f'domain="{name}"', row) for name, row in sorted(found.items())]


def _counter(name: str, about: str, rows: Sequence[tuple[str, Row]]) -> Iterator[str]:
    yield f"# HELP {name} {about}"
    yield f"# TYPE {name} counter"
    for named, row in rows:
        for index, count in enumerate(row.classes):
            if count:
                yield f'{name}{{{named},status="{index + 1}xx"}} {count}'


def _histogram(name: str, named: str, row: Row) -> Iterator[str]:
    places = sorted(row.counts)
    running = position = 0
    for octave in range(FIRST_OCTAVE, LAST_OCTAVE + 1):
        while position < len(places) and places[position] <= octave * PER_OCTAVE:
            running += row.counts[places[position]]
            position += 1
        yield f'{name}_bucket{{{named},le="{(1 << octave) * MICRO:.6g}"}} {running}'
    yield f'{name}_bucket{{{named},le="+Inf"}} {row.calls}'
    yield f"{name}_sum{{{named}}} {row.micros * MICRO:.6f}"
    yield f"{name}_count{{{named}}} {row.calls}"


def _summary(name: str, named: str, row: Row) -> Iterator[str]:
    for share in QUANTILES:
        micros = quantile(row.counts, share) or 0.0
        yield f'{name}{{{named},quantile="{share:g}"}} {micros * MICRO:.6f}'
    yield f"{name}_sum{{{named}}} {row.micros * MICRO:.6f}"
    yield f"{name}_count{{{named}}} {row.calls}"


def _key(kind: str, key: UUID) -> str:
    return text_of(_PREFIXES[kind], key)
