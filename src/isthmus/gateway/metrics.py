"""Traffic counted by route and by key: answers by status class, and a histogram of latency.

The numbers lie in one block of memory with a part for each worker, which only that worker writes; whoever is asked
adds up all parts. A part begins with gauges and counts of changes, has a row for each route, one for what found no
route, and a row for each of the keys that call most, whose number is bounded.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from heapq import nlargest
from uuid import UUID

from isthmus.gateway.histogram import LISTED, LISTED_MICROS, PLACES, Timings, place_of

CLASSES = 5
KEYS = 32
GAUGES = ("in_flight", "audit_waiting", "audit_dropped", "audit_written", "database_waiting", "database_in_use")
_GAUGED = 8
_CHANGES = 64
_HEAD = _GAUGED + _CHANGES
_SUM = CLASSES + PLACES
_ROW = _SUM + 1
_KEY_HEAD = 3
_KEY_ROW = _KEY_HEAD + _ROW
_WORD = 8
_HALF = (1 << 64) - 1
_KINDS = ("key", "token")
_RANKED_MAX = 10_000


def block_bytes(*, routes: int, workers: int) -> int:
    """Return the size of the block."""
    return _part_words(routes + 1) * workers * _WORD


def _part_words(rows: int) -> int:
    return _HEAD + rows * _ROW + KEYS * _KEY_ROW


@dataclass(frozen=True)
class RouteLabel:
    """How a route is named in the metrics, and the domain whose permission it asks for; none is `system`."""

    method: str
    path: str
    domain: str = "system"


@dataclass(kw_only=True)
class Row:
    """Sums: answers by status class (1xx to 5xx), the histogram's buckets, and microseconds in all."""

    classes: list[int] = field(default_factory=lambda: [0] * CLASSES)
    counts: dict[int, int] = field(default_factory=dict[int, int])
    micros: int = 0

    @property
    def calls(self) -> int:
        """How many answers there were."""
        return sum(self.classes)

    def add(self, other: "Row") -> None:
        """Add the sums of another."""
        self.classes = [mine + its for mine, its in zip(self.classes, other.classes, strict=True)]
        self.micros += other.micros
        for place, count in other.counts.items():
            self.counts[place] = self.counts.get(place, 0) + count


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """What all workers counted: routes that were called, the busiest keys (kind and id), and gauges."""

    routes: Sequence[tuple[RouteLabel, Row]]
    keys: Sequence[tuple[str, UUID, Row]]
    gauges: dict[str, int]


