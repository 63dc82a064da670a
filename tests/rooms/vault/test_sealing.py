"""What is sealed opens for its subject alone, and for nobody once the subject was erased."""

import secrets
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.vault import KeyErased, KeyStore, SealBroken, Vault, WrongKey, holds_keys, open_sealed, seal

ANNA, BEN = UUID(int=1), UUID(int=2)
KEY, NONCE = bytes(range(32)), bytes(range(12))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the keys lie."""
    return tmp_path / "keys" / "keys.sqlite"


@pytest.fixture
def keys(path: Path) -> Iterator[KeyStore]:
    """A key store."""
    store = KeyStore(path, kek=KEY)
    yield store
    store.close()


@given(st.binary(max_size=500), st.binary(max_size=40))
def test_what_is_sealed_opens_to_the_same(plain: bytes, bound: bytes) -> None:
    assert open_sealed(seal(plain, key=KEY, nonce=NONCE, bound=bound), key=KEY, bound=bound) == plain


@given(st.binary(max_size=60), st.data())
def test_one_changed_bit_anywhere_does_not_open(plain: bytes, data: st.DataObject) -> None:
    envelope = bytearray(seal(plain, key=KEY, nonce=NONCE, bound=b"here"))
    place = data.draw(st.integers(0, len(envelope) * 8 - 1))
    envelope[place // 8] ^= 1 << place % 8
    with pytest.raises(SealBroken):
        open_sealed(bytes(envelope), key=KEY, bound=b"here")


def test_a_value_moved_to_another_subject_or_workspace_does_not_open(keys: KeyStore) -> None:
    vault = Vault(keys)
    for workspace in (1, 2):
        vault.create(workspace=workspace, subjects=[ANNA, BEN])
    [envelope] = vault.seal_many(workspace=1, values=[(ANNA, b"anna@example.com")])
    assert vault.open_many(workspace=1, values=[(ANNA, envelope)]) == [b"anna@example.com"]
    for workspace, subject in ((1, BEN), (2, ANNA)):
        with pytest.raises(SealBroken):
            vault.open_many(workspace=workspace, values=[(subject, envelope)])


def test_the_same_value_never_seals_to_the_same_bytes(keys: KeyStore) -> None:
    vault = Vault(keys)
    vault.create(workspace=1, subjects=[ANNA])
    sealed = vault.seal_many(workspace=1, values=[(ANNA, b"same")] * 200)
    assert len(set(sealed)) == 200
    assert len({each[1:13] for each in sealed}) == 200


def test_what_an_erased_subject_sealed_is_gone_and_nothing_new_is_sealed(keys: KeyStore) -> None:
    vault = Vault(keys)
    vault.create(workspace=1, subjects=[ANNA, BEN])
    values = [(ANNA, b"anna"), (BEN, b"ben")]
    sealed = vault.seal_many(workspace=1, values=values)
    assert vault.erase(workspace=1, subject=ANNA)
    assert not vault.erase(workspace=1, subject=ANNA)
    both = [(ANNA, sealed[0]), (BEN, sealed[1])]
    assert vault.open_many(workspace=1, values=both) == [None, b"ben"]
    assert vault.holding(workspace=1, subjects=[ANNA, BEN]) == {BEN}
    with pytest.raises(KeyErased):
        vault.seal_many(workspace=1, values=[(ANNA, b"again")])


def test_an_erased_key_leaves_no_byte_in_its_file(keys: KeyStore, path: Path) -> None:
    vault = Vault(keys)
    vault.create(workspace=1, subjects=[ANNA, BEN])
    with sqlite3.connect(path) as reading:
        [(wrapped,)] = reading.execute("select wrapped from data_key where subject = ?", (ANNA.bytes,)).fetchall()
    reading.close()
    assert wrapped in path.read_bytes()
    vault.erase(workspace=1, subject=ANNA)
    for file in path.parent.iterdir():
        assert wrapped not in file.read_bytes()


def test_a_subject_keeps_the_key_it_has(keys: KeyStore) -> None:
    vault, other = Vault(keys), Vault(keys)
    vault.create(workspace=1, subjects=[ANNA])
    [envelope] = vault.seal_many(workspace=1, values=[(ANNA, b"first")])
    other.ensure(workspace=1, subjects=[ANNA, BEN])
    assert other.open_many(workspace=1, values=[(ANNA, envelope)]) == [b"first"]
    assert other.workspace(1).derived("digest") == vault.workspace(1).derived("digest")
    assert vault.workspace(1).derived("digest") != vault.workspace(1).derived("cursors")


def test_keys_outlive_the_program_and_open_under_their_own_kek_only(path: Path) -> None:
    assert not holds_keys(path)
    first = KeyStore(path, kek=KEY)
    assert not holds_keys(path)
    vault = Vault(first)
    vault.create(workspace=1, subjects=[ANNA])
    [envelope] = vault.seal_many(workspace=1, values=[(ANNA, b"kept")])
    first.close()
    assert holds_keys(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again, wrong = KeyStore(path, kek=KEY), KeyStore(path, kek=secrets.token_bytes(32))
    assert Vault(again).open_many(workspace=1, values=[(ANNA, envelope)]) == [b"kept"]
    with pytest.raises(WrongKey):
        Vault(wrong).open_many(workspace=1, values=[(ANNA, envelope)])
    again.close()
    wrong.close()
