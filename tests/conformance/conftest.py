"""Every connector that is there with its counterpart, and the engine between them."""

import dataclasses
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import Protocol, cast
from uuid import UUID

import pytest

from isthmus.app.clock import SystemClock
from isthmus.app.discovery import connectors
from isthmus.kernel.marks import Json
from isthmus.store.database import Scope
from isthmus.store.records import Stored, find, page
from isthmus.sync.conformance import Counterpart
from isthmus.sync.connections import Options, connect
from isthmus.sync.connector import Change, Connector, Feed, Page, Raw, Session
from isthmus.sync.edit import edit
from isthmus.sync.ingest import Store
from isthmus.sync.intake import Arrival, arrive
from isthmus.sync.running import EVERYTHING, Part, synchronise
from isthmus.sync.runs import Engine, Retry, Run
from tests.conformance.bending import Bends, bent

SYSTEM = "vendor"
_SLOW = (
    "airbyte",
    "bottlecrm",
    "dlt-plain",
    "dlt-real",
    "files-folder",
    "googleads",
    "hubspot",
    "mailchimp",
    "metaads",
    "pipedrive",
    "posthog",
    "requesttracker",
    "salesforce",
    "singer",
    "sql-mariadb",
    "sql-sqlite",
    "xero",
    "zendesk",
)
SESSIONS_ONLY = frozenset(() if "CONFORMANCE" in os.environ else _SLOW)
"""The engine is put to these only when asked for, by CONFORMANCE=1: what differs is in their sessions, which are always
tried, and a journey shows the engine with a real Request Tracker."""
RECORD = UUID(int=7)


class _Begins(Protocol):
    def begin(self, home: Path) -> AbstractContextManager[Counterpart]: ...


class _Begin(Protocol):
    def __call__(self, home: Path) -> AbstractContextManager[Counterpart]: ...


@dataclass
class Side:
    """A connector and its counterpart."""

    connector: Connector
    counterpart: Counterpart
    marks: int = 0
    cursor: str | None = None

    @property
    def settings(self) -> dict[str, str]:
        """The settings, with defaults."""
        defaults = {each.name: each.default for each in self.connector.settings if each.default is not None}
        return defaults | dict(self.counterpart.settings)

    @property
    def feed(self) -> Feed:
        """The feed that the checks read and write."""
        return next(each for each in self.connector.feeds if each.name == self.counterpart.feed)

    def name(self, word: str = "Check") -> str:
        """Return a text that nobody used before."""
        self.marks += 1
        return f"{word} {secrets.token_hex(3)} {self.marks}"

    def make(self, word: str = "Check") -> tuple[str, str]:
        """Make a record there; returns its id and the first of its texts."""
        text = self.name(word)
        return self.counterpart.put(None, {self.counterpart.fields[0]: text, self.counterpart.fields[1]: "Ghent"}), text

    def said(self, raw: Raw) -> dict[str, Json]:
        """Return what a row says of the type that is checked."""
        found = [each for each in self.connector.normalise(self.feed.name, raw) if each.type == self.counterpart.type]
        return dict(found[0].fields) if found else {}

    def change(
        self,
        fields: dict[str, Json],
        *,
        of: str | None = None,
        version: str | None = None,
        deleted: bool = False,
        key: str = "",
    ) -> Change:
        """Return a change of the type that is checked."""
        return Change(
            record_id=RECORD,
            type=self.counterpart.type,
            fields=fields,
            external_id=of,
            version=version,
            deleted=deleted,
            key=key or secrets.token_hex(8),
        )


async def latest(side: Side, session: Session) -> str:
    """Return the cursor after all that is there now."""
    side.cursor = (await pages(session, side.feed.name, side.cursor))[-1].cursor
    return side.cursor


async def pages(session: Session, feed: str, cursor: str | None = None) -> list[Page]:
    """Read a feed to its end."""
    return [page async for page in session.read(feed, cursor=cursor)]


def rows(found: Sequence[Page]) -> list[Raw]:
    """Return the rows of pages."""
    return [row for page in found for row in page.rows]


async def ids(session: Session, feed: str) -> list[str]:
    """Return every id of a feed."""
    return [each async for some in session.ids(feed) for each in some]


class ShiftedClock:
    """The clock of this machine, ahead by what it was moved."""

    def __init__(self) -> None:
        """Begin with the time of this machine."""
        self.ahead = timedelta()

    def now(self) -> datetime:
        """Return the time."""
        return SystemClock().now() + self.ahead