class Traffic:
    """Counts answers; `worker` (from 0) says which part of the block is written here."""

    def __init__(self, labels: Sequence[RouteLabel], block: memoryview | None = None, *, worker: int = 0) -> None:
        """Without a block, count in memory of its own."""
        self.labels = (*labels, RouteLabel("", "unmatched"))
        whole = block if block is not None else memoryview(bytearray(block_bytes(routes=len(labels), workers=1)))
        self._words = whole.cast("B").cast("Q")
        self._part = _part_words(len(self.labels))
        self._own = worker * self._part
        self._shared = len(self._words) > self._part
        self._rows = self._own + _HEAD
        self._last = len(self.labels) - 1
        self._keys = self._rows + len(self.labels) * _ROW
        # Keys are known by the number of their id, which is found in a dictionary several times sooner than the id.
        self._slots: dict[int, int] = {}
        self._wanted: set[int] = set()
        self._calls: dict[int, int] = {}
        self.settle: Callable[[], None] = _nothing
        """Brings in what was counted elsewhere in this worker; called before anything is read."""
        for gauge in range(_GAUGED):
            self._words[self._own + gauge] = 0
        self._clear_keys()

    def entered(self) -> None:
        """Count a call that begins."""
        self._words[self._own] += 1

    def left(self) -> None:
        """Count a call that is over."""
        self._words[self._own] -= 1

    def gauge(self, name: str, value: int) -> None:
        """Say how one of `GAUGES` stands in this worker."""
        self._words[self._own + GAUGES.index(name)] = max(value, 0)

    def changed(self, workspace: int) -> None:
        """Count a call that may have changed something in a workspace."""
        self._words[self._own + _GAUGED + workspace % _CHANGES] += 1

    def changes(self, workspace: int) -> int:
        """Return a number that is another one after such a call to any worker; other workspaces may move it too."""
        place = _GAUGED + workspace % _CHANGES
        return sum(self._words[place :: self._part]) if self._shared else self._words[place]

    def count(self, route: int | None, *, status: int, micros: int) -> None:
        """Count one answer of a route, by its place among the labels; `status` is 100 to 599."""
        self._add(self._rows + (self._last if route is None else route) * _ROW, status, micros)

    def count_many(self, route: int, timings: Timings) -> None:
        """Count answers of a route with 200."""
        self._add_many(self._rows + route * _ROW, timings)

    def count_key_many(self, kind: str, key: UUID, timings: Timings) -> None:
        """Count answers with 200 for a key."""
        start = self._row_of_key(kind, key.int, timings.calls)
        if start is not None:
            self._add_many(start, timings)

    def count_key(self, kind: str, key: UUID, *, status: int, micros: int) -> None:
        """Count one answer for a key. Whoever comes while there is room gets a row; `rank` makes room."""
        start = self._row_of_key(kind, key.int, 1)
        if start is not None:
            self._add(start, status, micros)

    def rank(self) -> None:
        """Give the rows of keys to those that called most since the last time; their counts begin anew."""
        best = set(nlargest(KEYS, self._calls, key=self._calls.__getitem__))
        for key in [each for each in self._slots if each not in best and len(self._calls) > KEYS]:
            start = self._slots.pop(key)
            self._words[start] = 0
        self._wanted = best - self._slots.keys()
        self._calls.clear()

    def snapshot(self) -> Snapshot:
        """Return the sums of all workers."""
        self.settle()
        parts = len(self._words) // self._part
        starts = [part * self._part for part in range(parts)]
        routes = [(label, self._summed(starts, _HEAD + index * _ROW)) for index, label in enumerate(self.labels)]
        keys: dict[tuple[str, UUID], Row] = {}
        for start in starts:
            for slot in range(KEYS):
                at = start + _HEAD + len(self.labels) * _ROW + slot * _KEY_ROW
                kind, high, low = self._words[at : at + _KEY_HEAD].tolist()
                if kind:
                    name = (_KINDS[kind - 1], UUID(int=high << 64 | low))
                    keys.setdefault(name, Row()).add(self._row(at + _KEY_HEAD))
        gauges = {name: sum(self._words[start + n] for start in starts) for n, name in enumerate(GAUGES)}
        return Snapshot(
            routes=[(label, row) for label, row in routes if row.calls],
            keys=[(kind, key, row) for (kind, key), row in keys.items() if row.calls],
            gauges=gauges,
        )

    def _row_of_key(self, kind: str, number: int, more: int) -> int | None:
        """Add calls of a key to its rank, and return where its row begins if it has one."""
        calls = self._calls
        met = calls.get(number)
        if met is not None:
            calls[number] = met + more
        elif len(calls) < _RANKED_MAX:
            calls[number] = more
        start = self._slots.get(number)
        if start is None:
            room = len(self._slots) + len(self._wanted) < KEYS
            if kind not in _KINDS or not (room or number in self._wanted):
                return None
            self._wanted.discard(number)
            start = self._take(kind, number)
        return start + _KEY_HEAD

    def _add_many(self, start: int, timings: Timings) -> None:
        words = self._words
        words[start + 1] += timings.calls
        words[start + _SUM] += timings.micros
        first = start + CLASSES
        for place, count in timings.counts.items():
            words[first + place] += count

    def _add(self, start: int, status: int, micros: int) -> None:
        words = self._words
        words[start + status // 100 - 1] += 1
        words[start + CLASSES + (LISTED[micros] if 0 <= micros < LISTED_MICROS else place_of(micros))] += 1
        words[start + _SUM] += micros

    def _summed(self, starts: Sequence[int], offset: int) -> Row:
        found = Row()
        for start in starts:
            # A worker has called a route when a class of status was counted; most rows are empty and cost no more.
            if any(self._words[start + offset : start + offset + CLASSES]):
                found.add(self._row(start + offset))
        return found

    def _row(self, start: int) -> Row:
        words = self._words[start : start + _ROW].tolist()
        counts = {place: count for place, count in enumerate(words[CLASSES:_SUM]) if count}
        return Row(classes=words[:CLASSES], counts=counts, micros=words[_SUM])

    def _take(self, kind: str, key: int) -> int:
        taken = set(self._slots.values())
        start = next(
            at for slot in range(KEYS) if (at := self._keys + slot * _KEY_ROW) not in taken and not self._words[at]
        )
        self._slots[key] = start
        for place in range(start + _KEY_HEAD, start + _KEY_ROW):
            self._words[place] = 0
        self._words[start + 1], self._words[start + 2] = key >> 64, key & _HALF
        self._words[start] = _KINDS.index(kind) + 1
        return start

    def _clear_keys(self) -> None:
        for slot in range(KEYS):
            self._words[self._keys + slot * _KEY_ROW] = 0


def _nothing() -> None:
    """Do nothing."""
