"""Commands in processes of their own that need not load the program each time: a server that has loaded it forks them.

What a command is given and says is as in a shell: arguments, directory, environment, stdout, stderr and exit code. How
a fresh interpreter starts is seen by the tests of help, of ending and of the journeys, which start one each time.
"""

import multiprocessing
import os
import pkgutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import isthmus.app.cli
import isthmus.connectors
import isthmus.domains


def _modules() -> list[str]:
    """Return what the server loads: every command, and what commands find in folders."""
    found = [__name__]
    for package in (isthmus.app.cli, isthmus.connectors, isthmus.domains):
        inside = pkgutil.iter_modules(package.__path__)
        found += [f"{package.__name__}.{each.name}" for each in inside if each.name != "__main__"]
    return found


_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(_modules())


def _run(arguments: tuple[str, ...], here: str, environment: Mapping[str, str], out: str, err: str) -> None:
    os.chdir(here)
    os.environ.clear()
    os.environ.update(environment)
    for number, path in ((0, os.devnull), (1, out), (2, err)):
        file = os.open(path, os.O_RDONLY if number == 0 else os.O_WRONLY)
        os.dup2(file, number)
        os.close(file)
    sys.argv = ["isthmus", *arguments]
    isthmus.app.cli.main()


def run(
    arguments: tuple[str, ...], *, here: Path, environment: Mapping[str, str], seconds: float
) -> tuple[int, str, str]:
    """Return the exit code, stdout and stderr of a command; raises TimeoutError."""
    with tempfile.NamedTemporaryFile() as out, tempfile.NamedTemporaryFile() as err:
        given = (arguments, str(here), dict(environment), out.name, err.name)
        command = _SERVER.Process(target=_run, args=given)
        command.start()
        command.join(seconds)
        if command.exitcode is None:
            command.kill()
            raise TimeoutError(f"isthmus {' '.join(arguments)} did not end in {seconds} s")
        code = command.exitcode
        command.close()
        return code, out.read().decode(), err.read().decode()
