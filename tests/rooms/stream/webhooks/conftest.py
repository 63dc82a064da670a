"""Endpoints of a workspace, served at a moment that a test chooses."""

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from uuid import UUID

import msgspec
import pytest

from isthmus.app.topics import topics
from isthmus.kernel.clock import FrozenClock
from isthmus.kernel.ids import text_of
from isthmus.store.database import Scope
from isthmus.store.observation import Observation
from isthmus.stream.event import within
from isthmus.stream.outbound import Outbound
from isthmus.stream.relay import stamp
from isthmus.stream.webhooks.deliveries import Delivery, Replayed, deliveries, replay_missing
from isthmus.stream.webhooks.endpoints import Endpoint, NewEndpoint, Rules, endpoint_of, register
from isthmus.stream.webhooks.running import Serving, Webhooks
from isthmus.stream.webhooks.sending import Sender
from isthmus.sync.ingest import Interval, Store, put
from tests.rooms.stream.stage import CHANGED, emit
from tests.rooms.stream.webhooks.receiving import Receiver, receiver

LOCAL = Outbound(["127.0.0.0/8"])


@dataclass
class Post:
    """Webhooks of one workspace, taken forward by hand."""

    store: Store
    scope: Scope
    clock: FrozenClock
    webhooks: Webhooks
    rules: Rules

    @property
    def now(self) -> Scope:
        """The scope at the moment at which the clock stands."""
        moment = self.clock.now()
        return Scope(workspace=self.scope.workspace, actor=self.scope.actor, cause=self.scope.cause, now=moment)

    async def register(self, url: str, **wish: object) -> tuple[Endpoint, str]:
        """Register an endpoint."""
        wanted = msgspec.convert({"url": url, "events": ["isthmus.sales.*"], **wish}, NewEndpoint)
        accounts = [UUID(each) for each in wanted.accounts]
        async with self.store.database.transaction(self.now) as tx:
            return await register(tx, self.store.vault, wanted, accounts=accounts, rules=self.rules)

    async def happen(self, *records: int, kind: str = CHANGED) -> None:
        """Have events of records happen, which are stamped at once."""
        await emit(self.store.database, self.now, records, kind=kind)
        async with self.store.database.plain() as connection, within(connection, self.scope.workspace):
            await stamp(connection)

    async def put(self, *observations: Observation) -> None:
        """Have records put, whose events are stamped at once."""
        self.clock.move(timedelta(seconds=1))
        await put(self.store, self.now, observations, interval=Interval(since=None, until=self.clock.now()))
        async with self.store.database.plain() as connection, within(connection, self.scope.workspace):
            await stamp(connection)

    async def go(self, **later: float) -> int:
        """Move the clock on, and send what is due; returns how many were sent."""
        self.clock.move(timedelta(**later))
        await self.read()
        sent = 0
        while begun := await self.webhooks.begin():
            sent += begun
            await self.webhooks.idle()
        return sent

    async def id_of(self, type_name: str, external_id: str) -> str:
        """Return the id, in its outside form, of what a system calls so."""
        query = "select record_id from ref where type = %s and external_id = %s"
        async with self.store.database.transaction(self.now) as tx:
            row = await (await tx.connection.execute(query, (type_name, external_id))).fetchone()
        assert row is not None
        return text_of(self.store.schema[type_name].prefix, row[0])

    async def read(self) -> None:
        """Write down what is to be sent."""
        while await self.webhooks.read():
            pass

    async def of(self, endpoint: Endpoint) -> Endpoint:
        """Return the endpoint as it is now."""
        async with self.store.database.transaction(self.now) as tx:
            return await endpoint_of(tx, endpoint.id)

    async def replay(self, endpoint: Endpoint) -> Replayed:
        """Have written down what it was never told in the last hour."""
        store = self.store
        async with store.database.transaction(self.now) as tx:
            return await replay_missing(
                tx,
                endpoint.id,
                topics=self.rules.topics,
                vault=store.vault,
                schema=store.schema,
                since=self.clock.now() - timedelta(hours=1),
            )

    async def deliveries(self, endpoint: Endpoint) -> list[Delivery]:
        """Return its deliveries in the order of their events."""
        async with self.store.database.transaction(self.now) as tx:
            found = await deliveries(tx, endpoint.id, limit=2_000)
        return sorted(found, key=lambda each: each.seq)


@pytest.fixture
async def post(store: Store, scope: Scope) -> AsyncIterator[Post]:
    """Webhooks to this machine."""
    clock = FrozenClock(scope.now)
    sender = Sender(LOCAL, ticks=time.perf_counter_ns, seconds_max=5)
    serving = Serving(
        database=store.database,
        vault=store.vault,
        schema=store.schema,
        topics=topics(),
        sender=sender,
        clock=clock,
        chance=Random(1),
    )
    areas = frozenset(each.area for each in topics().types.values())
    rules = Rules(topics=topics(), schema=store.schema, outbound=LOCAL, areas=areas)
    own = Post(store, scope, clock, Webhooks(serving), rules)
    yield own
    await own.webhooks.close()
    async with store.database.transaction(own.now) as tx:
        # Webhooks look at all workspaces: those of later tests are not to meet these.
        await tx.connection.execute("update webhook_endpoint set removed_at = now()")


@pytest.fixture
async def receiving() -> AsyncIterator[Receiver]:
    """A receiver."""
    async with receiver() as own:
        yield own
