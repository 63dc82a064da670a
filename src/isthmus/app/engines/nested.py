"""Run a program in a user namespace of its own, where it is not root: `python nested.py UID PROGRAM ARGUMENT…`.

It is a script because entering a user namespace needs a program with a single thread. Inside, the caller's uid
appears as UID: files of the caller are then files of UID, while nothing outside is gained.
"""

import ctypes
import os
import sys
from pathlib import Path

CLONE_NEWUSER = 0x10000000
LIBRARIES = "LD_LIBRARY_PATH"
"""Named for this interpreter only; the program gets none of it."""


def main(arguments: list[str]) -> None:
    """Enter the namespace and become the program."""
    inner, program = int(arguments[0]), arguments[1:]
    uid, gid = os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWUSER) != 0:
        reason = os.strerror(ctypes.get_errno())
        sys.exit(f"user namespaces are not permitted here: {reason}")
    Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
    Path("/proc/self/uid_map").write_text(f"{inner} {uid} 1", encoding="ascii")
    Path("/proc/self/gid_map").write_text(f"{inner} {gid} 1", encoding="ascii")
    os.environ.pop(LIBRARIES, None)
    os.execv(program[0], program)  # noqa: S606  the program and its arguments come from the supervisor's own list


if __name__ == "__main__":
    main(sys.argv[1:])
