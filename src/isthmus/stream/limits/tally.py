"""Counts that outlive the program that counts: a file in memory with a part for each worker of a machine.

A worker that is killed leaves its part behind with every call that it admitted; whoever finds the part without its lock
writes the counts down in the ledger and frees it. The file also holds how many calls of a caller are in flight.
"""

import fcntl
import mmap
import os
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final
from uuid import UUID

from msgspec import Struct

ENTRIES = 8192
INFLIGHT = 16_384
_KEPT_FREE = 1024
"""How many places are kept for the subject `other` of each workspace."""
_WORDS = 16
_ENTRY_BYTES = _WORDS * 8
_WORKSPACE, _USED, _TEXT = 0, 1, 2
_TEXT_BYTES: Final = (_WORDS - _TEXT) * 8
_HEAD_BYTES = 512
_COUNTS_AT = 4
COUNTS = ("admitted", "refused", "dry_run", "waited", "draws", "alone", "closed")
"""What each worker counts for the metrics, in this order."""
_PART_BYTES = _HEAD_BYTES + ENTRIES * _ENTRY_BYTES + INFLIGHT * 2
_OVERFLOW = "other"


class Row(Struct, frozen=True):
    """What was used of something in a period."""

    workspace: int
    subject: str
    period: str
    used: int


class Tally:
    """One worker's part of the file, and the sight of all others. Only its own part is written."""

    def __init__(self, path: Path, *, holder: UUID, parts: int) -> None:
        """Take a free part; `holder` is the worker's name in the ledger, `parts` how many the file has at least."""
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        size = max(os.fstat(self._handle).st_size, parts * _PART_BYTES)
        os.ftruncate(self._handle, size)
        self._map = mmap.mmap(self._handle, size)
        self._view = memoryview(self._map)
        self._parts = size // _PART_BYTES
        self.holder = holder
        self._own = self._taken()
        self._part = self._view[self._own * _PART_BYTES : (self._own + 1) * _PART_BYTES]
        self._part[:] = bytes(_PART_BYTES)
        self._part[:16] = holder.bytes
        head = self._part[:_HEAD_BYTES].cast("Q")
        self.counts = head[_COUNTS_AT : _COUNTS_AT + len(COUNTS)]
        self.words = self._part[_HEAD_BYTES : _HEAD_BYTES + ENTRIES * _ENTRY_BYTES].cast("Q")
        flying = [self._flying(each) for each in range(self._parts)]
        self._inflight, self._others = flying[self._own], flying
        self._places: dict[tuple[int, str, str], int] = {}
        self._free = list(range(ENTRIES - 1, -1, -1))

    def _taken(self) -> int:
        for part in range(self._parts):
            with suppress(OSError):
                fcntl.lockf(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, part)
                if any(self._view[part * _PART_BYTES : part * _PART_BYTES + 16]):
                    fcntl.lockf(self._handle, fcntl.LOCK_UN, 1, part)
                    continue
                return part
        message = f"all {self._parts} parts of the counts are taken or wait to be written down"
        raise BlockingIOError(message)

    def _flying(self, part: int) -> memoryview:
        end = (part + 1) * _PART_BYTES
        return self._view[end - INFLIGHT * 2 : end].cast("H")

    def place(self, workspace: int, subject: str, period: str) -> int:
        """Return where the uses of a subject in a period are counted: the index for `words`.

        When the part is full, what finds no place is counted for the workspace under the subject `other`.
        """
        key = (workspace, subject, period)
        found = self._places.get(key)
        if found is not None:
            return found
        if len(self._free) <= _KEPT_FREE and subject != _OVERFLOW:
            return self.place(workspace, _OVERFLOW, period)
        index = self._free.pop()
        start = index * _WORDS
        text = f"{period} {subject}".encode()[:_TEXT_BYTES]
        self._words_of(index)[:] = text.ljust(_TEXT_BYTES, b"\0")
        self.words[start + _USED] = 0
        self.words[start + _WORKSPACE] = workspace
        self._places[key] = start + _USED
        return start + _USED

    def _words_of(self, index: int) -> memoryview:
        start = _HEAD_BYTES + index * _ENTRY_BYTES + _TEXT * 8
        return self._part[start : start + _TEXT_BYTES]

    def rows(self, *, written: Mapping[tuple[int, str, str], int]) -> list[Row]:
        """Return what is counted in the own part and not written down with this number yet."""
        words, known = self.words, written.get
        return [
            Row(workspace, subject, period, used)
            for (workspace, subject, period), place in self._places.items()
            if known((workspace, subject, period)) != (used := words[place])
        ]

    def drop(self, periods: frozenset[str]) -> None:
        """Free the places of all periods but these; they were written down."""
        for key, place in list(self._places.items()):
            if key[2] not in periods:
                del self._places[key]
                self.words[place - _USED + _WORKSPACE] = 0
                self._free.append(place // _WORDS)

    def abandoned(self) -> Iterator[tuple[UUID, list[Row]]]:
        """Yield the holder and the rows of each part whose worker is gone; it is freed when the next is asked for."""
        for part in range(self._parts):
            view = self._view[part * _PART_BYTES : (part + 1) * _PART_BYTES]
            if part == self._own or not any(view[:16]):
                continue
            try:
                fcntl.lockf(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, part)
            except OSError:
                continue
            try:
                if any(view[:16]):
                    yield UUID(bytes=bytes(view[:16])), list(_rows(view))
                    view[:] = bytes(_PART_BYTES)
            finally:
                fcntl.lockf(self._handle, fcntl.LOCK_UN, 1, part)

    def fly(self, place: int, *, most: int) -> bool:
        """Count a call in flight unless that many are already, on all workers of the machine together."""
        if sum(each[place] for each in self._others) >= most:
            return False
        self._inflight[place] += 1
        return True

    def land(self, place: int) -> None:
        """Count a call as ended."""
        self._inflight[place] -= 1

    def totals(self) -> dict[str, int]:
        """Return the counts of all workers together."""
        heads = [self._view[n * _PART_BYTES : n * _PART_BYTES + _HEAD_BYTES].cast("Q") for n in range(self._parts)]
        return {name: sum(head[_COUNTS_AT + at] for head in heads) for at, name in enumerate(COUNTS)}

    def close(self) -> None:
        """Free the part; everything in it was written down."""
        self._part[:16] = bytes(16)
        os.close(self._handle)


def flight(workspace: int, subject: str) -> int:
    """Return where the calls of a subject in flight are counted."""
    return zlib.crc32(f"{workspace} {subject}".encode()) % INFLIGHT


def _rows(part: memoryview) -> Iterator[Row]:
    words = part[_HEAD_BYTES : _HEAD_BYTES + ENTRIES * _ENTRY_BYTES].cast("Q")
    for index in range(ENTRIES):
        workspace = words[index * _WORDS + _WORKSPACE]
        if workspace:
            start = _HEAD_BYTES + index * _ENTRY_BYTES + _TEXT * 8
            text = bytes(part[start : start + _TEXT_BYTES]).rstrip(b"\0").decode(errors="replace")
            period, _, subject = text.partition(" ")
            yield Row(workspace, subject, period, words[index * _WORDS + _USED])
