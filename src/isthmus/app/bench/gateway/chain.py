"""What the decision alone costs: door, credential, policies, limits, quota, threats and all that is counted of a call.

It is the decision about callers who came before, which is what the servers beside it are measured with.
"""

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from statistics import median

from isthmus.app.bench.gateway.load import LoadFailed
from isthmus.app.bench.gateway.site import ROUTE, Site
from isthmus.app.http.assembly import build, services_of
from isthmus.app.limiting import opened_limits
from isthmus.app.program import opened
from isthmus.gateway.asgi import HEAD, Gateway
from isthmus.gateway.epoch import Epoch
from isthmus.gateway.limits import Limits
from isthmus.gateway.request import Message
from isthmus.gateway.request_cache import Head

_TURNS = 9
_CALLERS = 200
_IN_A_ROW = 10
"""Calls of a caller one after the other, because a caller who calls once a second pays for a lease with each call."""
_PATH, _PEER = ROUTE.partition("?")[0], "127.0.0.1"
_MET, _SLACK = 3, 0.9


def chain_us(site: Site) -> float:
    """Return the CPU time of a decision in microseconds, all callers known, the median of several turns."""
    return asyncio.run(_measured(site))


async def _measured(site: Site) -> float:
    credentials = [f"Bearer {each.text}" for each in site.callers.keys if each.role == "viewer" and not each.slow]
    credentials = credentials[:_CALLERS]
    async with opened(site.settings, site.engines, connections_max=4) as program, opened_limits(program) as limits:
        gateway = build(services_of(program, {Limits: limits}))
        following = asyncio.create_task(gateway.services.of(Epoch).watch(program.clock.now))
        try:
            return await _turns(gateway, credentials)
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            await gateway.close()


async def _turns(gateway: Gateway, credentials: Sequence[str]) -> float:
    instant, took = gateway.instant, list[float]()
    heads = [await _met(gateway, each) for each in credentials]
    known = [found for each in heads if (found := instant.find(each, _PEER, secure=False)) is not None]
    if len(known) < len(credentials):
        message = f"{len(credentials) - len(known)} of {len(credentials)} callers were not let in"
        raise LoadFailed(message)
    for _ in range(_TURNS + 1):
        now, decided = datetime.now(UTC), 0
        began = time.process_time()
        for each in known:
            for _ in range(_IN_A_ROW):
                decided += instant.decide(each, now=now, began=time.perf_counter_ns()) is not None
        gateway.settle()
        took.append((time.process_time() - began) / max(1, decided) * 1e6)
        if decided < len(known) * _IN_A_ROW * _SLACK:
            message = f"only {decided} of {len(known) * _IN_A_ROW} calls were decided at once"
            raise LoadFailed(message)
        for head, credential in zip(heads, credentials, strict=True):
            await _call(gateway, head, credential)
        known = [found for each in heads if (found := instant.find(each, _PEER, secure=False)) is not None]
    return median(took[1:])


async def _met(gateway: Gateway, credential: str) -> bytes:
    """Let a caller call often enough that its lease is filled; return the bytes of its request."""
    raw = f"GET {_PATH} HTTP/1.1\r\nHost: bench\r\nAuthorization: {credential}\r\n\r\n".encode()
    for _ in range(_MET):
        await _call(gateway, raw, credential)
    return raw


async def _call(gateway: Gateway, raw: bytes, credential: str) -> None:
    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        del message

    scope: Message = {
        "type": "http",
        "method": "GET",
        "scheme": "http",
        "path": _PATH,
        "raw_path": _PATH.encode(),
        "query_string": b"",
        "headers": [(b"host", b"bench"), (b"authorization", credential.encode())],
        "client": (_PEER, 1),
        HEAD: Head(raw=raw, peer=_PEER, secure=False),
    }
    await gateway(scope, receive, send)
