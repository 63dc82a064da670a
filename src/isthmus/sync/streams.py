"""What a person says of the streams of rows that a program tells: their type, key and fields. Pure."""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from hashlib import blake2b
from typing import Literal, TypeVar

import msgspec

from isthmus.kernel.errors import Fault, Invalid
from isthmus.kernel.layouts import Layout, faults_of, twice

DELETED = "_sdc_deleted_at"
"""The column in which taps by convention say when a row was deleted."""
WITHIN = "__"
"""What stands between the names of a map and of a part of it: `address__city` is the city of `address`."""
_SCALAR, _ANY = "text number truth null absent", "text number truth list map null absent"
_FIX = "Write it as the page of words shows: the streams, their type, key and fields, as TOML or JSON."
_DIGEST_BYTES = 6


class StreamsRefused(Invalid):
    """The streams that were described do not fit; nothing was connected."""

    code, title = "streams-refused", "The description of the streams does not fit"


class Stream(Layout, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """A stream of rows: its key, and what is to be made of it.

    `stream` is its name there, where it is another. `absent = "deleted"` says that a reading without a state tells
    everything there is, so that what is not told is gone.
    """

    key: str | tuple[str, ...]
    stream: str | None = None
    absent: Literal["kept", "deleted"] = "kept"

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """The columns of the key."""
        return (self.key,) if isinstance(self.key, str) else self.key

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The columns that are read, each once."""
        return tuple(dict.fromkeys((*self.keys, *self.mapped)))

    @cached_property
    def digest(self) -> str:
        """A digest of how the stream is read: with another one it is read from the beginning."""
        return blake2b(msgspec.json.encode(self), digest_size=_DIGEST_BYTES).hexdigest()

    def reads(self, column: str) -> bool:
        """Tell whether a column is read."""
        return column in self.columns or column == DELETED or (self.ignored is not None and column not in self.ignored)


S = TypeVar("S", bound=Stream)


def streams_of(text: str, kind: type[S], *, types: tuple[str, ...], setting: str) -> dict[str, S]:
    """Return the streams by name that a text in TOML or JSON describes; raises StreamsRefused with every fault."""
    try:
        told: object = msgspec.json.decode(text) if text.lstrip().startswith("{") else tomllib.loads(text)
        found = msgspec.convert(told, dict[str, kind])
    except (msgspec.DecodeError, msgspec.ValidationError, tomllib.TOMLDecodeError) as error:
        raise StreamsRefused(f"`{setting}` cannot be read: {error}.", fix=_FIX) from error
    faults: list[Fault] = []
    for name, stream in found.items():
        faults += faults_of(name, stream, pointer=f"/{setting}/{name}", types=types)
        if not stream.keys:
            detail = f"{name}: name one column at least that tells rows apart."
            faults.append(Fault(pointer=f"/{setting}/{name}/key", code="invalid", detail=detail))
    faults += twice(found, pointer=f"/{setting}", instead="stream; connect the other one by itself.")
    if faults:
        raise StreamsRefused(" ".join(each.detail for each in faults), fix=_FIX, faults=tuple(faults))
    return found


def expected(stream: Stream) -> Mapping[str, str]:
    """Return what a row holds: its key, and the columns that are mapped, where it names them."""
    found = dict.fromkeys((*stream.columns, DELETED), _SCALAR)
    for way in stream.ways.values():
        if way.form == "json":
            found[way.column] = _ANY
    return found | dict.fromkeys(stream.keys, "text number")


def columns_lacking(stream: Stream, there: Sequence[str]) -> Iterator[str]:
    """Yield the columns that are mapped and that a stream does not have, nor as a part of one that is a map."""
    for each in stream.columns:
        if there and each not in there and not any(each.startswith(f"{whole}{WITHIN}") for whole in there):
            yield each
