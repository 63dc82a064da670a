"""A proxy with bad days, seeded, to stand in front of any server that speaks HTTP.

async with proxy("http://127.0.0.1:8000", Script.of({Fault.RESET: 2})) as front:
    ...                               # speak with front.url; front.met counts what was met
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from email.utils import format_datetime, parsedate_to_datetime
from enum import StrEnum
from random import Random
from typing import TypeGuard, cast

import aiohttp
from aiohttp import web

from isthmus.kernel.marks import Json

SLOW_S = 0.3
SKEW = timedelta(days=2)
ROWS_MIN = 3
"""A list is bent when it has so many rows: a shorter one may be of something else."""
_HOP = frozenset({"connection", "content-encoding", "content-length", "keep-alive", "transfer-encoding", "date"})


class Fault(StrEnum):
    """What can go wrong with one request. LOST: it was done, and the answer never came."""

    TOO_MANY = "429 with Retry-After"
    SERVER_ERROR = "500, 502 or 503"
    RESET = "connection cut before it was done"
    LOST = "connection cut after it was done"
    TRUNCATED = "answer cut short"
    CLIPPED = "whole answer whose JSON breaks off"
    SLOW = "slow"
    EXPIRED = "401 for a session that was good"
    SKEWED = "503 with a time to wait, by a clock two days off"
    GARBAGE = "a page for people"
    DOUBLED = "rows of a list twice"
    REORDERED = "rows of a list in another order"
    EMPTIED = "a list that says that there is nothing, and no more"
    PARTIAL = "a list with rows left out in the middle"


BENDING = frozenset({Fault.DOUBLED, Fault.REORDERED, Fault.EMPTIED, Fault.PARTIAL})
"""These need a list: an answer that holds none passes as it is, and is not counted as met."""


Due = Callable[[web.Request], Fault | None]


@dataclass
class Script:
    """Which fault is due for a request; `expires` tells whether a request may be told that its session is over."""

    due: Due
    expires: Callable[[web.Request], bool] = lambda _: True

    @classmethod
    def of(cls, faults: Mapping[Fault, int]) -> "Script":
        """Return a script in which every other request meets one of these, so many times each."""
        left = [fault for fault, times in faults.items() for _ in range(times)]
        asked = 0

        def due(_: web.Request) -> Fault | None:
            nonlocal asked
            asked += 1
            return left.pop(0) if left and asked % 2 == 0 else None

        return cls(due)

    @classmethod
    def always(cls, fault: Fault) -> "Script":
        """Return a script in which every request meets a fault."""
        return cls(lambda _: fault)

    @classmethod
    def storm(cls, seed: int, *, share: float, kinds: tuple[Fault, ...]) -> "Script":
        """Return a script in which a share of all requests meets one of these, drawn by the seed."""
        dice = Random(seed)
        return cls(lambda _: dice.choice(kinds) if dice.random() < share else None)


@dataclass
class Front:
    """A proxy that is up; with `script` None it only passes on."""

    url: str
    script: Script | None
    met: Counter[Fault] = field(default_factory=Counter[Fault])
    passed: int = 0


class _Proxy:
    def __init__(self, target: str, http: aiohttp.ClientSession) -> None:
        self.target, self.http = target, http
        self.front = Front("", None)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        script = self.front.script
        fault = script.due(request) if script is not None else None
        if script is not None and fault is Fault.EXPIRED and not script.expires(request):
            fault = None
        if fault is None:
            self.front.passed += 1
            return await self._pass(request)
        if fault in BENDING:
            return self._bent(fault, await self._pass(request))
        self.front.met[fault] += 1
        if (refused := _refusal(fault, self.front.met[fault])) is not None:
            return refused
        if fault is Fault.RESET:
            return _cut(request)
        return await self._spoilt(fault, request)

    async def _spoilt(self, fault: Fault, request: web.Request) -> web.StreamResponse:
        if fault is Fault.SLOW:
            await asyncio.sleep(SLOW_S)
        response = await self._pass(request)
        match fault:
            case Fault.LOST:
                return _cut(request)
            case Fault.TRUNCATED:
                return await _truncated(request, response)
            case Fault.CLIPPED:
                return _clipped(response)
            case _:
                return response

    def _bent(self, fault: Fault, whole: web.Response) -> web.Response:
        bent = _bent(fault, cast("bytes", whole.body), number=self.front.met[fault])
        if bent is None:
            self.front.passed += 1
            return whole
        self.front.met[fault] += 1
        return web.Response(body=bent, content_type="application/json")

    async def _pass(self, request: web.Request) -> web.Response:
        headers = {name: value for name, value in request.headers.items() if name.lower() not in (*_HOP, "host")}
        async with self.http.request(
            request.method,
            f"{self.target}{request.path_qs}",
            headers=headers,
            data=await request.read(),
            allow_redirects=False,
        ) as answer:
            kept = {name: value for name, value in answer.headers.items() if name.lower() not in _HOP}
            return web.Response(status=answer.status, body=await answer.read(), headers=kept)


def _refusal(fault: Fault, time: int) -> web.Response | None:
    match fault:
        case Fault.TOO_MANY:
            return web.Response(status=429, headers={"Retry-After": "0"})
        case Fault.SERVER_ERROR:
            return web.Response(status=(502, 503)[time % 2])
        case Fault.EXPIRED:
            return web.Response(status=401)
        case Fault.GARBAGE:
            return web.Response(text="<html>We are back soon.</html>", content_type="text/html")
        case Fault.SKEWED:
            now = parsedate_to_datetime("Mon, 02 Nov 2026 09:00:00 GMT") + SKEW
            later = now + timedelta(seconds=1)
            told = {"Date": format_datetime(now, usegmt=True), "Retry-After": format_datetime(later, usegmt=True)}
            return web.Response(status=503, headers=told)
        case _:
            return None


def _cut(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


async def _truncated(request: web.Request, whole: web.Response) -> web.StreamResponse:
    body = cast("bytes", whole.body)
    response = web.StreamResponse(status=whole.status, headers={"Content-Length": str(len(body) + 1)})
    await response.prepare(request)
    await response.write(body[: len(body) // 2])
    if request.transport is not None:
        request.transport.close()
    return response


def _clipped(whole: web.Response) -> web.Response:
    body = cast("bytes", whole.body)
    return web.Response(status=whole.status, body=body[: len(body) // 2], content_type="application/json")


def _bent(fault: Fault, body: bytes, *, number: int) -> bytes | None:
    """Return an answer with its list bent; nothing when it holds no list of rows."""
    try:
        said = cast("Json", json.loads(body))
    except ValueError:
        return None
    if _is_rows(said):
        return json.dumps(_bend(fault, said, number=number)).encode()
    if not isinstance(said, dict):
        return None
    name = next((name for name, value in said.items() if _is_rows(value)), None)
    if name is None:
        return None
    bent = _bend(fault, cast("list[Json]", said[name]), number=number)
    beside: dict[str, Json] = dict.fromkeys(said) if fault is Fault.EMPTIED else said
    return json.dumps({**beside, name: bent}).encode()


def _is_rows(value: Json) -> TypeGuard[list[Json]]:
    return isinstance(value, list) and len(value) >= ROWS_MIN and all(isinstance(each, dict) for each in value)


def _bend(fault: Fault, rows: list[Json], *, number: int) -> list[Json]:
    match fault:
        case Fault.DOUBLED:
            return [*rows[:2], *rows]
        case Fault.REORDERED:
            half = 1 + number % (len(rows) - 1)
            return [*rows[half:], *rows[:half]]
        case Fault.PARTIAL:
            return [rows[0], *rows[len(rows) // 2 :]]
        case _:
            return []


@asynccontextmanager
async def proxy(target: str, script: Script | None = None) -> AsyncGenerator[Front]:
    """Run a proxy in front of an address."""
    async with aiohttp.ClientSession(auto_decompress=True) as http:
        own = _Proxy(target.rstrip("/"), http)
        app = web.Application(client_max_size=2**26)
        app.router.add_route("*", "/{path:.*}", own.answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        own.front = Front(f"http://127.0.0.1:{runner.addresses[0][1]}", script)
        try:
            yield own.front
        finally:
            await runner.cleanup()
