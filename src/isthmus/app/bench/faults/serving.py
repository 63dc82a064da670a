"""The source and the proxy before it, in a process of their own, told what to do through a pipe."""

import asyncio
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from multiprocessing import Pipe, get_context
from multiprocessing.connection import Connection
from typing import Protocol, cast

from aiohttp import web

from isthmus.app.bench.faults.proxy import Fault, Front, Script, proxy
from isthmus.app.bench.faults.source import Source, Step, Truth

_END_S_MAX = 10


class _Pipe(Protocol):
    def send(self, obj: object, /) -> None: ...
    def recv(self) -> object: ...


class Counterpart:
    """The vendor, seen from here: `url` is that of the proxy."""

    def __init__(self, pipe: _Pipe, url: str) -> None:
        """`pipe` leads to the process."""
        self._pipe, self.url = pipe, url

    def storm(self, kinds: Sequence[Fault], *, seed: int, share: float) -> None:
        """Let so many of all requests meet one of these faults; none when there are no kinds."""
        self._ask("storm", tuple(kinds), seed, share)

    def mood(self, *, listing: str = "", retyped: bool = False, silent: bool = False) -> None:
        """Tell the source how to go wrong."""
        self._ask("mood", listing, retyped, silent)

    def advance(self, step: Step, *, seed: int) -> None:
        """Let things happen at the source."""
        self._ask("advance", step, seed)

    def settle(self) -> None:
        """Let the source tell what was late."""
        self._ask("settle")

    def truth(self) -> Truth:
        """Return how everything stands there."""
        return cast("Truth", self._ask("truth"))

    def met(self) -> tuple[Counter[Fault], int]:
        """Return which faults were met how often, and how many requests passed."""
        return cast("tuple[Counter[Fault], int]", self._ask("met"))

    def _ask(self, act: str, *given: object) -> object:
        self._pipe.send((act, given))
        return self._pipe.recv()


@contextmanager
def serving(rows: int) -> Generator[Counterpart]:
    """Run the vendor with so many rows, and the proxy, in a process of their own."""
    ours, theirs = Pipe()
    process = get_context("spawn").Process(target=_serve, args=(theirs, rows), daemon=True)
    process.start()
    try:
        yield Counterpart(ours, str(ours.recv()))
    finally:
        ours.send(("over", ()))
        process.join(_END_S_MAX)
        if process.is_alive():
            process.kill()


def _serve(pipe: Connection, rows: int) -> None:
    asyncio.run(_served(pipe, rows))


async def _served(pipe: Connection, rows: int) -> None:
    source = Source(rows)
    runner = web.AppRunner(source.app(), access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with proxy(f"http://127.0.0.1:{runner.addresses[0][1]}") as front:
            pipe.send(front.url)
            while True:
                act, given = cast("tuple[str, tuple[object, ...]]", await asyncio.to_thread(pipe.recv))
                if act == "over":
                    return
                pipe.send(_done(source, front, act, given))
    finally:
        await runner.cleanup()


def _done(source: Source, front: Front, act: str, given: tuple[object, ...]) -> object:
    match act:
        case "storm":
            kinds, seed, share = cast("tuple[tuple[Fault, ...], int, float]", given)
            front.script = Script.storm(seed, share=share, kinds=kinds) if kinds else None
        case "mood":
            source.listing, source.retyped, source.silent = cast("tuple[str, bool, bool]", given)
        case "advance":
            step, seed = cast("tuple[Step, int]", given)
            source.advance(step, seed)
        case "settle":
            source.settle()
        case "truth":
            return source.truth()
        case _:
            return front.met, front.passed
    return None
