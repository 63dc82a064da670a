"""A disk that takes no more: the key store says so as something that passes, and goes on when there is room."""

import resource
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from uuid import UUID

import pytest

from isthmus.kernel.errors import Unavailable
from isthmus.vault import KeysAway, KeyStore, Vault

ANNA = UUID(int=1)
OTHERS = [UUID(int=number) for number in range(100, 1_100)]


@contextmanager
def full(path: Path) -> Generator[None]:
    """Let no file of this process grow beyond what the key store has now; the kernel refuses it as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_was_kept_is_read_on_a_full_disk_and_new_keys_are_kept_when_there_is_room_again(tmp_path: Path) -> None:
    path = tmp_path / "keys.sqlite"
    with closing(KeyStore(path, kek=bytes(32))) as store:
        vault = Vault(store)
        vault.create(workspace=1, subjects=[ANNA])
        [sealed] = vault.seal_many(workspace=1, values=[(ANNA, b"anna")])
        with full(path):
            for _ in range(2):
                with pytest.raises(KeysAway, match="cannot be used") as refusal:
                    vault.create(workspace=1, subjects=OTHERS)
                assert isinstance(refusal.value, Unavailable)
            assert vault.open_many(workspace=1, values=[(ANNA, sealed)]) == [b"anna"]
        vault.create(workspace=1, subjects=OTHERS)
        assert len(store.find(workspace=1, subjects=[each.bytes for each in OTHERS])) == len(OTHERS)
