"""The measurement of jobs put together: rounds of draining, then kills."""

import asyncio
import gc
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from isthmus.app.bench import Bar, Outcome
from isthmus.app.bench.jobs.killing import Killed, kill_workers
from isthmus.app.bench.jobs.ours import drain
from isthmus.app.bench.jobs.peers import PEERS, pgqueuer, procrastinate
from isthmus.app.bench.peers import versions_of
from isthmus.app.engines import Engines, EngineSettings, start_engines
from isthmus.app.program import migrate_as_owner
from isthmus.vault import entropy

JOBS, QUICK_JOBS = 20_000, 4_000
SLOW_JOBS, QUICK_SLOW_JOBS = 2_000, 200
"""procrastinate gets fewer, as it takes so much longer for each."""
ROUNDS, QUICK_ROUNDS = 5, 3
KILLS, WATCH_EVERY, QUICK_WATCH_EVERY = 100, 10, 33
TO_PGQUEUER_MIN, TO_PROCRASTINATE_MIN = 1.5, 15.0
LEASES_MAX = 2.0


def measure(*, quick: bool, say: Callable[[str], None]) -> Outcome:
    """Measure on a PostgreSQL of its own; raises PeerMissing."""
    peers = versions_of(*PEERS, group="dev")
    watch = QUICK_WATCH_EVERY if quick else WATCH_EVERY
    with tempfile.TemporaryDirectory(prefix="isthmus-bench-") as directory:
        home = Path(directory)
        home.chmod(0o711)
        settings = EngineSettings(data_dir=home / "data", want_valkey=False)
        with start_engines(settings=settings, entropy=entropy, now=lambda: datetime.now(UTC)) as engines:
            migrate_as_owner(engines.postgres)
            rates, cpu = _rounds(engines, quick=quick, say=say)
            killed = kill_workers(engines.postgres, kills=KILLS, watch_every=watch, say=say)
    rounds = QUICK_ROUNDS if quick else ROUNDS
    outcome = Outcome(bench="jobs", rounds=rounds, peers={**peers, "postgres": str(engines.postgres.version)})
    for name, each in rates.items():
        outcome.figures[f"{name}_per_s"] = round(median(each))
        outcome.figures[f"{name}_per_s_min"], outcome.figures[f"{name}_per_s_max"] = round(min(each)), round(max(each))
        outcome.figures[f"{name}_cpu_us"] = round(median(cpu[name]) * 1e6, 1)
    _tell(outcome, rates, killed)
    return outcome


def _rounds(
    engines: Engines, *, quick: bool, say: Callable[[str], None]
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Return jobs a second of each queue in each round, and what a job takes of this process's CPU, in seconds."""
    many, few = (QUICK_JOBS, QUICK_SLOW_JOBS) if quick else (JOBS, SLOW_JOBS)
    rates: dict[str, list[float]] = {"isthmus": [], "pgqueuer": [], "procrastinate": []}
    cpu: dict[str, list[float]] = {name: [] for name in rates}
    postgres = engines.postgres
    for number in range(QUICK_ROUNDS if quick else ROUNDS):
        for name, count in (("isthmus", many), ("pgqueuer", many), ("procrastinate", few)):
            gc.collect()
            began = time.process_time()
            match name:
                case "isthmus":
                    took = asyncio.run(drain(postgres.app, count, number=number))
                case "pgqueuer":
                    took = asyncio.run(pgqueuer(postgres, count))
                case _:
                    took = asyncio.run(procrastinate(postgres, count))
            rates[name].append(count / took)
            cpu[name].append((time.process_time() - began) / count)
            say(f"round {number + 1}: {name} {count / took:,.0f} jobs a second")
    return rates, cpu


def _tell(outcome: Outcome, rates: dict[str, list[float]], killed: Killed) -> None:
    """Write figures and bars down; ratios are of medians."""
    ratios = {name: median(rates["isthmus"]) / median(rates[name]) for name in ("pgqueuer", "procrastinate")}
    outcome.figures |= {"kills": killed.kills, "killed_jobs": killed.jobs}
    outcome.bars = {
        "to_pgqueuer": Bar(value=round(ratios["pgqueuer"], 2), limit=TO_PGQUEUER_MIN, at_most=False),
        "to_procrastinate": Bar(value=round(ratios["procrastinate"], 1), limit=TO_PROCRASTINATE_MIN, at_most=False),
        "steps_done_twice": Bar(value=killed.doubled, limit=0),
        "steps_never_done": Bar(value=killed.missing, limit=0),
        "jobs_not_done": Bar(value=killed.unfinished, limit=0),
        "pickup_in_leases": Bar(value=round(killed.pickup_leases_max, 2), limit=LEASES_MAX),
    }
