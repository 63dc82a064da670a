"""Where reading a feed stands: in the middle of a list, or at a time up to which Stripe's events are known.

Stripe's lists cannot be asked for what changed, its events can. So everything is listed once, and from then on events
say which objects to look at. Times are seconds of Stripe's own clock, which its answers carry.
"""

import msgspec
from msgspec import Struct

from isthmus.sync.connector import ConnectorError


class Cursor(Struct, frozen=True, kw_only=True):
    """Events from `since` on are still to be asked for, without those in `seen`.

    While a list is being read, `listing` holds and `after` is the last object of the last page.
    """

    since: int
    listing: bool = False
    after: str | None = None
    seen: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> "Cursor":
        """Read the text form; raises ConnectorError."""
        try:
            return msgspec.json.decode(text, type=cls)
        except msgspec.DecodeError as error:
            raise ConnectorError("The cursor is not one of Stripe's.", fix="Read the feed from the start.") from error

    def text(self) -> str:
        """Return the text form."""
        return msgspec.json.encode(self).decode()
