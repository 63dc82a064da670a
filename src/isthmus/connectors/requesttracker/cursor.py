"""Where reading a feed stands: the second and the number that were read last, and how far the log of changes was read.

Many records change in one second, more than a page holds; so a place is a second and a number. A transaction that
began early and ended late shows times before those already read; so each run begins a while back, and always reads the
last second again, in which more may have happened after it was read.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import msgspec
from msgspec import Struct

from isthmus.connectors.requesttracker.wire import EPOCH, Row, moment
from isthmus.sync.connector import ConnectorError, NotAsDocumented

SECOND = timedelta(seconds=1)


class Place(Struct, frozen=True, order=True):
    """After this second, or within it with a higher number."""

    at: datetime = EPOCH
    number: int = 0


class Cursor(Struct, frozen=True, kw_only=True):
    """`log` is the number of the last transaction that was looked at.

    While a run is under way, `reached` is where the one before had come to, and `ends` counts the tickets that were
    told to have ended; a run that is taken up again tells them all once more.
    """

    place: Place = Place()
    log: int = 0
    reached: Place | None = None
    ends: int = 0

    @classmethod
    def parse(cls, text: str) -> "Cursor":
        """Read the text form; raises ConnectorError."""
        try:
            return msgspec.json.decode(text, type=cls)
        except msgspec.DecodeError as error:
            raise ConnectorError(
                "The cursor is not one of Request Tracker's.", fix="Read the feed from the start."
            ) from error

    def text(self) -> str:
        """Return the text form."""
        return msgspec.json.encode(self).decode()

    def begun(self, *, overlap: timedelta) -> "Cursor":
        """Return it at the start of a run: a while back, or as it is when a run was interrupted."""
        if self.reached is not None:
            return self
        at = self.place.at
        return Cursor(place=Place(at if at == EPOCH else at - overlap), log=self.log, reached=self.place)

    def moved(self, place: Place) -> "Cursor":
        """Return it with its place moved on."""
        return Cursor(place=place, log=self.log, reached=self.reached)

    def told(self, ends: int) -> "Cursor":
        """Return it after so many more tickets were told to have ended."""
        return Cursor(place=self.place, log=self.log, reached=self.reached, ends=self.ends + ends)

    def ended(self, *, log: int) -> "Cursor":
        """Return it at the end of a run; it never stands before where it had been."""
        return Cursor(place=max(self.place, self.reached or self.place), log=max(log, self.log))


def told_at(at: datetime) -> str:
    """Return a time as queries say it."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def number(row: Row) -> int:
    """Return the number of a row; raises NotAsDocumented."""
    found = row.get("id")
    if isinstance(found, int) or (isinstance(found, str) and found.isdecimal()):
        return int(found)
    raise NotAsDocumented("A row has no number.", fix="Report it to the author of the connector.")


def place(row: Row) -> Place:
    """Return the place of a row; raises NotAsDocumented when it has no time of change."""
    at = moment(row.get("LastUpdated"))
    if at is None:
        raise NotAsDocumented("A row has no time of change.", fix="Report it to the author of the connector.")
    return Place(at, number(row))


def numbered(numbers: Iterable[int], *, name: str = "id") -> str:
    """Return the query for these numbers."""
    return " OR ".join(f"{name} = {each}" for each in numbers)


def after(where: Place) -> str:
    """Return the query for tickets that come after a place; a plain `=` would mean the whole day."""
    if not where.number:
        return f"LastUpdated > '{told_at(where.at - SECOND)}'" if where.at > EPOCH else "id > 0"
    later = f"LastUpdated > '{told_at(where.at)}'"
    same = f"LastUpdated > '{told_at(where.at - SECOND)}' AND LastUpdated < '{told_at(where.at + SECOND)}'"
    return f"{later} OR ( {same} AND id > {where.number} )"
