"""What the pages of connections show, as frozen values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from isthmus.console import words
from isthmus.console.overview.views import RunView, SystemView
from isthmus.console.status import Badge


@dataclass(frozen=True, kw_only=True)
class SystemRow:
    """A connection in the list; `ending` is a sentence where its consent ends soon or has ended."""

    id: str
    title: str
    system: SystemView
    ending: str


@dataclass(frozen=True, kw_only=True)
class Sieve:
    """A status by which connections are chosen, and how many are in it."""

    name: str
    label: str
    count: int
    chosen: bool


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The connections that are shown, by name; `next` is after which name the next page begins, if there is one."""

    now: datetime
    workspace: str
    rows: Sequence[SystemRow]
    sieves: Sequence[Sieve]
    total: int
    found: int
    q: str
    status: str
    after: str
    next: str
    may_act: bool

    @property
    def headline(self) -> str:
        """How the connections are, in one sentence."""
        if not self.total:
            return "No system is connected yet."
        bad = next((each.count for each in self.sieves if each.name == "needs attention"), 0)
        said = words.counted(self.total, "system")
        if bad:
            return f"{bad} of {said} {'needs' if bad == 1 else 'need'} attention."
        return f"{said} {'is' if self.total == 1 else 'are'} connected, and none needs attention."


@dataclass(frozen=True, kw_only=True)
class FeedRow:
    """A stream of a connection: what its rows become, what is written to it, and when it was last read to its end."""

    name: str
    label: str
    kinds: str
    writes: str
    finished_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class GrantView:
    """A person's consent: given when, until when, refused when and why. `warns` tells that it ends within a week."""

    given_at: datetime | None
    ends_at: datetime | None
    refused_at: datetime | None
    reason: str
    warns: bool
    redirect: str

    @property
    def holds(self) -> bool:
        """Tell whether the system takes it, as far as is known."""
        return self.given_at is not None and self.refused_at is None


@dataclass(frozen=True, kw_only=True)
class CauseRow:
    """Rows that were rejected here for one reason."""

    code: str
    type: str
    kind: str
    rows: int
    oldest_at: datetime
    example: str


@dataclass(frozen=True, kw_only=True)
class RunRow:
    """A run of a connection, whether it goes on or is over."""

    id: str
    kind: str
    badge: Badge
    started_at: datetime
    took_s: float
    going_on: bool
    read: int
    created: int
    changed: int
    rejected: int
    written: int
    conflicts: int
    error: str


@dataclass(frozen=True, kw_only=True)
class RunsView:
    """A page of runs, newest first."""

    rows: Sequence[RunRow]
    status: str
    before: str
    next: str


@dataclass(frozen=True, kw_only=True)
class MappedRow:
    """A record type that a connection brings, and the number of the mapping that is in force, if one is."""

    type: str
    kind: str
    number: int | None
    versions: int


@dataclass(frozen=True, kw_only=True)
class Present:
    """How a connection is now; kept live."""

    now: datetime
    name: str
    badge: Badge
    reason: str
    status_at: datetime
    next_at: datetime | None
    every: str
    running: Sequence[RunView]
    feeds: Sequence[FeedRow]
    trouble: str


@dataclass(frozen=True, kw_only=True)
class OneConnection:
    """The page of one connection."""

    id: str
    name: str
    title: str
    about: str
    fake: bool
    known: bool
    workspace: str
    present: Present
    paused: bool
    grant: GrantView | None
    settings: Mapping[str, str]
    secrets: Sequence[str]
    options: Sequence[str]
    causes: Sequence[CauseRow]
    runs: RunsView
    mapped: Sequence[MappedRow]
    pushes: bool
    may_act: bool

    @property
    def now(self) -> datetime:
        """As of when."""
        return self.present.now

    @property
    def rejected(self) -> int:
        """How many rows wait here because they could not be stored."""
        return sum(each.rows for each in self.causes)
