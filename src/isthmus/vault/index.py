"""Blind indexes: a keyed digest of a handle's normal form, by which sealed values are looked up without opening any.

Only values of high entropy get one (e-mail, phone); of a title or a country the frequencies alone would tell.
"""

import unicodedata
from collections.abc import Iterable
from hashlib import blake2b

from isthmus.kernel.marks import Normal

INDEX_BYTES = 16
_NOT_DIGITS = bytes(code for code in range(256) if code not in b"0123456789")


def normal_form(value: str, normal: Normal) -> str:
    """Return the comparable form of a handle; empty when nothing comparable is left.

    E-mail and domain: NFKC, case folded, trimmed; a domain loses scheme, `www.` and path. Phone: digits with a leading
    plus where an international prefix was given (`+` or `00`). Exact: trimmed.
    """
    text = value.strip() if value.isascii() else unicodedata.normalize("NFKC", value).strip()
    match normal:
        case Normal.EMAIL:
            return text.casefold()
        case Normal.DOMAIN:
            host = text.casefold().split("://")[-1].split("/")[0].split("@")[-1].rstrip(".")
            return host.removeprefix("www.")
        case Normal.PHONE:
            digits = text.encode().translate(None, _NOT_DIGITS).decode()
            if text.startswith("+"):
                return f"+{digits}" if digits else ""
            return f"+{digits[2:]}" if digits.startswith("00") else digits
        case Normal.EXACT:
            return text


def blind_index(form: str, *, key: bytes) -> bytes | None:
    """Return 16 bytes of keyed BLAKE2b (RFC 7693) over a normal form, or None when nothing identifies."""
    return blake2b(form.encode(), key=key, digest_size=INDEX_BYTES).digest() if form else None


def blind_indexes(forms: Iterable[object], *, key: bytes) -> list[bytes | None]:
    """Return the blind index of each form that is a text, and None for all else."""
    texts = [form.encode() if isinstance(form, str) else b"" for form in forms]
    return [digest if text else None for text, digest in zip(texts, keyed_digests(texts, key=key), strict=True)]


def keyed_digests(contents: Iterable[bytes], *, key: bytes) -> list[bytes]:
    """Return 16 bytes of keyed BLAKE2b over each content; the key is taken in once for all."""
    keyed = blake2b(key=key, digest_size=INDEX_BYTES)
    digests: list[bytes] = []
    for content in contents:
        own = keyed.copy()
        own.update(content)
        digests.append(own.digest())
    return digests
