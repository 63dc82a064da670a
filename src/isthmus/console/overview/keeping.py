"""Answers that are kept for a while, so that a page is quick however long its questions take."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from isthmus.kernel.errors import Unavailable
from isthmus.store.database import Scope

PATIENCE_S = 0.7
T = TypeVar("T")


class Kept(Generic[T]):
    """The last answer of each workspace to one question.

    When it is too old one asks anew and the others wait with it, for a moment only: then they get the answer before,
    and who comes next gets the new one.
    """

    def __init__(self, *, life: timedelta, patience_s: float = PATIENCE_S) -> None:
        """Ask anew when an answer is older than `life`; wait for it `patience_s` at most."""
        self._life, self._patience_s = life, patience_s
        self._answers: dict[int, tuple[datetime, T]] = {}
        self._asking: dict[int, asyncio.Task[None]] = {}

    async def get(self, scope: Scope, ask: Callable[[], Awaitable[T]]) -> tuple[datetime, T] | None:
        """Return the answer of the scope's workspace and when it was asked for; None when the first is on its way."""
        kept = self._answers.get(scope.workspace)
        if kept is not None and scope.now - kept[0] < self._life:
            return kept
        asking = self._asking.get(scope.workspace)
        if asking is None:
            asking = self._asking[scope.workspace] = asyncio.create_task(self._ask(scope, ask))
        await asyncio.wait([asking], timeout=self._patience_s)
        if asking.done():
            asking.result()
        return self._answers.get(scope.workspace)

    async def _ask(self, scope: Scope, ask: Callable[[], Awaitable[T]]) -> None:
        try:
            self._answers[scope.workspace] = (scope.now, await ask())
        except Unavailable:
            # Too slow, or away: the answer before stays until a later question is answered.
            return
        finally:
            del self._asking[scope.workspace]
