"""Transactions survive what happens to resting connections, and say in words when the database is away."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import LiteralString
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from isthmus.app.engines import Engines
from isthmus.store.database import Database, Scope


async def test_a_connection_that_died_while_it_rested_is_passed_over(
    engines: Engines, database: Database, scope: Scope
) -> None:
    async with database.transaction(scope) as tx:
        row = await (await tx.connection.execute("select pg_backend_pid()")).fetchone()
    assert row is not None
    login = engines.postgres.app
    with psycopg.connect(login.conninfo, password=login.password, autocommit=True) as other:
        ended = other.execute("select pg_terminate_backend(%s, 5000)", (row[0],)).fetchone()
    assert ended == (True,)
    async with database.transaction(scope) as tx:
        found = await (await tx.connection.execute("select current_workspace()")).fetchone()
    assert found == (scope.workspace,)


async def test_after_a_long_absence_nobody_waits_as_long_once_more(engines: Engines) -> None:
    """Eight seconds away, with pauses that only double, are followed by another six or more."""
    login = engines.postgres.app
    socket = Path(login.host) / f".s.PGSQL.{login.port}"
    with TemporaryDirectory() as way:
        link = Path(way) / socket.name
        link.symlink_to(socket)
        database = Database(make_conninfo(login.conninfo, host=way), password=login.password, connections_max=4)
        await database.open()
        async with AsyncExitStack() as stack:
            held = [await stack.enter_async_context(database.plain()) for _ in range(4)]
            link.unlink()
            for each in held:
                await each.close()
        await asyncio.sleep(8.0)
        link.symlink_to(socket)
        try:
            async with asyncio.timeout(4.5), database.plain() as connection:
                await connection.execute("select 1")
        finally:
            await database.close()


async def test_what_raises_is_rolled_back(database: Database, scope: Scope) -> None:
    async def half() -> None:
        async with database.transaction(scope) as tx:
            await tx.connection.execute("insert into event_head values (current_workspace(), 7)")
            raise LookupError

    with pytest.raises(LookupError):
        await half()
    async with database.transaction(scope) as tx:
        cursor = await tx.connection.execute("select count(*) from event_head")
        assert await cursor.fetchone() == (0,)


async def test_nothing_of_a_workspace_is_seen_after_its_transaction(database: Database, scope: Scope) -> None:
    async with database.transaction(scope) as tx:
        await tx.connection.execute("insert into event_head values (current_workspace(), 7)")
    async with database.plain() as connection:
        assert await (await connection.execute("select count(*) from event_head")).fetchone() == (0,)


async def _other_workspace(database: Database) -> int:
    async with database.plain() as connection:
        cursor = await connection.execute(
            "insert into workspace (slug, name, created_at) values (%s, 'Elsewhere', now()) returning id",
            (f"elsewhere-{uuid4()}",),
        )
        row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


HEADS: LiteralString = "select seq from event_head where workspace = scoped.workspace order by seq limit %s"


async def test_a_query_that_is_read_alone_sees_its_workspace_and_leaves_nothing_behind(
    database: Database, scope: Scope
) -> None:
    other = replace(scope, workspace=await _other_workspace(database))
    for each, seq in ((scope, 7), (other, 8)):
        async with database.transaction(each) as tx:
            await tx.connection.execute("insert into event_head values (current_workspace(), %s)", (seq,))
    assert await database.read(scope, HEADS, (10,)) == [(7,)]
    assert await database.read(other, HEADS, (10,)) == [(8,)]
    async with database.plain() as connection:
        assert await (await connection.execute("select current_workspace()")).fetchone() == (None,)


async def test_row_level_security_hides_other_workspaces_from_a_query_that_is_read_alone(
    database: Database, scope: Scope
) -> None:
    other = replace(scope, workspace=await _other_workspace(database))
    async with database.transaction(other) as tx:
        await tx.connection.execute("insert into event_head values (current_workspace(), 8)")
    everywhere: LiteralString = "select seq from event_head where scoped.workspace is not null"
    assert await database.read(scope, everywhere) == []


async def test_a_query_that_does_not_wait_for_its_scope_is_refused(database: Database, scope: Scope) -> None:
    with pytest.raises(ValueError, match="does not select by"):
        await database.read(scope, "select seq from event_head")


async def test_a_query_is_read_by_a_connection_that_lives(engines: Engines, database: Database, scope: Scope) -> None:
    async with database.transaction(scope) as tx:
        row = await (await tx.connection.execute("select pg_backend_pid()")).fetchone()
    assert row is not None
    login = engines.postgres.app
    with psycopg.connect(login.conninfo, password=login.password, autocommit=True) as admin:
        assert admin.execute("select pg_terminate_backend(%s, 5000)", (row[0],)).fetchone() == (True,)
    assert await database.read(scope, HEADS, (10,)) == []


WRITE: LiteralString = "insert into event_head select scoped.workspace, %s from scoped"


async def test_a_statement_that_is_done_alone_is_committed_in_its_workspace_only(
    database: Database, scope: Scope
) -> None:
    other = replace(scope, workspace=await _other_workspace(database))
    await database.write(scope, WRITE, (7,))
    assert (await database.read(scope, HEADS, (10,)), await database.read(other, HEADS, (10,))) == ([(7,)], [])
    foreign: LiteralString = "insert into event_head select scoped.workspace + 1, %s from scoped"
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        await database.write(scope, foreign, (8,))
