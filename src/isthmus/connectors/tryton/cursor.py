"""Where reading a feed stands: the last time of change and number that were read, of the records and of their parts.

Many records can have one time of change, and a page can end between them; so a place is a time and a number. A
transaction that began early and ended late shows times before those already read; so each run begins a while back.
"""

from datetime import datetime, timedelta

import msgspec
from msgspec import Struct

from isthmus.connectors.tryton.wire import EPOCH, moment_form
from isthmus.kernel.marks import Json
from isthmus.sync.connector import ConnectorError


class Place(Struct, frozen=True, order=True):
    """After this time, or at this time with a higher number."""

    at: datetime = EPOCH
    number: int = 0

    def domain(self) -> Json:
        """Return the condition on what comes after it."""
        at = moment_form(self.at)
        later: Json = [["last_modified_at", ">", at]]
        same: Json = [["last_modified_at", "=", at], ["id", ">", self.number]]
        return ["OR", later, same]

    def back(self, by: timedelta) -> "Place":
        """Return the place a while before it."""
        return self if self.at == EPOCH else Place(self.at - by)


class Cursor(Struct, frozen=True, kw_only=True):
    """The places by model. `reached` holds, while a run is under way, where the one before had come to."""

    places: dict[str, Place]
    reached: dict[str, Place] | None = None

    @classmethod
    def parse(cls, text: str) -> "Cursor":
        """Read the text form; raises ConnectorError."""
        try:
            return msgspec.json.decode(text, type=cls)
        except msgspec.DecodeError as error:
            raise ConnectorError("The cursor is not one of Tryton's.", fix="Read the feed from the start.") from error

    def text(self) -> str:
        """Return the text form."""
        return msgspec.json.encode(self).decode()

    def begun(self, *, overlap: timedelta) -> "Cursor":
        """Return it at the start of a run: a while back, or as it is when a run was interrupted."""
        if self.reached is not None:
            return self
        return Cursor(places={model: place.back(overlap) for model, place in self.places.items()}, reached=self.places)

    def moved(self, model: str, place: Place) -> "Cursor":
        """Return it with one place moved on."""
        return Cursor(places={**self.places, model: place}, reached=self.reached)

    def ended(self) -> "Cursor":
        """Return it at the end of a run; it never stands before where it had been."""
        reached = self.reached or {}
        return Cursor(places={model: max(place, reached.get(model, place)) for model, place in self.places.items()})
