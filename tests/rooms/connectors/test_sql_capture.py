"""PostgreSQL's log against a real PostgreSQL: nothing is missed, nothing is forgotten before it was stored."""

from contextlib import AbstractAsyncContextManager
from random import Random

import psycopg
import pytest

from isthmus.app.clock import SystemClock
from isthmus.app.connecting import parted
from isthmus.connectors.sql import CONNECTOR
from isthmus.connectors.sql.capture import Capture
from isthmus.connectors.sql.cursor import Place
from isthmus.connectors.sql.pgoutput import lsn_number
from isthmus.connectors.sql.tables import TablesRefused
from isthmus.kernel.status import Status
from isthmus.store.database import Scope
from isthmus.store.records import page
from isthmus.sync.connections import Options, connect, connection_of, connections
from isthmus.sync.connector import ConnectorError, FeedTrouble, Page, Raw, Session
from isthmus.sync.edit import edit
from isthmus.sync.ingest import Store
from isthmus.sync.running import synchronise
from isthmus.sync.runs import Engine, Run
from tests.rooms.app.engines.counterpart_postgres import PASSWORD
from tests.rooms.connectors.sql_room import given, opened, pages
from tests.rooms.connectors.sql_servers import SqlServer

TABLE = """
[{name}]
type = "sales.account"
key = "id"
[{name}.fields]
name = "name"
annual_revenue = {{ column = "revenue", currency = "EUR" }}
"""
SYSTEM = "shop"


@pytest.fixture(scope="module")
def server(foreign_postgresql: SqlServer) -> SqlServer:
    """A PostgreSQL with a publication."""
    foreign_postgresql.do("create publication isthmus")
    return foreign_postgresql


@pytest.fixture
def table(server: SqlServer) -> str:
    """A published table that is new, and of which no log is kept."""
    server.do("select pg_drop_replication_slot(slot_name) from pg_replication_slots")
    server.do("drop table if exists logged")
    server.do("create table logged (id int primary key, name text, revenue numeric(12, 2))")
    server.do("alter publication isthmus add table logged")
    return "logged"


class Reader:
    """Reads a table run by run as the engine does: a page is stored before the next one is asked for."""

    def __init__(self, session: Session, feed: str) -> None:
        """Begin before everything."""
        self.session, self.feed = session, feed
        self.cursor: str | None = None
        self.last: list[Page] = []

    async def news(self) -> list[Raw]:
        """Return what a run brings."""
        self.last = []
        async for each in self.session.read(self.feed, cursor=self.cursor):
            self.cursor = each.cursor
            self.last.append(each)
        return [row for each in self.last for row in each.rows]


def reading(server: SqlServer, table: str, **settings: str) -> AbstractAsyncContextManager[Session]:
    """Open a session that reads the log."""
    return opened(server, TABLE.format(name=table), publication="isthmus", **settings)


def told(found: list[Raw]) -> list[tuple[str, object]]:
    """Return ids with their names; nothing for deleted ones."""
    return [(row.external_id, None if row.deleted else row.body["name"]) for row in found]


def kept(server: SqlServer, table: str) -> int:
    """Return from where on the log is kept for a table."""
    [(at,)] = server.do(
        "select confirmed_flush_lsn::text from pg_replication_slots where slot_name like ?", f"isthmus_{table}_%"
    )
    return lsn_number(str(at))


async def test_every_change_comes_in_the_order_of_commits(server: SqlServer, table: str) -> None:
    server.do("insert into logged values (1, 'there before', 1.50)")
    async with reading(server, table) as session:
        reader = Reader(session, table)
        assert told(await reader.news()) == [("1", "there before")]
        assert await reader.news() == []
        server.do("insert into logged values (2, 'made', 12345678.90)")
        server.do("update logged set name = 'edited' where id = 1")
        server.do("update logged set id = 3 where id = 2")
        server.do("delete from logged where id = 1")
        found = await reader.news()
        assert told(found) == [("2", "made"), ("1", "edited"), ("2", None), ("3", "made"), ("1", None)]
        assert found[0].body["revenue"] == "12345678.90"
        assert await reader.news() == []


async def test_what_stands_in_the_log_is_said_as_the_table_says_it(server: SqlServer, table: str) -> None:
    async with reading(server, table) as session:
        reader = Reader(session, table)
        await reader.news()
        server.do("insert into logged values (1, 'Röhre', 0.10), (2, null, null)")
        by_log = await reader.news()
        by_table = await Reader(session, table).news()
    assert [(row.body, row.version) for row in by_log] == [(row.body, row.version) for row in by_table][:2]


