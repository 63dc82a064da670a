"""A disk that fills up under the engines, and is made larger. Run alone, in a mount namespace of its own.

`python disk_full.py MOUNT_POINT TEMPLATE` mounts a small memory file system there and says one JSON line at the end.
"""

import contextlib
import subprocess
import sys
import time
from pathlib import Path

import psycopg

from isthmus.app.engines import Engines
from tests.rooms.app.engines import stage
from tests.rooms.app.engines.program import say

SMALL, LARGE = "100m", "400m"
ROW = "x" * 200_000
"""Too large for one page after `STORAGE EXTERNAL`, so that the disk fills within seconds."""


def mount(options: str, *, point: Path) -> None:
    """Mount or remount the memory file system."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(point)], check=True)  # noqa: S607  found by PATH


def fill(engines: Engines) -> tuple[int, str]:
    """Insert rows until PostgreSQL refuses; return how many were acknowledged and its first refusal."""
    acknowledged = 0
    with contextlib.closing(stage.connect(engines.postgres.owner)) as connection:
        connection.execute("CREATE TABLE numbers (n int PRIMARY KEY, filler text)")
        connection.execute("ALTER TABLE numbers ALTER filler SET STORAGE EXTERNAL")
        try:
            while True:
                connection.execute("INSERT INTO numbers VALUES (%s, %s)", [acknowledged, ROW])
                acknowledged += 1
        except psycopg.Error as refusal:
            return acknowledged, str(refusal).splitlines()[0]


def kept(engines: Engines) -> list[int]:
    """Return the numbers in the table, as soon as PostgreSQL serves."""
    over = time.monotonic() + 60
    while True:
        try:
            with stage.connect(engines.postgres.owner) as connection:
                found = stage.column(connection, "SELECT n FROM numbers WHERE length(filler) > 0 ORDER BY n")
                connection.execute("INSERT INTO numbers VALUES (-1, 'serves again')")
                return found
        except psycopg.Error:
            if time.monotonic() > over:
                raise
            time.sleep(0.1)


def main() -> None:
    """Fill, enlarge, compare."""
    point, template = Path(sys.argv[1]), Path(sys.argv[2])
    mount(f"size={SMALL}", point=point)
    data_dir = point / "site"
    stage.copy(template, data_dir)
    with stage.start(data_dir) as engines:
        acknowledged, refusal = fill(engines)
        time.sleep(0.5)
        mount(f"remount,size={LARGE}", point=point)
        found = kept(engines)
        stage.until(lambda: {one.status for one in engines.health()} == {"healthy"})
        health = {one.name: one.status for one in engines.health()}
    say({"acknowledged": acknowledged, "refusal": refusal, "kept": found, "health": health})


if __name__ == "__main__":
    main()
