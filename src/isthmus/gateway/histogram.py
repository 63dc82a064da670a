"""Histograms of latency whose buckets grow by 2^(1/32), so that any quantile is at most 1.1 % from the truth.

They are the exponential histograms of OpenTelemetry at scale 5, with microseconds as unit: bucket `n` holds what is
over 2^((n-1)/32) and not over 2^(n/32). Powers of two are bounds, so coarser histograms come out exactly. Histograms
are merged by adding their counts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, log2

SCALE = 5
PER_OCTAVE = 1 << SCALE
OCTAVES = 26
PLACES = OCTAVES * PER_OCTAVE + 2
"""Buckets: up to 67 s, and a last one for what is slower."""
GROWTH = 2 ** (1 / PER_OCTAVE)
RELATIVE_ERROR = (GROWTH - 1) / (GROWTH + 1)
_LAST = PLACES - 1
LISTED_MICROS = 1 << 15
LISTED = (0, *(ceil(log2(micros) * PER_OCTAVE) for micros in range(1, LISTED_MICROS)))
"""The bucket of every latency below 33 ms, for looking one up takes a tenth of working it out."""
MICRO = 1e-6


@dataclass(frozen=True, slots=True)
class Timings:
    """What calls took: their number, the sum of their microseconds, how many took each time, how many by bucket."""

    calls: int
    micros: int
    times: Mapping[int, int]
    counts: Mapping[int, int]


def timings_of(times: Mapping[int, int]) -> Timings:
    """Return the sums of calls, given how many took each number of microseconds."""
    calls = total = 0
    counts: dict[int, int] = {}
    for micros, count in times.items():
        calls += count
        total += micros * count
        place = LISTED[micros] if 0 <= micros < LISTED_MICROS else place_of(micros)
        counts[place] = counts.get(place, 0) + count
    return Timings(calls, total, times, counts)


def place_of(micros: int) -> int:
    """Return the bucket of a latency in microseconds; less than one counts as one."""
    if micros < LISTED_MICROS:
        return LISTED[max(micros, 0)]
    return min(ceil(log2(micros) * PER_OCTAVE), _LAST)


def upper_bound(place: int) -> float:
    """Return the highest latency of a bucket, in microseconds."""
    return 2.0 ** (place / PER_OCTAVE)


def quantile(counts: Mapping[int, int], share: float) -> float | None:
    """Return the latency, in microseconds, that this share (0..1) of all does not exceed; None without any.

    The rank is the nearest one; the value is that of the bucket from which both of its bounds are equally far, relative
    to them.
    """
    total = sum(counts.values())
    if total == 0:
        return None
    rank = max(1, ceil(share * total))
    running = 0
    for place in sorted(counts):
        running += counts[place]
        if running >= rank:
            return 1.0 if place == 0 else 2 * upper_bound(place) / (1 + GROWTH)
    return None


def merged(into: dict[int, int], counts: Mapping[int, int]) -> None:
    """Add one histogram to another."""
    for place, count in counts.items():
        into[place] = into.get(place, 0) + count
