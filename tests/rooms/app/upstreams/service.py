"""A company's own service, which answers well or misbehaves as its paths say, over real sockets."""

import asyncio
import hashlib
import json
import threading
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Self

from aiohttp import web


@dataclass
class Service:
    """`calls` counts what came in by path; `wrong` is how many further calls of `/flaky` fail; `ill` of `/health`."""

    port: int = 0
    calls: Counter[str] = field(default_factory=Counter[str])
    wrong: int = 0
    ill: bool = False
    last: dict[str, object] = field(default_factory=dict[str, object])
    cut_off: threading.Event = field(default_factory=threading.Event)
    _loop: asyncio.AbstractEventLoop | None = None

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer a request."""
        name = request.path.strip("/").split("/")[0]
        self.calls[name] += 1
        if name == "reset":
            assert request.transport is not None
            request.transport.abort()
        if name == "late":
            await asyncio.sleep(float(request.query["s"]))
        if name in {"half", "half-chunked", "drip", "endless"}:
            return await self._piecemeal(request, name)
        return self._at_once(request, name) or await self._echo(request)

    def _at_once(self, request: web.Request, name: str) -> web.StreamResponse | None:
        match name:
            case "flaky":
                self.wrong -= 1
                return web.Response(status=503 if self.wrong >= 0 else 200, text="flaky")
            case "health":
                return web.Response(status=503 if self.ill else 200)
            case "status":
                return web.Response(status=int(request.path.rpartition("/")[2]), text="as asked")
            case "pages":
                headers = {"set-cookie": "a=b", "content-security-policy": "script-src *", "x-own": "1"}
                return web.Response(text="<h1>x</h1>", content_type="text/html", headers=headers)
            case "reset" | "late":
                return web.Response(text=name)
            case _:
                return None

    async def _piecemeal(self, request: web.Request, name: str) -> web.StreamResponse:
        answer = web.StreamResponse()
        if name == "half":
            answer.content_length = 1000
        await answer.prepare(request)
        assert request.transport is not None
        await answer.write(b"x" * 10)
        if name == "drip":
            for _ in range(int(request.query["n"])):
                await asyncio.sleep(float(request.query["s"]))
                await answer.write(b"y" * 10)
            return answer
        if name == "endless":
            try:
                while True:
                    await answer.write(b"z" * 65_536)
                    await asyncio.sleep(0.01)
            except (ConnectionError, asyncio.CancelledError):
                self.cut_off.set()
                raise
        await asyncio.sleep(0.05)
        request.transport.abort()
        return answer

    async def _echo(self, request: web.Request) -> web.StreamResponse:
        digest, size, pieces = hashlib.sha256(), 0, 0
        async for piece in request.content.iter_any():
            digest.update(piece)
            size += len(piece)
            pieces += 1
            self.last["coming"] = size
        told: dict[str, object] = {
            "method": request.method,
            "target": request.raw_path,
            "headers": [[name.lower(), value] for name, value in request.headers.items()],
            "size": size,
            "digest": digest.hexdigest(),
        }
        self.last |= told
        return web.Response(body=json.dumps(told).encode(), content_type="application/json")

    @classmethod
    @contextmanager
    def running(cls) -> Generator[Self]:
        """Run in a thread of its own until the end of the block."""
        service, ready = cls(), threading.Event()
        stop: list[asyncio.Event] = []

        async def serve() -> None:
            app = web.Application(client_max_size=1 << 30)
            app.router.add_route("*", "/{path:.*}", service.answer)
            runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            service.port = int(runner.addresses[0][1])
            stop.append(asyncio.Event())
            service._loop = asyncio.get_running_loop()
            ready.set()
            await stop[0].wait()
            await runner.cleanup()

        thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
        thread.start()
        assert ready.wait(10)
        try:
            yield service
        finally:
            assert service._loop is not None
            service._loop.call_soon_threadsafe(stop[0].set)
            thread.join(10)
