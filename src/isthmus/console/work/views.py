"""What the page of work shows, as frozen values."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias

from isthmus.console import words
from isthmus.console.status import Badge
from isthmus.kernel.status import Status
from isthmus.stream.webhooks.standing import Answer

LAG_S_NOTICED = 5.0
CauseKind: TypeAlias = Literal["event", "message", "job"]


@dataclass(frozen=True, kw_only=True)
class ReaderRow:
    """A reader of the log: how many events it is behind, and for how many seconds the next one has waited."""

    name: str
    about: str
    behind: int
    lag_s: float

    @property
    def late(self) -> bool:
        """Whether it is further behind than anybody should notice."""
        return self.lag_s > LAG_S_NOTICED


@dataclass(frozen=True, kw_only=True)
class LogView:
    """The log: its last number and the first that is kept, how it is followed, and who reads it."""

    head: int
    first: int | None
    grew_at: datetime | None
    unstamped: int
    unstamped_s: float
    tail: Literal["there", "away", "none"]
    tail_behind: int
    readers: Sequence[ReaderRow]


@dataclass(frozen=True, kw_only=True)
class JobRow:
    """A job as it stands; `share` is how much of it is done, where that is known."""

    id: str
    title: str
    kind: str
    badge: Badge
    tries: str
    created_at: datetime
    created_by: str
    tried_at: datetime | None
    ended_at: datetime | None
    schedule: str | None
    share: float | None
    done: int
    total: int | None
    text: str
    started: bool
    may_retry: bool
    may_cancel: bool


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """How many events, messages and jobs wait for somebody, and how many webhooks."""

    events: int
    messages: int
    jobs: int
    webhooks: int

    @property
    def letters(self) -> int:
        """How many could not be done."""
        return self.events + self.messages + self.jobs


@dataclass(frozen=True, kw_only=True)
class Present:
    """What is kept live: how the log stands, what runs, and how much waits."""

    now: datetime
    log: LogView
    running: Sequence[JobRow]
    waiting: Waiting

    @property
    def headline(self) -> str:
        """What waits for somebody, in one sentence; or else what is late, or what runs."""
        waiting = self.waiting
        if waiting.letters or waiting.webhooks:
            return _waits(waiting)
        late = [each for each in self.log.readers if each.late]
        if self.log.unstamped_s > LAG_S_NOTICED:
            said = words.counted(self.log.unstamped, "event")
            return f"Nothing failed, but {said} wait{'s' if self.log.unstamped == 1 else ''} for the relay."
        if late:
            worst = max(late, key=lambda each: each.lag_s)
            return f"Nothing failed, but {worst.about} is {words.duration(worst.lag_s)} behind."
        if self.running:
            count = len(self.running)
            said = words.counted(count, "job")
            return f"Nothing waits for anybody, and {said} {'is' if count == 1 else 'are'} running."
        return "Nothing waits for anybody, and nothing is late."


@dataclass(frozen=True, kw_only=True)
class LetterRow:
    """One that could not be done, and the path under which it is tried again or given up."""

    path: str
    name: str
    detail: str


@dataclass(frozen=True, kw_only=True)
class CauseRow:
    """Everything that could not be done for one reason."""

    kind: CauseKind
    who: str
    title: str
    reason: str
    said: str
    count: int
    noun: str
    since: datetime
    tried_at: datetime
    letters: Sequence[LetterRow]
    may_act: bool

    @property
    def counted(self) -> str:
        """How many, with their noun."""
        return words.counted(self.count, self.noun)


@dataclass(frozen=True, kw_only=True)
class ScheduleRow:
    """A schedule, and how its last run went."""

    name: str
    title: str
    cron: str
    zone: str
    badge: Badge
    reason: str
    paused: bool
    next_at: datetime | None
    last_at: datetime | None
    last: Badge | None
    missed: int
    skipped: int
    may_act: bool


@dataclass(frozen=True, kw_only=True)
class Filter:
    """A status by which jobs are chosen, and how many are in it."""

    name: str
    label: str
    count: int
    chosen: bool


@dataclass(frozen=True, kw_only=True)
class JobsView:
    """A page of jobs, newest first; `next` is where the next page begins, if there is one."""

    rows: Sequence[JobRow]
    filters: Sequence[Filter]
    total: int
    status: Status | None
    before: str
    next: str


@dataclass(frozen=True, kw_only=True)
class HookRow:
    """A webhook: how it is, what waits for it, and what it answered last."""

    id: str
    url: str
    name: str
    about: str
    badge: Badge
    reason: str
    failing_since: datetime | None
    succeeded_at: datetime | None
    waiting: int
    failed: int
    answers: Sequence[Answer]
    resumable: bool
    pausable: bool


@dataclass(frozen=True, kw_only=True)
class Work:
    """The whole page."""

    workspace: str
    present: Present
    causes: Sequence[CauseRow]
    grouped: int
    schedules: Sequence[ScheduleRow]
    zone: str
    jobs: JobsView
    hooks: Sequence[HookRow]
    hooks_more: int
    may_act: bool

    @property
    def now(self) -> datetime:
        """As of when."""
        return self.present.now


def _waits(waiting: Waiting) -> str:
    parts: list[str] = []
    if waiting.letters:
        parts.append(words.counted(waiting.letters, "dead letter"))
    if waiting.webhooks:
        parts.append(words.counted(waiting.webhooks, "webhook"))
    verb = "waits" if waiting.letters + waiting.webhooks == 1 else "wait"
    return f"{' and '.join(parts)} {verb} for somebody."
