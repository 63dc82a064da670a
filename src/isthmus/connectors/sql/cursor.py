"""Where reading a table stands: a stamp and a key, a key alone, or a place in the log.

Many rows can have one stamp and a page can end between them, so a place is a stamp and a key. A transaction that began
early and ended late shows stamps before those already read, so each run begins a while back.
"""

from datetime import timedelta
from typing import Literal

import msgspec
from msgspec import Struct

from isthmus.connectors.sql.values import earlier
from isthmus.sync.connector import ConnectorError

Phase = Literal["blank", "stamped", "keys", "log"]


class Place(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A place: `blank` among rows without a stamp, `stamped` after (at, key), `keys` after a key, `log` after `lsn`.

    `going` is within a run, which is gone on with exactly there. `begun` is the place in the log from which it is read
    when everything that stands in the table has been; `skip` counts changes after `lsn` that were told already.
    `mapped` is a digest of how the table was mapped: with another mapping it is read from the beginning.
    """

    phase: Phase
    at: str | None = None
    key: str | None = None
    going: bool = False
    begun: str | None = None
    lsn: str | None = None
    skip: int = 0
    mapped: str = ""

    @classmethod
    def parse(cls, text: str) -> "Place":
        """Return the place that a cursor tells; raises ConnectorError."""
        try:
            return msgspec.json.decode(text, type=Place)
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            raise ConnectorError("The cursor is not one of a table's.", fix="Read the feed from the start.") from error

    def text(self) -> str:
        """Return the cursor."""
        return msgspec.json.encode(self).decode()

    def opened(self, *, overlap: timedelta) -> "Place":
        """Return where a run begins: a while back, unless an earlier one was interrupted here."""
        if self.going or self.phase != "stamped" or self.at is None:
            return self
        return Place(phase="stamped", at=earlier(self.at, overlap=overlap))
