"""The messages of `envoy.service.rate_limit_quota.v3`, as far as they are used, in the wire format of Protocol Buffers.

Written from the published field numbers of rlqs.proto, ratelimit_strategy.proto and token_bucket.proto; fields that are
not used are passed over.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

SERVICE, METHOD = "envoy.service.rate_limit_quota.v3.RateLimitQuotaService", "StreamRateLimitQuotas"
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_ALLOW_ALL, _DENY_ALL = 0, 1
_VARINT_BYTES_MAX = 10
_NANOS = 1_000_000_000
BucketId = tuple[tuple[str, str], ...]
"""The names and values of a bucket, in the order of the names."""


class WireBroken(ValueError):
    """The bytes are no message."""


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What went through a bucket at one proxy since it told last, in `elapsed_s` seconds."""

    bucket: BucketId
    elapsed_s: float
    allowed: int
    denied: int


@dataclass(frozen=True, kw_only=True)
class Reports:
    """What a proxy tells; `domain` stands in the first message only."""

    domain: str
    usages: tuple[Usage, ...]


@dataclass(frozen=True, kw_only=True)
class Bucket:
    """A token bucket: `tokens` each `seconds`, at most `room` saved."""

    tokens: int
    seconds: int
    room: int


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """What a proxy shall do with a bucket for `ttl_s` seconds; without a token bucket all is allowed or all denied."""

    bucket: BucketId
    ttl_s: int
    token_bucket: Bucket | None = None
    allow_all: bool = False


def read_reports(content: bytes) -> Reports:
    """Return RateLimitQuotaUsageReports; raises WireBroken."""
    domain, usages = "", list[Usage]()
    for number, value in _fields(content):
        if number == 1 and isinstance(value, bytes):
            domain = _text(value)
        elif number == 2 and isinstance(value, bytes):  # noqa: PLR2004 - a field's number.
            usages.append(_usage(value))
    return Reports(domain=domain, usages=tuple(usages))


def write_response(assignments: Sequence[Assignment]) -> bytes:
    """Return RateLimitQuotaResponse."""
    return b"".join(_delimited(1, _action(each)) for each in assignments)


def _usage(content: bytes) -> Usage:
    numbers = {3: 0, 4: 0}
    bucket: BucketId = ()
    elapsed_s = 0.0
    for number, value in _fields(content):
        if isinstance(value, int):
            numbers[number] = value
        elif number == 1:
            bucket = _bucket(value)
        elif number == 2:  # noqa: PLR2004 - a field's number.
            elapsed_s = _duration(value)
    return Usage(bucket=bucket, elapsed_s=elapsed_s, allowed=numbers[3], denied=numbers[4])


def _bucket(content: bytes) -> BucketId:
    entries: dict[str, str] = {}
    for number, value in _fields(content):
        if number == 1 and isinstance(value, bytes):
            entry = {at: _text(part) for at, part in _fields(value) if isinstance(part, bytes)}
            entries[entry.get(1, "")] = entry.get(2, "")
    return tuple(sorted(entries.items()))


def _duration(content: bytes) -> float:
    parts = {number: value for number, value in _fields(content) if isinstance(value, int)}
    return parts.get(1, 0) + parts.get(2, 0) / _NANOS


def _action(assignment: Assignment) -> bytes:
    named = b"".join(
        _delimited(1, _delimited(1, name.encode()) + _delimited(2, value.encode())) for name, value in assignment.bucket
    )
    ttl = _delimited(2, _number(1, assignment.ttl_s))
    return _delimited(1, named) + _delimited(2, ttl + _delimited(3, _strategy(assignment)))


def _strategy(assignment: Assignment) -> bytes:
    given = assignment.token_bucket
    if given is None:
        # Written although it may be 0, because which one of a choice is set shows by its being there.
        return _key(1, _VARINT) + _varint(_ALLOW_ALL if assignment.allow_all else _DENY_ALL)
    filled = _delimited(2, _number(1, given.tokens)) + _delimited(3, _number(1, given.seconds))
    return _delimited(3, _number(1, given.room) + filled)


def _fields(content: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield numbers and values of a message; raises WireBroken."""
    at = 0
    while at < len(content):
        key, at = _read_varint(content, at)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, at = _read_varint(content, at)
            yield number, value
            continue
        if kind == _BYTES:
            size, at = _read_varint(content, at)
        else:
            size = {_FIXED64: 8, _FIXED32: 4}.get(kind, -1)
        if size < 0 or at + size > len(content):
            raise WireBroken("the message breaks off")
        if kind == _BYTES:
            yield number, content[at : at + size]
        at += size


def _read_varint(content: bytes, at: int) -> tuple[int, int]:
    value = 0
    for place, byte in enumerate(content[at : at + _VARINT_BYTES_MAX]):
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:  # noqa: PLR2004 - the bit that says that more follows.
            return value, at + place + 1
    raise WireBroken("a number breaks off")


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise WireBroken("a text is not UTF-8") from error


def _number(number: int, value: int) -> bytes:
    return _key(number, _VARINT) + _varint(value) if value else b""


def _delimited(number: int, content: bytes) -> bytes:
    return _key(number, _BYTES) + _varint(len(content)) + content


def _key(number: int, kind: int) -> bytes:
    return _varint(number << 3 | kind)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:  # noqa: PLR2004 - seven bits to a byte.
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def names_of(bucket: BucketId) -> Mapping[str, str]:
    """Return a bucket's names and values."""
    return dict(bucket)
