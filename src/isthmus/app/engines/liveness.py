"""Which programs of an engine are alive, as the kernel tells it.

An engine's programs all have its directory as their working directory. That identifies them better than a pid file:
a pid is reused, and a program that nobody reaped still answers to signals.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import psutil

CLOCK_STEP = 2.0
"""Seconds that the start time of one program may seem to move when the system's clock is set."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One living program: its parent and its start time in Unix seconds."""

    pid: int
    parent: int
    started: float

    def is_one_started(self, at: float) -> bool:
        """Say whether this is the program that started then, and no later one with its pid."""
        return math.isclose(self.started, at, rel_tol=0, abs_tol=CLOCK_STEP)


def seen(pid: int) -> Seen | None:
    """Return what the kernel says of a pid; None if it is gone or waits to be reaped."""
    try:
        return _look(psutil.Process(pid))
    except psutil.Error:
        return None


def working_in(directory: Path, *, program: str) -> dict[int, Seen]:
    """Return the living programs named `program` whose working directory is `directory`, by pid."""
    wanted = str(directory.resolve())
    found: dict[int, Seen] = {}
    for one in psutil.process_iter():
        try:
            if one.name() == program and one.cwd() == wanted:
                living = _look(one)
                if living is not None:
                    found[one.pid] = living
        except psutil.Error:
            continue
    return found


def head_of(programs: dict[int, Seen]) -> int | None:
    """Return the pid of the earliest program that none of the others started."""
    heads = [one for one in programs.values() if one.parent not in programs]
    return min(heads, key=lambda one: (one.started, one.pid)).pid if heads else None


def _look(one: psutil.Process) -> Seen | None:
    if one.status() == psutil.STATUS_ZOMBIE:
        return None
    return Seen(pid=one.pid, parent=one.ppid(), started=one.create_time())
