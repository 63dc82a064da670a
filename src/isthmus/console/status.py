"""The one vocabulary of statuses as people see it: an icon, a word, a colour, and the reason in words."""

from dataclasses import dataclass
from datetime import datetime

from isthmus.console import words
from isthmus.kernel.status import Status

_TONES = {
    Status.PENDING: ("idle", "pending"),
    Status.RUNNING: ("busy", "running"),
    Status.RETRYING: ("warn", "retrying"),
    Status.HEALTHY: ("good", "healthy"),
    Status.DEGRADED: ("warn", "degraded"),
    Status.NEEDS_ATTENTION: ("bad", "needs-attention"),
    Status.PAUSED: ("idle", "paused"),
}


@dataclass(frozen=True, kw_only=True)
class Badge:
    """A status to be shown: `tone` names its colour, `icon` its sign, `word` says it, `reason` explains it."""

    tone: str
    icon: str
    word: str
    reason: str = ""


def badge(
    status: Status, *, now: datetime, reason: str = "", retry_at: datetime | None = None, rejected: int = 0
) -> Badge:
    """Return how a status is shown; retrying says when, degraded how many were rejected."""
    tone, icon = _TONES[status]
    word = str(status)
    if status is Status.RETRYING and retry_at is not None:
        word = f"retrying {words.until(retry_at, now=now)}"
    if status is Status.DEGRADED and rejected:
        word = f"degraded ({words.number(rejected)} rejected)"
    return Badge(tone=tone, icon=icon, word=word, reason=reason)
