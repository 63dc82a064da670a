"""One program at a time supervises the engines of a directory, and says on disk who it is and what it started."""

import fcntl
import os
from datetime import datetime
from pathlib import Path

import msgspec

from isthmus.app.engines.access import Holder
from isthmus.app.engines.home import EngineHome, write_private
from isthmus.app.engines.liveness import seen


class EngineFact(msgspec.Struct, frozen=True, kw_only=True):
    """What is written of one running engine; no secret among it."""

    sockets: str
    fingerprint: str
    version: str


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """The engines of a directory that are ready; None for one that is external or absent."""

    postgres: EngineFact | None = None
    valkey: EngineFact | None = None


class DirectoryLock:
    """An exclusive lock on a data directory; the kernel lets go of it when its program dies."""

    def __init__(self, descriptor: int) -> None:
        """Keep the locked file open. A forked child lets go at once, or it would hold on after its parent's death."""
        self._descriptor: int | None = descriptor
        os.register_at_fork(after_in_child=self.release)

    @classmethod
    def take(cls, path: Path, *, now: datetime) -> "DirectoryLock | None":
        """Take the lock and write who holds it; None if another program does."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        this = seen(os.getpid())
        holder = Holder(pid=os.getpid(), started=this.started if this is not None else 0.0, since=now)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, msgspec.json.encode(holder), 0)
        return cls(descriptor)

    def release(self) -> None:
        """Let go, once."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def holder_of(path: Path) -> Holder | None:
    """Return who wrote itself into the lock and still lives; None if nobody does."""
    try:
        holder = msgspec.json.decode(path.read_bytes(), type=Holder)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
    living = seen(holder.pid)
    return holder if living is not None and living.is_one_started(holder.started) else None


def write_facts(home: EngineHome, facts: Facts) -> None:
    """Write what runs."""
    write_private(home.facts, msgspec.json.encode(facts))


def read_facts(home: EngineHome) -> Facts:
    """Return what was written last; nothing runs if nothing readable was."""
    try:
        return msgspec.json.decode(home.facts.read_bytes(), type=Facts)
    except (FileNotFoundError, msgspec.DecodeError):
        return Facts()
