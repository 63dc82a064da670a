"""From likely pairs to clusters: pairs that compete for one place share its odds, and the surest go first."""

from dataclasses import dataclass

import numpy as np

from isthmus.matching.probable.model import Flags, Floats, Ints

SIZE_MAX = 50
_BITS_MAX = 60.0


@dataclass(frozen=True)
class Edges:
    """Likely pairs of rows by position, `left` before `right`: the bits for them, what they show, and where they are.

    `code` is the pattern of levels; `within` tells that both rows are of one source.
    """

    left: Ints
    right: Ints
    bits: Floats
    code: Ints
    within: Flags

    def __len__(self) -> int:
        """Return how many pairs there are."""
        return len(self.left)

    def only(self, wanted: Flags | Ints) -> "Edges":
        """Return some of the pairs."""
        return Edges(self.left[wanted], self.right[wanted], self.bits[wanted], self.code[wanted], self.within[wanted])


def shared_chance(edges: Edges, *, firsts: Ints, sources: Ints) -> Floats:
    """Return for each pair the chance that it is one when a cluster is at most one of each source.

    All pairs of a cluster with clusters of one source compete: the odds of each stand against those of all, a pair of
    clusters counting with its surest pair of rows. `firsts` and `sources` are of each row's cluster so far. Pairs
    inside one source do not compete.
    """
    odds = np.exp2(np.clip(edges.bits, -_BITS_MAX, _BITS_MAX))
    one, other = firsts[edges.left], firsts[edges.right]
    count = len(firsts) + 1
    places, place = np.unique(np.minimum(one, other) * count + np.maximum(one, other), return_inverse=True)
    surest = np.zeros(len(places))
    np.maximum.at(surest, place, np.where(edges.within, 0.0, odds))
    kinds = np.unique(sources, return_inverse=True)[1].astype(np.int64)
    low, high = places // count, places % count
    size = int(kinds.max(initial=0)) + 1
    there, back = low * size + kinds[high], high * size + kinds[low]
    total = np.bincount(there, weights=surest, minlength=count * size)
    total += np.bincount(back, weights=surest, minlength=count * size)
    rivals = (total[there] + total[back] - 2 * surest)[place]
    return odds / (1 + odds + np.where(edges.within, 0.0, np.maximum(rivals, 0.0)))


class Clusters:
    """Rows that were found to be one: each row is a cluster to begin with. `sources` are bit masks."""

    def __init__(self, sources: Ints) -> None:
        self._root = list(range(len(sources)))
        self._mask: list[int] = sources.tolist()
        self._size = [1] * len(sources)

    def join(self, edges: Edges, chance: Floats, *, loose: bool = False) -> Ints:
        """Make clusters one, from the surest pair down; returns the positions of the pairs that did.

        A pair is passed over when a source has rows in both clusters, which `loose` allows, or when the result had
        more than `SIZE_MAX` rows.
        """
        order = np.lexsort((edges.right, edges.left, -edges.bits, -chance))
        made: list[int] = []
        for position, left, right in zip(
            order.tolist(), edges.left[order].tolist(), edges.right[order].tolist(), strict=True
        ):
            one, other = sorted((self._first(left), self._first(right)))
            clash = not loose and self._mask[one] & self._mask[other]
            if one == other or clash or self._size[one] + self._size[other] > SIZE_MAX:
                continue
            self._root[other] = one
            self._mask[one] |= self._mask[other]
            self._size[one] += self._size[other]
            made.append(position)
        return np.array(made, dtype=np.int64)

    def sources(self) -> Ints:
        """Return for each row the bit mask of its cluster."""
        return np.array(self._mask, dtype=np.int64)[self.firsts()]

    def firsts(self) -> Ints:
        """Return for each row the first row of its cluster."""
        return np.fromiter((self._first(n) for n in range(len(self._root))), np.int64, count=len(self._root))

    def _first(self, row: int) -> int:
        root = self._root
        while root[row] != row:
            root[row] = row = root[root[row]]
        return row
