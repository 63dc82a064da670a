"""Where reading a feed stands: how far down its list.

BottleCRM has no search by time of change, so each run reads the whole list. A list is cut by offset: while it is read,
what is made moves rows down and what goes moves rows up, over the edge of a page. So a place is the offset and the last
row, by which the next page tells whether it follows.
"""

from base64 import b64decode, b64encode
from collections.abc import Iterable
from uuid import UUID

import msgspec
from msgspec import Struct

from isthmus.connectors.bottlecrm.wire import CASES, CONTACTS, Row, moment
from isthmus.sync.connector import ConnectorError, NotAsDocumented

_BYTES = 16


class Place(Struct, frozen=True, kw_only=True):
    """The last row that was read: its id, and where lists go by time when it was made."""

    id: str
    at: str = ""


class Cursor(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`part` is which of a feed's lists is read, and `offset` how many of its rows were.

    `known` are the leads that were listed by the last reading that came to its end, and `day` is the last on which a
    ticket that we know of was merged; nothing before the first.
    """

    part: int = 0
    offset: int = 0
    last: Place | None = None
    known: str = ""
    day: str = ""

    @classmethod
    def parse(cls, text: str) -> "Cursor":
        """Read the text form; raises ConnectorError."""
        try:
            return msgspec.json.decode(text, type=cls)
        except msgspec.DecodeError as error:
            raise ConnectorError(
                "The cursor is not one of BottleCRM's.", fix="Read the feed from the start."
            ) from error

    def text(self) -> str:
        """Return the text form."""
        return msgspec.json.encode(self).decode()

    def moved(self, *, offset: int, last: Place | None) -> "Cursor":
        """Return it further down the same list."""
        return msgspec.structs.replace(self, offset=offset, last=last)

    def turned(self) -> "Cursor":
        """Return it at the head of the next list."""
        return msgspec.structs.replace(self, part=self.part + 1, offset=0, last=None)


def identity(row: Row) -> str:
    """Return the id of a row; raises NotAsDocumented."""
    found = row.get("id")
    if not isinstance(found, str) or not found:
        raise NotAsDocumented("A row has no id.", fix="Report it to the author of the connector.")
    return found


def place(feed: str, row: Row) -> Place:
    """Return the place of a row; raises NotAsDocumented when it has no id, or no time where one is needed."""
    if feed not in (CONTACTS, CASES):
        return Place(id=identity(row))
    if moment(row.get("created_at")) is None:
        raise NotAsDocumented("A row has no time of creation.", fix="Report it to the author of the connector.")
    return Place(id=identity(row), at=str(row["created_at"]))


def behind(feed: str, row: Row, last: Place) -> bool:
    """Tell whether a row is the last one that was read, or comes before it in the order of its list."""
    here = place(feed, row)
    if here.id == last.id:
        return True
    at, then = moment(here.at), moment(last.at)
    if feed == CONTACTS and at is not None and then is not None:
        return at > then
    if feed == CASES and at is not None and then is not None:
        return (at, last.id) < (then, here.id)
    return here.id > last.id


def packed(ids: Iterable[str]) -> str:
    """Return ids in short."""
    return b64encode(b"".join(sorted(UUID(each).bytes for each in ids))).decode()


def unpacked(text: str) -> list[str]:
    """Return ids that were packed; raises ConnectorError."""
    try:
        found = b64decode(text, validate=True)
        return [str(UUID(bytes=found[start : start + _BYTES])) for start in range(0, len(found), _BYTES)]
    except ValueError as error:
        raise ConnectorError("The cursor is not one of BottleCRM's.", fix="Read the feed from the start.") from error
