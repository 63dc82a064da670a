"""What a domain declares so that workflows can follow its records: which steps there are, and what they do."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, Protocol, TypeVar
from uuid import UUID

from msgspec import Struct

from isthmus.store.database import Transaction
from isthmus.store.records import Stored
from isthmus.stream.workflows.definition import Definition, Escalate, Notify, Send, Task
from isthmus.stream.workflows.sight import Latest

Context_contra = TypeVar("Context_contra", contravariant=True)


class Entry(Struct, frozen=True, kw_only=True):
    """One thing that was done, or decided."""

    at: datetime
    step: str
    what: str


class Made(Struct, frozen=True, kw_only=True):
    """A task that the step at a position gave: the record that holds it, and when it is due."""

    position: int
    record: UUID
    title: str
    due_at: datetime


class Run(Struct, frozen=True, kw_only=True):
    """A workflow on its way for one record: `position` is the step that comes next, at `due_at`.

    `cue` is what started it; `own_record` stands for the run, where its domain keeps one.
    """

    id: UUID
    name: str
    version: int
    subject_type: str
    subject_id: UUID
    cue: str
    state: str
    position: int
    turn: int
    due_at: datetime | None
    made: list[Made]
    own_record: UUID | None
    started_at: datetime
    started_by: str
    ended_at: datetime | None
    reason: str
    log: list[Entry]
    definition: Definition


@dataclass(frozen=True, kw_only=True)
class At:
    """Where a step happens: its run, the record as it is now, and the transaction in which the run goes on as well."""

    tx: Transaction
    run: Run
    record: Stored
    position: int

    @property
    def key(self) -> str:
        """A name of this step that is the same however often it is tried."""
        return f"{self.run.id}:{self.position}"


class Effects(Protocol):
    """What steps do. Everything is written through the transaction of `at`; words that are returned go to the log."""

    async def begun(self, at: At, *, owner: str) -> UUID | None:
        """Begin a run, and return the record that stands for it, if any."""
        ...

    async def task(self, at: At, step: Task) -> Made:
        """Give a task."""
        ...

    async def tasks(self, given: Sequence[tuple[At, Task]]) -> list[Made]:
        """Give tasks of many runs at once, each in the name of its `at`; returns them in their order."""
        ...

    async def is_done(self, at: At, made: Made) -> bool:
        """Tell whether a task is done, or gone."""
        ...

    async def send(self, at: At, step: Send) -> str:
        """Have a message sent, or say why it is not."""
        ...

    async def notify(self, at: At, step: Notify) -> str:
        """Tell that somebody is needed."""
        ...

    async def escalate(self, at: At, step: Escalate, made: Made) -> str:
        """Tell, or give it to, somebody else."""
        ...

    async def ended(self, at: At, *, state: str, reason: str) -> None:
        """End a run."""
        ...


class Standard(Struct, frozen=True, kw_only=True):
    """A workflow that every workspace has, as its first version."""

    name: str
    definition: Definition


@dataclass(frozen=True, kw_only=True)
class Subject(Generic[Context_contra]):
    """Records of one type that workflows follow: the kinds of steps there are, and the cues that start them.

    `cues` say in words what gives each, `ends` the same of what may cancel runs. `latest` names the newest records
    about one that conditions may look at. `effects` makes what does the steps out of what a worker works with. `keeps`
    is the type of the records that stand for runs, where there are such.
    """

    type: str
    can: frozenset[str]
    effects: Callable[[Context_contra], Effects]
    cues: Mapping[str, str] = field(default_factory=dict[str, str])
    ends: Mapping[str, str] = field(default_factory=dict[str, str])
    latest: Mapping[str, Latest] = field(default_factory=dict[str, Latest])
    standards: tuple[Standard, ...] = ()
    keeps: str = ""


@dataclass(frozen=True, kw_only=True)
class Subjects(Generic[Context_contra]):
    """All subjects, by their types."""

    by_type: Mapping[str, Subject[Context_contra]]

    @classmethod
    def of(cls, given: Iterable[Subject[Context_contra]]) -> "Subjects[Context_contra]":
        """Take subjects by their types."""
        return cls(by_type={each.type: each for each in given})
