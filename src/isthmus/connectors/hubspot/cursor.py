"""Where reading a feed stands: the millisecond that was read last, and within it the number.

A search sorts by one property only, and many records change in one millisecond; so where a whole page has one
millisecond, that one is read by number until its end. HubSpot finds what changed a while after it did: so each run
begins a while back.
"""

from datetime import datetime

import msgspec
from msgspec import Struct

from isthmus.connectors.hubspot.wire import Row, moment, properties
from isthmus.sync.connector import ConnectorError, NotAsDocumented


class Cursor(Struct, frozen=True, kw_only=True):
    """`ms` and `number` are where searches stand: all before that millisecond is read, and in it up to that number.

    `listing` is where a first reading of everything stands, by HubSpot's own word. While a run is under way, `reached`
    is where the one before had come to, and `told` counts the pages, so that no two have one cursor. `gone_ms` is up to
    when deletions were told.
    """

    ms: int = 0
    number: int | None = None
    listing: str | None = None
    reached: int | None = None
    gone_ms: int = 0
    told: int = 0

    @classmethod
    def parse(cls, text: str) -> "Cursor":
        """Read the text form; raises ConnectorError."""
        try:
            return msgspec.json.decode(text, type=cls)
        except msgspec.DecodeError as error:
            raise ConnectorError("The cursor is not one of HubSpot's.", fix="Read the feed from the start.") from error

    def text(self) -> str:
        """Return the text form."""
        return msgspec.json.encode(self).decode()

    def begun(self, *, overlap_s: int) -> "Cursor":
        """Return it at the start of a run: a while back, or as it is when a run was interrupted."""
        if self.reached is not None or self.listing is not None:
            return self
        since = max(0, self.ms - overlap_s * 1000)
        return Cursor(ms=since, reached=self.ms, gone_ms=self.gone_ms)

    def moved(self, *, ms: int, number: int | None = None) -> "Cursor":
        """Return it with its place moved on."""
        return msgspec.structs.replace(self, ms=ms, number=number)

    def counted(self, told: int) -> "Cursor":
        """Return it after so many pages."""
        return msgspec.structs.replace(self, told=told)

    def ended(self, *, gone_ms: int) -> "Cursor":
        """Return it at the end of a run; it never stands before where it had been."""
        return Cursor(ms=max(self.ms, self.reached or 0), gone_ms=max(gone_ms, self.gone_ms))


def number(row: Row) -> str:
    """Return the id of a row; raises NotAsDocumented."""
    found = row.get("id")
    if isinstance(found, str) and found.isdecimal():
        return found
    raise NotAsDocumented("A record of HubSpot's has no id.", fix="Report it to the author of the connector.")


def changed_at(row: Row, *, by: str) -> datetime:
    """Return when a row changed last; raises NotAsDocumented. `by` is the property that searches go by."""
    at = moment(properties(row).get(by)) or moment(row.get("updatedAt"))
    if at is None:
        raise NotAsDocumented(
            "A record of HubSpot's has no time of change.", fix="Report it to the author of the connector."
        )
    return at
