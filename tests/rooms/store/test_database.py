"""Transactions survive what happens to resting connections, and say in words when the database is away."""

import psycopg
import pytest

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
