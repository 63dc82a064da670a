"""The job that takes a run forward: what a step does, that it is done and what comes next commit together.

A step that has an effect is a transaction of its own; waiting and deciding go with the one before them. A worker that
is killed anywhere has done a step wholly or not at all, and the next one goes on after it.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Generic, TypeVar
from uuid import UUID

import msgspec
from msgspec import Struct

from isthmus.audit.trace import trace
from isthmus.kernel.errors import IsthmusError
from isthmus.kernel.marks import Json
from isthmus.store.database import Transaction
from isthmus.store.records import Stored, find
from isthmus.store.schema import Schema
from isthmus.stream.jobs.job import GaveUp
from isthmus.stream.jobs.queue import enqueue
from isthmus.stream.jobs.work import JobCancelled, LeaseLost, Work, fenced_together
from isthmus.stream.jobs.worker import is_final, words_of
from isthmus.stream.workflows.definition import Clause, Condition, Escalate, Notify, Send, Task, Wait, failing
from isthmus.stream.workflows.runs import AlreadyRuns, RunMissing, keep, locked_runs, run_of, start, wish_for
from isthmus.stream.workflows.shelf import Workflow, WorkflowPaused, workflow_of, workflows
from isthmus.stream.workflows.sight import Sight, facts
from isthmus.stream.workflows.subject import At, Effects, Entry, Made, Run, Subjects
from isthmus.vault import Vault

Context = TypeVar("Context")
ON, RESTS = "on", "rests"
GONE = "The record is gone."


class SubjectMissing(IsthmusError):
    """The record is not there, or it is gone."""

    status, code, title = 404, "subject-missing", "There is no such record"


class Turn(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which run is to go on, and for which of its turns; for an older one there is nothing to do."""

    run: UUID
    turn: int


@dataclass(frozen=True, kw_only=True)
class Crew(Generic[Context]):
    """Who takes runs forward: what records are there, and what their domains do for steps."""

    schema: Schema
    vault: Vault
    subjects: Subjects[Context]
    context: Context

    def sight(self, subject_type: str) -> Sight:
        """Return what conditions on records of a type see."""
        return Sight.of(self.schema, self.schema[subject_type], self.subjects.by_type[subject_type].latest)

    def effects(self, subject_type: str) -> Effects:
        """Return what does the steps for records of a type."""
        return self.subjects.by_type[subject_type].effects(self.context)

    async def begin(
        self, tx: Transaction, workflow: Workflow, subject: UUID, *, cue: str, owner: str = "", by_hand: bool
    ) -> Run | None:
        """Begin a workflow for one record, with the record that stands for the run; None where it runs already.

        What begins by itself leaves a record in peace for some days. Raises, for a person, AlreadyRuns and
        WorkflowPaused; SubjectMissing for both.
        """
        if by_hand and workflow.paused:
            raise WorkflowPaused(f"{workflow.name!r} rests.", fix=f"isthmus workflows resume {workflow.name}")
        record = await self._living(tx, workflow.subject_type, subject)
        if record is None:
            raise SubjectMissing(f"There is no {workflow.subject_type} with this id.", fix="Check the id.")
        quiet = None if by_hand else timedelta(days=workflow.definition.again_after_days)
        made = await start(tx, workflow, [record.id], cue=cue, quiet=quiet)
        if not made:
            if by_hand:
                raise AlreadyRuns(f"{workflow.name!r} runs for this record.", fix="Wait for it, or cancel it first.")
            return None
        run = await run_of(tx, made[0])
        own = await self.effects(run.subject_type).begun(At(tx=tx, run=run, record=record, position=-1), owner=owner)
        run = msgspec.structs.replace(run, own_record=own)
        await keep(tx, run)
        details = {"workflow": run.name, "version": run.version, "run": str(run.id), "cue": cue}
        await trace(
            tx, action="workflow.run.started", resource=run.subject_type, record_id=run.subject_id, details=details
        )
        return run

    async def closed(self, tx: Transaction, runs: list[UUID], *, reason: str) -> None:
        """Let domains close what stands for runs that were cancelled."""
        for own in runs:
            run = await run_of(tx, own)
            record = await self._living(tx, run.subject_type, run.subject_id)
            if record is not None:
                at = At(tx=tx, run=run, record=record, position=run.position)
                await self.effects(run.subject_type).ended(at, state="cancelled", reason=reason)

    async def advance(self, tx: Transaction, given: Turn) -> str:
        """Take a run forward by one step with an effect; returns whether it goes on at once or rests."""
        run = await run_of(tx, given.run, lock=True)
        if run.state != "running" or run.turn != given.turn:
            return RESTS
        if (await workflow_of(tx, run.name)).paused:
            return RESTS
        record = await self._living(tx, run.subject_type, run.subject_id)
        if record is None:
            await keep(tx, _ended(run, "cancelled", GONE, now=tx.scope.now))
            return RESTS
        sight = partial(self.sight, run.subject_type)
        way = _Way(tx, self.vault, sight, self.effects(run.subject_type), record, run)
        rest = await way.go()
        await keep(tx, way.run)
        if way.run.state == "running" and way.run.turn != given.turn and way.run.due_at is not None:
            await enqueue(tx, [wish_for(run.id, turn=way.run.turn, due_at=way.run.due_at)])
        return rest

    async def advance_many(self, tx: Transaction, given: Mapping[UUID, tuple[Turn, str]]) -> set[UUID]:
        """Take many runs forward as `advance` does, each with its cause; returns those that go on at once."""
        found = await locked_runs(tx, list(given))
        resting = {each.name for each in await workflows(tx) if each.paused} if found else set[str]()
        going = [
            run
            for run in found
            if run.state == "running" and run.turn == given[run.id][0].turn and run.name not in resting
        ]
        ways: list[_Way] = []
        kept: list[Run] = []
        for subject_type in {run.subject_type for run in going}:
            own = [run for run in going if run.subject_type == subject_type]
            living = await self._all_living(tx, subject_type, [run.subject_id for run in own])
            effects, sight = self.effects(subject_type), partial(self.sight, subject_type)
            for run in own:
                caused = replace(tx, scope=replace(tx.scope, cause=given[run.id][1]))
                if (record := living.get(run.subject_id)) is None:
                    kept.append(_ended(run, "cancelled", GONE, now=tx.scope.now))
                else:
                    ways.append(_Way(caused, self.vault, sight, effects, record, run))
        on = await _go_together(ways)
        kept += [way.run for way in ways]
        await keep(tx, *kept)
        coming = [run for run in kept if run.state == "running" and run.turn != given[run.id][0].turn]
        wishes = [wish_for(run.id, turn=run.turn, due_at=run.due_at) for run in coming if run.due_at is not None]
        await enqueue(tx, wishes)
        return on

    async def _living(self, tx: Transaction, subject_type: str, subject: UUID) -> Stored | None:
        return (await self._all_living(tx, subject_type, [subject])).get(subject)

    async def _all_living(self, tx: Transaction, subject_type: str, subjects: Sequence[UUID]) -> dict[UUID, Stored]:
        found = await find(tx, self.vault, self.schema[subject_type], list(dict.fromkeys(subjects)))
        return {own: each for own, each in found.items() if each.deleted_at is None and each.merged_into is None}


