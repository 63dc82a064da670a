"""Nodes and one authority in a time that the test moves."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from isthmus.stream.limits import Ask, Bucket, Grant, Lease, Leases, Rate, Refusal
from isthmus.stream.limits.bucket import LimitsAway

START_S = 1_800_000_000.0


@dataclass
class World:
    """A clock, the buckets under it, and whether they can be reached. It is an authority itself."""

    now: float = START_S
    away: bool = False
    generation: int = 0
    alive: int = 1
    asked: list[Ask] = field(default_factory=list[Ask])
    buckets: dict[str, Bucket] = field(default_factory=dict[str, Bucket])

    async def draw(self, ask: Ask) -> Grant:
        """Take from a bucket of this memory."""
        if self.away:
            raise LimitsAway("It is away.")
        self.asked.append(ask)
        bucket = self.buckets.setdefault(ask.key, Bucket(ask.rate))
        return bucket.draw(ask, now_us=round(self.now * 1_000_000))

    async def nodes(self, node: str) -> int:
        """Return how many nodes there are."""
        del node
        return self.alive

    def node(self, name: str, *, skew_s: float = 0.0) -> Leases:
        """Return a node whose clock goes `skew_s` seconds wrong."""
        return Leases(self, node=name, ticks=lambda: self.now + skew_s)


async def admits(node: Leases, leases: Sequence[Lease], *, cost: int = 1) -> bool:
    """Tell whether a call is let through."""
    taken = node.take(tuple(leases), cost=cost)
    if taken is None or isinstance(taken, Refusal):
        return taken is None
    return await taken is None


def most_over(admitted: Sequence[tuple[float, int]], rate: Rate) -> float:
    """Return by how much the fullest window of any length is over burst + rate × length; at most 0 is within."""
    worst, held, last = 0.0, 0.0, None
    for at, cost in admitted:
        held = max(0.0, held - (at - last) * rate.per_second) if last is not None else 0.0
        held += cost
        worst, last = max(worst, held - rate.room), at
    return worst
