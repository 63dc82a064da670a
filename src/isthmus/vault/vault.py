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
_WORKSPACE_SUBJECT = UUID(int=0).bytes


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
    """Seals and opens values of subjects. Safe to share between threads."""

    def __init__(self, keystore: KeyStore) -> None:
        """Use the keys of one key store."""
        self._keystore = keystore
        self._cached: OrderedDict[bytes, bytes] = OrderedDict()
        self._workspaces: dict[int, WorkspaceKeys] = {}
        self._generation = keystore.generation
        self._lock = threading.Lock()

    def workspace(self, workspace: int) -> WorkspaceKeys:
        """Return a workspace's own keys, made when first asked for."""
        keys = self._workspaces.get(workspace)
        if keys is None:
            found = self._keystore.find(workspace=workspace, subjects=(_WORKSPACE_SUBJECT,))
            if not found:
                self._add(workspace, [_WORKSPACE_SUBJECT])
                found = self._keystore.find(workspace=workspace, subjects=(_WORKSPACE_SUBJECT,))
            keys = self._workspaces[workspace] = WorkspaceKeys(found[_WORKSPACE_SUBJECT])
        return keys

    def create(self, *, workspace: int, subjects: Sequence[UUID]) -> None:
        """Make and durably store a data key for each new subject."""
        raw = [subject.bytes for subject in subjects]
        generation = self._keystore.generation
        self._remember(workspace, zip(raw, self._add(workspace, raw), strict=True), generation)

    def ensure(self, *, workspace: int, subjects: Sequence[UUID]) -> None:
        """Make keys for those subjects that have none."""
        raw = [subject.bytes for subject in subjects]
        have = self._keys(workspace, raw)
        missing = [subject for subject in raw if subject not in have]
        if missing:
            self._add(workspace, missing)

    def holding(self, *, workspace: int, subjects: Iterable[UUID]) -> frozenset[UUID]:
        """Return the subjects that have a key."""
        wanted = {subject.bytes: subject for subject in subjects}
        return frozenset(wanted[subject] for subject in self._keys(workspace, wanted))

    def seal_new(
        self, *, workspace: int, subjects: Sequence[bytes], columns: Sequence[Sequence[bytes]]
    ) -> list[list[bytes]]:
        """Make a key for each new subject, store the keys durably, and seal what each column holds of each.

        Subjects are the 16 bytes of their ids; an empty value stays empty. The keys are not kept at hand.
        """
        keys = self._add(workspace, subjects)
        return [
            [
                seal(plain, key=key, nonce=nonce, bound=associated(workspace=workspace, subject=subject))
                if plain
                else b""
                for subject, key, nonce, plain in zip(subjects, keys, _nonces(len(keys)), values, strict=True)
            ]
            for values in columns
        ]

    def seal_many(self, *, workspace: int, values: Sequence[tuple[UUID, bytes]]) -> list[bytes]:
        """Seal each value under its subject's key; raises KeyErased."""
        return self.seal_columns(
            workspace=workspace,
            subjects=[subject.bytes for subject, _ in values],
            values=[value for _, value in values],
        )

    def seal_columns(self, *, workspace: int, subjects: Sequence[bytes], values: Sequence[bytes]) -> list[bytes]:
        """Seal each value under the key of its subject, given as the 16 bytes of its id; raises KeyErased."""
        keys = self._keys(workspace, subjects)
        for subject in subjects:
            if subject not in keys:
                raise KeyErased(
                    f"The key of subject {UUID(bytes=subject)} was erased.",
                    fix="An erased subject cannot be written again.",
                )
        return [
            seal(plain, key=keys[subject], nonce=nonce, bound=associated(workspace=workspace, subject=subject))
            for subject, nonce, plain in zip(subjects, _nonces(len(subjects)), values, strict=True)
        ]

    def open_many(self, *, workspace: int, values: Sequence[tuple[UUID, bytes]]) -> list[bytes | None]:
        """Open each envelope; None where the subject was erased. Raises SealBroken."""
        return self.open_columns(
            workspace=workspace,
            subjects=[subject.bytes for subject, _ in values],
            envelopes=[envelope for _, envelope in values],
        )

    def open_columns(
        self, *, workspace: int, subjects: Sequence[bytes], envelopes: Sequence[bytes]
    ) -> list[bytes | None]:
        """Open each envelope of a subject, given as the 16 bytes of its id; None where it was erased.

        Raises SealBroken.
        """
        keys = self._keys(workspace, subjects)
        return [
            open_sealed(envelope, key=key, bound=associated(workspace=workspace, subject=subject)) if key else None
            for subject, envelope in zip(subjects, envelopes, strict=True)
            for key in (keys.get(subject),)
        ]

    def erase(self, *, workspace: int, subject: UUID) -> bool:
        """Destroy a subject's key, so that nothing it sealed can ever be opened; tells whether there was one."""
        return self._keystore.erase(workspace=workspace, subject=subject)

    def _add(self, workspace: int, subjects: Sequence[bytes]) -> list[bytes]:
        keys = _cut(entropy(len(subjects) * KEY_BYTES), KEY_BYTES)
        self._keystore.add(workspace=workspace, subjects=subjects, keys=keys, nonces=_nonces(len(keys)))
        return keys

    def _keys(self, workspace: int, subjects: Iterable[bytes]) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = {}
        missing: list[bytes] = []
        with self._lock:
            generation = self._standing()
            for subject in subjects:
                key = self._cached.get(associated(workspace=workspace, subject=subject))
                if key is None:
                    missing.append(subject)
                else:
                    found[subject] = key
        if missing:
            loaded = self._keystore.find(workspace=workspace, subjects=missing)
            self._remember(workspace, loaded.items(), generation)
            found.update(loaded)
        return found

    def _standing(self) -> int:
        """Return the generation, and forget the keys at hand that are of another one or meet somebody who erases."""
        generation = self._keystore.generation
        if generation != self._generation or generation % 2:
            self._cached.clear()
            self._generation = generation
        return generation

    def _remember(self, workspace: int, keys: Iterable[tuple[bytes, bytes]], generation: int) -> None:
        """Keep keys at hand, unless something was erased since `generation` was read: it could be one of them."""
        with self._lock:
            if generation % 2 or self._standing() != generation:
                return
            self._cached.update((associated(workspace=workspace, subject=subject), key) for subject, key in keys)
            while len(self._cached) > _CACHED_KEYS_MAX:
                self._cached.popitem(last=False)


def _cut(material: bytes, size: int) -> list[bytes]:
    return [material[start : start + size] for start in range(0, len(material), size)]


def _nonces(count: int) -> list[bytes]:
    return _cut(entropy(count * NONCE_BYTES), NONCE_BYTES)
