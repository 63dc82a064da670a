"""Load by wrk, which cycles through prepared requests, and the CPU time that a server took for it."""

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict, cast

import psutil

from isthmus.app.bench.gateway.peers import binary

CONNECTIONS = 32
_SCRIPT = Path(__file__).with_name("wrk.lua")
_MARK = "RESULT "


class _Said(TypedDict):
    """What the script of wrk prints."""

    requests: int
    refused: int
    broken: int
    p50_us: float
    p95_us: float
    p99_us: float


@dataclass(frozen=True, kw_only=True)
class Mixed:
    """Headers of the callers, in the order in which they call, and the statuses that they are to meet."""

    calls: Sequence[tuple[str, int]]

    @property
    def refused(self) -> float:
        """The share of calls that are to be refused."""
        return sum(status != 200 for _, status in self.calls) / len(self.calls)  # noqa: PLR2004 - the one good status.


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """What came of a stretch of load: requests answered, and the CPU in microseconds for each.

    `cpu_us` is that of the server, `besides_us` that of the stores it works with.
    """

    requests: int
    refused: float
    cpu_us: float
    besides_us: float
    p50_ms: float
    p95_ms: float
    p99_ms: float

    @property
    def whole_us(self) -> float:
        """CPU of server and stores together."""
        return self.cpu_us + self.besides_us


class LoadFailed(Exception):
    """wrk could not do its work, or met answers that it should not have met."""


def load(
    urls: Sequence[str],
    headers: Sequence[str],
    *,
    pid: int,
    home: Path,
    seconds: int,
    stores: Sequence[int] = (),
    connections: int = CONNECTIONS,
) -> Loaded:
    """Call the URLs of one server with each header in turn, and return what came of it.

    `pid` is the first process of the server, `stores` are those of the stores it works with. Raises LoadFailed.
    """
    lines = home / "callers"
    lines.write_text("\n".join(f"{_path(urls[n % len(urls)])}\t{each}" for n, each in enumerate(headers)), "utf-8")
    command = [str(binary("wrk")), "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s"]
    command += ["-s", str(_SCRIPT), urls[0]]
    before, other = cpu_s(pid), sum(map(cpu_s, stores))
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, env={**os.environ, "CALLERS": str(lines)}
    )
    took, beside = cpu_s(pid) - before, sum(map(cpu_s, stores)) - other
    found = next((line for line in done.stdout.splitlines() if line.startswith(_MARK)), None)
    if done.returncode or found is None:
        raise LoadFailed(f"wrk failed: {done.stdout[-500:]} {done.stderr[-500:]}")
    said = cast("_Said", json.loads(found.removeprefix(_MARK)))
    requests = int(said["requests"])
    if not requests or said["broken"]:
        raise LoadFailed(f"{said['broken']} of {requests} calls broke")
    return Loaded(
        requests=requests,
        refused=said["refused"] / requests,
        cpu_us=took / requests * 1e6,
        besides_us=beside / requests * 1e6,
        p50_ms=said["p50_us"] / 1000,
        p95_ms=said["p95_us"] / 1000,
        p99_ms=said["p99_us"] / 1000,
    )


def cpu_s(pid: int) -> float:
    """Return the seconds of CPU, of user and system, that a process and all below it have taken, ended ones too."""
    root = psutil.Process(pid)
    ended = root.cpu_times()
    living = sum(_own(each) for each in (root, *root.children(recursive=True)))
    return living + ended.children_user + ended.children_system


def _own(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return times.user + times.system


def _path(url: str) -> str:
    return "/" + url.split("/", 3)[3]
