"""One worker: what it serves is opened when it starts, closed when it is told to stop, and gone with its server."""

import asyncio
import fcntl
import mmap
import os
import resource
import signal
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import uvloop

from isthmus.app.engines import running_engines
from isthmus.app.garbage import settle
from isthmus.app.http.assembly import Block, build, services_of
from isthmus.app.http.exporting import keep_exporting
from isthmus.app.http.listening import Listener
from isthmus.app.http.server import TOKEN, ready_file
from isthmus.app.http.supervising import GRACE_S, KILL_S
from isthmus.app.http.tls import context_of
from isthmus.app.http.watching import keep_watch
from isthmus.app.limiting import opened_limits
from isthmus.app.program import opened
from isthmus.app.settings import Settings, read_settings
from isthmus.app.upstreams.serving import Upstreams
from isthmus.gateway.asgi import Gateway
from isthmus.gateway.epoch import Epoch
from isthmus.gateway.limits import Limits
from isthmus.gateway.policy.gate import PolicyGate
from isthmus.gateway.threats.keeping import Keeper
from isthmus.gateway.threats.watch import Threats
from isthmus.kernel.errors import Unavailable
from isthmus.stream.live import Live

_WATCH_S = 0.5


class EnginesAway(Unavailable):
    """No engines run on the data directory."""

    code, title = "engines-away", "The database is not running"


def work(listening: socket.socket, above: int) -> None:
    """Serve on a socket until SIGTERM or SIGINT, or until the process above is gone."""
    settings = read_settings()
    with suppress(ValueError, OSError):
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    uvloop.run(_served(settings, listening, above))


async def _served(settings: Settings, listening: socket.socket, above: int) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stop.set)
    certificate, key = settings.tls_certificate, settings.tls_key
    tls = context_of(certificate, key) if certificate is not None and key is not None else None
    following = asyncio.create_task(_end_with_the_server(above, stop))
    async with _opened(settings) as gateway:
        listener = Listener(gateway, tls=tls)
        await listener.open(listening)
        ready_file(settings).write_text(os.environ.get(TOKEN, ""), encoding="ascii")
        await stop.wait()
        gateway.close_streams()
        await listener.close(grace_s=GRACE_S)
    following.cancel()


def counts_file(settings: Settings) -> Path:
    """Return the file in which workers count traffic together."""
    return settings.data_dir / "http" / f"counts-{settings.port}"


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncGenerator[Gateway]:
    engines = await asyncio.to_thread(running_engines, settings=settings.engines)
    if engines is None:
        raise EnginesAway("No engines run on the data directory.", fix="Start them: isthmus up")
    async with opened(settings, engines) as program, opened_limits(program) as limits:
        block = _block(settings)
        gateway = build(services_of(program, {Limits: limits}), block=block)
        keeper = Keeper(program.database, gateway.services.of(Threats), now=program.clock.now)
        watching = [
            asyncio.create_task(keep_watch(gateway.services)),
            # The counts are those of all workers, so one of them tells the collector.
            *([asyncio.create_task(keep_exporting(gateway.services, settings))] if block and block[1] == 0 else []),
            asyncio.create_task(gateway.services.of(Epoch).watch(program.clock.now)),
            asyncio.create_task(keeper.run()),
            asyncio.create_task(gateway.services.of(Upstreams).keep_looking(program.clock)),
        ]
        settle()
        try:
            yield gateway
        finally:
            gateway.settle()
            for each in watching:
                each.cancel()
            await asyncio.gather(*watching, return_exceptions=True)
            await gateway.services.of(PolicyGate).close()
            await keeper.close()
            await gateway.services.of(Upstreams).calling.close()
            await gateway.services.of(Live).close()
            await gateway.close()


async def _end_with_the_server(server: int, stop: asyncio.Event) -> None:
    """A worker whose server was killed, even before the worker was ready, is adopted by another parent; it ends."""
    while os.getppid() == server:  # noqa: ASYNC110 - no event tells of the end of a parent.
        await asyncio.sleep(_WATCH_S)
    stop.set()
    await asyncio.sleep(KILL_S)
    os._exit(1)


def _block(settings: Settings) -> Block | None:
    """Take the first free part of the shared counts; the lock on its byte is let go when this worker ends."""
    handle = os.open(counts_file(settings), os.O_RDWR)
    for part in range(settings.workers):
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, part)
        except OSError:
            continue
        return memoryview(mmap.mmap(handle, 0)), part
    os.close(handle)
    return None
