"""The measurement of taking in and writing out put together."""

import asyncio
import gc
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import psycopg

from isthmus.app.bench import Bar, Outcome
from isthmus.app.bench.sync import peers, writes
from isthmus.app.bench.sync.ours import opened, watched
from isthmus.app.bench.sync.peers import LOADERS, WRITERS, Took
from isthmus.app.bench.sync.rows import KEY, TABLE, Files, change_rows, make_files, make_table
from isthmus.app.bench.sync.server import serving
from isthmus.app.engines import Engines, EngineSettings, PostgresAccess, start_engines
from isthmus.app.program import migrate_as_owner
from isthmus.vault import entropy

FIRST_MAX, CHANGED_MAX, TO_SINGER_MAX = 1.5, 1.0, 0.2
AGAIN_MAX, GROWTH_MAX, TO_DRT_MIN = 0.1, 1.25, 6.0
EVERY = 100
"""One row in so many has changed when a table is pulled again."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much is loaded, pulled and written, and how often. The Singer target, the slowest, has fewer rounds."""

    rows: int
    changed: int
    pulled: int
    written: int
    rounds: int
    singer_rounds: int


WHOLE = Size(rows=1_000_000, changed=100_000, pulled=200_000, written=5_000, rounds=3, singer_rounds=1)
QUICK = Size(rows=20_000, changed=2_000, pulled=10_000, written=500, rounds=1, singer_rounds=1)


@dataclass(kw_only=True)
class Seen:
    """What the rounds gave, by side and part."""

    took: dict[str, list[Took]] = field(default_factory=dict[str, list[Took]])
    rates: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    growth: list[float] = field(default_factory=list[float])

    def note(self, name: str, took: Took) -> None:
        """Keep what something took."""
        self.took.setdefault(name, []).append(took)

    def wall(self, name: str) -> float:
        """Return the median time, in seconds."""
        return median(each.wall for each in self.took[name])


def measure(*, quick: bool, say: Callable[[str], None], size: Size | None = None) -> Outcome:
    """Measure on a PostgreSQL of its own; raises PeerMissing."""
    size = size or (QUICK if quick else WHOLE)
    loaders, writers = peers.environment(LOADERS, say=say), peers.environment(WRITERS, say=say)
    seen = Seen()
    with tempfile.TemporaryDirectory(prefix="isthmus-bench-") as directory:
        home = Path(directory)
        home.chmod(0o711)
        files = make_files(home, rows=size.rows, changed=size.changed)
        settings = EngineSettings(data_dir=home / "data", want_valkey=False)
        with start_engines(settings=settings, entropy=entropy, now=lambda: datetime.now(UTC)) as engines:
            migrate_as_owner(engines.postgres)
            for number in range(size.rounds):
                _loads(engines, loaders, files, home, number=number, size=size, seen=seen)
                asyncio.run(_pulls(engines, files, home, number=number, size=size, seen=seen))
                _writes(engines, writers, home, size=size, seen=seen)
                _clear(engines.postgres)
                said = [f"{name} {each[-1].wall:.2f} s" for name, each in seen.took.items()]
                said += [f"{name} {each[-1]:,.0f} a second" for name, each in seen.rates.items()]
                say(f"round {number + 1}: {', '.join(said)}")
    outcome = Outcome(bench="sync", rounds=size.rounds, peers={**LOADERS, **WRITERS})
    outcome.peers["PostgreSQL"] = str(engines.postgres.version)
    _tell(outcome, seen, size)
    return outcome


def _loads(engines: Engines, programs: Path, files: Files, home: Path, *, number: int, size: Size, seen: Seen) -> None:
    """Load the files by each side, and see that the peers loaded all of it."""
    postgres = engines.postgres
    for form, name in (("csv", "dlt"), ("parquet", "dlt_adbc")):
        took = peers.dlt(programs, postgres, files, home=home / f"{name}-{number}", form=form)
        _keep(seen, name, took)
        _look(postgres, peers.DLT_SCHEMA, size)
    if number < size.singer_rounds:
        _keep(seen, "singer", peers.singer(programs, postgres, files, home=home))
        _look(postgres, peers.SINGER_SCHEMA, size)
    gc.collect()
    asyncio.run(_imports(postgres, files, home, number=number, size=size, seen=seen))


