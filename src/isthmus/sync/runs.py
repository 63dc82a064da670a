"""Runs: what happens on a connection, counted while it happens and readable from every other program."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import blake2b
from random import Random
from typing import Literal, LiteralString
from uuid import UUID

import msgspec
from msgspec import Struct

from isthmus.kernel.clock import Clock, milliseconds
from isthmus.kernel.errors import Conflicting
from isthmus.kernel.ids import ENTROPY_BYTES, mint
from isthmus.kernel.status import Status
from isthmus.store.database import DatabaseAway, Scope, Transaction
from isthmus.store.put import PutResult
from isthmus.stream.limits import Leases
from isthmus.sync.connector import Connector
from isthmus.sync.ingest import Store
from isthmus.vault import entropy

Kind = Literal["sync", "pull", "push", "sweep", "import", "backfill", "resync"]
BEAT_S = 0.5
SILENT_AFTER = timedelta(seconds=30)
COUNTED = ("read", "created", "changed", "unchanged", "rejected", "written", "conflicts")
INTERRUPTED = "The program ended in the middle of this run; the next one goes on after the last page."
_LOCK_PERSON = b"isthmus-run"
_START: LiteralString = """
insert into run (workspace, id, connection_id, about, kind, status, started_at, updated_at, pipeline)
values (current_workspace(), %s, %s, %s, %s, 'running', %s, %s, %s)
"""
_SAVE: LiteralString = """
update run set status = %(status)s, feed = %(feed)s, updated_at = %(now)s, finished_at = %(finished_at)s,
       read = %(read)s, created = %(created)s, changed = %(changed)s, unchanged = %(unchanged)s,
       rejected = %(rejected)s, written = %(written)s, conflicts = %(conflicts)s, total = %(total)s, error = %(error)s,
       feeds = %(feeds)s
where workspace = current_workspace() and id = %(id)s
"""
_RUNS: LiteralString = """
select id, connection_id, about, kind, status, feed, started_at, updated_at, finished_at, read, created, changed,
       unchanged, rejected, written, conflicts, total, error, feeds
