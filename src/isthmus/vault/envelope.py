"""The envelope of a sealed value: `version(1) ‖ nonce(12) ‖ ciphertext ‖ tag(16)`, AES-256-GCM (NIST SP 800-38D).

The associated data binds a value to its workspace and subject, so that a value moved elsewhere does not open.
Every subject has a key of its own, which keeps the number of random nonces under one key far below 2^32.
"""

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from isthmus.kernel.errors import IsthmusError

VERSION = b"\x01"
NONCE_BYTES = 12
_HEAD = len(VERSION) + NONCE_BYTES


class SealBroken(IsthmusError):
    """A sealed value does not open: it was altered, moved to another subject, or sealed in an unknown form."""

    code, title = "seal-broken", "A sealed value does not open"


def associated(*, workspace: int, subject: bytes) -> bytes:
    """Return what a sealed value is bound to; `subject` is the 16 bytes of its id."""
    return workspace.to_bytes(8, "big") + subject


def seal(plain: bytes, *, key: bytes, nonce: bytes, bound: bytes) -> bytes:
    """Return the envelope of `plain`; `nonce` is 12 random bytes that are never used twice."""
    return VERSION + nonce + AESGCM(key).encrypt(nonce, plain, bound)


def open_sealed(envelope: bytes, *, key: bytes, bound: bytes) -> bytes:
    """Return what was sealed; raises SealBroken."""
    if envelope[:1] != VERSION:
        raise SealBroken("The envelope has an unknown version.", fix="Run the version of isthmus that wrote it.")
    try:
        return AESGCM(key).decrypt(envelope[1:_HEAD], envelope[_HEAD:], bound)
    except InvalidTag as error:
        raise SealBroken("The value was altered or belongs to another subject.", fix="Restore the record.") from error
