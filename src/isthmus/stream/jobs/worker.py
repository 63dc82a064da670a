"""A worker: it claims jobs of all workspaces, runs several at once, and keeps how they ended in batches.

Every claim also keeps what has ended since the last one, in one transaction. Jobs that take no time are claimed many at
a time, others only as places get free. Where a kind can do many jobs together, those that are due are done in one
place and one transaction, and meanwhile the next ones gather; where that fails, and where one was tried before, each is
done by itself. A heartbeat on a connection of its own renews the leases, writes down how far jobs are, and hears of
those that were cancelled or lost.
"""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Generic, Literal, LiteralString, TypeVar

import psycopg
import structlog

from isthmus.kernel.clock import Clock
from isthmus.kernel.errors import IsthmusError, Unavailable
from isthmus.kernel.status import Status
from isthmus.store.database import Database, Scope
from isthmus.stream.jobs.job import Backoff, GaveUp, Kind, Outcome, Told
from isthmus.stream.jobs.queue import Holder, claim, end, let_go, mend, renew
from isthmus.stream.jobs.work import Claim, JobCancelled, LeaseLost, Work

POLL_S, RETRY_S, BEAT_S = 0.05, 0.5, 1.0
SLOTS, CLAIMED_MAX, AHEAD_S = 6, 500, 0.05
TOGETHER_MAX = 200
URGENT, GATHER = 50, timedelta(seconds=3)
"""While a job of such a priority is at work here, those that are done together gather for so long: it is waited for."""
_FINAL_FROM, _FINAL_TO = 400, 500
_PASSING = frozenset({408, 409, 412, 423, 425, 429})
_DUE: LiteralString = "select workspaces_with_jobs(%s, %s)"
_UNENDED: LiteralString = "select workspaces_with_unended_jobs()"
_TRANSIENT = (psycopg.OperationalError, psycopg.InterfaceError, Unavailable)
Context = TypeVar("Context")
Why = Literal["cancelled", "lost", "stopping"]
_log = structlog.get_logger("isthmus.jobs")


class Interrupted(IsthmusError):
    """Something that the job waited for was cancelled, and not by us."""

    code, title = "interrupted", "The job was interrupted"


@dataclass(slots=True)
class _Running:
    """A job at work here, and why it was told to stop, if it was; `alone` while its task is at nothing else."""

    work: Work
    task: asyncio.Task[None] | None = None
    alone: bool = False
    why: Why | None = None
    by: str = ""
    told: tuple[int, int | None, str] | None = None