@dataclass
class _Way:
    """One run on its way through what is due, up to and with the next step that has an effect."""

    tx: Transaction
    vault: Vault
    sight: Callable[[], Sight]
    effects: Effects
    record: Stored
    run: Run

    async def go(self) -> str:
        """Go on up to and with the next effect; returns whether another follows at once."""
        step = await self.until_effect()
        if step is None:
            return RESTS
        await self.act(step)
        return RESTS if await self.until_effect() is None else ON

    async def until_effect(self) -> Task | Send | Notify | None:
        """Go on up to the next step that has an effect and return it; None when the run rests or is over."""
        while self.run.position < len(self.run.definition.steps):
            position = self.run.position
            step = self.run.definition.steps[position]
            match step:
                case Wait(hours=hours):
                    self._log("wait", f"Waits {hours:g} hours")
                    self._come_again(position + 1, self.now + timedelta(hours=hours))
                    return None
                case Condition():
                    if not await self._decide(step):
                        return None
                case Escalate():
                    if not await self._escalate(step):
                        return None
                case _:
                    return step
        await self._finish("All steps are done.")
        return None

    @property
    def now(self) -> datetime:
        return self.tx.scope.now

    @property
    def at(self) -> At:
        return At(tx=self.tx, run=self.run, record=self.record, position=self.run.position)

    def _move(self, position: int) -> None:
        self.run = msgspec.structs.replace(self.run, position=position)

    def _log(self, step: str, what: str) -> None:
        entry = Entry(at=self.now, step=step, what=what)
        self.run = msgspec.structs.replace(self.run, log=[*self.run.log, entry])

    def _come_again(self, position: int, due_at: datetime) -> None:
        self.run = msgspec.structs.replace(self.run, position=position, due_at=due_at, turn=self.run.turn + 1)

    async def act(self, step: Task | Send | Notify) -> None:
        """Do a step that has an effect, and stand behind it."""
        match step:
            case Task():
                self.given(step, await self.effects.task(self.at, step))
            case Send():
                self._log("send", await self.effects.send(self.at, step))
                self._move(self.run.position + 1)
            case Notify():
                self._log("notify", await self.effects.notify(self.at, step))
                self._move(self.run.position + 1)

    def given(self, step: Task, made: Made) -> None:
        """Keep a task that was given, and stand behind its step."""
        self.run = msgspec.structs.replace(self.run, made=[*self.run.made, made])
        self._log("task", step.title)
        self._move(self.run.position + 1)

    async def _decide(self, step: Condition) -> bool:
        """Go on, or elsewhere, or end; returns whether the run goes on."""
        paths = [each.field for each in step.where]
        seen = await facts(self.tx, self.vault, self.sight(), self.record, paths=paths)
        clause = failing(step, seen, now=self.now)
        if clause is None:
            self._move(self.run.position + 1)
            return True
        said = _said(clause, seen.get(clause.field))
        self._log("condition", said)
        if step.otherwise and (to := self.run.definition.place_of(step.otherwise)) is not None:
            self._move(to)
            return True
        await self._finish(f"{said}, so nothing more is to be done.")
        return False

    async def _escalate(self, step: Escalate) -> bool:
        """Wait for the deadline of the task before; then tell, unless it is done. Returns whether the run goes on."""
        made = [each for each in self.run.made if each.position < self.run.position]
        if made and not await self.effects.is_done(self.at, made[-1]):
            deadline = made[-1].due_at + timedelta(hours=step.after_hours)
            if self.now < deadline:
                self._come_again(self.run.position, deadline)
                return False
            self._log("escalate", await self.effects.escalate(self.at, step, made[-1]))
        else:
            self._log("escalate", "The task is done, so nobody is told.")
        self._move(self.run.position + 1)
        return True

    async def _finish(self, reason: str) -> None:
        self.run = _ended(self.run, "done", reason, now=self.now)
        await self.effects.ended(self.at, state="done", reason=reason)


