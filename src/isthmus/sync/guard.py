"""Starts a program in a session of its own, and ends it, with all that it started, when nobody listens any more.

It runs by itself, as `python -I -S guard.py PROGRAM ...`: its standard input is held open by who started it, and ends
when that does, however it ends.
"""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from threading import Thread

_BY_SIGNAL = 128


def _end(group: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def _watch(group: int) -> None:
    while os.read(0, 1):
        pass
    _end(group)


def main(command: list[str]) -> int:
    """Run a command to its end and return its exit code; by a signal it is 128 and the number, as in a shell."""
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True) as child:
        Thread(target=_watch, args=(child.pid,), daemon=True).start()
        code = child.wait()
        _end(child.pid)
    return _BY_SIGNAL - code if code < 0 else code


if __name__ == "__main__":
    # The thread that watches waits for ever: nothing of it is to be waited for.
    os._exit(main(sys.argv[1:]))