async def test_a_transaction_that_ended_late_is_not_missed(server: SqlServer, table: str) -> None:
    async with reading(server, table) as session:
        reader = Reader(session, table)
        await reader.news()
        with psycopg.connect(server.url.replace("admin@", f"admin:{PASSWORD}@")) as slow:
            slow.execute(b"insert into logged values (1, 'begun first', null)")
            server.do("insert into logged values (2, 'ended first', null)")
            assert told(await reader.news()) == [("2", "ended first")]
            slow.commit()
        assert told(await reader.news()) == [("1", "begun first")]


async def test_a_large_value_that_did_not_change_is_not_lost(server: SqlServer, table: str) -> None:
    large = "".join(chr(97 + each) for each in Random(5).choices(range(26), k=20_000))
    server.do("alter table logged alter name set storage external")
    async with reading(server, table) as session:
        reader = Reader(session, table)
        await reader.news()
        server.do("insert into logged values (1, ?, 1)", large)
        await reader.news()
        server.do("update logged set revenue = 2 where id = 1")
        [row] = await reader.news()
    assert (row.body["name"], row.body["revenue"]) == (large, "2.00")


async def test_a_transaction_larger_than_a_page_goes_on_within_it(server: SqlServer, table: str) -> None:
    async with reading(server, table, page_rows="10") as session:
        await (reader := Reader(session, table)).news()
        server.do("insert into logged select each, 'n' || each, null from generate_series(1, 35) each")
        seen: list[Raw] = []
        for _ in range(3):
            # A run that breaks off after each page: the next goes on exactly there.
            async for each in session.read(table, cursor=reader.cursor):
                seen += each.rows
                reader.cursor = each.cursor
                assert len(each.rows) <= 10
                break
        seen += await reader.news()
    assert [row.external_id for row in seen] == [str(each) for each in range(1, 36)]


async def test_the_log_is_kept_until_what_it_told_was_stored(server: SqlServer, table: str) -> None:
    async with reading(server, table) as session:
        reader = Reader(session, table)
        await reader.news()
        await reader.news()
        before, cursor = kept(server, table), reader.cursor
        server.do("insert into logged values (1, 'told twice', null)")
        for _ in range(2):
            # The program is killed before the page is stored: its cursor stays where it was.
            first = await anext(aiter(session.read(table, cursor=cursor)))
            assert told(list(first.rows)) == [("1", "told twice")]
        assert kept(server, table) <= lsn_number(Place.parse(cursor or "").lsn or "")
        assert told(await reader.news()) == [("1", "told twice")]
        await reader.news()
        assert kept(server, table) > before


async def test_a_slot_that_is_gone_is_made_anew_and_everything_is_compared(server: SqlServer, table: str) -> None:
    server.do("insert into logged values (1, 'first', null), (2, 'second', null)")
    async with reading(server, table) as session:
        reader = Reader(session, table)
        await reader.news()
        server.do("select pg_drop_replication_slot(slot_name) from pg_replication_slots where not active")
        server.do("delete from logged where id = 1")
        assert told(await reader.news()) == [("2", "second")]
        assert any(each.emptied for each in reader.last), "what was deleted meanwhile is found among the ids"
        server.do("insert into logged values (3, 'third', null)")
        assert told(await reader.news()) == [("3", "third")]


async def test_a_slot_that_somebody_else_read_is_told_and_not_read_on(server: SqlServer, table: str) -> None:
    async with reading(server, table) as session, reading(server, table, slot="other") as other:
        mine, theirs, thief = Reader(session, table), Reader(other, table), Reader(session, table)
        for reader in (mine, theirs, thief):
            await reader.news()
        server.do("insert into logged values (1, 'for everyone', null)")
        assert told(await thief.news()) == [("1", "for everyone")]
        await thief.news()
        with pytest.raises(FeedTrouble, match="read by somebody else") as caught:
            await mine.news()
        assert "`slot`" in caught.value.fix
        assert told(await theirs.news()) == [("1", "for everyone")], "a slot of its own is nobody else's"


async def test_the_check_says_how_far_behind_and_what_is_not_published(server: SqlServer, table: str) -> None:
    async with reading(server, table) as session:
        assert "bytes behind" in await session.check()
        server.do("alter publication isthmus drop table logged")
        with pytest.raises(ConnectorError, match="does not publish") as caught:
            await session.check()
    assert f"create publication isthmus for table {table}" in caught.value.fix


async def test_a_user_who_may_not_read_the_log_is_told(server: SqlServer, table: str) -> None:
    server.do(f"create role poor login password '{PASSWORD}'")
    server.do("grant select on logged to poor")
    async with reading(server, table, url=server.url.replace("admin@", "poor@")) as session:
        with pytest.raises(ConnectorError, match="may not read the log") as caught:
            await pages(session, table)
    assert "replication" in caught.value.fix


