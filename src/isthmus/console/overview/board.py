"""The panels of the overview, and what keeps them live."""

from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from isthmus.console.live import Board, Panel, drawn
from isthmus.console.overview.loading import Shelf
from isthmus.console.overview.views import Overview
from isthmus.gateway import Services
from isthmus.store.database import Database

PANELS = ("headline", "running", "figures", "credit", "cases", "systems", "domains", "changes")


@dataclass(frozen=True)
class Shared:
    """What all viewers of a program's overview share: the live panels, and answers that are kept for a while."""

    board: Board = field(default_factory=Board)
    shelf: Shelf = field(default_factory=Shelf)


_SHARED: WeakKeyDictionary[Database, Shared] = WeakKeyDictionary()


def draw(overview: Overview, *, origin: str) -> dict[str, Panel]:
    """Return all panels of the page; `origin` is the address that examples for the API name."""
    return {name: drawn(f"panels/{name}.html", {"it": overview, "origin": origin}) for name in PANELS}


def shared(services: Services) -> Shared:
    """Return what is shared in a program: there is one for each database that is open in it."""
    return _SHARED.setdefault(services.database, Shared())