@dataclass(kw_only=True)
class Worker(Generic[Context]):
    """Runs jobs of the kinds that it knows, `slots` at once, until it is cancelled; several may do so anywhere.

    `context` is given to every handler; `holder.id` must be new for each start of a worker. With `only` it serves these
    workspaces and no others.
    """

    database: Database
    clock: Clock
    kinds: Sequence[Kind[Context]]
    context: Context
    holder: Holder
    backoff: Backoff
    slots: int = SLOTS
    only: frozenset[int] | None = None
    poll_s: float = POLL_S
    beat_s: float = BEAT_S
    done: int = 0
    _known: Mapping[str, Kind[Context]] = field(init=False)
    _running: dict[tuple[int, object], _Running] = field(default_factory=dict[tuple[int, object], _Running], init=False)
    _waiting: list[Claim] = field(default_factory=list[Claim], init=False)
    _ended: dict[int, list[Outcome]] = field(default_factory=lambda: defaultdict(list), init=False)
    _bell: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _pace_s: float = field(default=1.0, init=False)
    _keyed_first: bool = field(default=False, init=False)
    _places: int = field(default=0, init=False)
    _sharing: set[tuple[int, str]] = field(default_factory=set[tuple[int, str]], init=False)
    _shared_at: dict[tuple[int, str], datetime] = field(default_factory=dict[tuple[int, str], datetime], init=False)
    _begun: int = field(default=0, init=False)
    _begun_before: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        """Take the kinds by their names."""
        self._known = {each.name: each for each in self.kinds}

    def hint(self) -> None:
        """Say that there may be jobs, so that they do not wait for the next look."""
        self._bell.set()

    async def run(self) -> None:
        """Work until cancelled; jobs that are at work then are given back untried."""
        beating = asyncio.create_task(self._beat())
        try:
            while True:
                self._bell.clear()
                try:
                    moved = await self.turn()
                except _TRANSIENT:
                    await asyncio.sleep(RETRY_S)
                    continue
                if not moved:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(self.poll_s):
                            await self._bell.wait()
        finally:
            beating.cancel()
            await asyncio.gather(beating, return_exceptions=True)
            await self._stop()

    async def turn(self) -> int:
        """Keep what has ended and claim what there is room for; returns how many jobs were claimed or ended."""
        moved = 0
        room = self._room()
        due = await self._due() if room else []
        for workspace in dict.fromkeys((*list(self._ended), *due)):
            moved += await self._exchange(workspace, wanted=self._wanted(workspace) if workspace in due else {})
        self._start()
        return moved

    async def drain(self) -> None:
        """Work until nothing is due and nothing runs here, without a heartbeat: for tests and short-lived programs."""
        while await self.turn() or self._running or self._waiting:
            if self._running:
                await asyncio.wait([each.task for each in self._running.values() if each.task is not None])

    def _room(self) -> int:
        """Return how many jobs to claim: places that are free, and as many ahead as take no longer than a moment.

        The next claim is made while what the last one took is being done.
        """
        ahead = min(2 * CLAIMED_MAX, int(self.slots * AHEAD_S / max(self._pace_s, 1e-6)))
        waiting = sum(self._known[each.kind].together is None for each in self._waiting)
        return min(CLAIMED_MAX, max(0, self.slots + ahead - self._places - waiting))

    def _wanted(self, workspace: int) -> dict[tuple[str, ...], int]:
        """Return how many jobs to claim of which kinds; of those that can be done together none while some are."""
        alone = tuple(name for name, each in self._known.items() if each.together is None)
        wanted = {alone: self._room()} if alone else {}
        for name, each in self._known.items():
            if each.together is not None and not self._gathers(workspace, name):
                waiting = sum(own.kind == name and own.workspace == workspace for own in self._waiting)
                wanted[(name,)] = TOGETHER_MAX - waiting
        return {kinds: count for kinds, count in wanted.items() if count > 0}

    def _gathers(self, workspace: int, name: str) -> bool:
        """Tell whether jobs that are done together wait: for those that are at work, or a moment for an urgent one."""
        if (workspace, name) in self._sharing:
            return True
        now = self.clock.now()
        urgent = any(each.work.claim.priority >= URGENT for each in self._running.values())
        return urgent and now - self._shared_at.setdefault((workspace, name), now) < GATHER

    async def _due(self) -> list[int]:
        async with self.database.plain() as connection:
            cursor = await connection.execute(_DUE, (self.clock.now(), list(self._known)), prepare=True)
            return self._served(await cursor.fetchall())

    def _served(self, rows: Sequence[Sequence[object]]) -> list[int]:
        found = [each for (each,) in rows if isinstance(each, int)]
        return [each for each in found if self.only is None or each in self.only]

    async def _exchange(self, workspace: int, *, wanted: Mapping[tuple[str, ...], int]) -> int:
        """In one transaction, keep what has ended in a workspace and claim more there."""
        ended = self._ended.pop(workspace, [])
        if not ended and not wanted:
            return 0
        claimed: list[Claim] = []
        try:
            async with self.database.transaction(self._scope(workspace)) as tx:
                if ended:
                    await end(tx, self.holder, ended)
                self._keyed_first = not self._keyed_first
                for kinds, count in wanted.items():
                    claimed += await claim(tx, self.holder, kinds, limit=count, keyed_first=self._keyed_first)
        except BaseException:
            self._ended[workspace] = ended + self._ended.pop(workspace, [])
            raise
        self.done += len(ended)
        self._waiting += claimed
        return len(ended) + len(claimed)

    def _start(self) -> None:
        """Begin claimed jobs in places that are free."""
        while self._places < self.slots and (taken := self._take()):
            self._places += 1
            task = asyncio.create_task(self._do(taken))
            for each in taken:
                each.task = task

    def _take(self) -> list[_Running]:
        """Take the next claimed job that can begin, with those behind it that can be done together with it."""
        free = (n for n, own in enumerate(self._waiting) if not self._can_share(own) or _sort(own) not in self._sharing)
        place = next(free, None)
        if place is None:
            return []
        first = self._waiting.pop(place)
        taken = [first]
        if self._can_share(first):
            self._sharing.add(_sort(first))
            taken += [each for each in self._waiting if _sort(each) == _sort(first) and self._can_share(each)]
            gone = {each.id for each in taken}
            self._waiting = [each for each in self._waiting if each.id not in gone]
        found = [_Running(Work(claim=each, database=self.database, clock=self.clock)) for each in taken]
        self._running.update({(each.work.claim.workspace, each.work.claim.id): each for each in found})
        return found

    def _can_share(self, own: Claim) -> bool:
        return own.tries == 1 and self._known[own.kind].together is not None

    async def _do(self, taken: list[_Running]) -> None:
        """Do jobs, and whatever was claimed and has no place yet after them."""
        try:
            while taken:
                began = self.clock.now()
                await self._each(taken if len(taken) == 1 else await self._together(taken))
                spent_s = max(0.0, (self.clock.now() - began).total_seconds())
                self._pace_s = 0.8 * self._pace_s + 0.2 * spent_s / len(taken)
                if self._can_share(taken[0].work.claim):
                    self._sharing.discard(_sort(taken[0].work.claim))
                    self._shared_at[_sort(taken[0].work.claim)] = self.clock.now()
                    self._bell.set()
                taken = [] if any(each.why == "stopping" for each in taken) else self._take()
                for each in taken:
                    each.task = asyncio.current_task()
        finally:
            self._places -= 1
        if not self._running:
            self._bell.set()

    async def _together(self, taken: list[_Running]) -> list[_Running]:
        """Do jobs in one transaction; returns those that are to be done each by itself, all of them when it fails."""
        kind = self._known[taken[0].work.claim.kind]
        assert kind.together is not None
        self._begun += len(taken)
        try:
            async with asyncio.timeout(kind.run_s_max):
                await kind.together([each.work for each in taken], self.context)
        except asyncio.CancelledError:
            _uncancel(taken)
            return taken
        except Exception as error:  # noqa: BLE001 - whatever failed is found when each is done by itself.
            _log.info("jobs.each_by_itself", kind=kind.name, jobs=len(taken), error=type(error).__name__)
            return taken
        for each in taken:
            self._keep(each.work.claim, None)
        self.done += len(taken)
        return []

    async def _each(self, left: Sequence[_Running]) -> None:
        for running in left:
            own = running.work.claim
            running.alone = True
            self._keep(own, await self._attempt(running) if running.why is None else self._stopped(running))

    def _keep(self, own: Claim, outcome: Outcome | None) -> None:
        if outcome is not None:
            self._ended[own.workspace].append(outcome)
        del self._running[own.workspace, own.id]

    async def _attempt(self, running: _Running) -> Outcome | None:
        """Try a job once and return how that ended; None when it is not ours any more."""
        own, work = running.work.claim, running.work
        kind = self._known[own.kind]
        self._begun += 1
        try:
            async with asyncio.timeout(kind.run_s_max):
                result = await kind.run(work, self.context)
        except asyncio.CancelledError:
            _uncancel([running])
            return self._stopped(running)
        except LeaseLost:
            return None
        except JobCancelled as error:
            return Outcome(id=own.id, attempt=own.attempt, status=Status.PAUSED, reason=error.detail)
        except Exception as error:  # noqa: BLE001 - whatever failed is kept with the job, which is tried again.
            return self._failed(own, error)
        status = Status.DEGRADED if work.trouble else Status.HEALTHY
        return Outcome(id=own.id, attempt=own.attempt, status=status, reason=work.trouble, result=result)

    def _stopped(self, running: _Running) -> Outcome | None:
        own = running.work.claim
        match running.why:
            case "lost":
                return None
            case "cancelled":
                reason = f"Cancelled by {running.by}."
                return Outcome(id=own.id, attempt=own.attempt, status=Status.PAUSED, reason=reason)
            case "stopping":
                return self._given_back(own)
            case None:
                return self._failed(own, Interrupted("It was interrupted.", fix=""))

    def _failed(self, own: Claim, error: Exception) -> Outcome:
        reason = words_of(error)
        hopeless = isinstance(error, GaveUp) or is_final(error)
        if hopeless or own.tries >= own.tries_max:
            _log.warning("job.needs_attention", kind=own.kind, job=str(own.id), tries=own.tries, reason=reason)
            return Outcome(id=own.id, attempt=own.attempt, status=Status.NEEDS_ATTENTION, reason=reason)
        delay = self.backoff.delay(tries=own.tries, retry_after_s=retry_after_of(error))
        due_at = self.clock.now() + delay
        return Outcome(id=own.id, attempt=own.attempt, status=Status.RETRYING, reason=reason, due_at=due_at)

    def _given_back(self, own: Claim) -> Outcome:
        return Outcome(id=own.id, attempt=own.attempt, status=Status.PENDING, due_at=self.clock.now(), given_back=True)

    async def _beat(self) -> None:
        """Renew leases and hear of what was cancelled or lost; now and then take back what others lost."""
        mend_every = max(1, int(self.holder.lease_s / 4 / self.beat_s))
        turn = 0
        while True:
            with suppress(*_TRANSIENT):
                for workspace in {each.work.claim.workspace for each in self._running.values()} | {
                    each.workspace for each in self._waiting
                }:
                    await self.beat(workspace)
                if turn % mend_every == 0:
                    await self.mend()
            self.relieve()
            turn += 1
            await asyncio.sleep(self.beat_s)

    def relieve(self) -> None:
        """Give back what was claimed ahead when none of it was begun since the last time: others may be free."""
        if self._waiting and self._begun == self._begun_before:
            for own in self._waiting:
                self._ended[own.workspace].append(self._given_back(own))
            self._waiting.clear()
            self._pace_s = 1.0
            self.hint()
        self._begun_before = self._begun

    async def beat(self, workspace: int) -> None:
        """Renew the lease of a workspace, tell how far its jobs are, and stop those that shall not go on."""
        here = [each for each in self._running.values() if each.work.claim.workspace == workspace]
        told = [each for each in here if each.work.progress is not None and each.work.progress != each.told]
        far = [(each.work.claim, _told(each)) for each in told]
        waited = [each for each in self._waiting if each.workspace == workspace]
        async with self.database.transaction(self._scope(workspace), beside=True) as tx:
            ours = await renew(tx, self.holder, far)
        for each in here:
            own = each.work.claim
            # Its task may be at another job by now, which is not the one that was asked about.
            if self._running.get((own.workspace, own.id)) is not each or each.why is not None:
                continue
            if (own.id, own.attempt) not in ours:
                self._tell(each, "lost")
            elif (by := ours[own.id, own.attempt]) is not None:
                each.by = by
                self._tell(each, "cancelled")
        lost = [each for each in waited if (each.id, each.attempt) not in ours]
        self._waiting = [each for each in self._waiting if each not in lost]

    async def mend(self) -> int:
        """Take back the jobs of workers that are gone, in all workspaces; returns how many those were."""
        async with self.database.plain(beside=True) as connection:
            served = self._served(await (await connection.execute(_UNENDED)).fetchall())
        lost = 0
        for workspace in served:
            async with self.database.transaction(self._scope(workspace), beside=True) as tx:
                lost += await mend(tx, lease_s=self.holder.lease_s)
        if lost:
            self.hint()
        return lost

    def _tell(self, running: _Running, why: Why) -> None:
        """Tell a job to stop; one that is done together with others is stopped when they are committed, or not."""
        running.why = why
        if running.task is not None and running.alone:
            running.task.cancel()

    async def _stop(self) -> None:
        """Give back what is at work and what was claimed, and give the leases up."""
        tasks = {each.task for each in self._running.values() if each.task is not None}
        for each in self._running.values():
            each.why = "stopping"
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for own in self._waiting:
            self._ended[own.workspace].append(self._given_back(own))
        self._waiting.clear()
        with suppress(*_TRANSIENT):
            for workspace, ended in list(self._ended.items()):
                async with self.database.transaction(self._scope(workspace)) as tx:
                    await end(tx, self.holder, ended)
                    await let_go(tx, self.holder)
                del self._ended[workspace]

    def _scope(self, workspace: int) -> Scope:
        return Scope(workspace=workspace, actor=f"worker:{self.holder.worker}", cause="jobs", now=self.clock.now())


