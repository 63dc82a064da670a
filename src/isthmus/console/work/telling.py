"""What a button did, in words, at the section it stands in; the page that follows is told by its address."""

from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias
from urllib.parse import urlencode

from msgspec import Meta, Struct

from isthmus.console import words
from isthmus.console.work.acting import Tally
from isthmus.kernel.status import Status

HERE = "/work"
COUNT_MAX = 10**9
Deed: TypeAlias = Literal[
    "retried",
    "discarded",
    "job-retried",
    "job-cancelled",
    "schedule-run",
    "schedule-paused",
    "schedule-resumed",
    "webhook-paused",
    "webhook-resumed",
    "webhook-recovered",
]
_Count = Annotated[int, Meta(ge=0, le=COUNT_MAX)]
_SIMPLE: dict[Deed, tuple[str, str]] = {
    "job-retried": ("jobs", "The job waits to be done."),
    "job-cancelled": ("jobs", "The job is cancelled; one that runs stops at its next step."),
    "schedule-run": ("schedules", "The job of the schedule waits to be done."),
    "schedule-paused": ("schedules", "The schedule rests. What it rests over is not caught up."),
    "schedule-resumed": ("schedules", "The schedule comes again."),
    "webhook-paused": ("webhooks", "Nothing is sent until it is resumed, and nothing is lost meanwhile."),
    "webhook-resumed": ("webhooks", "The webhook goes on where it stood."),
}


class Choice(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which jobs are shown; and what a button did, when the page comes after one."""

    status: Literal["", "pending", "running", "retrying", "healthy", "degraded", "needs attention", "paused"] = ""
    before: Annotated[str, Meta(max_length=40)] = ""
    did: Deed | None = None
    done: _Count = 0
    failed: _Count = 0
    more: bool = False

    @property
    def wanted(self) -> Status | None:
        """The status by which jobs are chosen."""
        return Status(self.status) if self.status else None


@dataclass(frozen=True, kw_only=True)
class Told:
    """What was done, for the section in which it was asked for; what failed is set off."""

    section: str
    text: str
    failed: bool = False


def address(did: Deed, tally: Tally | None = None, *, status: str = "", before: str = "") -> str:
    """Return the address of the page that tells what was done, at its section."""
    asked: dict[str, str | int] = {}
    if status:
        asked["status"] = status
    if before:
        asked["before"] = before
    asked["did"] = did
    if tally is not None:
        asked |= {"done": tally.done, "failed": tally.failed}
        if tally.more:
            asked["more"] = "true"
    return f"{HERE}?{urlencode(asked)}#{_section(did)}"


def told(choice: Choice) -> Told | None:
    """Return what the page says of the button before it."""
    if choice.did is None:
        return None
    section, text = _section(choice.did), ""
    if choice.did in _SIMPLE:
        text = _SIMPLE[choice.did][1]
    elif choice.did == "webhook-recovered":
        verb = "is" if choice.done == 1 else "are"
        text = f"{words.counted(choice.done, 'delivery', 'deliveries')} that failed {verb} sent again."
    else:
        text = _letters(choice)
    return Told(section=section, text=text, failed=bool(choice.failed))


def _letters(choice: Choice) -> str:
    done, failed = choice.done, choice.failed
    parts: list[str] = []
    if done or not failed:
        parts.append(f"{words.number(done)} {'tried again' if choice.did == 'retried' else 'given up'}.")
    if failed:
        parts.append(f"{words.number(failed)} failed again, and {'waits' if failed == 1 else 'wait'} as before.")
    if choice.more:
        parts.append("There are more: press again.")
    return " ".join(parts)


def _section(did: Deed) -> str:
    if did in _SIMPLE:
        return _SIMPLE[did][0]
    return "webhooks" if did == "webhook-recovered" else "letters"
