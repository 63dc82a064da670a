"""What a running program leaves behind for others to find it: `<data_dir>/program.json`, removed at a clean stop."""

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from isthmus.app.engines.liveness import seen

LEASH = "_ISTHMUS_LEASH"
"""Set for a child that ends when the pipe to its standard input does."""


@dataclass(frozen=True, kw_only=True)
class RunningProgram:
    """A program on a data directory: its process, when that started (Unix seconds), its address, its workspace."""

    pid: int
    started: float
    url: str
    workspace: str


def _path(data_dir: Path) -> Path:
    return data_dir / "program.json"


def announce(data_dir: Path, *, url: str, workspace: str) -> None:
    """Say that this process runs the program here."""
    pid = os.getpid()
    own = seen(pid)
    text = json.dumps(
        asdict(RunningProgram(pid=pid, started=own.started if own else 0.0, url=url, workspace=workspace))
    )
    temporary = _path(data_dir).with_suffix(f".{pid}")
    temporary.touch(mode=0o600)
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(_path(data_dir))


def withdraw(data_dir: Path) -> None:
    """Say that it runs no more."""
    with suppress(FileNotFoundError):
        _path(data_dir).unlink()


def found(data_dir: Path) -> RunningProgram | None:
    """Return the program that runs here; one that died without a word is not running."""
    try:
        program = RunningProgram(**json.loads(_path(data_dir).read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return None
    living = seen(program.pid)
    return program if living is not None and living.is_one_started(program.started) else None