async def _go_together(ways: Sequence[_Way]) -> set[UUID]:
    """Let many runs go on by one effect each, tasks of one kind of records at once; returns those that go on."""
    standing: list[_Way] = []
    tasks: dict[str, list[tuple[_Way, Task]]] = defaultdict(list)
    for way in ways:
        step = await way.until_effect()
        if isinstance(step, Task):
            tasks[way.run.subject_type].append((way, step))
        elif step is not None:
            await way.act(step)
        if step is not None:
            standing.append(way)
    for own in tasks.values():
        made = await own[0][0].effects.tasks([(way.at, step) for way, step in own])
        for (way, step), each in zip(own, made, strict=True):
            way.given(step, each)
    return {way.run.id for way in standing if await way.until_effect() is not None}


async def steps_together(works: Sequence[Work], crew: Crew[Context]) -> None:
    """Take many runs forward until each rests, a transaction for each effect; raises when one of them cannot be."""
    given = {work.given(Turn).run: (work.given(Turn), work.scope().cause) for work in works}
    if len(given) != len(works):
        # Two turns of one run: the older one has nothing to do, and is found out by itself.
        raise AlreadyRuns("A run comes twice.", fix="Each is done by itself.")
    left = list(works)
    while left:
        async with fenced_together(left) as (tx, going):
            on = await crew.advance_many(tx, {run: given[run] for run in (work.given(Turn).run for work in left)})
            left = [work for work in left if work.given(Turn).run in on]
            going |= {work.claim.id for work in left}


async def step(work: Work, crew: Crew[Context]) -> Json:
    """Take a run forward until it rests; what cannot be done lets it rest with the reason, for a person to see."""
    given, taken = work.given(Turn), 0
    try:
        while await work.step(str(taken), lambda tx: crew.advance(tx, given)) == ON:
            taken += 1
    except (LeaseLost, JobCancelled):
        raise
    except RunMissing:
        return None
    except Exception as error:
        if not is_final(error) and not isinstance(error, GaveUp) and work.claim.tries < work.claim.tries_max:
            raise
        async with work.fenced() as (tx, _, _):
            run = await run_of(tx, given.run, lock=True)
            if run.state == "running" and run.turn == given.turn:
                await keep(tx, msgspec.structs.replace(run, state="paused", reason=words_of(error)))
        raise
    return None


def _said(clause: Clause, fact: Json) -> str:
    """Say what a clause met; of other records only that it does not hold, for not all who see the log see them."""
    if fact in (None, "", []):
        return f"{clause.field} is not known"
    return f"{clause.field} is {fact}" if "." not in clause.field else f"{clause.field} is not as it must be"


def _ended(run: Run, state: str, reason: str, *, now: datetime) -> Run:
    position = len(run.definition.steps)
    return msgspec.structs.replace(run, state=state, reason=reason, position=position, due_at=None, ended_at=now)
