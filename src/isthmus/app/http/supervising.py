"""The process above the workers: each has a socket of the same port, dead ones are replaced, all end in order.

On Linux the kernel spreads connections over the sockets, and a connection that waits for a worker that died is answered
by the next one, which is given the same socket.
"""

import multiprocessing
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from types import FrameType

GRACE_S = 5.0
_BACKLOG = 1024
KILL_S = GRACE_S + 3
_AGAIN_S, _LOOK_S = 1.0, 0.5
_SPREADS = sys.platform == "linux"

Work = Callable[[socket.socket, int], None]
"""What a worker does with its socket; the number is that of the process above it."""


@dataclass
class _Worker:
    """A worker with its socket, and when it was started."""

    listening: socket.socket
    running: BaseProcess
    began: float


def listen(host: str, port: int, *, count: int) -> list[socket.socket]:
    """Return sockets that listen on an address, one for each worker; raises OSError when it is in use."""
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    made: list[socket.socket] = []
    with socket.socket(family) as probe:
        # A socket that shares its port joins any others that do; the first one must have it alone.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)
    for _ in range(count if _SPREADS else 1):
        each = socket.socket(family)
        each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if _SPREADS:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        each.bind(address)
        each.listen(_BACKLOG)
        made.append(each)
    return made if _SPREADS else made * count


def supervise(sockets: list[socket.socket], work: Work) -> None:
    """Keep a worker at each socket until SIGTERM or SIGINT."""
    asked = False

    def heard(_number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        asked = True

    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, heard)
    workers = [_started(each, work) for each in sockets]
    try:
        while not asked:
            wait([each.running.sentinel for each in workers], timeout=_LOOK_S)
            for number, each in enumerate(workers):
                if not asked and not each.running.is_alive():
                    each.running.join()
                    # One that cannot start does not keep the machine busy with trying.
                    time.sleep(max(0.0, each.began + _AGAIN_S - time.monotonic()))
                    workers[number] = _started(each.listening, work)
    finally:
        _end([each.running for each in workers])


def _started(listening: socket.socket, work: Work) -> _Worker:
    process = multiprocessing.get_context("fork").Process if _SPREADS else multiprocessing.get_context("spawn").Process
    running = process(target=_run, args=(work, listening, os.getpid()), name="isthmus-http")
    running.start()
    return _Worker(listening, running, time.monotonic())


def _run(work: Work, listening: socket.socket, above: int) -> None:
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, signal.SIG_DFL)
    work(listening, above)


def _end(workers: list[BaseProcess]) -> None:
    """Let workers end what they began; whoever takes too long is killed."""
    for each in workers:
        if each.is_alive():
            each.terminate()
    over = time.monotonic() + KILL_S
    for each in workers:
        each.join(max(0.0, over - time.monotonic()))
        if each.is_alive():
            each.kill()
            each.join()
