"""Measurements against named peers, each a command: `isthmus bench NAME [--quick] [--json]`.

A bench starts its peers itself, interleaves rounds, and reports medians with minimum and maximum, CPU and wall time.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A figure with its limit; it holds when the value is at most (or at least) the limit."""

    value: float
    limit: float
    at_most: bool = True

    @property
    def holds(self) -> bool:
        """Tell whether the bar holds."""
        return self.value <= self.limit if self.at_most else self.value >= self.limit


@dataclass(kw_only=True)
class Outcome:
    """What a bench found."""

    bench: str
    rounds: int
    figures: dict[str, float] = field(default_factory=dict[str, float])
    bars: dict[str, Bar] = field(default_factory=dict[str, Bar])
    peers: dict[str, str] = field(default_factory=dict[str, str])

    def document(self) -> dict[str, object]:
        """Return the JSON document of INTERFACE form."""
        bars = {name: {"value": bar.value, "limit": bar.limit, "holds": bar.holds} for name, bar in self.bars.items()}
        return {
            "bench": self.bench,
            "figures": self.figures,
            "bars": bars,
            "peers": self.peers,
            "rounds": self.rounds,
        }


class Bench(Protocol):
    """Runs a measurement; `quick` ends within a minute on two cores."""

    def __call__(self, *, quick: bool, say: Callable[[str], None]) -> Outcome:
        """Measure."""
        ...
