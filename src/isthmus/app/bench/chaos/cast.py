"""The processes that play the program: each is started again when it is dead, as whoever runs it would do."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import psutil

from isthmus.app.bench.chaos.parts import consume_carelessly, consume_until_killed, work_jobs
from isthmus.app.bench.chaos.plan import Act
from isthmus.app.engines.access import PostgresLogin
from isthmus.app.engines.home import EngineHome
from isthmus.app.engines.liveness import head_of, working_in
from isthmus.app.role import LEASH
from isthmus.app.settings import Settings

LOOK_S = 0.05
_AGAIN_S, _AGAIN_S_MAX = 0.2, 3.0
_STEADY_S = 5.0
_END_S_MAX = 20.0


class _Running:
    """A process, however it was made."""

    def __init__(self, process: "subprocess.Popen[bytes] | ForkServerProcess") -> None:
        self.process = process

    @property
    def pid(self) -> int:
        return self.process.pid or 0

    @property
    def ended(self) -> bool:
        process = self.process
        return process.poll() is not None if isinstance(process, subprocess.Popen) else not process.is_alive()

    @property
    def code(self) -> int:
        process = self.process
        return (process.returncode if isinstance(process, subprocess.Popen) else process.exitcode) or 0


@dataclass
class Member:
    """One process with its part. `ends` are exit codes of those that ended without being killed."""

    act: Act
    name: str
    start: Callable[[], _Running]
    running: _Running | None = None
    since: float = 0.0
    pause: float = _AGAIN_S
    next_start: float = 0.0
    killed: bool = False
    ends: list[int] = field(default_factory=list[int])

    def look(self, now: float) -> None:
        """Start it when it is time; see whether it is dead."""
        if self.running is None:
            if now >= self.next_start:
                self.running, self.since, self.killed = self.start(), now, False
            return
        if not self.running.ended:
            return
        if self.killed or now - self.since > _STEADY_S:
            self.pause = _AGAIN_S
        if not self.killed:
            self.ends.append(self.running.code)
            self.pause = min(_AGAIN_S_MAX, self.pause * 2)
        self.running, self.next_start = None, now + self.pause

    @property
    def lives(self) -> bool:
        """Tell whether it is there."""
        return self.running is not None and not self.running.ended

    def kill(self) -> bool:
        """Kill it if it lives, and tell whether it did."""
        if self.running is None or self.running.ended:
            return False
        self.killed = True
        return _kill(self.running.pid)


@dataclass
class Cast:
    """All processes. `stopping` ends the watch."""

    settings: Settings
    members: list[Member] = field(default_factory=list[Member])
    paused: bool = False

    @property
    def home(self) -> EngineHome:
        """Where the engines are."""
        return EngineHome(self.settings.data_dir)

    async def watch(self) -> None:
        """Start whoever is dead, until cancelled."""
        while True:
            if not self.paused:
                for each in self.members:
                    each.look(time.monotonic())
            await asyncio.sleep(LOOK_S)

    def add_program(self, act: Act, name: str, *command: str, leashed: bool = True) -> None:
        """Add `python -m COMMAND…`."""
        environment = {**os.environ, **environment_of(self.settings), **({LEASH: "1"} if leashed else {})}
        log = self._log(name)

        def start() -> _Running:
            return _Running(_started(command, environment, log))

        self.members.append(Member(act=act, name=name, start=start))

    def add_parts(self, login: PostgresLogin, workspace: int) -> None:
        """Add the bench's own processes."""
        for number in range(2):
            self._add_part(Act.CONSUMER, f"consumer-{number}", consume_until_killed, login)
            self._add_part(Act.JOB_WORKER, f"jobs-{number}", work_jobs, login, f"chaos-{number}")
        self._add_part(Act.CONSUMER, "careless", consume_carelessly, login, workspace)

    def _add_part(self, act: Act, name: str, run: Callable[..., None], *given: object) -> None:
        context = get_context("forkserver")
        context.set_forkserver_preload(["isthmus.app.bench.chaos.parts"])

        def start() -> _Running:
            process = context.Process(target=run, args=(self._log(name), *given), daemon=True, name=name)
            process.start()
            return _Running(process)

        self.members.append(Member(act=act, name=name, start=start))

    def _log(self, name: str) -> Path:
        return self.settings.data_dir.parent / f"{name}.log"

    def of(self, act: Act) -> list[Member]:
        """Return the members with a part."""
        return [each for each in self.members if each.act is act]

    def kill(self, act: Act, choose: Callable[[int], int]) -> bool:
        """Kill one of those with a part, or an engine; tells whether somebody was there to be killed."""
        match act:
            case Act.POSTMASTER:
                return _kill(head_of(working_in(self.home.cluster, program="postgres")))
            case Act.VALKEY:
                return _kill(head_of(working_in(self.home.valkey, program="valkey-server")))
            case Act.API_WORKER:
                workers = list(self._api_workers())
                return bool(workers) and _kill(workers[choose(len(workers))])
            case _:
                living = [each for each in self.of(act) if each.lives]
                return bool(living) and living[choose(len(living))].kill()

    def _api_workers(self) -> Iterator[int]:
        for each in self.of(Act.API):
            if each.running is not None and not each.running.ended:
                try:
                    yield from (child.pid for child in psutil.Process(each.running.pid).children())
                except psutil.Error:
                    return

    async def end(self) -> None:
        """End everybody, the engines at the end and in order."""
        self.paused = True
        last = self.of(Act.SUPERVISOR)
        for each in self.members:
            if each not in last:
                each.kill()
        for each in last:
            if each.running is not None and not each.running.ended:
                os.kill(each.running.pid, signal.SIGTERM)
        over = time.monotonic() + _END_S_MAX
        while any(each.lives for each in self.members) and time.monotonic() < over:  # noqa: ASYNC110 - no event tells of the end of many processes.
            await asyncio.sleep(LOOK_S)


def environment_of(settings: Settings) -> Mapping[str, str]:
    """Return the settings as the environment in which every process reads them."""
    return {
        "ISTHMUS_DATA_DIR": str(settings.data_dir),
        "ISTHMUS_PORT": str(settings.port),
        "ISTHMUS_WORKERS": str(settings.workers),
        "ISTHMUS_WORKSPACE": settings.workspace or "",
        "ISTHMUS_LOG_LEVEL": settings.log_level,
        "ISTHMUS_OUTBOUND_ALLOW": settings.outbound_allow or "",
    }


def _started(command: tuple[str, ...], environment: Mapping[str, str], log: Path) -> "subprocess.Popen[bytes]":
    with log.open("ab") as sink:
        return subprocess.Popen(
            [sys.executable, "-m", *command],
            stdin=subprocess.PIPE,
            stdout=sink,
            stderr=sink,
            env=environment,
            start_new_session=True,
        )


def _kill(pid: int | None) -> bool:
    if not pid:
        return False
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True
