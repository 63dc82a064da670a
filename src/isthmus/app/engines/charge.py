"""One supervised engine: started or adopted, watched, started again with growing pauses, stopped in steps."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import psycopg

from isthmus.app.engines.access import EngineHealth, EngineName, EngineStatus
from isthmus.app.engines.errors import EngineFailed
from isthmus.app.engines.home import bound_log, last_lines
from isthmus.app.engines.liveness import head_of, working_in
from isthmus.kernel.errors import IsthmusError

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 30.0
"""Seconds before a dead engine is started again: doubled after each failure, up to the longest."""
STEADY_SECONDS = 60.0
"""An engine that stayed healthy for so long has its earlier failures forgiven."""
PROBE_EVERY = 5.0
LINGER_SECONDS = 2.0
RECOVERY_SECONDS = 15.0
POLL_SECONDS = 0.02

TROUBLE = (OSError, IsthmusError, psycopg.Error, subprocess.SubprocessError)
"""What an attempt to start an engine may end in; the next attempt may go better."""


class Server(Protocol):
    """What the supervisor needs of an engine."""

    @property
    def name(self) -> EngineName: ...
    @property
    def stop_steps(self) -> tuple[tuple[signal.Signals, float], ...]: ...
    @property
    def log(self) -> Path: ...
    @property
    def fingerprint(self) -> str: ...
    def pids(self) -> frozenset[int]: ...
    def main_pid(self) -> int | None: ...
    def prepare(self, *, first: bool) -> None: ...
    def start(self) -> subprocess.Popen[bytes]: ...
    def ready(self, pid: int) -> bool: ...
    def settle(self) -> None: ...
    def answers(self) -> bool: ...


class Charge:
    """The supervisor's side of one engine. Its methods are called from one thread at a time."""

    def __init__(self, server: Server, *, on_change: Callable[[EngineHealth], None]) -> None:
        """Take charge of `server`; `on_change` hears every change of its status."""
        self.server = server
        self._on_change = on_change
        self._child: subprocess.Popen[bytes] | None = None
        self._pid: int | None = None
        self._status: EngineStatus = "pending"
        self._detail = ""
        self._starts, self._failures = 0, 0
        self._next_try, self._healthy_since, self._next_probe = 0.0, 0.0, 0.0
        self._log_start = 0
        self._asked_to_stop = False

    @property
    def health(self) -> EngineHealth:
        """How the engine is now."""
        return EngineHealth(
            name=self.server.name,
            status=self._status,
            pid=self._pid,
            restarts=max(self._starts - 1, 0),
            detail=self._detail,
        )

    def _become(self, status: EngineStatus, detail: str = "") -> None:
        changed = status != self._status
        self._status, self._detail = status, detail
        if changed:
            self._on_change(self.health)

    def _alive(self) -> bool:
        if self._child is not None:
            return self._child.poll() is None
        return self._pid is not None and self._pid == self.server.main_pid()

    def adopt(self, *, fingerprint: str | None) -> bool:
        """Take over an engine that its program left running, if it runs as this one would be started."""
        pid = self.server.main_pid()
        if pid is None or fingerprint != self.server.fingerprint or not self.server.answers():
            return False
        self._pid, self._starts = pid, 1
        self._settled()
        return True

    def launch(self) -> None:
        """Start the engine, after whatever is left of an earlier one has ended."""
        self._clear_the_way()
        self.server.prepare(first=self._starts == 0)
        bound_log(self.server.log)
        self._log_start = self.server.log.stat().st_size
        self._child = self.server.start()
        self._pid = self._child.pid
        self._starts += 1
        self._become("pending")

    def _clear_the_way(self) -> None:
        """End the programs of an engine that has no supervisor: in order, if its head lives."""
        head = self.server.main_pid()
        if head is not None:
            self._pid, self._child = head, None
            self.stop()
        self._clear_stragglers()

    def _clear_stragglers(self) -> None:
        """End programs whose head is gone, which may be busy and not have noticed: by themselves, or harder."""
        softer, hardest = (step for step, _ in self.server.stop_steps[-2:])
        for step in (softer, hardest):
            if _wait(lambda: not self.server.pids(), seconds=LINGER_SECONDS):
                return
            for pid in self.server.pids():
                _signal(pid, step)
        _wait(lambda: not self.server.pids(), seconds=LINGER_SECONDS)

    def wait_ready(self, *, seconds: float) -> None:
        """Wait until the engine serves.

        Raises:
            EngineFailed: it ended, or is not ready after `seconds`.
        """
        over = time.monotonic() + seconds
        while not self._try_settle():
            if not self._alive():
                raise EngineFailed(f"{self._ending()}", fix="Mend what it names and start again.")
            if time.monotonic() > over:
                raise EngineFailed(
                    f"{self.server.name} is not ready after {seconds:.0f} s.", fix=f"Look into {self.server.log}."
                )
            time.sleep(POLL_SECONDS)

    def _try_settle(self) -> bool:
        if self._pid is None or not self.server.ready(self._pid):
            return False
        self.server.settle()
        self._settled()
        return True

    def _settled(self) -> None:
        self._healthy_since = time.monotonic()
        self._next_probe = self._healthy_since + PROBE_EVERY
        self._become("healthy")

    def _ending(self) -> str:
        said = last_lines(self.server.log, since=self._log_start)
        code = self._child.returncode if self._child is not None else None
        return f"{self.server.name} ended{'' if code is None else f' with {code}'}. {said}".strip()

    def tick(self) -> None:
        """Look once: notice a death, start again when it is time, see whether a living engine answers."""
        now = time.monotonic()
        try:
            self._look(now)
        except TROUBLE as trouble:
            self._fail(now, str(trouble))

    def _look(self, now: float) -> None:
        if self._status == "retrying":
            if now >= self._next_try:
                self.launch()
        elif not self._alive():
            self._fail(now, self._ending())
        elif self._status == "pending":
            self._try_settle()
        elif now >= self._next_probe:
            self._probe(now)

    def _probe(self, now: float) -> None:
        self._next_probe = now + PROBE_EVERY
        bound_log(self.server.log)
        if not self.server.answers():
            self._become("needs attention", f"{self.server.name} runs and does not answer; see {self.server.log}")
        elif self._status != "healthy":
            self._settled()
        elif now - self._healthy_since > STEADY_SECONDS:
            self._failures = 0

    def _fail(self, now: float, why: str) -> None:
        pause = min(FIRST_PAUSE * 2**self._failures, LONGEST_PAUSE)
        self._failures = min(self._failures + 1, 16)
        self._next_try = now + pause
        self._become("retrying", f"{why} (next try in {pause:.1f} s)")

    def signal_stop(self) -> None:
        """Ask the engine to stop, without waiting; one that is still recovering is left to `stop`."""
        if self._pid is not None and self._alive() and self.server.answers():
            _signal(self._pid, self.server.stop_steps[0][0])
            self._asked_to_stop = True

    def stop(self) -> None:
        """Stop the engine in the steps that it names, each harsher than the last, and see all its programs gone.

        PostgreSQL 18 that is asked in order while it begins crash recovery waits for ever (its startup program is
        gone, the others stay). So it is given time to finish first; if that is not enough, the harsher step costs
        nothing, because recovery begins again at the next start.
        """
        steps = list(self.server.stop_steps)
        if not self._asked_to_stop and not _wait(self._orderly, seconds=RECOVERY_SECONDS):
            steps = steps[1:]
        for step, seconds in steps:
            if not self._alive():
                break
            if not self._asked_to_stop:
                self._signal(step)
            self._asked_to_stop = False
            if _wait(lambda: not self._alive(), seconds=seconds):
                break
        self._clear_stragglers()
        self._child, self._pid = None, None
        self._become("pending", "stopped")

    def _orderly(self) -> bool:
        """Say whether the engine may be asked to stop in order, or is gone already."""
        return self._pid is None or not self._alive() or self.server.answers()

    def _signal(self, step: signal.Signals) -> None:
        if self._pid is not None:
            _signal(self._pid, step)


def end_abandoned(directory: Path, *, program: str, step: signal.Signals, seconds: float) -> None:
    """Stop an engine that a killed program left running and that nobody wants here any more."""
    head = head_of(working_in(directory, program=program))
    if head is not None:
        _signal(head, step)
        _wait(lambda: not working_in(directory, program=program), seconds=seconds)


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _wait(condition: Callable[[], bool], *, seconds: float) -> bool:
    over = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > over:
            return False
        time.sleep(POLL_SECONDS)
    return True
