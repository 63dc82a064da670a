"""What is attacked: the program as `isthmus up` starts it, with TLS, with the demo company in it, and the ways in."""

import asyncio
import http.client
import json
import os
import re
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self, cast

from isthmus.app.demo import load
from isthmus.app.engines import Engines, running_engines
from isthmus.app.settings import Settings
from isthmus.kernel.marks import Json
from tests.attacks.certificate import ADDRESS, Certified
from tests.journeys.running import free_port

COMPANIES = 12
READY_S_MAX = 90.0
STOP_S_MAX = 30.0
WIDE = ("--rate", "100000/s", "--burst", "100000")
WORKSPACE, SANDBOX = "attacked", "sandbox"
_LINK = re.compile(r"sign in once with (\S+)")


@dataclass
class Target:
    """A running program; `logs` and everything else it writes are below `data_dir`."""

    data_dir: Path
    certified: Certified
    port: int
    started: "subprocess.Popen[bytes]" = field(repr=False)
    keys: dict[str, str] = field(default_factory=dict[str, str], repr=False)
    cookie_attributes: set[str] = field(default_factory=set[str])

    @classmethod
    def start(cls, directory: Path, certified: Certified) -> Self:
        """Start it, fill it, and make a key of each role that attackers hold."""
        directory.mkdir(mode=0o755, exist_ok=True)
        port = free_port()
        files = ("--tls-certificate", str(certified.chain), "--tls-key", str(certified.key))
        with (directory / "up.log").open("wb") as said:
            started = subprocess.Popen(
                _command("up", "--port", str(port), "--workspace", WORKSPACE, *files),
                env=_environment(directory, port),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        target = cls(directory, certified, port, started)
        try:
            target.wait()
            target.fill()
        except BaseException:
            target.stop()
            raise
        return target

    def wait(self) -> None:
        """Wait until it says that it answers."""
        over = time.monotonic() + READY_S_MAX
        while "Ctrl-C stops it" not in self.said:
            assert self.started.poll() is None, self.said
            assert time.monotonic() < over, self.said
            time.sleep(0.1)

    def fill(self) -> None:
        """Load the demo company, make keys, and widen the limits, lest attackers only learn of these."""
        self.keys["owner"] = self.key("owner")
        self.keys["viewer"] = self.key("viewer")
        self.keys[SANDBOX] = self.key("owner", "--test", workspace=None)
        self.widen()
        settings = Settings(data_dir=self.data_dir, workspace=WORKSPACE, port=self.port)
        engines = running_engines(settings=settings.engines)
        assert engines is not None
        asyncio.run(load(settings, cast("Engines", engines), companies=COMPANIES, say=lambda _: None))

    def widen(self) -> None:
        """Let everybody call as often as they like."""
        for scope in ("caller", "workspace"):
            self.isthmus("limits", "set", scope, "--scope", scope, *WIDE)
            self.isthmus("limits", "set", scope, "--scope", scope, *WIDE, workspace=SANDBOX)

    def key(self, role: str, *more: str, workspace: str | None = WORKSPACE) -> str:
        """Return the text of a new key."""
        wish = ("--name", f"Attacker {role}", "--role", role, *more, "--json")
        made = json.loads(self.isthmus("keys", "create", *wish, workspace=workspace))
        return str(made["key"])

    def isthmus(self, *arguments: str, workspace: str | None = WORKSPACE) -> str:
        """Run a command beside the program and return what it says; without a workspace it chooses one itself."""
        named = {"ISTHMUS_WORKSPACE": workspace} if workspace else {}
        done = subprocess.run(
            _command(*arguments),
            env={**_environment(self.data_dir, self.port), **named},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, (arguments, done.stdout, done.stderr)
        return done.stdout

    @property
    def said(self) -> str:
        """What the program said at its terminal so far."""
        return (self.data_dir / "up.log").read_text("utf-8")

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"https://{ADDRESS}:{self.port}"

    def call(
        self, method: str, path: str, body: Json | bytes = None, *, key: str | None = None, **headers: str
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Send one request; `headers` are written with underscores."""
        trusted = ssl.create_default_context(cafile=self.certified.authority)
        connection = http.client.HTTPSConnection(ADDRESS, self.port, timeout=30, context=trusted)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        sent |= {"authorization": f"Bearer {key}"} if key else {}
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        if content is not None:
            sent.setdefault("content-type", "application/json")
        try:
            connection.request(method, path, body=content, headers=sent)
            answer = connection.getresponse()
            return answer.status, {name.lower(): text for name, text in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def rows(self, path: str) -> Sequence[Mapping[str, Json]]:
        """Return the first rows of a list, as the owner sees them."""
        status, _, body = self.call("GET", path, key=self.keys["owner"])
        assert status == 200, body
        return cast("Sequence[Mapping[str, Json]]", json.loads(body)["data"])

    def cookie(self) -> str:
        """Return the cookie of the administrator, who came by the link that was printed."""
        found = _LINK.search(self.said)
        assert found, self.said
        path = found[1].removeprefix(self.url)
        status, headers, body = self.call("POST", path, b"", origin=self.url, content_type=FORM)
        assert status == 303, (status, body)
        given, *attributes = headers["set-cookie"].split("; ")
        self.cookie_attributes = {each.lower() for each in attributes if not each.startswith("Max-Age=")}
        return given

    def stop(self) -> None:
        """End it in order."""
        if self.started.poll() is None:
            self.started.send_signal(signal.SIGTERM)
            try:
                self.started.wait(STOP_S_MAX)
            except subprocess.TimeoutExpired:
                os.killpg(self.started.pid, signal.SIGKILL)
                self.started.wait()


FORM = "application/x-www-form-urlencoded"


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "isthmus.app.cli", *arguments]


def _environment(data_dir: Path, port: int) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("ISTHMUS_")}
    given = {"DATA_DIR": str(data_dir), "PORT": str(port), "LOG_LEVEL": "debug"}
    return {**own, **{f"ISTHMUS_{name}": value for name, value in given.items()}, "NO_COLOR": "1"}