@dataclass
class Bench:
    """The engine between a workspace and the counterpart, with bad days in between."""

    side: Side
    store: Store
    workspace: int
    bends: Bends = field(default_factory=Bends)
    clock: ShiftedClock = field(default_factory=ShiftedClock)
    pauses: list[float] = field(default_factory=list[float])
    feed: Feed | None = None
    settings: dict[str, str] = field(default_factory=dict[str, str])
    retry: Retry = field(default_factory=lambda: Retry(tries_max=3))

    @property
    def engine(self) -> Engine:
        """The engine as it is now."""

        async def pause(seconds: float) -> None:
            self.pauses.append(seconds)

        connector = bent(self.side.connector, self.bends, feed=self.feed or self.side.feed)
        return Engine(
            store=self.store,
            clock=self.clock,
            chance=Random(7),
            connectors={connector.name: connector},
            pause=pause,
            retry=self.retry,
        )

    def scope(self) -> Scope:
        """Return a scope of this moment."""
        return self.engine.scope(workspace=self.workspace, actor="user:tester", cause="test")

    async def begin(self) -> Run:
        """Connect the counterpart and pull what is there."""
        settings = dict(self.side.counterpart.settings) | self.settings
        async with self.store.database.transaction(self.scope()) as tx:
            await connect(
                tx,
                self.store.vault,
                self.side.connector,
                name=SYSTEM,
                settings=settings,
                options=Options(create=(self.side.counterpart.type,)),
            )
        return await self.sync()

    async def sync(self, *parts: Part, confirmed: bool = False, swept: bool = True) -> Run:
        """Run the connection, with the comparison of ids."""
        return await synchronise(
            self.engine,
            workspace=self.workspace,
            connection=SYSTEM,
            parts=parts or EVERYTHING,
            sweep_every_s=0 if swept else 86_400,
            confirmed=confirmed,
        )

    async def records(self) -> list[Stored]:
        """Return all living records of the type that is checked."""
        record_type = self.store.schema[self.side.counterpart.type]
        found: list[Stored] = []
        async with self.store.database.transaction(self.scope()) as tx:
            while some := await page(
                tx, self.store.vault, record_type, limit=500, after=found[-1].id if found else None
            ):
                found += some
        return found

    async def of(self, external_id: str) -> Stored | None:
        """Return the record that an id means, living or not."""
        record_type = self.store.schema[self.side.counterpart.type]
        async with self.store.database.transaction(self.scope()) as tx:
            cursor = await tx.connection.execute(
                "select record_id from ref where workspace = current_workspace() and type = %s and system = %s"
                " and external_id = %s",
                (record_type.name, SYSTEM, external_id),
            )
            row = await cursor.fetchone()
            known = await find(tx, self.store.vault, record_type, [row[0]]) if row else {}
        return known.get(row[0]) if row else None

    async def held(self, external_id: str) -> str | None:
        """Return the first text of the record that an id means; nothing when it does not live."""
        record = await self.of(external_id)
        if record is None or record.deleted_at is not None:
            return None
        return cast("str | None", record.values.get(self.side.counterpart.fields[0]))

    async def edit(self, external_id: str, **fields: Json) -> None:
        """Edit a record here."""
        record = await self.of(external_id)
        assert record is not None
        await edit(self.store, self.scope(), self.side.counterpart.type, record.id, fields)

    async def delete(self, external_id: str) -> None:
        """Delete a record here."""
        record = await self.of(external_id)
        assert record is not None
        await edit(self.store, self.scope(), self.side.counterpart.type, record.id, {}, deleted=True)

    async def make(self, **fields: Json) -> UUID:
        """Make a record here; returns its id."""
        async with self.store.database.transaction(self.scope()) as tx:
            arrival = Arrival(external_id=secrets.token_hex(8), fields=fields)
            (arrived,) = await arrive(tx, self.store, self.side.counterpart.type, [arrival])
        assert arrived.record_id is not None, arrived.faults
        return arrived.record_id

    async def rows(self, query: str, *given: object) -> list[tuple[object, ...]]:
        """Return what a query of the tables gives."""
        async with self.store.database.transaction(self.scope()) as tx:
            return list(await (await tx.connection.execute(query.encode(), given)).fetchall())


def beginnings(name: str) -> dict[str, _Begin]:
    """Return what begins the counterparts of a connector: from its folder, or from here when a third party wrote it.

    A connector of many kinds of systems has one for each, in `KINDS`.
    """
    for path in (f"isthmus.connectors.{name}.conformance", f"tests.conformance.servers.{name}"):
        if find_spec(path) is not None:
            module = import_module(path)
            kinds = cast("dict[str, _Begin]", getattr(module, "KINDS", {}))
            return {f"{name}-{kind}": begin for kind, begin in kinds.items()} or {name: cast("_Begins", module).begin}
    return {}


@pytest.fixture(scope="session")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Side]]:
    """The counterparts that were begun so far."""
    with ExitStack() as stack:
        yield _Sides(stack, tmp_path_factory)


class _Sides(dict[str, Side]):
    def __init__(self, stack: ExitStack, tmp: pytest.TempPathFactory) -> None:
        super().__init__()
        self._stack, self._tmp = stack, tmp

    def __missing__(self, system: str) -> Side:
        name = system.partition("-")[0]
        begin = beginnings(name).get(system)
        assert begin, f"isthmus/connectors/{name} has no conformance.py: see docs/how-to/add-a-connector.md"
        counterpart = self._stack.enter_context(begin(self._tmp.mktemp(system)))
        self[system] = Side(connectors()[name].adapted(dict(counterpart.settings)), counterpart)
        return self[system]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Put every connector to every check, but for those that it cannot be put to: `connect --list` shows these."""
    check = metafunc.function.__name__.removeprefix("test_")
    able = {name: each for name, each in connectors().items() if check not in each.cannot}
    if "system" in metafunc.fixturenames:
        named = [system for name in able for system in beginnings(name) or [name]]
        engine = "bench" in metafunc.fixturenames
        metafunc.parametrize("system", [each for each in named if not engine or each not in SESSIONS_ONLY])
    elif "connector" in metafunc.fixturenames:
        metafunc.parametrize("connector", able.values(), ids=able.keys())


@pytest.fixture
def side(system: str, begun: dict[str, Side]) -> Side:
    """The connector with its counterpart."""
    return begun[system]


@pytest.fixture
def bench(side: Side, store: Store, workspace: int) -> Bench:
    """The engine between a fresh workspace and the counterpart."""
    known = {each.name for each in side.connector.settings}
    return Bench(side, store, workspace, settings={"page_rows": "100"} if "page_rows" in known else {})


def marked(feed: Feed, *, settles_s: int | None = None, scan_s: int | None = None) -> Feed:
    """Return a feed that says more of itself."""
    return dataclasses.replace(feed, settles_s=settles_s, scan_s=scan_s)
