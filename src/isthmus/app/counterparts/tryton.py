"""A real Tryton server on this machine, as a third party that isthmus synchronises with.

Tryton is GPL: it lives in an environment of its own, is started as a process of its own and is never imported. The
first use builds the environment and a template of the database in a cache, which takes a minute; later ones seconds.
"""

import fcntl
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
from base64 import urlsafe_b64encode
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import cast

from isthmus.app.counterparts import tryton_world
from isthmus.app.counterparts.tryton_rpc import TrytonLogin
from isthmus.app.counterparts.tryton_running import ENVIRONMENT, CounterpartFailed, running
from isthmus.app.engines.home import Entropy, make_directory, write_private
from isthmus.vault import entropy as system_entropy

HERE = Path(__file__).parent
LOCK = HERE / "tryton.lock"
DATABASE, USER, ACCESS = "company", "admin", "access.json"
MODULES = (
    *("party", "sale_opportunity", "account_invoice", "account_budget", "marketing_email", "marketing_campaign"),
    *("marketing_automation", "web_user", "sale_subscription"),
)
STEP_S_MAX = 600.0
_PASSWORD_BYTES = 24
_LOADED = re.compile(r"trytond\.modules (\w+) (?:load|register) \S*\.")

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrytonServer:
    """A running server: `url` has no path, `key` opens its REST interface, `user` and `password` its RPC."""

    url: str
    port: int
    pid: int
    database: str
    user: str
    password: str = field(repr=False)
    key: str = field(repr=False)

    def login(self) -> TrytonLogin:
        """Sign in beside the connector, to look at what the server holds."""
        return TrytonLogin(port=self.port, database=self.database, user=self.user, password=self.password)


