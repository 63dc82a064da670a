"""What one command to Valkey costs in CPU: ours over one connection, against valkey-py with a pool."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Protocol, cast

from valkey.asyncio import BlockingConnectionPool, UnixDomainSocketConnection, Valkey

from isthmus.stream.lane import Lane, LaneAddress

CALLERS = 32


class _Commands(Protocol):
    def execute_command(self, *args: str | int) -> Awaitable[object]: ...


async def cost_us(socket: str, *, commands: int) -> tuple[float, float]:
    """Return the CPU of this program per command in microseconds: ours, then that of valkey-py."""
    lane = Lane(LaneAddress(socket_path=socket))
    await lane.open()
    ours = await _measured(lambda: lane.ask("INCR", "bench"), commands)
    await lane.close()
    pool = BlockingConnectionPool(
        connection_class=UnixDomainSocketConnection, path=socket, max_connections=CALLERS, timeout=5
    )
    client = Valkey(connection_pool=pool)
    typed = cast("_Commands", client)
    theirs = await _measured(lambda: typed.execute_command("INCR", "bench"), commands)
    await client.aclose()
    await pool.disconnect()
    return ours, theirs


async def _measured(ask: Callable[[], Awaitable[object]], commands: int) -> float:
    async def caller() -> None:
        for _ in range(commands // CALLERS):
            await ask()

    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    before = time.process_time()
    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    return (time.process_time() - before) / (commands // CALLERS * CALLERS) * 1e6
