"""Where reading a feed stands: the second and the id that were read last.

Salesforce stamps in whole seconds, and a transaction gives all its records one stamp: more than a page holds. So a
place is a second and an id. A transaction that ended late shows times before those already read; so each run begins
a while back, and always reads the last second again.
"""

from datetime import datetime, timedelta

import msgspec
from msgspec import Struct

from isthmus.connectors.salesforce.strict import REPORT, record_id
from isthmus.connectors.salesforce.wire import EPOCH, STAMP, Row, literal, moment, quoted
from isthmus.sync.connector import ConnectorError, NotAsDocumented


class Place(Struct, frozen=True, order=True):
    """After this second, or within it with a higher id; without an id the second itself is read too."""

    at: datetime = EPOCH
    id: str = ""

    def condition(self) -> str:
        """Return the condition for rows that come after it; empty for all of them."""
        if self.at <= EPOCH:
            return ""
        at = literal(self.at)
        if not self.id:
            return f"{STAMP} >= {at}"
        return f"({STAMP} > {at} OR ({STAMP} = {at} AND Id > {quoted(self.id)}))"


def place(row: Row) -> Place:
    """Return the place of a row; raises NotAsDocumented when it has no time of change."""
    at = moment(row.get(STAMP))
    if at is None:
        raise NotAsDocumented("A row has no time of change.", fix=REPORT)
    return Place(at.replace(microsecond=0), record_id(row))


class Cursor(Struct, frozen=True, kw_only=True):
    """While a run is under way, `reached` is where the one before had come to."""

    place: Place = Place()
    reached: Place | None = None

    @classmethod
    def parse(cls, text: str) -> "Cursor":
        """Read the text form; raises ConnectorError."""
        try:
            return msgspec.json.decode(text, type=cls)
        except msgspec.DecodeError as error:
            raise ConnectorError(
                "The cursor is not one of Salesforce's.", fix="Read the feed from the start."
            ) from error

    def text(self) -> str:
        """Return the text form."""
        return msgspec.json.encode(self).decode()

    def begun(self, *, overlap: timedelta) -> "Cursor":
        """Return it at the start of a run: a while back, or as it is when a run was interrupted."""
        if self.reached is not None:
            return self
        at = self.place.at
        return Cursor(place=Place(at if at == EPOCH else at - overlap), reached=self.place)

    def moved(self, to: Place) -> "Cursor":
        """Return it with its place moved on."""
        return Cursor(place=to, reached=self.reached)

    def ended(self) -> "Cursor":
        """Return it at the end of a run; it never stands before where it had been."""
        return Cursor(place=max(self.place, self.reached or self.place))


class Scanned(Struct, frozen=True, kw_only=True):
    """Where a reading of everything stands: in which bulk job and at which of its pages, or at a place of a list."""

    job: str = ""
    locator: str = ""
    listing: Cursor | None = None

    @classmethod
    def parse(cls, text: str) -> "Scanned":
        """Read the text form; raises ConnectorError."""
        try:
            return msgspec.json.decode(text, type=cls)
        except msgspec.DecodeError as error:
            raise ConnectorError("The cursor is not one of Salesforce's.", fix="Scan from the start.") from error

    def text(self) -> str:
        """Return the text form."""
        return msgspec.json.encode(self).decode()
