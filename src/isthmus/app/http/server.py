"""The server of the gateway as others see it: a process with workers below it, which ends when they end.

The settings travel as `ISTHMUS_*` in the environment of the process, so that no secret stands on a command line.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, fields
from ipaddress import ip_address
from pathlib import Path
from typing import Self

from isthmus.app.settings import Settings
from isthmus.kernel.errors import IsthmusError, Unavailable
from isthmus.vault import entropy

START_S_MAX = 60.0
STOP_S_MAX = 15.0
_POLL_S = 0.05
LEASHED = "_ISTHMUS_HTTP_LEASHED"
TOKEN = "_ISTHMUS_HTTP_TOKEN"  # noqa: S105 - the name of a variable that tells one start from another.
_TOKEN_BYTES = 16


class AddressRefused(IsthmusError):
    """Plain HTTP is served on loopback only."""

    status, code, title = 422, "address-refused", "The address needs TLS"


class ServerFailed(Unavailable):
    """The server ended or did not answer in time."""

    code, title = "server-failed", "The server does not answer"


def check_address(settings: Settings) -> None:
    """Raise AddressRefused for an address other than loopback without a certificate, and for half a certificate."""
    certificate, key = settings.tls_certificate, settings.tls_key
    if (certificate is None) != (key is None):
        raise AddressRefused("A certificate needs its key.", fix="Set both tls_certificate and tls_key.")
    for path in (certificate, key):
        if path is not None and not path.is_file():
            raise AddressRefused(f"{path} is not there.", fix="Correct tls_certificate and tls_key.")
    if certificate is None and not _is_loopback(settings.host):
        raise AddressRefused(
            f"{settings.host} can be reached from other machines, and no certificate is set.",
            fix="Set tls_certificate and tls_key, or serve on 127.0.0.1.",
        )


def ready_file(settings: Settings) -> Path:
    """Return the file in which a worker that is ready writes the token of its start."""
    return settings.data_dir / "http" / f"ready-{settings.port}"


@dataclass(frozen=True)
class HttpServer:
    """A server in a process of its own, which ends when this program ends."""

    child: "subprocess.Popen[bytes]"
    settings: Settings

    @classmethod
    def start(cls, settings: Settings) -> Self:
        """Start and wait until a worker is ready; raises AddressRefused and ServerFailed."""
        check_address(settings)
        token = entropy(_TOKEN_BYTES).hex()
        environment = {**os.environ, **_environment(settings), LEASHED: "1", TOKEN: token}
        command = [sys.executable, "-m", "isthmus.app.http"]
        child = subprocess.Popen(command, stdin=subprocess.PIPE, env=environment, start_new_session=True)
        server = cls(child, settings)
        over = time.monotonic() + START_S_MAX
        while not _is_ready(settings, token=token):
            if not server.running or time.monotonic() > over:
                server.stop()
                raise ServerFailed(
                    f"The server on {server.url} did not start.", fix="Is the port in use? Choose another --port."
                )
            time.sleep(_POLL_S)
        return server

    @property
    def url(self) -> str:
        """Where it answers."""
        scheme = "http" if self.settings.tls_certificate is None else "https"
        host = f"[{self.settings.host}]" if ":" in self.settings.host else self.settings.host
        return f"{scheme}://{host}:{self.settings.port}"

    @property
    def running(self) -> bool:
        """Tell whether the process lives."""
        return self.child.poll() is None

    def stop(self) -> None:
        """Let it end what it began, then end it. A second call does nothing."""
        if self.running:
            self.child.terminate()
            try:
                self.child.wait(STOP_S_MAX)
            except subprocess.TimeoutExpired:
                os.killpg(self.child.pid, signal.SIGKILL)
                self.child.wait()
        if self.child.stdin is not None:
            self.child.stdin.close()


def _is_ready(settings: Settings, *, token: str) -> bool:
    path = ready_file(settings)
    return path.exists() and path.read_text(encoding="ascii") == token


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _environment(settings: Settings) -> Mapping[str, str]:
    named = {each.name: getattr(settings, each.name) for each in fields(settings)}
    return {f"ISTHMUS_{name.upper()}": str(value) for name, value in named.items() if value is not None}
