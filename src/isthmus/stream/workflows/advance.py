"""The job that takes a run forward: what a step does, that it is done and what comes next commit together.

A step that has an effect is a transaction of its own; waiting and deciding go with the one before them. A worker that
is killed anywhere has done a step wholly or not at all, and the next one goes on after it.
"""

from collections.abc import Callable
from dataclasses import dataclass
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
from isthmus.stream.jobs.work import JobCancelled, LeaseLost, Work
from isthmus.stream.jobs.worker import is_final, words_of
from isthmus.stream.workflows.definition import Clause, Condition, Escalate, Notify, Send, Task, Wait, failing
from isthmus.stream.workflows.runs import AlreadyRuns, RunMissing, keep, run_of, start, wish_for
from isthmus.stream.workflows.shelf import Workflow, WorkflowPaused, workflow_of
from isthmus.stream.workflows.sight import Sight, facts
from isthmus.stream.workflows.subject import At, Effects, Entry, Run, Subjects
from isthmus.vault import Vault

Context = TypeVar("Context")
ON, RESTS = "on", "rests"


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
            await keep(tx, _ended(run, "cancelled", "The record is gone.", now=tx.scope.now))
            return RESTS
        sight = partial(self.sight, run.subject_type)
        way = _Way(tx, self.vault, sight, self.effects(run.subject_type), record, run)
        rest = await way.go()
        await keep(tx, way.run)
        if way.run.state == "running" and way.run.turn != given.turn and way.run.due_at is not None:
            await enqueue(tx, [wish_for(run.id, turn=way.run.turn, due_at=way.run.due_at)])
        return rest

    async def _living(self, tx: Transaction, subject_type: str, subject: UUID) -> Stored | None:
        record = (await find(tx, self.vault, self.schema[subject_type], [subject])).get(subject)
        gone = record is None or record.deleted_at is not None or record.merged_into is not None
        return None if gone else record


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
        acted = False
        while self.run.position < len(self.run.definition.steps):
            position = self.run.position
            step = self.run.definition.steps[position]
            if acted and isinstance(step, Task | Send | Notify):
                return ON
            match step:
                case Wait(hours=hours):
                    self._log("wait", f"Waits {hours:g} hours")
                    self._come_again(position + 1, self.now + timedelta(hours=hours))
                    return RESTS
                case Condition():
                    if not await self._decide(step):
                        return RESTS
                case Escalate():
                    if not await self._escalate(step):
                        return RESTS
                case _:
                    await self._act(step)
                    acted = True
        await self._finish("All steps are done.")
        return RESTS

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

    async def _act(self, step: Task | Send | Notify) -> None:
        match step:
            case Task():
                made = await self.effects.task(self.at, step)
                self.run = msgspec.structs.replace(self.run, made=[*self.run.made, made])
                self._log("task", step.title)
            case Send():
                self._log("send", await self.effects.send(self.at, step))
            case Notify():
                self._log("notify", await self.effects.notify(self.at, step))
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
