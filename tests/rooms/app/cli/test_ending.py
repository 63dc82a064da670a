"""A command that is told to end leaves no engine behind."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.rooms.app.engines import stage


def processes_of(data_dir: Path) -> list[psutil.Process]:
    """Return the processes that name a data directory."""
    named: list[psutil.Process] = []
    for each in psutil.process_iter():
        try:
            if any(str(data_dir) in word for word in each.cmdline()):
                named.append(each)
        except psutil.Error:
            continue
    return named


@pytest.mark.parametrize("wait_s", [0.0, 0.7])
def test_a_command_that_is_terminated_stops_the_engines_it_started(wait_s: float, tmp_path: Path) -> None:
    with stage.directory() as data_dir:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ISTHMUS_")}
        command = [sys.executable, "-m", "isthmus.app.cli", "connect", "ls", "--data-dir", str(data_dir)]
        with subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        ) as running:
            assert running.stderr is not None
            assert "starting" in running.stderr.readline()
            time.sleep(wait_s)
            running.terminate()
            _, said = running.communicate(timeout=60)
        assert (running.returncode, said.strip()) == (130, "stopped")
        _, alive = psutil.wait_procs(processes_of(data_dir), timeout=10)
        assert not alive
