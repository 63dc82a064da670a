"""What the decision alone costs: credential, grant, policies, limits, quota and all that stages hear at the end."""

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from statistics import median

from isthmus.app.bench.gateway.site import ROUTE, Site
from isthmus.app.http.assembly import build, services_of
from isthmus.app.limiting import opened_limits
from isthmus.app.program import opened
from isthmus.gateway.asgi import Gateway
from isthmus.gateway.decide import Asked, Chain, decide
from isthmus.gateway.epoch import Epoch
from isthmus.gateway.limits import Limits

_TURNS = 9
_CALLERS = 200
_IN_A_ROW = 10
"""Calls of a caller one after the other, because a caller who calls once a second pays for a lease with each call."""
_PATH = ROUTE.partition("?")[0]


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
    chain, route = gateway.chain, gateway.router.find("GET", _PATH).route
    took: list[float] = []
    for _ in range(_TURNS + 1):
        asking = [
            Asked(route=route, now=datetime.now(UTC), path=_PATH, method="GET", client="127.0.0.1", authorization=each)
            for each in credentials
            for _ in range(_IN_A_ROW)
        ]
        began = time.process_time()
        for each in asking:
            await _decided(chain, each)
        took.append((time.process_time() - began) / len(asking) * 1e6)
        await asyncio.sleep(0)
    return median(took[1:])


async def _decided(chain: Chain, asked: Asked) -> None:
    await decide(chain, asked)
    for stage in chain.stages:
        stage.ended(asked, status=200, micros=100)
