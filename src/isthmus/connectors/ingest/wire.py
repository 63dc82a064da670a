"""How bodies come over the wire: compressed, as JSON or as a form with base64 in it; and keys in headers. Pure.

What is unpacked is bounded, so that a small body cannot become a large one.
"""

import base64
import binascii
import zlib
from urllib.parse import parse_qs

import msgspec

from isthmus.kernel.errors import Malformed, TooLarge
from isthmus.kernel.marks import Json
from isthmus.sync.connector import Sent

_GZIP, _GZIP_OR_ZLIB = b"\x1f\x8b", 32 + zlib.MAX_WBITS
_PARAMETERS_MAX = 200


def unpacked(sent: Sent, *, bytes_max: int) -> bytes:
    """Return the body as it was before it was compressed; raises Malformed, and TooLarge over `bytes_max`."""
    coding = sent.headers.get("content-encoding", "").strip().lower()
    if coding not in {"", "identity", "gzip", "x-gzip", "deflate"}:
        raise Malformed(f"The body is compressed by {coding[:20]!r}.", fix="Compress it by gzip, or not at all.")
    if not sent.body.startswith(_GZIP) and coding in {"", "identity"}:
        return sent.body
    opened = zlib.decompressobj(_GZIP_OR_ZLIB)
    try:
        plain = opened.decompress(sent.body, bytes_max + 1)
    except zlib.error as error:
        raise Malformed("The body cannot be unpacked.", fix="Compress it by gzip, or not at all.") from error
    if len(plain) > bytes_max:
        raise TooLarge(f"The body is over {bytes_max:,} bytes once it is unpacked.", fix="Send less at once.")
    if not opened.eof:
        raise Malformed("The body breaks off before its end.", fix="Send it again.")
    return plain


def parsed(plain: bytes) -> Json:
    """Return JSON; raises Malformed."""
    try:
        return msgspec.json.decode(plain)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed("The body is no JSON.", fix="Send what the program library sends, unaltered.") from error


def lines(plain: bytes) -> Json:
    """Return JSON, or a list of what stands on each line; raises Malformed."""
    try:
        return parsed(plain)
    except Malformed:
        return [parsed(each) for each in plain.splitlines() if each.strip()]


def fields_of(form: bytes) -> dict[str, str]:
    """Return the fields of a form or a query, the last of each name; raises Malformed."""
    try:
        told = parse_qs(
            form.decode(), keep_blank_values=True, errors="strict", max_num_fields=_PARAMETERS_MAX, strict_parsing=False
        )
    except (UnicodeDecodeError, ValueError) as error:
        raise Malformed("The form cannot be read.", fix="Send it as browsers do, in UTF-8.") from error
    return {name: values[-1] for name, values in told.items()}


def in_form(text: str) -> Json:
    """Return JSON that stands in a field of a form, plain or in base64; raises Malformed."""
    if text.lstrip()[:1] in {"{", "["}:
        return parsed(text.encode())
    return parsed(from_base64(text))


def from_base64(text: str) -> bytes:
    """Return what is written in base64, also as it stands in URLs; raises Malformed."""
    tidy = text.replace(" ", "+").replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return base64.b64decode(tidy + "=" * (-len(tidy) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Malformed("It is no base64.", fix="Send what the program library sends, unaltered.") from error


def basic(sent: Sent) -> tuple[str, ...]:
    """Return name and password of the header Authorization, where it is Basic; either may be a key."""
    scheme, _, text = sent.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return ()
    try:
        name, _, password = from_base64(text).decode().partition(":")
    except (Malformed, UnicodeDecodeError):
        return ()
    return tuple(each for each in (name, password) if each)
