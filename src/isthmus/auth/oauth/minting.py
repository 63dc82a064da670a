"""Secrets of the authorisation server: minted from letters, digits, `-` and `_` only, stored as digests.

A secret with `+` or `%` reads differently for programs that escape credentials and for those that do not.
"""

import secrets
from base64 import urlsafe_b64encode
from hashlib import sha256

SECRET_BYTES = 32
USER_CODE_LETTERS = "BCDFGHJKLMNPQRSTVWXZ"
USER_CODE_LENGTH = 8
_HALF = USER_CODE_LENGTH // 2


def new_secret(prefix: str) -> str:
    """Return a secret of 256 random bits behind a prefix by which scanners know it, such as `isrt_`."""
    return f"{prefix}_{secrets.token_urlsafe(SECRET_BYTES)}"


def digest(purpose: str, text: str) -> bytes:
    """Return SHA-256 of a secret, bound to what it is for."""
    return sha256(f"oauth {purpose}:{text}".encode()).digest()


def new_user_code() -> str:
    """Return a code for people to type: eight letters without vowels (34.5 bits), as `BCDF-GHJK`."""
    letters = "".join(secrets.choice(USER_CODE_LETTERS) for _ in range(USER_CODE_LENGTH))
    return f"{letters[:_HALF]}-{letters[_HALF:]}"


def typed_user_code(text: str) -> str:
    """Return a code in its one form, however it was typed."""
    letters = "".join(each for each in text.upper() if each in USER_CODE_LETTERS)
    return f"{letters[:_HALF]}-{letters[_HALF:]}"


def base64url(content: bytes) -> str:
    """Return base64url without padding (RFC 7515 §2)."""
    return urlsafe_b64encode(content).rstrip(b"=").decode()
