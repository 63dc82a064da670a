"""Where reading the files stands: what of each has been read, and how far it is within one."""

import msgspec
from msgspec import Struct

from isthmus.sync.connector import ConnectorError


class Seen(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A file that was read to its end: its stamp then, and what is needed to read on where it grows.

    `ends` is a digest of its beginning and its end; empty where it cannot be read on, such as one that is compressed.
    `head` is how many bytes the line with the names of columns has, `lines` how many lines there were. `bad` are lines
    that could not be read, the first of them.
    """

    stamp: str
    size: int = 0
    ends: str = ""
    head: int = 0
    lines: int = 0
    bad: tuple[int, ...] = ()


class Going(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file that is being read: its stamp, how many of its rows were taken, and lines that could not be read."""

    name: str
    stamp: str
    taken: int
    bad: tuple[int, ...] = ()


class Place(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A place: the files that were read by name, and the one that is being read.

    `mapped` is a digest of how the files are read: with another one they are read from the beginning.
    """

    files: dict[str, Seen] = {}
    going: Going | None = None
    mapped: str = ""

    @classmethod
    def parse(cls, text: str) -> "Place":
        """Return the place that a cursor tells; raises ConnectorError."""
        try:
            return msgspec.json.decode(text, type=Place)
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            raise ConnectorError("The cursor is not one of files.", fix="Read the feed from the start.") from error

    def text(self) -> str:
        """Return the cursor."""
        return msgspec.json.encode(self).decode()
