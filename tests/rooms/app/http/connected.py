"""Somebody who calls over HTTP, two vendors that can be connected, and a worker that does what is wanted."""

from dataclasses import dataclass, replace
from random import Random

from isthmus.app.scheduling.context import JobContext
from isthmus.app.scheduling.kinds import kinds
from isthmus.kernel.clock import FrozenClock
from isthmus.kernel.ids import mint
from isthmus.kernel.marks import Json
from isthmus.store.database import Scope
from isthmus.stream.jobs.job import Backoff
from isthmus.stream.jobs.queue import Holder
from isthmus.stream.jobs.worker import Worker
from isthmus.sync.connector import Setting
from isthmus.sync.ingest import Store
from isthmus.sync.runs import Engine
from isthmus.vault import entropy
from tests.rooms.domains.desk import Answer, Desk
from tests.rooms.sync.vendor import Vendor

CONNECTIONS, SYNCS = "/api/v1/connections", "/api/v1/syncs"
CRM: dict[str, Json] = {"connector": "crm", "name": "crm", "settings": {"token": "s3cr3t"}}
SEES = ("sees",)


@dataclass
class Site:
    """Somebody who calls, two vendors that can be connected, and a worker."""

    desk: Desk
    crm: Vendor
    erp: Vendor

    async def connect(self, name: str = "crm") -> Answer:
        """Connect a vendor."""
        made = await self.desk.post(CONNECTIONS, {**CRM, "connector": name, "name": name})
        assert made.status == 201, made.body
        return made

    async def work(self, path: str, body: Json = None) -> Answer:
        """Want something done of a connection, let the worker do it, and return the job as it ended."""
        return await self.wanted(await self.desk.post(f"{SYNCS}/{path}", {} if body is None else body))

    async def wanted(self, wanted: Answer) -> Answer:
        """Let the worker do what was wanted, and return the job as it ended."""
        assert (wanted.status, wanted.headers["location"]) == (202, f"/api/v1/jobs/{wanted.at('id')}"), wanted.body
        self.desk.later(seconds=1)
        engine = replace(self.desk.services.of(Engine), pause=_at_once)
        worker = Worker(
            database=self.desk.store.database,
            clock=self.desk.clock,
            kinds=tuple(kinds().values()),
            context=JobContext(store=self.desk.store, engine=engine, services=lambda: self.desk.gateway.services),
            holder=Holder(id=mint(unix_ms=0, entropy=entropy(10)), worker="test"),
            backoff=Backoff(chance=Random(1)),
            only=frozenset({self.desk.scope.workspace}),
        )
        await worker.drain()
        return await self.desk.get(wanted.headers["location"])


async def _at_once(_: float) -> None:
    """Wait for nothing."""


async def opened_site(store: Store, scope: Scope) -> Site:
    """The site; `sees` may read runs and the records of finance, not those of sales."""
    clock = FrozenClock(scope.now)
    crm, erp = Vendor("crm", clock), Vendor("erp", clock)
    local = replace(erp.connector(), name="local", settings=(Setting("path", "a file", local=True),))
    known = {"crm": crm.connector(), "erp": erp.connector(), "local": local}
    desk = Desk.of(store, scope, connectors=known)
    crm.clock = erp.clock = desk.clock
    made: Json = {"name": "sees", "permissions": ["sync:read", "finance:read"]}
    assert (await desk.post("/api/v1/roles", made)).status == 201
    return Site(desk, crm, erp)
