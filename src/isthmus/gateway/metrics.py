"""Traffic counted by route: answers by status class, and a histogram of latency with buckets that double.

The numbers lie in one block of memory with a part for each worker, which only that worker writes; whoever is asked
adds up all parts. Text form: Prometheus exposition 0.0.4.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

FIRST_BUCKET_US = 256
BUCKETS = 17
"""Upper bounds 256 µs, 512 µs, … 16.8 s; slower answers count in the total only."""
_CLASSES = 5
_SUM = _CLASSES + BUCKETS + 1
_ROW = _SUM + 1
_WORD = 8
_MICRO = 1e-6
MEDIA = "text/plain; version=0.0.4; charset=utf-8"


def block_bytes(*, routes: int, workers: int) -> int:
    """Return the size of the block; the last row of each part counts what found no route."""
    return (routes + 1) * workers * _ROW * _WORD


@dataclass(frozen=True)
class RouteLabel:
    """How a route is named in the metrics."""

    method: str
    path: str


class Traffic:
    """Counts answers; `worker` (from 0) says which part of the block is written here."""

    def __init__(self, labels: Sequence[RouteLabel], block: memoryview | None = None, *, worker: int = 0) -> None:
        """Without a block, count in memory of its own."""
        self._labels = [*labels, RouteLabel("", "unmatched")]
        whole = block if block is not None else memoryview(bytearray(block_bytes(routes=len(labels), workers=1)))
        self._words = whole.cast("B").cast("Q")
        self._part = len(self._labels) * _ROW
        self._own = worker * self._part

    def count(self, route: int | None, *, status: int, micros: int) -> None:
        """Count one answer of a route, by its place among the labels."""
        words = self._words
        row = self._own + (len(self._labels) - 1 if route is None else route) * _ROW
        words[row + min(max(status // 100, 1), _CLASSES) - 1] += 1
        bucket = max(0, (max(micros, 1) - 1).bit_length() - (FIRST_BUCKET_US - 1).bit_length())
        words[row + _CLASSES + min(bucket, BUCKETS)] += 1
        words[row + _SUM] += micros

    def text(self) -> str:
        """Return all counts of all workers."""
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        rows = [(label, self._row(index)) for index, label in enumerate(self._labels)]
        used = [(label, row) for label, row in rows if any(row)]
        yield "# HELP isthmus_requests_total Answers by route and class of status."
        yield "# TYPE isthmus_requests_total counter"
        for label, row in used:
            for index in range(_CLASSES):
                if row[index]:
                    yield f'isthmus_requests_total{{{_named(label)},status="{index + 1}xx"}} {row[index]}'
        yield "# HELP isthmus_request_seconds Time from the first byte read to the last byte given to the server."
        yield "# TYPE isthmus_request_seconds histogram"
        for label, row in used:
            yield from _histogram(_named(label), row)

    def _row(self, index: int) -> list[int]:
        parts = len(self._words) // self._part
        starts = [part * self._part + index * _ROW for part in range(parts)]
        return [sum(self._words[start + column] for start in starts) for column in range(_ROW)]


def _histogram(named: str, row: Sequence[int]) -> Iterator[str]:
    running = 0
    for bucket in range(BUCKETS):
        running += row[_CLASSES + bucket]
        bound = (FIRST_BUCKET_US << bucket) * _MICRO
        yield f'isthmus_request_seconds_bucket{{{named},le="{bound:.6g}"}} {running}'
    running += row[_CLASSES + BUCKETS]
    yield f'isthmus_request_seconds_bucket{{{named},le="+Inf"}} {running}'
    yield f"isthmus_request_seconds_sum{{{named}}} {row[_SUM] * _MICRO:.6f}"
    yield f"isthmus_request_seconds_count{{{named}}} {running}"


def _named(label: RouteLabel) -> str:
    return f'method="{label.method}",route="{label.path}"'
