"""What one process erases, no other opens any more, however warm its keys are and whoever is killed in between."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from uuid import UUID

import pytest

from isthmus.vault import KeyStore, Vault

ANNA, BEN = UUID(int=1), UUID(int=2)
KEY = bytes(range(32))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the keys lie."""
    return tmp_path / "keys.sqlite"


@pytest.fixture
def vault(path: Path) -> Iterator[Vault]:
    """A vault with keys of two subjects."""
    store = KeyStore(path, kek=KEY)
    vault = Vault(store)
    vault.create(workspace=1, subjects=[ANNA, BEN])
    yield vault
    store.close()


@pytest.fixture
def sealed(vault: Vault) -> bytes:
    """What Anna sealed."""
    [envelope] = vault.seal_many(workspace=1, values=[(ANNA, b"anna")])
    return envelope


class Other:
    """Another process."""

    def __init__(self, path: Path, sealed: bytes) -> None:
        """Start it."""
        command = [sys.executable, "-m", "tests.rooms.vault.another", str(path), KEY.hex(), sealed.hex()]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def says(self, line: str = "open") -> str:
        """Return what it says to a line."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def kill(self) -> None:
        """Kill it."""
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def other(path: Path, sealed: bytes) -> Iterator[Other]:
    """Another process, which ends with the test."""
    running = Other(path, sealed)
    yield running
    running.kill()


def test_a_key_erased_in_one_process_is_used_by_no_other(vault: Vault, other: Other) -> None:
    assert (other.says(), other.says()) == ("anna", "anna")
    assert vault.erase(workspace=1, subject=BEN)
    assert other.says() == "anna", "what others sealed still opens"
    assert vault.erase(workspace=1, subject=ANNA)
    assert other.says() == "gone"


def test_who_is_killed_while_it_erases_leaves_nobody_with_keys_at_hand(
    path: Path, vault: Vault, sealed: bytes, other: Other
) -> None:
    values = [(ANNA, sealed)]
    assert vault.open_many(workspace=1, values=values) == [b"anna"]
    assert other.says("erase") == "erasing"
    other.kill()
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        file.execute("delete from data_key where subject = ?", (ANNA.bytes,))
    assert vault.open_many(workspace=1, values=values) == [None], "while it is unclear, the store is asked"
    store = KeyStore(path, kek=KEY)
    assert store.generation % 2 == 0, "whoever comes next puts it right"
    store.close()
    assert vault.open_many(workspace=1, values=values) == [None]
