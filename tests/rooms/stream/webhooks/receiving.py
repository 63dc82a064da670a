"""A receiver of webhooks on this machine: it keeps what came, and answers as a test tells it."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

import msgspec
from aiohttp import web

from isthmus.kernel.marks import Json


@dataclass(frozen=True)
class Message:
    """One request as it came; names of headers are in small letters."""

    headers: Mapping[str, str]
    body: bytes

    @property
    def id(self) -> str:
        """The id of the message."""
        return self.headers["webhook-id"]

    @property
    def event(self) -> dict[str, Json]:
        """The event in the body."""
        return msgspec.json.decode(self.body, type=dict[str, Json])

    @property
    def seq(self) -> int:
        """The number of the event."""
        return int(str(self.event["sequence"]))


@dataclass
class Receiver:
    """What came, and what is answered: `status` to all, or what `answer` makes of a message."""

    url: str = ""
    status: int = 204
    messages: list[Message] = field(default_factory=list[Message])
    headers: dict[str, str] = field(default_factory=dict[str, str])
    answer: Callable[[Message], Awaitable[web.StreamResponse | None]] | None = None

    @property
    def seqs(self) -> list[int]:
        """The numbers of the events that came, in their order."""
        return [each.seq for each in self.messages]


@asynccontextmanager
async def receiver() -> AsyncGenerator[Receiver]:
    """Take messages."""
    own = Receiver()

    async def take(request: web.Request) -> web.StreamResponse:
        body = await request.read()
        message = Message({name.lower(): value for name, value in request.headers.items()}, body)
        own.messages.append(message)
        made = await own.answer(message) if own.answer is not None else None
        return made or web.Response(status=own.status, headers=own.headers)

    app = web.Application()
    app.router.add_post("/{rest:.*}", take)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = cast("tuple[str, int]", runner.addresses[0])
    own.url = f"http://{host}:{port}/hook"
    try:
        yield own
    finally:
        await runner.cleanup()
