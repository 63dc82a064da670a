"""Running a scanner to its end, in an environment of its own, as deep as `SCANNERS` says.

Without it a run is bounded: few operations and parameters stand for all, with few examples of each. `SCANNERS=1` makes
it deep: all of them, more examples, and calls that follow one another. What either leaves out its module names.
"""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.counterparts import PYTHON, require_python

DEEP = bool(os.environ.get("SCANNERS"))


@dataclass(frozen=True)
class Said:
    """What a scanner said, and how it ended."""

    status: int
    text: str


def scan(package: str, program: str, *arguments: str, cwd: Path, seconds: float) -> Said:
    """Run a program of a scanner; it fails when it takes longer than `seconds`, for then it has not finished."""
    programs = require_python(package, version=PYTHON[package])
    done = subprocess.run(
        [str(programs / program), *arguments],
        cwd=cwd,
        env={**os.environ, "NO_COLOR": "1", "HOME": str(cwd), "PYTHONWARNINGS": "ignore"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=seconds,
        check=False,
    )
    return Said(done.returncode, done.stdout)
