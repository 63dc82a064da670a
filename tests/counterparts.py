"""The programs our tests speak with, installed when a test asks for them: never skipped, never assumed.

tests.counterparts.require_debian("chromium", binary="chromium")    a path to run, or an error that says what to type
uv run python -m tests.counterparts                                 all of them at once, before the tests
"""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

NEEDED = {"chromium": "chromium", "postgresql": "postgres"}  # Debian's package: the program we run from it
LOCK_WAIT_S_MAX = 300


class CounterpartMissing(Exception):
    """A program that the tests speak with is not on this machine; the sentence says how to install it."""


def require_debian(
    package: str,
    *,
    binary: str,
    as_root: bool | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Path:
    """Return the path of a program; install its Debian package first where it is missing and we are root.

    Raises CounterpartMissing with the exact command to type where it cannot be installed.
    """
    search = environment.get("PATH", os.defpath)
    if found := _find(binary, search):
        return found
    command = f"apt-get update && apt-get install --yes --no-install-recommends {package}"
    if not (os.geteuid() == 0 if as_root is None else as_root):
        raise CounterpartMissing(f"{binary} is not installed. Type: sudo sh -c '{command}'")
    waits = f"-oDPkg::Lock::Timeout={LOCK_WAIT_S_MAX}"
    _apt(["update", waits], command=command, environment=environment)
    _apt(["install", "--yes", "--no-install-recommends", waits, package], command=command, environment=environment)
    if found := _find(binary, search):
        return found
    raise CounterpartMissing(f"{package} is installed, and brought no {binary}: look with `dpkg -L {package}`.")


def _find(binary: str, search: str) -> Path | None:
    if found := shutil.which(binary, path=search):
        return Path(found)
    servers = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{binary}"))  # Debian keeps these off the PATH
    return servers[-1] if servers else None


def _apt(arguments: list[str], *, command: str, environment: Mapping[str, str]) -> None:
    apt = shutil.which("apt-get", path=environment.get("PATH", os.defpath))
    if apt is None:
        raise CounterpartMissing(
            f"There is no apt-get on this machine. Install by its own means what this would: {command}"
        )
    done = subprocess.run(
        [apt, *arguments],
        env={**environment, "DEBIAN_FRONTEND": "noninteractive"},
        stdin=subprocess.DEVNULL,
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        said = "\n".join((done.stdout + done.stderr).splitlines()[-20:])
        raise CounterpartMissing(f"apt-get {arguments[0]} failed. Type: {command}\n{said}")


if __name__ == "__main__":
    for needed, program in NEEDED.items():
        print(f"{program}: {require_debian(needed, binary=program)}")  # noqa: T201 - a command talks to its person
