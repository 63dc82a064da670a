"""Both sides of a bill: ours by the store, theirs by Stripe's own SDK, and the sync engine between them."""

import hashlib
import hmac
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar, cast
from uuid import UUID

import msgspec

from isthmus.kernel.marks import Json
from isthmus.store.database import Scope, Transaction
from isthmus.store.records import Stored, find, page
from isthmus.sync.conflicts import Case, Choice, Filter, cases, resolve
from isthmus.sync.connections import Connection, Options, connect
from isthmus.sync.edit import edit
from isthmus.sync.inbound import Message, receive, work_on
from isthmus.sync.ingest import Store
from isthmus.sync.intake import Arrival, arrive_all, committed
from isthmus.sync.running import EVERYTHING, Part, synchronise
from isthmus.sync.runs import Engine, Run
from tests.rooms.connectors.stripe_front import Front
from tests.rooms.connectors.stripe_room import Row, StripeServer, given

T = TypeVar("T")
SYSTEM, SECRET = "stripe", "whsec_of_the_endpoint"
ACCOUNT, PERSON = "sales.account", "sales.person"
SUBSCRIPTION, INVOICE, PAYMENT = "finance.subscription", "finance.invoice", "finance.payment"
_REF = "select record_id from ref where type = %s and system = %s and external_id = %s"
_NUMBERS = "select external_id from ref where record_id = %s and system = %s and not deleted order by 1"


@dataclass
class Billing:
    """A workspace and a Stripe, with short ways to do things on both sides and to look at them."""

    store: Store
    engine: Engine
    workspace: int
    server: StripeServer
    front: Front
    connections: list[Connection] = field(default_factory=list[Connection])

    def scope(self) -> Scope:
        """Return a scope of this moment, in the name of a person."""
        return self.engine.scope(workspace=self.workspace, actor="user:tester", cause="test")

    async def connect(self, **settings: str) -> None:
        """Connect as a person does; accounts and persons that are missing there are made there."""
        connector = self.engine.connectors["stripe"]
        wanted = given(self.front.url, webhook_secret=SECRET, **settings)
        options = Options(create=(ACCOUNT, PERSON))
        self.connections.append(
            await self.act(
                lambda tx: connect(tx, self.store.vault, connector, name=SYSTEM, settings=wanted, options=options)
            )
        )

    async def sync(self, *parts: Part, sweep: bool = False) -> Run:
        """Synchronise; a run that does not go well fails the test."""
        every = 0 if sweep else 86_400
        run = await synchronise(
            self.engine,
            workspace=self.workspace,
            connection=SYSTEM,
            parts=parts or EVERYTHING,
            sweep_every_s=every,
        )
        assert (run.error, run.rejected) == (None, 0)
        return run

    async def settle(self) -> None:
        """Synchronise until nothing moves; twice is enough, a third time would be a quarrel."""
        await self.sync()
        assert quiet(await self.sync())

    async def edit(self, kind: str, record_id: UUID, /, **fields: Json) -> None:
        """Edit a record here, as a person does."""
        await edit(self.store, self.scope(), kind, record_id, fields)

    async def delete(self, kind: str, record_id: UUID) -> None:
        """Delete a record here."""
        await edit(self.store, self.scope(), kind, record_id, {}, deleted=True)

    async def create(self, kind: str, external_id: str, **fields: Json) -> UUID:
        """Make a record here, as a caller of our interface does."""

        async def made(tx: Transaction) -> UUID:
            [arrived] = await arrive_all(tx, self.store, kind, [Arrival(external_id=external_id, fields=fields)])
            assert arrived.record_id is not None
            return arrived.record_id

        return await committed(self.store, self.scope(), made)

    async def of(self, kind: str, number: str) -> UUID:
        """Return the id here of an object there."""
        [(record,)] = await self.rows(_REF, kind, SYSTEM, number)
        return cast("UUID", record)

    async def numbers(self, record_id: UUID) -> list[str]:
        """Return the ids under which a record here is known there."""
        return [str(number) for (number,) in await self.rows(_NUMBERS, record_id, SYSTEM)]

    async def stored(self, kind: str, record_id: UUID) -> Stored:
        """Return a record here."""
        return (await self.act(lambda tx: find(tx, self.store.vault, self.store.schema[kind], [record_id])))[record_id]

    async def ours(self, kind: str, number: str) -> Row:
        """Return the values that the record of an object there holds here."""
        return (await self.stored(kind, await self.of(kind, number))).values

    async def all(self, kind: str) -> list[Stored]:
        """Return the living records of a type."""
        return await self.act(lambda tx: page(tx, self.store.vault, self.store.schema[kind], limit=1_000))

    async def cases(self, record_id: UUID) -> list[Case]:
        """Return the open cases of a record."""
        return await self.act(lambda tx: cases(tx, self.store, where=Filter(record_id=record_id)))

    async def resolve(self, case: Case, choice: Choice) -> Case:
        """Decide a case."""
        return await resolve(self.store, self.scope(), case.id, choice)

    async def call(self, event: Row) -> bool:
        """Call as Stripe does, signed; tells whether the call was a new one."""
        body = msgspec.json.encode(event)
        message = Message(body=body, headers=signed(body))
        return (await receive(self.engine, self.connections[0].id, message, cause="call")).new

    async def work(self) -> int:
        """Work on the calls that came."""
        return await work_on(self.engine, self.workspace, self.connections[0].id)

    async def act(self, act: Callable[[Transaction], Awaitable[T]]) -> T:
        """Do something in a transaction."""
        async with self.store.database.transaction(self.scope()) as tx:
            return await act(tx)

    async def rows(self, query: str, *parameters: object) -> list[tuple[object, ...]]:
        """Return what a query of the tables gives."""

        async def ask(tx: Transaction) -> list[tuple[object, ...]]:
            return list(await (await tx.connection.execute(query.encode(), parameters)).fetchall())

        return await self.act(ask)


def quiet(run: Run) -> bool:
    """Tell whether a run changed nothing on either side."""
    return (run.created, run.changed, run.written, run.conflicts, run.rejected) == (0, 0, 0, 0, 0)


def signed(body: bytes) -> Mapping[str, str]:
    """Return the header by which Stripe proves a call."""
    at = int(time.time())
    signature = hmac.new(SECRET.encode(), b"%d.%s" % (at, body), hashlib.sha256).hexdigest()
    return {"stripe-signature": f"t={at},v1={signature}"}
