"""The measurement of events put together: latency at two rates, the most that can be carried, and what writers pay."""

import tempfile
import time
from collections.abc import Callable, Generator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Protocol, cast

import psycopg

from isthmus.app.bench import Bar, Outcome
from isthmus.app.bench.events.costing import costs
from isthmus.app.bench.events.reading import Heard, read
from isthmus.app.bench.events.sides import TABLE, Pace, Side, Ways, carry, write
from isthmus.app.engines import Engines, EngineSettings, start_engines
from isthmus.app.program import migrate_as_owner
from isthmus.vault import entropy

SIDES: tuple[Side, ...] = ("floor", "isthmus")
ROUNDS, QUICK_ROUNDS = 5, 3
SECONDS, QUICK_SECONDS = 5.0, 2.0
CARRIED_S_MAX, POLL_S, COSTED_S_MIN = 60.0, 0.02, 6
PACES = {"500": (1, 500.0), "5000": (10, 5_000.0), "most_1": (1, None), "most_50": (50, None)}
"""Events in each transaction, and events a second."""


class _Pipe(Protocol):
    def send(self, obj: str, /) -> None: ...

    def recv(self) -> object: ...


@dataclass(frozen=True, kw_only=True)
class Round:
    """What came of a stretch of writing: latencies in seconds, sorted, and events a second until all were read."""

    latencies: list[float]
    per_s: float
    written_per_s: float

    @property
    def p50(self) -> float:
        """The middle latency."""
        return self.latencies[len(self.latencies) // 2]

    @property
    def p99(self) -> float:
        """The latency that one in a hundred exceeds."""
        return self.latencies[len(self.latencies) * 99 // 100]


class NotCarried(AssertionError):
    """Events were written and never read."""


def measure(
    *,
    quick: bool,
    say: Callable[[str], None],
    rounds: int | None = None,
    seconds: float | None = None,
    costed_s: int | None = None,
) -> Outcome:
    """Measure on engines of its own, with so many rounds of so many seconds; what writers pay takes `costed_s` each."""
    times = rounds or (QUICK_ROUNDS if quick else ROUNDS)
    length = seconds or (QUICK_SECONDS if quick else SECONDS)
    with tempfile.TemporaryDirectory(prefix="isthmus-bench-") as directory:
        home = Path(directory)
        home.chmod(0o711)
        settings = EngineSettings(data_dir=home / "data")
        with start_engines(settings=settings, entropy=entropy, now=lambda: datetime.now(UTC)) as engines:
            migrate_as_owner(engines.postgres)
            ways = _prepared(engines)
            found = _rounds(ways, times, length, say)
            say("what the event costs writers")
            stretch = max(COSTED_S_MIN, round(length)) if costed_s is None else costed_s
            paid = costs(engines.postgres, home=home, workspace=ways.workspace, rounds=times, seconds=stretch)
    return _told(found, paid, times)


def _prepared(engines: Engines) -> Ways:
    owner, valkey = engines.postgres.owner, engines.valkey
    if valkey is None:
        raise NotCarried("There is no Valkey.")
    with psycopg.connect(owner.conninfo, password=owner.password, autocommit=True) as connection:
        connection.execute(TABLE)
        connection.execute("grant select, insert on bench_row to isthmus_app")
        row = connection.execute(
            "insert into workspace (slug, name, created_at) values ('bench', 'Bench', now()) returning id"
        ).fetchone()
    return Ways(login=engines.postgres.app, valkey=valkey, workspace=int(row[0]) if row else 0)


def _rounds(ways: Ways, rounds: int, seconds: float, say: Callable[[str], None]) -> dict[str, dict[Side, list[Round]]]:
    found: dict[str, dict[Side, list[Round]]] = {name: {side: [] for side in SIDES} for name in PACES}
    with ExitStack() as stack:
        stack.enter_context(_relaying(ways))
        readers = {side: stack.enter_context(_reading(side, ways)) for side in SIDES}
        pool = stack.enter_context(ProcessPoolExecutor(1, mp_context=get_context("spawn")))
        for side in SIDES:
            _round(pool, readers[side], side, ways, Pace(together=1, per_s=200.0, seconds=0.5))
        for number in range(rounds):
            for name, (together, per_s) in PACES.items():
                for side in SIDES if number % 2 else reversed(SIDES):
                    pace = Pace(together=together, per_s=per_s, seconds=seconds)
                    one = _round(pool, readers[side], side, ways, pace)
                    found[name][side].append(one)
                    say(
                        f"round {number + 1}: {name} {side}: p50 {one.p50 * 1e3:.1f} ms, p99 {one.p99 * 1e3:.1f} ms,"
                        f" {one.per_s:,.0f} a second"
                    )
    return found


def _round(pool: ProcessPoolExecutor, reader: _Pipe, side: Side, ways: Ways, pace: Pace) -> Round:
    wrote = pool.submit(write, side, ways, pace).result()
    over = time.monotonic() + CARRIED_S_MAX
    while _count(reader) < wrote.events:
        if time.monotonic() > over:
            raise NotCarried(f"{side}: of {wrote.events} events not all were read within {CARRIED_S_MAX:.0f} s")
        time.sleep(POLL_S)
    reader.send("take")
    heard = cast("Heard", reader.recv())
    last = max(at for _, at in heard) / 1e9
    return Round(
        latencies=sorted((at - due) / 1e9 for due, at in heard),
        per_s=len(heard) / (last - wrote.began),
        written_per_s=wrote.events / (wrote.ended - wrote.began),
    )


def _count(reader: _Pipe) -> int:
    reader.send("count")
    return cast("int", reader.recv())


@contextmanager
def _relaying(ways: Ways) -> Generator[None]:
    child = get_context("spawn").Process(target=carry, args=(ways,), daemon=True)
    child.start()
    try:
        yield
    finally:
        child.kill()
        child.join()


@contextmanager
def _reading(side: Side, ways: Ways) -> Generator[_Pipe]:
    context = get_context("spawn")
    mine, theirs = context.Pipe()
    child = context.Process(target=read, args=(theirs, side, ways), daemon=True)
    child.start()
    theirs.close()
    try:
        mine.recv()
        yield mine
    finally:
        child.kill()
        child.join()


def _told(found: dict[str, dict[Side, list[Round]]], paid: dict[str, float], rounds: int) -> Outcome:
    """Write figures and bars down."""
    outcome = Outcome(bench="events", rounds=rounds)
    figures, bars = outcome.figures, outcome.bars
    for name in PACES:
        for side in SIDES:
            all_ = found[name][side]
            if PACES[name][1] is None:
                figures[f"{side}_{name}_per_s"] = round(median(each.per_s for each in all_))
                figures[f"{side}_{name}_written_per_s"] = round(median(each.written_per_s for each in all_))
            else:
                figures[f"{side}_{name}_p50_ms"] = round(median(each.p50 for each in all_) * 1e3, 2)
                figures[f"{side}_{name}_p99_ms"] = round(median(each.p99 for each in all_) * 1e3, 2)
                figures[f"{side}_{name}_max_ms"] = round(max(each.latencies[-1] for each in all_) * 1e3, 1)
    for name, limit in (("500", 2.0), ("5000", 3.0)):
        ratio = figures[f"isthmus_{name}_p99_ms"] / figures[f"floor_{name}_p99_ms"]
        bars[f"p99_to_floor_at_{name}"] = Bar(value=round(ratio, 2), limit=limit)
        bars[f"worst_ms_at_{name}"] = Bar(value=figures[f"isthmus_{name}_max_ms"], limit=1_000)
    for name, limit in (("most_1", 1.0), ("most_50", 2.0)):
        ratio = figures[f"isthmus_{name}_per_s"] / figures[f"floor_{name}_per_s"]
        bars[f"{name}_to_floor"] = Bar(value=round(ratio, 2), limit=limit, at_most=False)
    for name, rate in paid.items():
        figures[f"tps_{name}"] = round(rate)
    bars["event_costs_writers"] = Bar(value=round(1 - paid["put_event"] / paid["put"], 3), limit=0.1)
    figures["event_costs_bare_rows"] = round(1 - paid["row_event"] / paid["row"], 3)
    return outcome
