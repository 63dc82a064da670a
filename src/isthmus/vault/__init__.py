"""Sealing of fields: a data key for each subject, wrapped by a key-encryption key, and blind indexes for look-ups."""

from isthmus.vault.envelope import SealBroken, open_sealed, seal
from isthmus.vault.index import blind_index, blind_indexes, keyed_digests, normal_form
from isthmus.vault.keystore import KeyErased, KeysAway, KeyStore, WrongKey, holds_keys
from isthmus.vault.vault import Vault, WorkspaceKeys, entropy

__all__ = [
    "KeyErased",
    "KeyStore",
    "KeysAway",
    "SealBroken",
    "Vault",
    "WorkspaceKeys",
    "WrongKey",
    "blind_index",
    "blind_indexes",
    "entropy",
    "holds_keys",
    "keyed_digests",
    "normal_form",
    "open_sealed",
    "seal",
]
