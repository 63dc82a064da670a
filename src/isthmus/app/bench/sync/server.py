"""The server that records are written to, one by one, in a process of its own."""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from multiprocessing import Pipe, get_context
from multiprocessing.connection import Connection

from aiohttp import web

SERVICE_S = 0.002
_END_S_MAX = 10


@contextmanager
def serving() -> Generator[str]:
    """Run the server in a process of its own and give its URL."""
    ours, theirs = Pipe()
    process = get_context("spawn").Process(target=_serve, args=(theirs,), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{int(ours.recv())}"
    finally:
        ours.send("over")
        process.join(_END_S_MAX)
        if process.is_alive():
            process.kill()


def _serve(told: Connection) -> None:
    asyncio.run(_served(told))


async def _served(told: Connection) -> None:
    made = 0

    async def take(request: web.Request) -> web.Response:
        nonlocal made
        await request.json()
        await asyncio.sleep(SERVICE_S)
        made += 1
        return web.json_response({"id": str(made)}, status=201)

    app = web.Application()
    app.router.add_post("/leads", take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    told.send(runner.addresses[0][1])
    await asyncio.to_thread(told.recv)
    await runner.cleanup()
