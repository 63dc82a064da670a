"""What was found, and what is done about it: observe → tag → step up → slow → block → revoke."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, TypeAlias, get_args

from isthmus.gateway.errors import LimitReached
from isthmus.kernel.errors import Denied, Invalid

Detector: TypeAlias = Literal[
    "stuffing", "leakage", "enumeration", "scraping", "injection", "volume", "probing", "honey"
]
Mode: TypeAlias = Literal["off", "observe", "enforce"]
Step: TypeAlias = Literal["observe", "tag", "step_up", "slow", "block", "revoke"]
DETECTORS: tuple[Detector, ...] = get_args(Detector)
STEPS: tuple[Step, ...] = get_args(Step)
MODES: Mapping[Detector, Mode] = {
    **dict[Detector, Mode].fromkeys(DETECTORS, "observe"),
    "stuffing": "enforce",
    "honey": "enforce",
}
"""What holds until a workspace says otherwise: what judges by counting is watched first."""
LADDERS: Mapping[Detector, tuple[Step, ...]] = {
    "stuffing": ("block",),
    "leakage": ("step_up", "block", "revoke"),
    "enumeration": ("tag", "slow", "block"),
    "scraping": ("slow", "block"),
    "injection": ("tag", "slow", "block"),
    "volume": ("slow", "block"),
    "probing": ("tag", "slow", "block"),
    "honey": ("block",),
}
LASTS: Mapping[Step, timedelta] = {
    "observe": timedelta(minutes=15),
    "tag": timedelta(hours=1),
    "step_up": timedelta(minutes=15),
    "slow": timedelta(minutes=5),
    "block": timedelta(minutes=15),
    "revoke": timedelta(days=3_650),
}
BLOCK_MAX, HONEY_LASTS = timedelta(hours=24), timedelta(hours=24)
STRIKE_GAP = timedelta(seconds=5)
"""Findings of the same kind within this time are one."""
Counts: TypeAlias = dict[str, int | str]


class ThreatBlocked(Denied):
    """What came from this caller or its network looked like an attack, and is refused for a time."""

    code, title = "threat-blocked", "Blocked for a time"


class ThreatSlowed(LimitReached):
    """What came from this caller looked like an attack, and one call a second is let through."""

    code, title = "threat-slowed", "One call a second for a time"


class SuspiciousText(Invalid):
    """A text in the request is written like code for a database, a browser, a path or a template."""

    code, title = "suspicious-text", "A text in the request looks like an attack"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a detector found about a subject: `key:…`, `session:…`, `token:…` or `network:…`.

    `counts` and `requests` are the evidence; texts, addresses and credentials are never part of it.
    """

    workspace: int
    detector: Detector
    subject: str
    reason: str
    at: datetime
    since: datetime
    counts: Counts = field(default_factory=Counts)
    requests: tuple[str, ...] = ()


@dataclass(slots=True, kw_only=True)
class Threat:
    """Findings of one kind about one subject, as they add up; `would` is the step that enforcing takes."""

    finding: Finding
    mode: Mode
    would: Step
    step: Step
    strikes: int
    hits: int
    first_seen: datetime
    last_seen: datetime
    until: datetime
    struck_at: datetime

    @classmethod
    def begun(cls, finding: Finding, mode: Mode) -> "Threat":
        """Return the first strike."""
        threat = cls(
            finding=finding,
            mode=mode,
            would="observe",
            step="observe",
            strikes=0,
            hits=0,
            first_seen=finding.since,
            last_seen=finding.at,
            until=finding.at,
            struck_at=finding.at,
        )
        threat.strike(finding, mode)
        return threat

    def strike(self, finding: Finding, mode: Mode) -> bool:
        """Count a finding; return whether it goes a step up or holds longer, which those within a gap do not."""
        again = self.strikes > 0
        self.hits += 1
        self.last_seen = finding.at
        if again and finding.at - self.struck_at < STRIKE_GAP:
            return False
        ladder = LADDERS[finding.detector]
        self.finding, self.mode, self.struck_at = finding, mode, finding.at
        self.would = ladder[min(self.strikes, len(ladder) - 1)]
        self.strikes += 1
        self.step = self.would if mode == "enforce" else "observe"
        self.until = finding.at + self._lasts(len(ladder))
        return True

    def _lasts(self, steps: int) -> timedelta:
        if self.finding.detector == "honey":
            return HONEY_LASTS
        lasts = LASTS[self.step]
        if self.step == "block":
            return min(BLOCK_MAX, lasts * 2 ** min(self.strikes - steps, 8)) if self.strikes > steps else lasts
        return lasts


def mode_of(modes: Mapping[Detector, Mode], detector: Detector) -> Mode:
    """Return the mode of a detector among those a workspace set."""
    return modes.get(detector, MODES[detector])
