"""The part of the data directory that belongs to the engines: its layout, its modes, its secrets."""

import base64
import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

from isthmus.app.engines.errors import EngineDirectoryUnusable

SOCKET_PATH_LIMIT = 107
"""Bytes that `sockaddr_un` holds on Linux before its final zero (macOS: 103, which the fallback leaves room for)."""
LONGEST_SOCKET_NAME = ".s.PGSQL.5432"
PRIVATE_DIRECTORY, PRIVATE_FILE = 0o700, 0o600
LOG_LIMIT = 16 * 2**20
"""Bytes after which a log file is set aside; one older generation is kept."""

Entropy = Callable[[int], bytes]


class EngineHome:
    """Paths below one data directory. Directories are 0700; 0711 where another uid must pass through."""

    def __init__(self, data_dir: Path) -> None:
        """Name the places; `prepare` makes them."""
        self.data_dir = data_dir.absolute()
        self.cluster = self.data_dir / "postgres"
        self.valkey = self.data_dir / "valkey"
        self.secrets = self.data_dir / "secrets"
        self.own = self.data_dir / "engines"
        self.lock = self.own / "lock"
        self.facts = self.own / "running.json"
        self.logs = self.own / "logs"
        self._socket_record = self.own / "socket-directory"

    def prepare(self) -> None:
        """Make the directories that are ours alone.

        Raises:
            EngineDirectoryUnusable: the data directory belongs to another user, or cannot be made.
        """
        try:
            self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as refusal:
            raise EngineDirectoryUnusable(
                f"{self.data_dir} cannot be made: {refusal.strerror}.", fix="Choose another --data-dir."
            ) from refusal
        if self.data_dir.stat().st_uid != os.geteuid():
            raise EngineDirectoryUnusable(
                f"{self.data_dir} belongs to another user.", fix="Run as its owner or choose another --data-dir."
            )
        pass_through = 0o711 if os.geteuid() == 0 else 0o700
        make_directory(self.data_dir, mode=pass_through)
        make_directory(self.own, mode=pass_through)
        make_directory(self.secrets, mode=0o700)
        make_directory(self.logs, mode=0o700)

    def sockets(self, *, uid: int, gid: int) -> Path:
        """Return the 0700 directory of the sockets, owned by `uid`; one elsewhere when ours has no fit name.

        A name is unfit if it is too long, or contains a comma, which libpq takes for the end of a host.
        """
        inside = self.own / "run"
        if len(os.fsencode(inside / LONGEST_SOCKET_NAME)) <= SOCKET_PATH_LIMIT and "," not in str(inside):
            make_directory(inside, mode=0o700)
            os.chown(inside, uid, gid)
            return inside
        outside = self._recorded_sockets(uid=uid)
        if outside is None:
            outside = Path(tempfile.mkdtemp(prefix="isthmus-"))
            os.chown(outside, uid, gid)
            write_private(self._socket_record, str(outside).encode())
        return outside

    def _recorded_sockets(self, *, uid: int) -> Path | None:
        """Return the directory made at an earlier start, unless it is gone or somebody replaced it."""
        if not self._socket_record.exists():
            return None
        recorded = Path(self._socket_record.read_text())
        try:
            found = recorded.lstat()
        except FileNotFoundError:
            return None
        ours = stat.S_ISDIR(found.st_mode) and found.st_uid == uid and stat.S_IMODE(found.st_mode) == PRIVATE_DIRECTORY
        return recorded if ours else None

    def remove_outside_sockets(self) -> None:
        """Remove the socket directory outside, if there is one and it is empty."""
        if self._socket_record.exists():
            try:
                Path(self._socket_record.read_text()).rmdir()
            except OSError:
                return
            self._socket_record.unlink()

    def secret(self, name: str, *, entropy: Entropy) -> str:
        """Return the secret of that name, made from 32 bytes of `entropy` if it is not there yet."""
        path = self.secrets / name
        if not path.exists():
            write_private(path, base64.urlsafe_b64encode(entropy(32)).rstrip(b"="))
        return path.read_text()

    def kept_secret(self, name: str) -> str:
        """Return a secret that must be there already.

        Raises:
            EngineDirectoryUnusable: the file is gone.
        """
        path = self.secrets / name
        if not path.exists():
            raise EngineDirectoryUnusable(
                f"The secret {path} is missing while the engine it opens exists.", fix="Restore it from the backup."
            )
        return path.read_text()

    def log(self, name: str) -> Path:
        """Return the log file of an engine, made with mode 0600."""
        path = self.logs / f"{name}.log"
        os.close(os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600))
        return path


def make_directory(path: Path, *, mode: int) -> None:
    """Make a directory, or set the mode of the one that is there."""
    path.mkdir(mode=mode, exist_ok=True)
    if stat.S_IMODE(path.stat().st_mode) != mode:
        path.chmod(mode)


def write_private(path: Path, content: bytes, *, uid: int = -1, gid: int = -1) -> None:
    """Put `content` into a 0600 file, whole or not at all; an equal file is left alone, so a full disk does no harm."""
    try:
        found = path.stat()
        if path.read_bytes() == content and stat.S_IMODE(found.st_mode) == PRIVATE_FILE and uid in {-1, found.st_uid}:
            return
    except FileNotFoundError:
        pass
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as sink:
            sink.write(content)
            sink.flush()
            os.fchown(handle, uid, gid)
            os.fsync(handle)
        Path(name).replace(path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise


def bound_log(path: Path, *, limit: int = LOG_LIMIT) -> None:
    """Set a log aside once it is over `limit` bytes. Writers append, so they go on at the new beginning."""
    if not path.exists() or path.stat().st_size <= limit:
        return
    older = path.with_suffix(".log.1")
    older.unlink(missing_ok=True)
    with path.open("rb") as source:
        source.seek(-limit, os.SEEK_END)
        write_private(older, source.read(limit))
    os.truncate(path, 0)


def last_lines(path: Path, *, since: int, count: int = 8) -> str:
    """Return the last lines that a log gained after byte `since`."""
    with path.open("rb") as source:
        source.seek(min(since, path.stat().st_size))
        return "\n".join(source.read().decode(errors="replace").splitlines()[-count:])
