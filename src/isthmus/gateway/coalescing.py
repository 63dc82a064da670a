"""Questions that many ask at the same moment are worked out once.

A route says so with `shared`: its answer depends on the workspace, the path, the query, the caller's permissions and
the version of the interface, and on nothing else. Whoever asks while the same question is being worked out waits for
the next time that it is, together with all others who came meanwhile. So nobody is told what was true before they
asked, and however many ask, one asks the database at a time.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Coalescing(Generic[T]):
    """The questions of one worker that are being worked out."""

    def __init__(self) -> None:
        """Nothing is asked at first."""
        self._running: dict[Hashable, asyncio.Task[T]] = {}
        self._coming: dict[Hashable, asyncio.Task[T]] = {}

    async def ask(self, question: Hashable, work: Callable[[], Awaitable[T]]) -> T:
        """Return an answer that was begun after this call; raises what the work raises.

        Whoever is cancelled stops waiting, and the work goes on for the others.
        """
        turn = self._coming.get(question)
        if turn is None:
            turn = self._coming[question] = asyncio.create_task(self._turn(question, work))
            turn.add_done_callback(_heard)
        return await asyncio.shield(turn)

    async def _turn(self, question: Hashable, work: Callable[[], Awaitable[T]]) -> T:
        """Wait until nobody works on the question, then take it up; from then on nobody joins."""
        own = self._coming[question]
        try:
            while (before := self._running.get(question)) is not None:
                await asyncio.wait((before,))
            self._running[question] = own
        finally:
            del self._coming[question]
        try:
            return await work()
        finally:
            del self._running[question]


def _heard(turn: "asyncio.Task[T]") -> None:
    """Read the error of work whose callers all went away."""
    if not turn.cancelled():
        turn.exception()
