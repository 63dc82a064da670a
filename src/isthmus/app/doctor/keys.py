"""The key-encryption key: there, private, and the one that the stored keys were wrapped with."""

import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from isthmus.app.doctor.finding import Finding, fail, ok
from isthmus.app.program import key_encryption_key
from isthmus.app.settings import Settings
from isthmus.vault import KeyStore

_NAME = "key-encryption key"
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def key_encryption(settings: Settings) -> Iterator[Finding]:
    """Look at the key's file and unwrap one stored key with it; raises BadKek and WrongKey."""
    path = settings.kek_file or settings.data_dir / "secrets" / "kek"
    store = settings.data_dir / "keys" / "keys.sqlite"
    count, one = _stored(store)
    if not path.exists():
        if count or settings.kek_file is not None:
            found = f"{path} is not there, and {count:,} stored keys need it."
            yield fail(_NAME, found, fix="Restore it from where you keep it. A new key opens nothing that was sealed.")
        else:
            yield ok(_NAME, f"made at the first start, in {path}")
        return
    if path.stat().st_mode & _OTHERS:
        yield fail(_NAME, f"Others on this machine can read {path}.", fix=f"chmod 600 {path}")
        return
    kek = key_encryption_key(settings)
    if one is None:
        yield ok(_NAME, f"{path}; nothing is sealed yet")
        return
    workspace, subject = one
    keys = KeyStore(store, kek=kek)
    with closing(keys):
        keys.find(workspace=workspace, subjects=[subject])
    yield ok(_NAME, f"{path}, mode 0600, fits the {count:,} stored keys; keep a copy elsewhere, not beside the backups")


def _stored(store: Path) -> tuple[int, tuple[int, bytes] | None]:
    """Return how many keys are stored, and the workspace and subject of one."""
    if not store.exists():
        return 0, None
    with closing(sqlite3.connect(f"{store.as_uri()}?mode=ro", uri=True)) as file:
        if not file.execute("select 1 from sqlite_master where name = 'data_key'").fetchone():
            return 0, None
        row: tuple[int, bytes] | None = file.execute("select workspace, subject from data_key limit 1").fetchone()
        count: tuple[int] = file.execute("select count(*) from data_key").fetchone()
    return count[0], row