def _sort(own: Claim) -> tuple[int, str]:
    return own.workspace, own.kind


def _uncancel(taken: Sequence[_Running]) -> None:
    """Let a task whose jobs were told to stop go on with other jobs, which nobody cancelled."""
    if any(each.why is not None for each in taken) and (task := asyncio.current_task()) is not None:
        task.uncancel()


def words_of(error: Exception) -> str:
    """Return what went wrong in words; of an unforeseen error only its kind, because its text may hold values."""
    if isinstance(error, IsthmusError):
        return str(error)
    if isinstance(error, TimeoutError):
        return "It took longer than it may."
    return f"It ended with an unforeseen {type(error).__name__}."


def retry_after_of(error: Exception) -> float | None:
    """Return after how many seconds the other side wants to be asked again, if it said so."""
    said: object = getattr(error, "retry_after_s", None)
    return float(said) if isinstance(said, int | float) and said >= 0 else None


def is_final(error: Exception) -> bool:
    """Tell whether trying again cannot help: what is asked for is wrong, and not the moment."""
    own = isinstance(error, IsthmusError)
    return own and _FINAL_FROM <= error.status < _FINAL_TO and error.status not in _PASSING


def _told(running: _Running) -> Told:
    running.told = running.work.progress
    done, total, text = running.told or (0, None, "")
    return Told(done=done, total=total, text=text)
