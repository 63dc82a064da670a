"""`isthmus up`: engines, migrations and one process for each role, watched until it is told to stop."""

import os
import signal
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.error import URLError

from isthmus.app.engines import Engines
from isthmus.app.http.server import check_address
from isthmus.app.program import MAIN, migrate_as_owner, start
from isthmus.app.running import LEASH, announce, found, withdraw
from isthmus.app.settings import Settings
from isthmus.kernel.errors import IsthmusError

ROLES = ("api", "worker", "relay", "scheduler")
READY_S_MAX = 60.0
STOP_S_MAX = 20.0
_RESTARTS_MAX = 20
_BACKOFF_S_MAX = 10.0
_STEADY_S = 60.0
_POLL_S = 0.1


class NotReady(IsthmusError):
    """The program was started and does not answer."""

    status, code, title = 503, "not-ready", "The program does not answer"


class RoleFailed(IsthmusError):
    """A role ends as soon as it is started."""

    status, code, title = 503, "role-failed", "A part of the program does not stay up"


@dataclass
class _Child:
    """One process with the roles it plays. When it dies it is started again, later each time."""

    roles: tuple[str, ...]
    start: Callable[[], subprocess.Popen[bytes]]
    process: subprocess.Popen[bytes]
    since: float
    restarts: int = 0
    next_start: float | None = None


@dataclass
class Up:
    """A program that runs: its engines and its children."""

    settings: Settings
    engines: Engines
    url: str
    children: list[_Child] = field(default_factory=list[_Child])
    stopping: threading.Event = field(default_factory=threading.Event)

    def wait(self) -> None:
        """Watch the children until `stopping` is set or a role cannot be kept up (raises RoleFailed)."""
        while not self.stopping.wait(_POLL_S):
            for child in self.children:
                self._watch(child)

    def _watch(self, child: _Child) -> None:
        now = time.monotonic()
        if child.next_start is not None:
            if now >= child.next_start:
                child.process, child.since, child.next_start = child.start(), now, None
            return
        if child.process.poll() is None:
            return
        child.restarts = 1 if now - child.since > _STEADY_S else child.restarts + 1
        if child.restarts > _RESTARTS_MAX:
            raise RoleFailed(
                f"{'+'.join(child.roles)} ended {_RESTARTS_MAX} times.",
                fix=f"Read {self.settings.data_dir / 'logs'} and run: isthmus doctor",
            )
        child.next_start = now + min(_BACKOFF_S_MAX, 0.1 * 2**child.restarts)

    def stop(self) -> None:
        """End the children, then the engines."""
        self.stopping.set()
        for child in self.children:
            if child.process.poll() is None:
                child.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_S_MAX
        for child in self.children:
            try:
                child.process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.process.kill()
                child.process.wait()
        withdraw(self.settings.data_dir)
        self.engines.stop()


def start_up(settings: Settings, *, roles: Sequence[str] = ROLES, say: Callable[[str], None]) -> Up:
    """Start engines, migrate, start the roles and wait until the API answers. Raises NotReady and engine errors."""
    check_address(settings)
    say("starting PostgreSQL and Valkey")
    engines = start(settings)
    up = Up(settings, engines, settings.address)
    try:
        applied = migrate_as_owner(engines.postgres)
        if applied:
            say(f"applied {len(applied)} migrations")
        groups = [("api",)] if "api" in roles else []
        others = tuple(each for each in ROLES if each in roles and each != "api")
        groups += [others] if others else []
        for group in groups:
            up.children.append(_child(settings, group))
        announce(settings.data_dir, url=up.url, workspace=settings.workspace or MAIN)
        if "api" in roles:
            wait_ready(up.url, check=lambda: None)
    except BaseException:
        up.stop()
        raise
    return up


def wait_ready(url: str, *, check: Callable[[], None]) -> None:
    """Wait until `/readyz` answers; raises NotReady."""
    deadline = time.monotonic() + READY_S_MAX
    while time.monotonic() < deadline:
        check()
        if is_ready(url):
            return
        time.sleep(_POLL_S)
    raise NotReady(f"{url} did not answer within {READY_S_MAX:.0f} s.", fix="Run: isthmus doctor")


def is_ready(url: str) -> bool:
    """Ask once whether the program answers and is ready."""
    # It calls its own address, whose certificate is made out to the name by which others call it.
    own = ssl.create_default_context()
    own.check_hostname, own.verify_mode = False, ssl.CERT_NONE
    asked = f"{url}/readyz"
    with suppress(URLError, OSError), urllib.request.urlopen(asked, timeout=2, context=own) as answer:  # noqa: S310 - our own address.
        return answer.status == 200  # noqa: PLR2004 - the HTTP status.
    return False


def _child(settings: Settings, roles: tuple[str, ...]) -> _Child:
    logs = settings.data_dir / "logs"
    logs.mkdir(mode=0o700, exist_ok=True)

    def start_child() -> subprocess.Popen[bytes]:
        with (logs / f"{'-'.join(roles)}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "isthmus.app.role", *roles],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env={**os.environ, **_as_environment(settings), LEASH: "1"},
                start_new_session=True,
            )

    return _Child(roles, start_child, start_child(), time.monotonic())


def _as_environment(settings: Settings) -> dict[str, str]:
    """Return settings as the environment in which a child reads them again."""
    values: dict[str, object] = {
        "data_dir": settings.data_dir,
        "host": settings.host,
        "port": settings.port,
        "workers": settings.workers,
        "valkey": settings.valkey,
        "database_url": settings.database_url,
        "database_app_url": settings.database_app_url,
        "valkey_url": settings.valkey_url,
        "kek_file": settings.kek_file,
        "tls_certificate": settings.tls_certificate,
        "tls_key": settings.tls_key,
        "workspace": settings.workspace,
        "log_level": settings.log_level,
        "outbound_allow": settings.outbound_allow,
    }
    return {f"ISTHMUS_{name.upper()}": str(value) for name, value in values.items() if value is not None}


def detach(arguments: Sequence[str], settings: Settings) -> str:
    """Start `isthmus up` in a session of its own, wait until it answers and return its URL."""
    logs = settings.data_dir / "logs"
    logs.mkdir(parents=True, mode=0o700, exist_ok=True)
    with (logs / "up.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "isthmus.app.cli", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )

    def check() -> None:
        if process.poll() is not None:
            raise NotReady(f"The program ended with {process.returncode}.", fix=f"Read {logs / 'up.log'}.")

    wait_ready(settings.address, check=check)
    return settings.address


def stop_running(settings: Settings) -> bool:
    """Stop the program that runs on this data directory; tells whether there was one. Raises NotReady when it stays."""
    program = found(settings.data_dir)
    if program is None:
        return False
    os.kill(program.pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_S_MAX + 60.0
    while found(settings.data_dir) is not None:
        if time.monotonic() > deadline:
            raise NotReady(f"Process {program.pid} does not end.", fix=f"End it yourself: kill -9 {program.pid}")
        time.sleep(_POLL_S)
    return True
