"""A number that all processes share beside the key store: it moves before and after a key is erased.

Whoever keeps keys at hand looks at it before each use. It is even at rest and odd while somebody erases, or was killed
in the middle of that; while it is odd nothing that is kept at hand counts. It lies in shared memory, so that looking
costs no system call.
"""

import fcntl
import mmap
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

_BYTES = 8


class Generation:
    """The number of one key store. Whoever raises it must not do so in two threads at once."""

    def __init__(self, path: Path) -> None:
        """Open the file or make it, with mode 0600; what a killed process left behind is put right."""
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            if os.fstat(self._file).st_size < _BYTES:
                os.ftruncate(self._file, _BYTES)
            self._map = mmap.mmap(self._file, _BYTES)
            self._number = memoryview(self._map).cast("Q")
            self._number[0] += self._number[0] % 2
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    @property
    def number(self) -> int:
        """The number as it is now; odd while somebody erases."""
        return self._number[0]

    @contextmanager
    def moving(self) -> Generator[None]:
        """Erase within the block: nobody else does, and what others keep at hand does not count until its end."""
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            self._number[0] += 2 if self._number[0] % 2 else 1
            try:
                yield
            finally:
                self._number[0] += 1
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        """Let the file go."""
        self._number.release()
        self._map.close()
        os.close(self._file)