async def test_slots_go_with_the_connection_and_what_stays_is_told(server: SqlServer, table: str) -> None:
    settings = given(server, TABLE.format(name=table), publication="isthmus", slot="parting")
    async with CONNECTOR.open(settings) as session:
        await Reader(session, table).news()
    assert "refuses" in await parted(CONNECTOR, settings | {"password": "of nobody here"})
    assert server.do("select count(*) from pg_replication_slots where slot_name like 'parting%%'") == [(1,)]
    assert await parted(CONNECTOR, settings) == ""
    assert server.do("select count(*) from pg_replication_slots where slot_name like 'parting%%'") == [(0,)]
    assert await parted(CONNECTOR, settings) == "", "there is nothing to drop twice"


def scope_of(engine: Engine, workspace: int) -> Scope:
    """Return a scope of this moment."""
    return engine.scope(workspace=workspace, actor="user:tester", cause="test")


async def connected(engine: Engine, workspace: int, settings: dict[str, str], *, push: bool = False) -> None:
    """Connect the database."""
    async with engine.store.database.transaction(scope_of(engine, workspace)) as tx:
        await connect(tx, engine.store.vault, CONNECTOR, name=SYSTEM, settings=settings, options=Options(push=push))


@pytest.fixture
async def engine(store: Store) -> Engine:
    """The engine with this connector alone."""
    return Engine(store=store, clock=SystemClock(), chance=Random(7), connectors={"sql": CONNECTOR})


async def test_a_mapping_that_does_not_fit_is_refused_before_anything_is_connected(
    server: SqlServer, engine: Engine, workspace: int
) -> None:
    with pytest.raises(TablesRefused, match="no record type"):
        await connected(engine, workspace, given(server, TABLE.format(name="a").replace("account", "acount")))
    async with engine.store.database.transaction(scope_of(engine, workspace)) as tx:
        assert await connections(tx) == []


async def test_log_that_piles_up_is_told_on_the_connection(
    server: SqlServer, table: str, engine: Engine, workspace: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Capture, "much_bytes", 0)
    await connected(engine, workspace, given(server, TABLE.format(name=table), publication="isthmus"))
    run = await synchronise(engine, workspace=workspace, connection=SYSTEM)
    assert run.status is Status.HEALTHY
    async with engine.store.database.transaction(scope_of(engine, workspace)) as tx:
        assert "of its log for logged" in (await connection_of(tx, SYSTEM)).reason


async def test_what_we_write_comes_back_through_the_log_and_changes_nothing(
    server: SqlServer, table: str, engine: Engine, workspace: int
) -> None:
    server.do("insert into logged values (1, 'theirs', 1.50)")
    mapped = TABLE.format(name=table).replace('key = "id"', 'key = "id"\nwrite = true\nmark = "name"')
    await connected(engine, workspace, given(server, mapped, publication="isthmus"), push=True)
    await synchronise(engine, workspace=workspace, connection=SYSTEM)
    record_type = engine.store.schema["sales.account"]
    async with engine.store.database.transaction(scope_of(engine, workspace)) as tx:
        [record] = await page(tx, engine.store.vault, record_type, limit=10)
    await edit(engine.store, scope_of(engine, workspace), "sales.account", record.id, {"name": "ours"})
    runs = [await synchronise(engine, workspace=workspace, connection=SYSTEM) for _ in range(3)]
    assert [(run.status, run.written, run.changed) for run in runs] == [
        (Status.HEALTHY, 1, 0),
        (Status.HEALTHY, 0, 0),
        (Status.HEALTHY, 0, 0),
    ]
    assert server.do("select name, revenue::text from logged") == [("ours", "1.50")]


async def test_a_truncation_has_the_ids_compared_under_the_fuse(
    server: SqlServer, table: str, engine: Engine, workspace: int
) -> None:
    server.do("insert into logged select each, 'company ' || each, null from generate_series(1, 30) each")
    await connected(engine, workspace, given(server, TABLE.format(name=table), publication="isthmus"))

    async def run(*, confirmed: bool = False) -> Run:
        return await synchronise(engine, workspace=workspace, connection=SYSTEM, confirmed=confirmed)

    async def living() -> int:
        record_type = engine.store.schema["sales.account"]
        async with engine.store.database.transaction(scope_of(engine, workspace)) as tx:
            return len(await page(tx, engine.store.vault, record_type, limit=100))

    assert ((await run()).status, await living()) == (Status.HEALTHY, 30)
    server.do("truncate logged")
    server.do("insert into logged select each, 'company ' || each, null from generate_series(1, 30) each")
    assert ((await run()).status, await living()) == (Status.HEALTHY, 30), "a table that was filled anew lost nothing"
    server.do("truncate logged")
    tripped = await run()
    assert (tripped.status, await living()) == (Status.NEEDS_ATTENTION, 30)
    assert "would be deleted" in (tripped.error or "")
    assert ((await run(confirmed=True)).status, await living()) == (Status.HEALTHY, 0)
