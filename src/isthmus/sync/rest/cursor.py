"""Where reading a feed stands: the stamp and the id that were read last, and the page of the run under way."""

from datetime import UTC, datetime, timedelta

import msgspec
from msgspec import Struct

from isthmus.sync.connector import ConnectorError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Cursor(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`since` is what the vendor is asked from, `at` the newest stamp that was read, `page` the place of the next page.

    Where rows are passed over by their number, `skip` is that number and `last` the id of the row before. While a run
    is under way, `reached` is where the one before had come to.
    """

    since: datetime = EPOCH
    at: datetime = EPOCH
    page: str = ""
    skip: int = 0
    last: str = ""
    reached: datetime | None = None

    @classmethod
    def parse(cls, text: str) -> "Cursor":
        """Read the text form; raises ConnectorError."""
        try:
            return msgspec.json.decode(text, type=cls)
        except msgspec.DecodeError as error:
            raise ConnectorError(
                "The cursor is not one of this system's.", fix="Read the feed from the start."
            ) from error

    def text(self) -> str:
        """Return the text form."""
        return msgspec.json.encode(self).decode()

    def begun(self, *, overlap: timedelta) -> "Cursor":
        """Return it at the start of a run: a while back, or as it is when a run was interrupted."""
        if self.reached is not None:
            return self
        since = EPOCH if self.at == EPOCH else self.at - overlap
        return Cursor(since=since, at=since, page=self.page, reached=self.at)

    def ended(self, *, page: str = "") -> "Cursor":
        """Return it at the end of a run; it never stands before where it had been."""
        return Cursor(at=max(self.at, self.reached or EPOCH), page=page)
