"""Where reading a feed stands: since when, and which page of what is as old as that.

Xero lists what changed since a second, a page at a time. Pages by number shift when a row changes while they are read,
so each page is asked for since the last row of the one before; only where a page holds no more than one second, the
next one is asked for by its number.
"""

from datetime import datetime, timedelta

import msgspec
from msgspec import Struct

from isthmus.sync.connector import ConnectorError

SECOND = timedelta(seconds=1)


class Cursor(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`since` is None at the very beginning. `page` tells pages apart; one that was interrupted is begun again.

    `going` tells that a run is under way, which then does not go back a while, and `again` how often it was taken up.
    """

    since: datetime | None = None
    page: int = 1
    going: bool = False
    again: int = 0

    @classmethod
    def parse(cls, text: str) -> "Cursor":
        """Read the text form; raises ConnectorError."""
        try:
            return msgspec.json.decode(text, type=cls)
        except msgspec.DecodeError as error:
            raise ConnectorError("The cursor is not one of Xero's.", fix="Read the feed from the start.") from error

    def text(self) -> str:
        """Return the text form."""
        return msgspec.json.encode(self).decode()

    def begun(self, *, overlap: timedelta) -> "Cursor":
        """Return it at the start of a run: a while back, or as it is when a run was interrupted."""
        since = self.since if self.going or self.since is None else self.since - overlap
        return Cursor(since=since, going=True, again=self.again + 1 if self.going else 0)

    def anew(self) -> "Cursor":
        """Return it at the first page of what is as old as that."""
        return Cursor(since=self.since, going=True, again=self.again)

    def moved(self, last: datetime) -> "Cursor":
        """Return it after a page whose last row changed then: within the same second the next page, else since then."""
        since = last.replace(microsecond=0) - SECOND
        if self.since is not None and since <= self.since:
            return Cursor(since=self.since, page=self.page + 1, going=True, again=self.again)
        return Cursor(since=since, going=True, again=self.again)
