"""The server as a process: started on a free port, watched until it answers, ended and reaped."""

import os
import re
import socket
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from isthmus.app.counterparts.tryton_rpc import TrytonFault, rpc
from isthmus.kernel.errors import Unavailable

LEASH = Path(__file__).with_name("leash.py")
START_S_MAX, STOP_S_MAX = 90.0, 10.0
PROBE_S = 2.0
ATTEMPTS = 3
# What another program's environment must not inherit from ours.
ENVIRONMENT = re.compile(r"PYTHON|VIRTUAL_ENV$|UV_PROJECT|TRYTON|DB_NAME$")
CONFIGURATION = """\
[database]
uri = sqlite://
path = {home}
[web]
listen = 127.0.0.1:{port}
[session]
timeout = 3600
"""


class CounterpartFailed(Unavailable):
    """A third-party program could not be installed, set up or started."""

    code, title = "counterpart-failed", "The other program did not start"


@contextmanager
def running(*, python: Path, home: Path, database: str, port: int) -> Generator[tuple[int, int]]:
    """Run the server on the database in `home`; yields its pid and port. Raises CounterpartFailed."""
    process, bound = _start(python=python, home=home, database=database, port=port)
    try:
        yield process.pid, bound
    finally:
        _stop(process)


def _start(*, python: Path, home: Path, database: str, port: int) -> tuple[subprocess.Popen[bytes], int]:
    """Start it and wait until it answers; a free port that somebody else takes first costs one attempt."""
    for _ in range(1 if port else ATTEMPTS):
        bound = port or _free_port()
        process = _spawn(python=python, home=home, database=database, port=bound)
        try:
            if _answers(process, port=bound):
                return process, bound
        except BaseException:
            _stop(process)
            raise
        _stop(process)
    said = "\n".join((home / "server.log").read_text("utf-8", "replace").splitlines()[-10:])
    raise CounterpartFailed(f"The Tryton server did not start.\n{said}", fix="See server.log in its directory.")


def _spawn(*, python: Path, home: Path, database: str, port: int) -> subprocess.Popen[bytes]:
    (home / "trytond.conf").write_text(CONFIGURATION.format(home=home, port=port), "utf-8")
    command = [str(python), str(LEASH), str(python.with_name("trytond")), "-c", "trytond.conf", "-d", database]
    with (home / "server.log").open("ab") as log:
        return subprocess.Popen(
            command,
            cwd=home,
            env={name: value for name, value in os.environ.items() if not ENVIRONMENT.match(name)},
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _answers(process: subprocess.Popen[bytes], *, port: int) -> bool:
    deadline = time.monotonic() + START_S_MAX
    while process.poll() is None and time.monotonic() < deadline:
        try:
            rpc(port=port, path="/rpc/", method="common.server.version", params=[], timeout_s=PROBE_S)
        except TrytonFault:
            time.sleep(0.05)
        else:
            return process.poll() is None
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the server and reap it; closing its standard input lets go of the leash."""
    if process.stdin is not None:
        process.stdin.close()
    process.terminate()
    try:
        process.wait(STOP_S_MAX)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
