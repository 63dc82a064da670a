"""Live panels: drawn once for all viewers who see the same, sent to each when they differ from what it has."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from weakref import WeakKeyDictionary

import msgspec

from isthmus.console import words
from isthmus.console.overview.loading import Shelf, Viewer, load_overview
from isthmus.console.overview.views import Overview
from isthmus.console.pages import render
from isthmus.gateway import Services
from isthmus.kernel.errors import Unavailable
from isthmus.store.database import Database, Scope

PANELS = ("headline", "running", "figures", "credit", "cases", "systems", "domains", "changes")
TICK_S = 0.5
BEAT_TICKS = 10
LIFE_TICKS = 240
DIGEST_CHARACTERS = 10


@dataclass(frozen=True)
class Panel:
    """A part of the page as HTML, and the digest that tells whether it changed."""

    html: str
    digest: str


@dataclass(slots=True)
class _Scene:
    panels: dict[str, Panel] = field(default_factory=dict[str, Panel])
    drawn: asyncio.Event = field(default_factory=asyncio.Event)
    now: str = ""
    watchers: int = 0
    drawing: asyncio.Task[None] | None = None


def draw(overview: Overview, *, origin: str) -> dict[str, Panel]:
    """Return all panels of the page; `origin` is the address that examples for the API name."""
    drawn: dict[str, Panel] = {}
    for name in PANELS:
        html = render(f"panels/{name}.html", {"it": overview, "origin": origin})
        drawn[name] = Panel(html, sha256(html.encode()).hexdigest()[:DIGEST_CHARACTERS])
    return drawn


class Board:
    """The live overview of one program. One look serves all viewers with the same permissions and choices."""

    def __init__(self, *, tick_s: float = TICK_S) -> None:
        """Look every `tick_s` seconds while somebody watches."""
        self.shelf = Shelf()
        self._tick_s = tick_s
        self._scenes: dict[tuple[Viewer, str], _Scene] = {}

    @property
    def watchers(self) -> int:
        """How many pages are open."""
        return sum(each.watchers for each in self._scenes.values())

    async def frames(
        self, services: Services, viewer: Viewer, *, origin: str, have: Mapping[str, str]
    ) -> AsyncGenerator[bytes]:
        """Yield server-sent events with the panels that differ from those the page has, named by their digests.

        Ends after two minutes, so that the next request proves again who is watching.
        """
        scene = self._scenes.setdefault((viewer, origin), _Scene())
        scene.watchers += 1
        try:
            if scene.drawing is None:
                scene.drawing = asyncio.create_task(self._draw(services, viewer, origin, scene))
            sent, quiet = dict(have), BEAT_TICKS
            yield b"retry: 1000\n\n"
            for _ in range(LIFE_TICKS):
                drawn = scene.drawn
                fresh = {name: each for name, each in scene.panels.items() if sent.get(name) != each.digest}
                if fresh or (quiet >= BEAT_TICKS and scene.now):
                    sent |= {name: each.digest for name, each in fresh.items()}
                    quiet = 0
                    yield _frame(scene.now, fresh)
                quiet += 1
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._tick_s * 2):
                        await drawn.wait()
                if scene.drawing.done():
                    scene.drawing.result()
                    return
        finally:
            scene.watchers -= 1
            if not scene.watchers and scene.drawing is not None:
                scene.drawing.cancel()
                self._scenes.pop((viewer, origin), None)

    async def _draw(self, services: Services, viewer: Viewer, origin: str, scene: _Scene) -> None:
        while True:
            now = services.clock.now()
            scope = Scope(workspace=viewer.workspace, actor="console", cause="overview", now=now)
            try:
                overview = await load_overview(services, self.shelf, viewer, scope)
            except Unavailable:
                await asyncio.sleep(self._tick_s)
                continue
            scene.panels, scene.now = draw(overview, origin=origin), words.clock(now)
            scene.drawn, drawn = asyncio.Event(), scene.drawn
            drawn.set()
            await asyncio.sleep(self._tick_s)


_BOARDS: WeakKeyDictionary[Database, Board] = WeakKeyDictionary()


def board_of(services: Services) -> Board:
    """Return the board of a program: there is one for each database that is open in it."""
    return _BOARDS.setdefault(services.database, Board())


def _frame(now: str, panels: Mapping[str, Panel]) -> bytes:
    told = {"now": now, "panels": {name: [each.digest, each.html] for name, each in panels.items()}}
    return b"data: %s\n\n" % msgspec.json.encode(told)
