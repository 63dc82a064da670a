"""A gateway of the test's own routes, called in process through ASGI."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import cast

from isthmus.auth.credentials import Credentials
from isthmus.gateway import Route, Services
from isthmus.gateway.asgi import Gateway, Parts
from isthmus.gateway.decide import Chain
from isthmus.gateway.metrics import RouteLabel, Traffic
from isthmus.gateway.request import Message
from isthmus.kernel.clock import FrozenClock
from isthmus.kernel.marks import Json
from isthmus.sync.ingest import Store

DOMAINS = ("making",)


@dataclass(frozen=True)
class Answered:
    """An answer as it was sent."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    @property
    def json(self) -> dict[str, Json]:
        """The body as a JSON object."""
        return cast("dict[str, Json]", json.loads(self.body))


@dataclass
class Stage:
    """A gateway and the clock it runs on."""

    gateway: Gateway
    clock: FrozenClock
    key: str = ""
    cookie: str = ""

    async def call(
        self,
        method: str,
        path: str,
        body: bytes | Json = None,
        *,
        headers: Mapping[str, str] | None = None,
        media: str = "application/json",
        scheme: str = "http",
        gone_after: int | None = None,
    ) -> Answered:
        """Send one request; `gone_after` is the number of pieces of the answer after which the caller goes away."""
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        sent = {"host": "isthmus.test", "content-type": media} if content else {"host": "isthmus.test"}
        sent |= {"authorization": f"Bearer {self.key}"} if self.key else {}
        sent |= {"cookie": self.cookie} if self.cookie else {}
        sent |= {**(headers or {})}
        plain, _, query = path.partition("?")
        scope: Message = {
            "type": "http",
            "method": method,
            "scheme": scheme,
            "path": plain,
            "raw_path": plain.encode(),
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in sent.items()],
            "client": ("192.0.2.7", 5),
        }
        coming: list[Message] = [{"type": "http.request", "body": content, "more_body": False}]
        pieces: list[Message] = []
        left = asyncio.Event()

        async def receive() -> Message:
            if coming:
                return coming.pop(0)
            await left.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            pieces.append(message)
            if gone_after is not None and len(pieces) > gone_after:
                left.set()
            await asyncio.sleep(0)

        await self.gateway(scope, receive, send)
        shown = cast("list[tuple[bytes, bytes]]", pieces[0]["headers"])
        named = {name.decode(): value.decode("latin-1") for name, value in shown}
        whole = b"".join(cast("bytes", each["body"]) for each in pieces[1:])
        return Answered(cast("int", pieces[0]["status"]), named, whole)

    def move(self, **by: int) -> None:
        """Let time pass."""
        self.clock.move(timedelta(**by))


def stage_of(routes: Sequence[Route], *, store: Store, clock: FrozenClock, ticks: Callable[[], int]) -> Stage:
    """Return a gateway of these routes."""
    services = Services(schema=store.schema, database=store.database, vault=store.vault, clock=clock)
    traffic = Traffic([RouteLabel(route.method, route.path) for route in routes])
    proof = Credentials(store.database, domains=DOMAINS)
    return Stage(
        Gateway(routes, Parts(services=services, chain=Chain(proof=proof), traffic=traffic, ticks=ticks)), clock
    )
