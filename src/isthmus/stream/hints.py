"""Hints: whoever commits events tells the relay, through Valkey, that there is something to stamp.

A hint never delays or fails what was committed. One that is lost costs at most the relay's own look at the log.
"""

import asyncio
from contextlib import suppress

from isthmus.stream.broker import GROWN
from isthmus.stream.lane import Lane, LaneAway, LaneRefused


class Hints:
    """Tells of workspaces whose logs have grown; what grows while a hint is on its way goes with the next."""

    def __init__(self, lane: Lane) -> None:
        """`lane` is opened with the first hint."""
        self._lane = lane
        self._grown: set[int] = set()
        self._telling: asyncio.Task[None] | None = None
        self._opened = False

    def tell(self, workspace: int) -> None:
        """Tell of a workspace soon, without waiting for it."""
        self._grown.add(workspace)
        if self._telling is None or self._telling.done():
            self._telling = asyncio.create_task(self._tell())

    async def close(self) -> None:
        """Tell what is still to tell, and close the lane."""
        if self._telling is not None:
            await self._telling
        if self._opened:
            await self._lane.close()

    async def _tell(self) -> None:
        if not self._opened:
            self._opened = True
            await self._lane.open()
        with suppress(LaneAway, LaneRefused):
            while self._grown:
                await self._lane.ask("PUBLISH", GROWN, self._grown.pop())
        self._grown.clear()
