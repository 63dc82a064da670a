"""How long two hundred callers at once wait for answers on the data of the demonstration."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from isthmus.app.bench.gateway.load import load
from isthmus.app.bench.gateway.peers import free_port
from isthmus.app.bench.gateway.site import Site
from isthmus.app.demo import load as load_demo
from isthmus.app.discovery import domain_names
from isthmus.app.http.server import HttpServer
from isthmus.app.program import Program, opened
from isthmus.auth.keys import KeyWish, create_key
from isthmus.gateway.limit_rules import LimitRule, write_limits
from isthmus.store.database import Scope

CALLERS, WORKERS = 200, 2
COMPANIES, QUICK_COMPANIES = 300, 60
SECONDS, QUICK_SECONDS = 20, 10
_WARM_S = 5
_KEYS = 200
_PATHS = (
    "/api/v1/integrations/finance/budget/2026-11",
    "/api/v1/integrations/sales/performance?period=2026-11",
    "/api/v1/accounts?limit=20",
    "/api/v1/leads?limit=20",
    "/api/v1/deals?limit=20",
    "/api/v1/campaigns?limit=20",
    "/api/v1/invoices?limit=20",
)


def many_callers(site: Site, home: Path, *, quick: bool, say: Callable[[str], None]) -> Mapping[str, float]:
    """Return the median and the 95th percentile of their waits in milliseconds, and calls a second."""
    settings = replace(site.settings, port=free_port(), workers=WORKERS, workspace="demo")
    companies = QUICK_COMPANIES if quick else COMPANIES
    asyncio.run(load_demo(settings, site.engines, companies=companies, say=say))

    async def make() -> list[str]:
        async with opened(settings, site.engines, connections_max=2) as program:
            return await _keys(program)

    headers = [f"Bearer {each}" for each in asyncio.run(make())]
    seconds = QUICK_SECONDS if quick else SECONDS
    server = HttpServer.start(settings)
    try:
        urls = [server.url + each for each in _PATHS]
        # Paths and keys are of numbers without a common divisor, so that every key calls every path.
        cycle = headers * len(_PATHS)
        load(urls, cycle, pid=server.child.pid, home=home, seconds=_WARM_S, connections=CALLERS)
        met = load(urls, cycle, pid=server.child.pid, home=home, seconds=seconds, connections=CALLERS)
    finally:
        server.stop()
    if met.refused:
        say(f"{met.refused:.1%} of the calls of many were refused")
    return {
        "many_p50_ms": met.p50_ms,
        "many_p95_ms": met.p95_ms,
        "many_per_s": met.requests / seconds,
        "many_refused": met.refused,
    }


async def _keys(program: Program) -> list[str]:
    scope = Scope(workspace=program.workspace, actor="bench", cause="bench", now=datetime.now(UTC))
    made: list[str] = []
    async with program.database.transaction(scope) as tx:
        rule = LimitRule(name="workspace", scope="workspace", count=1_000_000_000, seconds=3600)
        await write_limits(tx, tier="enterprise", rules=[rule])
        for _ in range(_KEYS):
            wish = KeyWish(name="bench", roles=("owner",))
            _, text = await create_key(tx, wish, domains=domain_names(), giver=None)
            made.append(text.text)
    return made
