"""`python -m isthmus.app.bench.chaos.inside DIRECTORY [alone]`: the plan comes on stdin, the report goes to stdout.

When something is wrong, the logs are left in `DIRECTORY/logs`.
"""

import asyncio
import logging
import os
import shutil
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import msgspec
import psutil

from isthmus.app.bench.chaos.plan import Plan

ALONE = "alone"
"""How it is told that it is in namespaces of its own."""
_DISK = "768m"


def main(arguments: list[str]) -> None:
    """Run the plan."""
    # Each process that is forked imports this module, and is not to load all that it needs itself.
    from isthmus.app.bench.chaos.running import run

    place, alone = Path(arguments[0]), ALONE in arguments[1:]
    plan = msgspec.json.decode(sys.stdin.readline(), type=Plan)
    threading.Thread(target=_end_with_the_input, daemon=True).start()
    home = place / "home"
    home.mkdir(mode=0o711)
    if alone:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_DISK},mode=711", "tmpfs", str(home)], check=True)  # noqa: S607 - found by PATH.
    # That connections break is what is meant to happen.
    logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)
    wrong = True
    try:
        report = asyncio.run(run(plan, home, disk=home if alone else None, say=_say))
        wrong = any(report.faults.values())
        _say(msgspec.json.encode(report).decode())
    finally:
        if wrong:
            _keep_logs(home, place / "logs")


def _keep_logs(home: Path, kept: Path) -> None:
    kept.mkdir()
    for log in [*home.glob("*.log"), *home.glob("site/logs/*.log"), *home.glob("site/engines/logs/*.log")]:
        shutil.copyfile(log, kept / log.name)


def _end_with_the_input() -> None:
    while os.read(0, 1024):
        pass
    for each in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            each.kill()
    os._exit(1)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
