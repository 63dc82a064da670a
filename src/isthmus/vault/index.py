"""Blind indexes: a keyed digest of a handle's normal form, by which sealed values are looked up without opening any.

Only values of high entropy get one (e-mail, phone); of a title or a country the frequencies alone would tell.
"""

import hmac
import re
import unicodedata

from isthmus.kernel.marks import Normal

INDEX_BYTES = 16
_NOT_DIGITS = re.compile(r"[^0-9]")


def normal_form(value: str, normal: Normal) -> str:
    """Return the comparable form of a handle; empty when nothing comparable is left.

    E-mail and domain: NFKC, case folded, trimmed; a domain loses scheme, `www.` and path. Phone: digits with a leading
    plus where an international prefix was given (`+` or `00`). Exact: trimmed.
    """
    text = unicodedata.normalize("NFKC", value).strip()
    match normal:
        case Normal.EMAIL:
            return text.casefold()
        case Normal.DOMAIN:
            host = text.casefold().split("://")[-1].split("/")[0].split("@")[-1].rstrip(".")
            return host.removeprefix("www.")
        case Normal.PHONE:
            digits = _NOT_DIGITS.sub("", text)
            if text.startswith("+"):
                return f"+{digits}" if digits else ""
            return f"+{digits[2:]}" if digits.startswith("00") else digits
        case Normal.EXACT:
            return text


def blind_index(value: str, *, key: bytes, normal: Normal) -> bytes | None:
    """Return 16 bytes of HMAC-SHA-256 over the normal form, or None when nothing identifies."""
    form = normal_form(value, normal)
    return hmac.digest(key, form.encode(), "sha256")[:INDEX_BYTES] if form else None
