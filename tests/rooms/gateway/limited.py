"""A gateway that counts, on a real store of limits."""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import LiteralString
from uuid import uuid4

from msgspec import Struct

from isthmus.auth.credentials import Credentials
from isthmus.auth.keys import KeyWish, create_key
from isthmus.gateway import ANY_CALLER, Call, Route, Services
from isthmus.gateway.asgi import Gateway, Parts
from isthmus.gateway.decide import Chain
from isthmus.gateway.limit_rules import LimitRule, Tier, write_limits
from isthmus.gateway.limits import Limits
from isthmus.gateway.metrics import RouteLabel, Traffic
from isthmus.kernel.clock import FrozenClock
from isthmus.store.database import Scope
from isthmus.stream.limits import Authority, Leases
from isthmus.stream.limits.ledger import Ledger
from isthmus.stream.limits.tally import Tally
from isthmus.sync.ingest import Store
from tests.rooms.gateway.stage import DOMAINS, Stage

_AUDIT: LiteralString = "select action from audit where workspace = current_workspace() order by id"
_USED: LiteralString = """
select coalesce(sum(used), 0) from limit_ledger
where workspace = current_workspace() and subject not like 'quota:%%'
"""


class Done(Struct, frozen=True):
    """The answer."""


class Work:
    """Handlers, one of which waits for a gate."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.inside = 0

    async def do(self, _: Call) -> Done:
        """Do nothing."""
        return Done()

    async def wait(self, _: Call) -> Done:
        """Wait for the gate."""
        self.inside += 1
        await self.gate.wait()
        return Done()

    @property
    def routes(self) -> Sequence[Route]:
        """A plain route, a costly one, two integrations, one that waits and one that proves who somebody is."""
        own = dict[str, str]
        paths = own(
            do="/api/v1/do", costly="/api/v1/costly", a="/api/v1/integrations/a/x", b="/api/v1/integrations/b/x"
        )
        made = [
            Route(
                method="GET",
                path=path,
                permission=ANY_CALLER,
                handler=self.do,
                summary=name,
                response=Done,
                operation=name,
                cost=4 if name == "costly" else 1,
            )
            for name, path in paths.items()
        ]
        waiting = Route(
            method="GET", path="/api/v1/wait", permission=ANY_CALLER, handler=self.wait, summary="w", response=Done
        )
        guarded = Route(
            method="GET",
            path="/prove",
            permission=None,
            handler=self.do,
            summary="g",
            response=Done,
            guarded=True,
            operation="prove",
        )
        return [*made, waiting, guarded]


@dataclass
class Limited:
    """A gateway, what it counts with, and the means to set limits."""

    stage: Stage
    limits: Limits
    leases: Leases
    ledger: Ledger
    work: Work
    store: Store
    scope: Scope

    async def key(self) -> str:
        """Return a new key."""
        async with self.store.database.transaction(self.scope) as tx:
            wish = KeyWish(name="Test", roles=("owner",))
            return (await create_key(tx, wish, domains=list(DOMAINS), giver=None))[1].text

    async def set(self, *rules: LimitRule, tier: Tier | None = None) -> None:
        """Set the limits of the workspace, as another worker would."""
        async with self.store.database.transaction(self.scope) as tx:
            await write_limits(tx, tier=tier, rules=rules)

    async def statuses(self, path: str, times: int, *, key: str) -> list[int]:
        """Call a path so often and return how it was answered."""
        self.stage.key = key
        return [(await self.stage.call("GET", path)).status for _ in range(times)]

    async def audited(self) -> list[str]:
        """Return what the audit log tells."""
        async with self.store.database.transaction(self.scope) as tx:
            return [str(row[0]) for row in await (await tx.connection.execute(_AUDIT)).fetchall()]

    async def used(self) -> int:
        """Return the use of all callers in the ledger."""
        async with self.store.database.transaction(self.scope) as tx:
            row = await (await tx.connection.execute(_USED)).fetchone()
        return int(row[0]) if row else 0


@asynccontextmanager
async def limited(
    authority: Authority, store: Store, scope: Scope, clock: FrozenClock, home: Path
) -> AsyncGenerator[Limited]:
    """Open a gateway whose calls are counted."""
    work = Work()
    leases = Leases(authority, node=str(uuid4()), ticks=time.monotonic)
    ledger = Ledger(store.database, Tally(home / "use", holder=uuid4(), parts=4), clock)
    limits = Limits(store.database, leases, ledger, clock=clock, ticks=time.monotonic)
    services = Services(schema=store.schema, database=store.database, vault=store.vault, clock=clock)
    routes = work.routes
    chain = Chain(proof=Credentials(store.database, domains=DOMAINS), stages=(limits,))
    traffic = Traffic([RouteLabel(route.method, route.path) for route in routes])
    gateway = Gateway(routes, Parts(services=services, chain=chain, traffic=traffic, ticks=time.perf_counter_ns))
    keeping = asyncio.create_task(limits.run())
    try:
        yield Limited(Stage(gateway, clock), limits, leases, ledger, work, store, scope)
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        await limits.close()
        await gateway.close()
