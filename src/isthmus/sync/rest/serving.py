"""A vendor's fake in a thread of its own, for tests: it answers while the one who tests it waits."""

import asyncio
import threading
from collections.abc import Generator
from contextlib import contextmanager

from aiohttp import web


@contextmanager
def serving(app: web.Application) -> Generator[str]:
    """Serve on a free port of this machine; yields the address."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    runner = web.AppRunner(app)

    async def up() -> str:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    try:
        yield asyncio.run_coroutine_threadsafe(up(), loop).result()
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
