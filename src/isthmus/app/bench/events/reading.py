"""Those who read events in the bench: a consumer group of a stream, and a reader of our log, as live feeds are."""

import asyncio
import re
import time
from collections.abc import AsyncGenerator
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Protocol, cast

from valkey.asyncio import Valkey
from valkey.exceptions import ResponseError

from isthmus.app.bench.events.sides import STREAM, Side, Ways
from isthmus.app.discovery import schema
from isthmus.store.database import Database
from isthmus.stream.broker import Broker
from isthmus.stream.tail import Tail

GROUP, NAME = "readers", "bench"
ENTRIES_MAX, WAIT_MS = 500, 200
_DUE = re.compile(rb'"cause":"due:(\d+)"')
Heard = list[tuple[int, int]]
"""When the transaction of each event was due, and when the event was read, in nanoseconds of the monotonic clock."""


class _Commands(Protocol):
    async def execute_command(self, *args: str | int | bytes) -> object: ...


def read(mine: Connection, side: Side, ways: Ways) -> None:
    """Read until killed, and answer `count` and `take`: the target of a child process."""
    asyncio.run(_read(mine, side, ways))


async def _read(mine: Connection, side: Side, ways: Ways) -> None:
    heard = Heard()
    bodies = _group(ways) if side == "floor" else _log(ways)
    mine.send("ready")
    async for some in bodies:
        now = time.monotonic_ns()
        heard += [(int(due[1]), now) for each in some if (due := _DUE.search(each)) is not None]
        if mine.poll():
            if mine.recv() == "count":
                mine.send(len(heard))
            else:
                mine.send(heard)
                heard = Heard()


async def _group(ways: Ways) -> AsyncGenerator[list[bytes]]:
    """Yield what a consumer group is given, acknowledged."""
    client = Valkey(**ways.valkey.arguments, socket_timeout=None)
    commands = cast("_Commands", client)
    with suppress(ResponseError):
        await commands.execute_command("XGROUP", "CREATE", STREAM, GROUP, "$", "MKSTREAM")
    wanted = ("XREADGROUP", "GROUP", GROUP, NAME, "COUNT", ENTRIES_MAX, "BLOCK", WAIT_MS, "STREAMS", STREAM, ">")
    while True:
        reply = await commands.execute_command(*wanted)
        streams = cast("list[tuple[bytes, list[tuple[bytes, dict[bytes, bytes]]]]]", reply or [])
        found = [each for _, entries in streams for each in entries]
        yield [fields[b"event"] for _, fields in found]
        if found:
            await commands.execute_command("XACK", STREAM, GROUP, *(own for own, _ in found))


async def _log(ways: Ways) -> AsyncGenerator[list[bytes]]:
    """Yield what follows in the log, from now on."""
    database = Database(ways.login.conninfo, password=ways.login.password, connections_max=2)
    await database.open()
    broker = Broker(Valkey(**ways.valkey.arguments, socket_timeout=None))
    tail = Tail(database=database, schema=schema(), broker=broker)
    after = await tail.head(ways.workspace)
    while True:
        found = await tail.next(ways.workspace, after=after)
        after = found[-1].seq if found else after
        yield [each.body for each in found]
