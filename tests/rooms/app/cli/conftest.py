"""Commands as a shell runs them: programs of their own beside engines that run, each test in a workspace of its own."""

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import psycopg
import pytest

from isthmus.app.engines import EngineSettings, running_engines
from isthmus.store.migrate import migrate
from tests.rooms.app.cli.forked import run
from tests.rooms.app.engines import stage

SECONDS_MAX = 120
NOW = "2026-11-22T06:00:00Z"


@dataclass(frozen=True)
class Said:
    """What a command said: data on `out`, talk on `err`, and the code it ended with."""

    code: int
    out: str
    err: str

    @property
    def row(self) -> dict[str, object]:
        """The one document on stdout, which is an object."""
        return msgspec.json.decode(self.out, type=dict[str, object])

    @property
    def rows(self) -> list[dict[str, object]]:
        """The one document on stdout, which is a list of objects."""
        return msgspec.json.decode(self.out, type=list[dict[str, object]])


@dataclass(frozen=True)
class Shell:
    """A shell in a directory, with a data directory and a workspace."""

    data_dir: Path
    here: Path
    workspace: str
    environment: dict[str, str] = field(default_factory=dict[str, str])

    def plain(self, *arguments: str) -> Said:
        """Run a command as it is given."""
        said = Said(*run(arguments, here=self.here, environment=self._environment(), seconds=SECONDS_MAX))
        assert "Traceback" not in said.err, said.err
        return said

    def _environment(self) -> dict[str, str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ISTHMUS_")}
        return environment | {"COLUMNS": "100"} | self.environment

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """Start a command here and do not wait for it."""
        more = ("--data-dir", str(self.data_dir), "--workspace", self.workspace)
        return subprocess.Popen(
            [sys.executable, "-m", "isthmus.app.cli", *arguments, *more],
            cwd=self.here,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __call__(self, *arguments: str, code: int = 0) -> Said:
        """Run a command here, and see that it ends with the code."""
        said = self.plain(*arguments, "--data-dir", str(self.data_dir), "--workspace", self.workspace)
        assert said.code == code, said
        return said

    def connect(self, system: str, *more: str, code: int = 0) -> Said:
        """Connect a system of the fake company, which lives in a file here."""
        given = {"system": system, "path": str(self.here / "company.sqlite"), "now": NOW, "companies": "12"}
        settings = [word for name, value in given.items() for word in ("--set", f"{name}={value}")]
        return self("connect", "add", "demo", "--name", system, *settings, *more, code=code)


@pytest.fixture(scope="session")
def site() -> Iterator[Path]:
    """A data directory on which engines run, migrated."""
    with stage.directory() as data_dir, stage.start(data_dir) as running:
        owner = running.postgres.owner
        with psycopg.connect(owner.conninfo, password=owner.password) as connection:
            migrate(connection)
        yield data_dir


def workspace(site: Path) -> str:
    """Make a fresh workspace and return its name: a name that is not there is refused."""
    name = f"test-{secrets.token_hex(6)}"
    running = running_engines(settings=EngineSettings(data_dir=site))
    assert running is not None
    app = running.postgres.app
    with psycopg.connect(app.conninfo, password=app.password) as connection:
        connection.execute("insert into workspace (slug, name, created_at) values (%s, 'Test', now())", (name,))
    return name


@pytest.fixture
def shell(site: Path, tmp_path: Path) -> Shell:
    """A shell in a fresh workspace."""
    return Shell(site, tmp_path, workspace(site))


@pytest.fixture(scope="session")
def company(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A shell where three systems of the fake company are connected and pulled once, for tests that change nothing."""
    shell = Shell(site, tmp_path_factory.mktemp("company"), workspace(site))
    shell.connect("crm")
    shell.connect("marketing")
    shell.connect("billing", "--every", "15m")
    shell("sync", "run", "--all", "--only", "pull")
    return shell
