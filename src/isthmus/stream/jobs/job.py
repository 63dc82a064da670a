"""What a job is: what is wished for, what a worker is given, what people see."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Annotated, Generic, TypeVar
from uuid import UUID

from msgspec import Meta, Struct

from isthmus.kernel.errors import Conflicting, IsthmusError, NotFound
from isthmus.kernel.marks import Json
from isthmus.kernel.status import Status
from isthmus.stream.jobs.work import Work

JOB_PREFIX = "job"
TRIES_MAX = 8
ORDINARY, PRIORITY_MAX = 10, 100
WAITING = (Status.PENDING, Status.RETRYING)
LIVING = (*WAITING, Status.RUNNING)
ENDED = (Status.HEALTHY, Status.DEGRADED, Status.NEEDS_ATTENTION, Status.PAUSED)
BASE_S, DELAY_S_MAX = 1.0, 3_600.0
Context_contra = TypeVar("Context_contra", contravariant=True)
Name = Annotated[str, Meta(min_length=1, max_length=200)]


class JobMissing(NotFound):
    """There is no such job."""

    code, title = "job-missing", "There is no such job"


class JobOver(Conflicting):
    """The job has ended, and what was asked needs one that has not."""

    code, title = "job-over", "The job has ended"


class JobLiving(Conflicting):
    """The job waits or runs, and what was asked needs one that has ended."""

    code, title = "job-living", "The job has not ended"


class UnknownKind(NotFound):
    """There are no jobs of that kind."""

    code, title = "unknown-kind", "There are no such jobs"


class GaveUp(IsthmusError):
    """The job cannot succeed however often it is tried; a handler raises it with the reason and the fix."""

    code, title = "gave-up", "The job cannot be done"


class Nothing(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """No arguments."""


class Pace(Struct, frozen=True, kw_only=True):
    """How jobs of one key share what they work on: `at_once` at the same time, and `count` begun in `seconds`."""

    at_once: Annotated[int, Meta(ge=1, le=10_000)] = 1
    count: Annotated[int, Meta(ge=1)] | None = None
    seconds: Annotated[int, Meta(ge=1)] | None = None


class Wish(Struct, frozen=True, kw_only=True):
    """A job to be done: `due_at` None is now. Arguments name nobody: ids, counts, names of connections.

    One point of `priority` (0 to 100) is worth a minute of waiting. While a job of the same kind and `dedupe` waits or
    runs, no other is made. Jobs of one `key` keep its pace.
    """

    kind: Name
    arguments: dict[str, Json] = {}
    due_at: datetime | None = None
    priority: Annotated[int, Meta(ge=0, le=PRIORITY_MAX)] = ORDINARY
    dedupe: Name | None = None
    key: Name | None = None
    pace: Pace = Pace()
    tries_max: Annotated[int, Meta(ge=1, le=1_000)] = TRIES_MAX
    schedule: str | None = None
    occurrence: datetime | None = None


class Told(Struct, frozen=True, kw_only=True):
    """How far a job is: `total` is how much there is, if that is known."""

    done: int = 0
    total: int | None = None
    text: str = ""


class Job(Struct, frozen=True, kw_only=True):
    """A job as it stands. `attempt` is how often it was begun, `tries` how often since a person last asked for it."""

    id: UUID
    kind: str
    status: Status
    reason: str
    arguments: dict[str, Json]
    priority: int
    due_at: datetime
    dedupe: str | None
    key: str | None
    schedule: str | None
    occurrence: datetime | None
    attempt: int
    tries: int
    tries_max: int
    progress: Told | None
    result: Json
    cancelled_by: str | None
    created_at: datetime
    created_by: str
    tried_at: datetime | None
    ended_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Kind(Generic[Context_contra]):
    """A kind of job: its name, what a worker does, and what who starts it by hand must give and be permitted.

    `run` returns what is kept as the result (JSON that names nobody). What it does through `Work.step` happens once;
    everything else may happen again after a crash. It ends with a timeout after `run_s_max` seconds. `together` does
    many jobs of one workspace in transactions of `fenced_together`, which end them; when it raises, `run` does each.
    """

    name: str
    about: str
    run: Callable[[Work, Context_contra], Awaitable[Json]]
    together: Callable[[Sequence[Work], Context_contra], Awaitable[None]] | None = None
    arguments: type[Struct] = Nothing
    permission: str = "stream:write"
    tries_max: int = TRIES_MAX
    run_s_max: float = 3_600.0
    by_hand: bool = True


@dataclass(frozen=True, kw_only=True)
class Backoff:
    """How long a failed job waits: a random time below `base_s` · 2^(tries - 1), at most `delay_s_max` seconds.

    Full jitter, after "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """

    chance: Random
    base_s: float = BASE_S
    delay_s_max: float = DELAY_S_MAX

    def delay(self, *, tries: int, retry_after_s: float | None) -> timedelta:
        """Return how long to wait after the failed try; never less than what the other side asked for."""
        doubled = self.base_s * 2 ** min(tries - 1, 32)
        return timedelta(seconds=(retry_after_s or 0.0) + self.chance.uniform(0, min(self.delay_s_max, doubled)))


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a try ended, as it is to be kept; `due_at` is when it is tried again, if it is."""

    id: UUID
    attempt: int
    status: Status
    reason: str = ""
    due_at: datetime | None = None
    result: Json = None
    given_back: bool = field(default=False, kw_only=True)
