"""What the tests of the engines share: data directories, programs that can be killed, and a view from the kernel."""

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Self, cast

import psutil
import psycopg
import valkey

from isthmus.app.engines import (
    EngineHealth,
    Engines,
    EngineSettings,
    PostgresLogin,
    RunningEngines,
    ValkeyAccess,
    start_engines,
)
from isthmus.app.engines.home import EngineHome
from isthmus.app.engines.liveness import working_in
from tests.rooms.app.engines import program as program_script

SOURCE = Path(__file__).parents[4] / "src"
SCRIPT = Path(program_script.__file__)
ROOM = 2 * 2**30
LIBRARIES = os.environ.get("LD_LIBRARY_PATH", "")
SITE = Path(psycopg.__file__).parents[1]


def start(data_dir: Path, *, on_change: Callable[[EngineHealth], None] = lambda _: None) -> Engines:
    """Start the engines of a data directory in this program."""
    return start_engines(
        settings=EngineSettings(data_dir=data_dir),
        entropy=secrets.token_bytes,
        now=program_script.present_moment,
        on_change=on_change,
    )


def connect(login: PostgresLogin) -> psycopg.Connection:
    """Return a connection in autocommit mode."""
    return psycopg.connect(login.conninfo, password=login.password, autocommit=True, connect_timeout=10)


def until(condition: Callable[[], bool], *, seconds: float = 30.0) -> None:
    """Wait for a condition; fail if it does not come."""
    over = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < over, f"{condition} did not come true in {seconds} s"
        time.sleep(0.02)


def engine_pids(data_dir: Path) -> set[int]:
    """Return every living program of the engines of a data directory."""
    home = EngineHome(data_dir)
    return {
        *working_in(home.cluster, program="postgres"),
        *working_in(home.valkey, program="valkey-server"),
    }


def inner_uids(data_dir: Path) -> set[int]:
    """Return the uids that the running engines see themselves under, by their namespace's map."""
    found: set[int] = set()
    for pid in engine_pids(data_dir):
        with suppress(OSError):
            found.add(int(Path(f"/proc/{pid}/uid_map").read_text().split()[0]))
    return found


def owners(data_dir: Path) -> set[int]:
    """Return the uids that the running engines have, seen from outside."""
    found: set[int] = set()
    for pid in engine_pids(data_dir):
        with suppress(psutil.NoSuchProcess):
            found.add(psutil.Process(pid).uids().real)
    return found


def wipe(data_dir: Path) -> None:
    """Remove a data directory, and kill what a failed test left running in it."""
    for pid in engine_pids(data_dir):
        with suppress(psutil.NoSuchProcess):
            psutil.Process(pid).kill()
    until(lambda: not engine_pids(data_dir))
    shutil.rmtree(data_dir, ignore_errors=True)


def quick_parent() -> Path | None:
    """Return a memory file system for test data, where there is a roomy one that programs can be run from."""
    memory = Path("/dev/shm")  # noqa: S108  only a parent for directories with unpredictable names
    if not memory.is_dir():
        return None
    found = os.statvfs(memory)
    fits = found.f_bavail * found.f_frsize > ROOM and not found.f_flag & os.ST_NOEXEC
    return memory if fits else None


@contextmanager
def directory(*, parent: Path | None = None) -> Generator[Path]:
    """Give a name for a data directory that other uids could reach, and remove it in the end."""
    above = Path(tempfile.mkdtemp(prefix="isthmus-test-", dir=parent or quick_parent()))
    above.chmod(0o755)
    try:
        yield above / "site"
    finally:
        wipe(above / "site")
        shutil.rmtree(above)


def copy(template: Path, target: Path) -> None:
    """Copy a stopped data directory with owners and modes."""
    subprocess.run(["cp", "-a", str(template), str(target)], check=True)  # noqa: S607  found by PATH as everywhere


def ask_valkey(access: ValkeyAccess, *words: str) -> object:
    """Return the answer to a command, by the client that the program uses."""
    client = valkey.Valkey(**access.arguments)
    try:
        return cast("object", client.execute_command(*words))  # pyright: ignore[reportUnknownMemberType]  half typed
    finally:
        client.close()


def column(connection: psycopg.Connection, query: str) -> list[int]:
    """Return the one integer column of a query."""
    return [cast("int", row[0]) for row in connection.execute(query.encode()).fetchall()]


def superuser(running: Engines | RunningEngines, *, data_dir: Path) -> PostgresLogin:
    """Return the login of the engine's own superuser."""
    password = (data_dir / "secrets" / "postgres-superuser").read_text()
    return replace(running.postgres.owner, user="isthmus_engine", database="postgres", password=password, options=())


class Program:
    """The program of `program.py`, running."""

    def __init__(
        self,
        data_dir: Path,
        *settings: str,
        before: tuple[str, ...] = (),
        python: str = sys.executable,
        site: str | None = None,
        uid: int | None = None,
    ) -> None:
        """Start it, by way of the command `before`, perhaps as another user with another interpreter."""
        path = site if site is not None else os.pathsep.join([str(SOURCE), str(SITE)])
        script = str(SCRIPT) if site is None else str(Path(site) / SCRIPT.name)
        libraries = str(Path(python).parents[1] / "lib") if site is not None else LIBRARIES
        self._running = subprocess.Popen(
            [*before, python, script, str(data_dir), *settings],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd="/",
            env={"PATH": os.environ["PATH"], "PYTHONPATH": path, "LD_LIBRARY_PATH": libraries},
            text=True,
            user=uid,
            group=uid,
            extra_groups=[] if uid is not None else None,
        )
        self.pid = self._running.pid

    def hear(self) -> dict[str, object]:
        """Return the next thing it says."""
        assert self._running.stdout is not None
        return cast("dict[str, object]", json.loads(self._running.stdout.readline()))

    def tell(self, word: str) -> dict[str, object]:
        """Tell it a word and return its answer."""
        assert self._running.stdin is not None
        self._running.stdin.write(f"{word}\n")
        self._running.stdin.flush()
        return self.hear()

    def kill(self) -> str:
        """Kill it at once, and return what its output still held when it closed."""
        self._running.kill()
        return self._running.communicate(timeout=10)[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
