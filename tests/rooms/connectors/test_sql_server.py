"""The SQL connector against a real PostgreSQL, a real MariaDB and files of SQLite."""

import json
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import cast

import pytest

from isthmus.connectors.sql import CONNECTOR
from isthmus.connectors.sql.faults import Denied, Missing
from isthmus.kernel.marks import Json
from isthmus.sync.connector import ConnectorError, FeedTrouble, Outcome, Raw, Scanning, Written
from tests.rooms.app.engines.counterpart_postgres import PASSWORD
from tests.rooms.connectors.sql_room import FIXTURES, TABLES, change, given, opened, pages, recorded, rows
from tests.rooms.connectors.sql_servers import SqlServer, sqlite

PEOPLE = """
[people]
type = "sales.person"
key = "id"
updated_at = "changed"
write = true
{more}
[people.fields]
email = "email"
last_name = "name"
"""
ODD = "we`ird \"%s' name"
USERS = count(1)
NOW = "2026-01-02 03:04:05.500"


@pytest.fixture(params=["postgresql", "mariadb", "sqlite"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SqlServer]:
    """A database of each kind, whose table `people` is new and empty."""
    if request.param == "sqlite":
        with sqlite(tmp_path) as file:
            _people(file)
            yield file
    else:
        found = cast("SqlServer", request.getfixturevalue(f"foreign_{request.param}"))
        _people(found)
        yield found


def _people(server: SqlServer) -> None:
    server.do("drop table if exists people")
    server.do(
        "create table people (id varchar(60) primary key, email varchar(200) unique, name varchar(200),"
        " gone varchar(30), made varchar(200), changed varchar(40), picture blob)".replace(
            "blob", "bytea" if server.kind == "postgresql" else "blob"
        ).replace(
            "changed varchar(40)", "changed timestamp(3)" if server.kind == "postgresql" else "changed varchar(40)"
        )
    )


def put(server: SqlServer, number: str, name: str, changed: str | None = NOW) -> None:
    """Make a person there."""
    server.do("insert into people (id, name, changed) values (?, ?, ?)", number, name, changed)


def names(found: list[Raw]) -> dict[str, object]:
    """Return names by id; nothing for deleted ones."""
    return {row.external_id: None if row.deleted else row.body["name"] for row in found}


def tables(**more: str) -> str:
    """Return how the people are mapped."""
    return PEOPLE.format(more="\n".join(f"{name} = {json.dumps(value)}" for name, value in more.items()))


async def written(server: SqlServer, mapped: str, *changes: tuple[dict[str, Json], str | None, str]) -> list[Written]:
    """Write changes: fields, id and key of each."""
    async with opened(server, mapped) as session:
        wanted = [change("sales.person", fields, of=of, key=key) for fields, of, key in changes]
        return await session.write("people", wanted)


@pytest.mark.parametrize("kind", ["postgresql", "mariadb", "sqlite"])
async def test_the_recorded_rows_are_what_the_server_sends(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    expected = json.loads((FIXTURES / f"{kind}.json").read_text("utf-8"))
    if kind == "sqlite":
        with sqlite(tmp_path) as file:
            file.all(TABLES[kind])
            assert await recorded(file) == expected
    else:
        found = cast("SqlServer", request.getfixturevalue(f"foreign_{kind}"))
        found.all(TABLES[kind])
        assert await recorded(found) == expected


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
async def test_a_server_that_nobody_vouches_for_is_not_spoken_to(kind: str, request: pytest.FixtureRequest) -> None:
    server = cast("SqlServer", request.getfixturevalue(f"foreign_{kind}"))
    async with opened(server, "", ca="") as session:
        with pytest.raises(ConnectorError, match="No secured connection") as caught:
            await session.check()
    assert "`ca`" in caught.value.fix
    async with opened(server, "", ca="", tls="off") as session:
        assert "127.0.0.1" in await session.check()


async def test_the_check_shows_the_tables_and_what_they_become(server: SqlServer) -> None:
    server.do("drop table if exists orders")
    server.do("create table orders (id int primary key)")
    async with opened(server, tables(mark="made")) as session:
        told = await session.check()
    assert "people → sales.person (both ways)" in told
    assert "orders" in told.partition("not connected:")[2]


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
async def test_rights_that_are_missing_are_told_with_the_grant(kind: str, request: pytest.FixtureRequest) -> None:
    server = cast("SqlServer", request.getfixturevalue(f"foreign_{kind}"))
    _people(server)
    user = f"reader{next(USERS)}"
    by, to = ("identified by", f"{user}@'127.0.0.1'") if kind == "mariadb" else ("password", user)
    server.do(f"create user {to} {by} '{PASSWORD}'")
    url = server.url.replace("admin@", f"{user}@")
    if kind == "mariadb":
        server.do(f"grant select (name) on company.people to {to}")
    async with opened(server, tables(mark="made"), url=url) as session:
        with pytest.raises((Denied, Missing)) as none:
            await session.check()
    assert "grant" in none.value.fix
    server.do(f"grant select on people to {to}")
    async with opened(server, tables(mark="made"), url=url) as session:
        with pytest.raises(Denied) as caught:
            await session.check()
        assert "grant select, insert, update, delete on people" in caught.value.fix
        refused = await session.write("people", [change("sales.person", {"last_name": "Nobody"})])
        assert refused[0].outcome is Outcome.FAILED, "it is tried again when the right was granted"
        assert names(await rows(session, "people")) == {}


async def test_a_table_that_is_not_as_it_was_mapped_is_told(server: SqlServer) -> None:
    for name, words in (("nothing", "no column nothing"), ("picture", "holds bytes")):
        async with opened(server, tables(mark="made").replace('"email"', f'"{name}"')) as session:
            with pytest.raises(FeedTrouble, match=words) as caught:
                await pages(session, "people")
            assert caught.value.fix
    async with opened(server, tables(mark="made").replace("[people", "[nobody")) as session:
        with pytest.raises(FeedTrouble, match="no table nobody"):
            await pages(session, "nobody")


async def test_rows_without_a_stamp_are_read_first_and_once(server: SqlServer) -> None:
    put(server, "b", "Later")
    put(server, "a", "Never", None)
    async with opened(server, tables(mark="made"), page_rows="1") as session:
        found = await pages(session, "people")
        assert [row.external_id for each in found for row in each.rows] == ["a", "b"]
        assert names(await rows(session, "people", found[-1].cursor)) == {"b": "Later"}, "the last instant again"
        put(server, "c", "Never as well", None)
        assert isinstance(session, Scanning)
        scanned = [row.external_id async for each in session.scan("people", cursor=None) for row in each.rows]
        assert scanned == ["a", "b", "c"]


async def test_a_row_that_was_committed_late_stands_within_the_overlap(server: SqlServer) -> None:
    put(server, "a", "First")
    async with opened(server, tables(mark="made"), overlap_s="60") as session:
        cursor = (await pages(session, "people"))[-1].cursor
        put(server, "b", "Late", "2026-01-02 03:03:30.000")
        put(server, "c", "Too late", "2026-01-02 03:02:30.000")
        assert names(await rows(session, "people", cursor)) == {"a": "First", "b": "Late"}


async def test_a_table_without_a_stamp_tells_new_keys_at_once_and_the_rest_when_scanned(server: SqlServer) -> None:
    mapped = tables(mark="made").replace('updated_at = "changed"', "")
    put(server, "a", "First")
    [feed] = CONNECTOR.feeds_of(given(server, mapped))
    assert feed.scan_s
    async with opened(server, mapped, page_rows="1") as session:
        cursor = (await pages(session, "people"))[-1].cursor
        put(server, "b", "Second")
        server.do("update people set name = 'Edited' where id = 'a'")
        assert names(await rows(session, "people", cursor)) == {"b": "Second"}
        assert isinstance(session, Scanning)
        scanned = [row async for each in session.scan("people", cursor=None) for row in each.rows]
        assert names(scanned) == {"a": "Edited", "b": "Second"}


async def test_rows_that_are_marked_as_deleted_are_and_we_mark_them_too(server: SqlServer) -> None:
    for number in ("a", "b", "c"):
        put(server, number, f"Person {number}")
    server.do("update people set gone = 'yes' where id = 'a'")
    mapped = tables(mark="made", deleted="gone")
    async with opened(server, mapped) as session:
        assert names(await rows(session, "people")) == {"a": None, "b": "Person b", "c": "Person c"}
        assert [each async for some in session.ids("people") for each in some] == ["b", "c"]
        [done] = await session.write("people", [change("sales.person", of="b", deleted=True)])
        assert done.outcome is Outcome.WRITTEN
        assert [each async for some in session.ids("people") for each in some] == ["c"]
    assert server.do("select count(*) from people") == [(3,)]


async def test_a_new_row_has_a_key_of_ours_and_is_made_once(server: SqlServer) -> None:
    mapped = tables(new_key="uuid")
    wish: tuple[dict[str, Json], None, str] = ({"last_name": "Once"}, None, "the same change")
    first = await written(server, mapped, wish)
    second = await written(server, mapped, wish)
    assert first[0].external_id == second[0].external_id
    assert server.do("select count(*) from people") == [(1,)]


async def test_we_set_the_stamp_where_the_table_does_not(server: SqlServer) -> None:
    put(server, "a", "Before", "2020-01-01 00:00:00.000")
    mapped = PEOPLE.format(more='mark = "made"\nstamp = true')
    async with opened(server, mapped) as session:
        cursor = (await pages(session, "people"))[-1].cursor
        await session.write("people", [change("sales.person", {"last_name": "After"}, of="a")])
        assert names(await rows(session, "people", cursor)) == {"a": "After"}


async def test_names_and_values_are_never_read_as_sql(server: SqlServer) -> None:
    quote = "`" if server.kind == "mariadb" else '"'
    name = f"{quote}{ODD.replace(quote, quote * 2)}{quote}"
    own = name if server.kind == "sqlite" else name.replace("%", "%%")
    server.do(f"drop table if exists {own}")
    server.do(f"create table {own} (id int primary key, {own.replace('name', 'column')} varchar(200), mark text)")
    mapped = json.dumps(
        {
            ODD: {
                "type": "sales.person",
                "key": "id",
                "write": True,
                "mark": "mark",
                "fields": {"last_name": ODD.replace("name", "column")},
            }
        }
    )
    nasty = "O'Brien\\'; drop table people; -- %s %% \" ` ? 名"
    server.do(f"insert into {own} (id) values (1)")  # noqa: S608 - the name is what is tried here.
    async with opened(server, mapped) as session:
        [done] = await session.write(ODD, [change("sales.person", {"last_name": nasty}, of="1")])
        assert done.outcome is Outcome.WRITTEN, done.reason
        [row] = await rows(session, ODD)
    assert nasty in row.body.values()
    assert server.do("select count(*) from people") == [(0,)]


async def test_what_the_database_refuses_has_its_reason_and_leaves_nothing_half(server: SqlServer) -> None:
    put(server, "a", "First")
    server.do("update people set email = 'a@one.example' where id = 'a'")
    put(server, "b", "Second")
    answers = await written(
        server,
        tables(mark="made"),
        ({"email": "a@one.example", "last_name": "Taken"}, "b", "k1"),
        ({"last_name": "Fine"}, "b", "k2"),
    )
    assert [each.outcome for each in answers] == [Outcome.REFUSED, Outcome.WRITTEN]
    assert "refuses it" in answers[0].reason
    assert server.do("select name from people where id = 'b'") == [("Fine",)]


async def test_what_is_refused_only_at_the_end_of_its_transaction_is_answered_once(
    foreign_postgresql: SqlServer,
) -> None:
    _people(foreign_postgresql)
    foreign_postgresql.do("alter table people add unique (name) deferrable initially deferred")
    put(foreign_postgresql, "a", "Taken")
    put(foreign_postgresql, "b", "Free")
    answers = await written(
        foreign_postgresql,
        tables(mark="made"),
        ({"last_name": "Taken"}, "b", "k1"),
        ({"last_name": "Moved"}, "a", "k2"),
    )
    assert [(each.outcome, each.external_id) for each in answers] == [(Outcome.REFUSED, "b"), (Outcome.WRITTEN, "a")]


async def test_columns_that_nobody_mapped_are_told_when_that_is_wanted(server: SqlServer) -> None:
    put(server, "a", "First")
    quiet = tables(mark="made")
    loud = PEOPLE.format(more='mark = "made"\nignored = ["gone"]')
    async with opened(server, quiet) as session:
        [row] = await rows(session, "people")
        assert set(row.body) == {"id", "changed", "email", "name"}
    async with opened(server, loud) as session:
        [row] = await rows(session, "people")
        assert set(row.body) == {"id", "changed", "email", "name", "made"}


async def test_a_connection_that_is_cut_is_told_and_the_next_one_works(foreign_postgresql: SqlServer) -> None:
    _people(foreign_postgresql)
    put(foreign_postgresql, "a", "First")
    async with opened(foreign_postgresql, tables(mark="made")) as session:
        await pages(session, "people")
        foreign_postgresql.do(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'isthmus'"
        )
        with pytest.raises(ConnectorError, match="does not answer"):
            await pages(session, "people")
        changes = [change("sales.person", {"last_name": "Lost"}, of="a")] * 2
        assert [each.outcome for each in await session.write("people", changes)] == [Outcome.FAILED] * 2
    async with opened(foreign_postgresql, tables(mark="made")) as session:
        assert names(await rows(session, "people")) == {"a": "First"}


async def test_a_table_that_is_mapped_otherwise_is_read_from_the_beginning(server: SqlServer) -> None:
    put(server, "a", "First", "2026-01-01 00:00:00.000")
    put(server, "b", "Second")
    mapped = tables(mark="made")
    async with opened(server, mapped) as session:
        cursor = (await pages(session, "people"))[-1].cursor
        assert names(await rows(session, "people", cursor)) == {"b": "Second"}
    async with opened(server, f'{mapped}title = "gone"\n') as session:
        assert names(await rows(session, "people", cursor)) == {"a": "First", "b": "Second"}
