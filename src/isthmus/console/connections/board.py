"""The panels of the pages of connections that are kept live."""

from weakref import WeakKeyDictionary

from isthmus.console.connections.views import Listing, Present
from isthmus.console.live import Board, Panel, drawn
from isthmus.gateway import Services
from isthmus.store.database import Database

LISTED, ONE = ("headline", "systems"), ("state", "running", "streams")
TICK_S = 1.0

_BOARDS: WeakKeyDictionary[Database, Board] = WeakKeyDictionary()


def draw_listing(listing: Listing) -> dict[str, Panel]:
    """Return the live panels of the list."""
    return {name: drawn(f"connections/{name}.html", {"it": listing}) for name in LISTED}


def draw_present(present: Present) -> dict[str, Panel]:
    """Return the live panels of the page of one connection."""
    return {name: drawn(f"connections/{name}.html", {"it": present}) for name in ONE}


def board_of(services: Services) -> Board:
    """Return the live panels of a program: there is one board for each database that is open in it."""
    return _BOARDS.setdefault(services.database, Board(tick_s=TICK_S))
