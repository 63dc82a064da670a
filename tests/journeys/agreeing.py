"""Both sides of an agreement: ours by the store, theirs by plain RPC, and the sync engine between them."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar, cast
from uuid import UUID

from isthmus.app.counterparts.tryton import TrytonServer
from isthmus.app.counterparts.tryton_rpc import TrytonLogin
from isthmus.kernel.marks import Json
from isthmus.store.database import Scope, Transaction
from isthmus.store.fold import Decision
from isthmus.store.records import Stored, find, history, page
from isthmus.sync.conflicts import Case, Choice, Filter, cases, resolve, undo
from isthmus.sync.connections import Options, connect
from isthmus.sync.edit import edit
from isthmus.sync.ingest import Store
from isthmus.sync.intake import Arrival, arrive_all, committed
from isthmus.sync.running import EVERYTHING, Part, synchronise
from isthmus.sync.runs import Engine, Run
from tests.journeys.erp_words import CONTACTS, MODELS, OPPORTUNITIES, PARTIES, party_words, sale_words

T = TypeVar("T")
SYSTEM = "tryton"
ACCOUNT, PERSON, DEAL = "sales.account", "sales.person", "sales.deal"
CREATED = (ACCOUNT, PERSON, DEAL)
_REF = "select record_id from ref where type = %s and system = %s and external_id = %s"
_NUMBERS = "select external_id from ref where record_id = %s and system = %s and not deleted order by 1"


@dataclass
class Agreement:
    """A workspace and a Tryton server, with short ways to do things on both sides and to look at them."""

    store: Store
    engine: Engine
    workspace: int
    server: TrytonServer
    login: TrytonLogin
    made: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])

    def scope(self) -> Scope:
        """Return a scope of this moment, in the name of a person."""
        return self.engine.scope(workspace=self.workspace, actor="user:tester", cause="test")

    async def connect(self) -> None:
        """Connect the server as a person does; records that are missing there are made there."""
        given = {"url": self.server.url, "database": self.server.database, "key": self.server.key}
        given |= {"user": self.server.user, "password": self.server.password}
        async with self.store.database.transaction(self.scope()) as tx:
            connector = self.engine.connectors["tryton"]
            await connect(tx, self.store.vault, connector, name=SYSTEM, settings=given, options=Options(create=CREATED))

    async def sync(self, *parts: Part, sweep: bool = True) -> Run:
        """Synchronise, looking for deletions as well; a run that does not go well fails the test."""
        run = await synchronise(
            self.engine,
            workspace=self.workspace,
            connection=SYSTEM,
            parts=parts or EVERYTHING,
            sweep_every_s=0 if sweep else 86_400,
        )
        assert (run.error, run.rejected) == (None, 0)
        return run

    async def settle(self) -> None:
        """Synchronise until nothing moves; twice is enough, a third time would be a quarrel."""
        await self.sync()
        assert quiet(await self.sync())

    def tidy(self) -> None:
        """Delete in Tryton what was made there, so that the next one finds a small company."""
        for model, number in reversed(self.made):
            if self.login.find(model, ["id", "=", number]):
                self.delete_there(model, number)

    # On this side.

    async def edit(self, kind: str, record_id: UUID, /, **fields: Json) -> None:
        """Edit a record here, as a person does."""
        await edit(self.store, self.scope(), kind, record_id, fields)

    async def delete(self, kind: str, record_id: UUID) -> None:
        """Delete a record here."""
        await edit(self.store, self.scope(), kind, record_id, {}, deleted=True)

    async def create(self, kind: str, external_id: str, **fields: Json) -> UUID:
        """Make a record here, as a caller of our interface does."""

        async def act(tx: Transaction) -> UUID:
            [arrived] = await arrive_all(tx, self.store, kind, [Arrival(external_id=external_id, fields=fields)])
            assert arrived.record_id is not None
            return arrived.record_id

        return await committed(self.store, self.scope(), act)

    async def of(self, kind: str, number: int) -> UUID:
        """Return the id here of a record there."""
        [(record,)] = await self.rows(_REF, kind, SYSTEM, str(number))
        return cast("UUID", record)

    async def numbers(self, record_id: UUID) -> list[int]:
        """Return the numbers under which a record here is known there."""
        return [int(str(number)) for (number,) in await self.rows(_NUMBERS, record_id, SYSTEM)]

    async def stored(self, kind: str, record_id: UUID) -> Stored:
        """Return a record here."""
        return (await self.read(lambda tx: find(tx, self.store.vault, self.store.schema[kind], [record_id])))[record_id]

    async def ours(self, kind: str, record_id: UUID) -> dict[str, Json]:
        """Return the values that a record holds here."""
        return (await self.stored(kind, record_id)).values

    async def all(self, kind: str) -> list[Stored]:
        """Return the living records of a type."""
        return await self.read(lambda tx: page(tx, self.store.vault, self.store.schema[kind], limit=1_000))

    async def trail(self, kind: str, record_id: UUID, name: str) -> list[Decision]:
        """Return what the claims did to one field, oldest first."""
        found = await self.read(lambda tx: history(tx, self.store.vault, self.store.schema[kind], record_id))
        return [each for each in found if each.field == name]

    async def cases(self, record_id: UUID) -> list[Case]:
        """Return the open cases of a record."""
        return await self.read(lambda tx: cases(tx, self.store, where=Filter(record_id=record_id)))

    async def resolve(self, case: Case, choice: Choice, value: Json = None) -> Case:
        """Decide a case."""
        return await resolve(self.store, self.scope(), case.id, choice, value=value)

    async def undo(self, case: Case) -> Case:
        """Take a decision back."""
        return await undo(self.store, self.scope(), case.id)

    async def claims(self) -> int:
        """Return how many claims are kept."""
        [(count,)] = await self.rows("select count(*) from claim")
        return int(str(count))

    async def read(self, act: Callable[[Transaction], Awaitable[T]]) -> T:
        """Do something in a transaction."""
        async with self.store.database.transaction(self.scope()) as tx:
            return await act(tx)

    async def rows(self, query: str, *parameters: object) -> list[tuple[object, ...]]:
        """Return what a query of the tables gives."""

        async def ask(tx: Transaction) -> list[tuple[object, ...]]:
            return list(await (await tx.connection.execute(query.encode(), parameters)).fetchall())

        return await self.read(ask)

    # On the other side.

    def company_there(self, name: str, **contacts: str) -> int:
        """Make a company there, with contacts by kind."""
        values: dict[str, Json] = {"name": name, "contact_mechanisms": [["create", _contacts(contacts)]]}
        return self._make(PARTIES, values)

    def person_there(self, name: str, **contacts: str) -> int:
        """Make a person there, with contacts by kind."""
        category = self.login.find("party.category", ["name", "=", "Person"])
        values: dict[str, Json] = {"name": name, "contact_mechanisms": [["create", _contacts(contacts)]]}
        values["categories"] = [["add", list[Json](category)]]
        return self._make(PARTIES, values)

    def sale_there(self, name: str, *, party: int | None = None, **more: Json) -> int:
        """Make an opportunity there."""
        customer = party or self.login.find(PARTIES, ["name", "=", "Harbour Lantern Freight"])[0]
        currency = self.login.find("currency.currency", ["code", "=", "EUR"])[0]
        values: dict[str, Json] = {"description": name, "party": customer, "currency": currency}
        return self._make(OPPORTUNITIES, values | more)

    def change_there(self, model: str, number: int, **values: Json) -> None:
        """Change a record there, as its own client does."""
        self.login.call(f"model.{model}.write", [number], values)

    def contact_there(self, number: int, kind: str, value: str) -> None:
        """Change a contact of a party there."""
        [contact] = self.login.find(CONTACTS, ["party", "=", number], ["type", "=", kind])
        self.login.call(f"model.{CONTACTS}.write", [contact], {"value": value})

    def delete_there(self, model: str, number: int) -> None:
        """Delete a record there; an opportunity is cancelled before, as Tryton demands, and a lost one opened first."""
        if model == OPPORTUNITIES:
            ways = {"lost": ("lead", "cancel"), "cancelled": ()}
            for button in ways.get(str(self.login.read(model, number, "state")["state"]), ("cancel",)):
                self.login.press(model, button, number)
        self.login.call(f"model.{model}.delete", [number])

    def sale(self, number: int) -> dict[str, Json]:
        """Return what an opportunity says there, in our words."""
        return sale_words(self.login, number)

    def party(self, number: int) -> dict[str, Json]:
        """Return what a party says there, in our words."""
        return party_words(self.login, number)

    def touched(self) -> dict[str, list[str]]:
        """Return when every record there was last written, to see that nobody writes."""
        return {model: sorted(f"{row['id']} {row['_timestamp']}" for row in self._every(model)) for model in MODELS}

    def _every(self, model: str) -> list[dict[str, Json]]:
        found = self.login.call(f"model.{model}.search_read", [], 0, None, None, ["_timestamp"])
        return cast("list[dict[str, Json]]", found)

    def _make(self, model: str, values: dict[str, Json]) -> int:
        number = self.login.create(model, values)[0]
        self.made.append((model, number))
        return number


def quiet(run: Run) -> bool:
    """Tell whether a run changed nothing on either side."""
    return (run.created, run.changed, run.written, run.conflicts, run.rejected) == (0, 0, 0, 0, 0)


def _contacts(contacts: dict[str, str]) -> list[Json]:
    return [{"type": kind, "value": value} for kind, value in contacts.items()]
