"""The key store: wrapped data keys in a SQLite file of their own, outside the database and its backups.

Keys in PostgreSQL stay readable in its write-ahead log after they were deleted. A SQLite file with a rollback journal
and `secure_delete` overwrites them in place, so that erasing a subject's key erases what the key sealed.
"""

import sqlite3
import threading
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from isthmus.kernel.errors import IsthmusError, NotFound, Unavailable
from isthmus.vault.generation import Generation

KEY_BYTES = 32
_NONCE_BYTES = 12
_BUSY_S = 30.0
_SUBJECT_BYTES, _WRAPPED_BYTES = 16, _NONCE_BYTES + KEY_BYTES + 16
_STATEMENT_ROWS_MAX = 10_000
_TABLE = """
create table if not exists data_key (
    workspace integer not null, subject blob not null, wrapped blob not null, primary key (workspace, subject)
) without rowid
"""
# One step for all rows: SQLite gives the interpreter away at each step, and it is not had back at once while other
# threads work. The rows come cut together, of one length each.
_ADD = """
with recursive given(n) as (select 0 union all select n + 1 from given where n + 1 < ?4)
insert or ignore into data_key
select ?1, substr(?2, ?5 * n + 1, ?5), substr(?3, ?6 * n + 1, ?6) from given
"""
_FIND = """
with recursive given(n) as (select 0 union all select n + 1 from given where n + 1 < ?3)
select group_concat(hex(k.subject) || hex(k.wrapped), '') from given cross join data_key k
where k.workspace = ?1 and k.subject = substr(?2, ?4 * n + 1, ?4)
"""


class KeyErased(NotFound):
    """The subject's key was erased, and with it everything it sealed."""

    code, title = "key-erased", "The subject was erased"


class WrongKey(IsthmusError):
    """The key-encryption key is not the one that wrapped the stored keys."""

    code, title = "wrong-key", "The key-encryption key does not fit"


class KeysAway(Unavailable):
    """The file with the keys cannot be read or written now, such as on a full disk."""

    code, title = "keys-away", "The key store cannot be used"


@contextmanager
def _told() -> Generator[None]:
    """Tell in our words what the file system refuses, so that whoever waits such things out does so here too."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise KeysAway(f"The key store cannot be used: {error}.", fix="Make room on its disk.") from error


def holds_keys(path: Path) -> bool:
    """Tell whether there is a key store with at least one key in it."""
    if not path.is_file() or not path.stat().st_size:
        return False
    with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=_BUSY_S)) as file:
        return file.execute("select 1 from data_key limit 1").fetchone() is not None


class KeyStore:
    """Wrapped data keys by workspace and subject. Safe to share between threads and processes."""

    def __init__(self, path: Path, *, kek: bytes) -> None:
        """Open or create the store; `kek` is 32 bytes. The file gets mode 0600."""
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.touch(mode=0o600, exist_ok=True)
        self._generation = Generation(path.with_name(f"{path.name}-erasures"))
        self._kek = AESGCM(kek)
        self._lock = threading.Lock()
        self._file = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
        for pragma in ("journal_mode=delete", "secure_delete=on", "synchronous=full"):
            self._file.execute(f"pragma {pragma}").fetchall()
        self._file.execute(_TABLE)

    @property
    def generation(self) -> int:
        """A number that moves when any process erases a key; odd while one does."""
        return self._generation.number

    def close(self) -> None:
        """Close the files."""
        with self._lock:
            self._file.close()
            self._generation.close()

    def add(self, *, workspace: int, subjects: Sequence[bytes], keys: Sequence[bytes], nonces: Sequence[bytes]) -> None:
        """Store new keys durably before anything sealed with them is; a nonce is 12 random bytes.

        Subjects are the 16 bytes of their ids. One that has a key keeps it. Raises KeysAway.
        """
        wrap = self._kek.encrypt
        wrapped = [
            nonce + wrap(nonce, key, subject) for subject, key, nonce in zip(subjects, keys, nonces, strict=True)
        ]
        with self._lock, _told():
            if self._file.in_transaction:
                # A commit that fails, such as on a full disk, leaves its transaction open.
                self._file.execute("rollback")
            self._file.execute("begin immediate")
            try:
                for start in range(0, len(wrapped), _STATEMENT_ROWS_MAX):
                    part = slice(start, start + _STATEMENT_ROWS_MAX)
                    ids, rows = b"".join(subjects[part]), b"".join(wrapped[part])
                    count = len(wrapped[part])
                    self._file.execute(_ADD, (workspace, ids, rows, count, _SUBJECT_BYTES, _WRAPPED_BYTES))
                self._file.execute("commit")
            finally:
                with suppress(sqlite3.OperationalError):
                    if self._file.in_transaction:
                        self._file.execute("rollback")

    def find(self, *, workspace: int, subjects: Iterable[bytes]) -> dict[bytes, bytes]:
        """Return the keys there are; an erased subject is absent. Raises WrongKey and KeysAway."""
        wanted = sorted(set(subjects))
        found: dict[bytes, bytes] = {}
        width = _SUBJECT_BYTES + _WRAPPED_BYTES
        for start in range(0, len(wanted), _STATEMENT_ROWS_MAX):
            part = wanted[start : start + _STATEMENT_ROWS_MAX]
            with self._lock, _told():
                given = (workspace, b"".join(part), len(part), _SUBJECT_BYTES)
                (told,) = self._file.execute(_FIND, given).fetchone()
            rows = bytes.fromhex(told or "")
            for at in range(0, len(rows), width):
                subject = rows[at : at + _SUBJECT_BYTES]
                found[subject] = self._unwrap(subject, rows[at + _SUBJECT_BYTES : at + width])
        return found

    def erase(self, *, workspace: int, subject: UUID) -> bool:
        """Destroy a key; tells whether there was one. No process uses it any more after this. Raises KeysAway."""
        with self._lock, _told(), self._generation.moving():
            done = self._file.execute(
                "delete from data_key where workspace = ? and subject = ?", (workspace, subject.bytes)
            )
            return done.rowcount == 1

    def _unwrap(self, subject: bytes, wrapped: bytes) -> bytes:
        try:
            return self._kek.decrypt(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], subject)
        except InvalidTag as error:
            raise WrongKey(
                "A stored data key does not unwrap.", fix="Start with the key-encryption key this data was sealed with."
            ) from error
