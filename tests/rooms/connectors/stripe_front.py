"""What Stripe documents and localstripe leaves out, put before it: order of lists, idempotency keys, limits, accidents.

Only what Stripe's reference says of lists, idempotent requests and errors is here; the objects are localstripe's.
"""

import json
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import msgspec
from aiohttp import web
from aiohttp.test_utils import TestServer

from isthmus.connectors.stripe.wire import rows
from isthmus.kernel.marks import Json
from tests.rooms.connectors.stripe_room import Row

EVERYTHING = "100000"
PLURAL = 2  # /v1/customers is a list; /v1/customers/cus_1 is not
Said = tuple[int, bytes]
Accident = Callable[[web.Request], web.StreamResponse | None]


@dataclass
class Front:
    """A server that answers as documented. `asked` are the requests in their order, as method and path.

    `accidents` are asked one after the other, each for one request, and may answer instead. `losing` is how many
    answers to writes get lost after the write was done.
    """

    behind: str
    asked: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    headers: list[Mapping[str, str]] = field(default_factory=list[Mapping[str, str]])
    accidents: list[Accident] = field(default_factory=list[Accident])
    losing: int = 0
    url: str = ""
    _answered: dict[str, tuple[bytes, Said]] = field(default_factory=dict[str, tuple[bytes, Said]])

    @property
    def writes(self) -> list[tuple[str, str]]:
        """The requests that may have changed something."""
        return [each for each in self.asked if each[0] != "GET"]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        self.asked.append((request.method, request.path))
        self.headers.append(dict(request.headers))
        if self.accidents and (instead := self.accidents.pop(0)(request)) is not None:
            return instead
        listed = request.method == "GET" and len(request.path.strip("/").split("/")) == PLURAL
        status, body = await (self._list(request) if listed else self._passed(request))
        if request.method == "POST" and self.losing:
            self.losing -= 1
            request.protocol.force_close()
            if request.transport is not None:
                request.transport.abort()
        return web.Response(status=status, body=body, content_type="application/json")

    async def _passed(self, request: web.Request) -> Said:
        """Pass a request on; one whose key was used is answered as then, or refused for saying other things."""
        key, body = request.headers.get("Idempotency-Key", ""), await request.read()
        before = self._answered.get(key)
        if before is not None and before[0] != body:
            return _fault(
                400, "idempotency_error", "Keys can only be used with the same parameters they were first used with."
            )
        if before is None:
            said = await self._behind(request, request.path_qs, body)
            if not key:
                return said
            before = self._answered[key] = (body, said)
        return before[1]

    async def _list(self, request: web.Request) -> Said:
        """Return a page of a list: newest first, after an object that has to be there."""
        query = dict(request.query)
        limit, after = int(query.pop("limit", "10")), query.pop("starting_after", None)
        rest = "".join(f"&{name}={value}" for name, value in query.items())
        status, body = await self._behind(request, f"{request.path}?limit={EVERYTHING}{rest}", b"")
        if status != web.HTTPOk.status_code:
            return status, body
        told = msgspec.json.decode(body, type=Row)
        # Sorting keeps the order of equal ones, which is the one in which they were made.
        found = sorted(rows(told["data"]), key=lambda each: int(str(each["created"])))[::-1]
        numbers = [str(each["id"]) for each in found]
        if after is not None and after not in numbers:
            return _fault(
                400,
                "invalid_request_error",
                f"No such object: {after}",
                code="resource_missing",
                param="starting_after",
            )
        start = numbers.index(after) + 1 if after else 0
        shown: Row = {"data": list[Json](found[start : start + limit]), "has_more": start + limit < len(found)}
        return status, msgspec.json.encode(told | shown)

    async def _behind(self, request: web.Request, path: str, body: bytes) -> Said:
        passed = ("Authorization", "Content-Type") if body else ("Authorization",)
        headers = {name: request.headers[name] for name in passed if name in request.headers}
        async with (
            aiohttp.ClientSession() as http,
            http.request(request.method, f"{self.behind}{path}", data=body or None, headers=headers) as answer,
        ):
            return answer.status, await answer.read()


def _fault(status: int, kind: str, message: str, **more: str) -> Said:
    return status, json.dumps({"error": {"type": kind, "message": message, **more}}).encode()


def refusal(status: int, kind: str, message: str, *, headers: Mapping[str, str] | None = None, **more: str) -> Accident:
    """Return an accident: the next request is refused in Stripe's way."""
    said = _fault(status, kind, message, **more)[1]
    return lambda _: web.Response(status=status, body=said, content_type="application/json", headers=headers)


@asynccontextmanager
async def before(behind: str) -> AsyncGenerator[Front]:
    """Put a front before a localstripe."""
    front = Front(behind)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", front.answer)
    async with TestServer(app) as server:
        front.url = str(server.make_url("/")).rstrip("/")
        yield front