def default_cache() -> Path:
    """Return where counterparts are kept on this machine: XDG_CACHE_HOME or ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "isthmus", "counterparts")


@contextmanager
def tryton(
    home: Path,
    *,
    cache: Path | None = None,
    port: int = 0,
    entropy: Entropy = system_entropy,
    report: Report = lambda _: None,
) -> Generator[TrytonServer]:
    """Run a server while the block runs; `home` keeps its database, begun from the template when there is none.

    `port` 0 takes a free one. `report` hears a sentence before each step that takes over a second. The server ends with
    the block, and also when this program is killed.

    Raises:
        CounterpartFailed: it could not be installed, set up or started.
    """
    built = prepare(cache or default_cache(), entropy=entropy, report=report)
    home = home.absolute()
    home.mkdir(parents=True, exist_ok=True)
    make_directory(home, mode=0o700)
    database = home / f"{DATABASE}.sqlite"
    if not database.exists():
        fresh = database.with_suffix(".new")
        _copy(built / "template" / database.name, fresh)
        # A template that is built anew has another key; this database keeps the one it began with.
        write_private(home / ACCESS, (built / ACCESS).read_bytes())
        fresh.rename(database)
    access = cast("dict[str, str]", json.loads((home / ACCESS).read_text("utf-8")))
    report("Tryton: starting the server")
    with running(python=built / "env/bin/python", home=home, database=DATABASE, port=port) as (pid, bound):
        yield TrytonServer(
            url=f"http://127.0.0.1:{bound}",
            port=bound,
            pid=pid,
            database=DATABASE,
            user=USER,
            password=access["password"],
            key=access["key"],
        )


def prepare(cache: Path, *, entropy: Entropy = system_entropy, report: Report = lambda _: None) -> Path:
    """Return the directory of the environment and template, built if it is not there yet; raises CounterpartFailed."""
    cache = cache.absolute()
    cache.mkdir(parents=True, exist_ok=True)
    name = f"tryton-{_digest()}"
    with (cache / f"{name}.lock").open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report("Tryton: waiting for another program that is building it")
            fcntl.flock(held, fcntl.LOCK_EX)
        root = cache / name
        if not (root / "ready").exists():
            shutil.rmtree(root, ignore_errors=True)
            root.mkdir(mode=0o700)
            _install(root, report=report)
            _set_up(root, entropy=entropy, report=report)
            (root / "ready").touch()
    return root


def _digest() -> str:
    """Name what is built: the lock, the modules, our own setting-up and the Python it is built with."""
    parts = [
        LOCK.read_bytes(),
        Path(tryton_world.__file__).read_bytes(),
        repr((MODULES, sys.version_info[:2])).encode(),
    ]
    return blake2b(b"\0".join(parts), digest_size=8).hexdigest()


def _install(root: Path, *, report: Report) -> None:
    # uv looks for settings in the directories above; this file ends its search before it finds another project's.
    (root / "uv.toml").touch()
    target = root / "env/bin/python"
    uv = shutil.which("uv")
    report("Tryton: installing it into an environment of its own")
    if uv is not None:
        _run([uv, "venv", "--quiet", "--python", sys.executable, "env"], cwd=root, what="make an environment")
        install = [uv, "pip", "install", "--quiet", "--python", str(target)]
    else:
        _run([sys.executable, "-m", "venv", "env"], cwd=root, what="make an environment")
        install = [str(target), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run([*install, "--no-deps", "--require-hashes", "--requirement", str(LOCK)], cwd=root, what="install Tryton")


def _set_up(root: Path, *, entropy: Entropy, report: Report) -> None:
    """Make the template: every module, a small company, and a key for the REST interface."""
    template = root / "template"
    template.mkdir()
    (template / f"{DATABASE}.sqlite").touch()
    (template / "trytond.conf").write_text(f"[database]\nuri = sqlite://\npath = {template}\n", "utf-8")
    password = urlsafe_b64encode(entropy(_PASSWORD_BYTES)).decode()
    write_private(template / "password", f"{password}\n".encode())
    python = root / "env/bin/python"
    command = [
        str(python),
        str(python.with_name("trytond-admin")),
        "-c",
        "trytond.conf",
        "-d",
        DATABASE,
        "-vv",
        "--all",
    ]
    command += ["-u", *MODULES, "--activate-dependencies", "--email", "admin@example.com", "--language", "en", "-p"]
    report("Tryton: setting up its database, which takes up to a minute")
    _run(
        command,
        cwd=template,
        what="set up the database",
        report=report,
        extra={"TRYTONPASSFILE": str(template / "password")},
    )
    (template / "password").unlink()
    report("Tryton: filling in a small company")
    with running(python=python, home=template, database=DATABASE, port=0) as (_, port):
        login = TrytonLogin(port=port, database=DATABASE, user=USER, password=password)
        tryton_world.fill(login)
        number = login.create("res.user.application", {"application": "rest", "user": login.user_number})[0]
        key = login.read("res.user.application", number, "key")["key"]
    write_private(root / ACCESS, json.dumps({"password": password, "key": key}).encode())


def _copy(source: Path, target: Path) -> None:
    """Copy a database with what still stands in its write-ahead log."""
    target.unlink(missing_ok=True)
    with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(target)) as new:
        old.backup(new)


def _run(
    command: Sequence[str],
    *,
    cwd: Path,
    what: str,
    report: Report | None = None,
    extra: dict[str, str] | None = None,
) -> None:
    """Run a step to its end, telling which module is loaded; raises CounterpartFailed with its last words."""
    environment = {name: value for name, value in os.environ.items() if not ENVIRONMENT.match(name)} | (extra or {})
    said: deque[str] = deque(maxlen=20)
    told = ""
    with subprocess.Popen(
        command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        late = threading.Timer(STEP_S_MAX, process.kill)
        late.start()
        try:
            for line in process.stdout or ():
                said.append(line.decode(errors="replace").rstrip())
                found = _LOADED.search(said[-1])
                if report is not None and found is not None and found[1] != told:
                    told = found[1]
                    report(f"Tryton: setting up {told}")
        except BaseException:
            process.kill()
            raise
        finally:
            late.cancel()
    if process.returncode:
        last = "\n".join(said)
        raise CounterpartFailed(
            f"Could not {what}: `{' '.join(command[:4])} …` ended with {process.returncode}.\n{last}",
            fix="Check that the package index can be reached, or install uv (`pip install uv`), and try again.",
        )
