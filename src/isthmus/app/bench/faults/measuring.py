"""The bench of faults put together: everything, what changes, a source that goes wrong, and then the truth."""

import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

from isthmus.app.bench import Bar, Outcome
from isthmus.app.bench.faults.careless import careless
from isthmus.app.bench.faults.proxy import Fault
from isthmus.app.bench.faults.serving import Counterpart, serving
from isthmus.app.bench.faults.side import Judged, Side, opened
from isthmus.app.bench.faults.source import DAYS_OFF, Step, id_of
from isthmus.app.bench.faults.vendor import SCAN_S
from isthmus.app.engines import EngineSettings, PostgresAccess, start_engines
from isthmus.app.program import migrate_as_owner
from isthmus.kernel.status import Status
from isthmus.sync.running import EVERYTHING, Part
from isthmus.sync.runs import Run
from isthmus.vault import entropy

Say = Callable[[str], None]
SEED, SHARE, RUNS_MAX, PROGRESS_S = 7, 0.1, 60, 15
QUIET_RUNS = 2
"""An empty answer ends a reading early; so often in a row nothing new must come before it counts as read."""
STORM, LEFT_OUT = tuple(Fault), frozenset({Fault.EMPTIED, Fault.PARTIAL})
WHOLE_LISTS = tuple(each for each in STORM if each not in LEFT_OUT)
RETYPED, AHEAD = 1, 2
"""The step at which titles are no text, and the one at which the clock is two days ahead."""
WRITES_PER_EDIT_MAX = 1.05
LISTINGS = {"empty": "would be deleted", "part": "would be deleted", "other": "would be deleted", "most": "is there"}
"""How the list of ids goes wrong, and a word of why nothing was deleted."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """How many rows there are, how often they change, what happens at each step, and how many are edited here then."""

    rows: int
    steps: int
    step: Step
    edits: int


WHOLE = Size(rows=1_000_000, steps=8, edits=20, step=Step(changed=3_000, made=500, deleted=50, vanished=50, late=100))
QUICK = Size(rows=30_000, steps=5, edits=10, step=Step(changed=600, made=200, deleted=10, vanished=10, late=20))


@dataclass(kw_only=True)
class Found:
    """What the bench found."""

    judged: Judged
    met: Counter[Fault]
    trips: int
    degraded: int
    silent_before_scan: int
    writes: int
    again: int
    unasked: int
    careless_missed: int
    seconds: dict[str, float] = field(default_factory=dict[str, float])


def measure(*, quick: bool, say: Say, size: Size | None = None, seed: int = SEED) -> Outcome:
    """Measure on a PostgreSQL of its own."""
    size = size or (QUICK if quick else WHOLE)
    with tempfile.TemporaryDirectory(prefix="isthmus-bench-") as directory:
        home = Path(directory)
        home.chmod(0o711)
        settings = EngineSettings(data_dir=home / "data", want_valkey=False)
        with start_engines(settings=settings, entropy=entropy, now=lambda: datetime.now(UTC)) as engines:
            migrate_as_owner(engines.postgres)
            outcome = asyncio.run(measured(engines.postgres, home, size=size, seed=seed, say=say))
    outcome.peers = {"PostgreSQL": str(engines.postgres.version)}
    return outcome


async def measured(postgres: PostgresAccess, home: Path, *, size: Size, seed: int, say: Say) -> Outcome:
    """Measure on a PostgreSQL that is there."""
    with serving(size.rows) as vendor:
        async with opened(postgres, home, seed=seed, slug=f"faults-{seed}-{size.rows}") as side:
            await side.connect(vendor.url)
            bench = _Bench(side, vendor, size, seed, say)
            found = await bench.all()
    return _told(side, found, size)


@dataclass
class _Bench:
    side: Side
    vendor: Counterpart
    size: Size
    seed: int
    say: Say
    storms: int = 0
    trips: int = 0
    degraded: int = 0

    async def all(self) -> Found:
        """Do everything in its order."""
        seconds: dict[str, float] = {}
        for name, part in (
            ("first", self._first),
            ("steps", self._steps),
            ("listings", self._listings),
        ):
            began = time.perf_counter()
            await part()
            seconds[name] = round(time.perf_counter() - began, 1)
            self.say(f"{name}: {seconds[name]} s")
        before = await self.side.judge(self.vendor.truth())
        began = time.perf_counter()
        await self._scan()
        seconds["scan"] = round(time.perf_counter() - began, 1)
        truth = self.vendor.truth()
        met, _ = self.vendor.met()
        seen = await self._careless()
        living = {id_of(each) for each in range(truth.rows) if each not in truth.gone}
        return Found(
            judged=await self.side.judge(truth),
            met=met,
            trips=self.trips,
            degraded=self.degraded,
            silent_before_scan=before.missed,
            writes=truth.writes,
            again=truth.again,
            unasked=truth.unasked,
            careless_missed=len(living - seen),
            seconds=seconds,
        )

    async def _first(self) -> None:
        """Read everything for the first time."""
        self._storm(STORM)
        async with self._progress("first reading"):
            for _ in range(QUIET_RUNS):
                await self._until(lambda run: run.status is Status.HEALTHY and not run.created, parts=("pull",))

    async def _steps(self) -> None:
        """Let things happen on both sides, step by step; the schema changes once, and the clock jumps and returns."""
        dice = Random(self.seed)
        for number in range(self.size.steps):
            ahead = DAYS_OFF if number == AHEAD else 0
            step = self.size.step
            self.vendor.advance(
                Step(
                    changed=step.changed,
                    made=step.made,
                    deleted=step.deleted,
                    vanished=step.vanished,
                    late=step.late,
                    ahead=ahead,
                ),
                seed=self.seed + number,
            )
            self.vendor.mood(retyped=number == RETYPED)
            self._storm(STORM)
            await self.side.edit(await self.side.some(self.size.edits, dice=dice), text=f"Step {number} for")
            run = await self._until(lambda run: run.status in (Status.HEALTHY, Status.DEGRADED))
            if number == RETYPED:
                self.degraded += run.status is Status.DEGRADED and bool(await self.side.causes())
            self.say(f"step {number + 1}: {run.status}, {run.changed:,} changed, {run.written} written")
        self.vendor.mood()
        self.vendor.settle()

    async def _listings(self) -> None:
        """Let the source say that it has nothing, a part of it, other ids, and most of it."""
        self.vendor.mood(silent=True)
        self._storm(WHOLE_LISTS)
        await self._until(lambda run: run.status in (Status.HEALTHY, Status.DEGRADED))
        for listing, word in LISTINGS.items():
            self.vendor.mood(listing=listing)
            self._storm(WHOLE_LISTS)
            run = await self._until(lambda run, word=word: word in (run.error or ""), parts=("sweep",))
            self.trips += run.status is Status.NEEDS_ATTENTION
            self.say(f"ids, {listing}: {run.status}, {run.error}")
        self.vendor.mood()

    async def _scan(self) -> None:
        """Let a day pass: everything is read anew, and the ids are compared; then nothing is left to do."""
        self.side.clock.slept += timedelta(seconds=SCAN_S + 1)
        self._storm(WHOLE_LISTS)
        async with self._progress("everything again"):
            await self._until(lambda run: run.status is Status.HEALTHY)
        await self._until(lambda run: run.status is Status.HEALTHY, parts=("sweep",))
        self._storm(())
        await self._until(lambda run: run.status is Status.HEALTHY and run.written == 0)

    async def _careless(self) -> set[str]:
        self._storm(STORM)
        return await careless(self.vendor.url)

    async def _until(self, over: Callable[[Run], bool], *, parts: tuple[Part, ...] = EVERYTHING) -> Run:
        """Run until it is over; raises AssertionError when it never is."""
        run = await self.side.run(*parts)
        for _ in range(RUNS_MAX):
            if over(run):
                return run
            run = await self.side.run(*parts)
        message = f"after {RUNS_MAX} runs it is not over: {run.status}, {run.error}"
        raise AssertionError(message)

    def _storm(self, kinds: tuple[Fault, ...]) -> None:
        self.storms += 1
        self.vendor.storm(kinds, seed=self.seed * 1_000 + self.storms, share=SHARE)

    @asynccontextmanager
    async def _progress(self, what: str) -> AsyncGenerator[None]:
        """Tell now and then how far it is."""
        began = time.perf_counter()

        async def tell() -> None:
            while True:
                await asyncio.sleep(PROGRESS_S)
                met, passed = self.vendor.met()
                spent = time.perf_counter() - began
                self.say(f"{what}: {spent:,.0f} s, {passed:,} answers passed, {met.total():,} faults met")

        telling = asyncio.create_task(tell())
        try:
            yield
        finally:
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)


def _told(side: Side, found: Found, size: Size) -> Outcome:
    """Write figures and bars down."""
    outcome = Outcome(bench="faults", rounds=1)
    outcome.figures = {"rows": size.rows, "edits": len(side.edits), "writes_repeated": found.again}
    outcome.figures |= {f"{name}_s": seconds for name, seconds in found.seconds.items()}
    outcome.figures |= {f"runs_{name.replace(' ', '_')}": count for name, count in sorted(side.ended.items())}
    outcome.figures |= {f"met_{fault.name.lower()}": found.met[fault] for fault in Fault}
    outcome.figures["missed_before_everything_was_read_again"] = found.silent_before_scan
    judged = found.judged
    zero = {
        "rows_missed": judged.missed,
        "rows_doubled": judged.doubled,
        "rows_destroyed": judged.destroyed,
        "rows_lingering": judged.lingering,
        "edits_lost": judged.edits_lost,
        "writes_unasked": found.unasked,
        "runs_unexplained": side.unexplained,
        "faults_not_met": sum(found.met[fault] == 0 for fault in Fault),
    }
    outcome.bars = {name: Bar(value=value, limit=0) for name, value in zero.items()}
    per_edit = round(found.writes / max(1, len(side.edits)), 3)
    outcome.bars |= {
        "writes_per_edit": Bar(value=per_edit, limit=WRITES_PER_EDIT_MAX),
        "fuse_trips": Bar(value=found.trips, limit=len(LISTINGS), at_most=False),
        "degraded_by_schema": Bar(value=found.degraded, limit=1, at_most=False),
        "careless_missed": Bar(value=found.careless_missed, limit=1, at_most=False),
    }
    return outcome
