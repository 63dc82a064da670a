"""The text of an API key: `ist_live_<id>_<secret>_<check>`, or `ist_test_…` in a sandbox.

The id is 26 characters of Crockford base 32, the secret 43 of base 62 (256 bits), the check six of base 62 over CRC-32
of all before it, so that a mistyped or cut key is told apart from a wrong one without asking the database.
"""

import secrets
import zlib
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Literal
from uuid import UUID

from isthmus.kernel.errors import Unauthenticated
from isthmus.kernel.ids import InvalidId, text_of, uuid_of

SECRET_BYTES = 32
KEY_PREFIX = "key"
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SECRET_LENGTH, _CHECK_LENGTH = 43, 6
_TEXT_MAX = 100
KeyKind = Literal["live", "test"]


class InvalidKey(Unauthenticated):
    """The key is mistyped, unknown, revoked or expired."""

    code, title = "invalid-key", "The API key does not open this"


@dataclass(frozen=True)
class KeyText:
    """A key as its owner holds it, split."""

    id: UUID
    text: str = field(repr=False)

    @property
    def digest(self) -> bytes:
        """SHA-256 of the whole text: enough for a secret of 256 random bits."""
        return sha256(self.text.encode()).digest()


def new_key_text(key_id: UUID, *, kind: KeyKind) -> KeyText:
    """Return a key with a fresh secret."""
    secret = _base62(int.from_bytes(secrets.token_bytes(SECRET_BYTES), "big"), _SECRET_LENGTH)
    head = f"ist_{kind}_{text_of(KEY_PREFIX, key_id).removeprefix(f'{KEY_PREFIX}_')}_{secret}"
    return KeyText(key_id, f"{head}_{_check(head)}")


def read_key_text(text: str) -> KeyText:
    """Return the parts of a key; raises InvalidKey when the form or the check is wrong."""
    parts = text.split("_") if len(text) <= _TEXT_MAX else []
    if len(parts) == 5 and parts[0] == "ist" and parts[1] in {"live", "test"}:  # noqa: PLR2004 - as in the form above.
        head = text.rpartition("_")[0]
        if text.isascii() and _check(head) == parts[4]:
            try:
                return KeyText(uuid_of(KEY_PREFIX, f"{KEY_PREFIX}_{parts[2]}"), text)
            except InvalidId:
                pass
    raise InvalidKey("The API key is not complete: its check does not fit.", fix="Copy the whole key again.")


def _check(head: str) -> str:
    return _base62(zlib.crc32(head.encode()), _CHECK_LENGTH)


def _base62(number: int, length: int) -> str:
    characters: list[str] = []
    for _ in range(length):
        number, rest = divmod(number, len(_ALPHABET))
        characters.append(_ALPHABET[rest])
    return "".join(reversed(characters))