from run where workspace = current_workspace()
"""
_LEFT_OUT: LiteralString = """
select id from run where workspace = current_workspace() and id = any(%(ids)s) and not pipeline
union
select id from connection
where workspace = current_workspace() and id = any(%(ids)s) and options->>'pipeline' = 'false'
"""
_ABANDONED: LiteralString = """
update run set status = 'degraded', finished_at = %s, error = %s
where workspace = current_workspace() and connection_id = %s and finished_at is null
"""


class RunOverlaps(Conflicting):
    """Two runs of one connection never overlap."""

    code, title = "run-overlaps", "The connection is running already"


class Run(Struct, frozen=True, kw_only=True):
    """One run; the counts are of rows, `total` how many are expected, if that is known.

    `feeds` holds the same counts by feed, those that are not zero; what was done for no single feed is in none.
    """

    id: UUID
    connection_id: UUID | None
    about: str
    kind: Kind
    status: Status
    feed: str | None
    started_at: datetime
    updated_at: datetime
    finished_at: datetime | None
    read: int
    created: int
    changed: int
    unchanged: int
    rejected: int
    written: int
    conflicts: int
    total: int | None
    error: str | None
    feeds: dict[str, dict[str, int]] = {}


@dataclass(frozen=True, kw_only=True)
class Retry:
    """How often and how long a system that does not answer is asked again; delays grow with full jitter, in seconds."""

    tries_max: int = 6
    base_s: float = 0.5
    delay_s_max: float = 60.0

    def delay_s(self, attempt: int, chance: Random) -> float:
        """Return a random delay below base · 2^attempt (exponential back-off with full jitter)."""
        return chance.uniform(0, min(self.delay_s_max, self.base_s * 2**attempt))


@dataclass(frozen=True, kw_only=True)
class Engine:
    """What running connections needs: the store, the time, a seeded generator for delays, the connectors by name.

    With `leases` the vendors' allowances hold over all workers; without, each session goes as fast as it can.
    """

    store: Store
    clock: Clock
    chance: Random
    connectors: Mapping[str, Connector]
    retry: Retry = Retry()
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep
    leases: Leases | None = None

    def scope(self, *, workspace: int, actor: str, cause: str) -> Scope:
        """Return a scope of this moment."""
        return Scope(workspace=workspace, actor=actor, cause=cause, now=self.clock.now())


@dataclass(slots=True, kw_only=True)
class Progress:
    """The counts of a run that is going on; saved every half second, so that others can watch."""

    id: UUID
    kind: Kind
    status: Status = Status.RUNNING
    feed: str | None = None
    read: int = 0
    created: int = 0
    changed: int = 0
    unchanged: int = 0
    rejected: int = 0
    written: int = 0
    conflicts: int = 0
    total: int | None = None
    error: str | None = None
    finished_at: datetime | None = None
    troubles: list[str] = field(default_factory=list[str])
    news: set[str] = field(default_factory=set[str])
    notes: set[str] = field(default_factory=set[str])
    feeds: dict[str, dict[str, int]] = field(default_factory=dict[str, dict[str, int]])
    shared: dict[str, int] = field(default_factory=dict[str, int])

    def begin(self, feed: str | None) -> None:
        """Go on with a feed, or with what is done for none of them."""
        self._share()
        self.feed, self.total = feed, None

    def add(self, result: PutResult) -> None:
        """Count what a batch did."""
        self.created += result.created
        self.changed += result.changed
        self.unchanged += result.unchanged + result.claimed
        self.rejected += result.rejected + len(result.rejects)
        self.conflicts += result.opened_cases
        self._share()

    async def save(self, tx: Transaction) -> None:
        """Write the counts down."""
        self._share()
        row = {
            name: getattr(self, name) for name in ("id", "status", "feed", *COUNTED, "total", "error", "finished_at")
        }
        feeds = msgspec.json.encode(self.feeds).decode()
        await tx.connection.execute(_SAVE, {**row, "feeds": feeds, "now": tx.scope.now})

    def _share(self) -> None:
        """Give what was counted since the last time to the feed that it was counted for."""
        now: dict[str, int] = {name: getattr(self, name) for name in COUNTED}
        fresh = {name: count - self.shared.get(name, 0) for name, count in now.items()}
        self.shared = now
        if self.feed is not None:
            own = self.feeds.setdefault(self.feed, {})
            own |= {name: own.get(name, 0) + count for name, count in fresh.items() if count}


@asynccontextmanager
async def recorded(
    engine: Engine,
    *,
    workspace: int,
    actor: str,
    kind: Kind,
    about: str,
    connection_id: UUID | None = None,
    pipeline: bool = True,
) -> AsyncGenerator[Progress]:
    """Write a run down, its progress while it goes on, and its end, whatever that is.

    Without `pipeline` the records that it brings are left out of the steps of their domain.
    """
    now = engine.clock.now()
    progress = Progress(id=mint(unix_ms=milliseconds(now), entropy=entropy(ENTROPY_BYTES)), kind=kind)

    def scope() -> Scope:
        return engine.scope(workspace=workspace, actor=actor, cause=str(progress.id))

    async with engine.store.database.transaction(scope()) as tx:
        if connection_id is not None:
            await tx.connection.execute(_ABANDONED, (now, INTERRUPTED, connection_id))
        await tx.connection.execute(_START, (progress.id, connection_id, about, kind, now, now, pipeline))
    ended = asyncio.Event()
    beat = asyncio.create_task(_beat(engine, scope, progress, ended))
    try:
        yield progress
    except BaseException as error:
        if progress.status in (Status.RUNNING, Status.RETRYING):
            progress.status = Status.NEEDS_ATTENTION
        progress.error = progress.error or words_of(error)
        raise
    finally:
        ended.set()
        await asyncio.gather(beat, return_exceptions=True)
        if progress.status == Status.RUNNING:
            progress.status = Status.DEGRADED if progress.rejected or progress.troubles else Status.HEALTHY
            progress.error = " ".join(progress.troubles) or None
        progress.finished_at = engine.clock.now()
        await _tell(engine, scope, progress)


def words_of(error: BaseException) -> str:
    """Return what went wrong in words; of an unforeseen error only its kind, because its text may hold values."""
    from_us = getattr(error, "detail", None)
    if isinstance(from_us, str):
        return str(error)
    return f"It ended with an unforeseen {type(error).__name__}."


async def _beat(engine: Engine, scope: Callable[[], Scope], progress: Progress, ended: asyncio.Event) -> None:
    """Save the progress until the run has ended; it is told so and not cancelled, so that no query breaks off."""
    while not ended.is_set():
        with suppress(TimeoutError):
            async with asyncio.timeout(BEAT_S):
                await ended.wait()
        if not ended.is_set():
            with suppress(DatabaseAway):
                await _tell(engine, scope, progress)


async def _tell(engine: Engine, scope: Callable[[], Scope], progress: Progress) -> None:
    async with engine.store.database.transaction(scope()) as tx:
        await progress.save(tx)


@asynccontextmanager
async def alone(engine: Engine, *, workspace: int, name: str) -> AsyncGenerator[None]:
    """Hold a connection for one run; raises RunOverlaps when another program or task has it.

    The lock belongs to a session of the database, so that it goes when the program does.
    """
    digest = blake2b(f"{workspace}:{name}".encode(), digest_size=8, person=_LOCK_PERSON).digest()
    key = int.from_bytes(digest, "big", signed=True)
    async with engine.store.database.plain() as connection:
        row = await (await connection.execute("select pg_try_advisory_lock(%s)", (key,))).fetchone()
        if row is None or not row[0]:
            raise RunOverlaps(
                f"A run of {name!r} is going on.", fix=f"Wait for it, or watch it: isthmus sync watch {name}"
            )
        try:
            yield
        finally:
            await connection.execute("select pg_advisory_unlock(%s)", (key,))


async def runs(  # noqa: PLR0913, RUF100 - one parameter for each filter.
    tx: Transaction,
    *,
    connection_id: UUID | None = None,
    about: str | None = None,
    status: Status | None = None,
    before: UUID | None = None,
    limit: int = 50,
) -> list[Run]:
    """Return runs, newest first, from before a run: of one connection, or about one system, with one status."""
    cursor = await tx.connection.execute(
        _RUNS + " and (%(connection)s::uuid is null or connection_id = %(connection)s)"
        " and (%(about)s::text is null or about = %(about)s) and (%(status)s::text is null or status = %(status)s)"
        " and (%(before)s::uuid is null or id < %(before)s) order by id desc limit %(limit)s",
        {"connection": connection_id, "about": about, "status": status, "before": before, "limit": limit},
    )
    return [_run(row) for row in await cursor.fetchall()]


async def run_of(tx: Transaction, run_id: UUID) -> Run | None:
    """Return a run, or nothing."""
    row = await (await tx.connection.execute(_RUNS + " and id = %s", (run_id,))).fetchone()
    return _run(row) if row else None


def as_of(run: Run, now: datetime) -> Run:
    """Return a run as it stands: one whose program has said nothing for half a minute was interrupted."""
    if run.finished_at is not None or now - run.updated_at <= SILENT_AFTER:
        return run
    return msgspec.structs.replace(run, status=Status.NEEDS_ATTENTION, error=INTERRUPTED)


async def left_out(tx: Transaction, causes: Iterable[str]) -> set[str]:
    """Return which of the causes are runs, or connections, whose records skip the steps of their domain."""
    by_id: dict[UUID, str] = {}
    for cause in causes:
        with suppress(ValueError):
            by_id[UUID(cause)] = cause
    cursor = await tx.connection.execute(_LEFT_OUT, {"ids": list(by_id)})
    return {by_id[own] for (own,) in await cursor.fetchall()}


def _run(row: tuple[object, ...]) -> Run:
    return msgspec.convert(dict(zip(Run.__struct_fields__, row, strict=True)), Run)
