"""What is played: how many nodes, how fast, and what befalls them in the middle."""

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from isthmus.app.bench.limits.node import RECORD, Task
from isthmus.stream.limits import Rate

RATE = Rate(count=500, seconds=1)
_LEAD_S = 0.2
_JUMP_S = 30.0
_ANSWER_S = 30.0
Event = Literal["", "crash", "failover", "jump"]


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Nodes with their speeds in calls a second, and what happens half-way; their clocks are hours apart."""

    name: str
    speeds: tuple[float, ...]
    event: Event = ""


_SKEWED = (480.0, *(46.0,) * 7)
SCENES = (
    Scene(name="two_over_clock_jump", speeds=(400.0, 400.0), event="jump"),
    Scene(name="eight_skewed_over", speeds=_SKEWED),
    Scene(name="eight_skewed_below", speeds=(240.0, *(23.0,) * 7)),
    Scene(name="crash", speeds=_SKEWED, event="crash"),
    Scene(name="failover", speeds=_SKEWED, event="failover"),
)


@dataclass(frozen=True, kw_only=True)
class Played:
    """What came of a scene: ratios to the ideal and to the bound, and what it took."""

    admitted_to_ideal: float
    window_to_bound: float
    calls_per_request: float
    waited: float
    cpu_us: float


class Store:
    """A Valkey of the bench's own, which can be killed and started again on what it wrote."""

    def __init__(self, binary: Path, home: Path) -> None:
        """Start it."""
        self._binary, self._home = binary, home
        self.socket = str(home / "v.sock")
        self._running = self._start()

    def _start(self) -> "subprocess.Popen[bytes]":
        words = ["--port", "0", "--unixsocket", self.socket, "--dir", str(self._home), "--save", ""]
        words += ["--appendonly", "yes", "--appendfsync", "everysec"]
        null = subprocess.DEVNULL
        running = subprocess.Popen([str(self._binary), *words], stdin=null, stdout=null, stderr=null)
        over = time.monotonic() + _ANSWER_S
        while not Path(self.socket).exists():
            if time.monotonic() > over or running.poll() is not None:
                message = "Valkey does not start"
                raise RuntimeError(message)
            time.sleep(0.005)
        return running

    def kill(self) -> None:
        """Kill it at once."""
        self._running.kill()
        self._running.wait()
        Path(self.socket).unlink(missing_ok=True)

    def restart(self) -> None:
        """Start it again."""
        self._running = self._start()


def play(scene: Scene, store: Store, home: Path, *, seconds: float, seed: int) -> Played:
    """Play a scene with nodes in programs of their own."""
    tasks = [_task(scene, store, home, number, seconds=seconds, seed=seed) for number in range(len(scene.speeds))]
    command = [sys.executable, "-c", "from isthmus.app.bench.limits.node import main; main()"]
    pipe = subprocess.PIPE
    nodes = [
        subprocess.Popen([*command, msgspec.json.encode(each).decode()], stdin=pipe, stdout=pipe, text=True)
        for each in tasks
    ]
    try:
        start = _started(nodes)
        time.sleep(max(0.0, start + seconds / 2 - time.monotonic()))
        if scene.event == "crash":
            for each in nodes[1:3]:
                each.send_signal(signal.SIGKILL)
        if scene.event == "failover":
            store.kill()
            time.sleep(0.3)
            store.restart()
        for each in nodes:
            each.wait(seconds + _ANSWER_S)
    finally:
        for each in nodes:
            with contextlib.suppress(ProcessLookupError):
                each.kill()
            each.communicate()
    return _judged(tasks)


def _started(nodes: Sequence["subprocess.Popen[str]"]) -> float:
    """Wait until all are ready, then tell them all the same moment."""
    for each in nodes:
        if each.stdout is None or each.stdout.readline() != "ready\n":
            message = "a node of the bench did not start"
            raise RuntimeError(message)
    start = time.monotonic() + _LEAD_S
    for each in nodes:
        if each.stdin is not None:
            each.stdin.write(f"{start}\n")
            each.stdin.flush()
    return start


def _task(scene: Scene, store: Store, home: Path, number: int, *, seconds: float, seed: int) -> Task:
    return Task(
        name=f"n{number}",
        socket=store.socket,
        rate=RATE,
        speed=scene.speeds[number],
        seconds=seconds,
        out=str(home / f"{scene.name}-{seed}-{number}"),
        seed=seed * 100 + number,
        skew_s=(number - 3) * 7_200.0,
        jump_s=_JUMP_S if scene.event == "jump" and number == 0 else 0.0,
    )


def _judged(tasks: Sequence[Task]) -> Played:
    records: list[tuple[float, float, bool]] = []
    told: list[dict[str, float]] = []
    for task in tasks:
        written = Path(task.out).read_bytes()
        whole = len(written) - len(written) % RECORD.size
        records += RECORD.iter_unpack(written[:whole])
        end = Path(f"{task.out}.end")
        if end.exists():
            told.append(json.loads(end.read_text(encoding="ascii")))
    admitted = sorted(decided for _, decided, let_in in records if let_in)
    ideal = _ideal(sorted(arrival for arrival, _, _ in records))
    asked, waited, cpu = (sum(each[name] for each in told) for name in ("draws", "waited", "cpu_s"))
    return Played(
        admitted_to_ideal=len(admitted) / ideal,
        window_to_bound=fullest_second(admitted) / (RATE.room + RATE.per_second),
        calls_per_request=asked / len(records),
        waited=waited / len(records),
        cpu_us=cpu / len(records) * 1e6,
    )


def _ideal(arrivals: Sequence[float]) -> int:
    """Return how many calls one bucket without any delay would let in."""
    level, last, admitted = float(RATE.room), arrivals[0], 0
    for arrival in arrivals:
        level, last = min(RATE.room, level + (arrival - last) * RATE.per_second), arrival
        if level >= 1:
            level, admitted = level - 1, admitted + 1
    return admitted


def fullest_second(admitted: Sequence[float]) -> int:
    """Return how many were let in within the fullest window of one second."""
    most, first = 0, 0
    for place, at in enumerate(admitted):
        while admitted[first] <= at - 1.0:
            first += 1
        most = max(most, place - first + 1)
    return most
