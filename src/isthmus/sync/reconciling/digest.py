"""Digests of many rows: a count, the exact sum of their hashes, and the hashes mixed by exclusive or.

Each of the three can be taken back, so a digest is kept up to date without reading the rows again. The exclusive or
alone forgets a row that stands there twice; the sum and the count do not.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Digest:
    """A digest of rows; two of the same rows are equal, whatever the order."""

    count: int = 0
    total: int = 0
    mixed: int = 0

    def __add__(self, other: "Digest") -> "Digest":
        """Return the digest of the rows of both."""
        return Digest(self.count + other.count, self.total + other.total, self.mixed ^ other.mixed)

    def __sub__(self, other: "Digest") -> "Digest":
        """Return the digest without the rows of the other."""
        return Digest(self.count - other.count, self.total - other.total, self.mixed ^ other.mixed)

    @classmethod
    def of(cls, row_hash: int) -> "Digest":
        """Return the digest of one row."""
        return cls(1, row_hash, row_hash)


EMPTY = Digest()
Digests = Mapping[int, Digest]
"""Digests by the number of their bucket; a bucket that is absent is empty."""


@dataclass(frozen=True, slots=True)
class Buckets:
    """Some buckets: a place belongs to the bucket `place >> bits`."""

    bits: int
    numbers: tuple[int, ...]

    def spans(self) -> tuple[list[int], list[int]]:
        """Return the first and the last places; neighbours are one span."""
        first: list[int] = []
        last: list[int] = []
        for number in sorted(self.numbers):
            begin = number << self.bits
            if last and last[-1] == begin - 1:
                last[-1] = begin + (1 << self.bits) - 1
            else:
                first.append(begin)
                last.append(begin + (1 << self.bits) - 1)
        return first, last


def gathered(pairs: Iterable[tuple[int, int]], *, bits: int) -> dict[int, Digest]:
    """Return the digests of (place, hash of the row), by bucket."""
    counts: dict[int, list[int]] = {}
    for place, row_hash in pairs:
        known = counts.setdefault(place >> bits, [0, 0, 0])
        known[0] += 1
        known[1] += row_hash
        known[2] ^= row_hash
    return {number: Digest(*parts) for number, parts in counts.items()}


def coarser(digests: Digests, *, by: int) -> dict[int, Digest]:
    """Return the digests of buckets that are 2^by times as wide."""
    found: dict[int, Digest] = {}
    for number, digest in digests.items():
        found[number >> by] = found.get(number >> by, EMPTY) + digest
    return found


def unlike(one: Digests, other: Digests) -> list[int]:
    """Return the buckets whose digests differ, in order."""
    return sorted(each for each in one.keys() | other.keys() if one.get(each, EMPTY) != other.get(each, EMPTY))
