"""One row against candidates, by what was learned from all rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import floor, log10

import numpy as np
from msgspec import Struct

from isthmus.matching.probable.cluster import Edges, shared_chance
from isthmus.matching.probable.comparing import Comparing, decoded
from isthmus.matching.probable.model import Model
from isthmus.matching.probable.plain import Columns, keys, level, plain
from isthmus.matching.probable.traits import RARITIES, Plan, radix

OFTEN_MIN, OFTEN_VALUES_MAX = 3, 20_000


class Learned(Struct, frozen=True, kw_only=True):
    """What a run leaves for those that come after it.

    The model, how many rows there were, and for each trait how often its frequent values occur and which are shared by
    too many to say anything (plain values: seal it).
    """

    model: Model
    rows: int
    often: list[dict[str, int]]
    shared: list[list[str]]


def learned(comparing: Comparing, model: Model, *, rows: int) -> Learned:
    """Return what a run learned."""
    often = comparing.often(at_least=OFTEN_MIN, values_max=OFTEN_VALUES_MAX)
    return Learned(model=model, rows=rows, often=often, shared=comparing.shared())


@dataclass(frozen=True)
class Row:
    """A row to be compared: what it says by trait, and the bit mask of where it comes from."""

    values: Mapping[str, str | None]
    sources: int


@dataclass(frozen=True)
class Likely:
    """A candidate by position, the chance that it is the row's, and the pattern that says why."""

    position: int
    chance: float
    code: int


class Probe:
    """Compares single rows by what was learned."""

    def __init__(self, plan: Plan, learned: Learned) -> None:
        self._plan, self.model = plan, learned.model
        self._rows = max(learned.rows, 1)
        names = [each.name for each in plan.traits]
        self._often = dict(zip(names, learned.often, strict=True))
        self._shared = {name: frozenset(each) for name, each in zip(names, learned.shared, strict=True) if each}

    def keys(self, row: Row) -> list[str]:
        """Return the block keys of a row: only rows that share one are candidates."""
        return keys(self._plan, self._plain(row))

    def compare(self, row: Row, candidates: Sequence[Row]) -> list[Likely]:
        """Return the candidates with their chances, the likeliest first."""
        if not candidates:
            return []
        own = self._plain(row)
        codes = np.array([self._code(own, row.sources, each) for each in candidates], dtype=np.int64)
        levels, within = decoded(self._plan, codes)
        right = np.arange(1, len(codes) + 1, dtype=np.int64)
        edges = Edges(np.zeros(len(codes), dtype=np.int64), right, self.model.bits(levels, within), codes, within)
        sources = np.array([row.sources, *(each.sources for each in candidates)], dtype=np.int64)
        firsts = np.arange(len(sources), dtype=np.int64)
        chance: list[float] = shared_chance(edges, firsts=firsts, sources=sources).tolist()
        told: list[int] = codes.tolist()
        found = [Likely(n, each, code) for n, (each, code) in enumerate(zip(chance, told, strict=True))]
        return sorted(found, key=lambda one: (-one.chance, one.position))

    def _plain(self, row: Row) -> Columns:
        made = plain(self._plan, row.values)
        for name, shared in self._shared.items():
            if made[name] in shared:
                made[name] = None
        return made

    def _code(self, own: Columns, sources: int, candidate: Row) -> int:
        other = self._plain(candidate)
        total, factor = 0, 1
        for trait in self._plan.traits:
            total += factor * level(trait, self._plan, own, other, rarity=self._rarity)
            factor *= radix(trait)
        return total + (factor if sources & candidate.sources else 0)

    def _rarity(self, trait: str, value: str) -> int:
        share = self._often[trait].get(value, OFTEN_MIN - 1) / self._rows
        return min(RARITIES - 1, max(0, floor(-2 * log10(share))))
