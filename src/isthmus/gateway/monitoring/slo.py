"""Objectives of service, what is left of their error budgets, and how fast these burn.

A burn rate of 1 uses up the budget exactly at the end of its 30 days. An alarm looks at a long window, so that it means
something, and at a short one, so that it ends when the trouble ends (Site Reliability Workbook, chapter 5, table 5-8).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, TypeAlias

from isthmus.gateway.monitoring.minutes import EVERYTHING, OBJECTIVE_MICROS, Kind, Sums

PERIOD = timedelta(days=30)
BAD_MIN = 5
"""Fewer bad answers than this in the long window alarm nobody: one failure among ten calls at night is no outage."""
Urgency: TypeAlias = Literal["page", "warning"]


@dataclass(frozen=True, kw_only=True)
class Objective:
    """The share of good ones that is promised; `judges` says what a bad one is."""

    name: str
    title: str
    target: float
    judges: Literal["failed", "slow"]
    kind: Kind = "all"
    about: str = EVERYTHING
    installation: bool = False

    @property
    def allowed(self) -> float:
        """The share that may be bad."""
        return 1 - self.target


@dataclass(frozen=True, kw_only=True)
class Window:
    """An alarm: the budget burns faster than `factor` over both stretches of time."""

    name: str
    factor: float
    long: timedelta
    short: timedelta
    urgency: Urgency


@dataclass(frozen=True, kw_only=True)
class Burn:
    """How fast a budget burns over the two windows, and whether that is an alarm."""

    window: Window
    long_rate: float
    short_rate: float
    bad: int

    @property
    def alarming(self) -> bool:
        """Tell whether both windows burn faster than the factor, on more than a handful."""
        return self.bad >= BAD_MIN and min(self.long_rate, self.short_rate) > self.window.factor


OBJECTIVES = (
    Objective(name="errors", title="Answers without a fault of ours", target=0.999, judges="failed"),
    Objective(name="latency", title=f"Answers within {OBJECTIVE_MICROS // 1000} ms", target=0.95, judges="slow"),
    Objective(
        name="uptime",
        title="Probes that were answered",
        target=0.999,
        judges="failed",
        kind="probe",
        about="healthz",
        installation=True,
    ),
)
WINDOWS = (
    Window(name="fast", factor=14.4, long=timedelta(hours=1), short=timedelta(minutes=5), urgency="page"),
    Window(name="steady", factor=6, long=timedelta(hours=6), short=timedelta(minutes=30), urgency="page"),
    Window(name="slow", factor=1, long=timedelta(days=3), short=timedelta(hours=6), urgency="warning"),
)
LENGTHS = tuple(sorted({each.long for each in WINDOWS} | {each.short for each in WINDOWS} | {PERIOD}))
"""The stretches of time for which sums are needed."""


def bad_and_all(objective: Objective, sums: Sums) -> tuple[int, int]:
    """Return how many were bad, and of how many."""
    return (sums.failed, sums.calls) if objective.judges == "failed" else (sums.slow, sums.timed)


def burn_rate(objective: Objective, sums: Sums) -> float:
    """Return the share of bad ones over the share that is allowed; nothing burns where nothing was called."""
    bad, every = bad_and_all(objective, sums)
    return bad / every / objective.allowed if every else 0.0


def remaining(objective: Objective, sums: Sums) -> float:
    """Return the share of the budget that is left, below 0 when it is overdrawn; `sums` are those of 30 days."""
    return 1 - burn_rate(objective, sums)


def burns(objective: Objective, sums: Mapping[timedelta, Sums]) -> Sequence[Burn]:
    """Return how each window stands."""
    return [
        Burn(
            window=window,
            long_rate=burn_rate(objective, sums[window.long]),
            short_rate=burn_rate(objective, sums[window.short]),
            bad=bad_and_all(objective, sums[window.long])[0],
        )
        for window in WINDOWS
    ]
