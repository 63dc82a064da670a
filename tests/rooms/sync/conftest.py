"""Two vendors, connected, and an engine whose clock moves when it is told and whose pauses take no time."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from random import Random
from typing import TypeVar
from uuid import UUID

import pytest

from isthmus.kernel.clock import FrozenClock
from isthmus.kernel.marks import Json
from isthmus.store.database import Scope, Transaction
from isthmus.store.observation import Observation
from isthmus.store.records import Stored, page
from isthmus.sync.connections import Connection, Options, connect, connection_of
from isthmus.sync.connector import Raw
from isthmus.sync.edit import edit
from isthmus.sync.ingest import Store
from isthmus.sync.running import EVERYTHING, Part, synchronise
from isthmus.sync.runs import Engine, Run
from tests.rooms.sync.vendor import EPOCH, Vendor

T = TypeVar("T")
SETTINGS = {"token": "s3cr3t"}


Normalise = Callable[[str, Raw], Iterable[Observation]]


@dataclass
class Bench:
    """A workspace with vendors, and short ways to do things in it."""

    store: Store
    engine: Engine
    clock: FrozenClock
    workspace: int
    pauses: list[float]

    def mend(self, name: str, normalise: Normalise) -> None:
        """Go on with another mapping of a vendor."""
        connectors = dict(self.engine.connectors)
        connectors[name] = replace(connectors[name], normalise=normalise)
        self.engine = replace(self.engine, connectors=connectors)

    def forget(self, name: str) -> None:
        """Go on without a connector."""
        connectors = {key: value for key, value in self.engine.connectors.items() if key != name}
        self.engine = replace(self.engine, connectors=connectors)

    def pause_with(self, pause: Callable[[float], Awaitable[None]]) -> None:
        """Go on with another way to wait."""
        self.engine = replace(self.engine, pause=pause)

    def scope(self, actor: str = "user:tester") -> Scope:
        """Return a scope of this moment."""
        return self.engine.scope(workspace=self.workspace, actor=actor, cause="test")

    async def connect(self, vendor: Vendor, options: Options | None = None) -> Connection:
        """Connect a vendor under its name."""
        async with self.store.database.transaction(self.scope()) as tx:
            return await connect(
                tx,
                self.store.vault,
                vendor.connector(),
                name=vendor.name,
                settings=SETTINGS,
                options=options or Options(),
            )

    async def connection(self, name: str) -> Connection:
        """Return a connection as it is now."""
        return await self.read(lambda tx: connection_of(tx, name))

    async def sync(self, *names: str, parts: tuple[Part, ...] = EVERYTHING, confirmed: bool = False) -> list[Run]:
        """Run connections one after the other, a second apart; every run looks for deletions."""
        runs: list[Run] = []
        for name in names:
            self.tick()
            runs.append(
                await synchronise(
                    self.engine,
                    workspace=self.workspace,
                    connection=name,
                    parts=parts,
                    sweep_every_s=0,
                    confirmed=confirmed,
                )
            )
        return runs

    def tick(self, seconds: float = 1.0) -> None:
        """Let time pass."""
        self.clock.move(timedelta(seconds=seconds))

    async def records(self, name: str) -> list[Stored]:
        """Return the living records of a type."""
        record_type = self.store.schema[name]
        return await self.read(lambda tx: page(tx, self.store.vault, record_type, limit=1_000))

    async def only(self, name: str) -> Stored:
        """Return the one living record of a type."""
        (record,) = await self.records(name)
        return record

    async def edit(self, kind: str, record_id: UUID, /, **fields: Json) -> None:
        """Edit a record here."""
        self.tick()
        await edit(self.store, self.scope(), kind, record_id, fields)

    async def read(self, act: Callable[[Transaction], Awaitable[T]]) -> T:
        """Do something in a transaction."""
        async with self.store.database.transaction(self.scope()) as tx:
            return await act(tx)

    async def rows(self, query: str, *parameters: object) -> list[tuple[object, ...]]:
        """Return what a query of the tables gives."""

        async def ask(tx: Transaction) -> list[tuple[object, ...]]:
            return list(await (await tx.connection.execute(query.encode(), parameters)).fetchall())

        return await self.read(ask)


@pytest.fixture
def clock() -> FrozenClock:
    """A clock that stands until it is moved."""
    return FrozenClock(EPOCH)


@pytest.fixture
def crm(clock: FrozenClock) -> Vendor:
    """One vendor."""
    return Vendor("crm", clock)


@pytest.fixture
def erp(clock: FrozenClock) -> Vendor:
    """Another one."""
    return Vendor("erp", clock)


@pytest.fixture
def bench(store: Store, workspace: int, clock: FrozenClock, crm: Vendor, erp: Vendor) -> Bench:
    """The bench with both vendors known and none connected."""
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    connectors = {vendor.name: vendor.connector() for vendor in (crm, erp)}
    engine = Engine(store=store, clock=clock, chance=Random(7), connectors=connectors, pause=pause)
    return Bench(store, engine, clock, workspace, pauses)
