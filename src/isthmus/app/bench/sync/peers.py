"""What we are measured beside, each in an environment of its own that is made once on this machine."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from time import perf_counter
from urllib.parse import quote

import msgspec
import psutil
from psycopg.conninfo import conninfo_to_dict

from isthmus.app.bench.peers import PeerMissing
from isthmus.app.bench.sync.rows import Files
from isthmus.app.engines import PostgresAccess

LOADERS = {
    "dlt[postgres,parquet]": "1.31.0",
    "pyarrow": "26.0.1",
    "adbc-driver-postgresql": "1.13.0",
    "meltanolabs-target-postgres": "0.8.1",
}
WRITERS = {"drt-core": "1.2.1"}
DLT_SCHEMA, SINGER_SCHEMA = "dlt_bench", "singer_bench"
_HERE = Path(__file__).parent


class PeerFailed(Exception):
    """A peer ended with an error; the sentence is the end of what it printed."""


@dataclass(frozen=True, kw_only=True)
class Took:
    """What a load took: seconds on the wall, and of CPU with that of the database's connections."""

    wall: float
    cpu: float


class _Said(msgspec.Struct, frozen=True):
    wall: float
    cpu: float = 0.0


def environment(packages: Mapping[str, str], *, say: Callable[[str], None]) -> Path:
    """Return the directory of the programs of an environment with these packages; raises PeerMissing."""
    wanted = sorted(f"{name}=={version}" for name, version in packages.items())
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "isthmus", "bench")
    about = f"{' '.join(wanted)} {sys.version_info[:2]}"
    root = caches / sha256(about.encode()).hexdigest()[:16]
    root.mkdir(parents=True, exist_ok=True)
    programs = root / "bin"
    with (caches / f"{root.name}.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if not (root / "done").exists():
            say(f"installing {', '.join(wanted)}, once")
            python = str(programs / "python")
            for command in ([sys.executable, "-m", "venv", str(root)], [python, "-m", "pip", "install", *wanted]):
                done = subprocess.run(command, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
                if done.returncode:
                    raise PeerMissing(
                        f"{', '.join(packages)} could not be installed: {done.stderr[-500:]}",
                        fix=f"Give this machine a package index that has {' '.join(wanted)}.",
                    )
            (root / "done").touch()
    return programs


def database_cpu_s() -> float:
    """Return the CPU time of the embedded database, that of connections which have ended among it, in seconds."""
    total = 0.0
    for each in psutil.Process().children(recursive=True):
        try:
            if "postgres" in each.name():
                times = each.cpu_times()
                total += times.user + times.system + times.children_user + times.children_system
        except psutil.Error:
            continue
    return total


def dlt(programs: Path, postgres: PostgresAccess, files: Files, *, home: Path, form: str) -> list[Took]:
    """Load all leads and then the changed ones by dlt; `form` is how it hands the rows over (csv, parquet)."""
    login = conninfo_to_dict(postgres.owner.conninfo)
    credentials = {
        "drivername": "postgresql",
        "host": quote(str(login["host"]), safe=""),
        "port": int(str(login.get("port") or 5432)),
        "username": login["user"],
        "password": _password(postgres),
        "database": login["dbname"],
    }
    task = {
        "home": str(home),
        "files": [str(files.whole), str(files.changed)],
        "format": form,
        "schema": DLT_SCHEMA,
        "credentials": credentials,
    }
    before = database_cpu_s()
    said = _run([str(programs / "python"), str(_HERE / "dlt_peer.py"), msgspec.json.encode(task).decode()])
    took = [msgspec.json.decode(line, type=_Said) for line in said.splitlines() if line.startswith("{")]
    # What the database used is told for both together, so it is shared out by the time that each took.
    shared = (database_cpu_s() - before) / sum(each.wall for each in took)
    return [Took(wall=each.wall, cpu=each.cpu + shared * each.wall) for each in took]


def singer(programs: Path, postgres: PostgresAccess, files: Files, *, home: Path) -> list[Took]:
    """Load all leads and then the changed ones by the Singer target for PostgreSQL."""
    login = conninfo_to_dict(postgres.owner.conninfo)
    place = f"{quote(str(login['user']))}:{quote(_password(postgres), safe='')}@/{login['dbname']}"
    url = f"postgresql+psycopg://{place}?host={quote(str(login['host']), safe='')}&port={login.get('port') or 5432}"
    settings = {
        "sqlalchemy_url": url,
        "default_target_schema": SINGER_SCHEMA,
        "load_method": "upsert",
        "add_record_metadata": False,
        "activate_version": False,
    }
    config = home / "singer.json"
    config.write_bytes(msgspec.json.encode(settings))
    config.chmod(0o600)
    took: list[Took] = []
    for told in (files.whole_told, files.changed_told):
        before, children, began = database_cpu_s(), os.times(), perf_counter()
        with told.open("rb") as lines:
            _run([str(programs / "target-postgres"), "--config", str(config)], stdin=lines.fileno())
        wall, ended = perf_counter() - began, os.times()
        own = ended.children_user + ended.children_system - children.children_user - children.children_system
        took.append(Took(wall=wall, cpu=own + database_cpu_s() - before))
    return took


def drt(programs: Path, url: str, records: Sequence[Mapping[str, object]], *, home: Path, per_s: int) -> float:
    """Write records one by one by drt and return how long that took, in seconds."""
    task = {"home": str(home), "url": url, "records": records, "per_s": per_s}
    said = _run([str(programs / "python"), str(_HERE / "drt_peer.py"), msgspec.json.encode(task).decode()])
    return msgspec.json.decode(said.splitlines()[-1], type=_Said).wall


def _run(command: Sequence[str], *, stdin: int = subprocess.DEVNULL) -> str:
    done = subprocess.run(command, check=False, capture_output=True, text=True, stdin=stdin)
    if done.returncode:
        raise PeerFailed(f"{Path(command[0]).name} failed: {done.stderr[-2000:]}")
    return done.stdout


def _password(postgres: PostgresAccess) -> str:
    if postgres.owner.password:
        return postgres.owner.password
    login = conninfo_to_dict(postgres.owner.conninfo)
    return Path(str(login["passfile"])).read_text("utf-8").strip().rpartition(":")[2]
