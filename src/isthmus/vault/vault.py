"""The vault: keys for subjects, created before use, cached while in use, and each workspace's own index keys."""

import os
import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from isthmus.vault.envelope import NONCE_BYTES, associated, open_sealed, seal
from isthmus.vault.keystore import KEY_BYTES, KeyErased, KeyStore

_CACHED_KEYS_MAX = 50_000
_WORKSPACE_SUBJECT = UUID(int=0)


def entropy(count: int) -> bytes:
    """Return `count` bytes from the system's cryptographic generator."""
    return os.urandom(count)


@dataclass(frozen=True)
class WorkspaceKeys:
    """Keys that belong to a workspace: for digests of content, and for the blind index of each handle."""

    root: bytes

    def derived(self, purpose: str) -> bytes:
        """Return the 32-byte key of a purpose (HKDF-Expand, RFC 5869)."""
        return HKDFExpand(algorithm=SHA256(), length=KEY_BYTES, info=purpose.encode()).derive(self.root)


class Vault:
    """Seals and opens values of subjects."""

    def __init__(self, keystore: KeyStore) -> None:
        """Use the keys of one key store."""
        self._keystore = keystore
        self._cached: OrderedDict[tuple[int, UUID], bytes] = OrderedDict()
        self._workspaces: dict[int, WorkspaceKeys] = {}
        self._lock = threading.Lock()

    def workspace(self, workspace: int) -> WorkspaceKeys:
        """Return a workspace's own keys, made when first asked for."""
        keys = self._workspaces.get(workspace)
        if keys is None:
            found = self._keystore.find(workspace=workspace, subjects=(_WORKSPACE_SUBJECT,))
            if not found:
                self._keystore.add(
                    workspace=workspace, keys=[(_WORKSPACE_SUBJECT, entropy(KEY_BYTES))], nonces=entropy(NONCE_BYTES)
                )
                found = self._keystore.find(workspace=workspace, subjects=(_WORKSPACE_SUBJECT,))
            keys = self._workspaces[workspace] = WorkspaceKeys(found[_WORKSPACE_SUBJECT])
        return keys

    def create(self, *, workspace: int, subjects: Sequence[UUID]) -> None:
        """Make and durably store a data key for each new subject."""
        material = entropy(len(subjects) * KEY_BYTES)
        keys = [
            (subject, material[index * KEY_BYTES : (index + 1) * KEY_BYTES]) for index, subject in enumerate(subjects)
        ]
        self._keystore.add(workspace=workspace, keys=keys, nonces=entropy(len(subjects) * NONCE_BYTES))
        self._remember(workspace, keys)

    def ensure(self, *, workspace: int, subjects: Sequence[UUID]) -> None:
        """Make keys for those subjects that have none."""
        have = self.holding(workspace=workspace, subjects=subjects)
        missing = [subject for subject in subjects if subject not in have]
        keys = [(subject, entropy(KEY_BYTES)) for subject in missing]
        if keys:
            self._keystore.add(workspace=workspace, keys=keys, nonces=entropy(len(keys) * NONCE_BYTES))

    def holding(self, *, workspace: int, subjects: Iterable[UUID]) -> frozenset[UUID]:
        """Return the subjects that have a key."""
        return frozenset(self._keys(workspace, subjects))

    def seal_many(self, *, workspace: int, values: Sequence[tuple[UUID, bytes]]) -> list[bytes]:
        """Seal each value under its subject's key; raises KeyErased."""
        keys = self._keys(workspace, {subject for subject, _ in values})
        nonces = entropy(len(values) * NONCE_BYTES)
        sealed: list[bytes] = []
        for index, (subject, plain) in enumerate(values):
            nonce = nonces[index * NONCE_BYTES : (index + 1) * NONCE_BYTES]
            bound = associated(workspace=workspace, subject=subject)
            sealed.append(seal(plain, key=_present(keys, subject), nonce=nonce, bound=bound))
        return sealed

    def open_many(self, *, workspace: int, values: Sequence[tuple[UUID, bytes]]) -> list[bytes | None]:
        """Open each envelope; None where the subject was erased. Raises SealBroken."""
        keys = self._keys(workspace, {subject for subject, _ in values})
        return [
            open_sealed(envelope, key=key, bound=associated(workspace=workspace, subject=subject)) if key else None
            for subject, envelope in values
            for key in (keys.get(subject),)
        ]

    def erase(self, *, workspace: int, subject: UUID) -> bool:
        """Destroy a subject's key, so that nothing it sealed can ever be opened; tells whether there was one."""
        with self._lock:
            self._cached.pop((workspace, subject), None)
        return self._keystore.erase(workspace=workspace, subject=subject)

    def _keys(self, workspace: int, subjects: Iterable[UUID]) -> dict[UUID, bytes]:
        found: dict[UUID, bytes] = {}
        missing: list[UUID] = []
        with self._lock:
            for subject in subjects:
                key = self._cached.get((workspace, subject))
                if key is None:
                    missing.append(subject)
                else:
                    found[subject] = key
        if missing:
            loaded = self._keystore.find(workspace=workspace, subjects=missing)
            self._remember(workspace, loaded.items())
            found.update(loaded)
        return found

    def _remember(self, workspace: int, keys: Iterable[tuple[UUID, bytes]]) -> None:
        with self._lock:
            self._cached.update(((workspace, subject), key) for subject, key in keys)
            while len(self._cached) > _CACHED_KEYS_MAX:
                self._cached.popitem(last=False)


def _present(keys: dict[UUID, bytes], subject: UUID) -> bytes:
    key = keys.get(subject)
    if key is None:
        raise KeyErased(f"The key of subject {subject} was erased.", fix="An erased subject cannot be written again.")
    return key
