"""Which programs of an engine are alive, seen from the kernel's side.

An engine's programs all have its directory as their working directory. That identifies them better than a pid file:
a pid is reused, and a program that nobody reaped still answers to signals.
"""

import os
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Seen:
    """One living program: its parent and its start time in clock ticks since boot."""

    pid: int
    parent: int
    name: str
    started: int


def seen(pid: int) -> Seen | None:
    """Return what the kernel says of a pid; None if it is gone or waits to be reaped."""
    try:
        text = (PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    name = text[text.index("(") + 1 : text.rindex(")")]
    fields = text[text.rindex(")") + 2 :].split()
    if fields[0] in {"Z", "X"}:
        return None
    return Seen(pid=pid, parent=int(fields[1]), name=name, started=int(fields[19]))


def exists(pid: int) -> bool:
    """Say whether the pid is taken, be it by a zombie."""
    return (PROC / str(pid)).exists()


def working_in(directory: Path, *, program: str) -> dict[int, Seen]:
    """Return the living programs named `program` whose working directory is `directory`, by pid."""
    try:
        wanted = directory.stat()
    except FileNotFoundError:
        return {}
    found: dict[int, Seen] = {}
    for entry in os.scandir(PROC):
        if not entry.name.isdigit():
            continue
        try:
            place = (PROC / entry.name / "cwd").stat()
        except OSError:
            continue
        if (place.st_dev, place.st_ino) == (wanted.st_dev, wanted.st_ino):
            one = seen(int(entry.name))
            if one is not None and one.name == program:
                found[one.pid] = one
    return found


def head_of(programs: dict[int, Seen]) -> int | None:
    """Return the pid of the earliest program that none of the others started."""
    heads = [one for one in programs.values() if one.parent not in programs]
    return min(heads, key=lambda one: (one.started, one.pid)).pid if heads else None