async def _imports(postgres: PostgresAccess, files: Files, home: Path, *, number: int, size: Size, seen: Seen) -> None:
    async with opened(postgres, home, f"load-{number}") as side:
        with watched() as memory:
            first = await side.load(files.whole, created=size.rows)
        seen.growth.append(memory.growth)
        changed = await side.load(files.changed, changed=size.changed)
    _keep(seen, "isthmus", [first, changed])


async def _pulls(engines: Engines, files: Files, home: Path, *, number: int, size: Size, seen: Seen) -> None:
    """Pull a table, and again when some of it has changed."""
    table = home / f"shop-{number}.db"
    await asyncio.to_thread(make_table, table, files.whole, rows=size.pulled)
    async with opened(engines.postgres, home, f"pull-{number}") as side:
        await side.connect(table, files.whole)
        seen.note("isthmus_pull", await side.pull(created=size.pulled))
        changed = await asyncio.to_thread(change_rows, table, every=EVERY)
        seen.note("isthmus_pull_again", await side.pull(changed=changed))


def _writes(engines: Engines, programs: Path, home: Path, *, size: Size, seen: Seen) -> None:
    given = writes.records(size.written)
    with serving() as url:
        took = {
            "drt": peers.drt(programs, f"{url}/leads", given, home=home, per_s=writes.PER_S),
            "isthmus": asyncio.run(writes.ours(engines.postgres, url, given)),
        }
    for name, each in took.items():
        seen.rates.setdefault(f"{name}_writes_per_s", []).append(size.written / each)


def _keep(seen: Seen, name: str, took: Sequence[Took]) -> None:
    first, changed = took
    seen.note(f"{name}_first", first)
    seen.note(f"{name}_changed", changed)


def _look(postgres: PostgresAccess, schema: str, size: Size) -> None:
    """Raise AssertionError unless a peer's table holds every row once, and the changes; then drop it."""
    query = f"select count(*), count(distinct {KEY}), count(*) filter (where title = 'Changed') from {schema}.{TABLE}"  # noqa: S608 - constants.
    login = postgres.owner
    with psycopg.connect(login.conninfo, password=login.password, autocommit=True) as connection:
        found = connection.execute(query.encode()).fetchone()
        for each in (schema, f"{schema}_staging"):
            connection.execute(f"drop schema if exists {each} cascade".encode())
    if found != (size.rows, size.rows, size.changed):
        message = f"{schema} holds {found}, not {size.rows} rows with {size.changed} changed"
        raise AssertionError(message)


def _clear(postgres: PostgresAccess) -> None:
    """Empty what the round wrote, so that every round starts alike."""
    login = postgres.owner
    with psycopg.connect(login.conninfo, password=login.password, autocommit=True) as connection:
        connection.execute("truncate ref, claim, event_bundle, audit, sales_lead")


def _tell(outcome: Outcome, seen: Seen, size: Size) -> None:
    """Write figures and bars down; ratios are of medians."""
    outcome.figures = {"rows": size.rows, "changed": size.changed, "pulled": size.pulled, "written": size.written}
    for name, all_ in seen.took.items():
        outcome.figures[f"{name}_s"] = round(seen.wall(name), 2)
        outcome.figures[f"{name}_s_min"] = round(min(each.wall for each in all_), 2)
        outcome.figures[f"{name}_s_max"] = round(max(each.wall for each in all_), 2)
        outcome.figures[f"{name}_cpu_s"] = round(median(each.cpu for each in all_), 2)
    for name, rates in seen.rates.items():
        outcome.figures[name] = round(median(rates))
    rate = {name: median(rates) for name, rates in seen.rates.items()}
    outcome.bars = {
        "first_to_dlt": _share(seen, "isthmus_first", "dlt_first", FIRST_MAX),
        "changed_to_dlt": _share(seen, "isthmus_changed", "dlt_changed", CHANGED_MAX),
        "changed_to_singer": _share(seen, "isthmus_changed", "singer_changed", TO_SINGER_MAX),
        "again_to_first": _share(seen, "isthmus_pull_again", "isthmus_pull", AGAIN_MAX),
        "memory_growth": Bar(value=round(median(seen.growth), 2), limit=GROWTH_MAX),
        "writes_to_drt": Bar(
            value=round(rate["isthmus_writes_per_s"] / rate["drt_writes_per_s"], 1), limit=TO_DRT_MIN, at_most=False
        ),
    }


def _share(seen: Seen, own: str, other: str, limit: float) -> Bar:
    return Bar(value=round(seen.wall(own) / seen.wall(other), 3), limit=limit)
