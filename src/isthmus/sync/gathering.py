"""Work that many callers bring at the same moment, done together, so that one transaction serves all of them.

Who comes while nothing is being done is served at once and alone; who comes meanwhile waits for the next turn, together
with all others who came. Each caller gets a result of their own. When a turn fails, everybody in it is served alone, so
that nobody fails by what another one brought.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar, cast

from isthmus.kernel.errors import Unavailable

TOGETHER_MAX = 100
I = TypeVar("I")  # noqa: E741 - what callers bring.
O = TypeVar("O")  # noqa: E741 - what they get.
_Work = Callable[[Sequence[object]], Awaitable[Sequence[object]]]


@dataclass
class _Line:
    """Those who wait for one kind of work, and the task that serves them."""

    waiting: list[tuple[object, "asyncio.Future[object]"]] = field(
        default_factory=list[tuple[object, "asyncio.Future[object]"]]
    )
    serving: "asyncio.Task[None] | None" = None


class Gathering:
    """The work of one program."""

    def __init__(self, *, together_max: int = TOGETHER_MAX) -> None:
        """At most `together_max` callers share a turn."""
        self._together_max = together_max
        self._lines: dict[Hashable, _Line] = {}

    async def ask(self, kind: Hashable, item: I, work: Callable[[Sequence[I]], Awaitable[Sequence[O]]]) -> O:
        """Return what work makes of an item; raises what the work raises when it is done for this item alone.

        Callers of one `kind` give work that does the same, and that returns as many results as it is given items, in
        their order. Whoever is cancelled before their turn is passed over.
        """
        line = self._lines.setdefault(kind, _Line())
        mine: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        line.waiting.append((item, mine))
        if line.serving is None:
            line.serving = asyncio.create_task(self._serve(kind, line, cast("_Work", work)))
        return cast("O", await mine)

    async def _serve(self, kind: Hashable, line: _Line, work: _Work) -> None:
        try:
            while line.waiting:
                turn = [each for each in line.waiting[: self._together_max] if not each[1].done()]
                del line.waiting[: self._together_max]
                if turn:
                    await _together(turn, work)
        finally:
            del self._lines[kind]
            for _, future in line.waiting:
                future.cancel()


async def _together(turn: Sequence[tuple[object, "asyncio.Future[object]"]], work: _Work) -> None:
    try:
        results = await work([item for item, _ in turn])
    except asyncio.CancelledError:
        for _, future in turn:
            future.cancel()
        raise
    except Exception as error:  # noqa: BLE001 - it is told to whoever asked for what failed.
        if len(turn) == 1 or isinstance(error, Unavailable):
            for _, future in turn:
                _fail(future, error)
            return
        for each in turn:
            await _together([each], work)
    else:
        for (_, future), result in zip(turn, results, strict=True):
            if not future.done():
                future.set_result(result)


def _fail(future: "asyncio.Future[object]", error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
