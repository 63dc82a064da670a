"""What is usual for a caller: its networks and programs, and how busy it was at each hour of the day."""

from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct, field

THINGS, THINGS_LONG, RUN = "things", "things in 10 min", "run"
NETWORKS_MAX, AGENTS_MAX, ROUTES_MAX = 64, 16, 200
WORTH: Final = 10
"""Counts below this teach nothing: every threshold is above it."""
LEARNED_AFTER = timedelta(hours=20)
FADES, RISES = 0.999, 1.25
_HOURS = 24


class Profile(Struct, kw_only=True):
    """What was learned about a caller. `peaks` holds 24 numbers by name: the most in 10 s, by the hour (UTC)."""

    first_seen: datetime
    last_seen: datetime
    calls: int = 0
    networks: list[str] = field(default_factory=list[str])
    agents: list[str] = field(default_factory=list[str])
    peaks: dict[str, list[float]] = field(default_factory=dict[str, list[float]])

    def learned(self, now: datetime) -> bool:
        """Tell whether enough time went by that what is unusual means something."""
        return now - self.first_seen >= LEARNED_AFTER

    def usual(self, name: str, hour: int) -> float:
        """Return how much is usual at an hour: this hour's and its neighbours' peak, or the third highest of all.

        An export that runs every night is usual at night, and in no other hour; what comes at any hour is always usual.
        """
        peaks = self.peaks.get(name)
        if peaks is None:
            return 0.0
        near = max(peaks[hour - 1], peaks[hour], peaks[(hour + 1) % _HOURS])
        return max(near, sorted(peaks)[-3])

    def learn(self, name: str, hour: int, count: float, *, at: datetime) -> None:
        """Take a count in; peaks fade slowly, and once a caller is known they rise by a quarter at a time.

        Otherwise the first seconds of an attack would teach that the rest of it is usual.
        """
        if count < WORTH:
            return
        if self.learned(at):
            count = min(count, max(WORTH / 2, RISES * self.usual(name, hour)))
        peaks = self.peaks.get(name)
        if peaks is None:
            if len(self.peaks) >= ROUTES_MAX:
                return
            peaks = self.peaks[name] = [0.0] * _HOURS
        peaks[hour] = max(count, peaks[hour] * FADES + count * (1 - FADES))

    def met(self, network: str, agent: str) -> None:
        """Take a network and a program in; the oldest go when there are too many."""
        for known, new, most in ((self.networks, network, NETWORKS_MAX), (self.agents, agent, AGENTS_MAX)):
            if new not in known:
                known.append(new)
                del known[:-most]

    def joined(self, other: "Profile") -> "Profile":
        """Return what two workers learned together."""
        peaks = {name: list(values) for name, values in self.peaks.items()}
        for name, values in other.peaks.items():
            own = peaks.get(name)
            peaks[name] = list(map(max, own, values)) if own else list(values)
        return Profile(
            first_seen=min(self.first_seen, other.first_seen),
            last_seen=max(self.last_seen, other.last_seen),
            calls=max(self.calls, other.calls),
            networks=list(dict.fromkeys([*other.networks, *self.networks]))[-NETWORKS_MAX:],
            agents=list(dict.fromkeys([*other.agents, *self.agents]))[-AGENTS_MAX:],
            peaks=peaks,
        )


def program_of(agent: str) -> str:
    """Return the name of the program in a User-Agent, without its versions: `acme-sync/2.1 (linux)` is `acme-sync`."""
    return agent.partition("/")[0].partition(" ")[0][:40].lower()
