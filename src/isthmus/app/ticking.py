"""What domains do as time passes: `tick` of every `worker.py`, in turns, until cancelled."""

import asyncio
import pkgutil
from collections.abc import Awaitable
from contextlib import suppress
from importlib import import_module
from typing import Protocol, cast

import structlog

import isthmus.domains
from isthmus.app.program import Program
from isthmus.kernel.clock import Clock
from isthmus.kernel.errors import IsthmusError
from isthmus.store.database import DatabaseAway
from isthmus.sync.ingest import Store

POLL_S = 0.5
log = structlog.get_logger()


class Tick(Protocol):
    """Does what is due and returns how much that was."""

    def __call__(self, store: Store, *, now: object) -> Awaitable[int]:
        """Do what is due at `now`."""
        ...


def ticks() -> dict[str, Tick]:
    """Return `tick` of every domain that has `worker.py`."""
    return {
        module.name: cast("Tick", import_module(module.name).tick)
        for module in pkgutil.walk_packages(isthmus.domains.__path__, "isthmus.domains.")
        if module.name.endswith(".worker")
    }


async def keep_ticking(program: Program) -> None:
    """Call every tick again and again; rest when nothing was due. A failure is logged and tried again later."""
    found = ticks()
    while True:
        done = 0
        for name, tick in found.items():
            done += await _turn(name, tick, program.store, program.clock)
        await asyncio.sleep(0 if done else POLL_S)


async def _turn(name: str, tick: Tick, store: Store, clock: Clock) -> int:
    with suppress(DatabaseAway):
        try:
            return await tick(store, now=clock.now())
        except IsthmusError as error:
            log.warning("worker.tick.failed", tick=name, code=error.code)
            await asyncio.sleep(POLL_S)
    return 0
