"""As much of the protocol buffers' wire format (proto3) as it takes to write messages."""

import struct
from collections.abc import Iterable

_VARINT, _FIXED64, _LENGTH = 0, 1, 2
_SEVEN = 0x7F


def varint(value: int) -> bytes:
    """Return an unsigned number, seven bits to a byte."""
    out = bytearray()
    while value > _SEVEN:
        out.append(value & _SEVEN | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def zigzag(value: int) -> int:
    """Return a signed number as `sint32` writes it."""
    return value << 1 if value >= 0 else (-value << 1) - 1


def _key(number: int, kind: int) -> bytes:
    return varint(number << 3 | kind)


def number(field: int, value: int) -> bytes:
    """Return a field of an unsigned number or an enumeration."""
    return _key(field, _VARINT) + varint(value)


def fixed(field: int, value: int) -> bytes:
    """Return a field `fixed64`."""
    return _key(field, _FIXED64) + struct.pack("<Q", value)


def signed_fixed(field: int, value: int) -> bytes:
    """Return a field `sfixed64`."""
    return _key(field, _FIXED64) + struct.pack("<q", value)


def double(field: int, value: float) -> bytes:
    """Return a field `double`."""
    return _key(field, _FIXED64) + struct.pack("<d", value)


def message(field: int, content: bytes) -> bytes:
    """Return a field that holds a message, text in UTF-8, or packed numbers."""
    return _key(field, _LENGTH) + varint(len(content)) + content


def text(field: int, value: str) -> bytes:
    """Return a field of text."""
    return message(field, value.encode())


def packed(field: int, values: Iterable[int]) -> bytes:
    """Return a packed field of unsigned numbers."""
    return message(field, b"".join(varint(each) for each in values))
