"""A receiver of webhooks that takes everything and counts what it took by message id."""

from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

from aiohttp import web


@dataclass
class Receiver:
    """What came."""

    url: str = ""
    taken: Counter[str] = field(default_factory=Counter[str])


@asynccontextmanager
async def receiver() -> AsyncGenerator[Receiver]:
    """Take messages."""
    own = Receiver()

    async def take(request: web.Request) -> web.Response:
        await request.read()
        own.taken[request.headers["webhook-id"]] += 1
        return web.Response(status=204)

    app = web.Application()
    app.router.add_post("/", take)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = cast("tuple[str, int]", runner.addresses[0])
    own.url = f"http://{host}:{port}/"
    try:
        yield own
    finally:
        await runner.cleanup()
