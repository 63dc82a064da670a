"""Who the engines run as. PostgreSQL refuses to run as root, and rightly.

| the program runs as | the engines run as |
|---|---|
| an ordinary user | the same user |
| root | a uid of their own, which reaches the data directory by its working directory, so no parent is opened up |
| root, where no second uid exists or the binaries are out of its reach | the same user in a nested user namespace |
"""

import os
import pwd
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from isthmus.app.engines import nested

FIRST_UID, UIDS = 60600, 100
"""Between the ranges that distributions give to people and to services; a uid with a name is passed over."""
ENVIRONMENT = {"LC_ALL": "C", "TZ": "UTC", "PATH": "/usr/bin:/bin"}
"""All that engines get from the environment: no PG* variable, no secret."""
LIBRARIES = nested.LIBRARIES
WORKING_DIRECTORY = "/proc/self/cwd"


@dataclass(frozen=True, slots=True)
class Identity:
    """A way to run a program: `same` user, `other` uid, or `nested` namespace where `uid` is the inner one."""

    kind: Literal["same", "other", "nested"]
    uid: int
    gid: int

    @property
    def owner(self) -> tuple[int, int]:
        """The uid and gid, seen from outside, that own the engine's files."""
        return (os.geteuid(), os.getegid()) if self.kind == "nested" else (self.uid, self.gid)

    def place(self, directory: Path) -> str:
        """Return how the program, started in `directory`, names it: another uid may not pass through the parents."""
        return WORKING_DIRECTORY if self.kind == "other" else str(directory)

    def _arguments(self, program: Sequence[str]) -> list[str]:
        if self.kind != "nested":
            return list(program)
        return [sys.executable, "-I", "-S", str(Path(nested.__file__).absolute()), str(self.uid), *program]

    def _environment(self) -> dict[str, str]:
        """Return the program's environment; an interpreter that enters a namespace may need its libraries named."""
        libraries = os.environ.get(LIBRARIES)
        return {**ENVIRONMENT, LIBRARIES: libraries} if self.kind == "nested" and libraries else ENVIRONMENT

    def start(self, program: Sequence[str], *, directory: Path, log: Path) -> subprocess.Popen[bytes]:
        """Start a program that stays, in a session of its own, with everything it says going to the log."""
        other = self.kind == "other"
        with log.open("ab") as sink:
            return subprocess.Popen(
                self._arguments(program),
                cwd=directory,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                start_new_session=True,
                umask=0o077,
                user=self.uid if other else None,
                group=self.gid if other else None,
                extra_groups=[] if other else None,
            )

    def run(self, program: Sequence[str], *, directory: Path, log: Path) -> int:
        """Run a program to its end and return its exit code."""
        return self.start(program, directory=directory, log=log).wait()

    def works(self, binary: Path, *, directory: Path, log: Path) -> bool:
        """Say whether this identity exists here and can execute `binary`."""
        try:
            return self.run([str(binary), "--version"], directory=directory, log=log) == 0
        except (OSError, subprocess.SubprocessError):
            return False


def reachable(path: Path) -> bool:
    """Say whether any uid may pass through all parents of `path` and into it."""
    return all(place.stat().st_mode & 0o001 for place in (path, *path.absolute().parents))


def own_identity() -> Identity:
    """Return the identity of this program."""
    return Identity("same", os.geteuid(), os.getegid())


def other_identity() -> Identity:
    """Return a uid of the engines' own: the first of the range that no account bears."""
    taken = {account.pw_uid for account in pwd.getpwall()}
    uid = next(uid for uid in range(FIRST_UID, FIRST_UID + UIDS) if uid not in taken)
    return Identity("other", uid, uid)


def nested_identity() -> Identity:
    """Return a namespace whose inner uid has a name, which `initdb` asks for."""
    account = _ordinary_account()
    return Identity("nested", account.pw_uid, account.pw_gid)


def initialising(identity: Identity) -> Identity:
    """Return the identity for `initdb`, which refuses a uid without a name; its files change hands afterwards."""
    account = _ordinary_account()
    if identity.kind == "other":
        return Identity("other", account.pw_uid, account.pw_gid)
    if identity.kind == "same" and all(one.pw_uid != identity.uid for one in pwd.getpwall()):
        return Identity("nested", account.pw_uid, account.pw_gid)
    return identity


def _ordinary_account() -> pwd.struct_passwd:
    """Return the account `nobody`, or any that is not root."""
    ordinary = [account for account in pwd.getpwall() if account.pw_uid != 0]
    return min(ordinary, key=lambda account: (account.pw_name != "nobody", account.pw_uid))


def give(path: Path, *, owner: tuple[int, int]) -> None:
    """Make `owner` the owner of a tree, unless the top of it is theirs already."""
    if (path.stat().st_uid, path.stat().st_gid) == owner:
        return
    for folder, folders, files in os.walk(path):
        for name in (*folders, *files):
            os.lchown(Path(folder, name), *owner)
    os.chown(path, *owner)
