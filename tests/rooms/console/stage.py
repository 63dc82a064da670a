"""The whole program behind a real server, filled by the demo company, for a browser to look at."""

import asyncio
import secrets
import threading
from collections.abc import Coroutine, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import TypeVar
from uuid import UUID

from msgspec import Struct

from isthmus.analytics import Catalog, Ledgers
from isthmus.app import discovery
from isthmus.app.engines import Engines
from isthmus.app.http.assembly import build
from isthmus.app.http.listening import Listener
from isthmus.app.http.supervising import listen
from isthmus.auth.sessions import create_admin_link, end_session, session_digest
from isthmus.gateway import Services
from isthmus.gateway.policy.gate import PolicyGate
from isthmus.store.database import Database, Scope
from isthmus.stream.relay import Relay
from isthmus.sync.connections import connect
from isthmus.sync.connector import Connector
from isthmus.sync.ingest import Store
from isthmus.sync.running import synchronise
from isthmus.sync.runs import Engine
from isthmus.vault import KeyStore, Vault

SYSTEMS = ("crm", "marketing", "billing", "product", "desk")
COMPANIES = "48"
T = TypeVar("T")


class RealClock:
    """The system's clock: browsers know no other."""

    def now(self) -> datetime:
        """Return the present moment."""
        return datetime.now(UTC)


class Who(Struct, frozen=True):
    """Somebody signed in: the workspace and the cookie."""

    workspace: int
    token: str


@dataclass
class Site:
    """A served program. Its own thread runs it; `do` has something done there and waits for the outcome.

    `more` are connectors besides those that come with it.
    """

    engines: Engines
    directory: Path
    port: int
    clock: RealClock = field(default_factory=RealClock)
    more: Mapping[str, Connector] = field(default_factory=dict[str, Connector])
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Serve from a thread, until `stop`."""
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.do(self._open())

    def stop(self) -> None:
        """End the server and the thread."""
        self.do(self._close())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(timeout=20)
        self.loop.close()

    def do(self, work: Coroutine[None, None, T]) -> T:
        """Do something in the program's thread and return what came out."""
        return self.begin(work).result(timeout=120)

    def begin(self, work: Coroutine[None, None, T]) -> Future[T]:
        """Begin something there that goes on beside the test."""
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    async def _open(self) -> None:
        app = self.engines.postgres.app
        self.database = Database(app.conninfo, password=app.password)
        await self.database.open()
        self.keys = KeyStore(self.directory / "keys.sqlite", kek=secrets.token_bytes(32))
        self.store = Store(discovery.schema(), self.database, Vault(self.keys))
        known = {**discovery.connectors(), **self.more}
        self.engine = Engine(store=self.store, clock=self.clock, chance=Random(1), connectors=known)
        services = Services(
            schema=self.store.schema,
            database=self.database,
            vault=self.store.vault,
            clock=self.clock,
            others={
                Store: self.store,
                Engine: self.engine,
                Catalog: discovery.catalog(),
                Ledgers: discovery.ledgers(),
            },
        )
        self.gateway = build(services)
        self.listener = Listener(self.gateway)
        await self.listener.open(listen("127.0.0.1", self.port, count=1)[0])
        self.relay = asyncio.create_task(Relay(database=self.database, schema=self.store.schema, broker=None).run())

    async def _close(self) -> None:
        self.gateway.close_streams()
        await self.listener.close(grace_s=5)
        self.relay.cancel()
        await asyncio.wait([self.relay], timeout=15)
        await self.gateway.services.of(PolicyGate).close()
        await self.gateway.close()
        await self.database.close()
        self.keys.close()

    def scope(self, workspace: int) -> Scope:
        """Return a scope of now."""
        return Scope(workspace=workspace, actor="user:tester", cause="test", now=self.clock.now())

    def workspace(self, name: str) -> int:
        """Make an empty workspace."""

        async def make() -> int:
            async with self.database.plain() as connection:
                cursor = await connection.execute(
                    "insert into workspace (slug, name, created_at) values (%s, %s, %s) returning id",
                    (f"site-{secrets.token_hex(6)}", name, self.clock.now()),
                )
                row = await cursor.fetchone()
            assert row is not None
            return int(row[0])

        return self.do(make())

    def fill(self, workspace: int, *, systems: tuple[str, ...] = SYSTEMS, latency_ms: int = 0) -> None:
        """Connect systems of the demo company and read them."""
        self.do(self._fill(workspace, systems, latency_ms))

    async def _fill(self, workspace: int, systems: tuple[str, ...], latency_ms: int) -> None:
        settings = {
            "path": str(self.directory / f"demo-{workspace}.sqlite"),
            "now": self.clock.now().isoformat(timespec="seconds").replace("+00:00", "Z"),
            "companies": COMPANIES,
            "latency_ms": str(latency_ms),
        }
        for system in systems:
            async with self.database.transaction(self.scope(workspace)) as tx:
                await connect(
                    tx,
                    self.store.vault,
                    discovery.connectors()["demo"],
                    name=system,
                    settings={**settings, "system": system},
                    every_s=900,
                )
        for system in systems:
            await synchronise(self.engine, workspace=workspace, connection=system)

    def link(self, workspace: int) -> str:
        """Return a one-time link."""

        async def make() -> str:
            async with self.database.transaction(self.scope(workspace)) as tx:
                return await create_admin_link(tx)

        return f"{self.url}/enter/{self.do(make())}"

    def sign_in(self, workspace: int, *roles: str) -> Who:
        """Open a session with roles, as a link does."""
        token, now = secrets.token_urlsafe(32), self.clock.now()
        values = (UUID(bytes=secrets.token_bytes(16)), session_digest(token), "Tester", list(roles))

        async def make() -> None:
            async with self.database.transaction(self.scope(workspace)) as tx:
                await tx.connection.execute(
                    "insert into session (workspace, id, digest, name, roles, created_at, seen_at, expires_at)"
                    " values (current_workspace(), %s, %s, %s, %s, %s, %s, %s)",
                    (*values, now, now, now + timedelta(hours=1)),
                )

        self.do(make())
        return Who(workspace, token)

    def sign_out(self, who: Who) -> None:
        """End a session from elsewhere."""

        async def end() -> None:
            async with self.database.transaction(self.scope(who.workspace)) as tx:
                assert await end_session(tx, who.token)

        self.do(end())
