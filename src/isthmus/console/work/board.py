"""The panels of the page that are kept live."""

from weakref import WeakKeyDictionary

from isthmus.console.live import Board, Panel, drawn
from isthmus.console.work.views import Present
from isthmus.gateway import Services
from isthmus.store.database import Database

PANELS = ("headline", "running", "log")
TICK_S = 1.0

_BOARDS: WeakKeyDictionary[Database, Board] = WeakKeyDictionary()


def draw(present: Present) -> dict[str, Panel]:
    """Return the live panels."""
    return {name: drawn(f"work/{name}.html", {"it": present}) for name in PANELS}


def board_of(services: Services) -> Board:
    """Return the live panels of a program: there is one board for each database that is open in it."""
    return _BOARDS.setdefault(services.database, Board(tick_s=TICK_S))
