"""Record ids: UUIDv7 (RFC 9562) in the store, `lead_01J…` outside (prefix, then 26 characters of Crockford base 32).

Both forms sort by the time they were made.
"""

from struct import Struct
from uuid import UUID

from isthmus.kernel.errors import Invalid

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_VALUES = {character: value for value, character in enumerate(_ALPHABET)}
PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]
_LENGTH = 26
ENTROPY_BYTES = 10
_TAIL, _RAW = Struct(">xxQ"), Struct(">QQ")


class InvalidId(Invalid):
    """The id is not one of ours, or of another kind of record."""

    code = "invalid-id"


def mint(*, unix_ms: int, entropy: bytes) -> UUID:
    """Return a UUIDv7 from Unix milliseconds and ten random bytes."""
    tail = int.from_bytes(entropy[:ENTROPY_BYTES], "big")
    head = (unix_ms << 16 | 0x7000 | tail >> 68) << 64
    return UUID(int=head | 0x8000000000000000 | tail & 0x3FFFFFFFFFFFFFFF)


def mint_many(*, unix_ms: int, count: int, entropy: bytes) -> list[UUID]:
    """Return `count` ids in growing order; `entropy` holds ten bytes for each.

    Within one millisecond the 12 bits after the version count upwards, so that a batch keeps its order.
    """
    return [UUID(bytes=each) for each in mint_raw(unix_ms=unix_ms, count=count, entropy=entropy)]


def mint_raw(*, unix_ms: int, count: int, entropy: bytes) -> list[bytes]:
    """Return the ids of `mint_many` as 16 bytes each, for where making UUIDs would cost more than all the rest."""
    tails = _TAIL.iter_unpack(entropy[: count * ENTROPY_BYTES])
    return [
        _RAW.pack((unix_ms + (index >> 12)) << 16 | 0x7000 | index & 0xFFF, 1 << 63 | tail & 0x3FFFFFFFFFFFFFFF)
        for index, (tail,) in enumerate(tails)
    ]


def ids_ms(count: int) -> int:
    """Return how many milliseconds `count` ids of one batch span, so that the next batch begins after them."""
    return (count >> 12) + 1


def text_of(prefix: str, uuid: UUID) -> str:
    """Return the outside form of an id."""
    n, pair = uuid.int, PAIRS
    # Written out, because every record and event that leaves passes here, and a loop takes almost twice as long.
    return (
        f"{prefix}_{pair[n >> 120 & 1023]}{pair[n >> 110 & 1023]}{pair[n >> 100 & 1023]}{pair[n >> 90 & 1023]}"
        f"{pair[n >> 80 & 1023]}{pair[n >> 70 & 1023]}{pair[n >> 60 & 1023]}{pair[n >> 50 & 1023]}"
        f"{pair[n >> 40 & 1023]}{pair[n >> 30 & 1023]}{pair[n >> 20 & 1023]}{pair[n >> 10 & 1023]}{pair[n & 1023]}"
    )


def uuid_of(prefix: str, text: str) -> UUID:
    """Return the stored form of an id of one kind; raises InvalidId."""
    head, _, tail = text.rpartition("_")
    if head != prefix or len(tail) != _LENGTH or tail[0] > "7":
        raise InvalidId(f"{text!r} is not an id of the form {prefix}_….", fix=f"Use an id that starts with {prefix}_.")
    number = 0
    for character in tail.upper():
        value = _VALUES.get(character)
        if value is None:
            raise InvalidId(f"{text!r} has the character {character!r}.", fix="Copy the id again, without changes.")
        number = number << 5 | value
    return UUID(int=number)
