"""What a worker knows of the way to each upstream: its circuit breaker, its budget of retries, and its health."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from isthmus.app.upstreams.register import NewUpstream
from isthmus.gateway.upstreams.breaker import Breaker, RetryAllowance, State, Tolerance

Health: TypeAlias = Literal["unknown", "well", "ill"]
BAD_TO_ILL, GOOD_TO_WELL = 3, 2


@dataclass
class Way:
    """The way to one upstream. `health` is what its own answers to being asked say; unknown passes."""

    upstream: NewUpstream
    breaker: Breaker = field(default_factory=lambda: Breaker(Tolerance()))
    budget: RetryAllowance = field(default_factory=RetryAllowance)
    health: Health = "unknown"
    checked_at: float | None = None
    _bad: int = 0
    _good: int = 0

    @property
    def circuit(self) -> State:
        """How its breaker stands."""
        return self.breaker.state(time.monotonic())

    def checked(self, *, good: bool) -> None:
        """Hear how a check ended: a few bad ones in a row make it ill, a few good ones well."""
        self._bad, self._good = (0, self._good + 1) if good else (self._bad + 1, 0)
        if self._bad >= BAD_TO_ILL:
            self.health = "ill"
        elif self._good >= GOOD_TO_WELL or (good and self.health == "unknown"):
            self.health = "well"


class Ways:
    """The ways of one worker."""

    def __init__(self) -> None:
        """Nothing is known yet."""
        self._ways: dict[tuple[int, str], Way] = {}

    def to(self, workspace: int, upstream: NewUpstream) -> Way:
        """Return the way to an upstream; one that was registered anew begins anew."""
        way = self._ways.get((workspace, upstream.name))
        if way is None or way.upstream != upstream:
            way = self._ways[workspace, upstream.name] = Way(upstream)
        return way

    def keep(self, known: Iterable[tuple[int, str]]) -> None:
        """Forget all other ways, because their upstreams are gone."""
        for each in self._ways.keys() - set(known):
            del self._ways[each]
