"""How the rate of one limit is shared among proxies: by their demand, paid for at the authority, changed rarely.

A proxy begins a changed bucket full, so that every change admits a little more; what differs by little stays as it is.
"""

import math
from dataclasses import dataclass, field

from isthmus.app.rlqs.wire import Bucket
from isthmus.stream.limits import Rate

ROOM_S = 0.1
"""How much of a second's tokens a proxy may save."""
_STAYS, _PAID, _GROWS = 0.05, 0.97, 1.25
_LEAST_SHARE = 0.02
_WINDOWS_S = (1, 2, 5, 10, 30, 60, 300, 3_600)
_WINDOW_ERROR = 0.005


@dataclass
class Share:
    """The rate of one limit among the proxies that meet it; names of proxies are numbers.

    `level` is how much of the rate these proxies can have together, in calls a second, because others draw on it too.
    """

    rate: Rate
    demands: dict[int, float] = field(default_factory=dict[int, float])
    given: dict[int, float] = field(default_factory=dict[int, float])
    level: float = 0.0
    _rest: float = 0.0

    def __post_init__(self) -> None:
        """Begin with all of it."""
        self.level = self.level or self.rate.per_second

    def told(self, proxy: int, *, allowed: int, denied: int, elapsed_s: float) -> None:
        """Hear of the demand at a proxy; the first report says little of it."""
        self.demands[proxy] = (allowed + denied) / elapsed_s if elapsed_s > 0 else self.demands.get(proxy, 0.0)

    def left(self, proxy: int) -> None:
        """Hear that a proxy is gone."""
        self.demands.pop(proxy, None)
        self.given.pop(proxy, None)

    def need(self, passed_s: float) -> int:
        """Return how many permits the proxies use in so many seconds, to be drawn; fractions are carried over."""
        used = sum(min(self.demands[each], self.given.get(each, 0.0)) for each in self.demands)
        wanted = used * passed_s + self._rest
        whole = math.floor(wanted)
        self._rest = wanted - whole
        return min(whole, self.rate.room)

    def paid(self, granted: int, *, need: int, passed_s: float) -> None:
        """Hear how many permits were granted: less than needed lowers the level, all of it lets it rise."""
        if granted >= need * _PAID:
            self.level = min(self.rate.per_second, max(self.level * _GROWS, 1.0 / _WINDOWS_S[-1]))
        else:
            self.level = max(granted / passed_s, self.rate.per_second * _LEAST_SHARE)

    def shares(self) -> dict[int, float]:
        """Return the rate of each proxy in calls a second, and keep what differs by little."""
        count = len(self.demands)
        least = self.level * _LEAST_SHARE
        spare = self.level - least * count
        whole = sum(self.demands.values())
        wished = {
            each: least + spare * (demand / whole if whole > 0 else 1 / count) for each, demand in self.demands.items()
        }
        near = self.given.keys() == wished.keys() and all(
            abs(wished[each] - self.given[each]) <= _STAYS * self.given[each] for each in wished
        )
        if not near or sum(self.given.values()) > self.level * (1 + 1e-6):
            self.given = wished
        return self.given


def token_bucket(per_second: float, *, rate: Rate) -> Bucket:
    """Return a rate as a token bucket; proxies read whole seconds only, so slow rates take longer windows."""
    for seconds in _WINDOWS_S:
        tokens = round(per_second * seconds)
        if tokens and abs(tokens / seconds - per_second) <= per_second * _WINDOW_ERROR:
            break
    else:
        seconds, tokens = _WINDOWS_S[-1], max(1, round(per_second * _WINDOWS_S[-1]))
    room = max(1, min(rate.room, math.ceil(per_second * ROOM_S)))
    return Bucket(tokens=tokens, seconds=seconds, room=room)
