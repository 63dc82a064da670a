"""Questions of one kind that come at the same moment, asked of the database together."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
TOGETHER_MAX = 500


class Lookups(Generic[K, V]):
    """Looks things up by key: what is asked while a question is under way goes into the next one."""

    def __init__(self, read: Callable[[Sequence[K]], Awaitable[Mapping[K, V]]]) -> None:
        """`read` returns what there is of the keys."""
        self._read = read
        self._waiting: dict[K, asyncio.Future[V | None]] = {}
        self._reading: asyncio.Task[None] | None = None

    async def get(self, key: K) -> V | None:
        """Return what was there after this call, or None; raises what `read` raises."""
        future = self._waiting.get(key)
        if future is None:
            future = self._waiting[key] = asyncio.get_running_loop().create_future()
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read_all())
        return await asyncio.shield(future)

    async def _read_all(self) -> None:
        while self._waiting:
            asked = dict(list(self._waiting.items())[:TOGETHER_MAX])
            for key in asked:
                del self._waiting[key]
            try:
                found = await self._read(list(asked))
            except BaseException as error:
                for future in asked.values():
                    _fail(future, error)
                if not isinstance(error, Exception):
                    raise
            else:
                for key, future in asked.items():
                    future.set_result(found.get(key))


def _fail(future: "asyncio.Future[V]", error: BaseException) -> None:
    if not isinstance(error, Exception):
        future.cancel()
        return
    future.set_exception(error)
    future.exception()  # It is read here for the case that all who asked went away.
