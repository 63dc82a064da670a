"""Where reading stands: for persons the last id, for events the last one by its time and id.

Devices send events late: so each run begins a while before the last event of the run before.
"""

from datetime import datetime, timedelta

import msgspec
from msgspec import Struct

from isthmus.sync.connector import ConnectorError


class Cursor(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`at` is the time of the last event, and `last` the id of the last row, when a reading is under way (`going`)."""

    at: datetime | None = None
    last: str = ""
    going: bool = False

    def begun(self, *, overlap: timedelta) -> "Cursor":
        """Return where a run begins that goes on from here."""
        if self.going or self.at is None:
            return self
        return Cursor(at=self.at - overlap)

    def text(self) -> str:
        """Return the text form."""
        return msgspec.json.encode(self).decode()


def parsed(text: str | None) -> Cursor:
    """Read the text form; raises ConnectorError."""
    try:
        return Cursor() if text is None else msgspec.json.decode(text, type=Cursor)
    except msgspec.DecodeError as error:
        raise ConnectorError("The cursor is not one of PostHog's.", fix="Read the feed from the start.") from error
