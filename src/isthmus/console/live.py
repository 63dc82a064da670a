"""Live panels: drawn once for all viewers who see the same, sent to each when they differ from what it has."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TypeAlias

import msgspec

from isthmus.console import words
from isthmus.console.pages import render
from isthmus.gateway import Services
from isthmus.kernel.errors import Unavailable
from isthmus.store.database import Scope

TICK_S = 0.5
BEAT_TICKS = 10
LIFE_TICKS = 240
DIGEST_CHARACTERS = 10


@dataclass(frozen=True)
class Panel:
    """A part of the page as HTML, and the digest that tells whether it changed."""

    html: str
    digest: str


Drawing: TypeAlias = Callable[[Scope], Awaitable[Mapping[str, Panel]]]
"""Draws all panels of a page as they are at the moment of the scope."""


@dataclass(frozen=True)
class Sight:
    """What a page shows: viewers whose `key` is equal see the same panels, which `drawing` draws."""

    workspace: int
    key: Hashable
    drawing: Drawing = field(compare=False)


@dataclass(slots=True)
class _Scene:
    panels: Mapping[str, Panel] = field(default_factory=dict[str, Panel])
    drawn: asyncio.Event = field(default_factory=asyncio.Event)
    now: str = ""
    watchers: int = 0
    drawing: asyncio.Task[None] | None = None


def drawn(template: str, values: Mapping[str, object]) -> Panel:
    """Return a panel filled in."""
    html = render(template, values)
    return Panel(html, sha256(html.encode()).hexdigest()[:DIGEST_CHARACTERS])


def had(text: str) -> dict[str, str]:
    """Return the digests of panels by name that a page says it has, as `name.digest` joined by commas."""
    return dict(each.split(".", 1) for each in text.split(",") if "." in each)


class Board:
    """The live panels of one program. One look serves all viewers with the same permissions and choices."""

    def __init__(self, *, tick_s: float = TICK_S) -> None:
        """Look every `tick_s` seconds while somebody watches."""
        self._tick_s = tick_s
        self._scenes: dict[Sight, _Scene] = {}

    @property
    def watchers(self) -> int:
        """How many pages are open."""
        return sum(each.watchers for each in self._scenes.values())

    async def frames(self, services: Services, sight: Sight, *, have: Mapping[str, str]) -> AsyncGenerator[bytes]:
        """Yield server-sent events with the panels that differ from those the page has, named by their digests.

        Ends after two minutes at the usual pace, so that the next request proves again who is watching.
        """
        scene = self._scenes.setdefault(sight, _Scene())
        scene.watchers += 1
        try:
            if scene.drawing is None:
                scene.drawing = asyncio.create_task(self._draw(services, sight, scene))
            sent, quiet = dict(have), BEAT_TICKS
            yield b"retry: 1000\n\n"
            for _ in range(LIFE_TICKS):
                told = scene.drawn
                fresh = {name: each for name, each in scene.panels.items() if sent.get(name) != each.digest}
                if fresh or (quiet >= BEAT_TICKS and scene.now):
                    sent |= {name: each.digest for name, each in fresh.items()}
                    quiet = 0
                    yield _frame(scene.now, fresh)
                quiet += 1
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._tick_s * 2):
                        await told.wait()
                if scene.drawing.done():
                    scene.drawing.result()
                    return
        finally:
            scene.watchers -= 1
            if not scene.watchers and scene.drawing is not None:
                scene.drawing.cancel()
                self._scenes.pop(sight, None)

    async def _draw(self, services: Services, sight: Sight, scene: _Scene) -> None:
        while True:
            now = services.clock.now()
            scope = Scope(workspace=sight.workspace, actor="console", cause="live", now=now)
            try:
                panels = await sight.drawing(scope)
            except Unavailable:
                await asyncio.sleep(self._tick_s)
                continue
            scene.panels, scene.now = panels, words.clock(now)
            scene.drawn, told = asyncio.Event(), scene.drawn
            told.set()
            await asyncio.sleep(self._tick_s)


def _frame(now: str, panels: Mapping[str, Panel]) -> bytes:
    told = {"now": now, "panels": {name: [each.digest, each.html] for name, each in panels.items()}}
    return b"data: %s\n\n" % msgspec.json.encode(told)
